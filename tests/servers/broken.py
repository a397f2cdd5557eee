"""A server that answers every connection with the same bytes, and closes it."""

from __future__ import annotations

import socketserver
import threading
from types import TracebackType


class BrokenServer:
    """`with BrokenServer(b"...") as server: server.port`; `connections` counts them."""

    def __init__(self, reply: bytes) -> None:
        self.connections = 0
        broken = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                broken.connections += 1
                self.request.sendall(reply)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda request, client_address: None  # type: ignore[method-assign]
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> BrokenServer:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
