"""Bands and verdicts of series: of one metric, and of related metrics, which are judged together. Pure."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from alerting import detectors
from alerting.detectors.bands import BandColumns, series_columns
from alerting.detectors.series_grid import NightlyCache, SeriesGrid
from alerting.detectors.verdicts import SUPPORT_FOR, PriorVerdicts, Sides, judge_values, sides_off
from alerting.detectors.windows import window_max
from alerting.model.incident import Incident, Member, MetricTree
from alerting.model.metric import Metric
from alerting.model.run import caught
from alerting.model.verdict import Label

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # of an index, in a second
VERDICT_COLUMNS = ("status", "value", "low", "expected", "high", "score", "rule", "news", "usual")  # in the order of Verdict
NO_BUCKETS = {name: np.empty(0, dtype=object) for name in VERDICT_COLUMNS}
MASK_AFTER = timedelta(hours=1)  # after its end; until then an incident's values may be a new level and are not masked
MASKED_LABELS = (Label.REAL, Label.EXPECTED)
WEEK, DAY = timedelta(days=7), timedelta(days=1)
MIN_LEVEL_BUCKETS = 4  # buckets that are needed to measure a new level


@dataclass(frozen=True)
class Banded:
    """A metric's values and the columns of its band from position `since` on; its verdicts begin at `first`."""

    metric: Metric
    series: pd.Series
    band: Mapping[str, np.ndarray | str]
    volume: pd.Series | None
    since: int
    first: int
    before: PriorVerdicts = PriorVerdicts()
    seconds: float = 0.0

    def sides_off(self) -> Sides:
        return sides_off(self.series.to_numpy(float)[self.since :], self.band, self.metric)

    def judge(self, support: Sides | None) -> dict[str, np.ndarray]:
        """Return the columns of `detectors.judge` from `first` on; `support` begins at `since`."""
        skipped = self.first - self.since
        limits = {name: column if isinstance(column, str) else column[skipped:] for name, column in self.band.items()}
        size = None if self.volume is None else self.volume.to_numpy(float)[self.first :]
        sides = support and (support[0][skipped:], support[1][skipped:])
        return judge_values(self.series.to_numpy(float)[self.first :], limits, self.metric, size, self.before, sides)


def judge_related(
    tree: MetricTree, parts: Sequence[Banded], errors: MutableMapping[str, str] | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """Return metric -> the columns of `detectors.judge`. What related metrics say weakly at once counts for each of them.

    Where a metric with a common root was off within the last hour, by its own evidence, the band is narrower on that side.
    A metric that cannot be judged is left out, and is in `errors` with the reason; with None it raises.
    """
    by_name, relatives, out = {part.metric.name: part for part in parts if part.band}, tree.relatives(), {}
    off: dict[str, Sides] = {}
    for name in relatives:
        with caught(errors, name):
            if name in by_name:
                off[name] = by_name[name].sides_off()
    for part in parts:
        name = part.metric.name
        near = [(by_name[other], off[other]) for other in relatives.get(name, ()) if other in off]
        with caught(errors, name):
            out[name] = part.judge(_support(part, near) if near else None) if part.band else NO_BUCKETS
    return out


def _support(part: Banded, relatives: Sequence[tuple[Banded, Sides]]) -> Sides | None:
    """Return on which side some related metric was off in the hour up to each bucket of `part`; None if nowhere."""
    width = max(1, SUPPORT_FOR // part.metric.step)
    sides = np.zeros((2, len(part.series) - part.since), bool)
    for one, off in relatives:
        if one.metric.step == part.metric.step:
            recent = window_max(np.stack(off).astype(float), width) > 0
            shift = position_on(part.series.index, one.series.index[0]) + one.since - part.since
            first, last = max(0, shift), min(sides.shape[1], shift + recent.shape[1])
            if first < last:
                sides[:, first:last] |= recent[:, first - shift : last - shift]
    return (sides[0], sides[1]) if sides.any() else None


def band(metric: Metric, series: pd.Series, zone: str, volume: pd.Series | None = None) -> pd.DataFrame:
    """Return the band of every bucket of a series (float64, full UTC grid); `volume`: the denominator of a ratio."""
    return pd.DataFrame(series_columns(bands_of([metric], [series], zone, [volume]), 0), index=series.index)


def judge_series(metric: Metric, series: pd.Series, zone: str, volume: pd.Series | None = None) -> pd.DataFrame:
    """Judge every bucket of one series (float64, full UTC grid) by the metric's detector: the columns of `detectors.judge`."""
    return detectors.judge(series, band(metric, series, zone, volume), metric, volume)


def judge_whole(
    metrics: Sequence[Metric],
    series: Mapping[str, pd.Series],
    zone: str,
    volumes: Mapping[str, pd.Series],
    errors: MutableMapping[str, str] | None = None,
) -> dict[str, pd.DataFrame]:
    """Judge every bucket of each metric's series, related metrics together, as a run does.

    A metric that cannot be judged is left out, and is in `errors` with the reason; with None it raises.
    """
    parts = []
    for metric in metrics:
        values, volume = series[metric.name], volumes.get(metric.name)
        with caught(errors, metric.name):
            parts.append(Banded(metric, values, series_columns(bands_of([metric], [values], zone, [volume]), 0), volume, 0, 0))
    judged = judge_related(MetricTree(metrics), parts, errors)
    return {name: pd.DataFrame(columns, index=series[name].index) for name, columns in judged.items()}


def bands_of(
    metrics: Sequence[Metric],
    series: Sequence[pd.Series],
    zone: str,
    volumes: Sequence[pd.Series | None],
    since: int = 0,
    cache: NightlyCache | None = None,
) -> BandColumns:
    """Return the bands of metrics with one detector and one grid, from position `since` on."""
    values = np.stack([one.to_numpy(float) for one in series])
    counts = np.array([metric.counted for metric in metrics])
    denominators = None
    if any(volume is not None for volume in volumes):
        unknown = np.full(values.shape[1], np.nan)
        index = series[0].index
        denominators = np.stack([unknown if one is None else one.reindex(index).to_numpy(float) for one in volumes])
    grid = SeriesGrid.at(series[0].index, values, zone, since, cache, counts, denominators)
    return metrics[0].rule.bands(grid)


def mask_incidents(name: str, series: pd.Series, incidents: Sequence[Incident], first: datetime) -> pd.Series:
    """Return the series (float64, full UTC grid) from which the bands of buckets from `first` on are made.

    Real and expected incidents are masked with NaN, since their values are not normal; a false alarm is normal, and stays.
    Values before a new level are scaled to it: by the median ratio of its first day to the same times a week before.
    """
    for incident in incidents:
        member = incident.member(name)
        if member is None or incident.label is None:
            continue
        if incident.label in MASKED_LABELS and member.until and member.until + MASK_AFTER <= first:
            series = series.where((series.index < member.since) | (series.index >= member.until))
        elif incident.label is Label.NEW_TREND:
            series = _scale_to_new_level(series, member)
    return series


def _scale_to_new_level(series: pd.Series, member: Member) -> pd.Series:
    new = series.loc[member.since : member.since + DAY]
    ratios = (new.to_numpy() / series.reindex(new.index - WEEK).to_numpy())[1:]  # the first bucket is of both levels
    ratios = ratios[np.isfinite(ratios) & (ratios > 0)]
    if len(ratios) < MIN_LEVEL_BUCKETS:
        return series
    return series.where(series.index >= member.since, series * float(np.median(ratios)))


def position_on(index: pd.DatetimeIndex, bucket: datetime) -> int:
    """Return the position of a bucket on the grid, also beyond its ends."""
    if len(index) < 2:
        return int((pd.Timestamp(bucket) > index[0]) - (pd.Timestamp(bucket) < index[0])) if len(index) else 0
    first, second = index.asi8[:2].tolist()  # plain integers, which are fast: this is called thousands of times
    return (round(bucket.timestamp() * 1e6) * UNITS[index.unit] // 10**6 - first) // (second - first)
