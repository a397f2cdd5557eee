"""A deadline for one exchange over the network, however slowly its bytes come in.

The timeout of a socket starts anew with every byte that is received, so a peer that sends one byte a second holds a program for
as long as it likes. Here a timer shuts the connections down when the time is over; whoever waits on them then sees their end.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Lock, Timer
from types import TracebackType


class Deadline:
    """A context in which the sockets given to `watch` live for `seconds`. `expired`: the time was over before the end.

    Looking a name up cannot be cut short, nor can connecting: each address of the name has the timeout of the connection.
    """

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._sockets: list[socket.socket] = []
        self._lock = Lock()
        self._timer = Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None) -> None:
        self._timer.cancel()
        with self._lock:
            for duplicate in self._sockets:
                duplicate.close()
            self._sockets.clear()

    def watch(self, connection: socket.socket) -> socket.socket:
        """Shut the connection down when the time is over, and return it. Call this before TLS begins: a handshake may be slow."""
        with self._lock:
            # A duplicate, because TLS takes the descriptor away from the socket that it wraps: both lead to one connection.
            self._sockets.append(socket.fromfd(connection.fileno(), connection.family, connection.type))
            if self.expired:
                self._shut_down()
        return connection

    def _expire(self) -> None:
        with self._lock:
            self.expired = True
            self._shut_down()

    def _shut_down(self) -> None:
        for duplicate in self._sockets:
            with suppress(OSError):  # the peer has gone already, or it was shut down before
                duplicate.shutdown(socket.SHUT_RDWR)
