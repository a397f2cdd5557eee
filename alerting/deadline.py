"""A deadline for one exchange over the network, even if bytes arrive slowly.

The timeout of a socket starts again with every byte received, so a peer that sends one byte a second can block a program for
hours. Here a timer shuts the connections down at the deadline; a read that waits on them then ends.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Lock, Timer


class Deadline:
    """A context that shuts the sockets given to `watch` down after `seconds`. `expired`: the deadline came before the end.

    Resolving a name and connecting are not interrupted: each address of the name has the timeout of the connection.
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

    def __exit__(self, *error: object) -> None:
        self._timer.cancel()
        with self._lock:
            for duplicate in self._sockets:
                duplicate.close()
            self._sockets.clear()

    def watch(self, connection: socket.socket) -> socket.socket:
        """Shut the connection down at the deadline, and return it. Call this before TLS begins: a handshake may be slow."""
        with self._lock:
            # Keep a duplicate, because TLS takes the descriptor from the socket that it wraps. Both refer to one connection.
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
            with suppress(OSError):  # the connection is closed already
                duplicate.shutdown(socket.SHUT_RDWR)
