"""The doors as the pipeline sees them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from alerting.model.incident import Incident
from alerting.model.message import ButtonPress, Message, Receipt
from alerting.model.metric import Query, Silence
from alerting.model.run import Arrival, CachedSpan, Run
from alerting.model.verdict import Episode, Verdict

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class Source(Protocol):
    """Where counts come from. An adapter that can only count inherits the rest from `sources.BaseSource`."""

    @property
    def runs_sql(self) -> bool:
        """Whether it is a database: `rows` and `columns` answer, threads may query it at once, and a cache in front pays off."""

    @property
    def notes(self) -> Sequence[str]:
        """What was odd about the data and was put aside; the run shows it."""

    @property
    def loud(self) -> Sequence[str]:
        """Notes that the last line of the run repeats."""

    @abstractmethod
    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Counts per bucket of `query.step` for start <= bucket < end.

        Index: `bucket`, datetime64[ns, UTC], ascending, unique, only buckets that have rows. Columns: numbers, float64
        or (unsigned) integers. A column `newest` (epoch seconds of the newest row of the bucket) is optional.
        Raises SourceError.
        """

    def rows(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """All columns of the query as they come, texts and times too. Raises SourceError, as a source without SQL always does."""

    def columns(self, name: str) -> dict[str, str]:
        """Column -> database type of the table that the query `name` reads. Raises SourceError as `rows` does."""

    def now(self) -> datetime:
        """The clock of the server, or of this machine where there is no server. Raises SourceError."""

    def ends(self) -> dict[str, datetime]:
        """Query name -> the end of its data, for a source whose data may end in the past; else empty. Raises SourceError."""

    def close(self) -> None:
        """Release what it holds, such as a process. A query after that opens it again."""


class HistoryCache(Protocol):
    """Closed buckets that were read before, by what they were read with. Every method raises StoreError."""

    def cached_span(self, key: str) -> CachedSpan | None:
        """What is held; None for nothing."""

    def read(self, key: str, start: datetime, end: datetime) -> pd.DataFrame:
        """The held buckets with start <= bucket < end, as `Source.fetch` gives them, float64."""

    def extend(self, key: str, query: str, frame: pd.DataFrame, span: CachedSpan, at: datetime) -> None:
        """Hold the buckets of `span` too, which touches what is held."""

    def drop(self, key: str) -> None: ...


@dataclass(frozen=True)
class Commit:
    """What one run has to remember: all of it or, should anything happen, nothing.

    A bucket judged again takes the new verdict; a message whose key is known is not enqueued again, but for an edit, which
    takes the place of one that still waits, or changes the text of a message that was not sent yet. `trail`: each metric's
    episode after a bucket, so that late rows can be judged again from there. `withdrawn`: keys of messages that are not to
    be sent any more. `heard`: the number of the next update to read from the chat.
    """

    verdicts: Sequence[Verdict] = ()
    episodes: Sequence[Episode] = ()
    messages: Sequence[Message] = ()
    incidents: Sequence[Incident] = ()
    episode_trail: Sequence[tuple[datetime, Episode]] = ()
    withdrawn_keys: Sequence[str] = ()
    arrivals: Sequence[Arrival] = ()
    silences: Sequence[Silence] = ()
    next_update: int | None = None


class Store(Protocol):
    """What is remembered between runs. Every method raises StoreError."""

    @property
    def notes(self) -> Sequence[str]:
        """What the run must say about the store, such as a file that was moved aside."""

    def episodes(self) -> dict[str, Episode]: ...

    def episode_before(self, metric: str, bucket: datetime) -> Episode | None:
        """The metric's episode as it stood before `bucket` was judged; None if that is not known any more."""

    def last_judged(self) -> dict[str, datetime]: ...

    def judged(self, metric: str | None = None, since: datetime | None = None) -> list[Verdict]: ...

    def judged_values(self, since: datetime) -> list[tuple[str, datetime, float, str]]:
        """metric, bucket, value and rule of every bucket that was judged, from `since` on."""

    def statuses(self, bucket: datetime) -> dict[str, str]:
        """How each metric's bucket was answered."""

    def fired_detectors(self, since: datetime, rules: Sequence[str]) -> list[tuple[str, datetime, str]]:
        """metric, bucket and rule where one of these rules fired, from `since` on."""

    def nightly_statistics(self) -> dict[bytes, np.ndarray]:
        """Figures that rules refresh every night, by what they were made from."""

    def save_nightly_statistics(self, figures: Mapping[bytes, np.ndarray], at: datetime) -> None: ...

    def incidents(self, since: datetime | None = None) -> list[Incident]:
        """Those that are open, and those closed since then; oldest first."""

    def all_incidents(self, since: datetime, until: datetime | None = None) -> list[Incident]:
        """Those that opened from `since` on and before `until`, oldest first."""

    def arrivals(self, since: datetime) -> list[Arrival]: ...

    def silences(self, at: datetime) -> list[Silence]:
        """Those that are not over at `at`."""

    def next_update(self) -> int:
        """Number of the next update to read from the chat; 0 at first."""

    def commit(self, memory: Commit, at: datetime | None = None) -> None:
        """`at`: the moment of the run, by which the age of its messages is told."""

    def unsent(self, incident: str) -> list[str]:
        """Keys of all messages of an incident that were not sent yet."""

    def stale(self, before: datetime) -> list[Message]:
        """Texts that wait since before that, oldest first; neither edits nor pictures."""

    def merge_into_digest(self, keys: Sequence[str], digest: Message) -> None:
        """In place of these, and of what belongs to them, the digest is sent."""

    def waiting(self, at: datetime | None = None) -> list[Message]: ...

    def record(self, receipt: Receipt, at: datetime, retry_after: float = 0.0) -> None: ...

    def message_id(self, key: str) -> str: ...

    def text(self, key: str) -> str:
        """The newest text of the message with this key, its edits included; "" if there is none."""

    def sent_recently(self, kind: str, since: datetime) -> bool: ...

    def was_sent(self, key: str) -> bool:
        """Whether any destination has accepted its copy of the message with this key."""

    def sent_since(self, at: datetime, place: str = "") -> int:
        """How many messages the destinations, or this one, have accepted since then."""

    def begin_run(self, run: Run) -> None: ...

    def end_run(self, run: Run) -> None: ...

    def runs(self, since: datetime) -> list[Run]:
        """Those that stood at a moment after that, oldest first."""


class Notifier(Protocol):
    """Where messages go, and where people answer."""

    @property
    def notes(self) -> Sequence[str]:
        """What whoever keeps the settings should know, also after a success."""

    def send(self, message: Message, reply_to: str = "") -> str:
        """Message id at the destination. `reply_to` is such an id. Raises NotifyError."""

    def edit(self, message: Message, message_id: str) -> None:
        """Give the message with this id the text and the buttons of `message`. Raises NotifyError."""

    def button_presses(self, since: int, wait: float = 0.0) -> list[ButtonPress]:
        """The buttons pressed from update number `since` on, oldest first. `wait`: seconds to wait for one.

        Raises NotifyError.
        """

    def confirm(self, answer: ButtonPress, text: str) -> None:
        """Show `text` to whoever pressed. Best effort: it never raises."""

    def check(self) -> str:
        """Whether messages would arrive, in words. Nothing is sent. Raises NotifyError saying what to do."""
