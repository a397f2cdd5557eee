"""A SQLite file: it is created, migrated, backed up, and moved aside if it is corrupted. All its errors become StoreError."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import stat
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

from alerting.model.errors import StoreError
from alerting.store.codec import MIGRATIONS

T = TypeVar("T")
_NO_ACCESS = "let this user write the file and its folder, or set ALERTING_DATA to another folder"
_START_ANEW = "move the file and its backup away, and the next run starts a new one"
CORRUPTED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
ADVICE = {  # SQLite's primary result code -> what to do
    sqlite3.SQLITE_FULL: "the disk is full: free some space",
    sqlite3.SQLITE_IOERR: "the disk or a quota is full, or the disk is failing: see `df -h` and `dmesg`",
    sqlite3.SQLITE_READONLY: _NO_ACCESS,
    sqlite3.SQLITE_CANTOPEN: _NO_ACCESS,
    sqlite3.SQLITE_BUSY: "another process keeps it locked: `fuser` with this path names it; end it, or wait for it",
}
MAX_JOURNAL = 32_000_000  # bytes of the write-ahead log that stay on disk after a large write
BACKED_UP = ("verdicts", "episodes", "messages", "incidents", "trail", "arrivals", "silences", "runs", "facts")
RESTORED = "restored"  # name of the row in `facts` which says that the file was restored; the next run reports it


class Database:
    """A file that several processes and threads may use at once. It is opened at the first use. All methods raise StoreError.

    `notes`: a list that gets messages for the run, for example that the file was moved aside. `patience`: seconds to wait for
    the lock of another process. `backup`: a second file that gets every write except those of the history cache. If the first
    file is lost, emptied or corrupted, it is restored from the backup. A backup that cannot be written is deleted, because it
    would be incomplete; the next process makes a new one.
    """

    def __init__(self, path: Path, notes: list[str], patience: float, backup: Path | None = None) -> None:
        self._path, self._notes, self._patience, self._backup = path, notes, patience, backup
        self._connection: sqlite3.Connection | None = None
        self._copy: Database | None = None  # the open backup
        self._opened: tuple[int, int] | None = None  # identity of the file when it was opened
        self._lock = RLock()  # threads read their tables at the same time

    def close(self) -> None:
        """Close the file. Nothing is lost without this call: every write was committed."""
        if self._copy:
            self._copy.close()
            self._copy = None
        if self._connection:
            self._close_connection()
            self._connection = None

    def read(self, make: Callable[..., T], sql: str, *values: Any) -> list[T]:
        """Return `make(*columns)` of each row of the query."""
        rows = self.run(lambda db: db.execute(sql, _bindable(values)).fetchall())
        try:
            return [make(*row) for row in rows]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            message = f"{self._path}: a row makes no sense ({error}); a newer version wrote it? {_START_ANEW}"
            raise StoreError(message) from error

    def first(self, make: Callable[..., T], sql: str, *values: Any) -> T | None:
        """Return `make(*columns)` of the first row of the query; None for no row."""
        return next(iter(self.read(make, sql, *values)), None)

    def write(self, *statements: tuple[str, Iterable[tuple[Any, ...]]], backed_up: bool = True) -> None:
        """Run each statement for each of its rows, all in one transaction. `backed_up`: also in a backup, if there is one."""
        batches = [(sql, list(map(_bindable, rows))) for sql, rows in statements]  # lists, because it may be tried twice

        def work(db: sqlite3.Connection) -> None:
            for sql, rows in batches:
                db.executemany(sql, rows)

        self.run(work, transaction, backed_up)

    def change(self, sql: str, *values: Any) -> tuple[int, int]:
        """Run one statement in a transaction. Return the number of changed rows, and the id of the inserted one (0: none)."""
        cursor = self.run(lambda db: db.execute(sql, _bindable(values)), transaction, backed_up=True)
        return cursor.rowcount, cursor.lastrowid or 0

    def run(
        self,
        work: Callable[[sqlite3.Connection], T],
        within: Callable[[sqlite3.Connection], AbstractContextManager[sqlite3.Connection]] = nullcontext,
        backed_up: bool = False,
    ) -> T:
        """Return the result of `work`, which may run within one `transaction`. `backed_up`: do the same to the backup, if any.

        If the file is corrupted, move it aside and run `work` on a new one.
        """
        damage: Exception | None = None
        with self._lock:
            while True:
                try:
                    if damage:
                        self._move_aside(damage)
                    if self._connection is None:
                        self._create_file()
                        self._opened = self._identity()  # before it is opened: another process may move the file meanwhile
                        self._connection = self._open()
                        if self._backup:
                            self._open_backup(self._connection, self._backup)
                    if self._identity() != self._opened:  # no other process would read what is written to the old file
                        self._notes.append(
                            f"{self._path} was moved or removed while it was open; it was opened again as it is now."
                        )
                        self.close()
                        continue
                    with within(self._connection) as db:
                        result = work(db)
                        if backed_up:
                            self._back_up(work)
                        return result
                except (sqlite3.Error, OSError) as error:
                    if damage or primary_code(error) not in CORRUPTED:
                        advice = ADVICE.get(primary_code(error), _START_ANEW)
                        raise StoreError(f"{self._path}: {error}: {advice}") from error
                    damage = error

    def _identity(self) -> tuple[int, int] | None:
        """Return device and inode of the file at the path; None if there is no file, as for ":memory:"."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _create_file(self) -> None:
        """Create the file if there is none, for its owner only."""
        if str(self._path) != ":memory:":
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):  # SQLite gives its -wal and -shm the mode of the file
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))
            # Files that were copied or changed by hand are restricted to their owner; those of another user stay as they are.
            for suffix in ("", "-wal", "-shm"):
                with suppress(OSError):
                    mode = os.stat(f"{self._path}{suffix}").st_mode
                    if stat.S_ISREG(mode) and mode & 0o077:
                        os.chmod(f"{self._path}{suffix}", mode & 0o600)

    def _open(self) -> sqlite3.Connection:
        db = self._connect(self._path)
        try:
            with suppress(sqlite3.OperationalError):  # WAL is optional: some network file systems lack it
                db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA journal_size_limit = {MAX_JOURNAL}")
            if _is_cut(db, self._path):
                damage = sqlite3.DatabaseError("a part of the file is missing")
                damage.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise damage
            _migrate(db, self._path)
        except BaseException:
            self._close_connection()
            raise
        return db

    def _connect(self, file: Path | str) -> sqlite3.Connection:
        db = sqlite3.connect(file, uri=True, timeout=self._patience, isolation_level=None, check_same_thread=False)
        self._close_connection = weakref.finalize(self, db.close)
        return db

    def _move_aside(self, damage: Exception) -> None:
        self.close()
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)  # one process at a time moves the file aside
            if _is_sound(self._path, self._patience):
                return  # another process was faster: the file at the path is already the new one
            aside = f"{self._path}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
            for suffix in ("-wal", "-shm", ""):  # the file last: SQLite would read a left-over -wal into the new one
                with suppress(FileNotFoundError):
                    os.replace(f"{self._path}{suffix}", f"{aside}{suffix}")
        finally:
            os.close(folder)
        loss = " There is no backup: what waited to be sent is lost, and open alerts will be told again."
        self._notes.append(
            f"THE STATE DATABASE WAS CORRUPTED ({damage}).{'' if self._backup and self._backup.exists() else loss} "
            f"The file was moved to {aside}; `sqlite3 {aside} .recover` may show what it held."
        )

    # The backup

    def _open_backup(self, db: sqlite3.Connection, backup: Path) -> None:
        """Open the backup and bring it up to date; or, if the file is empty and the backup is not, restore the file."""
        copy = self._copy = Database(backup, [], self._patience)
        try:
            if copy.run(_fingerprint) == _fingerprint(db):
                return
            with transaction(db):  # compare again under the lock: another process may have been writing
                here, there = _fingerprint(db), copy.run(_fingerprint)
                is_lost = not any(here) and any(there)
                if here != there and not is_lost:
                    copy.run(partial(_copy_tables, self._path))
            if is_lost:
                self._restore(db, backup, there[0])
        except (StoreError, sqlite3.Error) as error:
            cause = error.__cause__ if isinstance(error, StoreError) else error
            if not any(_fingerprint(db)) and backup.is_file() and not (cause and primary_code(cause) in CORRUPTED):
                self.close()
                raise  # keep the backup: it may hold what the file has lost, and may be readable later
            self._delete_backup()

    def _restore(self, db: sqlite3.Connection, backup: Path, last_run: str) -> None:
        text = f"The state database {self._path} was empty or missing. It was restored from {backup}, as of {last_run}."

        def note(file: sqlite3.Connection) -> None:  # for the next run, if this process is not a run
            file.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (RESTORED, text))

        if _copy_tables(backup, db, only_if_empty=True):
            self._notes.append(text)
            with transaction(db):
                note(db)
                self._back_up(note)

    def _back_up(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Write to the backup before the transaction on the file ends, so that all processes write to both in one order."""
        if self._copy:
            try:
                if self._copy._identity() != self._copy._opened:  # it was deleted: a new backup needs all earlier rows
                    self._copy.run(partial(_copy_tables, self._path))
                self._copy.run(work, transaction)
            except StoreError:
                self._delete_backup()

    def _delete_backup(self) -> None:
        if self._copy:
            self._copy.close()
            self._copy = None
        for suffix in ("-wal", "-shm", ""):
            with suppress(OSError):
                os.unlink(f"{self._backup}{suffix}")


class ReadOnlyDatabase(Database):
    """A file that is only read: it is never created, migrated, backed up or moved aside."""

    def _create_file(self) -> None:
        """Do nothing: a reader creates no file."""

    def _open(self) -> sqlite3.Connection:
        return self._connect(f"{self._path.resolve().as_uri()}?mode=ro")

    def _move_aside(self, damage: Exception) -> None:
        raise damage


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    db.execute("BEGIN IMMEDIATE")  # take the lock at the start: a transaction that begins as a reader may never get it
    try:
        yield db
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # some errors have already rolled back
            db.execute("ROLLBACK")
        raise


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date. Raises StoreError for a file of a newer version."""
    if db.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),):
        return
    with transaction(db):
        (version,) = db.execute("PRAGMA user_version").fetchone()  # again: another process may have migrated meanwhile
        if version > len(MIGRATIONS):
            raise StoreError(f"{path} was written by a newer version ({version}): update, or set ALERTING_DATA to another folder")
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _is_cut(db: sqlite3.Connection, path: Path) -> bool:
    """Return whether pages are missing at the end of the file, and not only because they are still in the -wal.

    Length and number of pages cannot be read at the same moment: while another process writes, a sound file seems too short.
    """
    if str(path) == ":memory:":
        return False

    def read(name: str) -> int:
        return int(db.execute(f"PRAGMA {name}").fetchone()[0])

    if os.stat(path).st_size >= read("page_count") * read("page_size"):
        return False
    version = read("data_version")  # another one if another process has written
    busy, frames, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if os.stat(path).st_size >= read("page_count") * read("page_size"):
        return False
    if not busy and frames == moved and read("data_version") == version:
        return True
    return bool(db.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok")


def primary_code(error: BaseException) -> int:
    """Return SQLite's primary result code; for an error of the operating system, the code with the same meaning."""
    if isinstance(error, OSError):
        return sqlite3.SQLITE_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else sqlite3.SQLITE_CANTOPEN
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _is_sound(path: Path, patience: float) -> bool:
    try:
        with closing(sqlite3.connect(path, timeout=patience)) as db:
            return not _is_cut(db, path) and bool(db.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok")
    except sqlite3.OperationalError:
        return True  # locked or not accessible: this process must not move it
    except sqlite3.DatabaseError:
        return False


def _fingerprint(db: sqlite3.Connection) -> tuple[Any, ...]:
    """Return the start of the last run, and numbers that differ if file and backup differ. An empty file has 0 and "" only."""
    sql = """SELECT COALESCE((SELECT MAX(started) FROM runs), ''), (SELECT COUNT(*) FROM runs WHERE ended <> ''),
        COALESCE((SELECT MAX(id) FROM messages), 0), (SELECT COUNT(*) FROM messages WHERE state = 'sent'),
        (SELECT COUNT(*) FROM incidents), COALESCE((SELECT SUM(LENGTH(body)) FROM incidents), 0),
        COALESCE((SELECT MAX(bucket) FROM trail), ''), (SELECT COUNT(*) FROM episodes),
        COALESCE((SELECT MAX(id) FROM silences), 0), COALESCE((SELECT value FROM facts WHERE name = 'heard'), 0)"""
    return tuple(db.execute(sql).fetchone())


def _copy_tables(source: Path, db: sqlite3.Connection, only_if_empty: bool = False) -> bool:
    """Replace the rows of all tables except the history cache by those of the file `source`, without locking that file.

    With `only_if_empty`, do nothing if the file has rows, because another process was faster. Return whether it was done.
    """
    db.execute("ATTACH ? AS source", (f"{source.resolve().as_uri()}?mode=ro",))
    try:
        with transaction(db):
            if only_if_empty and any(_fingerprint(db)):
                return False
            for table in BACKED_UP:
                db.execute(f"DELETE FROM main.{table}")
                db.execute(f"INSERT INTO main.{table} SELECT * FROM source.{table}")
    finally:
        db.execute("DETACH source")
    return True


def _bindable(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the values with lone surrogates replaced: SQLite would refuse a commit because of one broken name in the data."""
    return tuple(v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for v in row)
