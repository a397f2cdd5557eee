"""One run at a time: the lock of the system on a file, which goes with the process that holds it, however that ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path


class HeldError(Exception):
    """Another run is going on. The text says whose; `age` is how long it has been, as far as it could be read."""

    def __init__(self, text: str, age: timedelta) -> None:
        super().__init__(text)
        self.age = age


@contextmanager
def locked(path: Path, started: datetime) -> Iterator[None]:
    """Hold the lock. Raises HeldError when another run does, OSError when there can be no lock file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _held(os.pread(handle, 100, 0).decode("ascii", "replace"), started) from None
        _sign(handle, started)
        yield
    finally:
        os.close(handle)


def _sign(handle: int, started: datetime) -> None:
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()} {started.isoformat()}".encode(), 0)
    except OSError:
        pass  # a full disk: the lock holds all the same, only its note is missing


def _held(note: str, now: datetime) -> HeldError:
    pid, _, since = note.partition(" ")
    try:
        begun = datetime.fromisoformat(since).astimezone(UTC)
    except ValueError:
        return HeldError("another run is going on", timedelta())
    return HeldError(f"another run is going on: process {pid}, since {begun:%Y-%m-%dT%H:%M:%SZ}", now - begun)
