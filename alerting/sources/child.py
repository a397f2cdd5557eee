"""The process that runs `engine`: started, asked, ended. Nothing large is imported here: it can start ahead of all else."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import tempfile
import time
import weakref
from contextlib import suppress
from pathlib import Path
from subprocess import PIPE, Popen, TimeoutExpired
from typing import IO

from alerting.model import SourceError
from alerting.sources import engine

PATIENCE = 5.0  # seconds that a process may take to end after it has closed its pipes


def ahead() -> None:
    """Start one that the next `Child.new` takes: chDB loads while the process that will ask it is still importing."""
    with suppress(SourceError):  # whoever asks for one hears of it
        _waiting.append(Child())


class Child:
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
    def new(cls) -> Child:
        """One that was started ahead, or now. Raises SourceError."""
        return _waiting.pop() if _waiting else cls()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, sql: str, timeout: float) -> engine.Answer:
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

    def _send(self, sql: bytes, deadline: float) -> engine.Answer:
        to, back = self._process.stdin, self._process.stdout
        assert to is not None  # `_started` asks for both pipes
        assert back is not None
        to.write(engine.HEAD.pack(engine.QUERY, len(sql)) + sql)
        to.flush()
        kind, size = engine.HEAD.unpack(_read(back, engine.HEAD.size, deadline))
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
    command, environ = [sys.executable, "-P", engine.__file__], {**os.environ, "TMPDIR": str(folder)}
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


_waiting: list[Child] = []
