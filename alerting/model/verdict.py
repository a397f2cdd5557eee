"""Verdicts on buckets, the episodes that are built from them, and the kinds of events and labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from alerting.model.tables import html_table, percent_change

MOVED_TOO = 1 / 3  # share of a segment's relative change from which the rows outside it count as changed too
MOVED_WITH = 1 / 4  # share of another deviation's size from which a value is not called normal in a message about that one
NORMAL_CHANGE = 0.05  # a smaller relative change is always normal


class Status(StrEnum):
    """The status of a judged bucket."""

    NORMAL = "normal"
    ANOMALOUS = "anomalous"
    MISSING = "missing"  # the table was read, and there is no value
    UNKNOWN = "unknown"  # there is a value, but too little history or volume to judge it


class EpisodeState(StrEnum):
    """The state of an episode. `incidents.episodes` has the transitions."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    RECOVERING = "recovering"


class EventKind(StrEnum):
    """The kind of an event, and of the message about it."""

    OPENED = "opened"
    WORSENED = "worsened"
    REMINDER = "reminder"
    RESOLVED = "resolved"
    NO_DATA = "no data"
    DATA_BACK = "data back"
    CORRECTED = "corrected"  # late rows made it normal
    CAUSE = "cause"  # the root cause, if it was found after the alert
    TAKEN = "taken"  # a person acknowledged it
    SILENCED = "silenced"
    LABELLED = "labelled"
    RUN_FAILED = "run failed"
    RUN_RECOVERED = "run recovered"
    CAUGHT_UP = "caught up"
    DIGEST = "digest"  # one line for each message that could not be sent in time
    DAILY = "daily"
    ESCALATED = "escalated"  # nobody has taken a critical incident in time
    ASKED = "asked"  # a person's question in the chat; held until it is answered
    ANSWER = "answer"


OPENING_KINDS = (EventKind.OPENED, EventKind.NO_DATA)  # kinds of the events that open an episode or a gap ...
END_KINDS = (EventKind.RESOLVED, EventKind.DATA_BACK)  # ... and of the events that end one


class Label(StrEnum):
    """A person's judgement of an incident."""

    REAL = "real"
    FALSE_ALARM = "false alarm"
    EXPECTED = "expected"
    NEW_TREND = "new trend"


@dataclass(frozen=True)
class Verdict:
    """A judged bucket of one metric. Numbers are in the metric's unit, NaN if unknown. A `score` beyond +-1 is outside the band.

    Under fixed limits `expected` is NaN, and a limit that does not exist is infinite.
    """

    metric: str
    bucket: datetime
    status: Status
    value: float = float("nan")
    low: float = float("nan")
    expected: float = float("nan")
    high: float = float("nan")
    score: float = float("nan")
    # The rule that fired: sudden, sustained, level, limit, too few, incomplete; for a missing bucket: usual gap; for an anomalous
    # watched segment: the segment, as `spell_segment` writes it
    reason: str = ""
    is_new: bool = True  # False: part of a deviation that was notified before, such as a lasting level
    usual: float = float("nan")  # the value that is usual at this time of day; NaN if the detector does not compute it

    @property
    def numbers(self) -> dict[str, float]:
        """Column of a judged frame -> the verdict's number."""
        names = {"value": self.value, "low": self.low, "expected": self.expected, "high": self.high}
        return names | {"score": self.score, "usual": self.usual}

    @property
    def segment(self) -> str:
        """The watched segment that an anomalous verdict is about, such as `os=iOS & source=ads`; "" if it is the whole metric."""
        return self.reason if self.status is Status.ANOMALOUS and "=" in self.reason else ""

    @property
    def reference(self) -> float:
        """The number that the value is compared with: `expected`, else the fixed limit that it passed, else NaN."""
        if self.expected == self.expected or self.low != self.low or self.high != self.high:
            return self.expected
        return self.high if self.value > self.high else self.low if self.value < self.low else float("nan")

    @property
    def residual(self) -> float:
        """Value minus `reference`."""
        return self.value - self.reference

    @property
    def change(self) -> float:
        """The residual as a share of `reference`; NaN if the reference is 0 or unknown."""
        reference = self.reference
        return (self.value - reference) / abs(reference) if reference else float("nan")

    def moved_with(self, other: Verdict) -> bool:
        """Return whether the value changed in the direction of `other`, by at least MOVED_WITH of its size.

        The value may be within its band. Both the change from `expected` and the change from `usual` are tried: under the rule
        "sudden" the band follows the values, so a slow change stays near `expected` but not near `usual`.
        """
        against = [replace(self, expected=normal) for normal in (self.expected, self.usual) if normal > 0]
        moved = [it for it in against if it.change * other.change > 0 and abs(it.change) >= NORMAL_CHANGE]
        return any(it.size >= MOVED_WITH * other.size for it in moved)

    @property
    def size(self) -> float:
        """How far the value is off, without a sign: from 0 (not at all) to 1 (all of the metric is gone).

        For a drop it is the share that is gone. For a rise by the share r it is r / (r + 2), so that 3 times the reference is as
        far off as half of it. If the reference is 0, the edge of the band replaces it. NaN if the reference is unknown.
        """
        base = self.reference
        if base == 0:
            base = self.high if self.value > 0 else self.low
        change = (self.value - base) / abs(base) if base else self.value * float("inf")
        if not change > 0:
            return change if change != change else min(1.0, -change)
        return 1 - 2 / (change + 2)

    @property
    def loss(self) -> float:
        """Expected minus value; 0 if the expected value is unknown, as under fixed limits."""
        loss = self.expected - self.value
        return loss if loss == loss else 0.0

    def cells(self) -> dict[str, Any]:
        """Return column -> value: one row of a table of verdicts."""
        facts = {"metric": self.metric, "bucket": self.bucket, "status": self.status.value, **self.numbers}
        del facts["usual"]
        return facts | {"change": percent_change(self.change), "rule": self.reason}

    def _repr_html_(self) -> str:
        return html_table([self.cells()], "Verdict, UTC")


class JudgedPoint(NamedTuple):
    """A judged bucket on a metric's page. Numbers are in the metric's unit, None if unknown."""

    at: int  # start of the bucket, seconds since 1970 (UTC)
    status: str
    value: float | None
    low: float | None
    expected: float | None
    high: float | None
    usual: float | None = None

    def verdict(self, metric: str) -> Verdict:
        """Return the point as a verdict of `metric`, without a score and a reason."""
        value, low, expected, high, usual = (float("nan") if number is None else number for number in self[2:])
        return Verdict(metric, datetime.fromtimestamp(self.at, UTC), Status(self.status), value, low, expected, high, usual=usual)


@dataclass(frozen=True)
class Episode:
    """One metric's anomaly, from its first to its last bucket. Between anomalies it keeps the recent statuses only."""

    metric: str
    state: EpisodeState = EpisodeState.OK
    since: datetime | None = None  # first anomalous bucket
    opened: datetime | None = None  # bucket whose verdict opened the episode
    last_notified: datetime | None = None  # bucket of the last event
    last_notified_verdict: Verdict | None = None  # the last anomalous verdict with an event
    expected_share: float = float("nan")  # expected / usual in the bucket in which a sudden change opened it ...
    fell_to: float = float("nan")  # ... and value / usual in the same bucket
    worst: Verdict | None = None  # the verdict with the largest size so far
    last: Verdict | None = None  # the newest verdict that had a value
    recent: str = ""  # the newest statuses, one letter each (n, a, m, u), the newest last
    answers: str = ""  # n (normal), e (near the edge) or a per bucket since it opened, against the level before; newest last
    normal_since: datetime | None = None  # first normal bucket after the last anomalous one
    lost: float = 0.0  # sum of expected minus value over the anomalous buckets
    gap_since: datetime | None = None  # first missing bucket of the present gap
    gap_notified: bool = False
    back_since: datetime | None = None  # first bucket with a value after the gap, until one can be judged
    resolved: datetime | None = None  # bucket in which the episode before it was resolved ...
    resolved_worst: Verdict | None = None  # ... and its worst verdict
    unchecked: bool = False  # it was open when its metric left the catalogue, and no bucket was judged since
