"""A run: the data that it read, its progress, its outcome, and the collection of errors that do not end it."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from alerting.model.errors import AlertingError, StoreError

if TYPE_CHECKING:
    from concurrent.futures import Future

    import pandas as pd

# MIME types by which the runner finds a Progress and the verdicts that it prints among a cell's outputs
PROGRESS = "application/vnd.alerting.progress+json"
VERDICTS = "application/vnd.metric-alerts.verdicts+json"


@dataclass(frozen=True)
class Arrival:
    """How much of a source table's newest closed bucket had arrived when it was read."""

    query: str
    at: datetime  # time at which it was read
    bucket: datetime
    rows: float  # sum of the bucket's counts at that time
    newest: datetime | None = None  # instant of the table's newest row


@dataclass(frozen=True)
class Reading:
    """The data that a run has read. A scan is `Metric.scan`; values are float64, times are aware UTC."""

    series: dict[str, pd.Series]  # metric -> values on its full grid, NaN where missing
    counts: dict[str, pd.DataFrame] = field(default_factory=dict)  # scan -> the counts that the values were computed from
    errors: dict[str, str] = field(default_factory=dict)  # metric -> why it could not be read
    notes: tuple[str, ...] = ()  # invalid rows that were left out
    volumes: dict[str, pd.Series] = field(default_factory=dict)  # metric -> denominator of its ratio
    incomplete: dict[str, datetime] = field(default_factory=dict)  # scan -> its newest bucket, if rows are still arriving
    arrivals: tuple[Arrival, ...] = ()
    gone: frozenset[str] = frozenset()  # metrics that earlier runs judged and that the source does not have any more
    slices: dict[str, Future[pd.DataFrame]] = field(default_factory=dict)  # query -> rows of its segments, still being read
    seconds: dict[str, float] = field(default_factory=dict)  # scan -> seconds that the reading took
    pending: dict[str, Future[tuple[pd.DataFrame, float]]] = field(
        default_factory=dict
    )  # slow scan -> (counts, seconds), still being read


@dataclass(frozen=True)
class CachedSpan:
    """The span of a history that is cached: start <= bucket < until, aware UTC. `rebuilt`: when all of it was last read anew."""

    start: datetime
    until: datetime
    step: timedelta
    rebuilt: datetime | None = None


class Outcome(str):
    """The last line of a successful run. A cell stores it with `sent`, so that no program has to parse the text.

    `sent`: number of accepted messages, without edits.
    """

    __slots__ = ("sent",)
    sent: int
    MIME = "application/vnd.metric-alerts.outcome+json"

    def __new__(cls, said: str, sent: int) -> Outcome:
        outcome = super().__new__(cls, said)
        outcome.sent = sent
        return outcome

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {self.MIME: {"said": str(self), "sent": self.sent}}


@dataclass(frozen=True)
class Run:
    """One run in the run log. `ended` is None while the run is in progress, and if it was killed."""

    started: datetime
    at: datetime  # the time that it judged; for a rehearsal of the past it differs from `started`
    ended: datetime | None = None
    ok: bool = False
    outcome: str = ""


@dataclass(frozen=True)
class Progress:
    """The progress of a long read of a table, in days of history. A notebook stores the numbers next to the printed line."""

    query: str
    read: float
    days: float

    def __str__(self) -> str:
        return f"history of {self.query}: {self.read:.0f} of {self.days:.0f} days read"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {PROGRESS: asdict(self), "text/plain": str(self)}


@contextmanager
def caught(errors: MutableMapping[str, str] | None, name: str) -> Iterator[None]:
    """Catch any exception of the block and store its text as `errors[name]`, so that the other metrics are still handled.

    A StoreError affects all metrics, so it is raised. If `errors` is None, every error is raised.
    """
    try:
        yield
    except StoreError:
        raise
    except Exception as error:  # an analyst's function, a library, an odd value: the outcome of the run reports it
        if errors is None:
            raise
        text = next(iter(str(error).splitlines()), "")
        errors[name] = str(error) if isinstance(error, AlertingError) else f"{type(error).__name__}: {text}".rstrip(": ")
