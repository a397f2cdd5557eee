"""What runs leave for each other besides verdicts and messages: runs, arrivals, silences, how far the chat was heard."""

from __future__ import annotations

from datetime import datetime, timedelta

from alerting.model import Arrival, Memory, Run, Silence
from alerting.store import rows
from alerting.store.file import File
from alerting.store.outbox import Statement
from alerting.store.rows import iso

ARRIVALS_FOR = timedelta(days=15)  # two weeks of what had arrived at the same age, and a day

_SILENCE = "INSERT OR REPLACE INTO silences (scope, start, until, why, by, id) VALUES (?, ?, ?, ?, ?, NULLIF(?, 0))"
_SILENCES = "SELECT scope, start, until, why, by, id FROM silences WHERE until > ? ORDER BY start, id"
_BEGIN = "INSERT OR IGNORE INTO runs VALUES (?, ?, ?, ?, ?)"
_END = "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)"


class Diary:
    """The part of the memory that tells of runs and people."""

    _file: File

    def arrivals(self, since: datetime) -> list[Arrival]:
        """What the tables had whenever they were read from `since` on, oldest first."""
        return self._file.read(rows.arrival, "SELECT * FROM arrivals WHERE at >= ? ORDER BY at, query", iso(since))

    def silences(self, at: datetime) -> list[Silence]:
        """Those that are not over at `at`, also those that start later; by their start."""
        return self._file.read(rows.silence, _SILENCES, iso(at))

    def add_silence(self, silence: Silence) -> int:
        """Its id. One that has an id takes the place of the one that had it."""
        return self._file.change(_SILENCE, *rows.of(silence))[1]

    def end_silence(self, id: int, at: datetime) -> bool:
        """Whether there was one to end: it is over at `at`."""
        return self._file.change("UPDATE silences SET until = ? WHERE id = ? AND until > ?", iso(at), id, iso(at))[0] > 0

    def heard(self) -> int:
        """Number of the next update to read from the chat; 0 at first."""
        return next(iter(self._file.read(int, "SELECT value FROM facts WHERE name = 'heard'")), 0)

    def begin(self, run: Run) -> None:
        """A run has started. One that is known already stays as it is."""
        self._file.write((_BEGIN, [rows.of(run)]))

    def end(self, run: Run) -> None:
        """What became of the run that started then, also when its start is not known here."""
        self._file.write((_END, [rows.of(run)]))

    def runs(self, since: datetime) -> list[Run]:
        """Those that stood at a moment after that, oldest first."""
        return self._file.read(rows.run, "SELECT * FROM runs WHERE at > ? ORDER BY at, started", iso(since))


def note(memory: Memory) -> list[Statement]:
    """Statements that remember this part of what a run leaves."""
    arrivals = memory.arrivals
    return [
        ("INSERT OR REPLACE INTO arrivals VALUES (?, ?, ?, ?, ?)", [rows.of(a) for a in arrivals]),
        ("DELETE FROM arrivals WHERE query = ? AND at < ?", [(a.query, iso(a.at - ARRIVALS_FOR)) for a in arrivals]),
        (_SILENCE, [rows.of(s) for s in memory.silences]),
        ("INSERT OR REPLACE INTO facts VALUES ('heard', ?)", [(memory.heard,)] if memory.heard is not None else []),
    ]
