"""Over a run's shoulder: the limit for the whole of it, its evidence on disk, and signals that end it in good order."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from alerting.runner.kernel import Kernel

PERIOD = 5.0  # seconds between two savings of the evidence: a quiet run is over before the first


class Stopped(KeyboardInterrupt):
    """The system or a person asks the run to end. A KeyboardInterrupt, because asyncio lets only those through."""


class Watch:
    """A thread that saves now and then, and kills the kernel when the time is up: papermill notices within a second."""

    def __init__(self, kernel: Kernel, limit: float, save: Callable[[], None]) -> None:
        self.kernel, self.save = kernel, save
        self.deadline = time.monotonic() + limit
        self.expired = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def _look(self) -> None:
        while not self._over.wait(max(0.0, min(PERIOD, self.deadline - time.monotonic()))):
            if time.monotonic() >= self.deadline:
                self.expired = True
                self.kernel.kill()
                return
            self.save()

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()


@contextmanager
def stoppable() -> Iterator[None]:
    """While this holds, SIGTERM raises Stopped, so that the kernel goes along and the record is kept."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(signal.Signals(number).name)
