"""Waits with a time limit: for a condition, and for a process that a test has started."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

PATIENCE = 120.0  # seconds; a last resort: a machine that is busy with something else is slow, not wrong


def until(holds: Callable[[], object], what: str = "it did not happen", patience: float = PATIENCE) -> None:
    """Return as soon as `holds()` is true. Raises AssertionError, which says `what`, after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, f"{what} within {patience:g} s"
        time.sleep(0.02)


@contextmanager
def ended(process: subprocess.Popen) -> Iterator[subprocess.Popen]:
    """The process, killed with its process group (if it leads one) when it still runs at the end of the block.

    `with Popen(...)` alone waits for ever for a process that a failing test did not stop.
    """
    try:
        yield process
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                leads = os.getpgid(process.pid) == process.pid
                (os.killpg if leads else os.kill)(process.pid, signal.SIGKILL)
        for pipe in filter(None, (process.stdin, process.stdout, process.stderr)):
            pipe.close()
        process.wait(PATIENCE)
