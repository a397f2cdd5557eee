"""Messages on their way to the chat. Each is in one state: waiting, sent, refused, withdrawn (not to be said any more) or
folded (into a digest). Only a receipt says that one was sent, and sent stays sent, whatever another process says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from alerting.model.message import Message, Receipt
from alerting.model.routing import DEFAULT_DESTINATION, copy_keys, destination_of
from alerting.store import codec
from alerting.store.codec import MESSAGE, iso, of_message
from alerting.store.database import Database

Statement = tuple[str, list[tuple[Any, ...]]]
STATES = {"sent": "sent", "kept": "waiting", "refused": "refused"}  # a receipt's -> the message's

_COLUMNS = ", ".join(MESSAGE)
_VALUES = ", ".join("?" * (len(MESSAGE) + 1))
_ENQUEUE = f"INSERT INTO messages ({_COLUMNS}, created) VALUES ({_VALUES}) ON CONFLICT (key) DO NOTHING"
# An edit changes a text that nobody has seen yet in place, follows one that was sent, and is needless for any other.
_CHANGE = "UPDATE messages SET text = ?, buttons = ? WHERE key = ? AND state = 'waiting'"
_OVERTAKE = """DELETE FROM messages WHERE edits = ? AND state = 'waiting'
    AND NOT EXISTS (SELECT 1 FROM messages known WHERE known.key = ? AND (known.edits <> ? OR known.state <> 'waiting'))"""
_ENQUEUE_EDIT = f"""INSERT INTO messages ({_COLUMNS}, created) SELECT {_VALUES}
    WHERE EXISTS (SELECT 1 FROM messages WHERE key = ? AND state = 'sent') ON CONFLICT (key) DO NOTHING"""
_WITHDRAW = """UPDATE messages SET state = 'withdrawn', photo = NULL, changed = COALESCE(NULLIF(?, ''), created)
    WHERE key = ? AND state = 'waiting'"""
_FOLD = """UPDATE messages SET state = 'folded', photo = NULL, changed = ? WHERE key = ? AND state = 'waiting'
    AND NOT EXISTS (SELECT 1 FROM messages digest WHERE digest.key = ?)"""
# A picture and an edit never come without their text.
_FOLLOW = """UPDATE messages SET photo = NULL, (state, reason, changed) =
      (SELECT text.state, 'its text was ' || text.state, text.changed FROM messages text
       WHERE text.key = CASE WHEN messages.edits <> '' THEN messages.edits ELSE messages.reply_to END)
    WHERE state = 'waiting' AND (photo IS NOT NULL OR edits <> '')
      AND EXISTS (SELECT 1 FROM messages text WHERE text.state NOT IN ('waiting', 'sent')
        AND text.key = CASE WHEN messages.edits <> '' THEN messages.edits ELSE messages.reply_to END)"""
_RECORD = """UPDATE messages SET state = ?, reason = ?, message_id = ?, due = ?, changed = ?, tries = tries + 1,
    photo = CASE WHEN ? = 'waiting' THEN photo END WHERE key = ? AND (state = 'waiting' OR ? = 'sent')"""
# `before` is what a message answers or edits; nothing overtakes it, and an edit needs it in the chat.
_WAITING = f"""SELECT {", ".join(f"m.{name}" for name in MESSAGE)} FROM messages m
    LEFT JOIN messages before ON before.key = CASE WHEN m.edits <> '' THEN m.edits ELSE m.reply_to END
      AND before.key NOT IN ('', m.key)
    WHERE m.state = 'waiting' AND m.due <= ?
      AND CASE WHEN m.edits <> '' THEN before.state = 'sent' ELSE COALESCE(before.state, '') <> 'waiting' END
    ORDER BY CASE WHEN m.edits <> '' THEN 1 WHEN m.photo IS NOT NULL THEN 2 ELSE 0 END, m.id"""
_STALE = f"""SELECT {_COLUMNS} FROM messages
    WHERE state = 'waiting' AND photo IS NULL AND edits = '' AND created < ? ORDER BY id"""
_MESSAGE_ID = """SELECT COALESCE(edited.message_id, m.message_id) FROM messages m
    LEFT JOIN messages edited ON edited.key = m.edits AND m.edits <> '' WHERE m.key = ? AND m.state = 'sent'"""
# {any}: a ? for each destination.
_TEXT = """SELECT text FROM messages
    WHERE key IN ({any}) OR (edits IN ({any}) AND edits <> '' AND state IN ('waiting', 'sent'))
    ORDER BY key IN ({any}), state IN ('waiting', 'sent') DESC, id DESC LIMIT 1"""
_WAS_TOLD = "SELECT 1 FROM messages WHERE key IN ({any}) AND state = 'sent'"
# Along the key: each begins with the incident's id.
_HEARD_OF = "SELECT key, state = 'sent' FROM messages WHERE ({spans}) AND incident = ?"
_PLACE = "CASE instr(key, ':') WHEN 0 THEN ? ELSE substr(key, 1, instr(key, ':') - 1) END"
_TOLD = """SELECT 1 FROM messages WHERE kind = ? AND
    CASE state WHEN 'sent' THEN changed WHEN 'waiting' THEN bucket END > ? LIMIT 1"""


class Outbox:
    """The messages' part of the memory."""

    _file: Database
    _destinations: tuple[str, ...]

    def waiting(self, at: datetime | None = None) -> list[Message]:
        """What may be sent now: texts, then edits, then pictures, each in the order of creation.

        An edit and a picture wait until their text is sent, an answer until what it answers is sent or never will be; so
        whoever sends asks again until nothing new comes. With `at`, without those that the chat asked to hold back.
        """
        return self._file.read(codec.message, _WAITING, iso(at) or "later than any time")

    def record(self, receipt: Receipt, at: datetime, retry_after: float = 0.0) -> None:
        """What became of a message at `at`; one that is kept is not due for `retry_after` seconds. Unknown keys pass.

        A message that is done with loses its picture, and keeps its row: the picture is in the run.
        """
        due = iso(at + timedelta(seconds=retry_after)) if retry_after else ""
        state = STATES[receipt.state]
        row = (state, receipt.reason, receipt.message_id, due, iso(at), state, receipt.key, state)
        self._file.write((_RECORD, [row]), (_FOLLOW, [()]))

    def message_id(self, key: str) -> str:
        """Where the message with this key is in the chat, for an edit what it edited; "" if it is not there."""
        return next(iter(self._file.read(str, _MESSAGE_ID, key)), "")

    def text(self, key: str) -> str:
        """The newest text of the message with this key, edits that wait or were sent included; "" if there is none. What one
        destination was told counts as well as what another was."""
        keys = copy_keys(key, self._destinations)
        return next(iter(self._file.read(str, _TEXT.format(any=_any(keys)), *keys, *keys, *keys)), "")

    def was_sent(self, key: str) -> bool:
        """Whether any destination has accepted its copy of the message with this key."""
        keys = copy_keys(key, self._destinations)
        return bool(self._file.read(bool, _WAS_TOLD.format(any=_any(keys)), *keys))

    def heard_of(self, incident: str) -> dict[str, bool]:
        """The destinations that messages of an incident were addressed to, and whether one was accepted there."""
        keys = copy_keys(f"{incident}/", self._destinations)
        spans = [edge for key in keys for edge in (key, f"{key}\U0010ffff")]
        sql = _HEARD_OF.format(spans=" OR ".join(["key BETWEEN ? AND ?"] * len(keys)))
        found = self._file.read(lambda key, sent: (destination_of(key), bool(sent)), sql, *spans, incident)
        return {place: (place, True) in found for place, _ in found}

    def sent_recently(self, kind: str, since: datetime) -> bool:
        """Whether a message of this kind was sent after `since`, or waits and is about a time after it."""
        return bool(self._file.read(bool, _TOLD, kind, iso(since)))

    def sent_since(self, at: datetime, place: str = "") -> int:
        """How many messages the destinations, or this one, have accepted since then, pictures and edits included."""
        sql = f"SELECT COUNT(*) FROM messages WHERE state = 'sent' AND changed >= ? AND ? IN ('', {_PLACE})"
        return self._file.read(int, sql, iso(at), place, DEFAULT_DESTINATION)[0]

    def unsent(self, incident: str) -> list[str]:
        """Keys of all messages of an incident that were not sent yet, held back or not."""
        return self._file.read(str, "SELECT key FROM messages WHERE state = 'waiting' AND incident = ? ORDER BY id", incident)

    def stale(self, before: datetime) -> list[Message]:
        """Texts that have waited since before then, in the order of creation."""
        return self._file.read(codec.message, _STALE, iso(before))

    def merge_into_digest(self, keys: Sequence[str], digest: Message, at: datetime | None = None) -> None:
        """Of these what still waits, with its pictures, is not sent any more, for `digest` tells of it.

        Nothing is folded into a digest whose key is known: what was sent already cannot tell of it.
        """
        changed = iso(at or digest.bucket)
        folded = (_FOLD, [(changed, key, digest.key) for key in keys])
        self._file.write(folded, *enqueue([digest], at), (_FOLLOW, [()]))


def _any(keys: Sequence[str]) -> str:
    return ", ".join("?" * len(keys))


def enqueue(messages: Iterable[Message], at: datetime | None) -> Iterator[Statement]:
    """Statements that put messages into the outbox, one after the other; `at`: when they were made."""
    for m in messages:
        row = (*of_message(m), iso(at or m.bucket))
        if m.edits:
            yield _CHANGE, [(m.text, codec.buttons(m), m.edits)]
            yield _OVERTAKE, [(m.edits, m.key, m.edits)]
            yield _ENQUEUE_EDIT, [(*row, m.edits)]
        else:
            yield _ENQUEUE, [row]


def withdraw(keys: Iterable[str], at: datetime | None) -> Iterator[Statement]:
    """Statements that take back what still waits of these; after all of a transaction's messages, for their pictures go too."""
    yield _WITHDRAW, [(iso(at), key) for key in keys]
    yield _FOLLOW, [()]
