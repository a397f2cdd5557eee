"""How a metric behaves: rhythm, growth, noise, memory, gaps. What a rule is chosen by. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np
import pandas as pd

from alerting.backtest.replay import Progress
from alerting.detectors.bands import IQR
from alerting.detectors.baselines import SameSlot
from alerting.model.metric import Detector, Metric

WEEK = pd.Timedelta(weeks=1)
USUAL = IQR(over=SameSlot(days=28, near=1))  # its middle is what noise is measured against
FORTNIGHT = timedelta(weeks=2)
SHARES = ["time of day", "day of week", "the rest", "growth a week", "noise", "missing"]  # columns of `behaviour`
WHEN = ["from", "until"]
NOT_SAID = {"newest rows": ["this source does not say"]}
FULL = 0.9  # share of a day's buckets that make it a day
MADS = 1.4826  # median absolute deviations to standard deviations, for a normal distribution


def rhythm(values: pd.Series, zone: str) -> pd.DataFrame:
    """Weekday (Monday 0) x hour of local time: the median there, as a share of the overall mean."""
    local = values.index.tz_convert(zone)
    table = values.groupby([local.day_of_week, local.hour]).median().unstack()
    return (table / values.mean()).rename_axis(index="weekday", columns="hour")


def daily_profile(values: pd.Series, zone: str) -> pd.DataFrame:
    """Hour of local time (float) x working days, Saturdays and Sundays: the median."""
    local = values.index.tz_convert(zone)
    kind = np.select([local.day_of_week == 5, local.day_of_week == 6], ["Saturday", "Sunday"], "working day")
    table = values.groupby([local.hour + local.minute / 60, kind]).median().unstack()
    return table.reindex(columns=["working day", "Saturday", "Sunday"]).rename_axis(index="hour", columns="")


def explained_variance(values: pd.Series, zone: str) -> dict[str, float]:
    """Which share of the variance the time of day explains, what the day of the week adds to it, and what is left."""
    local = values.index.tz_convert(zone)
    slot, whole = local.hour * 60 + local.minute, values.var()
    by_time = 1 - (values - values.groupby(slot).transform("mean")).var() / whole
    by_week = 1 - (values - values.groupby([local.day_of_week, slot]).transform("mean")).var() / whole
    return {"time of day": by_time, "day of week": max(by_week - by_time, 0.0), "the rest": 1 - max(by_week, by_time)}


def daily_means(values: pd.Series, zone: str) -> pd.Series:
    """Mean of each local day; NaN for a day of which more than a tenth is not there."""
    days = values.groupby(values.index.tz_convert(zone).tz_localize(None).normalize())
    per_day = days.size().max()
    return days.mean().where(days.count() >= FULL * per_day).rename_axis("day")


def growth(values: pd.Series) -> float:
    """Median change against the same time a week before, as a share."""
    week_ago = values.shift(freq=WEEK).reindex(values.index)
    return float((values / week_ago.where(week_ago > 0) - 1).median())


def residuals(metric: Metric, values: pd.Series, zone: str, rule: Detector = USUAL) -> pd.DataFrame:
    """value, expected (the rule's middle: earlier values only), off (value - expected) and share (off / expected)."""
    expected = rule.band(values, zone)["expected"]
    off = values - expected
    return pd.DataFrame({"value": values, "expected": expected, "off": off, "share": off / expected.abs().where(expected != 0)})


def noise_by_level(seen: pd.DataFrame, parts: int = 12) -> pd.DataFrame:
    """Level against spread: the buckets of `surprises` in parts of equal size by what was expected, the robust standard
    deviation of what came, and what pure chance (Poisson) would make of counts."""
    known = seen.dropna(subset=["off", "expected"])
    if len(known) < 2 * parts:
        return pd.DataFrame(columns=["level", "spread", "chance"], dtype=float)
    part = pd.qcut(known["expected"].rank(method="first"), parts, labels=False)
    grouped = known.groupby(part)
    spread = grouped["off"].apply(lambda off: MADS * (off - off.median()).abs().median())
    level = grouped["expected"].median()
    return pd.DataFrame({"level": level, "spread": spread, "chance": np.sqrt(level.clip(lower=0))})


def dispersion(metric: Metric, seen: pd.DataFrame) -> float:
    """Variance around what was expected over that of pure chance: 1 is Poisson; NaN for what is not a count."""
    table = noise_by_level(seen)
    table = table[table["level"] > 0]
    return float((table["spread"] ** 2 / table["level"]).median()) if metric.form == "count" and len(table) else float("nan")


def autocorrelation(shares: Mapping[str, pd.Series], lags: int) -> pd.DataFrame:
    """Correlation of each metric's surprises with those 1 .. `lags` buckets later: how long a wave lasts."""
    each = {name: [share.corr(share.shift(lag)) for lag in range(1, lags + 1)] for name, share in shares.items()}
    return pd.DataFrame(each, index=pd.RangeIndex(1, lags + 1, name="buckets later"))


def residual_correlation(shares: Mapping[str, pd.Series]) -> pd.DataFrame:
    """Correlation between the metrics' surprises (Spearman's, so that no single incident makes it)."""
    return pd.DataFrame(dict(shares)).rank().corr()


def gaps(values: pd.Series, step: timedelta) -> pd.DataFrame:
    """One row per stretch without values, from the first value on: from, until (where values came back) and buckets."""
    known = values.loc[values.first_valid_index() :] if values.notna().any() else values.iloc[:0]
    missing = known.isna()
    stretch = (missing != missing.shift()).cumsum()[missing]
    rows = [[part.index[0], part.index[-1] + step, len(part)] for _, part in stretch.groupby(stretch)]
    return pd.DataFrame(rows, columns=["from", "until", "buckets"])


def longest_gaps(found: Mapping[str, pd.DataFrame], zone: str, most: int = 10) -> pd.DataFrame:
    """The longest gaps of all metrics, in local time."""
    table = pd.concat([gaps.assign(metric=name) for name, gaps in found.items()]).sort_values("buckets", ascending=False)
    local = {name: pd.to_datetime(table[name], utc=True).dt.tz_convert(zone).dt.strftime("%a %Y-%m-%d %H:%M") for name in WHEN}
    return table.assign(**local).head(most)[["metric", *WHEN, "buckets"]].reset_index(drop=True)


def freshness_quantiles(found: Mapping[str, pd.Series]) -> pd.DataFrame:
    """One row per table: half, nine of ten and 99 of 100 buckets have their newest row so many seconds before their end."""
    told = {name: seconds.quantile([0.5, 0.9, 0.99]) for name, seconds in found.items() if len(seconds)}
    table = pd.DataFrame.from_dict({name: row.round().tolist() for name, row in told.items()}, orient="index")
    return table.set_axis(["half", "9 of 10", "99 of 100"][: table.shape[1]], axis=1) if len(table) else pd.DataFrame(NOT_SAID)


def freshness(counts: pd.DataFrame, step: timedelta) -> pd.Series:
    """Seconds between each bucket's newest row and its end. Long where rows are few, or where they come late and the
    bucket's end was not there yet; empty for a source that does not say."""
    if "newest" not in counts:
        return pd.Series(dtype=float)
    ends = (counts.index + step).as_unit("s").asi8
    return (ends - counts["newest"]).dropna()


def metric_summary(metric: Metric, values: pd.Series, zone: str) -> dict[str, float]:
    """One metric's line of the table that a rule is chosen by."""
    seen = residuals(metric, values, zone)
    return {
        "level": values.median(),
        **explained_variance(values, zone),
        "growth a week": growth(values),
        "noise": MADS * seen["share"].abs().median(),
        "times chance": dispersion(metric, seen),
        "after 1 bucket": seen["share"].corr(seen["share"].shift(1)),
        "missing": float(values.loc[values.first_valid_index() :].isna().mean()) if values.notna().any() else 1.0,
    }


def behaviour(metrics: Sequence[Metric], series: Mapping[str, pd.Series], zone: str) -> pd.DataFrame:
    """One row per metric: all of the above in numbers."""
    return pd.DataFrame({metric.name: metric_summary(metric, series[metric.name], zone) for metric in metrics}).T


def compare_baselines(
    series: Mapping[str, pd.Series], rules: Mapping[str, Detector], zone: str, last: timedelta = FORTNIGHT, track: Progress = iter
) -> pd.DataFrame:
    """Which past tells best what comes: median distance of the value from each rule's middle over the `last` stretch, as a
    share of the value, one row per rule and one column per metric; the same buckets for all rules."""
    tables = {}
    for name in track(list(series)):
        values = series[name]
        away = pd.DataFrame({rule: (made.band(values, zone)["expected"] - values).abs() for rule, made in rules.items()})
        share = away.div(values.abs().where(values != 0), axis=0).loc[values.index[-1] - last :]
        tables[name] = share.dropna().median()
    return pd.DataFrame(tables)
