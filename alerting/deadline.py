"""A deadline for one whole exchange over the network.

The timeout of a socket starts again with every received byte, so a peer that sends one byte a second can block a program for
hours. The look-up of a host name has no timeout at all. Here the exchange runs in a thread. At the deadline its connections are
shut down, which ends a read that waits for them. A thread that does not end even then is not waited for.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from threading import Lock, Thread, Timer
from typing import TypeVar

T = TypeVar("T")

GRACE = 0.5  # seconds after the deadline in which the exchange can still end with its own error


class Deadline:
    """A context whose deadline is `seconds` after its creation. It shuts down all watched sockets then, and when it is left.

    `expired`: whether the deadline came first. `connected`: whether a socket was watched, so that data may have been sent.
    """

    def __init__(self, seconds: float) -> None:
        self.expired = self.connected = False
        self._left = False  # the context was left
        self._ends = time.monotonic() + seconds
        self._sockets: list[socket.socket] = []
        self._lock = Lock()
        self._timer = Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()
        with self._lock:
            self._left = True
            self._shut_down()  # otherwise the exchange would go on after an interrupt
            for duplicate in self._sockets:
                duplicate.close()
            self._sockets.clear()

    def call(self, exchange: Callable[[], T]) -> T:
        """Call `exchange` and return its result, or raise its error. Raises TimeoutError if it has not ended at the deadline."""
        outcome: Future[T] = Future()

        def work() -> None:
            try:
                outcome.set_result(exchange())
            except BaseException as error:  # noqa: BLE001 - it is raised where `call` waits
                outcome.set_exception(error)

        Thread(target=work, daemon=True).start()  # a daemon: it must not keep the process from ending
        return outcome.result(max(0.0, self._ends - time.monotonic()) + GRACE)

    def watch(self, connection: socket.socket) -> socket.socket:
        """Put the connection under the deadline and return it. Call this before TLS begins, because a handshake may be slow."""
        with self._lock:
            self.connected = True
            # Keep a duplicate, because TLS takes the descriptor from the socket that it wraps. Both refer to one connection.
            self._sockets.append(socket.fromfd(connection.fileno(), connection.family, connection.type))
            if self.expired or self._left:
                self._shut_down()
        return connection

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            self._shut_down()

    def _shut_down(self) -> None:
        for duplicate in self._sockets:
            with suppress(OSError):  # the connection is closed already
                duplicate.shutdown(socket.SHUT_RDWR)
