"""How good the alerts of a replay were: events found, false alerts, delay. What is counted is what reaches the person on call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median

import numpy as np
import pandas as pd

from alerting.backtest.replay import RECOVERY, WEEK, BacktestData, KnownInterval, KnownSpan, Progress, Replay, concerns
from alerting.model.incident import Event
from alerting.model.metric import Detector, Metric
from alerting.model.verdict import EventKind, Status

ALERT_KINDS = (EventKind.OPENED, EventKind.REMINDER, EventKind.NO_DATA)  # good news is no alert


@dataclass(frozen=True)
class Tolerance:
    """How far from an event's buckets an alert still belongs to it, and how long after it alerts count for nothing."""

    before: timedelta = timedelta(0)
    after: timedelta = timedelta(0)
    recovery: timedelta = timedelta(0)


# Labels are people's: an alert a bucket early or half an hour late still means the event. Injected faults are exact, and
# the way back from one is neither a find nor a false alert.
LABEL_TOLERANCE = Tolerance(timedelta(minutes=15), timedelta(minutes=30))
FAULT_TOLERANCE = Tolerance(recovery=RECOVERY)


@dataclass(frozen=True)
class Score:
    """`events` that were there, how many of them were `found`, the `false` alerts, `weeks` of series with values, and each
    found event's delay: its first bucket to the bucket of its first alert, which is sent when that bucket closes."""

    events: int
    found: int
    false: int
    weeks: float
    delays: tuple[timedelta, ...] = ()

    def __add__(self, other: Score) -> Score:
        """Both together, as if of one longer series."""
        counts = (self.events + other.events, self.found + other.found, self.false + other.false)
        return Score(*counts, self.weeks + other.weeks, self.delays + other.delays)

    @property
    def recall(self) -> float:
        return self.found / self.events if self.events else float("nan")

    @property
    def precision(self) -> float:
        alerts = self.found + self.false
        return self.found / alerts if alerts else float("nan")

    @property
    def f1(self) -> float:
        """2 found / (2 found + false + missed)."""
        whole = self.found + self.false + self.events
        return 2 * self.found / whole if whole else float("nan")

    @property
    def false_a_week(self) -> float:
        """Per series and week."""
        return self.false / self.weeks if self.weeks else float("nan")

    @property
    def delay(self) -> float:
        """Median, in minutes; 0 is an alert at the close of the first affected bucket."""
        return median(delay / timedelta(minutes=1) for delay in self.delays) if self.delays else float("nan")

    def row(self) -> dict[str, float]:
        """The figures of a table."""
        return {
            "events": self.events, "recall": self.recall, "precision": self.precision, "F1": self.f1,
            "false a week": self.false_a_week, "delay, min": self.delay,
        }  # fmt: skip


EMPTY_SCORE = Score(0, 0, 0, 0.0)


def score_alerts(
    replay: Replay, events: Iterable[KnownInterval], tolerance: Tolerance = LABEL_TOLERANCE, ignore: Iterable[KnownInterval] = ()
) -> Score:
    """The replay against what really happened, pooled over its metrics; an event of several metrics is one for each.

    An event is found by an alert in its window. An alert in no window is false, unless it is about a bucket without a value
    (a gap is no false alert), or in one of the spans to `ignore`, or on the way back. Events outside of the replay do not
    count.
    """
    known, left_out = list(events), list(ignore)
    parts = [_score(replay, metric, known, tolerance, left_out) for metric in replay.metrics]
    return sum(parts, EMPTY_SCORE)


def _score(
    replay: Replay, metric: Metric, events: list[KnownInterval], tolerance: Tolerance, ignore: list[KnownInterval]
) -> Score:
    mine = [e for e in events if concerns(e, metric.name) and replay.start <= e.start < replay.end]
    alerts = [e for e in replay.events if e.metric == metric.name and e.kind in ALERT_KINDS]
    found = [_first(alerts, _window(event, metric, tolerance)) for event in mine]
    delays = [max(at - _bucket(event, metric), timedelta()) for at, event in zip(found, mine, strict=True) if at]
    windows = [_window(event, metric, tolerance, tolerance.recovery) for event in mine]
    windows += [_window(s, metric, Tolerance(), RECOVERY) for s in ignore if concerns(s, metric.name)]
    false = sum(e.verdict.status is not Status.MISSING and not _inside(e.bucket, windows) for e in alerts)
    seen = sum(v.metric == metric.name and v.status is not Status.MISSING for v in replay.answers)
    return Score(len(mine), len(delays), false, seen * metric.step / WEEK, tuple(delays))


def _bucket(event: KnownInterval, metric: Metric) -> datetime:
    """The bucket in which the event begins."""
    late = timedelta(seconds=event.start.timestamp() % metric.step.total_seconds())
    return event.start - late


def _window(event: KnownInterval, metric: Metric, tolerance: Tolerance, more: timedelta = timedelta()) -> KnownSpan:
    return KnownSpan(_bucket(event, metric) - tolerance.before, event.end + tolerance.after + more)


def _first(alerts: Sequence[Event], window: KnownSpan) -> datetime | None:
    return next((e.bucket for e in alerts if window.start <= e.bucket < window.end), None)


def _inside(bucket: datetime, windows: list[KnownSpan]) -> bool:
    return any(window.start <= bucket < window.end for window in windows)


# Rules side by side on the same past: a table, and each rule's best width.

ALL_METRICS = "all"


def compare_detectors(
    past: BacktestData,
    events: Sequence[KnownInterval],
    rules: Mapping[str, Detector],
    tolerance: Tolerance = FAULT_TOLERANCE,
    track: Progress = iter,
) -> pd.DataFrame:
    """One row per rule and metric (and "all", pooled): recall, precision, F1, false alerts a series and week, median delay."""
    return sweep_widths(past, events, rules, [1.0], tolerance, track).droplevel("width")


def sweep_widths(
    past: BacktestData,
    events: Sequence[KnownInterval],
    rules: Mapping[str, Detector],
    widths: Sequence[float],
    tolerance: Tolerance = FAULT_TOLERANCE,
    track: Progress = iter,
) -> pd.DataFrame:
    """As `compare`, for every width: a rule's half-widths times that. Each band is made once."""
    rows: dict[tuple[str, str, float], dict[str, float]] = {}
    for name, rule in track(list(rules.items())):
        mine = [replace(metric, rule=rule) for metric in past.metrics if metric.name in past.series]
        parts = {metric.name: _scores(past, events, metric, widths, tolerance) for metric in mine}
        pooled = [sum(column, EMPTY_SCORE) for column in zip(*parts.values(), strict=True)]
        for metric, scores in (parts | {ALL_METRICS: pooled}).items():
            rows |= {(name, metric, width): s.row() for width, s in zip(widths, scores, strict=True)}
    index = pd.MultiIndex.from_tuples(list(rows), names=["rule", "metric", "width"])
    return pd.DataFrame(list(rows.values()), index=index)


def _scores(
    past: BacktestData, events: Sequence[KnownInterval], metric: Metric, widths: Sequence[float], tolerance: Tolerance
) -> list[Score]:
    band = past.band(metric)
    replays = [past.replay(replace(metric, width=width), band) for width in widths]
    return [score_alerts(each, events, tolerance, past.known) for each in replays]


def family_table(leading: pd.DataFrame) -> pd.DataFrame:
    """The F1 of `best` as fence x past, for rules that are named "fence, past"."""
    named = leading[leading.index.str.count(", ") == 1]
    pairs = pd.MultiIndex.from_tuples([tuple(name.split(", ")) for name in named.index], names=["fence", "past"])
    table = named["F1"].set_axis(pairs).unstack()
    return table.loc[table.max(axis=1).sort_values(ascending=False).index]


def metric_table(table: pd.DataFrame, leading: pd.DataFrame, rule: str) -> pd.DataFrame:
    """A rule's figures by metric, at the width that is best for it over all of them."""
    width = leading.loc[rule, "width"] if rule in leading.index else 1.0
    mine = table.xs(rule, level="rule")
    widths = mine.index.get_level_values("width")
    return mine[np.isclose(widths, widths[np.abs(widths - width).argmin()])].droplevel("width")


def best_widths(table: pd.DataFrame, most: float = np.inf) -> pd.DataFrame:
    """Each rule's best row of `sweep`, over all metrics: the highest F1 with at most `most` false alerts a series and week.

    A rule without any such width is left out; the narrower width wins a tie.
    """
    pooled = table.xs(ALL_METRICS, level="metric")
    allowed = pooled[pooled["false a week"] <= most]
    ranked = allowed.sort_values(["F1", "recall"], ascending=False, kind="stable").reset_index("width")
    return ranked[~ranked.index.duplicated()]
