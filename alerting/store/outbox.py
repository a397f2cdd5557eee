"""The outbox: messages on their way to their destinations.

A message has one state: waiting, held (until quiet hours end, or until an answer is composed), sent, refused, withdrawn (not
needed any more) or folded (replaced by a digest). Only a receipt makes a message sent, and no other process can undo that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from alerting.model.message import PICTURE_SUFFIX, Message, Receipt
from alerting.model.routing import DEFAULT_DESTINATION, Routes, addressed_to, copy_key, destination_of
from alerting.model.verdict import EventKind
from alerting.store.codec import LATER, STORED, from_row, iso, to_json, to_row
from alerting.store.database import Database

Statement = tuple[str, list[tuple[Any, ...]]]
STATES = {"sent": "sent", "kept": "waiting", "refused": "refused"}  # state of a receipt -> state of its message

_COLUMNS = ", ".join(STORED[Message])
_VALUES = ", ".join("?" * (len(STORED[Message]) + 1))
# An edit is never sent without its text, nor is a separate picture, which older versions made.
_FOLLOW = f"""UPDATE messages SET photo = NULL, (state, reason, changed) =
      (SELECT text.state, 'its text was ' || text.state, text.changed FROM messages text
       WHERE text.key = CASE WHEN messages.edits <> '' THEN messages.edits ELSE messages.reply_to END)
    WHERE state = 'waiting' AND (key LIKE '%{PICTURE_SUFFIX}' OR edits <> '')
      AND EXISTS (SELECT 1 FROM messages text WHERE text.state NOT IN ('waiting', 'held', 'sent')
        AND text.key = CASE WHEN messages.edits <> '' THEN messages.edits ELSE messages.reply_to END)"""
_LAST_CHARACTER = "\U0010ffff"  # sorts behind every other


class Outbox:
    """The messages of the state database. With several destinations, each copy waits, is sent or is refused on its own.

    Most methods are described in `model.protocols.Store`.
    """

    _file: Database
    _routes: Routes | None

    def waiting(self, at: datetime | None = None) -> list[Message]:
        # `before` is the message that this one answers or edits. An answer waits for it; an edit is sent only after it was sent.
        sql = f"""SELECT {", ".join(f"m.{name}" for name in STORED[Message])} FROM messages m
            LEFT JOIN messages before ON before.key = CASE WHEN m.edits <> '' THEN m.edits ELSE m.reply_to END
              AND before.key NOT IN ('', m.key)
            WHERE m.state = 'waiting' AND m.due <= ?
              AND CASE WHEN m.edits <> '' THEN before.state = 'sent'
                ELSE COALESCE(before.state, '') NOT IN ('waiting', 'held') END
            ORDER BY CASE WHEN m.edits <> '' THEN 1 WHEN m.key LIKE '%{PICTURE_SUFFIX}' THEN 2 ELSE 0 END, m.id"""
        return self._file.read(from_row(Message), sql, iso(at) or LATER)

    def held(self) -> list[Message]:
        columns = ", ".join("NULL" if name == "photo" else f"m.{name}" for name in STORED[Message])
        sql = f"""SELECT {columns}, m.id FROM messages m WHERE m.state = 'held'
            UNION ALL SELECT {columns}, m.id FROM messages h JOIN messages m ON m.reply_to = h.key
              WHERE h.state = 'held' AND m.state = 'waiting' ORDER BY id"""
        return self._file.read(lambda *row: from_row(Message)(*row[:-1]), sql)

    def hold(self, keys: Sequence[str], released: Sequence[str] = ()) -> None:
        hold = "UPDATE messages SET state = 'held' WHERE key = ? AND state = 'waiting'"
        # A message that has a critical reply makes no sound, because the reply makes one
        release = """UPDATE messages SET state = 'waiting', quiet = quiet OR EXISTS (SELECT 1 FROM messages reply
              WHERE reply.reply_to = messages.key AND reply.state = 'waiting' AND reply.critical)
            WHERE key = ? AND state = 'held'"""
        self._file.write((hold, [(key,) for key in keys]), (release, [(key,) for key in released]))

    def record(self, receipt: Receipt, at: datetime, retry_after: float = 0.0) -> None:
        sql = """UPDATE messages SET state = ?, reason = ?, message_id = ?, due = ?, changed = ?, tries = tries + 1,
            photo = CASE WHEN ? = 'waiting' THEN photo WHEN photo IS NOT NULL THEN x'' END
            WHERE key = ? AND (state = 'waiting' OR ? = 'sent')"""
        due = iso(at + timedelta(seconds=retry_after)) if retry_after else ""
        state = STATES[receipt.state]
        row = (state, receipt.reason, receipt.message_id, due, iso(at), state, receipt.key, state)
        self._file.write((sql, [row]), (_FOLLOW, [()]))

    def message_id(self, key: str) -> str:
        sql = """SELECT COALESCE(edited.message_id, m.message_id) FROM messages m
            LEFT JOIN messages edited ON edited.key = m.edits AND m.edits <> '' WHERE m.key = ? AND m.state = 'sent'"""
        return self._file.first(str, sql, key) or ""

    def text(self, key: str) -> str:
        keys = self._copy_keys(key)
        any_key = ", ".join("?" * len(keys))
        sql = f"""SELECT text FROM messages
            WHERE key IN ({any_key}) OR (edits IN ({any_key}) AND edits <> '' AND state IN ('waiting', 'sent', 'refused'))
            ORDER BY key IN ({any_key}), (edits = '' AND state IN ('waiting', 'sent')) DESC, id DESC LIMIT 1"""
        return self._file.first(str, sql, *keys, *keys, *keys) or ""

    def was_sent(self, key: str) -> bool:
        keys = self._copy_keys(key)
        sql = f"SELECT 1 FROM messages WHERE key IN ({', '.join('?' * len(keys))}) AND state = 'sent'"
        return bool(self._file.read(bool, sql, *keys))

    def incident_destinations(self, incident: str) -> dict[str, bool]:
        """Return destination -> whether it has accepted a message of the incident, for each destination of its messages."""
        prefixes = self._copy_keys(f"{incident}/")
        # A range scan of the keys, because each begins with the incident's id.
        spans = " OR ".join(["key BETWEEN ? AND ?"] * len(prefixes))
        ends = [end for prefix in prefixes for end in (prefix, prefix + _LAST_CHARACTER)]
        sql = f"SELECT key, state = 'sent' FROM messages WHERE ({spans}) AND incident = ?"
        found = self._file.read(lambda key, sent: (destination_of(key), bool(sent)), sql, *ends, incident)
        return {destination: (destination, True) in found for destination, _ in found}

    def critical_since(self, incident: str, since: datetime) -> datetime | None:
        # A range scan of the keys, as in `incident_destinations`; `changed`: when it was sent, not when it was written.
        sql = "SELECT MIN(changed) FROM messages WHERE key BETWEEN ? AND ? AND critical AND state = 'sent' AND changed >= ?"
        spans = [(prefix, prefix + _LAST_CHARACTER, iso(since)) for prefix in self._copy_keys(f"{incident}/")]
        found = [at for span in spans for at in self._file.read(lambda at: at, sql, *span)]
        return min(map(datetime.fromisoformat, filter(None, found)), default=None)

    def sent_recently(self, kind: str, since: datetime, until: datetime, key_part: str = "") -> bool:
        sql = """SELECT 1 FROM messages WHERE kind = ? AND instr(key, ?) > 0 AND
            CASE state WHEN 'sent' THEN changed WHEN 'waiting' THEN bucket END BETWEEN ? AND ? LIMIT 1"""
        return bool(self._file.read(bool, sql, kind, key_part, iso(since), iso(until)))

    def sent_since(self, at: datetime, until: datetime, place: str = "") -> int:
        destination = "CASE instr(key, ':') WHEN 0 THEN ? ELSE substr(key, 1, instr(key, ':') - 1) END"
        sql = f"SELECT COUNT(*) FROM messages WHERE state = 'sent' AND changed BETWEEN ? AND ? AND ? IN ('', {destination})"
        return self._file.read(int, sql, iso(at), iso(until), place, DEFAULT_DESTINATION)[0]

    def unsent(self, incident: str) -> list[str]:
        sql = "SELECT key FROM messages WHERE state IN ('waiting', 'held') AND incident = ? ORDER BY id"
        return self._file.read(str, sql, incident)

    def stale(self, before: datetime) -> list[Message]:
        sql = f"""SELECT {_COLUMNS} FROM messages
            WHERE state = 'waiting' AND key NOT LIKE '%{PICTURE_SUFFIX}' AND edits = '' AND created < ?
            AND NOT EXISTS (SELECT 1 FROM messages held WHERE held.key = messages.reply_to AND held.state = 'held') ORDER BY id"""
        return self._file.read(from_row(Message), sql, iso(before))

    def merge_into_digest(
        self, keys: Sequence[str], digest: Message, at: datetime | None = None, released: Sequence[str] = ()
    ) -> None:
        release = "UPDATE messages SET state = 'waiting', quiet = 1 WHERE key = ? AND state = 'held'"
        sql = """UPDATE messages SET state = 'folded', photo = NULL, changed = ? WHERE key = ? AND state IN ('waiting', 'held')
            AND NOT EXISTS (SELECT 1 FROM messages digest WHERE digest.key = ?)"""
        rows = [(iso(at or digest.bucket), key, digest.key) for key in keys]
        self._file.write((sql, rows), *enqueue([digest], at), (release, [(key,) for key in released]), (_FOLLOW, [()]))

    def _copy_keys(self, key: str) -> list[str]:
        """Return the keys that the copies of a message may have."""
        destinations = self._routes.destinations if self._routes else (DEFAULT_DESTINATION,)
        return [copy_key(key, destination) for destination in destinations]

    def _copies(self, messages: Iterable[Message], routes: Routes) -> Iterator[Message]:
        """Yield a copy of each message for each of its destinations."""
        by_incident: dict[str, dict[str, bool]] = {}  # incident -> its destinations, including the ones of these messages
        for message in messages:
            reached = dict[str, bool]()
            if message.incident:
                reached = by_incident.setdefault(message.incident, self.incident_destinations(message.incident))
            for destination in routes.following(message, reached):
                reached.setdefault(destination, False)
                yield addressed_to(message, destination)


def enqueue(messages: Iterable[Message], at: datetime | None) -> Iterator[Statement]:
    """Yield the statements that put messages into the outbox, in this order. `at`: the time of their creation.

    An edit changes a message that still waits directly. It is put into the outbox only if the message was sent.
    """
    insert = f"INSERT INTO messages ({_COLUMNS}, created) VALUES ({_VALUES}) ON CONFLICT (key) DO NOTHING"
    change = """UPDATE messages SET text = ?, buttons = ?, critical = ?, photo = COALESCE(?, photo)
        WHERE key = ? AND state IN ('waiting', 'held')"""
    # A new edit replaces an earlier one that still waits, and takes over its picture if it has none.
    set_aside = """UPDATE messages SET key = 'old ' || key WHERE edits = ? AND state = 'waiting'
        AND NOT EXISTS (SELECT 1 FROM messages known WHERE known.key = ? AND (known.edits <> ? OR known.state <> 'waiting'))"""
    insert_edit = f"""INSERT INTO messages ({_COLUMNS}, created) SELECT {_VALUES}
        WHERE EXISTS (SELECT 1 FROM messages WHERE key = ? AND state = 'sent') ON CONFLICT (key) DO NOTHING"""
    inherit = """UPDATE messages SET photo = (SELECT old.photo FROM messages old WHERE old.edits = messages.edits
        AND old.state = 'waiting' AND old.key LIKE 'old %') WHERE key = ? AND state = 'waiting' AND photo IS NULL"""
    drop = "DELETE FROM messages WHERE edits = ? AND state = 'waiting' AND key LIKE 'old %'"
    for message in messages:
        row = (*to_row(message), iso(at or message.bucket))
        if message.edits:
            yield change, [(message.text, to_json(message.buttons), message.critical, message.photo, message.edits)]
            yield set_aside, [(message.edits, message.key, message.edits)]
            yield insert_edit, [(*row, message.edits)]
            yield inherit, [(message.key,)]
            yield drop, [(message.edits,)]
        else:
            yield insert, [row]
            if message.kind is EventKind.ASKED:
                yield "UPDATE messages SET state = 'held' WHERE key = ? AND state = 'waiting'", [(message.key,)]


def withdraw(keys: Iterable[str], at: datetime | None) -> Iterator[Statement]:
    """Yield the statements that withdraw messages that still wait.

    They must come after all messages of a transaction, because edits and pictures of these messages are withdrawn, too.
    """
    sql = """UPDATE messages SET state = 'withdrawn', photo = NULL, changed = COALESCE(NULLIF(?, ''), created)
        WHERE key = ? AND state IN ('waiting', 'held')"""
    yield sql, [(iso(at), key) for key in keys]
    yield _FOLLOW, [()]
