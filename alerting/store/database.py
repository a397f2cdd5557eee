"""One SQLite file: opened or created, migrated, moved aside when corrupted; its errors said as StoreError."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import stat
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

from alerting.model.errors import StoreError

T = TypeVar("T")
_ELSEWHERE = "let this user write the file and its folder, or set ALERTING_DATA to another folder"
ADVICE = {  # SQLite's primary result code -> what to do
    sqlite3.SQLITE_FULL: "the disk is full: free some space",
    sqlite3.SQLITE_IOERR: "the disk or a quota is full, or the disk is failing: see `df -h` and `dmesg`",
    sqlite3.SQLITE_READONLY: _ELSEWHERE,
    sqlite3.SQLITE_CANTOPEN: _ELSEWHERE,
    sqlite3.SQLITE_BUSY: "another process keeps it locked: `fuser` with this path names it; end it, or wait for it",
}
_ANEW = "move the file away, and the next run starts a new one"


class Database:
    """`notes` receives what has to be said about the file. Methods raise StoreError."""

    def __init__(self, path: Path, notes: list[str], patience: float) -> None:
        """`patience`: seconds to wait for another process's lock."""
        self._path, self._notes, self._patience = path, notes, patience
        self._db: sqlite3.Connection | None = None
        self._turn = RLock()  # several threads read their tables at once
        self._do(lambda db: None)

    def close(self) -> None:
        """Nothing is lost by not calling it: whatever was written has been committed."""
        if self._db:
            self._closing()
            self._db = None

    def read(self, make: Callable[..., T], sql: str, *values: Any) -> list[T]:
        """What `make` makes of each row's columns."""
        rows = self._do(lambda db: db.execute(sql, _bindable(values)).fetchall())
        try:
            return [make(*row) for row in rows]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StoreError(f"{self._path}: a row makes no sense ({error}); a newer version wrote it? {_ANEW}") from error

    def write(self, *statements: tuple[str, Iterable[tuple[Any, ...]]]) -> None:
        """Run each statement for each of its rows, all in one transaction."""
        todo = [(sql, list(map(_bindable, rows))) for sql, rows in statements]  # so that trying again finds them

        def work(db: sqlite3.Connection) -> None:
            with _transaction(db):
                for sql, rows in todo:
                    db.executemany(sql, rows)

        self._do(work)

    def change(self, sql: str, *values: Any) -> tuple[int, int]:
        """Run one statement in a transaction: how many rows it changed, and the id of the row it inserted."""

        def work(db: sqlite3.Connection) -> tuple[int, int]:
            with _transaction(db):
                done = db.execute(sql, _bindable(values))
            return done.rowcount, done.lastrowid or 0

        return self._do(work)

    def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` gives, done in one transaction."""

        def whole(db: sqlite3.Connection) -> T:
            with _transaction(db):
                return work(db)

        return self._do(whole)

    def _do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` gives; if the file turns out to be corrupted it is moved aside and `work` done on a fresh one."""
        with self._turn:
            return self._safely(work)

    def _safely(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return self._once(work)
        except (sqlite3.Error, OSError) as error:
            if _code(error) not in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                raise self._said(error) from error
            damage = error
        try:
            self._move_aside(damage)
            return self._once(work)
        except (sqlite3.Error, OSError) as error:
            raise self._said(error) from error

    def _once(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._db and self._identity() != self._opened:  # writing on would be writing to a file that nobody reads
            self._notes.append(f"{self._path} was moved or removed while it was open; it was opened again as it is now.")
            self.close()
        self._db = self._db or self._open()
        return work(self._db)

    def _identity(self) -> tuple[int, int] | None:
        """Which file is at the path; None if there is none, as for ":memory:"."""
        with suppress(FileNotFoundError):
            found = os.stat(self._path)
            return found.st_dev, found.st_ino
        return None

    def _said(self, error: Exception) -> StoreError:
        return StoreError(f"{self._path}: {error}: {ADVICE.get(_code(error), _ANEW)}")

    def _open(self) -> sqlite3.Connection:
        if str(self._path) != ":memory:":
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):  # SQLite gives its -wal and -shm the mode of the file
                os.close(os.open(self._path, os.O_CREAT | os.O_EXCL, 0o600))
            _close_to_others(self._path)
        db = sqlite3.connect(self._path, timeout=self._patience, isolation_level=None, check_same_thread=False)
        self._closing = weakref.finalize(self, db.close)
        try:
            with suppress(sqlite3.OperationalError):  # readers beside a writer: not every file system can, nothing hangs on it
                db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            _migrate(db, self._path)
        except BaseException:
            self._closing()
            raise
        self._opened = self._identity()
        return db

    def _move_aside(self, damage: Exception) -> None:
        self.close()
        with _folder_lock(self._path.parent):
            if _is_sound(self._path, self._patience):
                return  # another process was faster, and this is already the fresh one
            aside = f"{self._path}.corrupt-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
            for suffix in ("-wal", "-shm", ""):  # the file last: SQLite would read a left-over -wal into the fresh one
                with suppress(FileNotFoundError):
                    os.replace(f"{self._path}{suffix}", f"{aside}{suffix}")
        self._notes.append(
            f"THE MEMORY WAS CORRUPTED ({damage}) and is empty now: what waited to be sent is lost, and open alerts will be "
            f"told again. The file was moved to {aside}; `sqlite3 {aside} .recover` may show what it held."
        )


class ReadOnlyDatabase(Database):
    """A file that is only looked at: it is not made, migrated or moved aside."""

    def _open(self) -> sqlite3.Connection:
        where = f"{self._path.resolve().as_uri()}?mode=ro"
        db = sqlite3.connect(where, uri=True, timeout=self._patience, isolation_level=None, check_same_thread=False)
        self._closing = weakref.finalize(self, db.close)
        if _version(db) != len(MIGRATIONS):
            self._closing()
            raise StoreError(f"{self._path} was written by another version")
        self._opened = self._identity()
        return db

    def _move_aside(self, damage: Exception) -> None:
        raise damage


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")  # wait for the lock now: a reader that turns writer later could not
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # some errors have already rolled back
            db.execute("ROLLBACK")
        raise


@contextmanager
def _folder_lock(folder: Path) -> Iterator[None]:
    """One process at a time moves a file aside in `folder`."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _close_to_others(path: Path) -> None:
    """Take away what others may do with files that a hand or a copy has left open to them; those of another user stay."""
    for suffix in ("", "-wal", "-shm"):
        with suppress(OSError):
            mode = os.stat(f"{path}{suffix}").st_mode
            if stat.S_ISREG(mode) and mode & 0o077:
                os.chmod(f"{path}{suffix}", mode & 0o600)


def _migrate(db: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date. Raises StoreError for one from the future."""
    if _version(db) == len(MIGRATIONS):
        return
    with _transaction(db):
        version = _version(db)  # again: another process may have migrated while this one waited
        if version > len(MIGRATIONS):
            raise StoreError(f"{path} was written by a newer version ({version}): update, or set ALERTING_DATA to another folder")
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _code(error: Exception) -> int:
    """SQLite's primary result code; for an error of the operating system the one that says the same."""
    if isinstance(error, OSError):
        return sqlite3.SQLITE_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else sqlite3.SQLITE_CANTOPEN
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _is_sound(path: Path, patience: float) -> bool:
    try:
        with closing(sqlite3.connect(path, timeout=patience)) as db:
            return bool(db.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok")
    except sqlite3.OperationalError:
        return True  # locked or out of reach: not for us to move
    except sqlite3.DatabaseError:
        return False


def _bindable(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A lone surrogate, from a mangled name in the data, must not cost a whole commit."""
    return tuple(v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for v in row)


# The tables, as they came to be.

MIGRATIONS = (  # from each version of the schema to the next; never edit one that has been released
    (
        """CREATE TABLE verdicts (metric TEXT, bucket TEXT, status TEXT NOT NULL, value REAL, low REAL, expected REAL, high REAL,
           score REAL, reason TEXT NOT NULL, news INTEGER NOT NULL, usual REAL, PRIMARY KEY (metric, bucket)) WITHOUT ROWID""",
        "CREATE TABLE episodes (metric TEXT PRIMARY KEY, state TEXT NOT NULL, body TEXT NOT NULL) WITHOUT ROWID",
        """CREATE TABLE messages (id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, metric TEXT NOT NULL,
           bucket TEXT NOT NULL, text TEXT NOT NULL, photo BLOB, reply_to TEXT NOT NULL,
           state TEXT NOT NULL DEFAULT 'waiting', due TEXT NOT NULL DEFAULT '', tries INTEGER NOT NULL DEFAULT 0,
           reason TEXT NOT NULL DEFAULT '', message_id TEXT NOT NULL DEFAULT '', changed TEXT NOT NULL DEFAULT '')""",
        "CREATE INDEX outbox ON messages (id) WHERE state = 'waiting'",
    ),
    (
        "ALTER TABLE messages ADD COLUMN edits TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE messages ADD COLUMN incident TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE messages ADD COLUMN quiet INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE messages ADD COLUMN buttons TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE messages ADD COLUMN created TEXT NOT NULL DEFAULT ''",
        "UPDATE messages SET created = bucket",
        "CREATE INDEX edited ON messages (edits) WHERE edits <> ''",
        "CREATE TABLE incidents (id TEXT PRIMARY KEY, opened TEXT NOT NULL, closed TEXT NOT NULL, body TEXT NOT NULL)",
        "CREATE TABLE trail (metric TEXT, bucket TEXT, body TEXT NOT NULL, PRIMARY KEY (metric, bucket))",
        """CREATE TABLE arrivals (query TEXT, at TEXT, bucket TEXT NOT NULL, rows REAL, newest TEXT, PRIMARY KEY (query, at))
           WITHOUT ROWID""",
        """CREATE TABLE silences (id INTEGER PRIMARY KEY, scope TEXT NOT NULL, start TEXT NOT NULL, until TEXT NOT NULL,
           why TEXT NOT NULL, by TEXT NOT NULL)""",
        """CREATE TABLE runs (started TEXT PRIMARY KEY, at TEXT NOT NULL, ended TEXT, well INTEGER NOT NULL, said TEXT NOT NULL)
           WITHOUT ROWID""",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
    ),
    (
        """CREATE TABLE histories (key TEXT PRIMARY KEY, query TEXT NOT NULL, step INTEGER NOT NULL, start INTEGER NOT NULL,
           until INTEGER NOT NULL, used TEXT NOT NULL, rebuilt TEXT NOT NULL) WITHOUT ROWID""",
        "CREATE TABLE history (key TEXT, page INTEGER, columns TEXT NOT NULL, body BLOB NOT NULL, PRIMARY KEY (key, page))",
        "CREATE TABLE figures (key BLOB PRIMARY KEY, made TEXT NOT NULL, body BLOB NOT NULL) WITHOUT ROWID",
    ),
)
