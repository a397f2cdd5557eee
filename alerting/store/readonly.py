"""The memory for those who only look: it creates, migrates and moves nothing, and waits for nobody for long."""

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
from alerting.model.routing import DEFAULT_DESTINATION, copy_keys, plain_key
from alerting.model.verdict import EventKind
from alerting.store import codec
from alerting.store.codec import buttons_of, iso

T = TypeVar("T")
LIVELY = timedelta(days=2)  # after its end a message may still come to an incident: a label, an answer that had to wait
END = "0"  # the character after "/": keys of an incident's messages lie between ID/ and ID0

_OPEN = "SELECT body FROM incidents WHERE closed = '' ORDER BY opened, id"
_OPENED = "SELECT body FROM incidents WHERE opened >= ? AND opened < ? ORDER BY opened, id"
_OF_IT = "(key > ? || it.id || '/' AND key < ? || it.id || '0')"
_STAMPS = """SELECT it.id, body, CASE WHEN closed = '' OR closed >= ? THEN
      (SELECT COUNT(*) || MAX(changed) || MAX(created) || SUM(state = 'sent') FROM messages
       WHERE {of_it})
      END FROM incidents it WHERE opened >= ? OR closed = '' ORDER BY id"""
_NEWEST = "id > (SELECT MAX(id) FROM messages) - 500"  # a run makes fewer
_SENT = f"SELECT COUNT(*) FROM messages WHERE {_NEWEST} AND state = 'sent' AND edits = '' AND changed BETWEEN ? AND ?"
_PICTURES = f"SELECT key FROM messages WHERE {_NEWEST} AND created BETWEEN ? AND ? AND key LIKE '%/picture' ORDER BY id"
_THREAD = """SELECT key, kind, text, state, created, reply_to, edits, reason, changed, buttons FROM messages
    WHERE key > ? AND key < ? ORDER BY id"""


class ReadOnlyState:
    """The file at `path`, for reading. Methods raise StoreError."""

    def __init__(self, path: Path, patience: float = 2.0, destinations: Iterable[str] = (DEFAULT_DESTINATION,)) -> None:
        """Raises StoreError when there is none. `patience`: seconds to wait for another process's lock.
        `destinations`: all to which copies of a message may have gone.
        """
        self._path = path
        self._prefixes = [key.removesuffix("x") for key in copy_keys("x", destinations)]  # of the keys of each one's copies
        try:
            self._db = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=patience)
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from error

    def close(self) -> None:
        self._db.close()

    def off(self) -> list[str]:
        """Metrics that are off now, as the open incidents have it."""
        found = self._read(codec.incident, _OPEN)
        return list(dict.fromkeys(member.metric for incident in found for member in incident.affected))

    def all_incidents(self, since: datetime, until: datetime) -> list[Incident]:
        """Those that opened from `since` on and before `until`, oldest first."""
        return self._read(codec.incident, _OPENED, iso(since), iso(until))

    def sent(self, since: datetime, until: datetime) -> int:
        """Messages among the newest that were accepted then, edits not counted."""
        return self._read(int, _SENT, iso(since), iso(until))[0]

    def pictures(self, since: datetime, until: datetime) -> list[str]:
        """Keys of the pictures among the newest messages that were made then, in that order; each once, wherever it went."""
        return list(dict.fromkeys(self._read(plain_key, _PICTURES, iso(since), iso(until))))

    def stamps(self, since: datetime, now: datetime) -> dict[str, tuple[str, str]]:
        """Incidents that opened since then or are open: id -> its body, and what changes whenever its messages do."""
        sql = _STAMPS.format(of_it=" OR ".join([_OF_IT] * len(self._prefixes)))
        edges = [prefix for prefix in self._prefixes for _ in range(2)]
        found = self._read(lambda id, body, more: (id, (body, more or "")), sql, iso(now - LIVELY), *edges, iso(since))
        return dict(found)

    def incident(self, body: str) -> Incident:
        """What `stamps` gave, read."""
        try:
            return codec.incident(body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{self._path}: an incident makes no sense ({error})") from error

    def thread(self, id: str) -> list[ThreadMessage]:
        """All messages of an incident, in the order in which they were made, as the chat heard them; or, where it was not told,
        the first destination that was."""
        heard = (self._read(_told, _THREAD, f"{prefix}{id}/", f"{prefix}{id}{END}") for prefix in self._prefixes)
        return next(filter(None, heard), [])

    def runs(self, since: datetime) -> dict[datetime, datetime]:
        """The moment a run stood at -> when it started, of those started since then."""
        found = self._read(lambda at, started: (at, started), "SELECT at, started FROM runs WHERE started >= ?", iso(since))
        return {datetime.fromisoformat(at): datetime.fromisoformat(started) for at, started in found}

    def _read(self, make: Callable[..., T], sql: str, *values: Any) -> list[T]:
        try:
            return [make(*row) for row in self._db.execute(sql, values)]
        except (sqlite3.Error, ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{self._path}: {error}") from error


def _told(key: str, kind: str, text: str, state: str, created: str, reply_to: str, edits: str, *rest: str) -> ThreadMessage:
    reason, changed, buttons = rest
    at = datetime.fromisoformat(changed) if changed else None
    key, reply_to, edits = map(plain_key, (key, reply_to, edits))
    said, made = codec.value(EventKind, kind), datetime.fromisoformat(created)
    return ThreadMessage(key, said, text, state, made, reply_to, edits, reason, at, buttons_of(buttons))
