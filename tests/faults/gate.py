"""An HTTP proxy between a run and a server, which on command closes connections, cuts answers or holds them back."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HEARTBEAT = "/ping/heartbeat-5f0c9a6e2b7d4c81"  # answered here, and a secret
LONGEST = 120.0  # seconds that a server may take
HOP = {"connection", "content-length", "transfer-encoding", "keep-alive"}  # headers between two parties only

Trap = Callable[[str, bool], bool]  # (method of the Bot API, whether it was accepted already) -> hang up?
Answer = Callable[["Handler", HTTPResponse, bytes], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        self.server.gate.meet(self, self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def head(self, response: HTTPResponse, length: int) -> None:
        """Status and headers of the answer, which has `length` bytes, or says so."""
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()


def whole(handler: Handler, response: HTTPResponse, body: bytes) -> None:
    handler.head(response, len(body))
    handler.wfile.write(body)


def cut(handler: Handler, response: HTTPResponse, body: bytes) -> None:
    """Half of the body, of which the headers promise all."""
    handler.head(response, len(body))
    handler.wfile.write(body[: len(body) // 2])
    handler.close_connection = True


def shortened(handler: Handler, response: HTTPResponse, body: bytes) -> None:
    """Half of the body as if that were all, ending within a row."""
    half = body[: body.rfind(b"\n", 0, len(body) // 2) + 4] if len(body) > 200 else body
    whole(handler, response, half)


class Gate:
    """The proxy before the server at `upstream`. `answer`: what is made of its answers; `trap`: asked before and after each
    request to a Bot API; `beats`: how often the heartbeat came; `delay`: seconds an answer is kept back."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self.host, self.port = parts.hostname or "", parts.port or 80
        self.answer: Answer = whole
        self.trap: Trap | None = None
        self.beats, self.delay, self.closing = 0, 0.0, threading.Event()
        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.gate = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()

    def meet(self, handler: Handler, body: bytes) -> None:
        handler.close_connection = True
        if handler.path == HEARTBEAT:
            self.beats += 1
            handler.send_response(204)
            handler.end_headers()
            return
        method, trap = handler.path.partition("?")[0].rpartition("/")[2], self.trap
        if trap and trap(method, False):
            return
        got = self._ask(handler, body)
        if got is None or (trap and trap(method, True)) or self.closing.wait(self.delay):
            return
        self.answer(handler, *got)

    def _ask(self, handler: Handler, body: bytes) -> tuple[HTTPResponse, bytes] | None:
        """Pass the request on, and return the server's answer; None when the answer is not complete."""
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in (*HOP, "accept-encoding")}
        line = HTTPConnection(self.host, self.port, timeout=LONGEST)
        try:
            line.request(handler.command, handler.path, body, headers)
            response = line.getresponse()
            return response, response.read()
        except (OSError, HTTPException):
            return None
        finally:
            line.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    gate: Gate

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that was killed is what this is about."""
