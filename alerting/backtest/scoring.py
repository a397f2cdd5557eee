"""How good the alerts of a replay were: events found, false alerts, delay. What is counted is what reaches the person on call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from alerting.backtest.replaying import RECOVERY, WEEK, Replay
from alerting.backtest.spans import Covers, Span, concerns
from alerting.model import Event, Kind, Metric, Status

ALERTS = (Kind.OPENED, Kind.REMINDER, Kind.NO_DATA)  # good news is no alert


@dataclass(frozen=True)
class Tolerance:
    """How far from an event's buckets an alert still belongs to it, and how long after it alerts count for nothing."""

    before: timedelta = timedelta(0)
    after: timedelta = timedelta(0)
    recovery: timedelta = timedelta(0)


# Labels are people's: an alert a bucket early or half an hour late still means the event. Injected faults are exact, and
# the way back from one is neither a find nor a false alert.
LABELS = Tolerance(timedelta(minutes=15), timedelta(minutes=30))
FAULTS = Tolerance(recovery=RECOVERY)


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


NOTHING = Score(0, 0, 0, 0.0)


def score(replay: Replay, events: Iterable[Covers], tolerance: Tolerance = LABELS, ignore: Iterable[Covers] = ()) -> Score:
    """The replay against what really happened, pooled over its metrics; an event of several metrics is one for each.

    An event is found by an alert in its window. An alert in no window is false, unless it is about a bucket without a value
    (a gap is no false alert), or in one of the spans to `ignore`, or on the way back. Events outside of the replay do not
    count.
    """
    known, left_out = list(events), list(ignore)
    parts = [_score(replay, metric, known, tolerance, left_out) for metric in replay.metrics]
    return sum(parts, NOTHING)


def _score(replay: Replay, metric: Metric, events: list[Covers], tolerance: Tolerance, ignore: list[Covers]) -> Score:
    mine = [e for e in events if concerns(e, metric.name) and replay.start <= e.start < replay.end]
    alerts = [e for e in replay.events if e.metric == metric.name and e.kind in ALERTS]
    found = [_first(alerts, _window(event, metric, tolerance)) for event in mine]
    delays = [max(at - _bucket(event, metric), timedelta()) for at, event in zip(found, mine, strict=True) if at]
    windows = [_window(event, metric, tolerance, tolerance.recovery) for event in mine]
    windows += [_window(s, metric, Tolerance(), RECOVERY) for s in ignore if concerns(s, metric.name)]
    false = sum(e.verdict.status is not Status.MISSING and not _inside(e.bucket, windows) for e in alerts)
    seen = sum(v.metric == metric.name and v.status is not Status.MISSING for v in replay.answers)
    return Score(len(mine), len(delays), false, seen * metric.step / WEEK, tuple(delays))


def _bucket(event: Covers, metric: Metric) -> datetime:
    """The bucket in which the event begins."""
    late = timedelta(seconds=event.start.timestamp() % metric.step.total_seconds())
    return event.start - late


def _window(event: Covers, metric: Metric, tolerance: Tolerance, more: timedelta = timedelta()) -> Span:
    return Span(_bucket(event, metric) - tolerance.before, event.end + tolerance.after + more)


def _first(alerts: Sequence[Event], window: Span) -> datetime | None:
    return next((e.bucket for e in alerts if window.start <= e.bucket < window.end), None)


def _inside(bucket: datetime, windows: list[Span]) -> bool:
    return any(window.start <= bucket < window.end for window in windows)
