"""Whether a table's newest bucket is all there: by when its newest row came, and by what is usual at this age. Pure.

A half-arrived bucket is waited for (it counts as missing, and late rows are judged again), not taken for a drop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median

import numpy as np
import pandas as pd

from alerting.model.run import Arrival

USUAL_DAYS = 14  # behind what is usual
TAIL_QUANTILE = 0.995  # quantile of the time between a bucket's newest row and its end; the few beyond it were outages themselves
TAIL_FACTOR = 2.0  # times that
MIN_SILENCE = timedelta(seconds=60)  # a shorter silence before the end of a bucket says nothing
MIN_READINGS = 8  # earlier readings at this age that are needed to say what is usual
FULL_SHARE = 0.9  # a table that usually has less than this share of its rows at this age is late as a rule


def incomplete_buckets(counts: Mapping[str, pd.DataFrame], past: Sequence[Arrival], now: datetime) -> dict[str, datetime]:
    """query -> start of its newest bucket with rows, for those of which only a part has arrived by `now`.

    `counts`: counts per bucket on the full UTC grid, float64, NaN where there are no rows, with the optional column `newest`
    (epoch seconds). `past`: what was there at earlier readings.
    """
    out = {}
    for query, frame in counts.items():
        rows = _rows(frame)
        last = rows.last_valid_index()
        if last is not None and (_breaks_off(frame, last) or _early(query, rows, last, past, now)):
            out[query] = last.to_pydatetime()
    return out


def arrivals_now(counts: Mapping[str, pd.DataFrame], now: datetime) -> tuple[Arrival, ...]:
    """What each table has now, of its newest bucket with rows."""
    out = []
    for query, frame in counts.items():
        rows = _rows(frame)
        last = rows.last_valid_index()
        if last is not None:
            out.append(Arrival(query, now, last.to_pydatetime(), float(rows[last]), _newest(frame)))
    return tuple(out)


def usual_delay(query: str, past: Sequence[Arrival]) -> timedelta | None:
    """How old the table's newest row usually is when it is read (median); None where too little is known."""
    ages = [(arrival.at - arrival.newest).total_seconds() for arrival in past if arrival.query == query and arrival.newest]
    return timedelta(seconds=median(ages)) if len(ages) >= MIN_READINGS else None


def _rows(frame: pd.DataFrame) -> pd.Series:
    """Sum of the counts of each of the newest buckets, NaN where there are none."""
    late = frame.loc[frame.index[-1] - timedelta(days=USUAL_DAYS + 1) :] if len(frame) else frame
    counted = [place for place, name in enumerate(late.columns) if name not in ("newest", "groups")]
    values = late.to_numpy(float)[:, counted] if len(counted) < late.shape[1] else late.to_numpy(float)
    return pd.Series(np.where(np.isnan(values).all(axis=1), np.nan, np.nansum(values, axis=1)), late.index)


def _newest(frame: pd.DataFrame) -> datetime | None:
    seconds = float(frame["newest"].max()) if "newest" in frame else float("nan")
    return datetime.fromtimestamp(seconds, UTC) if seconds == seconds else None


def _breaks_off(frame: pd.DataFrame, last: pd.Timestamp) -> bool:
    """The rows end long before the bucket does, longer than they ever do."""
    if "newest" not in frame or len(frame) < 2:
        return False
    step = (frame.index[1] - frame.index[0]).total_seconds()
    ends = frame.index.as_unit("ns").asi8 / 1e9 + step
    tails = (pd.Series(ends, frame.index) - frame["newest"]).loc[last - timedelta(days=USUAL_DAYS) : last]
    before = tails.iloc[:-1].dropna()
    if len(before) < MIN_READINGS:
        return False
    return bool(tails.iloc[-1] > max(TAIL_FACTOR * before.quantile(TAIL_QUANTILE), MIN_SILENCE.total_seconds()))


def _early(query: str, rows: pd.Series, last: pd.Timestamp, past: Sequence[Arrival], now: datetime) -> bool:
    """At this age the table's buckets usually are not full yet."""
    age = now - last
    shares = [
        arrival.rows / rows[arrival.bucket]
        for arrival in past
        if arrival.query == query and arrival.bucket < last and rows.get(arrival.bucket, 0) > 0
        if abs(arrival.at - arrival.bucket - age) <= max(age / 10, MIN_SILENCE)
    ]
    return len(shares) >= MIN_READINGS and median(shares) < FULL_SHARE
