"""An HTTP server that gives prepared replies, and records the requests."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

Reply = Callable[[BaseHTTPRequestHandler], None]


@dataclass(frozen=True)
class Asked:
    """One request as it arrived. Header names in small letters."""

    path: str
    headers: dict[str, str]
    body: bytes


class Web:
    """An HTTP server that gives `replies` one after the other, the last one again and again, and keeps what was `asked`."""

    def __init__(self) -> None:
        self.replies, self.asked = list[Reply](), list[Asked]()
        self.closing = threading.Event()  # a reply that waits should wait on this
        self._server = _WebServer(("127.0.0.1", 0), _WebHandler)
        self._server.web = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def will(self, *replies: Reply) -> Web:
        self.replies = list(replies)
        return self

    def next_reply(self) -> Reply:
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def wrap(self, context: Any) -> None:
        """Speak TLS from now on (`context`: ssl.SSLContext)."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _WebServer(ThreadingHTTPServer):
    daemon_threads = True
    web: Web

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks the DNS for our name, which can take seconds
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that has gone is what many tests are about."""


class _WebHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _WebServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.web.asked.append(Asked(self.path, {k.lower(): v for k, v in self.headers.items()}, body))
        self.server.web.next_reply()(self)

    def do_GET(self) -> None:
        self.do_POST()

    def do_HEAD(self) -> None:
        self.do_POST()


def says(body: bytes | str, status: int = 200, kind: str = "text/tab-separated-values", **headers: str) -> Reply:
    """A whole answer. Header names with '_' for '-'."""
    content = body.encode() if isinstance(body, str) else body

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(content)

    return reply


@pytest.fixture
def web() -> Iterator[Web]:
    server = Web()
    yield server
    server.close()
