"""Judged series: the bands and verdicts of series, of one metric or of related ones together, and the judged metrics of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from alerting import detectors
from alerting.detectors.series_grid import NightlyCache, SeriesGrid, series_columns
from alerting.detectors.verdicts import SUPPORT_FOR, PriorVerdicts, Sides, judge_values, sides_off
from alerting.detectors.windows import window_max
from alerting.model.clock import DAY
from alerting.model.incident import Incident, Member, MetricTree
from alerting.model.metric import Metric
from alerting.model.run import Reading, caught
from alerting.model.tables import DisplayList
from alerting.model.verdict import Label, Status, Verdict
from alerting.pipeline.context import DueBuckets, RunContext, band_span

NUMBERS = ("value", "low", "expected", "high", "score", "usual")
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # unit of an index -> how many of it make a second
VERDICT_COLUMNS = ("status", "value", "low", "expected", "high", "score", "rule", "news", "usual")  # in the order of Verdict
NO_BUCKETS = {name: np.empty(0, dtype=object) for name in VERDICT_COLUMNS}
MASK_AFTER = timedelta(hours=1)  # after its end; until then an incident's values may be a new level and are not masked
MASKED_LABELS = (Label.REAL, Label.EXPECTED)
WEEK = timedelta(days=7)
MIN_LEVEL_BUCKETS = 4  # buckets that are needed to measure a new level


@dataclass(frozen=True)
class Banded:
    """A metric's values, and its band from position `since` on: column -> (n,) or one word; {} without a band.

    Its verdicts begin at position `first`.
    """

    metric: Metric
    series: pd.Series
    band: Mapping[str, np.ndarray | str]
    volume: pd.Series | None
    since: int
    first: int
    before: PriorVerdicts = PriorVerdicts()
    seconds: float = 0.0

    def judge(self, support: Sides | None) -> dict[str, np.ndarray]:
        """Return the columns of `detectors.judge` from `first` on; `support` begins at `since`."""
        skipped = self.first - self.since
        limits = {name: column if isinstance(column, str) else column[skipped:] for name, column in self.band.items()}
        size = None if self.volume is None else self.volume.to_numpy(float)[self.first :]
        sides = support and (support[0][skipped:], support[1][skipped:])
        return judge_values(self.series.to_numpy(float)[self.first :], limits, self.metric, size, self.before, sides)


def add_bands(
    parts: Sequence[Banded],
    zone: str,
    labelled: Sequence[Incident] = (),
    cache: NightlyCache | None = None,
    holidays: frozenset[date] = frozenset(),
) -> list[Banded]:
    """Return the parts with their bands. All must have the same detector, grid and `since`.

    `labelled`: incidents that mask the past (see `mask_incidents`). `cache`: nightly statistics, which are read and added.
    """
    index, since = parts[0].series.index, parts[0].since
    pasts = [mask_incidents(one.metric.name, one.series, labelled, index[-1]) if labelled else one.series for one in parts]
    values = np.stack([past.to_numpy(float) for past in pasts])
    denominators = None
    if any(one.volume is not None for one in parts):
        unknown = np.full(len(index), np.nan)
        denominators = np.stack([unknown if one.volume is None else one.volume.reindex(index).to_numpy(float) for one in parts])
    counts = np.array([one.metric.counted for one in parts])
    grid = SeriesGrid.at(index, values, zone, since, cache, counts, denominators, holidays)
    bands = parts[0].metric.rule.bands(grid)
    return [replace(one, band=series_columns(bands, number)) for number, one in enumerate(parts)]


def band(
    metric: Metric, series: pd.Series, zone: str, volume: pd.Series | None = None, holidays: frozenset[date] = frozenset()
) -> pd.DataFrame:
    """Return the band of every bucket of a series (float64, full UTC grid): the columns low, expected, high and others.

    `volume`: the denominator of a ratio. `holidays`: dates in `zone`.
    """
    (one,) = add_bands([Banded(metric, series, {}, volume, 0, 0)], zone, holidays=holidays)
    return pd.DataFrame(one.band, index=series.index)


def judge_series(metric: Metric, series: pd.Series, zone: str, volume: pd.Series | None = None) -> pd.DataFrame:
    """Judge every bucket of one series (float64, full UTC grid) by the metric's detector: the columns of `detectors.judge`."""
    return detectors.judge(series, band(metric, series, zone, volume), metric, volume)


def judge_whole(
    metrics: Sequence[Metric],
    series: Mapping[str, pd.Series],
    zone: str,
    volumes: Mapping[str, pd.Series],
    errors: MutableMapping[str, str] | None = None,
    holidays: frozenset[date] = frozenset(),
) -> dict[str, pd.DataFrame]:
    """Judge every bucket of each metric's series, related metrics together, as a run does. `holidays`: dates in `zone`.

    A metric that cannot be judged is left out, and is in `errors` with the reason; with None the error is raised.
    """
    parts = []
    for metric in metrics:
        values, volume = series[metric.name], volumes.get(metric.name)
        with caught(errors, metric.name):
            parts += add_bands([Banded(metric, values, {}, volume, 0, 0)], zone, holidays=holidays)
    judged = judge_related(MetricTree(metrics), parts, errors)
    return {name: pd.DataFrame(columns, index=series[name].index) for name, columns in judged.items()}


def judge_related(
    tree: MetricTree, parts: Sequence[Banded], errors: MutableMapping[str, str] | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """Return metric -> the columns of `detectors.judge`. Weak evidence in related metrics at the same time adds up.

    If a metric with a common root was outside of its own band within the last hour, the band is narrower on that side. A metric
    that cannot be judged is left out, and is in `errors` with the reason; with None the error is raised.
    """
    by_name, relatives, out = {part.metric.name: part for part in parts if part.band}, tree.relatives(), {}
    off: dict[str, Sides] = {}
    for name in relatives:
        with caught(errors, name):
            if name in by_name:
                one = by_name[name]
                off[name] = sides_off(one.series.to_numpy(float)[one.since :], one.band, one.metric)
    for part in parts:
        name = part.metric.name
        near = [(by_name[other], off[other]) for other in relatives.get(name, ()) if other in off]
        with caught(errors, name):
            out[name] = part.judge(_support(part, near) if near else None) if part.band else NO_BUCKETS
    return out


def _support(part: Banded, relatives: Sequence[tuple[Banded, Sides]]) -> Sides | None:
    """Return for each bucket of `part` on which side a related metric was off in the hour before; None if no metric was."""
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


def verdict_of(name: str, bucket: datetime, row: Mapping[str, Any]) -> Verdict:
    """Return the verdict of a row of a judged frame."""
    value, low, expected, high, score, usual = (float(row[column]) for column in NUMBERS)
    status = Status(row["status"] or Status.UNKNOWN)
    return Verdict(name, bucket, status, value, low, expected, high, score, str(row["rule"]), usual=usual)


# The judged metrics of a run.


@dataclass(frozen=True)
class JudgedTail:
    """The newest judged buckets of one metric, from position `first` of its series on: the columns of `detectors.judge`."""

    first: int
    columns: dict[str, np.ndarray]
    seconds: float = 0.0


@dataclass
class JudgedMetrics(Mapping[str, pd.DataFrame]):
    """The judged metrics of a run: a mapping of metric -> frame on its full UTC grid. A frame is built on first access.

    Columns: value, low, expected, high, score, status, rule, usual, news. The due buckets have the verdicts of this run, the
    three days before them have the verdicts in the store. In all other buckets the columns of a verdict are NaN or "".
    """

    ctx: RunContext
    reading: Reading
    tails: dict[str, JudgedTail]
    labelled: Sequence[Incident] = ()
    due: Sequence[DueBuckets] = ()
    _frames: dict[str, pd.DataFrame] = field(default_factory=dict)

    @classmethod
    def of_frames(cls, ctx: RunContext, frames: Mapping[str, pd.DataFrame], reading: Reading) -> JudgedMetrics:
        """Return the judged metrics for frames that were judged as a whole, such as the frames of a replay."""
        tails = {
            name: JudgedTail(0, {str(column): values.to_numpy() for column, values in frame.items()})
            for name, frame in frames.items()
        }
        return cls(ctx, reading, tails, _frames=dict(frames))

    def __iter__(self) -> Iterator[str]:
        return iter(self.tails)

    def __len__(self) -> int:
        return len(self.tails)

    def __contains__(self, name: object) -> bool:
        return name in self.tails

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name in self._frames:
            return self._frames[name]
        series, tail = self.reading.series[name], self.tails[name]
        n = len(series)
        columns: dict[str, np.ndarray] = {column: np.full(n, np.nan) for column in NUMBERS}
        columns |= {"value": series.to_numpy(float).copy(), "news": np.zeros(n, bool)}
        columns |= {column: np.full(n, "", dtype=object) for column in ("status", "rule")}

        since = series.index[-1].to_pydatetime() - band_span(self.ctx.metric(name)) if n else None
        for verdict in self.ctx.store.judged(name, since) if since else []:
            position = position_on(series.index, verdict.bucket)
            if not 0 <= position < tail.first:
                continue
            for column in NUMBERS[1:]:
                columns[column][position] = verdict.numbers[column]
            columns["status"][position], columns["rule"][position] = verdict.status.value, verdict.reason
            columns["news"][position] = verdict.is_new

        for column, part in tail.columns.items():
            columns[column][tail.first :] = part
        self._frames[name] = pd.DataFrame(columns, index=series.index)
        return self._frames[name]

    def whole(self, name: str) -> pd.DataFrame:
        """Return the frame of the metric with every bucket of its series judged."""
        if name in self.tails and self.tails[name].first == 0:
            return self[name]
        metric, series, volume = self.ctx.metric(name), self.reading.series[name], self.reading.volumes.get(name)
        known = self.labelled if len(series) else ()
        (one,) = add_bands([Banded(metric, series, {}, volume, 0, 0)], self.ctx.zone, known, holidays=self.ctx.holidays)
        return detectors.judge(series, pd.DataFrame(one.band, index=series.index), metric, volume)

    @cached_property
    def verdicts(self) -> DisplayList[Verdict]:
        """The verdicts of the due buckets, in the order in which the buckets end, then in that of the catalogue."""
        return _verdicts(self.due, {item.metric.name: self.columns(item) for item in self.due if item.metric.name in self})

    def warmup_verdicts(self) -> list[Verdict]:
        """Return the verdicts of new metrics before their first due bucket: charts show them."""
        out: list[Verdict] = []
        for item in self.due:
            name, step = item.metric.name, item.metric.step
            if item.first_look and name in self:
                first = self.reading.series[name].index[0] + self.tails[name].first * step
                warmup = replace(item, first=first.to_pydatetime(), last=item.begin - step)
                out += _verdicts([warmup], {name: self.columns(warmup)})
        return out

    def columns(self, item: DueBuckets) -> dict[str, Any]:
        """Return the columns of the due buckets of a metric, and `bucket`, their starts."""
        tail, index = self.tails[item.metric.name], self.reading.series[item.metric.name].index
        first, last = max(position_on(index, item.begin), tail.first), position_on(index, item.last) + 1
        part = slice(first - tail.first, max(first, last) - tail.first)
        return {"bucket": index[first:last].to_pydatetime(), **{name: column[part] for name, column in tail.columns.items()}}

    def statuses(self, bucket: datetime) -> dict[str, str]:
        """Return metric -> status of its bucket at that time, for the judged metrics."""
        out = self.ctx.store.statuses(bucket)
        for name, tail in self.tails.items():
            position = position_on(self.reading.series[name].index, bucket) - tail.first
            if 0 <= position < len(tail.columns["status"]):
                out[name] = str(tail.columns["status"][position])
        return {name: status for name, status in out.items() if name in self.tails}

    def verdict(self, name: str, bucket: datetime) -> Verdict:
        """Return the verdict of a metric's bucket: of this run, else the stored one, else one with the status unknown."""
        tail = self.tails[name]
        position = position_on(self.reading.series[name].index, bucket) - tail.first
        if 0 <= position < len(tail.columns["status"]):
            return verdict_of(name, bucket, {column: values[position] for column, values in tail.columns.items()})
        stored = self.ctx.store.judged(name, bucket)[:1]  # stored by an earlier run, whose clock may have been ahead
        if stored and stored[0].bucket == bucket:
            return stored[0]
        return Verdict(name, bucket, Status.UNKNOWN)

    def newest(self, name: str) -> Verdict:
        """Return the verdict of the metric's newest bucket, from the store where this run had nothing to judge."""
        bucket = self.reading.series[name].index[-1].to_pydatetime()
        if len(self.tails[name].columns["value"]):
            return self.verdict(name, bucket)
        stored = self.ctx.store.judged(name, bucket)[:1]  # may be newer: the clock of an earlier run was ahead
        return replace(stored[0], bucket=bucket) if stored else Verdict(name, bucket, Status.UNKNOWN)


def verdicts(due: Sequence[DueBuckets], judged: Mapping[str, pd.DataFrame]) -> DisplayList[Verdict]:
    """Return the verdicts of the due buckets of judged frames, in the order in which the buckets end, then in that of `due`."""
    parts = {item.metric.name: judged[item.metric.name].loc[item.begin : item.last] for item in due if item.metric.name in judged}
    return _verdicts(due, {name: {"bucket": part.index.to_pydatetime(), **dict(part.items())} for name, part in parts.items()})


def _verdicts(due: Sequence[DueBuckets], parts: Mapping[str, Mapping[Any, Any]]) -> DisplayList[Verdict]:
    """Return the verdicts of metric -> columns in the order in which the buckets end, then in that of `parts`."""
    found, steps = list[Verdict](), {item.metric.name: item.metric.step for item in due}
    for metric, columns in parts.items():
        rows = zip(columns["bucket"], *(columns[name].tolist() for name in VERDICT_COLUMNS), strict=True)
        found += [Verdict(metric, bucket, Status(status), *numbers) for bucket, status, *numbers in rows]
    return DisplayList(sorted(found, key=lambda verdict: verdict.bucket + steps[verdict.metric]), "verdicts")
