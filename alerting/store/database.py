"""A SQLite file: opened or created, migrated, and moved aside when it is corrupted. Its errors become StoreError."""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import stat
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar

from alerting.model.errors import StoreError

T = TypeVar("T")
Batch = tuple[str, Sequence[tuple[Any, ...]]]  # a statement, and the rows to run it for
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

MIGRATIONS = (  # statements from each version of the schema to the next; never edit one that was released
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
    ("ALTER TABLE messages ADD COLUMN critical INTEGER NOT NULL DEFAULT 0",),
    (
        "ALTER TABLE silences ADD COLUMN weekly TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE silences ADD COLUMN zone TEXT NOT NULL DEFAULT 'UTC'",
        "CREATE INDEX held ON messages (id) WHERE state = 'held'",
    ),
)


class Database:
    """A file that several processes and threads may use at once. All methods raise StoreError.

    `notes`: a list that receives messages for the run, such as that the file was moved aside. `patience`: seconds to wait for
    the lock of another process.
    """

    def __init__(self, path: Path, notes: list[str], patience: float) -> None:
        self._path, self._notes, self._patience = path, notes, patience
        self._connection: sqlite3.Connection | None = None
        self._opened: tuple[int, int] | None = None  # identity of the file when it was opened
        self._lock = RLock()  # threads read their tables at the same time
        self.run(lambda db: None)

    def close(self) -> None:
        """Close the file. Nothing is lost without this call: every write was committed."""
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

    def write(self, *statements: tuple[str, Iterable[tuple[Any, ...]]], backed_up: bool = True) -> None:
        """Run each statement for each of its rows, all in one transaction. `backed_up`: also in a backup, if there is one."""
        batches = [(sql, list(map(_bindable, rows))) for sql, rows in statements]  # lists, because it may be tried twice

        def work(db: sqlite3.Connection) -> None:
            for sql, rows in batches:
                db.executemany(sql, rows)
            if backed_up:
                self._back_up(batches)

        self.run(work, transaction)

    def change(self, sql: str, *values: Any) -> tuple[int, int]:
        """Run one statement in a transaction. Return the number of changed rows, and the id of the inserted one (0: none)."""

        def work(db: sqlite3.Connection) -> sqlite3.Cursor:
            cursor = db.execute(sql, _bindable(values))
            self._back_up([(sql, [values])])
            return cursor

        cursor = self.run(work, transaction)
        return cursor.rowcount, cursor.lastrowid or 0

    def run(
        self,
        work: Callable[[sqlite3.Connection], T],
        within: Callable[[sqlite3.Connection], AbstractContextManager[sqlite3.Connection]] = nullcontext,
    ) -> T:
        """Return the result of `work`, which may run within one `transaction`.

        If the file is corrupted, move it aside and run `work` on a new one.
        """
        with self._lock:
            try:
                with within(self._current()) as db:
                    return work(db)
            except (sqlite3.Error, OSError) as error:
                if primary_code(error) not in CORRUPTED:
                    raise self._store_error(error) from error
                damage = error
            try:
                self._move_aside(damage)
                with within(self._current()) as db:
                    return work(db)
            except (sqlite3.Error, OSError) as error:
                raise self._store_error(error) from error

    def _current(self) -> sqlite3.Connection:
        """The connection to the file that lies at the path now."""
        if self._connection and self._identity() != self._opened:  # nobody else would read what is written to the old file
            self._notes.append(f"{self._path} was moved or removed while it was open; it was opened again as it is now.")
            self.close()
        if self._connection is None:
            self._connection, self._opened = self._open(), self._identity()
        return self._connection

    def _identity(self) -> tuple[int, int] | None:
        """Device and inode of the file at the path; None if there is none, as for ":memory:"."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _store_error(self, error: Exception) -> StoreError:
        return StoreError(f"{self._path}: {error}: {ADVICE.get(primary_code(error), _START_ANEW)}")

    def _open(self) -> sqlite3.Connection:
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
        db = self._connect(self._path)
        try:
            with suppress(sqlite3.OperationalError):  # WAL is optional: some network file systems lack it
                db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute(f"PRAGMA journal_size_limit = {MAX_JOURNAL}")
            if _is_cut(db, self._path):
                raise _damage("a part of the file is missing")
            _migrate(db, self._path)
        except BaseException:
            self._close_connection()
            raise
        return db

    def _connect(self, file: Path | str, uri: bool = False) -> sqlite3.Connection:
        db = sqlite3.connect(file, uri=uri, timeout=self._patience, isolation_level=None, check_same_thread=False)
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
        self._notes.append(
            f"THE STATE DATABASE WAS CORRUPTED ({damage}).{self._loss()} "
            f"The file was moved to {aside}; `sqlite3 {aside} .recover` may show what it held."
        )

    def _back_up(self, batches: Sequence[Batch]) -> None:
        """Do with each batch what a backup needs, before the transaction ends. Here there is none."""

    def _loss(self) -> str:
        """The sentence about what is lost with a corrupted file."""
        return " There is no backup: what waited to be sent is lost, and open alerts will be told again."


class ReadOnlyDatabase(Database):
    """A file that is only read: it is never created, migrated or moved aside."""

    def _open(self) -> sqlite3.Connection:
        return self._connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True)

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
    if _version(db) == len(MIGRATIONS):
        return
    with transaction(db):
        version = _version(db)  # again: another process may have migrated while this one waited
        if version > len(MIGRATIONS):
            raise StoreError(f"{path} was written by a newer version ({version}): update, or set ALERTING_DATA to another folder")
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _is_cut(db: sqlite3.Connection, path: Path) -> bool:
    """Return whether pages are missing at the end of the file, and not only because they are still in the -wal."""

    def short() -> bool:
        pages, size = (db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        return str(path) != ":memory:" and os.stat(path).st_size < pages * size

    if not short():
        return False
    _, frames, moved = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    if not short():
        return False
    return frames == moved or db.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok"  # another process uses the -wal


def _damage(text: str) -> sqlite3.DatabaseError:
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def primary_code(error: BaseException) -> int:
    """SQLite's primary result code; for an error of the operating system the code with the same meaning."""
    if isinstance(error, OSError):
        return sqlite3.SQLITE_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else sqlite3.SQLITE_CANTOPEN
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _is_sound(path: Path, patience: float) -> bool:
    try:
        with closing(sqlite3.connect(path, timeout=patience)) as db:
            return not _is_cut(db, path) and bool(db.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok")
    except sqlite3.OperationalError:
        return True  # locked or not accessible: moving it is not for this process
    except sqlite3.DatabaseError:
        return False


def _bindable(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values with lone surrogates replaced: a mangled name in the data must not cost a whole commit."""
    return tuple(v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for v in row)
