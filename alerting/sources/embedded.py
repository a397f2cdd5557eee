"""Embedded ClickHouse (chDB): the same SQL over Parquet files, in memory, in a separate process (see `embedded_worker`).

There is no session on disk: its lock would let only one process read at a time, and an open notebook would block the cron run.

Nothing large is imported here, not even pandas, so that the process can start before everything else (`start_ahead`).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
import weakref
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from multiprocessing.connection import Pipe
from pathlib import Path
from subprocess import DEVNULL, Popen, TimeoutExpired
from threading import Lock
from typing import TYPE_CHECKING

from alerting.model.errors import SourceError
from alerting.sources import embedded_worker
from alerting.sources.base import SqlSource
from alerting.sources.embedded_worker import ABSENT, ROWS, WorkerAnswer

if TYPE_CHECKING:
    import pandas as pd

EXIT_TIMEOUT = 5.0  # seconds in which a process must end after it has closed its connection


@dataclass
class EmbeddedSource(SqlSource):
    """A source (see `model.protocols.Source`) over <folder>/<table>/*.parquet. `tables`: query name -> subfolder.

    A file YYYY-MM-DD.parquet holds the rows of that UTC day; only files of days in the window are opened. A query that takes
    longer than `timeout` seconds is ended.
    """

    folder: Path
    tables: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 60.0

    def __post_init__(self) -> None:
        self._lock = Lock()
        # Started now, so that chDB loads while the run does other things.
        self._worker = _started_ahead.pop() if _started_ahead else WorkerProcess()

    def table(self, name: str, start: datetime | None = None, end: datetime | None = None) -> str:
        """Return the table function over the files of the window, or over the newest file if the window has none."""
        folder = Path(self.folder, self.tables.get(name, name)).resolve()
        names = sorted(path.stem for path in folder.glob("[!.]*.parquet"))
        if not names:
            raise SourceError(f"there are no Parquet files in {folder}: no data was made yet, or ALERTING_DATA is another folder")
        if re.search(r"[*?{}]", str(folder)):
            raise SourceError(f"the path {folder} cannot be read: chDB takes '*', '?', '{{' and '}}' for patterns")
        days: dict[str, date | None] = dict.fromkeys(names)
        for stem in names:
            with suppress(ValueError):  # a file with another name may hold rows of any day
                days[stem] = date.fromisoformat(stem)
        inside = names[-1:]
        if start is not None and end is not None:
            first, last = start.astimezone(UTC).date(), end.astimezone(UTC).date()
            inside = [stem for stem, day in days.items() if day and first <= day <= last] or inside
        pattern = "*" if None in days.values() else "{" + ",".join(inside) + "}"
        path = str(folder / f"{pattern}.parquet").replace("\\", r"\\").replace("'", r"\'")
        return f"file('{path}', Parquet)"

    def run_sql(self, sql: str, name: str) -> pd.DataFrame:
        """Return the decoded rows. Queries run one at a time. If the process has ended, start another one."""
        # pandahouse imports requests, 0.05 s: here that happens while chDB loads
        from alerting.sources.clickhouse_answer import decode, server_error

        try:
            with self._lock:
                if not self._worker.alive:
                    self._worker = WorkerProcess()
                kind, body = self._worker.ask(sql, self.timeout)
            if kind == ROWS:
                return decode(body, lambda: "UTC")
            text = body.decode(errors="replace")
            known = None if kind == ABSENT else server_error(text, name, name)
            failure = known or SourceError(text[:300] if kind == ABSENT else f"it failed: {text[:300]}")
        except SourceError as error:
            failure = error
        raise SourceError(f"embedded ClickHouse ({name}): {failure}", failure.passing)

    def close(self) -> None:
        """End chDB's process, which also ends with this object. A later query starts a new process."""
        self._worker.end()


_started_ahead: list[WorkerProcess] = []


def start_ahead() -> None:
    """Start a process for the next EmbeddedSource: chDB loads while this process is still importing modules."""
    with suppress(SourceError):  # the source will try again, and raise the error
        _started_ahead.append(WorkerProcess())


class WorkerProcess:
    """A process that runs `embedded_worker`. It ends with this object, with `end`, and when this process ends in any way."""

    def __init__(self) -> None:
        """Start it in a new, empty folder, because chDB reads a config.xml of its working folder. Raises SourceError."""
        self._connection, theirs = Pipe()
        handle = theirs.fileno()
        command = [sys.executable, "-P", embedded_worker.__file__, str(handle)]
        try:
            # Named like the runner's folders: the runner deletes the folders of processes that were killed.
            self._folder = Path(tempfile.mkdtemp(prefix=f"alerting-{os.getpid()}-"))
            environ = {**os.environ, "TMPDIR": str(self._folder)}
            try:
                with theirs, (self._folder / "output").open("wb") as log:
                    self._process = Popen(
                        command, cwd=self._folder, env=environ, stdin=DEVNULL, stdout=log, stderr=log, pass_fds=[handle]
                    )
            except OSError:
                shutil.rmtree(self._folder, ignore_errors=True)
                raise
        except OSError as error:
            raise SourceError(f"chDB's process cannot be started: {error}", passing=True) from None
        self.end = weakref.finalize(self, _kill, self._process, self._folder)

    @property
    def alive(self) -> bool:
        """Return whether the process still runs."""
        return self._process.poll() is None

    def ask(self, sql: str, timeout: float) -> WorkerAnswer:
        """Return the answer to a query. If there is none within `timeout` seconds, end the process and raise SourceError."""
        try:
            self._connection.send_bytes(sql.encode())
            if self._connection.poll(timeout):
                return self._connection.recv_bytes(), self._connection.recv_bytes()
            failure = f"it took longer than {timeout:g} s and was ended: ask for less"
        except (OSError, EOFError):
            failure = self._cause_of_death()
        except BaseException:
            self.end()  # an interrupt: the late answer would be taken for the answer to the next query
            raise
        self.end()
        raise SourceError(failure, passing=True)

    def _cause_of_death(self) -> str:
        """Return a text about the end of the process, with the last line that it wrote."""
        with suppress(TimeoutExpired):
            self._process.wait(EXIT_TIMEOUT)
        self._process.kill()  # this does nothing if the process has ended
        code = self._process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        texts = [f"chDB's process {how}" + " (mostly: memory ran out)" * (code == -signal.SIGKILL)]
        with suppress(OSError):
            texts += (self._folder / "output").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        return ": ".join(texts)[:300]


def _kill(process: Popen[bytes], folder: Path) -> None:
    """Kill the process, which has no state to save, and delete its folder."""
    with process:  # waits
        process.kill()
    shutil.rmtree(folder, ignore_errors=True)
