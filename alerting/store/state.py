"""The state database: everything that a run stores for the next runs.

It has verdicts, episodes and incidents, the outbox, the history cache, the run log, the arrival times of rows, silences, and
the number of the next update to read from the chat. Every method of the store is one transaction: if the process is killed,
either all of its changes are stored or none.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from alerting.model.incident import Incident
from alerting.model.message import PICTURE_SUFFIX, ThreadMessage
from alerting.model.metric import Silence
from alerting.model.protocols import Commit
from alerting.model.routing import DEFAULT_DESTINATION, Routes, addressed_to, copy_key, plain_key
from alerting.model.run import Arrival, Run
from alerting.model.verdict import Episode, EventKind, JudgedPoint, Verdict
from alerting.store import outbox
from alerting.store.codec import LATER, STORED, from_json, from_row, iso, to_json, to_row
from alerting.store.database import RESTORED, Database, ReadOnlyDatabase
from alerting.store.history import UNUSED, HistoryTables
from alerting.store.outbox import Outbox

KEEP = timedelta(days=400)  # age at which rows are deleted: a year, plus a month to compare it with
MAX_VERDICTS = 5_000_000  # with many metrics, verdicts are deleted earlier than KEEP: after 25 days of 2,000 metrics ...
MIN_VERDICT_AGE = timedelta(days=14)  # ... but never earlier than this
ARRIVALS_FOR = timedelta(days=15)  # the check for incomplete buckets compares with two weeks before

_SILENCE = ", ".join(STORED[Silence])
_ADD_SILENCE = f"INSERT OR REPLACE INTO silences ({_SILENCE}) VALUES (?, ?, ?, ?, ?, NULLIF(?, 0), ?, ?)"
# Loose index scan: one lookup per metric, where GROUP BY would read a year of verdicts.
_METRICS = """WITH RECURSIVE m(metric) AS (
      SELECT MIN(metric) FROM verdicts
      UNION ALL SELECT (SELECT MIN(metric) FROM verdicts WHERE metric > m.metric) FROM m WHERE m.metric IS NOT NULL)"""
_NEWEST = "id > (SELECT MAX(id) FROM messages) - 500"  # messages of the newest run are among the last 500


@dataclass(frozen=True)
class StateCounts:
    """A summary: open incidents, messages by their state, the newest judged bucket (None: no bucket was judged)."""

    open: int = 0
    waiting: int = 0
    held: int = 0
    sent: int = 0
    refused: int = 0
    folded: int = 0
    withdrawn: int = 0
    last_judged: datetime | None = None


class StateReader:
    """The queries that both `StateStore` and `ReadOnlyState` have."""

    _file: Database

    def close(self) -> None:
        self._file.close()

    def all_incidents(self, since: datetime, until: datetime | None = None) -> list[Incident]:
        """Return the incidents with since <= opened < until, oldest first."""
        sql = "SELECT body FROM incidents WHERE opened >= ? AND opened < ? ORDER BY opened, id"
        return self._file.read(from_json(Incident), sql, iso(since), iso(until) or LATER)

    def incidents_of_messages(self, kinds: Iterable[EventKind], since: datetime) -> list[str]:
        """Return the ids of the incidents that have a message of these kinds, written since then."""
        sql = "SELECT DISTINCT incident FROM messages WHERE created >= ? AND incident <> '' AND edits = '' AND kind = ?"
        return sorted({id for kind in kinds for id in self._file.read(str, sql, iso(since), kind.value)})

    def silences(self, at: datetime) -> list[Silence]:
        """Return the silences that are not over at `at`, future ones included, ordered by their start."""
        sql = f"SELECT {_SILENCE} FROM silences WHERE until > ? ORDER BY start, id"
        return self._file.read(from_row(Silence), sql, iso(at))


class StateStore(StateReader, Outbox, HistoryTables):
    """The state database at `path`; with ":memory:" it is lost when the process ends. `notes`: messages for the run.

    Most methods are described in `model.protocols`.
    """

    def __init__(self, path: str | Path, patience: float = 10.0, routes: Routes | None = None) -> None:
        """Open the file, or create it. A corrupted file is moved aside.

        `patience`: seconds to wait for the lock of another process. `routes`: the destinations of messages (None: there is one
        destination, and messages are stored without copies). Raises StoreError, as every method does, if the file cannot be read
        or written.
        """
        self.notes: list[str] = []
        self._routes = routes
        path = Path(path)
        backup = None if str(path) == ":memory:" else path.parent / "backup" / path.name
        self._file = Database(path, self.notes, patience, backup)
        restored = self._file.run(lambda db: db.execute("SELECT value FROM facts WHERE name = ?", (RESTORED,)).fetchall())
        self.notes += [text for (text,) in restored if text not in self.notes]  # another program restored it before any run

    @property
    def is_new(self) -> bool:
        """Return whether no run has used it yet. It may hold the notice of a run that failed at its start."""
        return not self._file.read(int, "SELECT 1 FROM runs UNION ALL SELECT 1 FROM verdicts LIMIT 1")

    # Verdicts, episodes and incidents

    def episodes(self) -> dict[str, Episode]:
        found = self._file.read(from_json(Episode), "SELECT body FROM episodes ORDER BY metric")
        return {episode.metric: episode for episode in found}

    def episode_before(self, metric: str, bucket: datetime) -> Episode | None:
        sql = "SELECT body FROM trail WHERE metric = ? AND bucket < ? ORDER BY bucket DESC LIMIT 1"
        return self._file.first(from_json(Episode), sql, metric, iso(bucket))

    def last_judged(self) -> dict[str, datetime]:
        sql = f"""{_METRICS} SELECT metric, (SELECT MAX(bucket) FROM verdicts v WHERE v.metric = m.metric) FROM m
            WHERE metric IS NOT NULL"""
        return dict(self._file.read(lambda metric, bucket: (metric, datetime.fromisoformat(bucket)), sql))

    def judged(self, metric: str | None = None, since: datetime | None = None) -> list[Verdict]:
        condition, values = ("AND metric = ?", [metric]) if metric is not None else ("", [])
        sql = f"SELECT {', '.join(STORED[Verdict])} FROM verdicts WHERE bucket >= ? {condition} ORDER BY bucket, metric"
        return self._file.read(from_row(Verdict), sql, iso(since), *values)

    def judged_values(self, since: datetime, rules: Sequence[str] = ()) -> list[tuple[str, datetime, float, str]]:
        def make(metric: str, bucket: str, value: float | None, rule: str) -> tuple[str, datetime, float, str]:
            return metric, datetime.fromisoformat(bucket), float("nan") if value is None else value, rule

        # CROSS JOIN fixes the order of the loops: metric by metric a short range of the key, not a year of verdicts.
        condition = f"AND v.reason IN ({', '.join('?' * len(rules))})" if rules else ""
        sql = f"""SELECT v.metric, v.bucket, v.value, v.reason FROM episodes e CROSS JOIN verdicts v ON v.metric = e.metric
            AND v.bucket >= ? {condition} ORDER BY v.metric, v.bucket"""
        return self._file.read(make, sql, iso(since), *rules)

    def statuses(self, bucket: datetime) -> dict[str, str]:
        sql = "SELECT v.metric, v.status FROM episodes e CROSS JOIN verdicts v ON v.metric = e.metric AND v.bucket = ?"
        return dict(self._file.read(lambda metric, status: (metric, status), sql, iso(bucket)))

    def incidents(self, since: datetime | None = None) -> list[Incident]:
        sql = "SELECT body FROM incidents WHERE closed = '' OR closed > ? ORDER BY opened, id"
        return self._file.read(from_json(Incident), sql, iso(since) or LATER)

    # Writing a run, and deleting what is old

    def commit(self, memory: Commit, at: datetime | None = None) -> None:
        messages = self._copies(memory.messages, self._routes) if self._routes else memory.messages
        # Late rows come within hours; three days are a long weekend of them. (ISO text without zone sorts before one with it.)
        prune_trail = """DELETE FROM trail WHERE metric = ? AND bucket < COALESCE(NULLIF(?, ''),
            (SELECT strftime('%Y-%m-%dT%H:%M:%S', MAX(bucket), '-3 days') FROM trail WHERE metric = ?))"""
        since = memory.trail_since
        next_update = [(memory.next_update,)] if memory.next_update is not None else []
        episodes = [(e.metric, e.state, to_json(e)) for e in memory.episodes]
        incidents = [(i.id, iso(i.opened), iso(i.closed), to_json(i)) for i in memory.incidents]
        kept = [(bucket, e) for bucket, e in memory.episode_trail if e.metric not in since or bucket >= since[e.metric]]
        trail = [(episode.metric, iso(bucket), to_json(episode)) for bucket, episode in kept]
        old_arrivals = [(arrival.query, iso(arrival.at - ARRIVALS_FOR)) for arrival in memory.arrivals]
        self._file.write(
            ("INSERT OR REPLACE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", map(to_row, memory.verdicts)),
            ("INSERT OR REPLACE INTO episodes VALUES (?, ?, ?)", episodes),
            ("INSERT OR REPLACE INTO incidents VALUES (?, ?, ?, ?)", incidents),
            ("INSERT OR REPLACE INTO trail VALUES (?, ?, ?)", trail),
            (prune_trail, {(e.metric, iso(since.get(e.metric)), e.metric) for _, e in memory.episode_trail}),
            *outbox.enqueue(messages, at),
            *outbox.withdraw(memory.withdrawn_keys, at),
            ("INSERT OR REPLACE INTO arrivals VALUES (?, ?, ?, ?, ?)", map(to_row, memory.arrivals)),
            ("DELETE FROM arrivals WHERE query = ? AND at < ?", old_arrivals),
            (_ADD_SILENCE, map(to_row, memory.silences)),
            ("INSERT OR REPLACE INTO facts VALUES ('heard', ?)", next_update),
        )

    def forget(self, at: datetime, verdicts: int = MAX_VERDICTS) -> None:
        """Delete rows older than KEEP, counted from `at` or from the newest verdict, whichever is earlier.

        A clock that jumps into the future must not delete everything. `verdicts`: the number of verdicts to keep at most; those
        of the last two weeks are kept in any case.
        """
        now = min(at, max(self.last_judged().values(), default=at))
        (metrics,) = self._file.read(int, "SELECT COUNT(*) FROM episodes")
        verdict_age = max(MIN_VERDICT_AGE, min(KEEP, verdicts * timedelta(minutes=15) / max(1, metrics)))
        old, old_verdicts, unused = [(iso(now - KEEP),)], [(iso(now - verdict_age),)], [(iso(now - UNUSED),)]
        self._file.write(
            ("DELETE FROM history WHERE key IN (SELECT key FROM histories WHERE used < ?)", unused),
            ("DELETE FROM histories WHERE used < ?", unused),
            # The condition on the metric lets SQLite use the key (metric, bucket).
            ("DELETE FROM verdicts WHERE bucket < ? AND metric IN (SELECT metric FROM episodes)", old_verdicts),
            # `changed` is empty while a message is held
            ("DELETE FROM messages WHERE state <> 'waiting' AND COALESCE(NULLIF(changed, ''), created) < ?", old),
            ("DELETE FROM messages WHERE edits <> '' AND edits NOT IN (SELECT key FROM messages)", [()]),
            ("DELETE FROM incidents WHERE closed <> '' AND closed < ?", old),
            ("DELETE FROM trail WHERE bucket < ?", old),
            ("DELETE FROM arrivals WHERE at < ?", old),
            ("DELETE FROM silences WHERE until < ?", old),
            ("DELETE FROM runs WHERE at < ?", old),
        )

    # Runs, arrivals, silences and updates

    def save_run(self, run: Run) -> None:
        sql = """INSERT INTO runs VALUES (?, ?, ?, ?, ?) ON CONFLICT (started) DO UPDATE
            SET at = excluded.at, ended = excluded.ended, well = excluded.well, said = excluded.said
            WHERE excluded.ended IS NOT NULL"""
        told = [(RESTORED,)] if run.ended else []
        self._file.write((sql, [to_row(run)]), ("DELETE FROM facts WHERE name = ?", told))

    def runs(self, since: datetime) -> list[Run]:
        return self._file.read(from_row(Run), "SELECT * FROM runs WHERE at > ? ORDER BY at, started", iso(since))

    def arrivals(self, since: datetime) -> list[Arrival]:
        return self._file.read(from_row(Arrival), "SELECT * FROM arrivals WHERE at >= ? ORDER BY at, query", iso(since))

    def add_silence(self, silence: Silence) -> int:
        """Store a silence and return its id. One that has an id replaces the stored one with this id."""
        _, id = self._file.change(_ADD_SILENCE, *to_row(silence))
        return id

    def end_silence(self, id: int, at: datetime) -> bool:
        """End the silence at `at`. Return whether there was one that lasted longer."""
        changed, _ = self._file.change("UPDATE silences SET until = ? WHERE id = ? AND until > ?", iso(at), id, iso(at))
        return changed > 0

    def next_update(self) -> int:
        return self._file.first(int, "SELECT value FROM facts WHERE name = 'heard'") or 0

    def watched_series(self, source: str) -> tuple[dict[str, timedelta], dict[str, timedelta]]:
        """Return series -> step, and series -> phase, of the series that runs have seen in the table `source`.

        Both are empty if the newest run read another source.
        """
        for body in self._file.read(str, "SELECT value FROM facts WHERE name = 'series'"):
            stored = json.loads(body)
            if stored["source"] == source:
                steps, phases = ({name: timedelta(seconds=s) for name, s in stored[part].items()} for part in ("steps", "phases"))
                return steps, phases
        return {}, {}

    def watch_series(self, source: str, steps: Mapping[str, timedelta], phases: Mapping[str, timedelta]) -> None:
        """Store the series that runs have seen in the table `source`. They replace the stored ones."""
        parts = {"steps": steps, "phases": phases}
        seconds = {part: {name: length.total_seconds() for name, length in lengths.items()} for part, lengths in parts.items()}
        body = json.dumps({"source": source, **seconds})
        self._file.write(("INSERT OR REPLACE INTO facts VALUES ('series', ?)", [(body,)]))

    # Summary

    def counts(self) -> StateCounts:
        """Return the summary that `status` prints."""
        found = dict(self._file.read(lambda state, count: (state, count), "SELECT state, COUNT(*) FROM messages GROUP BY state"))
        messages = {state: found.get(state, 0) for state in ("waiting", "held", "sent", "refused", "folded", "withdrawn")}
        (opened,) = self._file.read(int, "SELECT COUNT(*) FROM incidents WHERE closed = ''")
        return StateCounts(open=opened, **messages, last_judged=max(self.last_judged().values(), default=None))


class ReadOnlyState(StateReader):
    """The state database at `path`, read-only: it is not created, migrated or moved, and waits are short.

    All methods raise StoreError.
    """

    def __init__(self, path: Path, patience: float = 2.0, destinations: Iterable[str] = (DEFAULT_DESTINATION,)) -> None:
        """Open the file. Raises StoreError if there is none.

        `patience`: seconds to wait for the lock of another process. `destinations`: all destinations that messages may have.
        """
        self._file = ReadOnlyDatabase(path, [], patience)
        self._file.run(lambda db: None)  # open it now
        self._destinations = tuple(destinations)

    def open_or_recent_incidents(self, since: datetime) -> list[Incident]:
        """Return the open incidents and those opened since then, by id."""
        return self._file.read(
            from_json(Incident), "SELECT body FROM incidents WHERE opened >= ? OR closed = '' ORDER BY id", iso(since)
        )

    def sent(self, since: datetime, until: datetime) -> int:
        """Return how many of the newest messages were sent between the two times; edits are not counted."""
        sql = f"SELECT COUNT(*) FROM messages WHERE {_NEWEST} AND state = 'sent' AND edits = '' AND changed BETWEEN ? AND ?"
        return self._file.read(int, sql, iso(since), iso(until))[0]

    def pictures(self, since: datetime, until: datetime) -> list[str]:
        """Return the keys of the newest messages with pictures that were created between the two times, oldest first.

        A message with several destinations is returned once. Edits are left out.
        """
        sql = f"""SELECT key FROM messages WHERE {_NEWEST} AND created BETWEEN ? AND ? AND edits = ''
            AND (photo IS NOT NULL OR key LIKE '%{PICTURE_SUFFIX}') ORDER BY id"""
        return list(dict.fromkeys(self._file.read(plain_key, sql, iso(since), iso(until))))

    def first_lines(self, since: datetime, until: datetime) -> list[str]:
        """Return the first lines (Telegram HTML) of the newest messages created between the two times, oldest first.

        Edits, separate pictures and messages that will not be sent are left out. A message with several destinations is returned
        once.
        """
        sql = f"""SELECT key, text FROM messages WHERE {_NEWEST} AND created BETWEEN ? AND ? AND edits = '' AND text <> ''
            AND key NOT LIKE '%/picture' AND state NOT IN ('withdrawn', 'folded') ORDER BY id"""
        found = self._file.read(lambda key, text: (plain_key(key), text.partition("\n")[0]), sql, iso(since), iso(until))
        return list(dict(found).values())

    def thread(self, id: str) -> list[ThreadMessage]:
        """Return all messages of an incident at one destination, in the order of creation.

        The destination is the chat or, if the chat has no message of the incident, the first one that has.
        """
        columns = ", ".join(STORED[ThreadMessage]).replace("changed", "NULLIF(changed, '')")
        sql = f"SELECT {columns} FROM messages WHERE key > ? || '/' AND key < ? || '0' ORDER BY id"  # "0" follows "/"
        for destination in self._destinations:
            prefix = copy_key(id, destination)
            if found := self._file.read(from_row(ThreadMessage), sql, prefix, prefix):
                return [addressed_to(message, DEFAULT_DESTINATION) for message in found]
        return []

    def failure_notices(self, started: datetime) -> list[datetime]:
        """Return the times (aware UTC) of the notices of failed runs before the run that began at `started`.

        They begin after the last successful run before it. Notices from before a notice that runs work again are left out.
        """
        sql = """SELECT bucket FROM messages WHERE kind = ? AND state IN ('sent', 'waiting')
            AND bucket >= COALESCE((SELECT MAX(started) FROM runs WHERE well AND started < ?), '') AND bucket < ?
            AND id > COALESCE((SELECT MAX(id) FROM messages WHERE kind = ?), 0)"""
        failed, recovered, began = EventKind.RUN_FAILED.value, EventKind.RUN_RECOVERED.value, iso(started)
        return self._file.read(datetime.fromisoformat, sql, failed, began, began, recovered)

    def runs(self, since: datetime) -> dict[datetime, datetime]:
        """Return the moment of each run that started since then -> its start."""
        sql = "SELECT at, started FROM runs WHERE started >= ?"
        return dict(self._file.read(lambda *times: tuple(map(datetime.fromisoformat, times)), sql, iso(since)))

    def episode(self, metric: str) -> Episode | None:
        """Return the present episode of a metric; None if it has none."""
        return self._file.first(from_json(Episode), "SELECT body FROM episodes WHERE metric = ?", metric)

    def newest_verdicts(self) -> list[Verdict]:
        """Return the newest verdict of each metric, by name."""
        columns = ", ".join(f"v.{name}" for name in STORED[Verdict])
        sql = f"""{_METRICS} SELECT {columns} FROM m CROSS JOIN verdicts v ON v.metric = m.metric
            AND v.bucket = (SELECT MAX(bucket) FROM verdicts WHERE metric = m.metric)"""
        return self._file.read(from_row(Verdict), sql)

    def judged_points(self, metric: str, since: datetime) -> list[JudgedPoint]:
        """Return the judged buckets of a metric from `since` on, as plain numbers: there may be thousands."""
        sql = """SELECT CAST(strftime('%s', bucket) AS INTEGER), status, value, low, expected, high, usual FROM verdicts
            WHERE metric = ? AND bucket >= ? ORDER BY bucket"""
        return self._file.read(JudgedPoint, sql, metric, iso(since))
