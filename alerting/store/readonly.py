"""The state database for programs that only read it: nothing is created, migrated or moved, and waits for locks are short."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from alerting.model.incident import Incident
from alerting.model.message import ThreadMessage
from alerting.model.routing import DEFAULT_DESTINATION, addressed_to, copy_key, plain_key
from alerting.store.codec import STORED, from_json, from_row, iso
from alerting.store.database import ReadOnlyDatabase

_NEWEST = "id > (SELECT MAX(id) FROM messages) - 500"  # messages of the newest run are among the last 500


class ReadOnlyState:
    """The state database at `path`. All methods raise StoreError."""

    def __init__(self, path: Path, patience: float = 2.0, destinations: Iterable[str] = (DEFAULT_DESTINATION,)) -> None:
        """Raises StoreError when there is no file. `patience`: seconds to wait for the lock of another process.
        `destinations`: all that copies of a message may have.
        """
        self._file = ReadOnlyDatabase(path, [], patience)
        self._destinations = tuple(destinations)

    def close(self) -> None:
        self._file.close()

    def affected_metrics(self) -> list[str]:
        """Return the names of the metrics that are anomalous now by the open incidents."""
        found = self._file.read(from_json(Incident), "SELECT body FROM incidents WHERE closed = '' ORDER BY opened, id")
        return list(dict.fromkeys(member.metric for incident in found for member in incident.affected))

    def all_incidents(self, since: datetime, until: datetime) -> list[Incident]:
        """Return the incidents with since <= opened < until, oldest first."""
        sql = "SELECT body FROM incidents WHERE opened >= ? AND opened < ? ORDER BY opened, id"
        return self._file.read(from_json(Incident), sql, iso(since), iso(until))

    def open_or_recent_incidents(self, since: datetime) -> list[Incident]:
        """Return the open incidents and those opened since then, by id."""
        return self._file.read(
            from_json(Incident), "SELECT body FROM incidents WHERE opened >= ? OR closed = '' ORDER BY id", iso(since)
        )

    def sent(self, since: datetime, until: datetime) -> int:
        """Return how many of the newest messages were accepted between the two times; edits are not counted."""
        sql = f"SELECT COUNT(*) FROM messages WHERE {_NEWEST} AND state = 'sent' AND edits = '' AND changed BETWEEN ? AND ?"
        return self._file.read(int, sql, iso(since), iso(until))[0]

    def pictures(self, since: datetime, until: datetime) -> list[str]:
        """Return the keys of the pictures among the newest messages that were created between the two times, oldest first.

        A picture with several destinations has one key here.
        """
        sql = f"SELECT key FROM messages WHERE {_NEWEST} AND created BETWEEN ? AND ? AND key LIKE '%/picture' ORDER BY id"
        return list(dict.fromkeys(self._file.read(plain_key, sql, iso(since), iso(until))))

    def thread(self, id: str) -> list[ThreadMessage]:
        """Return all messages of an incident in the order of creation, as one destination has them.

        That is the chat or, for an incident that was not sent there, the first destination that has messages of it.
        """
        columns = ", ".join(STORED[ThreadMessage]).replace("changed", "NULLIF(changed, '')")
        sql = f"SELECT {columns} FROM messages WHERE key > ? || '/' AND key < ? || '0' ORDER BY id"  # "0" follows "/"
        for destination in self._destinations:
            prefix = copy_key(id, destination)
            if found := self._file.read(from_row(ThreadMessage), sql, prefix, prefix):
                return [addressed_to(message, DEFAULT_DESTINATION) for message in found]
        return []

    def runs(self, since: datetime) -> dict[datetime, datetime]:
        """Return the moment of each run that started since then -> its start."""
        sql = "SELECT at, started FROM runs WHERE started >= ?"
        return dict(self._file.read(lambda *times: tuple(map(datetime.fromisoformat, times)), sql, iso(since)))
