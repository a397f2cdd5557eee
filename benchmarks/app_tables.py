"""Tables of `make bench-detection` for whole apps: incidents by kind, counts by app, size and metric, and calm weeks.

An alert is counted as the scoring script counts it: flags (|score| > 1) less than an hour apart are one alert, which counts again
every six hours. Pure: frames in, frames and numbers out. Times are naive UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

WARMUP = pd.Timedelta("14D")  # of a series: no alert counts in it
CLEAN = pd.Timedelta("28D")  # before its end there is no incident
MERGED, AGAIN = pd.Timedelta("1h"), pd.Timedelta("6h")
TIMELY = pd.Timedelta("1h")
BIG = 1_000  # feed users in an evening bucket: in smaller apps the noise hides small drops
SIZES = {"under 1,000 users": 0, "1,000 to 10,000 users": 1_000, "10,000 users or more": 10_000}  # class -> its smallest size
NIGHT_ENDS, STEP_AT, SATURDAY = 6, 10, 5  # hours of the day; day of the week


def described(series: pd.DataFrame) -> pd.DataFrame:
    """Return series.csv (index series, columns kpi, cluster, desc) as the columns app, metric, size (users, int) and class."""
    size = series["desc"].str.extract(r"about (\d+)", expand=False).astype(int)
    classes = pd.cut(size, [*SIZES.values(), np.inf], right=False, labels=list(SIZES))
    return pd.DataFrame({"app": series["cluster"], "metric": series["kpi"], "size": size, "class": classes})


def alerts(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the alerts (series, ts, since: time since the first bucket, has_value) after the warm-up.

    `scores`: all buckets of each series in order (series, ts, score); an infinite score is an alert in a bucket without a value.
    """
    first = scores.groupby("series")["ts"].min()
    flags = scores[scores["score"].abs() > 1]
    flags = flags.assign(since=flags["ts"] - flags["series"].map(first), has_value=np.isfinite(flags["score"]))
    flags = flags[flags["since"] >= WARMUP]
    counted = [row for _, part in flags.groupby("series", sort=False) for row in _counted(part["ts"])]
    return flags.loc[counted].drop(columns="score")


def _counted(flags: pd.Series) -> Iterator[int]:
    """Yield the labels of the flags (times in order) that count as an alert."""
    last = told = None
    for row, ts in flags.items():
        if last is None or told is None or ts - last > MERGED or ts - told >= AGAIN:
            told = ts
            yield row
        last = ts


def delays(truth: pd.DataFrame, told: pd.DataFrame) -> pd.DataFrame:
    """Return the incidents (series, start, end, kind) with `delay`: from the start to the first alert within it, or NaT."""
    at = {name: part["ts"].to_numpy() for name, part in told.groupby("series")}
    nothing = np.empty(0, dtype="datetime64[ns]")
    out = []
    for event in truth.itertuples():
        ts = at.get(event.series, nothing)
        inside = ts[(ts >= event.start.to_datetime64()) & (ts <= event.end.to_datetime64())]
        out.append(pd.Timestamp(inside[0]) - event.start if len(inside) else pd.NaT)
    return truth.assign(delay=pd.to_timedelta(pd.Series(out, index=truth.index)))


def by_kind(delayed: pd.DataFrame) -> pd.DataFrame:
    """Return kind -> events, recall_1h (found within an hour), recall (found within the incident), delay_min (median)."""
    of = delayed.groupby("kind")["delay"]
    return pd.DataFrame({
        "events": of.size(),
        "recall_1h": of.agg(lambda delay: (delay <= TIMELY).mean()),
        "recall": of.agg(lambda delay: delay.notna().mean()),
        "delay_min": of.median() / pd.Timedelta("1min"),
    })  # fmt: skip


def counts(series: pd.DataFrame, scored: list[dict], by: str) -> pd.DataFrame:
    """Return app, class, size or metric -> events, hit, false, f1, recall, precision and fa_week (false per metric and week).

    `series`: of `described`. `scored`: what the scoring script counted for each series: name, events, hit, false, weeks.
    """
    rows = pd.DataFrame(scored).set_index("name")[["events", "hit", "false", "weeks"]]
    out = rows.groupby(series[by].reindex(rows.index), observed=True).sum()
    return out.assign(
        f1=2 * out["hit"] / (out["events"] + out["hit"] + out["false"]),
        recall=out["hit"] / out["events"],
        precision=out["hit"] / (out["hit"] + out["false"]),
        fa_week=out["false"] / out["weeks"],
    )


@dataclass(frozen=True)
class CalmWeeks:
    """The alerts (app, ts) of the clean weeks after the warm-up, all of them false, and the number of app-weeks."""

    alerts: pd.DataFrame
    weeks: float

    @classmethod
    def of(cls, series: pd.DataFrame, told: pd.DataFrame) -> CalmWeeks:
        """Return those of the described series; an alert in a bucket without a value is not counted."""
        calm = told[(told["since"] < CLEAN) & told["has_value"]]
        apps = calm["series"].map(series["app"])
        return cls(pd.DataFrame({"app": apps, "ts": calm["ts"]}), series["app"].nunique() * (CLEAN - WARMUP) / pd.Timedelta("7D"))

    @property
    def a_week(self) -> float:
        """Alerts of all metrics per app and week."""
        return len(self.alerts) / self.weeks

    @property
    def moments_a_week(self) -> float:
        """Alerts per app and week, where those of one app that come at the same time are one."""
        return len(self.alerts.drop_duplicates()) / self.weeks

    @property
    def night_share(self) -> float:
        """Share between 0:00 and 6:00; 0 without alerts."""
        return float((self.alerts["ts"].dt.hour < NIGHT_ENDS).mean()) if len(self.alerts) else 0.0

    @property
    def at_weekend_step(self) -> int:
        """Alerts from 10:00 to 11:00 on Saturdays and Sundays."""
        ts = self.alerts["ts"].dt
        return int(((ts.hour == STEP_AT) & (ts.day_of_week >= SATURDAY)).sum())

    @property
    def by_hour(self) -> pd.Series:
        """Hour of the day -> alerts."""
        return self.alerts["ts"].dt.hour.value_counts().reindex(range(24), fill_value=0)
