"""What is wrong with a bucket, and with one metric over time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """The four answers to "how is this bucket?"."""

    NORMAL = "normal"
    ANOMALOUS = "anomalous"
    MISSING = "missing"  # we looked, and there is no value
    UNKNOWN = "unknown"  # there is a value, and too little history to tell


class EpisodeState(StrEnum):
    """Where one metric's episode stands."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    RECOVERING = "recovering"


class EventKind(StrEnum):
    """What an event says, and what a message is about."""

    OPENED = "opened"
    WORSENED = "worsened"
    REMINDER = "reminder"
    RESOLVED = "resolved"
    NO_DATA = "no data"
    DATA_BACK = "data back"
    CORRECTED = "corrected"  # late rows have made it normal
    CAUSE = "cause"  # what explains it, where that came later than the alert
    TAKEN = "taken"  # somebody is on it
    SILENCED = "silenced"
    LABELLED = "labelled"
    RUN_FAILED = "run failed"
    CAUGHT_UP = "caught up"
    DIGEST = "digest"  # what could not be told in time, a line each
    DAILY = "daily"


class Label(StrEnum):
    """What a person says an incident was."""

    REAL = "real"
    FALSE_ALARM = "false alarm"
    EXPECTED = "expected"
    NEW_TREND = "new trend"


@dataclass(frozen=True)
class Verdict:
    """The answer for one metric and bucket. `score` is signed; beyond +-1 lies outside the band."""

    metric: str
    bucket: datetime
    status: Status
    value: float = float("nan")
    low: float = float("nan")
    expected: float = float("nan")
    high: float = float("nan")
    score: float = float("nan")
    reason: str = ""  # which question an anomalous bucket answers badly: sudden, sustained, level; "usual gap" of a missing one
    is_new: bool = True  # False: what it says was told before, as of a level that is still held wrong
    usual: float = float("nan")  # the same time of the days before, where the rule knows it

    @property
    def numbers(self) -> dict[str, float]:
        """Its numbers by the names that the columns of a judged frame have."""
        names = {"value": self.value, "low": self.low, "expected": self.expected, "high": self.high}
        return names | {"score": self.score, "usual": self.usual}

    @property
    def change(self) -> float:
        """Deviation from expected as a share, NaN where expected is 0 or unknown."""
        return (self.value - self.expected) / abs(self.expected) if self.expected else float("nan")

    @property
    def loss(self) -> float:
        """What is missing to expected (negative: what there is too much), 0 where that is not known."""
        loss = self.expected - self.value
        return loss if loss == loss else 0.0

    def cells(self) -> dict[str, Any]:
        """A line of a table."""
        from alerting.model.tables import percent_change

        numbers = self.numbers
        del numbers["usual"]
        known = {"metric": self.metric, "bucket": self.bucket, "status": self.status.value}
        return known | numbers | {"change": percent_change(self.change), "rule": self.reason}

    def _repr_html_(self) -> str:
        from alerting.model.tables import html_table

        return html_table([self.cells()], "Verdict, UTC")


@dataclass(frozen=True)
class Episode:
    """One metric's trouble, from its first odd bucket to the last; also its memory while nothing is wrong."""

    metric: str
    state: EpisodeState = EpisodeState.OK
    since: datetime | None = None  # first anomalous bucket of the present trouble
    opened: datetime | None = None  # bucket whose verdict opened it
    last_notified: datetime | None = None  # bucket of the last event
    last_notified_verdict: Verdict | None = None  # the anomalous verdict that was last told
    expected_share: float = float("nan")  # of usual: what was expected when it opened, where a sudden change opened it ...
    fell_to: float = float("nan")  # ... and what there was
    worst: Verdict | None = None  # farthest outside so far
    last: Verdict | None = None  # newest verdict seen that had a value
    recent: str = ""  # newest last: one letter of the status per bucket (n, a, m, u)
    answers: str = ""  # newest last: n or a per answer since it opened, against what was expected before
    normal_since: datetime | None = None  # first normal bucket after the last anomalous one
    lost: float = 0.0  # expected less value, summed over the anomalous buckets since it opened
    gap_since: datetime | None = None  # first missing bucket of the present gap
    gap_notified: bool = False
