"""What the rules would have said: the live steps over a long past. There is no second version of a rule here."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

import numpy as np
import pandas as pd

from alerting import detectors
from alerting.model.incident import Event
from alerting.model.metric import Metric
from alerting.model.tables import cell_text, html_table, percent_change, text_table
from alerting.model.verdict import EventKind, Verdict
from alerting.pipeline.advance import fold_episodes
from alerting.pipeline.context import DueBuckets
from alerting.pipeline.judge import judge_series, verdicts

Progress = Callable[[Sequence[Any]], Iterable[Any]]  # tqdm, or nothing
WEEK = timedelta(weeks=1)
RECOVERY = timedelta(hours=1)  # the way back from a known incident still belongs to it


@dataclass(frozen=True)
class BacktestData:
    """A past to try things on: `start` <= bucket < `end` (aware UTC) is judged, what lies before is history.

    `series`: metric -> float64 values on the full UTC grid. `known`: incidents that really were (confirmed, labelled or
    planted) or anything else that is to be left out.
    """

    metrics: Sequence[Metric]
    series: Mapping[str, pd.Series]
    start: datetime
    end: datetime
    zone: str = "UTC"
    known: Sequence[KnownInterval] = ()

    def band(self, metric: Metric) -> pd.DataFrame:
        """The band of the metric's rule, over all of its series."""
        return metric.rule.band(self.series[metric.name], self.zone)

    def replay(self, metric: Metric, band: pd.DataFrame) -> Replay:
        """What the metric would have said with that band, at the metric's width and policy."""
        values, span = self.series[metric.name], slice(self.start, self.end - metric.step)
        judged = detectors.judge(values.loc[span], band.loc[span], metric)
        return replay_judged([metric], {metric.name: judged}, self.start, self.end)

    def window(self) -> dict[str, pd.Series]:
        """metric -> its values from `start` on."""
        there = [metric for metric in self.metrics if metric.name in self.series]
        return {metric.name: self.series[metric.name].loc[self.start : self.end - metric.step] for metric in there}

    def calm(self) -> dict[str, pd.Series]:
        """metric -> its values from `start` on, NaN in what is known to be odd."""
        window, metrics = self.window(), {metric.name: metric for metric in self.metrics}
        return {name: values.mask(self.known_to(metrics[name], values.index)) for name, values in window.items()}

    def replay_all(self, track: Progress = iter) -> Replay:
        """What all the metrics would have said."""
        there = [metric for metric in self.metrics if metric.name in self.series]
        judged = {metric.name: judge_series(metric, self.series[metric.name], self.zone) for metric in track(there)}
        return replace(replay_judged(there, judged, self.start, self.end), zone=self.zone)

    def known_to(self, metric: Metric, index: pd.DatetimeIndex) -> np.ndarray:
        """Which buckets (bool) lie in something known of that metric, or on the way back from it."""
        return covered_buckets(index, self.known, metric.name, RECOVERY)


@dataclass(frozen=True)
class Replay:
    """What a past would have been told. `start` <= bucket < `end`, aware UTC; in a cell times are those of `zone`."""

    metrics: list[Metric]
    judged: dict[str, pd.DataFrame]
    answers: list[Verdict]
    events: list[Event]
    start: datetime
    end: datetime
    zone: str = "UTC"

    def incidents(self) -> pd.DataFrame:
        """One row per episode that was told: when, how long, and how deep (`change`: share of expected at the worst)."""
        rows: dict[tuple[str, object], dict[str, object]] = {}
        for event in self.events:
            since = event.episode.gap_since if event.kind in (EventKind.NO_DATA, EventKind.DATA_BACK) else event.episode.since
            row = rows.setdefault((event.metric, since), {"metric": event.metric, "what": event.kind.value, "since": since})
            row |= _facts(event)
        columns = ["metric", "what", "since", "told", "until", "change", "score"]
        return pd.DataFrame(list(rows.values()), columns=columns).sort_values(["told", "metric"], ignore_index=True)

    def budget(self) -> pd.DataFrame:
        """One row per metric: messages (reminders among them), openings a week, and how its buckets were answered."""
        weeks = (self.end - self.start) / WEEK
        rows = {m.name: _counts([e for e in self.events if e.metric == m.name], weeks) for m in self.metrics}
        answered = pd.crosstab([v.metric for v in self.answers], [v.status.value for v in self.answers])
        return pd.DataFrame.from_dict(rows, orient="index").join(answered)

    def _repr_html_(self) -> str:
        cost = self.budget().reset_index(names="metric")
        told = html_table(_rows(self.incidents()), self._title(), self.zone)
        return told + html_table(_rows(cost), f"{len(self.events):,} messages")

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(text_table(_rows(self.incidents()), self._title(), self.zone))

    def _title(self) -> str:
        start, end = (cell_text(at, self.zone) for at in (self.start, self.end))
        return f"Replay from {start} to {end} ({self.zone}): {len(self.incidents()):,} troubles that would have been told"


def _rows(frame: pd.DataFrame) -> list[dict[str, object]]:
    """As cells are given: a change is a share, and a status that no bucket has is 0."""
    rows = [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]
    return [row | {"change": percent_change(float(row["change"]))} if "change" in row else row for row in rows]


def _facts(event: Event) -> dict[str, object]:
    worst = event.episode.worst or event.verdict
    if event.kind in (EventKind.OPENED, EventKind.NO_DATA):
        return {"told": event.bucket, "until": pd.NaT, "change": worst.change, "score": worst.score}
    if event.kind is EventKind.RESOLVED:
        return {"until": event.episode.normal_since, "change": worst.change, "score": worst.score}
    return {"until": event.bucket} if event.kind is EventKind.DATA_BACK else {}


def _counts(events: list[Event], weeks: float) -> dict[str, float]:
    opened = sum(e.kind in (EventKind.OPENED, EventKind.NO_DATA) for e in events)
    return {"messages": len(events), "incidents": opened, "incidents a week": round(opened / weeks, 2)}


def replay(metrics: list[Metric], series: dict[str, pd.Series], start: datetime, end: datetime, zone: str = "UTC") -> Replay:
    """Judge start <= bucket < end of every series and fold the answers into episodes, exactly as a run does.

    `series`: metric -> float64 values on the full UTC grid; what lies before `start` is history.
    """
    return BacktestData(metrics, series, start, end, zone).replay_all()


def replay_judged(metrics: list[Metric], judged: dict[str, pd.DataFrame], start: datetime, end: datetime) -> Replay:
    """As `replay`, of buckets that are judged already."""
    answers = verdicts([DueBuckets(metric, start, end - metric.step) for metric in metrics], judged)
    return Replay(metrics, judged, answers, fold_episodes(metrics, answers, {})[1], start, end)


# A stretch of time of some metrics: what an incident, a label or a fault covers.


class KnownInterval(Protocol):
    """What a simulated incident, a label and a span have in common."""

    @property
    def start(self) -> datetime: ...

    @property
    def end(self) -> datetime: ...

    @property
    def metrics(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class KnownSpan:
    """`start` <= bucket < `end` (aware UTC) of `metrics`; of all metrics where none is named."""

    start: datetime
    end: datetime
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError(f"Span {self.start} .. {self.end}: give aware times")
        if not self.start < self.end:
            raise ValueError(f"Span {self.start} .. {self.end}: it ends before it begins")


def concerns(span: KnownInterval, metric: str) -> bool:
    """Whether a span is about that metric."""
    return not span.metrics or metric in span.metrics


def covered_buckets(
    index: pd.DatetimeIndex, spans: Iterable[KnownInterval], metric: str, after: timedelta = timedelta()
) -> np.ndarray:
    """Which buckets (bool) of `index` lie in a span of that metric, or no more than `after` behind one.

    A bucket that a span only touches is in it: `start` need not be the beginning of a bucket.
    """
    inside = np.zeros(len(index), dtype=bool)
    step = index[1] - index[0] if len(index) > 1 else pd.Timedelta(0)
    for span in spans:
        if concerns(span, metric):
            inside |= np.asarray((index > span.start - step) & (index < span.end + after))
    return inside
