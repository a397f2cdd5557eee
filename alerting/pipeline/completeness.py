"""Tell whether all rows of a table's newest bucket have arrived. Pure.

Two signs say that they have not: the rows end unusually long before the bucket does, or buckets of this table are usually
not full at this age. An incomplete bucket counts as missing, not as a drop, and is judged again when its rows are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median

import numpy as np
import pandas as pd

from alerting.model.run import Arrival

INCOMPLETE = "incomplete"  # the rule of a bucket whose rows are still arriving
USUAL_DAYS = 14  # days that say what is usual
TAIL_QUANTILE = 0.995  # of the time between a bucket's newest row and its end; the few beyond it were outages themselves
TAIL_FACTOR = 2.0  # a tail this many times the quantile is unusual
MIN_SILENCE = timedelta(seconds=60)  # a shorter time without rows before the end of a bucket is ignored
MIN_READINGS = 8  # earlier readings at this age that are needed to know what is usual
FULL_SHARE = 0.9  # a table that usually has less than this share of its rows at this age is incomplete


def incomplete_buckets(counts: Mapping[str, pd.DataFrame], past: Sequence[Arrival], now: datetime) -> dict[str, datetime]:
    """Return query -> start of its newest bucket with rows, for the queries whose bucket is incomplete at `now`.

    `counts`: query -> counts per bucket on the full UTC grid, float64, NaN where there are no rows, with the optional column
    `newest` (epoch seconds). `past`: what the tables had at earlier readings.
    """
    return {
        query: last.to_pydatetime()
        for query, frame, rows, last in _newest_buckets(counts)
        if _ends_early(frame, last) or _usually_incomplete(query, rows, last, past, now)
    }


def arrivals_now(counts: Mapping[str, pd.DataFrame], now: datetime) -> tuple[Arrival, ...]:
    """Return for each table what it has at `now` of its newest bucket with rows."""
    out = []
    for query, frame, rows, last in _newest_buckets(counts):
        newest = float(frame["newest"].max()) if "newest" in frame else float("nan")
        instant = datetime.fromtimestamp(newest, UTC) if newest == newest else None
        out.append(Arrival(query, now, last.to_pydatetime(), float(rows[last]), instant))
    return tuple(out)


def usual_delay(query: str, past: Sequence[Arrival]) -> timedelta | None:
    """Return the median age of the table's newest row at the time it is read; None with too few earlier readings."""
    ages = [(arrival.at - arrival.newest).total_seconds() for arrival in past if arrival.query == query and arrival.newest]
    return timedelta(seconds=median(ages)) if len(ages) >= MIN_READINGS else None


def _newest_buckets(counts: Mapping[str, pd.DataFrame]) -> Iterator[tuple[str, pd.DataFrame, pd.Series, pd.Timestamp]]:
    """Yield query, counts, rows per bucket (the sum of its counts, NaN for none) of the last days, and the newest with rows."""
    for query, frame in counts.items():
        recent = frame.loc[frame.index[-1] - timedelta(days=USUAL_DAYS + 1) :] if len(frame) else frame
        counted = [position for position, name in enumerate(recent.columns) if name not in ("newest", "groups")]
        values = recent.to_numpy(float)[:, counted] if len(counted) < recent.shape[1] else recent.to_numpy(float)
        rows = pd.Series(np.where(np.isnan(values).all(axis=1), np.nan, np.nansum(values, axis=1)), recent.index)
        last = rows.last_valid_index()
        if last is not None:
            yield query, frame, rows, last


def _ends_early(frame: pd.DataFrame, last: pd.Timestamp) -> bool:
    """Whether the rows of the bucket end longer before the bucket does than in nearly all buckets before."""
    if "newest" not in frame or len(frame) < 2:
        return False
    step = (frame.index[1] - frame.index[0]).total_seconds()
    ends = frame.index.as_unit("ns").asi8 / 1e9 + step
    tails = (pd.Series(ends, frame.index) - frame["newest"]).loc[last - timedelta(days=USUAL_DAYS) : last]
    before = tails.iloc[:-1].dropna()
    if len(before) < MIN_READINGS:
        return False
    return bool(tails.iloc[-1] > max(TAIL_FACTOR * before.quantile(TAIL_QUANTILE), MIN_SILENCE.total_seconds()))


def _usually_incomplete(query: str, rows: pd.Series, last: pd.Timestamp, past: Sequence[Arrival], now: datetime) -> bool:
    """Whether earlier buckets of the table had only a part of their rows at the age that the bucket has `now`."""
    age = now - last
    shares = [
        arrival.rows / rows[arrival.bucket]
        for arrival in past
        if arrival.query == query and arrival.bucket < last and rows.get(arrival.bucket, 0) > 0
        if abs(arrival.at - arrival.bucket - age) <= max(age / 10, MIN_SILENCE)
    ]
    return len(shares) >= MIN_READINGS and median(shares) < FULL_SHARE
