"""A server that drips, floods or says nothing, over HTTP, TLS or SMTP, and does so for as long as its caller stays."""

from __future__ import annotations

import select
import socketserver
import threading
import time
from types import TracebackType

OK = b"HTTP/1.1 200 OK\r\n"
DRIPS = {  # kind -> how the answer begins, and what then comes again and again
    "headers drip": (OK + b"X-Slow: ", b"x"),
    "body drips": (OK + b"Content-Length: 100000\r\n\r\n", b"x"),
    "handshake drips": (b"\x16\x03\x03\x40\x00", b"\x02"),  # a record of 16 kB
    "greeting drips": (b"", b"220-a greeting\r\n"),
    "silence": (b"", b""),
}
FLOODS = {
    "endless body": (b"HTTP/1.0 200 OK\r\n\r\n", b"x" * 2**16),
    "endless chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"8000\r\n" + b"x" * 2**15 + b"\r\n"),
    "endless size of a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n1", b"0" * 2**16),
    "endless header": (OK + b"X-Long: ", b"x" * 2**16),
    "endless headers": (OK, b"X-Many: x\r\n" * 1000),
    "endless greeting": (b"", b"220-a greeting\r\n" * 1000),
}
FLOOD = 600 * 2**20  # bytes that one connection is given at most


class Peer:
    """`kind`: of DRIPS or FLOODS, it may change; `pause`: seconds between two drips. `open`: callers that wait at this moment;
    `met`: how many came in all; `longest`: most bytes sent to one."""

    def __init__(self, kind: str, pause: float = 1.0) -> None:
        self.kind, self.pause, self.open, self.met, self.longest = kind, pause, 0, 0, 0
        self.closing, self.lock = threading.Event(), threading.Lock()
        self._server = _PeerServer(("127.0.0.1", 0), _PeerHandler)
        self._server.peer = self
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, frames: TracebackType | None) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def is_left(self, patience: float = 5.0) -> bool:
        """Return whether all callers have gone, or go within `patience` seconds."""
        until = time.monotonic() + patience
        while self.open and time.monotonic() < until:
            time.sleep(0.01)
        return not self.open


class _PeerServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    peer: Peer

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that has gone is what this is about."""


class _PeerHandler(socketserver.BaseRequestHandler):
    server: _PeerServer

    def handle(self) -> None:
        peer = self.server.peer
        with peer.lock:
            peer.open, peer.met = peer.open + 1, peer.met + 1
        try:
            self._answer(peer, *{**DRIPS, **FLOODS}[peer.kind], pause=0.0 if peer.kind in FLOODS else peer.pause)
        finally:
            with peer.lock:
                peer.open -= 1

    def _answer(self, peer: Peer, start: bytes, piece: bytes, pause: float) -> None:
        self.request.settimeout(30)
        if not start.startswith(b"\x16"):
            self.request.sendall(start)
        sent = 0
        while sent < FLOOD and not peer.closing.is_set():
            if select.select([self.request], [], [], pause)[0]:
                if not self.request.recv(2**16):
                    return  # the caller has gone
                if start.startswith(b"\x16") and not sent:  # an answer to the ClientHello
                    self.request.sendall(start)
                if pause:
                    peer.closing.wait(pause)
            self.request.sendall(piece)
            sent += len(piece)
            peer.longest = max(peer.longest, sent)
