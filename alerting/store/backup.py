"""A SQLite file with a backup: a second file that gets every write, and from which the first is restored if it is lost."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from alerting.model.errors import StoreError
from alerting.store.database import CORRUPTED, Batch, Database, primary_code, transaction

TABLES = ("verdicts", "episodes", "messages", "incidents", "trail", "arrivals", "silences", "runs", "facts")
RESTORED = "restored"  # name of the fact that the file was restored, which the next run tells


class BackedUpDatabase(Database):
    """A file of which every write but those of the history cache also goes to the file `backup`.

    If the file is lost, emptied or corrupted, it is restored from there. A backup that cannot be written is deleted, because it
    would not be one any more; the next process makes a new one.
    """

    def __init__(self, path: Path, notes: list[str], patience: float, backup: Path) -> None:
        self._backup = backup
        self._copy: Database | None = None  # the open backup
        super().__init__(path, notes, patience)

    def close(self) -> None:
        self._close_copy()
        super().close()

    def _open(self) -> sqlite3.Connection:
        """Open the file, and bring the backup up to date; or, if the file is empty and the backup is not, restore the file."""
        db = super()._open()
        here = _fingerprint(db)
        try:
            self._copy = Database(self._backup, [], self._patience)
            there = self._copy.run(_fingerprint)
            if not any(here) and any(there):
                self._restore(db, there[0])
            elif here != there:
                self._copy.run(partial(_copy_tables, self._path))
        except (StoreError, sqlite3.Error) as error:
            cause = error.__cause__ if isinstance(error, StoreError) else error
            if not any(here) and self._backup.is_file() and not (cause and primary_code(cause) in CORRUPTED):
                self._close_connection()
                raise  # it may hold what the file has lost, and can be read when the disk has space or the lock is free
            self._delete()
        return db

    def _restore(self, db: sqlite3.Connection, last_run: str) -> None:
        _copy_tables(self._backup, db)
        text = f"The state database {self._path} was empty or missing. It was restored from {self._backup}, as of {last_run}."
        self._notes.append(text)
        batch = ("INSERT OR REPLACE INTO facts VALUES (?, ?)", [(RESTORED, text)])  # for the next run, if this is none
        db.executemany(*batch)
        self._back_up([batch])

    def _back_up(self, batches: Sequence[Batch]) -> None:
        """Write to the backup before the file's own transaction ends, so that all processes write to both in the same order."""
        if self._copy:
            try:
                self._copy.write(*batches)
            except StoreError:
                self._delete()

    def _loss(self) -> str:
        return "" if self._backup.exists() else super()._loss()

    def _delete(self) -> None:
        self._close_copy()
        for suffix in ("-wal", "-shm", ""):
            with suppress(OSError):
                os.unlink(f"{self._backup}{suffix}")

    def _close_copy(self) -> None:
        if self._copy:
            self._copy.close()
            self._copy = None


def _fingerprint(db: sqlite3.Connection) -> tuple[Any, ...]:
    """Return the start of the last run, and numbers that differ if file and backup do. All are 0 or "" in an empty file."""
    sql = """SELECT COALESCE((SELECT MAX(started) FROM runs), ''), (SELECT COUNT(*) FROM runs WHERE ended <> ''),
        COALESCE((SELECT MAX(id) FROM messages), 0), (SELECT COUNT(*) FROM messages WHERE state = 'sent'),
        (SELECT COUNT(*) FROM incidents), COALESCE((SELECT SUM(LENGTH(body)) FROM incidents), 0),
        COALESCE((SELECT MAX(bucket) FROM trail), ''), (SELECT COUNT(*) FROM episodes),
        COALESCE((SELECT MAX(id) FROM silences), 0), COALESCE((SELECT value FROM facts WHERE name = 'heard'), 0)"""
    return tuple(db.execute(sql).fetchone())


def _copy_tables(source: Path, db: sqlite3.Connection) -> None:
    """Replace the rows of all tables but the history cache by those of the file `source`."""
    db.execute("ATTACH ? AS source", (str(source),))
    try:
        with transaction(db):
            for table in TABLES:
                db.execute(f"DELETE FROM main.{table}")
                db.execute(f"INSERT INTO main.{table} SELECT * FROM source.{table}")
    finally:
        db.execute("DETACH source")
