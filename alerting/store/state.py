"""What runs leave for each other besides verdicts and messages: runs, arrivals, silences, how far the chat was heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from alerting.model.incident import Incident
from alerting.model.metric import Silence
from alerting.model.protocols import Commit
from alerting.model.routing import DEFAULT_DESTINATION
from alerting.model.run import Arrival, Run
from alerting.model.verdict import Episode, Verdict
from alerting.store import codec, outbox
from alerting.store.codec import VERDICT, iso, of_episode, of_incident, of_trail, of_verdict
from alerting.store.database import Database
from alerting.store.history import UNUSED, HistoryTables
from alerting.store.outbox import Outbox, Statement

ARRIVALS_FOR = timedelta(days=15)  # two weeks of what had arrived at the same age, and a day

_SILENCE = "INSERT OR REPLACE INTO silences (scope, start, until, why, by, id) VALUES (?, ?, ?, ?, ?, NULLIF(?, 0))"
_SILENCES = "SELECT scope, start, until, why, by, id FROM silences WHERE until > ? ORDER BY start, id"
_BEGIN = "INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?, ?)"
_END = "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)"


class RunLog:
    """The part of the memory that tells of runs and people."""

    _file: Database

    def arrivals(self, since: datetime) -> list[Arrival]:
        """What the tables had whenever they were read from `since` on, oldest first."""
        return self._file.read(codec.arrival, "SELECT * FROM arrivals WHERE at >= ? ORDER BY at, query", iso(since))

    def silences(self, at: datetime) -> list[Silence]:
        """Those that are not over at `at`, also those that start later; by their start."""
        return self._file.read(codec.silence, _SILENCES, iso(at))

    def add_silence(self, silence: Silence) -> int:
        """Its id. One that has an id takes the place of the one that had it."""
        return self._file.change(_SILENCE, *codec.of(silence))[1]

    def end_silence(self, id: int, at: datetime) -> bool:
        """Whether there was one to end: it is over at `at`."""
        return self._file.change("UPDATE silences SET until = ? WHERE id = ? AND until > ?", iso(at), id, iso(at))[0] > 0

    def next_update(self) -> int:
        """Number of the next update to read from the chat; 0 at first."""
        return next(iter(self._file.read(int, "SELECT value FROM facts WHERE name = 'heard'")), 0)

    def begin_run(self, run: Run) -> None:
        """A run has started. One that is known already stays as it is."""
        self._file.write((_BEGIN, [codec.of(run)]))

    def end_run(self, run: Run) -> None:
        """What became of the run that started then, also when its start is not known here."""
        self._file.write((_END, [codec.of(run)]))

    def runs(self, since: datetime) -> list[Run]:
        """Those that stood at a moment after that, oldest first."""
        return self._file.read(codec.run, "SELECT * FROM runs WHERE at > ? ORDER BY at, started", iso(since))


def log_statements(memory: Commit) -> list[Statement]:
    """Statements that remember this part of what a run leaves."""
    arrivals = memory.arrivals
    return [
        ("INSERT OR REPLACE INTO arrivals VALUES (?, ?, ?, ?, ?)", [codec.of(a) for a in arrivals]),
        ("DELETE FROM arrivals WHERE query = ? AND at < ?", [(a.query, iso(a.at - ARRIVALS_FOR)) for a in arrivals]),
        (_SILENCE, [codec.of(s) for s in memory.silences]),
        ("INSERT OR REPLACE INTO facts VALUES ('heard', ?)", [(memory.next_update,)] if memory.next_update is not None else []),
    ]


# The port `Store` in SQL. Every method is one transaction: killed at any moment, the file holds all of it or nothing.

KEEP = timedelta(days=400)  # what was judged and told longer ago is forgotten: a year, and a month to compare it with

VERDICTS = 5_000_000  # of more metrics than that allows for KEEP, verdicts are forgotten earlier: 25 days of 2,000 ...
LEAST = timedelta(days=14)  # ... but no earlier than this

# From name to name along the key: GROUP BY would read a year of verdicts.
_LAST_JUDGED = """WITH RECURSIVE m(metric) AS (
      SELECT MIN(metric) FROM verdicts
      UNION ALL SELECT (SELECT MIN(metric) FROM verdicts WHERE metric > m.metric) FROM m WHERE m.metric IS NOT NULL)
    SELECT metric, (SELECT MAX(bucket) FROM verdicts v WHERE v.metric = m.metric) FROM m WHERE metric IS NOT NULL"""
_BEFORE = "SELECT body FROM trail WHERE metric = ? AND bucket < ? ORDER BY bucket DESC LIMIT 1"
# Late rows come within hours; three days are a long weekend of them. (ISO text without its zone sorts before that with it.)
_PRUNE_TRAIL = """DELETE FROM trail WHERE metric = ?
    AND bucket < (SELECT strftime('%Y-%m-%dT%H:%M:%S', MAX(bucket), '-3 days') FROM trail WHERE metric = ?)"""
_INCIDENTS = "SELECT body FROM incidents WHERE closed = '' OR closed > ? ORDER BY opened, id"
_ALL_INCIDENTS = "SELECT body FROM incidents WHERE opened >= ? AND opened < ? ORDER BY opened, id"
# Along the key, metric by metric: a year of verdicts lies in between.
_LATELY = """SELECT v.metric, v.bucket, v.value, v.reason FROM episodes e CROSS JOIN verdicts v ON v.metric = e.metric
    AND v.bucket >= ? ORDER BY v.metric, v.bucket"""
_STATUSES = """SELECT v.metric, v.status FROM episodes e CROSS JOIN verdicts v ON v.metric = e.metric AND v.bucket = ?"""
_FIRED = """SELECT v.metric, v.bucket, v.reason FROM episodes e CROSS JOIN verdicts v ON v.metric = e.metric AND v.bucket >= ?"""
_LATER = "later than any time"  # as ISO text sorts


@dataclass(frozen=True)
class StateCounts:
    """How things stand: open incidents, messages by what became of them, newest judged bucket."""

    open: int = 0
    waiting: int = 0
    sent: int = 0
    refused: int = 0
    folded: int = 0
    withdrawn: int = 0
    last_judged: datetime | None = None


class StateStore(Outbox, RunLog, HistoryTables):
    """The memory at `path`, or at ":memory:" one that ends with the process. `notes`: what the run must say about it."""

    def __init__(self, path: str | Path, patience: float = 10.0, destinations: tuple[str, ...] = (DEFAULT_DESTINATION,)) -> None:
        """Open or create it; a corrupted file is moved aside. `patience`: seconds to wait for another process's lock.
        `destinations`: all to which copies of a message may go.

        Raises StoreError, as every method does when the file cannot be read or written.
        """
        self.notes: list[str] = []
        self._destinations = destinations
        self._file = Database(Path(path), self.notes, patience)

    def close(self) -> None:
        self._file.close()

    def episodes(self) -> dict[str, Episode]:
        """Every metric's episode."""
        found = self._file.read(codec.episode, "SELECT body FROM episodes ORDER BY metric")
        return {episode.metric: episode for episode in found}

    def episode_before(self, metric: str, bucket: datetime) -> Episode | None:
        """The metric's episode as it stood before `bucket` was judged; None if that is not known any more."""
        return next(iter(self._file.read(codec.episode, _BEFORE, metric, iso(bucket))), None)

    def last_judged(self) -> dict[str, datetime]:
        """Each metric's newest judged bucket."""
        return dict(self._file.read(lambda metric, bucket: (metric, datetime.fromisoformat(bucket)), _LAST_JUDGED))

    def judged(self, metric: str | None = None, since: datetime | None = None) -> list[Verdict]:
        """Verdicts by bucket, of one metric or all, of buckets from `since` on."""
        of, values = ("AND metric = ?", (metric,)) if metric is not None else ("", ())
        sql = f"SELECT {', '.join(VERDICT)} FROM verdicts WHERE bucket >= ? {of} ORDER BY bucket, metric"
        return self._file.read(codec.verdict, sql, iso(since), *values)

    def judged_values(self, since: datetime) -> list[tuple[str, datetime, float, str]]:
        """metric, bucket, value and rule of what was judged of buckets from `since` on, of every metric that has an episode."""
        return self._file.read(_lately, _LATELY, iso(since))

    def statuses(self, bucket: datetime) -> dict[str, str]:
        """How each metric's bucket was answered."""
        return dict(self._file.read(_pair, _STATUSES, iso(bucket)))

    def fired_detectors(self, since: datetime, rules: Sequence[str]) -> list[tuple[str, datetime, str]]:
        """metric, bucket and rule where one of these rules fired from `since` on."""
        marks = ", ".join("?" * len(rules))
        sql = f"{_FIRED} AND v.reason IN ({marks})"
        return self._file.read(
            lambda metric, bucket, rule: (metric, datetime.fromisoformat(bucket), rule), sql, iso(since), *rules
        )

    def incidents(self, since: datetime | None = None) -> list[Incident]:
        """Those that are open, and those closed after `since`; oldest first."""
        return self._file.read(codec.incident, _INCIDENTS, iso(since) or _LATER)

    def all_incidents(self, since: datetime, until: datetime | None = None) -> list[Incident]:
        """Those that opened from `since` on and before `until`, oldest first."""
        return self._file.read(codec.incident, _ALL_INCIDENTS, iso(since), iso(until) or _LATER)

    def labelled(self, since: datetime) -> list[Incident]:
        """Those opened since then of which somebody said what they were."""
        return [incident for incident in self.all_incidents(since) if incident.label]

    def commit(self, memory: Commit, at: datetime | None = None) -> None:
        """Remember all of it or, should anything happen, nothing. `at`: the instant of the run; messages wait since then,
        or since their bucket.

        A bucket judged again takes the new verdict; a message whose key is known is not enqueued again, but for an edit that
        still waits. An edit of a message that waits itself changes its text instead; one of a message that was not and will
        not be sent is dropped. Withdrawn is what still waits of these keys, those of `memory.messages` included.
        """
        metrics = {episode.metric for _, episode in memory.episode_trail}
        self._file.write(
            ("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", map(of_verdict, memory.verdicts)),
            ("INSERT OR REPLACE INTO episodes VALUES (?, ?, ?)", map(of_episode, memory.episodes)),
            ("INSERT OR REPLACE INTO incidents VALUES (?, ?, ?, ?)", map(of_incident, memory.incidents)),
            ("INSERT OR REPLACE INTO trail VALUES (?, ?, ?)", map(of_trail, memory.episode_trail)),
            (_PRUNE_TRAIL, [(metric, metric) for metric in metrics]),
            *outbox.enqueue(memory.messages, at),
            *outbox.withdraw(memory.withdrawn_keys, at),
            *log_statements(memory),
        )

    def forget(self, at: datetime, verdicts: int = VERDICTS) -> None:
        """Drop what is older than KEEP, by the clock `at` or by the newest verdict, whichever is earlier: a clock that jumps
        into the future must not wipe the memory. `verdicts`: so many are kept at most, but for the last two weeks."""
        now = min([at, *self._newest()])
        (metrics,) = self._file.read(int, "SELECT COUNT(*) FROM episodes")
        judged = max(LEAST, min(KEEP, verdicts * timedelta(minutes=15) / max(1, metrics)))
        old, unused = [(iso(now - KEEP),)], "SELECT key FROM histories WHERE used < ?"
        self._file.write(
            (f"DELETE FROM history WHERE key IN ({unused})", [(iso(now - UNUSED),)]),
            ("DELETE FROM histories WHERE used < ?", [(iso(now - UNUSED),)]),
            (
                "DELETE FROM verdicts WHERE bucket < ? AND metric IN (SELECT metric FROM episodes)",
                [(iso(now - judged),)],
            ),  # by key
            ("DELETE FROM messages WHERE state <> 'waiting' AND changed < ?", old),
            ("DELETE FROM messages WHERE edits <> '' AND edits NOT IN (SELECT key FROM messages)", [()]),
            ("DELETE FROM incidents WHERE closed <> '' AND closed < ?", old),
            ("DELETE FROM trail WHERE bucket < ?", old),
            ("DELETE FROM arrivals WHERE at < ?", old),
            ("DELETE FROM silences WHERE until < ?", old),
            ("DELETE FROM runs WHERE at < ?", old),
        )

    def counts(self) -> StateCounts:
        """For `status`."""
        states: dict[str, int] = dict(self._file.read(_pair, "SELECT state, COUNT(*) FROM messages GROUP BY state"))
        (opened,) = self._file.read(int, "SELECT COUNT(*) FROM incidents WHERE closed = ''")
        return StateCounts(
            open=opened,
            waiting=states.get("waiting", 0),
            sent=states.get("sent", 0),
            refused=states.get("refused", 0),
            folded=states.get("folded", 0),
            withdrawn=states.get("withdrawn", 0),
            last_judged=next(iter(self._newest()), None),
        )

    def _newest(self) -> list[datetime]:
        """The newest judged bucket of all metrics, if there is one."""
        return sorted(self.last_judged().values())[-1:]


def _pair(one: str, other: Any) -> tuple[str, Any]:
    return one, other


def _lately(metric: str, bucket: str, value: float | None, reason: str) -> tuple[str, datetime, float, str]:
    return metric, datetime.fromisoformat(bucket), float("nan") if value is None else value, reason
