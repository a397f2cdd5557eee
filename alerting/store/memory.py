"""The port `Store` in SQL. Every method is one transaction: killed at any moment, the file holds all of it or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from alerting.model import Episode, Message, Receipt, Verdict
from alerting.store import rows
from alerting.store.file import File
from alerting.store.rows import iso

KEEP = timedelta(days=400)  # what was judged and told longer ago is forgotten: a year, and a month to compare it with
STATES = {"sent": "sent", "kept": "waiting", "refused": "refused"}  # a receipt's -> the message's

# A picture never comes without its text.
_REFUSE_ORPHANS = """UPDATE messages SET state = 'refused', reason = 'its text was refused', photo = NULL
    WHERE state = 'waiting' AND photo IS NOT NULL
      AND EXISTS (SELECT 1 FROM messages text WHERE text.key = messages.reply_to AND text.state = 'refused')"""
_ENQUEUE = """INSERT INTO messages (key, kind, metric, bucket, text, photo, reply_to) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (key) DO NOTHING"""
# Sent stays sent, whatever another process says.
_RECORD = """UPDATE messages SET state = ?, reason = ?, message_id = ?, due = ?, changed = ?, tries = tries + 1,
    photo = CASE WHEN ? = 'waiting' THEN photo END WHERE key = ? AND (state = 'waiting' OR ? = 'sent')"""
_WAITING = """SELECT m.key, m.kind, m.metric, m.bucket, m.text, m.photo, m.reply_to
    FROM messages m LEFT JOIN messages text ON text.key = m.reply_to AND m.reply_to <> ''
    WHERE m.state = 'waiting' AND m.due <= ?
      AND (m.photo IS NULL OR text.key IS NULL OR text.state = 'sent') ORDER BY m.photo IS NOT NULL, m.id"""
# From name to name along the key: GROUP BY would read a year of verdicts.
_LAST_JUDGED = """WITH RECURSIVE m(metric) AS (
      SELECT MIN(metric) FROM verdicts
      UNION ALL SELECT (SELECT MIN(metric) FROM verdicts WHERE metric > m.metric) FROM m WHERE m.metric IS NOT NULL)
    SELECT metric, (SELECT MAX(bucket) FROM verdicts v WHERE v.metric = m.metric) FROM m WHERE metric IS NOT NULL"""
_TOLD = """SELECT 1 FROM messages WHERE kind = ? AND
    CASE state WHEN 'sent' THEN changed WHEN 'waiting' THEN bucket END > ? LIMIT 1"""


@dataclass(frozen=True)
class Counts:
    """How things stand: open episodes, messages by what became of them, newest judged bucket."""

    open: int
    waiting: int
    sent: int
    refused: int
    last_judged: datetime | None


class Store:
    """The memory at `path`, or at ":memory:" one that ends with the process. `notes`: what the run must say about it."""

    def __init__(self, path: str | Path, patience: float = 10.0) -> None:
        """Open or create it; a corrupted file is moved aside. `patience`: seconds to wait for another process's lock.

        Raises StoreError, as every method does when the file cannot be read or written.
        """
        self.notes: list[str] = []
        self._file = File(Path(path), self.notes, patience)

    def close(self) -> None:
        self._file.close()

    def episodes(self) -> dict[str, Episode]:
        """Every metric's episode."""
        found = self._file.read(rows.episode, "SELECT body FROM episodes ORDER BY metric")
        return {episode.metric: episode for episode in found}

    def last_judged(self) -> dict[str, datetime]:
        """Each metric's newest judged bucket."""
        return dict(self._file.read(lambda metric, bucket: (metric, datetime.fromisoformat(bucket)), _LAST_JUDGED))

    def judged(self, metric: str | None = None, since: datetime | None = None) -> list[Verdict]:
        """Verdicts by bucket, of one metric or all, of buckets from `since` on."""
        of, values = ("AND metric = ?", (metric,)) if metric is not None else ("", ())
        sql = f"SELECT {', '.join(rows.VERDICT)} FROM verdicts WHERE bucket >= ? {of} ORDER BY bucket, metric"
        return self._file.read(rows.verdict, sql, iso(since), *values)

    def commit(self, verdicts: list[Verdict], episodes: list[Episode], messages: list[Message]) -> None:
        """Remember all of it or, should anything happen, nothing.

        A bucket judged again takes the new verdict; a message whose key is known is not enqueued again.
        """
        self._file.write(
            ("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", map(rows.of_verdict, verdicts)),
            ("INSERT OR REPLACE INTO episodes VALUES (?, ?, ?)", map(rows.of_episode, episodes)),
            (_ENQUEUE, map(rows.of_message, messages)),
            (_REFUSE_ORPHANS, [()]),
        )

    def waiting(self, at: datetime | None = None) -> list[Message]:
        """What may be sent now: texts, then the pictures whose text is sent, each in the order of creation.

        With `at`, without those that the chat asked to hold back until later.
        """
        return self._file.read(rows.message, _WAITING, iso(at) or "later than any time")

    def record(self, receipt: Receipt, at: datetime, retry_after: float = 0.0) -> None:
        """What became of a message at `at`; one that is kept is not due for `retry_after` seconds. Unknown keys pass.

        A message that is done with loses its picture, and keeps its row: the picture is in the run.
        """
        due = iso(at + timedelta(seconds=retry_after)) if retry_after else ""
        state = STATES[receipt.state]
        row = (state, receipt.reason, receipt.message_id, due, iso(at), state, receipt.key, state)
        self._file.write((_RECORD, [row]), (_REFUSE_ORPHANS, [()]))

    def message_id(self, key: str) -> str:
        """Where the message with this key is in the chat; "" if it is not there."""
        return next(iter(self._file.read(str, "SELECT message_id FROM messages WHERE key = ?", key)), "")

    def told_recently(self, kind: str, since: datetime) -> bool:
        """Whether a message of this kind was sent after `since`, or waits and is about a time after it."""
        return bool(self._file.read(bool, _TOLD, kind, iso(since)))

    def forget(self, at: datetime) -> None:
        """Drop what is older than KEEP, by the clock `at` or by the newest verdict, whichever is earlier: a clock that jumps
        into the future must not wipe the memory."""
        old = iso(min([at, *self._newest()]) - KEEP)
        self._file.write(
            ("DELETE FROM verdicts WHERE bucket < ? AND metric IN (SELECT metric FROM episodes)", [(old,)]),  # along the key
            ("DELETE FROM messages WHERE state <> 'waiting' AND changed < ?", [(old,)]),
        )

    def counts(self) -> Counts:
        """For `status`."""
        states: dict[str, int] = dict(self._file.read(_pair, "SELECT state, COUNT(*) FROM messages GROUP BY state"))
        (opened,) = self._file.read(int, "SELECT COUNT(*) FROM episodes WHERE state IN ('firing', 'recovering')")
        waiting, sent, refused = (states.get(state, 0) for state in ("waiting", "sent", "refused"))
        return Counts(opened, waiting, sent, refused, next(iter(self._newest()), None))

    def _newest(self) -> list[datetime]:
        """The newest judged bucket of all metrics, if there is one."""
        return sorted(self.last_judged().values())[-1:]


def _pair(state: str, count: int) -> tuple[str, int]:
    return state, count
