"""Series -> judged: only the buckets that are due, of many metrics at once; what was judged before is remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from alerting import detectors
from alerting.detectors.bands import series_columns
from alerting.detectors.series_grid import NightlyCache, SeriesGrid
from alerting.detectors.verdicts import REARM_AFTER, PriorVerdicts, judge_values, lookback_buckets
from alerting.incidents import episodes as incidents_episodes
from alerting.model.incident import Event, Incident, Member
from alerting.model.metric import Detector, Metric
from alerting.model.run import Reading
from alerting.model.tables import DisplayList
from alerting.model.verdict import Episode, EventKind, Label, Status, Verdict
from alerting.pipeline.context import DueBuckets, RunContext, band_span

INCOMPLETE = "incomplete"  # reason of a bucket that has only half arrived
BATCH_SERIES = 64  # series worked on at once: numpy's overhead is shared, and their tables stay in the cache
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # of an index, in a second
NUMBERS = ("value", "low", "expected", "high", "score", "usual")
NO_BUCKETS = {name: np.empty(0, dtype=object) for name in (*NUMBERS, "status", "rule", "news")}  # is due


@dataclass(frozen=True)
class JudgedTail:
    """The newest judged buckets of one metric, from position `first` of its series on: the columns of `detectors.judge`."""

    first: int
    columns: dict[str, np.ndarray]
    seconds: float = 0.0

    def at(self, place: int) -> dict[str, Any]:
        return {name: column[place - self.first] for name, column in self.columns.items()}


@dataclass
class JudgedMetrics(Mapping[str, pd.DataFrame]):
    """metric -> value, low, expected, high, score, status, rule, usual, news on its full UTC grid, made when it is looked at.

    The answers are those of the due buckets and, for three days before them, what was remembered; elsewhere they are NaN and
    "". `whole` judges all that was read.
    """

    ctx: RunContext
    reading: Reading
    tails: dict[str, JudgedTail]
    labelled: Sequence[Incident] = ()
    _frames: dict[str, pd.DataFrame] = field(default_factory=dict)

    def __iter__(self) -> Iterator[str]:
        return iter(self.tails)

    def __len__(self) -> int:
        return len(self.tails)

    def __contains__(self, name: object) -> bool:
        return name in self.tails

    def __getitem__(self, name: str) -> pd.DataFrame:
        if name not in self._frames:
            self._frames[name] = self._made(name)
        return self._frames[name]

    def whole(self, name: str) -> pd.DataFrame:
        """Every bucket that was read, judged now."""
        metric, series = self.ctx.metric(name), self.reading.series[name]
        band = metric.rule.band(_normal(metric, series, self.labelled), self.ctx.zone)
        judged = detectors.judge(series, band, metric, self.reading.volumes.get(name))
        half = self.reading.incomplete.get(metric.scan)
        if half is not None and half in judged.index:
            judged.loc[half, ["status", "rule", "news"]] = [Status.MISSING.value, INCOMPLETE, True]
        return judged

    def due(self, item: DueBuckets) -> dict[str, Any]:
        """The columns of the due buckets, and the buckets themselves."""
        tail, index = self.tails[item.metric.name], self.reading.series[item.metric.name].index
        first, last = max(_place(index, item.begin), tail.first), _place(index, item.last) + 1
        part = slice(first - tail.first, max(first, last) - tail.first)
        return {"bucket": index[first:last].to_pydatetime(), **{name: column[part] for name, column in tail.columns.items()}}

    def begins(self, name: str) -> datetime:
        """The first bucket that was judged now."""
        index, first = self.reading.series[name].index, self.tails[name].first
        return (index[0] + first * self.ctx.metric(name).step).to_pydatetime()

    def statuses(self, bucket: datetime) -> dict[str, str]:
        """How the bucket of each metric was answered, of those that it was."""
        out = self.ctx.store.statuses(bucket)
        for name, tail in self.tails.items():
            place = _place(self.reading.series[name].index, bucket) - tail.first
            if 0 <= place < len(tail.columns["status"]):
                out[name] = str(tail.columns["status"][place])
        return {name: status for name, status in out.items() if name in self.tails}

    def newest(self, name: str) -> dict[str, Any]:
        """The answer of the newest bucket, and the bucket."""
        tail, index = self.tails[name], self.reading.series[name].index
        found = tail.at(len(index) - 1) if len(tail.columns["value"]) else self._last(name)
        return {"bucket": index[-1], **found}

    def _last(self, name: str) -> dict[str, Any]:
        """As it was judged by an earlier run."""
        for verdict in self.ctx.store.judged(name, self.reading.series[name].index[-1].to_pydatetime())[:1]:
            return {**verdict.numbers, "status": verdict.status.value, "rule": verdict.reason, "news": verdict.is_new}
        return {**dict.fromkeys(NUMBERS, float("nan")), "status": "", "rule": "", "news": False}

    def _made(self, name: str) -> pd.DataFrame:
        series, tail = self.reading.series[name], self.tails[name]
        n = len(series)
        columns: dict[str, np.ndarray] = {column: np.full(n, np.nan) for column in NUMBERS}
        columns |= {"value": series.to_numpy(float).copy(), "news": np.zeros(n, bool)}
        columns |= {column: np.full(n, "", dtype=object) for column in ("status", "rule")}
        for verdict in self._remembered(name, series.index, tail.first):
            place = _place(series.index, verdict.bucket)
            numbers = verdict.numbers
            for column in NUMBERS[1:]:
                columns[column][place] = numbers[column]
            columns["status"][place], columns["rule"][place] = verdict.status.value, verdict.reason
            columns["news"][place] = verdict.is_new
        for column, part in tail.columns.items():
            columns[column][tail.first :] = part
        return pd.DataFrame(columns, index=series.index)

    def _remembered(self, name: str, index: pd.DatetimeIndex, first: int) -> list[Verdict]:
        """Of the buckets before the position."""
        if not len(index):
            return []
        known = self.ctx.store.judged(name, index[-1].to_pydatetime() - band_span(self.ctx.metric(name)))
        return [verdict for verdict in known if 0 <= _place(index, verdict.bucket) < first]


def whole_frame(judged: Mapping[str, pd.DataFrame], name: str) -> pd.DataFrame:
    """All of the metric's past, judged by its rule."""
    return judged.whole(name) if isinstance(judged, JudgedMetrics) else judged[name]


def judge(ctx: RunContext, due: Sequence[DueBuckets], reading: Reading, labelled: Sequence[Incident] = ()) -> JudgedMetrics:
    """The due buckets of every metric that was read.

    `labelled`: incidents of which people said what they were. A bucket that has only half arrived is missing, its rule
    "incomplete". Raises StoreError.
    """
    items = [item for item in due if item.metric.name in reading.series and len(reading.series[item.metric.name])]
    known, fired = ctx.store.nightly_statistics(), _fired(ctx, items)
    before = set(known)
    tails: dict[str, JudgedTail] = {}
    for batch in _batches(items, reading):
        began = ctx.timer()
        made = _judged(ctx, batch, reading, labelled, known, fired)
        each = (ctx.timer() - began) / len(batch)
        tails |= {name: JudgedTail(first, columns, each) for name, (first, columns) in made.items()}
    new = {key: figure for key, figure in known.items() if key not in before}
    if new:
        ctx.store.save_nightly_statistics(new, max(item.end for item in items))
    return JudgedMetrics(ctx, reading, {item.metric.name: tails[item.metric.name] for item in items}, labelled)


def _batches(items: Sequence[DueBuckets], reading: Reading) -> Iterator[list[DueBuckets]]:
    """Metrics of one rule, one grid and the same due buckets."""
    alike: dict[tuple[Any, ...], list[DueBuckets]] = {}
    for item in items:
        index = reading.series[item.metric.name].index
        alike.setdefault((id(item.metric.rule), item.metric.step, index[0], len(index), _since(item, index)), []).append(item)
    for group in alike.values():
        yield from (group[first : first + BATCH_SERIES] for first in range(0, len(group), BATCH_SERIES))


def _judged(
    ctx: RunContext,
    batch: list[DueBuckets],
    reading: Reading,
    labelled: Sequence[Incident],
    known: NightlyCache,
    fired: Mapping[str, list[tuple[datetime, str]]],
) -> dict[str, tuple[int, dict[str, np.ndarray]]]:
    """metric -> position of the first judged bucket, and the columns of the answers from there on."""
    index, rule = reading.series[batch[0].metric.name].index, batch[0].metric.rule
    first = _since(batch[0], index)
    if first == len(index):
        return {item.metric.name: (first, NO_BUCKETS) for item in batch}
    normal = [_normal(item.metric, reading.series[item.metric.name], labelled) for item in batch]
    bands = _bands(rule, index, normal, ctx.zone, first, known)
    out = {}
    for item, band in zip(batch, bands, strict=True):
        metric, values = item.metric, reading.series[item.metric.name].to_numpy(float)
        volume = reading.volumes.get(metric.name)
        size = None if volume is None else volume.to_numpy(float)[first:]
        past = _before(values, index, first, metric, fired.get(metric.name, []))
        columns = judge_values(values[first:], band, metric, size, past)
        _half(columns, index, first, reading.incomplete.get(metric.scan))
        out[metric.name] = (first, columns)
    return out


def _bands(
    rule: Detector, index: pd.DatetimeIndex, series: list[pd.Series], zone: str, first: int, known: NightlyCache
) -> Iterator[dict[str, Any]]:
    """Each series' band from the position on."""
    values = np.stack([one.to_numpy(float) for one in series])
    limits = rule.bands(SeriesGrid.at(index, values, zone, first, known))
    return (series_columns(limits, place) for place in range(len(series)))


def _normal(metric: Metric, series: pd.Series, labelled: Sequence[Incident]) -> pd.Series:
    return mask_incidents(metric.name, series, labelled, series.index[-1]) if labelled and len(series) else series


def _since(item: DueBuckets, index: pd.DatetimeIndex) -> int:
    """Position of the first bucket that is judged; before it a metric that was never judged has some to show."""
    begin = item.begin - band_span(item.metric) if item.first_look else item.begin
    return min(max(0, _place(index, begin)), len(index))


def _place(index: pd.DatetimeIndex, bucket: datetime) -> int:
    """Position of a bucket on the grid, also beyond its ends."""
    if len(index) < 2:
        return int((pd.Timestamp(bucket) > index[0]) - (pd.Timestamp(bucket) < index[0])) if len(index) else 0
    first, second = index.asi8[:2].tolist()  # plain integers: this is asked thousands of times
    return (round(bucket.timestamp() * 1e6) * UNITS[index.unit] // 10**6 - first) // (second - first)


def _before(
    values: np.ndarray, index: pd.DatetimeIndex, first: int, metric: Metric, fired: list[tuple[datetime, str]]
) -> PriorVerdicts:
    """What was answered before the position: of the rules only those that are told once in a while."""
    missing = first
    if first and np.isfinite(values[:first]).any():
        missing = int(np.argmax(np.isfinite(values[:first][::-1])))
    if not fired:
        return PriorVerdicts(missing)
    rules = np.full(lookback_buckets(metric.step), "", dtype=object)
    for bucket, rule in fired:
        place = _place(index, bucket) - first + len(rules)
        if 0 <= place < len(rules):
            rules[place] = rule
    return PriorVerdicts(missing, rules)


def _half(columns: dict[str, np.ndarray], index: pd.DatetimeIndex, first: int, half: datetime | None) -> None:
    place = -1 if half is None else _place(index, half) - first
    if 0 <= place < len(columns["status"]):
        columns["status"][place], columns["rule"][place], columns["news"][place] = Status.MISSING.value, INCOMPLETE, True


def _fired(ctx: RunContext, items: Sequence[DueBuckets]) -> dict[str, list[tuple[datetime, str]]]:
    """metric -> buckets and rules that have fired lately. Raises StoreError."""
    out: dict[str, list[tuple[datetime, str]]] = {}
    if not items:
        return out
    since = min(item.begin - lookback_buckets(item.metric.step) * item.metric.step for item in items)
    for metric, bucket, rule in ctx.store.fired_detectors(since, tuple(REARM_AFTER)):
        out.setdefault(metric, []).append((bucket, rule))
    return out


# Series -> verdicts -> episodes and events. Pure.

Trail = list[tuple[datetime, Episode]]


def judge_series(metric: Metric, series: pd.Series, zone: str) -> pd.DataFrame:
    """The band of the metric's rule over `series`, and every bucket's status by it."""
    return detectors.judge(series, metric.rule.band(series, zone), metric)


def verdicts(due: list[DueBuckets], judged: Mapping[str, pd.DataFrame]) -> DisplayList[Verdict]:
    """The due buckets' answers, in the order in which the buckets ended; the catalogue's order among equals."""
    rows = [(verdict, item) for item in due if item.metric.name in judged for verdict in _rows(item, judged)]
    ordered = sorted(rows, key=lambda row: row[0].bucket + row[1].metric.step)
    return DisplayList((verdict for verdict, _ in ordered), "verdicts")


def warmup_verdicts(due: Sequence[DueBuckets], judged: JudgedMetrics) -> list[Verdict]:
    """What a metric that was never judged has to show of the time before its due buckets: a picture goes back two days."""
    fresh = [item for item in due if item.first_look and item.metric.name in judged]
    shown = [replace(item, first=judged.begins(item.metric.name), last=item.begin - item.metric.step) for item in fresh]
    return [verdict for item in shown for verdict in _rows(item, judged)]


def _rows(item: DueBuckets, judged: Mapping[str, pd.DataFrame]) -> Iterator[Verdict]:
    frame = judged.due(item) if isinstance(judged, JudgedMetrics) else judged[item.metric.name].loc[item.begin : item.last]
    buckets = frame.index.to_pydatetime() if isinstance(frame, pd.DataFrame) else frame.pop("bucket")
    columns = (frame[name].tolist() for name in ("status", "value", "low", "expected", "high", "score", "rule", "news", "usual"))
    for bucket, status, *numbers in zip(buckets, *columns, strict=True):
        yield Verdict(item.metric.name, bucket, Status(status), *numbers)


@dataclass(frozen=True)
class StateChange:
    """What the due buckets changed: every metric's episode and every incident as they stand now, and what there is to tell.

    `trail`: each metric's episode after each bucket. `newest`: metric -> the answer of its newest due bucket.
    """

    episodes: dict[str, Episode] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    due: list[DueBuckets] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    trail: Trail = field(default_factory=list)
    newest: dict[str, Verdict] = field(default_factory=dict)
    now: datetime | None = None


def fold_episodes(
    metrics: Sequence[Metric],
    answers: Sequence[Verdict],
    before: dict[str, Episode],
    seen: Callable[[datetime, Episode], None] | None = None,
) -> tuple[dict[str, Episode], list[Event]]:
    """The episodes after the verdicts, bucket by bucket, and every event on the way: live, catching up, or in a backtest.

    `seen` is shown each episode as it stands after a bucket.
    """
    policies = {metric.name: metric.policy for metric in metrics}
    after = dict(before)
    events: list[Event] = []
    for verdict in answers:
        episode = after.get(verdict.metric) or Episode(verdict.metric)
        after[verdict.metric], happened = incidents_episodes.step(episode, verdict, policies[verdict.metric])
        events += happened
        if seen:
            seen(verdict.bucket, after[verdict.metric])
    return after, events


def notifiable(item: DueBuckets, events: Sequence[Event]) -> list[Event]:
    """On the first look only what is still going on; in a catch-up no reminder but the newest bucket's."""
    mine = [e for e in events if e.metric == item.metric.name]
    if not item.first_look:
        return [e for e in mine if e.kind is not EventKind.REMINDER or e.bucket == item.last]
    closed = {EventKind.RESOLVED: EventKind.OPENED, EventKind.DATA_BACK: EventKind.NO_DATA}
    going_on: dict[EventKind, Event] = {}
    for event in mine:
        if event.kind in closed:
            going_on.pop(closed[event.kind], None)
        elif event.kind not in (EventKind.REMINDER, EventKind.WORSENED):
            going_on[event.kind] = event
    return list(going_on.values())


# What normal is learned from, after what people said of incidents. Pure.

MASK_AFTER = timedelta(hours=1)  # an incident's buckets are left out once it is over so long: the newest values are the level
MASKED_LABELS = (Label.REAL, Label.EXPECTED)
WEEK, DAY = timedelta(days=7), timedelta(days=1)
MIN_LEVEL_BUCKETS = 4  # buckets that say what a new level is


def mask_incidents(name: str, series: pd.Series, incidents: Sequence[Incident], first: datetime) -> pd.Series:
    """The series (float64, full UTC grid) as bands are to see it, of buckets from `first` on.

    Real and expected incidents are left out (NaN), as they say nothing of normal; a false alarm stays, as it is normal; before
    a new level, the past is taken at that level (times the median of its first day over the same times a week before).
    """
    for incident in incidents:
        member = incident.member(name)
        if member is None or incident.label is None:
            continue
        if incident.label in MASKED_LABELS and member.until and member.until + MASK_AFTER <= first:
            series = series.where((series.index < member.since) | (series.index >= member.until))
        elif incident.label is Label.NEW_TREND:
            series = _at_the_new_level(series, member)
    return series


def _at_the_new_level(series: pd.Series, member: Member) -> pd.Series:
    new = series.loc[member.since : member.since + DAY]
    ratios = (new.to_numpy() / series.reindex(new.index - WEEK).to_numpy())[1:]  # the first bucket is half of each
    ratios = ratios[np.isfinite(ratios) & (ratios > 0)]
    if len(ratios) < MIN_LEVEL_BUCKETS:
        return series
    return series.where(series.index >= member.since, series * float(np.median(ratios)))
