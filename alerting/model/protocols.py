"""Protocols of source, store and notifier: everything that the pipeline may ask of them.

All times are aware UTC. Errors of libraries do not pass: each method raises the one error that its protocol names.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from alerting.model.incident import Incident
from alerting.model.message import ButtonPress, Message, Receipt, Received
from alerting.model.metric import Query, Silence
from alerting.model.run import Arrival, CachedSpan, Run
from alerting.model.verdict import Episode, Verdict

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


class Source(Protocol):
    """A source of counts. An adapter with `fetch` alone inherits the rest from `sources.base.BaseSource`."""

    @property
    def runs_sql(self) -> bool:
        """Return whether it is a database: it has `rows`, threads can query it at once, a cache pays off."""

    @property
    def notes(self) -> Sequence[str]:
        """Notes about invalid data that was left out; the run shows them."""

    @property
    def loud(self) -> Sequence[str]:
        """Notes that the last line of the run repeats."""

    @abstractmethod
    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Return the counts per bucket of `query.step` for start <= bucket < end. Raises SourceError.

        Index: `bucket`, datetime64[ns, UTC], ascending, unique, only buckets that have rows. Columns: float64 or (unsigned)
        integers. A column `newest` (epoch seconds of the newest row of the bucket) is optional.
        """

    def rows(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Return all columns of the query unchanged, texts and times too. Raises SourceError, without SQL always."""

    def now(self) -> datetime:
        """Return the time of the server, or of this machine where there is no server. Raises SourceError."""

    def ends(self) -> dict[str, datetime]:
        """Return query name -> end of its data, if the data may end in the past; else nothing. Raises SourceError."""

    def gone(self) -> frozenset[str]:
        """Return the queries that earlier runs read and that the source does not have any more. Raises SourceError."""

    def close(self) -> None:
        """Release processes and files. A later query opens them again."""


class HistoryCache(Protocol):
    """Closed buckets that were read before, by a key of the query that read them. Every method raises StoreError."""

    def cached_span(self, key: str) -> CachedSpan | None:
        """Return the part of the history that is cached; None for nothing."""

    def read(self, key: str, start: datetime, end: datetime) -> pd.DataFrame:
        """Return the cached buckets with start <= bucket < end, as `Source.fetch` does, float64.

        Raises StoreError also where another process has just dropped some of them.
        """

    def extend(self, key: str, query: str, frame: pd.DataFrame, span: CachedSpan, at: datetime) -> None:
        """Cache the counts of the buckets of `span`, in place of those that were cached, and mark the history as used at `at`.

        A span that does not touch the cached one changes nothing: another process was faster.
        """

    def drop(self, key: str) -> None:
        """Remove all that is cached under the key."""


@dataclass(frozen=True)
class Commit:
    """The changes of one run, stored in one transaction.

    A bucket that was judged again gets the new verdict. A message whose key is known is not enqueued again, but for an edit,
    which takes the place of one that still waits. An edit of a message that still waits changes its text instead; one of a
    message that was not and will not be sent is dropped. Messages with a withdrawn key that still wait are withdrawn, those of
    this commit included.
    """

    verdicts: Sequence[Verdict] = ()
    episodes: Sequence[Episode] = ()
    messages: Sequence[Message] = ()
    incidents: Sequence[Incident] = ()
    episode_trail: Sequence[tuple[datetime, Episode]] = ()  # episodes after each bucket: late rows are judged again from there
    withdrawn_keys: Sequence[str] = ()  # keys of waiting messages that must not be sent any more
    arrivals: Sequence[Arrival] = ()
    silences: Sequence[Silence] = ()
    next_update: int | None = None  # number of the next update to read from the chat
    # metric -> first bucket of its trail to keep; else three days
    trail_since: Mapping[str, datetime] = field(default_factory=dict)


class Store(Protocol):
    """The state that is kept between runs. Every method raises StoreError."""

    @property
    def notes(self) -> Sequence[str]:
        """Notes that the run must report about the store, such as a file that was moved aside."""

    def episodes(self) -> dict[str, Episode]:
        """Return metric -> its present episode."""

    def episode_before(self, metric: str, bucket: datetime) -> Episode | None:
        """Return the metric's episode before `bucket` was judged; None when it is not stored any more."""

    def last_judged(self) -> dict[str, datetime]:
        """Return metric -> its newest judged bucket."""

    def judged(self, metric: str | None = None, since: datetime | None = None) -> list[Verdict]:
        """Return the verdicts of one metric (None: of all), from bucket `since` on (None: all), ordered by bucket."""

    def judged_values(self, since: datetime, rules: Sequence[str] = ()) -> list[tuple[str, datetime, float, str]]:
        """Return metric, bucket, value and rule of every judged bucket from `since` on (of `rules`: where one of them fired).

        Only of metrics that have an episode.
        """

    def statuses(self, bucket: datetime) -> dict[str, str]:
        """Return metric -> status of this bucket, of every metric that has an episode."""

    def nightly_statistics(self) -> dict[bytes, np.ndarray]:
        """Return the cached nightly statistics of detectors, keyed by a hash of their inputs."""

    def save_nightly_statistics(self, figures: Mapping[bytes, np.ndarray], at: datetime) -> None:
        """Add to the cached nightly statistics; `at` decides which old ones are dropped."""

    def incidents(self, since: datetime | None = None) -> list[Incident]:
        """Return open incidents and those closed since then, oldest first."""

    def all_incidents(self, since: datetime, until: datetime | None = None) -> list[Incident]:
        """Return the incidents with since <= opened < until, oldest first."""

    def arrivals(self, since: datetime) -> list[Arrival]:
        """Return what the tables held each time that they were read, from `since` on, oldest first."""

    def silences(self, at: datetime) -> list[Silence]:
        """Return the silences that are not over at `at`, future ones included, ordered by their start."""

    def next_update(self) -> int:
        """Return the number of the next update to read from the chat; 0 at first."""

    def commit(self, memory: Commit, at: datetime | None = None) -> None:
        """Store all changes of a run, or nothing. `at`: the moment from which its messages wait (None: that of their bucket)."""

    def unsent(self, incident: str) -> list[str]:
        """Return the keys of all messages of an incident that wait, due or not."""

    def stale(self, before: datetime) -> list[Message]:
        """Return messages that have waited since before then, oldest first; no edits."""

    def held(self) -> list[Message]:
        """Return the messages that are held back, and the replies that wait for them; without their pictures."""

    def hold(self, keys: Sequence[str], released: Sequence[str] = ()) -> None:
        """Hold back messages that wait: they are not due, nor is what answers them. `released`: held ones that wait again."""

    def merge_into_digest(
        self, keys: Sequence[str], digest: Message, at: datetime | None = None, released: Sequence[str] = ()
    ) -> None:
        """Enqueue the digest, created at `at`, in place of those of these messages that wait or are held, and of their edits.

        `released`: held messages that are sent now, too, without a sound. A digest whose key is known replaces nothing.
        """

    def waiting(self, at: datetime | None = None) -> list[Message]:
        """Return the messages that may be sent now (at `at`: that are due then), in the order of sending.

        Edits wait for their text, replies for the message that they answer: call it again until it returns nothing new.
        """

    def record(self, receipt: Receipt, at: datetime, retry_after: float = 0.0) -> None:
        """Store what became of a message at `at`. One that is kept is not due again for `retry_after` seconds.

        A key that is not known changes nothing. A message that is not tried again loses its picture, which the run's record has.
        """

    def message_id(self, key: str) -> str:
        """Return the id of the message with this key at its destination (for an edit, of the edited one); "" for none."""

    def text(self, key: str) -> str:
        """Return the newest text of the message with this key at any destination, with its edits; "" if there is none."""

    def sent_recently(self, kind: str, since: datetime, until: datetime, key_part: str = "") -> bool:
        """Return whether a message of this kind was sent between the two times, or waits and is about a time between them.

        What was sent later than `until`, the present moment, was sent while the clock was ahead. `key_part`: a part of its key.
        """

    def was_sent(self, key: str) -> bool:
        """Return whether a destination has accepted its copy of the message with this key."""

    def critical_since(self, incident: str, since: datetime) -> datetime | None:
        """Return when the first message of the incident as critical was sent from `since` on; None if there is none."""

    def sent_since(self, at: datetime, until: datetime, place: str = "") -> int:
        """Return how many messages and edits were accepted between the two times, by all destinations or by `place`."""

    def save_run(self, run: Run) -> None:
        """Store a run: its start, unless the run is stored already; its outcome, also when its start is not stored."""

    def runs(self, since: datetime) -> list[Run]:
        """Return the runs whose moment is after that, oldest first."""


class Notifier(Protocol):
    """A destination: messages go there, and people answer there."""

    @property
    def notes(self) -> Sequence[str]:
        """Advice for whoever keeps the settings, also after a success."""

    def send(self, message: Message, reply_to: str = "") -> str:
        """Send a message and return its id at the destination. `reply_to` is such an id. Raises NotifyError."""

    def edit(self, message: Message, message_id: str) -> None:
        """Replace the text and the buttons of the message with this id by those of `message`. Raises NotifyError."""

    def button_presses(self, since: int, wait: float = 0.0) -> list[Received]:
        """Return presses and commands from update number `since` on, oldest first. `wait`: seconds. Raises NotifyError."""

    def confirm(self, answer: ButtonPress, text: str) -> None:
        """Show `text` to the person who pressed. Best effort: it raises nothing."""

    def check(self) -> str:
        """Return in words whether messages would arrive, without sending one. Raises NotifyError that says what to do."""
