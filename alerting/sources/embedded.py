"""Embedded ClickHouse (chDB): the same SQL over Parquet files, in memory, by a process of its own (see `engine`).

No session on disk: its lock would let only one process read at a time, and a notebook left open would stop the cron run.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import signal
import sys
import tempfile
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from threading import Lock
from typing import IO

import pandas as pd

from alerting.model.errors import SourceError
from alerting.model.metric import Query
from alerting.sources import embedded_worker
from alerting.sources.base import BaseSource
from alerting.sources.clickhouse import server_error
from alerting.sources.embedded_worker import ABSENT, HEAD, QUERY, ROWS, WorkerAnswer
from alerting.sources.query import bind, to_counts


@dataclass
class EmbeddedSource(BaseSource):
    """A source (see `model.Source`) over <folder>/<table>/*.parquet. `tables`: query name -> subfolder.

    Files named YYYY-MM-DD.parquet hold the rows of that UTC day, and only those of the asked days are opened.
    A query that takes longer than `timeout` seconds is ended.
    """

    runs_sql = True
    folder: Path
    tables: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60.0

    def __post_init__(self) -> None:
        self._turn = Lock()
        self._child = WorkerProcess.new()  # from the start, so that chDB loads while the run does other things

    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """Counts per bucket (see `model.Source`). Raises SourceError."""
        return to_counts(self.rows(query, start, end), query, start, end)

    def rows(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        """All columns of the query as they come, texts and times too. Raises SourceError."""
        until = end + query.step  # `bind` rounds the window's end up to a whole bucket
        return self._ask(bind(query, self._files(query.name, start, until), start, end), query.name)

    def columns(self, name: str) -> dict[str, str]:
        """Column -> ClickHouse type of the table that the query `name` reads. Raises SourceError."""
        now = datetime.now(UTC)
        found = self._ask(f"DESCRIBE TABLE {self._files(name, now, now)}", name)
        return dict(zip(found["name"], found["type"], strict=True))

    def _files(self, name: str, start: datetime, end: datetime) -> str:
        """The table function over the days of the window; over the newest one where there is none, for its columns."""
        folder = Path(self.folder, self.tables.get(name, name)).resolve()
        names = sorted(path.stem for path in folder.glob("[!.]*.parquet"))
        if not names:
            raise SourceError(f"there are no Parquet files in {folder}: no data was made yet, or ALERTING_DATA is another folder")
        if re.search(r"[*?{}]", str(folder)):
            raise SourceError(f"the path {folder} cannot be read: chDB takes '*', '?', '{{' and '}}' for patterns")
        days = [_day(stem) for stem in names]
        first, last = start.astimezone(UTC).date(), end.astimezone(UTC).date()
        asked = [stem for stem, day in zip(names, days, strict=True) if day and first <= day <= last] or names[-1:]
        pattern = "*" if None in days else "{" + ",".join(asked) + "}"
        path = str(folder / f"{pattern}.parquet").replace("\\", r"\\").replace("'", r"\'")
        return f"file('{path}', Parquet)"

    def close(self) -> None:
        """End chDB's process. It also goes with this object, and a query that comes after all starts another."""
        self._child.end()

    def _ask(self, sql: str, name: str) -> pd.DataFrame:
        """The decoded answer."""
        from alerting.sources.tsv import decode  # pandahouse brings requests, 0.05 s: here they load while chDB does, too

        try:
            kind, body = self._exchange(sql)
            if kind == ROWS:
                return decode(body, lambda: "UTC")
            failed = _failure(kind, body.decode(errors="replace"), name)
        except SourceError as error:
            failed = error
        raise SourceError(f"embedded ClickHouse ({name}): {failed}", failed.passing)

    def _exchange(self, sql: str) -> WorkerAnswer:
        """One query at a time, by a process that lives. Raises SourceError when there is no answer."""
        with self._turn:
            if not self._child.alive:
                self._child = WorkerProcess.new()
            return self._child.ask(sql, self.timeout)


def _day(stem: str) -> date | None:
    try:
        return date.fromisoformat(stem)
    except ValueError:
        return None


def _failure(kind: bytes, text: str, name: str) -> SourceError:
    if kind == ABSENT:
        return SourceError(text[:300])
    return server_error(text, name, name) or SourceError(f"it failed: {text[:300]}")


# The process that runs `engine`: started, asked, ended. Nothing large is imported here: it can start ahead of all else.

PATIENCE = 5.0  # seconds that a process may take to end after it has closed its pipes


def start_ahead() -> None:
    """Start one that the next `Child.new` takes: chDB loads while the process that will ask it is still importing."""
    with suppress(SourceError):  # whoever asks for one hears of it
        _waiting.append(WorkerProcess())


class WorkerProcess:
    """A process that runs `engine`. It ends with this object, with `end`, and when this process is gone, however that went."""

    def __init__(self) -> None:
        """Raises SourceError."""
        try:
            # A name like those of the runner's folders: it sweeps up after processes that were killed.
            self._folder = Path(tempfile.mkdtemp(prefix=f"alerting-{os.getpid()}-"))
            self._process = _started(self._folder)
        except OSError as error:
            raise SourceError(f"chDB's process cannot be started: {error}", passing=True) from None
        self.end = weakref.finalize(self, _end, self._process, self._folder)

    @classmethod
    def new(cls) -> WorkerProcess:
        """One that was started ahead, or now. Raises SourceError."""
        return _waiting.pop() if _waiting else cls()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, sql: str, timeout: float) -> WorkerAnswer:
        """The answer to a query. Raises SourceError when there is none; then the process has ended."""
        try:
            return self._send(sql.encode(), time.monotonic() + timeout)
        except TimeoutError:
            failed = f"it took longer than {timeout:g} s and was ended: ask for less"
        except (OSError, EOFError):
            failed = self._death()
        except BaseException:
            self.end()  # an interrupt: the answer, when it came, would be taken for that of the next query
            raise
        self.end()
        raise SourceError(failed, passing=True)

    def _send(self, sql: bytes, deadline: float) -> WorkerAnswer:
        to, back = self._process.stdin, self._process.stdout
        assert to is not None  # `_started` asks for both pipes
        assert back is not None
        to.write(HEAD.pack(QUERY, len(sql)) + sql)
        to.flush()
        kind, size = HEAD.unpack(_read(back, HEAD.size, deadline))
        return kind, _read(back, size, deadline)

    def _death(self) -> str:
        """How it ended, and its last words."""
        with suppress(TimeoutExpired):
            self._process.wait(PATIENCE)
        self._process.kill()  # which does nothing to what has ended
        code = self._process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        words = [f"chDB's process {how}" + " (mostly: memory ran out)" * (code == -signal.SIGKILL)]
        with suppress(OSError):
            words += (self._folder / "stderr").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        return ": ".join(words)[:300]


def _started(folder: Path) -> Popen[bytes]:
    """The process, in an empty folder of its own: chDB reads a config.xml of its working folder, whoever it belongs to."""
    command, environ = [sys.executable, "-P", embedded_worker.__file__], {**os.environ, "TMPDIR": str(folder)}
    try:
        with (folder / "stderr").open("wb") as log:
            return Popen(command, cwd=folder, env=environ, stdin=PIPE, stdout=PIPE, stderr=log)
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _read(pipe: IO[bytes], size: int, deadline: float) -> bytes:
    """So many bytes. Raises TimeoutError, and EOFError when there will be no more."""
    arrived, ready = bytearray(), select.poll()
    ready.register(pipe, select.POLLIN)
    while len(arrived) < size:
        if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        piece = os.read(pipe.fileno(), min(size - len(arrived), 2**16))
        if not piece:
            raise EOFError
        arrived += piece
    return bytes(arrived)


def _end(process: Popen[bytes], folder: Path) -> None:
    """At once: it has nothing to lose."""
    with suppress(BrokenPipeError), process:  # closes the pipes, waits
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)


_waiting: list[WorkerProcess] = []
