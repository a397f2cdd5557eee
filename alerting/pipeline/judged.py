"""The judged metrics of a run: their verdicts and frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from alerting import detectors
from alerting.model.incident import Incident
from alerting.model.run import Reading
from alerting.model.tables import DisplayList
from alerting.model.verdict import Status, Verdict
from alerting.pipeline.context import DueBuckets, RunContext, band_span
from alerting.pipeline.related import VERDICT_COLUMNS, band, mask_incidents, position_on

NUMBERS = ("value", "low", "expected", "high", "score", "usual")


@dataclass(frozen=True)
class JudgedTail:
    """The newest judged buckets of one metric, from position `first` of its series on: the columns of `detectors.judge`."""

    first: int
    columns: dict[str, np.ndarray]
    seconds: float = 0.0


@dataclass
class JudgedMetrics(Mapping[str, pd.DataFrame]):
    """The judged metrics of a run: a mapping of metric -> frame on its full UTC grid. A frame is built on first access.

    It has the columns value, low, expected, high, score, status, rule, usual, news. Its verdicts are those of the due
    buckets and, for three days before them, those in the store; elsewhere they are NaN and "".
    """

    ctx: RunContext
    reading: Reading
    tails: dict[str, JudgedTail]
    labelled: Sequence[Incident] = ()
    due: Sequence[DueBuckets] = ()
    _frames: dict[str, pd.DataFrame] = field(default_factory=dict)

    @classmethod
    def of_frames(cls, ctx: RunContext, frames: Mapping[str, pd.DataFrame], reading: Reading) -> JudgedMetrics:
        """Return series that were judged as a whole, such as those of a replay."""
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
        """Return the frame of the metric with every bucket judged, however long ago it was."""
        if name in self.tails and self.tails[name].first == 0:
            return self[name]
        metric, series = self.ctx.metric(name), self.reading.series[name]
        masked = mask_incidents(name, series, self.labelled, series.index[-1]) if len(series) else series
        volume = self.reading.volumes.get(name)
        return detectors.judge(series, band(metric, masked, self.ctx.zone, volume), metric, volume)

    @cached_property
    def verdicts(self) -> DisplayList[Verdict]:
        """The verdicts of the due buckets, in the order in which the buckets end, then in that of the catalogue."""
        parts = {item.metric.name: self.columns(item) for item in self.due if item.metric.name in self}
        return _by_end(self.due, parts)

    def warmup_verdicts(self) -> list[Verdict]:
        """Return the verdicts before the first due bucket of new metrics: a chart shows them."""
        out: list[Verdict] = []
        for item in self.due:
            name, step = item.metric.name, item.metric.step
            if item.first_look and name in self:
                first = self.reading.series[name].index[0] + self.tails[name].first * step
                out += _verdicts(name, self.columns(replace(item, first=first.to_pydatetime(), last=item.begin - step)))
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
        """Return the verdict of a metric's bucket: of this run, else the stored one; unknown where there is none."""
        tail = self.tails[name]
        position = position_on(self.reading.series[name].index, bucket) - tail.first
        if 0 <= position < len(tail.columns["status"]):
            value, low, expected, high, score, usual = (float(tail.columns[column][position]) for column in NUMBERS)
            status = Status(tail.columns["status"][position])
            return Verdict(name, bucket, status, value, low, expected, high, score, usual=usual)
        stored = self.ctx.store.judged(name, bucket)[:1]  # by an earlier run, whose clock may have been ahead of this one's
        if stored and stored[0].bucket == bucket:
            return stored[0]
        return Verdict(name, bucket, Status.UNKNOWN)

    def newest(self, name: str) -> dict[str, Any]:
        """Return the newest bucket and its columns, from the store where this run had nothing to judge."""
        tail, index = self.tails[name], self.reading.series[name].index
        if len(tail.columns["value"]):
            position = len(index) - 1 - tail.first
            return {"bucket": index[-1], **{column: values[position] for column, values in tail.columns.items()}}
        row = {**dict.fromkeys(NUMBERS, float("nan")), "status": "", "rule": "", "news": False}
        for verdict in self.ctx.store.judged(name, index[-1].to_pydatetime())[:1]:
            row = {**verdict.numbers, "status": verdict.status.value, "rule": verdict.reason, "news": verdict.is_new}
        return {"bucket": index[-1], **row}


def verdicts(due: Sequence[DueBuckets], judged: Mapping[str, pd.DataFrame]) -> DisplayList[Verdict]:
    """Return the verdicts of the due buckets of judged frames, in the order in which the buckets end, then in that of `due`."""
    parts = {item.metric.name: judged[item.metric.name].loc[item.begin : item.last] for item in due if item.metric.name in judged}
    return _by_end(due, {name: {"bucket": part.index.to_pydatetime(), **dict(part.items())} for name, part in parts.items()})


def _verdicts(metric: str, columns: Mapping[Any, Any]) -> Iterator[Verdict]:
    rows = zip(columns["bucket"], *(columns[name].tolist() for name in VERDICT_COLUMNS), strict=True)
    return (Verdict(metric, bucket, Status(status), *numbers) for bucket, status, *numbers in rows)


def _by_end(due: Sequence[DueBuckets], columns: Mapping[str, Mapping[Any, Any]]) -> DisplayList[Verdict]:
    steps = {item.metric.name: item.metric.step for item in due}
    made = [verdict for name, part in columns.items() for verdict in _verdicts(name, part)]
    return DisplayList(sorted(made, key=lambda verdict: verdict.bucket + steps[verdict.metric]), "verdicts")
