"""A local HTTP server that speaks enough of Telegram's Bot API, refuses what Telegram refuses, and fails as it is told to.

In a test: `with BotApi() as bot: ...`, or the fixture `bot`. As a process of its own: `python tests/botapi.py PORTFILE LOGFILE`
writes its port, appends every accepted message to LOGFILE as a line of JSON, and takes POST /control with
`{"kind": "429", "times": 2, "retry_after": 7}` (one more fault), `{"clear": true}`, `{"per_minute": 20}` or
`{"press": {"message_id": 101, "button": "take"}}`; GET /control tells what it holds, and which messages have buttons.
"""

from __future__ import annotations

import html
import itertools
import json
import math
import os
import re
import select
import signal
import socket
import socketserver
import struct
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

TOKEN = "123456789:AAF-local_fake-token-0123456789abcdef"
CHAT = "-1001234567890"
TAGS = frozenset(
    "b strong i em u ins s strike del span tg-spoiler a tg-emoji code pre blockquote".split()  # noqa: SIM905
)
_TAG = re.compile(r"""<(?P<end>/?)(?P<name>[^\s<>]*)(?:\s+[\w-]+(?:=(?:"[^"]*"|'[^']*'|[\w.-]+))?)*\s*>|<""")
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|#\d+|#x[\da-fA-F]+);")
ANNA = {"id": 4242, "is_bot": False, "first_name": "Anna", "username": "anna_duty"}
OTHER_POLL = "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"
WEBHOOK = "Conflict: can't use getUpdates method while webhook is active; use deleteWebhook to delete the webhook first"


class Refused(Exception):
    """What Telegram answers with `ok: false`."""

    def __init__(self, code: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.body = {"ok": False, "error_code": code, "description": description}
        if parameters:
            self.body["parameters"] = parameters


@dataclass
class Accepted:
    """A message that is in the chat. `text` as sent, `plain` as people see it; `thread` and `reply_to` "" if there is none.

    `keyboard`: rows of buttons, each with `text` and `callback_data`. `edits`: how often it was edited.
    """

    id: str
    method: str
    chat: str
    text: str
    plain: str
    reply_to: str = ""
    thread: str = ""
    photo: bytes | None = field(default=None, repr=False)
    fields: dict[str, str] = field(default_factory=dict, repr=False)
    at: float = field(default_factory=time.time)  # epoch seconds
    edits: int = 0
    keyboard: list[list[dict[str, str]]] = field(default_factory=list)

    @property
    def buttons(self) -> list[dict[str, str]]:
        return [button for row in self.keyboard for button in row]

    def line(self) -> str:
        """One line of JSON; of the photo only its size in bytes."""
        return json.dumps({**asdict(self), "photo": None if self.photo is None else len(self.photo)}, ensure_ascii=False)


@dataclass
class Fault:
    """What happens to the next `times` requests of `method` (None: of any)."""

    kind: str
    times: int = 1
    method: str | None = None
    details: dict[str, Any] = field(default_factory=dict)


def units(text: str) -> int:
    """UTF-16 code units, as Telegram counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def read_html(text: str) -> str:
    """The plain text of Telegram HTML. Raises Refused in Telegram's words when a tag is unknown, unclosed or crossed."""
    opened: list[str] = []
    for tag in _TAG.finditer(text):
        name, offset = (tag["name"] or "").lower(), len(text[: tag.start()].encode())
        if tag["end"] and not opened:
            raise _unreadable(f"Unexpected end tag at byte offset {offset}")
        if tag["end"] and name != opened[-1]:
            raise _unreadable(f'Unmatched end tag at byte offset {offset}, expected "</{opened[-1]}>", found "</{name}>"')
        if tag["end"]:
            opened.pop()
        elif name in TAGS:
            opened.append(name)
        else:
            raise _unreadable(f'Unsupported start tag "{name}" at byte offset {offset}')
    if opened:
        raise _unreadable(f'Can\'t find end tag corresponding to start tag "{opened[-1]}"')
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), _TAG.sub("", text))


def _unreadable(why: str) -> Refused:
    return Refused(400, f"Bad Request: can't parse entities: {why}")


class Chat:
    """The bot's one chat and what Telegram checks before a message is in it. Methods raise Refused.

    `messages`: what was accepted, oldest first. `known` and `topics`: the chats and topics that exist (topics None: every
    topic; an empty set: no forum). `moved`: groups that became supergroups. `per_minute`: how many messages and edits are
    accepted within a minute of `clock` (None: any number). `queue`: what people do, for getUpdates.
    """

    def __init__(self, token: str, chat: str, log: Path | None) -> None:
        self.token, self.chat, self._log = token, chat, log
        self.known, self.moved = {chat}, dict[str, str]()
        self.topics: set[str] | None = None
        self.permissions, self.member = {"can_send_messages": True}, {"status": "member"}
        self.messages, self.queue = _logged(log), Queue()
        self.per_minute: int | None = None
        self.clock, self._accepted = time.monotonic, list[float]()

    @property
    def updates(self) -> list[Any]:
        """The queue's updates; a test may put anything there."""
        return self.queue.updates

    @updates.setter
    def updates(self, updates: list[Any]) -> None:
        self.queue.updates = updates

    def methods(self) -> dict[str, Any]:
        return {
            "getMe": lambda fields, photo: self.bot(),
            "getChat": lambda fields, photo: self.about(fields),
            "getChatMember": lambda fields, photo: {"user": self.bot(), **self.member, "chat": self._find(fields)},
            "sendChatAction": lambda fields, photo: bool(self._find(fields)),
            "getWebhookInfo": lambda fields, photo: {"url": self.queue.webhook, "pending_update_count": len(self.updates)},
            "deleteWebhook": lambda fields, photo: self.queue.listen_again(),
            "getUpdates": lambda fields, photo: self.queue.read(fields),
            "answerCallbackQuery": lambda fields, photo: self.queue.answer(fields),
            "sendMessage": lambda fields, photo: self.send({"text": "", **fields}, None),
            "sendPhoto": self.send,
            "editMessageText": lambda fields, photo: self.edit(fields),
        }

    def bot(self) -> dict[str, Any]:
        return {"id": int(self.token.split(":")[0]), "is_bot": True, "first_name": "Alerts", "username": "alerts_bot"}

    def about(self, fields: dict[str, str]) -> dict[str, Any]:
        chat, forum = self._find(fields), self.topics != set()
        return {**_chat(chat), "is_forum": forum, "permissions": self.permissions}

    def send(self, fields: dict[str, str], photo: bytes | None) -> dict[str, Any]:
        """A text if there is a field of that name, else a picture."""
        chat, thread, picture = self._find(fields), fields.get("message_thread_id", ""), "text" not in fields
        if picture:
            _check_picture(photo)
        text = fields.get("caption" if picture else "text", "")
        plain, keyboard = _seen(text, fields, 1024 if picture else 4096), _keyboard(fields)
        if thread and (thread == "1" or (self.topics is not None and thread not in self.topics)):
            raise Refused(400, "Bad Request: message thread not found")
        answered = self._answered(fields)
        self._pace()
        number, method = str(101 + len(self.messages)), "sendPhoto" if picture else "sendMessage"
        message = Accepted(number, method, chat, text, plain, answered, thread, photo, fields, keyboard=keyboard)
        self.messages.append(message)
        return self._remember(message)

    def edit(self, fields: dict[str, str]) -> dict[str, Any]:
        """Another text, and the keyboard that comes with it: none takes away the one there was."""
        message = self.find(fields.get("message_id", ""), self._find(fields))
        if message is None:
            raise Refused(400, "Bad Request: message to edit not found")
        if message.photo is not None:
            raise Refused(400, "Bad Request: there is no text in the message to edit")
        plain, keyboard = _seen(fields.get("text", ""), fields, 4096), _keyboard(fields)
        if (fields["text"], keyboard) == (message.text, message.keyboard):
            same = "specified new message content and reply markup are exactly the same as a current content and reply markup"
            raise Refused(400, f"Bad Request: message is not modified: {same} of the message")
        self._pace()
        message.text, message.plain, message.keyboard, message.edits = fields["text"], plain, keyboard, message.edits + 1
        return self._remember(message)

    def find(self, number: int | str, chat: str | None = None) -> Accepted | None:
        return next((m for m in self.messages if m.id == str(number) and chat in (None, m.chat)), None)

    def press(
        self, message_id: int | str, button: str, user: Any = None, chat: str = "", data: str | None = None
    ) -> dict[str, Any]:
        """Somebody presses a button, named by its text or by the action its data begins with; the update that comes of it.

        `user`: an id, or fields of a User. `chat`: where, if not in the message's. `data`: sent in place of the button's, as
        a client of one's own can.
        """
        message = self.find(message_id)
        if message is None:
            raise Refused(400, f"no message {message_id}")
        found = [b for b in message.buttons if button == b["text"] or button == b["callback_data"].partition(":")[0]]
        if not found and data is None:
            raise Refused(400, f"no button {button!r} under message {message_id}: {[b['text'] for b in message.buttons]}")
        seen = {"message_id": int(message.id), "from": self.bot(), "chat": _chat(chat or message.chat), "date": int(message.at)}
        seen |= {"text": message.plain, "reply_markup": {"inline_keyboard": message.keyboard}}
        who = user if isinstance(user, dict) else ANNA if user in (None, ANNA["id"]) else {**ANNA, "id": user, "username": ""}
        sent = found[0]["callback_data"] if data is None else data
        return self.queue.put({"from": {**ANNA, **who}, "message": seen, "chat_instance": "1", "data": sent})

    def migrate(self, old: str, new: str) -> None:
        self.known, self.moved = {*self.known - {old}, new}, {**self.moved, old: new}

    def _find(self, fields: dict[str, str]) -> str:
        chat = fields.get("chat_id", "")
        if chat in self.moved:
            new = int(self.moved[chat])
            raise Refused(400, "Bad Request: group chat was upgraded to a supergroup chat", migrate_to_chat_id=new)
        if chat not in self.known:
            raise Refused(400, "Bad Request: chat not found" if chat else "Bad Request: chat_id is empty")
        return chat

    def _pace(self) -> None:
        """One more message or edit. Raises Refused when there were too many within a minute."""
        now = self.clock()
        self._accepted = [at for at in self._accepted if at > now - 60]
        if self.per_minute is not None and len(self._accepted) >= self.per_minute:
            wait = math.ceil(self._accepted[-self.per_minute] + 60 - now) if self.per_minute else 60
            raise Refused(429, f"Too Many Requests: retry after {wait}", retry_after=wait)
        self._accepted.append(now)

    def _answered(self, fields: dict[str, str]) -> str:
        reply = json.loads(fields.get("reply_parameters", "{}"))
        found = self.find(reply.get("message_id", ""))
        if reply and not found and not reply.get("allow_sending_without_reply"):
            raise Refused(400, "Bad Request: message to be replied not found")
        return found.id if found else ""

    def _remember(self, message: Accepted) -> dict[str, Any]:
        if self._log:
            with self._log.open("a", encoding="utf-8") as log:
                log.write(message.line() + "\n")
        return {"message_id": int(message.id), "chat": _chat(message.chat), "date": int(message.at), "text": message.plain}


class Queue:
    """What people did, until a bot has read it; and what it answered them.

    `updates`: oldest first. `answered`: fields of every accepted answerCallbackQuery. `webhook`: its URL, "" if there is none.
    """

    def __init__(self) -> None:
        self.updates, self.answered = list[Any](), list[dict[str, str]]()
        self.webhook, self.polls = "", 0
        self._numbers, self._queries = itertools.count(700_001), set[str]()

    def put(self, query: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        update = {"update_id": number, "callback_query": {"id": f"48{number}", **query}}
        self._queries.add(f"48{number}")
        self.updates.append(update)
        return update

    def begin_again(self, number: int) -> None:
        """The next update has this number, as after a week without any."""
        self._numbers = itertools.count(number)

    def read(self, fields: dict[str, str]) -> list[Any]:
        """Updates from the offset on; those before it are forgotten. An offset far in the future counts for none, as at
        Telegram. What is no update has no number, so it stays."""
        if self.webhook:
            raise Refused(409, WEBHOOK)
        offset, limit = int(fields.get("offset") or 0), min(max(int(fields.get("limit") or 100), 1), 100)
        numbers = [number for number in map(_number, self.updates) if number is not None]
        if offset < 0:
            offset = numbers[offset] if -offset <= len(numbers) else 0
        if offset <= max(numbers, default=0) + 11:
            self.updates[:] = [u for u in self.updates if (n := _number(u)) is None or n >= offset]
        return self.updates[:limit]

    def answer(self, fields: dict[str, str]) -> bool:
        if fields.get("callback_query_id") not in self._queries:
            raise Refused(400, "Bad Request: query is too old and response timeout expired or query ID is invalid")
        if units(fields.get("text", "")) > 200:
            raise Refused(400, "Bad Request: MESSAGE_TOO_LONG")
        self.answered.append(fields)
        return True

    def listen_again(self) -> bool:
        self.webhook = ""
        return True


def _chat(number: str) -> dict[str, Any]:
    if number.startswith("@"):
        return {"id": -1001111111111, "type": "channel", "title": "On duty", "username": number[1:]}
    kind = "supergroup" if number.startswith("-100") else "group" if number.startswith("-") else "private"
    return {"id": int(number), "type": kind, "title": "On duty"}


def _number(update: Any) -> int | None:
    number = update.get("update_id") if isinstance(update, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _keyboard(fields: dict[str, str]) -> list[list[dict[str, str]]]:
    """The buttons that come with a message. Raises Refused for what Telegram refuses."""
    try:
        markup = json.loads(fields.get("reply_markup") or "{}")
        rows = [
            [{"text": b["text"], "callback_data": b["callback_data"]} for b in row] for row in markup.get("inline_keyboard", [])
        ]
    except (ValueError, TypeError, KeyError, AttributeError):
        raise Refused(400, "Bad Request: object expected as reply markup") from None
    for button in (button for row in rows for button in row):
        if not isinstance(button["text"], str) or not button["text"].strip():
            raise Refused(400, 'Bad Request: can\'t parse inline keyboard button: field "text" must not be empty')
        if not 1 <= len(button["callback_data"].encode()) <= 64:
            raise Refused(400, "Bad Request: BUTTON_DATA_INVALID")
    return [row for row in rows if row]


def _logged(log: Path | None) -> list[Accepted]:
    """The messages of a server that wrote this log before, but for their photos."""
    lines = log.read_text(encoding="utf-8").splitlines() if log and log.exists() else []
    told = {entry["id"]: Accepted(**{**entry, "photo": None}) for entry in map(json.loads, lines)}  # an edit is a second line
    return list(told.values())


def _seen(text: str, fields: dict[str, str], limit: int) -> str:
    plain = (read_html(text) if fields.get("parse_mode") == "HTML" else text).strip()
    if not plain and "text" in fields:
        raise Refused(400, "Bad Request: message text is empty")
    if units(plain) > limit:
        raise Refused(400, "Bad Request: message is too long" if "text" in fields else "Bad Request: message caption is too long")
    return plain


def _check_picture(photo: bytes | None) -> None:
    if not photo:
        raise Refused(400, "Bad Request: there is no photo in the request")
    if not photo.startswith(b"\x89PNG\r\n\x1a\n") or len(photo) < 45:  # signature, IHDR and IEND at the least
        raise Refused(400, "Bad Request: IMAGE_PROCESS_FAILED")
    width, height = struct.unpack(">II", photo[16:24])
    if width + height > 10_000 or max(width, height) > 20 * min(width, height):
        raise Refused(400, "Bad Request: PHOTO_INVALID_DIMENSIONS")


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
        """What Telegram would say."""
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
        """How many messages, which of them have buttons (as of now), what people were answered, what goes wrong next."""
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
        """Whether the caller has gone after a stall, or the server is closing."""
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
        return _unreadable('Unsupported start tag "x" at byte offset 0')
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


def main(portfile: str, logfile: str) -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: stop.set())
    with BotApi(Path(logfile)) as api:
        fresh = Path(f"{portfile}.new")
        fresh.write_text(str(api.port), encoding="ascii")
        os.replace(fresh, portfile)  # whoever waits for the file never reads half of it
        stop.wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
