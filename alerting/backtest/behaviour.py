"""Statistics of a metric's history, to choose a detector by: rhythm, growth, noise, autocorrelation, gaps. Pure.

`values` is float64 on the full grid of buckets (aware UTC index); `zone` gives local time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
import pandas as pd

from alerting.backtest.replay import Progress
from alerting.detectors.bands import IQR
from alerting.detectors.baselines import SameSlot
from alerting.model.metric import Detector, Metric

RESIDUAL_RULE = IQR(over=SameSlot(days=28, near=1))  # noise is measured around its expected value
SHARES = ["time of day", "day of week", "the rest", "growth a week", "noise", "missing"]  # columns of `behaviour` in percent
MIN_DAY_SHARE = 0.9  # of a day's buckets, for the day to have a mean
MAD_TO_STD = 1.4826  # median absolute deviation to standard deviation, for a normal distribution


def rhythm(values: pd.Series, zone: str) -> pd.DataFrame:
    """Return weekday (Monday 0) x hour of local time: the median as a share of the overall mean."""
    local = values.index.tz_convert(zone)
    table = values.groupby([local.day_of_week, local.hour]).median().unstack()
    return (table / values.mean()).rename_axis(index="weekday", columns="hour")


def daily_profile(values: pd.Series, zone: str) -> pd.DataFrame:
    """Return hour of local time (float) x working day, Saturday, Sunday: the median."""
    local = values.index.tz_convert(zone)
    kind = np.select([local.day_of_week == 5, local.day_of_week == 6], ["Saturday", "Sunday"], "working day")
    table = values.groupby([local.hour + local.minute / 60, kind]).median().unstack()
    return table.reindex(columns=["working day", "Saturday", "Sunday"]).rename_axis(index="hour", columns="")


def explained_variance(values: pd.Series, zone: str) -> dict[str, float]:
    """Return the share of the variance explained by the time of day, the share that the weekday adds, and the rest."""
    local = values.index.tz_convert(zone)
    slot, total = local.hour * 60 + local.minute, values.var()
    by_time = 1 - (values - values.groupby(slot).transform("mean")).var() / total
    by_week = 1 - (values - values.groupby([local.day_of_week, slot]).transform("mean")).var() / total
    return {"time of day": by_time, "day of week": max(by_week - by_time, 0.0), "the rest": 1 - max(by_week, by_time)}


def daily_means(values: pd.Series, zone: str) -> pd.Series:
    """Return the mean of each local day; NaN for a day with more than a tenth of its buckets missing."""
    days = values.groupby(values.index.tz_convert(zone).tz_localize(None).normalize())
    enough = days.count() >= MIN_DAY_SHARE * days.size().max()
    return days.mean().where(enough).rename_axis("day")


def growth(values: pd.Series) -> float:
    """Return the median change from the same time a week before, as a share."""
    week_ago = values.shift(freq=pd.Timedelta(weeks=1)).reindex(values.index)
    return float((values / week_ago.where(week_ago > 0) - 1).median())


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


def dispersion(metric: Metric, frame: pd.DataFrame) -> float:
    """Return the variance of the residuals over that of a Poisson count (1: pure chance); NaN unless the metric is a count."""
    table = noise_by_level(frame)
    table = table[table["level"] > 0]
    return float((table["spread"] ** 2 / table["level"]).median()) if metric.form == "count" and len(table) else float("nan")


def autocorrelation(shares: Mapping[str, pd.Series], lags: int) -> pd.DataFrame:
    """Return the correlation of each metric's residuals with those 1 .. `lags` buckets later: how long a deviation lasts."""
    each = {name: [share.corr(share.shift(lag)) for lag in range(1, lags + 1)] for name, share in shares.items()}
    return pd.DataFrame(each, index=pd.RangeIndex(1, lags + 1, name="buckets later"))


def residual_correlation(shares: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Return the correlation between the metrics' residuals (Spearman's, so that no single incident makes it)."""
    return pd.DataFrame(dict(shares)).rank().corr()


def gaps(values: pd.Series, step: timedelta) -> pd.DataFrame:
    """Return one row per gap after the first value: from, until (where values came back) and buckets."""
    values = values.loc[values.first_valid_index() :] if values.notna().any() else values.iloc[:0]
    missing = values.isna()
    gap = (missing != missing.shift()).cumsum()[missing]
    rows = [[part.index[0], part.index[-1] + step, len(part)] for _, part in gap.groupby(gap)]
    return pd.DataFrame(rows, columns=["from", "until", "buckets"])


def longest_gaps(found: Mapping[str, pd.DataFrame], zone: str, most: int = 10) -> pd.DataFrame:
    """Return the longest gaps of all metrics (metric -> `gaps`), in local time."""
    table = pd.concat([gaps.assign(metric=name) for name, gaps in found.items()]).sort_values("buckets", ascending=False)
    for column in ("from", "until"):
        table[column] = pd.to_datetime(table[column], utc=True).dt.tz_convert(zone).dt.strftime("%a %Y-%m-%d %H:%M")
    return table.head(most)[["metric", "from", "until", "buckets"]].reset_index(drop=True)


def freshness(counts: pd.DataFrame, step: timedelta) -> pd.Series:
    """Return seconds from each bucket's newest row to the bucket's end; empty for a source that does not give the newest row.

    They are many where rows are few, and where rows came so late that the end of the bucket was missing.
    """
    if "newest" not in counts:
        return pd.Series(dtype=float)
    ends = (counts.index + step).as_unit("s").asi8
    return (ends - counts["newest"]).dropna()


def freshness_quantiles(found: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Return one row per table: the median, 90 % and 99 % quantile of `freshness`, in seconds."""
    rows = {name: seconds.quantile([0.5, 0.9, 0.99]).round().tolist() for name, seconds in found.items() if len(seconds)}
    if not rows:
        return pd.DataFrame({"newest rows": ["this source does not say"]})
    return pd.DataFrame.from_dict(rows, orient="index", columns=["half", "9 of 10", "99 of 100"])


def behaviour(metrics: Sequence[Metric], series: Mapping[str, pd.Series], zone: str) -> pd.DataFrame:
    """Return one row per metric: all of the above in numbers."""
    rows = {}
    for metric in metrics:
        values = series[metric.name]
        frame = residuals(metric, values, zone)
        rows[metric.name] = {
            "level": values.median(),
            **explained_variance(values, zone),
            "growth a week": growth(values),
            "noise": MAD_TO_STD * frame["share"].abs().median(),
            "times chance": dispersion(metric, frame),
            "after 1 bucket": frame["share"].corr(frame["share"].shift(1)),
            "missing": float(values.loc[values.first_valid_index() :].isna().mean()) if values.notna().any() else 1.0,
        }
    return pd.DataFrame(rows).T


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
