"""A local HTTP server that implements a part of Telegram's Bot API, with Telegram's refusals, and fails on command.

In a test: `with BotApi() as bot: ...`, or the fixture `bot`. As a process of its own: `python -m tests.servers botapi PORTFILE
LOGFILE` writes its port, appends every accepted message to LOGFILE as a line of JSON, and takes POST /control with
`{"kind": "429", "times": 2, "retry_after": 7}` (one more fault), `{"clear": true}`, `{"per_minute": 20}` or
`{"press": {"message_id": 101, "button": "take"}}`; GET /control tells what it holds, and which messages have buttons.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from tests.servers.telegram_chat import CHAT, OTHER_POLL, TOKEN, Accepted, Chat, Refused, unreadable


@dataclass
class Fault:
    """A fault of the next `times` requests of `method` (None: of any)."""

    kind: str
    times: int = 1
    method: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


class BotApi:
    """The server. `inside`: its Chat; `calls`: every request as (method, the fault it met or "as usual").

    A getUpdates with a timeout waits for an update, and ends another one that waits, as at Telegram.
    """

    def __init__(self, log: Path | None = None, token: str = TOKEN, chat: str = CHAT, port: int = 0) -> None:
        self.token, self.chat, self.inside = token, chat, Chat(token, chat, log)
        self.calls, self.faults = list[tuple[str, str]](), list[Fault]()
        self.closing, self._lock = threading.Event(), threading.Lock()
        self._news = threading.Condition(self._lock)
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.bot = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def messages(self) -> list[Accepted]:
        return self.inside.messages

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> BotApi:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Refuses connections from now on; stalled requests end."""
        if not self.closing.is_set():
            self.closing.set()
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()

    def fail(self, kind: str, times: int = 1, method: str | None = None, **details: Any) -> None:
        """Have the next `times` requests (of `method`) fail. Faults queue up; each request meets the first that fits it.

        kind: "429" (retry_after=seconds), any other code (description=), a code and " html" ("502 html", "200 html"),
        "reset" (connection cut, nothing accepted), "stall" (seconds=; then as usual, or nothing if the caller has gone),
        "half answer" and "accepted but no answer" (both accept the request), "migrate" (to=new chat id, for good), "kicked",
        "parse".
        """
        with self._lock:
            self.faults.append(Fault(kind, times, method, details))

    def meet(self, method: str) -> Fault | None:
        """The fault that a request of `method` meets now; counts it."""
        with self._lock:
            fault = next((f for f in self.faults if f.method in (None, method)), None)
            self.calls.append((method, fault.kind if fault else "as usual"))
            if fault:
                fault.times -= 1
                self.faults = [f for f in self.faults if f.times > 0]
            return fault

    def answer(self, method: str, fields: dict[str, str], photo: bytes | None) -> dict[str, Any]:
        """Return the answer that Telegram would give."""
        handle = self.inside.methods().get(method)
        if handle is None:
            return Refused(404, "Not Found: method not found").body
        with self._lock:
            try:
                if method == "getUpdates":
                    return {"ok": True, "result": self._poll(fields)}
                return {"ok": True, "result": handle(fields, photo)}
            except Refused as refused:
                return refused.body

    def press(self, message_id: int | str, button: str, **how: Any) -> dict[str, Any]:
        """See `Chat.press`. Wakes whoever waits for an update."""
        with self._news:
            update = self.inside.press(message_id, button, **how)
            self._news.notify_all()
            return update

    def say(self, text: str, **how: Any) -> dict[str, Any]:
        """See `Chat.say`. Wakes whoever waits for an update."""
        with self._news:
            update = self.inside.say(text, **how)
            self._news.notify_all()
            return update

    def _poll(self, fields: dict[str, str]) -> list[Any]:
        queue, ends = self.inside.queue, time.monotonic() + min(float(fields.get("timeout") or 0), 50)
        found = queue.read(fields)
        if not found and ends > time.monotonic():
            queue.polls += 1
            mine = queue.polls
            self._news.notify_all()
            while not found and not self.closing.is_set() and (left := ends - time.monotonic()) > 0:
                self._news.wait(min(left, 0.2))
                if queue.polls != mine:
                    raise Refused(409, OTHER_POLL)
                found = queue.read(fields)
        return found

    def control(self, order: dict[str, Any]) -> dict[str, Any]:
        """`fail(**order)`; forget all faults for {"clear": true}; set {"per_minute": 20 or null}; `press` for {"press": {...}},
        whose update is in the answer; nothing for {}. What the server holds."""
        if order.pop("clear", False):
            self.faults.clear()
        if "per_minute" in order:
            self.inside.per_minute = order.pop("per_minute")
        pressed = order.pop("press", None)
        try:
            update = {"update": self.press(**pressed)} if pressed else {}
        except Refused as refused:
            return refused.body
        if order:
            self.fail(**order)
        return {"ok": True, **self.holds(), **update}

    def holds(self) -> dict[str, Any]:
        """Return the number of messages, the present buttons, the answers to people, the faults to come, and the calls."""
        with self._lock:
            keyboards = [{"id": m.id, "plain": m.plain, "keyboard": m.keyboard} for m in self.messages if m.keyboard]
            told = {"messages": len(self.messages), "keyboards": keyboards, "answered": self.inside.queue.answered}
            return {**told, "faults": [asdict(f) for f in self.faults], "calls": self.calls}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    bot: BotApi

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's asks the DNS for our name, which can take seconds
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that has gone is what many tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        body, bot = self.rfile.read(int(self.headers.get("Content-Length") or 0)), self.server.bot
        path = self.path.partition("?")[0]
        token, _, method = path.removeprefix("/bot").partition("/")
        if path == "/control":
            self._say(bot.control(json.loads(body or b"{}")))
        elif token != bot.token:
            could_be_one = re.fullmatch(r"\d+:[\w-]+", token)
            self._say(Refused(401, "Unauthorized").body if could_be_one else Refused(404, "Not Found").body)
        else:
            self._meet(bot.meet(method) or Fault(""), method, *_form(self.headers.get("Content-Type", ""), body))

    def _meet(self, fault: Fault, method: str, fields: dict[str, str], photo: bytes | None) -> None:
        kind = fault.kind
        if kind == "stall" and self._gone_after(fault.details.get("seconds", 60)):
            return
        if kind == "reset":
            return self._reset()
        if kind.endswith(" html"):
            return self._send(int(kind[:3]), b"<html><body><h1>Bad Gateway</h1>nginx</body></html>", "text/html")
        if kind == "migrate":
            self.server.bot.inside.migrate(fields["chat_id"], str(fault.details.get("to", "-1009876543210")))
        refused = _refusal(kind, fault.details)
        answer = refused.body if refused else self.server.bot.answer(method, fields, photo)
        if kind == "accepted but no answer":
            self.close_connection = True
        else:
            self._say(answer, part=0.5 if kind == "half answer" else 1)

    def _gone_after(self, seconds: float) -> bool:
        """Wait, and return whether the caller has gone or the server is closing."""
        closing = self.server.bot.closing.wait(seconds)
        self.close_connection = True
        return closing or bool(select.select([self.connection], [], [], 0)[0] and not self.connection.recv(1, socket.MSG_PEEK))

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close sends RST
        os.close(self.connection.detach())  # close() would wait for rfile

    def _say(self, body: dict[str, Any], part: float = 1) -> None:
        self._send(body.get("error_code", 200), json.dumps(body).encode(), "application/json", part)

    def _send(self, code: int, body: bytes, kind: str, part: float = 1) -> None:
        self.close_connection = self.close_connection or part < 1
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: int(len(body) * part)])


def _refusal(kind: str, details: dict[str, Any]) -> Refused | None:
    """The answer that a fault stands for, if it is one."""
    if kind == "429":
        wait = details.get("retry_after", 1)
        return Refused(429, f"Too Many Requests: retry after {wait}", retry_after=wait)
    if kind.isdigit():
        return Refused(int(kind), details.get("description", "Internal Server Error"))
    if kind == "kicked":
        return Refused(403, "Forbidden: bot was kicked from the supergroup chat")
    if kind == "parse":
        return unreadable('Unsupported start tag "x" at byte offset 0')
    known = ("", "stall", "migrate", "half answer", "accepted but no answer")
    return None if kind in known else Refused(500, f"botapi.py knows no fault {kind!r}")


def _form(kind: str, body: bytes) -> tuple[dict[str, str], bytes | None]:
    """Fields and photo of a request, in any of the forms the Bot API takes."""
    if kind.startswith("application/json"):
        return {k: v if isinstance(v, str) else json.dumps(v) for k, v in json.loads(body or b"{}").items()}, None
    if not kind.startswith("multipart/"):
        return dict(parse_qsl(body.decode(), keep_blank_values=True)), None
    parts: dict[str, bytes] = {}
    for part in body.split(b"--" + kind.partition("boundary=")[2].strip('"').encode())[1:-1]:
        head, _, payload = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        parts[name[1].decode() if name else ""] = payload[:-2]  # the line break before the next boundary
    photo = parts.pop("photo", None)
    return {name: payload.decode() for name, payload in parts.items()}, photo


@pytest.fixture
def bot() -> Iterator[BotApi]:
    with BotApi() as api:
        yield api
