"""Statistics of a metric's history, to choose a detector by: rhythm, growth, noise, autocorrelation, gaps. Pure.

`values` is float64 on the full grid of buckets (aware UTC index); `zone` gives local time.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import numpy as np
import pandas as pd

from alerting.backtest.replay import BacktestData, Progress
from alerting.detectors.bands import IQR
from alerting.detectors.baselines import SameSlot
from alerting.model.metric import Detector, Metric

RESIDUAL_RULE = IQR(over=SameSlot(days=28, near=1))  # noise is measured around its expected value
MIN_DAY_SHARE = 0.9  # of a day's buckets, for the day to have a mean
MAD_TO_STD = 1.4826  # median absolute deviation to standard deviation, for a normal distribution


def daily_profile(values: pd.Series, zone: str) -> pd.DataFrame:
    """Return hour of local time (float) x working day, Saturday, Sunday: the median."""
    local = values.index.tz_convert(zone)
    kind = np.select([local.day_of_week == 5, local.day_of_week == 6], ["Saturday", "Sunday"], "working day")
    table = values.groupby([local.hour + local.minute / 60, kind]).median().unstack()
    return table.reindex(columns=["working day", "Saturday", "Sunday"]).rename_axis(index="hour", columns="")


def daily_means(values: pd.Series, zone: str) -> pd.Series:
    """Return the mean of each local day; NaN for a day with more than a tenth of its buckets missing."""
    middle = values.index + (values.index[1] - values.index[0]) / 2 if len(values) > 1 else values.index
    days = values.groupby(middle.tz_convert(zone).tz_localize(None).normalize())
    enough = days.count() >= MIN_DAY_SHARE * days.size().max()
    return days.mean().where(enough).rename_axis("day")


def residuals(metric: Metric, values: pd.Series, zone: str, rule: Detector = RESIDUAL_RULE) -> pd.DataFrame:
    """Return value, expected (by the rule, of earlier values only), residual and share (residual / expected)."""
    expected = rule.band(values, zone)["expected"]
    residual = values - expected
    share = residual / expected.abs().where(expected != 0)
    return pd.DataFrame({"value": values, "expected": expected, "residual": residual, "share": share})


def noise_by_level(frame: pd.DataFrame, parts: int = 12) -> pd.DataFrame:
    """Return level, spread and chance of the buckets of `residuals`, in parts of equal size by expected value.

    Level is the median expected value, spread the robust standard deviation of the residuals, chance that of a Poisson count.
    """
    buckets = frame.dropna(subset=["residual", "expected"])
    if len(buckets) < 2 * parts:
        return pd.DataFrame(columns=["level", "spread", "chance"], dtype=float)
    part = pd.qcut(buckets["expected"].rank(method="first"), parts, labels=False)
    grouped = buckets.groupby(part)
    spread = grouped["residual"].apply(lambda each: MAD_TO_STD * (each - each.median()).abs().median())
    level = grouped["expected"].median()
    return pd.DataFrame({"level": level, "spread": spread, "chance": np.sqrt(level.clip(lower=0))})


def gaps(values: pd.Series, step: timedelta) -> pd.DataFrame:
    """Return one row per gap after the first value: from, until (where values came back) and buckets."""
    values = values.loc[values.first_valid_index() :] if values.notna().any() else values.iloc[:0]
    missing = values.isna()
    gap = (missing != missing.shift()).cumsum()[missing]
    rows = [[part.index[0], part.index[-1] + step, len(part)] for _, part in gap.groupby(gap)]
    return pd.DataFrame(rows, columns=["from", "until", "buckets"])


def longest_gaps(past: BacktestData, most: int = 10) -> pd.DataFrame:
    """Return the longest gaps of all metrics, in local time."""
    values = past.values()
    found = [gaps(values[metric.name], metric.step).assign(metric=metric.name) for metric in past.metrics_with_values]
    table = pd.concat(found).sort_values("buckets", ascending=False)
    for column in ("from", "until"):
        table[column] = pd.to_datetime(table[column], utc=True).dt.tz_convert(past.zone).dt.strftime("%a %Y-%m-%d %H:%M")
    return table.head(most)[["metric", "from", "until", "buckets"]].reset_index(drop=True)


def freshness_table(counts: Mapping[str, pd.DataFrame], step: timedelta) -> pd.DataFrame:
    """Return one row per table: median, 90 % and 99 % quantile of the seconds from a bucket's newest row to its end.

    `counts`: table -> frame with the column `newest` (epoch seconds), which not every source gives. The seconds are many where
    rows are few, and where rows came so late that the end of the bucket was missing.
    """
    rows: dict[str, list[float]] = {}
    for name, frame in counts.items():
        if "newest" in frame:
            ends = (frame.index + step).as_unit("s").asi8
            seconds = (ends - frame["newest"]).dropna()
            rows |= {name: seconds.quantile([0.5, 0.9, 0.99]).round().tolist()} if len(seconds) else {}
    if not rows:
        return pd.DataFrame({"newest rows": ["this source does not say"]})
    return pd.DataFrame.from_dict(rows, orient="index", columns=["half", "9 of 10", "99 of 100"])


def metric_summary(metric: Metric, values: pd.Series, zone: str) -> dict[str, float]:
    """Return level, shares of the variance, growth, noise and gaps of one metric.

    The time of day explains a share of the variance, the day of the week adds another. Growth is the median change from the
    same time a week before. `times chance`: variance of the residuals over that of a Poisson count (NaN unless a count).
    """
    local, total = values.index.tz_convert(zone), values.var()
    slot = local.hour * 60 + local.minute
    by_time = 1 - (values - values.groupby(slot).transform("mean")).var() / total
    by_week = 1 - (values - values.groupby([local.day_of_week, slot]).transform("mean")).var() / total
    week_ago = values.shift(freq=pd.Timedelta(weeks=1)).reindex(values.index)
    frame = residuals(metric, values, zone)
    noise = noise_by_level(frame).query("level > 0")
    return {
        "level": values.median(),
        "time of day": by_time,
        "day of week": max(by_week - by_time, 0.0),
        "the rest": 1 - max(by_week, by_time),
        "growth a week": float((values / week_ago.where(week_ago > 0) - 1).median()),
        "noise": MAD_TO_STD * frame["share"].abs().median(),
        "times chance": float((noise["spread"] ** 2 / noise["level"]).median()) if metric.form == "count" else float("nan"),
        "after 1 bucket": frame["share"].corr(frame["share"].shift(1)),
        "missing": float(values.loc[values.first_valid_index() :].isna().mean()) if values.notna().any() else 1.0,
    }


def compare_baselines(
    series: Mapping[str, pd.Series],
    rules: Mapping[str, Detector],
    zone: str,
    last: timedelta = timedelta(weeks=2),
    track: Progress = iter,
) -> pd.DataFrame:
    """Return the median distance from each rule's expected value to the value, as a share of the value.

    One row per rule, one column per metric, over the buckets of the `last` stretch for which all the rules give a band.
    """
    tables = {}
    for name in track(list(series)):
        values = series[name]
        distance = pd.DataFrame({label: (rule.band(values, zone)["expected"] - values).abs() for label, rule in rules.items()})
        share = distance.div(values.abs().where(values != 0), axis=0).loc[values.index[-1] - last :]
        tables[name] = share.dropna().median()
    return pd.DataFrame(tables)
