"""The state database for programs that only read it: nothing is created, migrated or moved, and waits for locks are short."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from alerting.model.errors import StoreError
from alerting.model.incident import Incident
from alerting.model.message import ThreadMessage
from alerting.model.routing import DEFAULT_DESTINATION, addressed_to, copy_key, plain_key
from alerting.store.codec import STORED, from_json, from_row, iso

T = TypeVar("T")
LIVELY = timedelta(days=2)  # an incident may get messages until this long after its end, such as a label or a delayed message
_AFTER_SLASH = "0"  # the character after "/": keys of an incident's messages lie between ID/ and ID0
_NEWEST = "id > (SELECT MAX(id) FROM messages) - 500"  # messages of the newest run are among the last 500


class ReadOnlyState:
    """The state database at `path`. All methods raise StoreError."""

    def __init__(self, path: Path, patience: float = 2.0, destinations: Iterable[str] = (DEFAULT_DESTINATION,)) -> None:
        """Raises StoreError when there is no file. `patience`: seconds to wait for the lock of another process.
        `destinations`: all that copies of a message may have.
        """
        self._path = path
        self._prefixes = [copy_key("x", destination).removesuffix("x") for destination in destinations]  # of the keys there
        try:
            self._db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=patience)
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from error

    def close(self) -> None:
        self._db.close()

    def affected_metrics(self) -> list[str]:
        """Return the names of the metrics that are anomalous now by the open incidents."""
        found = self._read(from_json(Incident), "SELECT body FROM incidents WHERE closed = '' ORDER BY opened, id")
        return list(dict.fromkeys(member.metric for incident in found for member in incident.affected))

    def all_incidents(self, since: datetime, until: datetime) -> list[Incident]:
        """Return the incidents with since <= opened < until, oldest first."""
        sql = "SELECT body FROM incidents WHERE opened >= ? AND opened < ? ORDER BY opened, id"
        return self._read(from_json(Incident), sql, iso(since), iso(until))

    def sent(self, since: datetime, until: datetime) -> int:
        """Return how many of the newest messages were accepted between the two times; edits are not counted."""
        sql = f"SELECT COUNT(*) FROM messages WHERE {_NEWEST} AND state = 'sent' AND edits = '' AND changed BETWEEN ? AND ?"
        return self._read(int, sql, iso(since), iso(until))[0]

    def pictures(self, since: datetime, until: datetime) -> list[str]:
        """Return the keys of the pictures among the newest messages that were created between the two times, oldest first.

        A picture with several destinations has one key here.
        """
        sql = f"SELECT key FROM messages WHERE {_NEWEST} AND created BETWEEN ? AND ? AND key LIKE '%/picture' ORDER BY id"
        return list(dict.fromkeys(self._read(plain_key, sql, iso(since), iso(until))))

    def stamps(self, since: datetime, now: datetime) -> dict[str, tuple[str, str]]:
        """Return id -> JSON and a stamp of each incident that is open or was opened since then.

        The stamp changes with every message of the incident; it is "" for one that gets no messages any more (see LIVELY).
        """
        of_incident = " OR ".join(["(key > ? || it.id || '/' AND key < ? || it.id || '0')"] * len(self._prefixes))
        sql = f"""SELECT it.id, body, CASE WHEN closed = '' OR closed >= ? THEN
              (SELECT COUNT(*) || MAX(changed) || MAX(created) || SUM(state = 'sent') FROM messages
               WHERE {of_incident})
              END FROM incidents it WHERE opened >= ? OR closed = '' ORDER BY id"""
        ends = [prefix for prefix in self._prefixes for _ in range(2)]
        return dict(self._read(lambda id, body, stamp: (id, (body, stamp or "")), sql, iso(now - LIVELY), *ends, iso(since)))

    def incident(self, body: str) -> Incident:
        """Return the incident of JSON from `stamps`."""
        try:
            return from_json(Incident)(body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{self._path}: an incident makes no sense ({error})") from error

    def thread(self, id: str) -> list[ThreadMessage]:
        """Return all messages of an incident in the order of creation, as one destination has them.

        That is the chat or, for an incident that was not sent there, the first destination that has messages of it.
        """
        columns = ", ".join(STORED[ThreadMessage]).replace("changed", "NULLIF(changed, '')")
        sql = f"SELECT {columns} FROM messages WHERE key > ? AND key < ? ORDER BY id"
        for prefix in self._prefixes:
            if found := self._read(from_row(ThreadMessage), sql, f"{prefix}{id}/", f"{prefix}{id}{_AFTER_SLASH}"):
                return [addressed_to(message, DEFAULT_DESTINATION) for message in found]
        return []

    def runs(self, since: datetime) -> dict[datetime, datetime]:
        """Return the moment of each run that started since then -> its start."""
        sql = "SELECT at, started FROM runs WHERE started >= ?"
        return dict(self._read(lambda *times: tuple(map(datetime.fromisoformat, times)), sql, iso(since)))

    def _read(self, make: Callable[..., T], sql: str, *values: Any) -> list[T]:
        try:
            return [make(*row) for row in self._db.execute(sql, values)]
        except (sqlite3.Error, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{self._path}: {error}") from error
