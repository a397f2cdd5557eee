"""What a run saw and what became of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from concurrent.futures import Future

    import pandas as pd

PROGRESS = "application/vnd.alerting.progress+json"  # the MIME type by which a runner finds a Progress among outputs


@dataclass(frozen=True)
class Arrival:
    """What a source table had at one moment, for its newest closed bucket."""

    query: str
    at: datetime  # when it was read
    bucket: datetime
    rows: float  # sum of its counts then
    newest: datetime | None = None  # instant of the newest row of the table


@dataclass(frozen=True)
class Reading:
    """What a run saw. `series`: metric -> float64 values on its full UTC grid, gaps NaN.
    `counts`: `Metric.scan` -> the counts they were made of. `troubles`: metric -> why it could not be seen.
    `notes`: odd rows that were put aside. `volumes`: metric -> what its ratio divides by. `waiting`: scan -> its newest
    bucket, where that has only half arrived. `arrivals`: what each table had at the time of reading.
    `slices`: query -> rows of its slices, on their way. `seconds`: scan -> how long its table was read.
    `late`: scan of a table that is slow -> its counts and seconds, on their way."""

    series: dict[str, pd.Series]
    counts: dict[str, pd.DataFrame] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    volumes: dict[str, pd.Series] = field(default_factory=dict)
    incomplete: dict[str, datetime] = field(default_factory=dict)
    arrivals: tuple[Arrival, ...] = ()
    slices: dict[str, Future[pd.DataFrame]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    pending: dict[str, Future[tuple[pd.DataFrame, float]]] = field(default_factory=dict)


@dataclass(frozen=True)
class CachedSpan:
    """Which part of a history is held: start <= bucket < until. `rebuilt`: when it was last found to be wrong and read anew."""

    start: datetime  # aware UTC
    until: datetime
    step: timedelta
    rebuilt: datetime | None = None

    def joined(self, other: CachedSpan) -> CachedSpan:
        """Both; the newer word on when it was read anew."""
        rebuilt = max(filter(None, (self.rebuilt, other.rebuilt)), default=None)
        return CachedSpan(min(self.start, other.start), max(self.until, other.until), self.step, rebuilt)


class Outcome(str):
    """The last word on a run that went well. In a cell it leaves its facts beside the words, so that nobody has to read those.

    `sent`: messages that were accepted, edits not counted.
    """

    __slots__ = ("sent",)
    sent: int
    MIME = "application/vnd.metric-alerts.outcome+json"

    def __new__(cls, said: str, sent: int) -> Outcome:
        made = super().__new__(cls, said)
        made.sent = sent
        return made

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {self.MIME: {"said": str(self), "sent": self.sent}}


@dataclass(frozen=True)
class Run:
    """One run as the memory knows it. `ended` None: it was killed, or goes on."""

    started: datetime
    at: datetime  # the moment it stood at
    ended: datetime | None = None
    ok: bool = False
    outcome: str = ""


@dataclass(frozen=True)
class Progress:
    """How far a long read of a table is. A notebook that displays it has the value beside the line."""

    query: str
    read: float  # days
    days: float  # in all

    def __str__(self) -> str:
        return f"history of {self.query}: {self.read:.0f} of {self.days:.0f} days read"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {PROGRESS: asdict(self), "text/plain": str(self)}
