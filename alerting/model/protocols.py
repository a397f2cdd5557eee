"""Protocols of source, store and notifier: all methods that the pipeline may call.

All times are aware UTC. A method raises only the error that its protocol names: it turns errors of libraries into that one.
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
    """A source of counts. An adapter that defines only `fetch` inherits the rest from `sources.base.BaseSource`."""

    @property
    def runs_sql(self) -> bool:
        """Whether it is a database: it has `rows`, several threads can query it at once, and a cache saves time."""

    @property
    def notes(self) -> Sequence[str]:
        """Notes about invalid data that was left out. The run shows them."""

    @property
    def loud(self) -> Sequence[str]:
        """Important notes: the last line of the run repeats them."""

    @abstractmethod
    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Return the counts of a query: one row per bucket of `query.step` with start <= bucket < end. Raises SourceError.

        Index: `bucket`, datetime64[ns, UTC], ascending, unique; only buckets that have rows. Columns: float64 or (unsigned)
        integers. A column `newest` (epoch seconds of the newest row in the bucket) is optional.
        """

    def rows(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Return the rows of the query with all columns unchanged, texts and times too. Raises SourceError.

        A source that does not run SQL always raises it.
        """

    def now(self) -> datetime:
        """Return the time of the server; of this machine, if there is no server. Raises SourceError."""

    def ends(self) -> dict[str, datetime]:
        """Return query name -> end of its data. Empty for a source whose data does not end in the past. Raises SourceError."""

    def gone(self) -> frozenset[str]:
        """Return the names of queries that earlier runs read and that the source does not have any more. Raises SourceError."""

    def close(self) -> None:
        """Release processes and files. A later query opens them again."""


class HistoryCache(Protocol):
    """A cache of closed buckets. Each history has the key of the query that read it. Every method raises StoreError."""

    def cached_span(self, key: str) -> CachedSpan | None:
        """Return the span of the history that is cached; None if nothing is."""

    def read(self, key: str, start: datetime, end: datetime) -> pd.DataFrame:
        """Return the cached buckets with start <= bucket < end, in the form of `Source.fetch`, float64.

        Raises StoreError also if another process has just dropped some of them.
        """

    def extend(self, key: str, query: str, frame: pd.DataFrame, span: CachedSpan, at: datetime) -> None:
        """Cache `frame`, the counts of the buckets of `span`, and mark the history as used at `at`.

        It replaces cached buckets of the same span. If `span` does not touch the cached span, nothing changes: another process
        has changed the cache meanwhile.
        """

    def drop(self, key: str) -> None:
        """Remove the history with this key from the cache."""


@dataclass(frozen=True)
class Commit:
    """The changes of one run, stored in one transaction.

    A bucket that was judged again gets the new verdict. A message whose key is known is not enqueued again. An edit replaces an
    earlier edit that still waits. An edit of a message that still waits changes the text of that message. An edit of a message
    that was never sent and does not wait is dropped. Messages with a withdrawn key that still wait are withdrawn, messages of
    this commit too.
    """

    verdicts: Sequence[Verdict] = ()
    episodes: Sequence[Episode] = ()
    messages: Sequence[Message] = ()
    incidents: Sequence[Incident] = ()
    episode_trail: Sequence[tuple[datetime, Episode]] = ()  # (bucket, episode after it), from which late rows are judged again
    withdrawn_keys: Sequence[str] = ()  # keys of waiting messages that must not be sent any more
    arrivals: Sequence[Arrival] = ()
    silences: Sequence[Silence] = ()
    next_update: int | None = None  # number of the next update to read from the chat
    # metric -> first bucket of its trail to keep; the trails of other metrics are kept for three days
    trail_since: Mapping[str, datetime] = field(default_factory=dict)


class Store(Protocol):
    """The state that is kept between runs. Every method raises StoreError."""

    @property
    def notes(self) -> Sequence[str]:
        """Notes that the run must report about the store, such as a file that was moved aside."""

    def episodes(self) -> dict[str, Episode]:
        """Return metric -> the newest state of its episode."""

    def episode_before(self, metric: str, bucket: datetime) -> Episode | None:
        """Return the metric's episode before `bucket` was judged; None when it is not stored any more."""

    def last_judged(self) -> dict[str, datetime]:
        """Return metric -> its newest judged bucket."""

    def judged(self, metric: str | None = None, since: datetime | None = None) -> list[Verdict]:
        """Return the verdicts of one metric (None: of all metrics) from bucket `since` on (None: all), ordered by bucket."""

    def judged_values(self, since: datetime, rules: Sequence[str] = ()) -> list[tuple[str, datetime, float, str]]:
        """Return (metric, bucket, value, rule) for every judged bucket from `since` on, for metrics that have an episode.

        `rules`: only buckets for which one of these rules fired.
        """

    def statuses(self, bucket: datetime) -> dict[str, str]:
        """Return metric -> its status in this bucket, for every metric that has an episode."""

    def nightly_statistics(self) -> dict[bytes, np.ndarray]:
        """Return the cached nightly statistics of detectors, keyed by a hash of their inputs."""

    def save_nightly_statistics(self, figures: Mapping[bytes, np.ndarray], at: datetime) -> None:
        """Add `figures` (hash -> statistics) to the cached nightly statistics. `at` decides which old ones are dropped."""

    def incidents(self, since: datetime | None = None) -> list[Incident]:
        """Return open incidents, and incidents that were closed at `since` or later, oldest first."""

    def all_incidents(self, since: datetime, until: datetime | None = None) -> list[Incident]:
        """Return the incidents with since <= opened < until, oldest first."""

    def arrivals(self, since: datetime) -> list[Arrival]:
        """Return one Arrival for each time that a table was read, from `since` on, oldest first."""

    def silences(self, at: datetime) -> list[Silence]:
        """Return the silences that are not over at `at`, future ones included, ordered by their start."""

    def next_update(self) -> int:
        """Return the number of the next update to read from the chat; 0 at first."""

    def commit(self, memory: Commit, at: datetime | None = None) -> None:
        """Store all changes of a run, or none of them. `at`: the time from which its messages wait (None: their bucket)."""

    def unsent(self, incident: str) -> list[str]:
        """Return the keys of all messages of an incident that wait, even if they are not due yet."""

    def stale(self, before: datetime) -> list[Message]:
        """Return the messages that have waited since before then, oldest first. Edits are left out."""

    def held(self) -> list[Message]:
        """Return the messages that are held back and the replies that wait for them, without their pictures."""

    def hold(self, keys: Sequence[str], released: Sequence[str] = ()) -> None:
        """Hold back waiting messages: neither they nor replies to them are due. `released`: held messages that wait again."""

    def merge_into_digest(
        self, keys: Sequence[str], digest: Message, at: datetime | None = None, released: Sequence[str] = ()
    ) -> None:
        """Enqueue the digest, created at `at`. It replaces the messages `keys` that wait or are held, and their edits.

        `released`: held messages that are sent now as well, without a sound. A digest whose key is known replaces nothing.
        """

    def waiting(self, at: datetime | None = None) -> list[Message]:
        """Return the messages that can be sent, in the order of sending. `at`: only those that are due then.

        An edit waits for its message, and a reply for the message that it answers: call it again until it returns nothing new.
        """

    def record(self, receipt: Receipt, at: datetime, retry_after: float = 0.0) -> None:
        """Store the result of sending a message at `at`. A message that is kept is not due again for `retry_after` seconds.

        A key that is not known changes nothing. The picture of a message that is not tried again is deleted, because the run's
        record has it.
        """

    def message_id(self, key: str) -> str:
        """Return the id at its destination of the message with this key (for an edit: of the edited message); "" for none."""

    def text(self, key: str) -> str:
        """Return the newest text, edits included, of the message with this key at any destination; "" if there is none."""

    def sent_recently(self, kind: str, since: datetime, until: datetime, key_part: str = "") -> bool:
        """Return whether a message of this kind was sent between the two times, or waits and is about a time between them.

        `until`: the present time; messages that a clock ahead of time dated later do not count. `key_part`: text that the key
        must contain.
        """

    def was_sent(self, key: str) -> bool:
        """Return whether a destination has accepted its copy of the message with this key."""

    def critical_since(self, incident: str, since: datetime) -> datetime | None:
        """Return when, from `since` on, the first critical message of the incident was sent; None if there is none."""

    def sent_since(self, at: datetime, until: datetime, place: str = "") -> int:
        """Return how many messages and edits were accepted between the two times by the destination `place` ("": by all)."""

    def save_run(self, run: Run) -> None:
        """Store a run. A start that is stored already stays; an outcome is stored even if its start is not."""

    def runs(self, since: datetime) -> list[Run]:
        """Return the runs whose `at` is later than `since`, oldest first."""


class Notifier(Protocol):
    """A destination, to which messages are sent and where people answer."""

    @property
    def notes(self) -> Sequence[str]:
        """Advice for the person who keeps the settings. It can exist after a success, too."""

    def send(self, message: Message, reply_to: str = "") -> str:
        """Send a message and return its id at the destination. `reply_to`: id of the message to answer. Raises NotifyError."""

    def edit(self, message: Message, message_id: str) -> None:
        """Give the message with this id the text and the buttons of `message`. Raises NotifyError."""

    def button_presses(self, since: int, wait: float = 0.0) -> list[Received]:
        """Return button presses and commands from update number `since` on, oldest first. Raises NotifyError.

        `wait`: how many seconds to wait for the first one.
        """

    def confirm(self, answer: ButtonPress, text: str) -> None:
        """Show `text` to the person who pressed the button. Raises nothing if that fails."""

    def check(self) -> str:
        """Return a text that says whether messages would arrive, without sending one. Raises NotifyError with advice."""
