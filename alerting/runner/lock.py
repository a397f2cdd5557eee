"""A lock that allows one run at a time. It is a system lock on a file, which is released when the process ends or is killed."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path


class AlreadyRunningError(Exception):
    """The error that another run is in progress. The text names its process. `age`: its duration so far, 0 if unknown."""

    def __init__(self, text: str, age: timedelta) -> None:
        super().__init__(text)
        self.age = age


@contextmanager
def locked(path: Path, started: datetime) -> Iterator[None]:
    """Hold the lock inside the block. Write the process id and `started` into its file.

    Raises AlreadyRunningError when another run holds it, OSError when the file cannot be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note = os.pread(handle, 100, 0).decode("ascii", "replace")
            raise _already_running(note, started) from None
        with suppress(OSError):  # the disk is full: the lock works without this text
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()} {started.isoformat()}".encode(), 0)
        yield
    finally:
        os.close(handle)


def _already_running(note: str, now: datetime) -> AlreadyRunningError:
    pid, _, since = note.partition(" ")
    try:
        start = datetime.fromisoformat(since).astimezone(UTC)
    except ValueError:
        return AlreadyRunningError("another run is going on", timedelta())
    return AlreadyRunningError(f"another run is going on: process {pid}, since {start:%Y-%m-%dT%H:%M:%SZ}", now - start)
