"""Series -> judged: only the buckets that are due, of many metrics at once; what was judged before is remembered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from alerting import detectors
from alerting.detectors import Before, Figures, Grid
from alerting.model import Incident, Metric, Reading, Rule, Status, Verdict
from alerting.pipeline.learning import learned
from alerting.pipeline.timing import Connections, Due, band_span

INCOMPLETE = "incomplete"  # reason of a bucket that has only half arrived
BATCH = 64  # series worked on at once: numpy's overhead is shared, and their tables stay in the cache
UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}  # of an index, in a second
NUMBERS = ("value", "low", "expected", "high", "score", "usual")
NOTHING = {name: np.empty(0, dtype=object) for name in (*NUMBERS, "status", "rule", "news")}  # is due


@dataclass(frozen=True)
class Tail:
    """The newest judged buckets of one metric, from position `first` of its series on: the columns of `detectors.judge`."""

    first: int
    columns: dict[str, np.ndarray]
    seconds: float = 0.0

    def at(self, place: int) -> dict[str, Any]:
        return {name: column[place - self.first] for name, column in self.columns.items()}


@dataclass
class Judged(Mapping[str, pd.DataFrame]):
    """metric -> value, low, expected, high, score, status, rule, usual, news on its full UTC grid, made when it is looked at.

    The answers are those of the due buckets and, for three days before them, what was remembered; elsewhere they are NaN and
    "". `whole` judges all that was read.
    """

    to: Connections
    reading: Reading
    tails: dict[str, Tail]
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
        metric, series = self.to.metric(name), self.reading.series[name]
        band = metric.rule.band(_normal(metric, series, self.labelled), self.to.zone)
        judged = detectors.judge(series, band, metric, self.reading.volumes.get(name))
        half = self.reading.waiting.get(metric.scan)
        if half is not None and half in judged.index:
            judged.loc[half, ["status", "rule", "news"]] = [Status.MISSING.value, INCOMPLETE, True]
        return judged

    def due(self, item: Due) -> dict[str, Any]:
        """The columns of the due buckets, and the buckets themselves."""
        tail, index = self.tails[item.metric.name], self.reading.series[item.metric.name].index
        first, last = max(_place(index, item.begin), tail.first), _place(index, item.last) + 1
        part = slice(first - tail.first, max(first, last) - tail.first)
        return {"bucket": index[first:last].to_pydatetime(), **{name: column[part] for name, column in tail.columns.items()}}

    def begins(self, name: str) -> datetime:
        """The first bucket that was judged now."""
        index, first = self.reading.series[name].index, self.tails[name].first
        return (index[0] + first * self.to.metric(name).step).to_pydatetime()

    def statuses(self, bucket: datetime) -> dict[str, str]:
        """How the bucket of each metric was answered, of those that it was."""
        out = self.to.store.statuses(bucket)
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
        for verdict in self.to.store.judged(name, self.reading.series[name].index[-1].to_pydatetime())[:1]:
            return {**verdict.numbers, "status": verdict.status.value, "rule": verdict.reason, "news": verdict.news}
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
            columns["news"][place] = verdict.news
        for column, part in tail.columns.items():
            columns[column][tail.first :] = part
        return pd.DataFrame(columns, index=series.index)

    def _remembered(self, name: str, index: pd.DatetimeIndex, first: int) -> list[Verdict]:
        """Of the buckets before the position."""
        if not len(index):
            return []
        known = self.to.store.judged(name, index[-1].to_pydatetime() - band_span(self.to.metric(name)))
        return [verdict for verdict in known if 0 <= _place(index, verdict.bucket) < first]


def whole(judged: Mapping[str, pd.DataFrame], name: str) -> pd.DataFrame:
    """All of the metric's past, judged by its rule."""
    return judged.whole(name) if isinstance(judged, Judged) else judged[name]


def judge(to: Connections, todo: Sequence[Due], reading: Reading, labelled: Sequence[Incident] = ()) -> Judged:
    """The due buckets of every metric that was read.

    `labelled`: incidents of which people said what they were. A bucket that has only half arrived is missing, its rule
    "incomplete". Raises StoreError.
    """
    items = [item for item in todo if item.metric.name in reading.series and len(reading.series[item.metric.name])]
    known, fired = to.store.figures(), _fired(to, items)
    before = set(known)
    tails: dict[str, Tail] = {}
    for batch in _batches(items, reading):
        began = to.timer()
        made = _judged(to, batch, reading, labelled, known, fired)
        each = (to.timer() - began) / len(batch)
        tails |= {name: Tail(first, columns, each) for name, (first, columns) in made.items()}
    new = {key: figure for key, figure in known.items() if key not in before}
    if new:
        to.store.keep_figures(new, max(item.end for item in items))
    return Judged(to, reading, {item.metric.name: tails[item.metric.name] for item in items}, labelled)


def _batches(items: Sequence[Due], reading: Reading) -> Iterator[list[Due]]:
    """Metrics of one rule, one grid and the same due buckets."""
    alike: dict[tuple[Any, ...], list[Due]] = {}
    for item in items:
        index = reading.series[item.metric.name].index
        alike.setdefault((id(item.metric.rule), item.metric.step, index[0], len(index), _since(item, index)), []).append(item)
    for group in alike.values():
        yield from (group[first : first + BATCH] for first in range(0, len(group), BATCH))


def _judged(
    to: Connections,
    batch: list[Due],
    reading: Reading,
    labelled: Sequence[Incident],
    known: Figures,
    fired: Mapping[str, list[tuple[datetime, str]]],
) -> dict[str, tuple[int, dict[str, np.ndarray]]]:
    """metric -> position of the first judged bucket, and the columns of the answers from there on."""
    index, rule = reading.series[batch[0].metric.name].index, batch[0].metric.rule
    first = _since(batch[0], index)
    if first == len(index):
        return {item.metric.name: (first, NOTHING) for item in batch}
    normal = [_normal(item.metric, reading.series[item.metric.name], labelled) for item in batch]
    bands = _bands(rule, index, normal, to.zone, first, known)
    out = {}
    for item, band in zip(batch, bands, strict=True):
        metric, values = item.metric, reading.series[item.metric.name].to_numpy(float)
        volume = reading.volumes.get(metric.name)
        size = None if volume is None else volume.to_numpy(float)[first:]
        past = _before(values, index, first, metric, fired.get(metric.name, []))
        columns = detectors.answers(values[first:], band, metric, size, past)
        _half(columns, index, first, reading.waiting.get(metric.scan))
        out[metric.name] = (first, columns)
    return out


def _bands(
    rule: Rule, index: pd.DatetimeIndex, series: list[pd.Series], zone: str, first: int, known: Figures
) -> Iterator[dict[str, Any]]:
    """Each series' band from the position on."""
    values = np.stack([one.to_numpy(float) for one in series])
    limits = rule.bands(Grid.at(index, values, zone, first, known))
    return (detectors.limits.of(limits, place) for place in range(len(series)))


def _normal(metric: Metric, series: pd.Series, labelled: Sequence[Incident]) -> pd.Series:
    return learned(metric.name, series, labelled, series.index[-1]) if labelled and len(series) else series


def _since(item: Due, index: pd.DatetimeIndex) -> int:
    """Position of the first bucket that is judged; before it a metric that was never judged has some to show."""
    begin = item.begin - band_span(item.metric) if item.fresh else item.begin
    return min(max(0, _place(index, begin)), len(index))


def _place(index: pd.DatetimeIndex, bucket: datetime) -> int:
    """Position of a bucket on the grid, also beyond its ends."""
    if len(index) < 2:
        return int((pd.Timestamp(bucket) > index[0]) - (pd.Timestamp(bucket) < index[0])) if len(index) else 0
    first, second = index.asi8[:2].tolist()  # plain integers: this is asked thousands of times
    return (round(bucket.timestamp() * 1e6) * UNITS[index.unit] // 10**6 - first) // (second - first)


def _before(values: np.ndarray, index: pd.DatetimeIndex, first: int, metric: Metric, fired: list[tuple[datetime, str]]) -> Before:
    """What was answered before the position: of the rules only those that are told once in a while."""
    missing = first
    if first and np.isfinite(values[:first]).any():
        missing = int(np.argmax(np.isfinite(values[:first][::-1])))
    if not fired:
        return Before(missing)
    rules = np.full(detectors.looks_back(metric.step), "", dtype=object)
    for bucket, rule in fired:
        place = _place(index, bucket) - first + len(rules)
        if 0 <= place < len(rules):
            rules[place] = rule
    return Before(missing, rules)


def _half(columns: dict[str, np.ndarray], index: pd.DatetimeIndex, first: int, half: datetime | None) -> None:
    place = -1 if half is None else _place(index, half) - first
    if 0 <= place < len(columns["status"]):
        columns["status"][place], columns["rule"][place], columns["news"][place] = Status.MISSING.value, INCOMPLETE, True


def _fired(to: Connections, items: Sequence[Due]) -> dict[str, list[tuple[datetime, str]]]:
    """metric -> buckets and rules that have fired lately. Raises StoreError."""
    out: dict[str, list[tuple[datetime, str]]] = {}
    if not items:
        return out
    since = min(item.begin - detectors.looks_back(item.metric.step) * item.metric.step for item in items)
    for metric, bucket, rule in to.store.fired(since, tuple(detectors.REARM)):
        out.setdefault(metric, []).append((bucket, rule))
    return out
