"""The chat of the local Bot API server: the requests that Telegram accepts or refuses, and its error texts."""

from __future__ import annotations

import html
import itertools
import json
import math
import re
import struct
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

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
    """An answer of Telegram with `ok: false`."""

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


def units(text: str) -> int:
    """UTF-16 code units, as Telegram counts."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def read_html(text: str) -> str:
    """The plain text of Telegram HTML. Raises Refused in Telegram's words when a tag is unknown, unclosed or crossed."""
    opened: list[str] = []
    for tag in _TAG.finditer(text):
        name, offset = (tag["name"] or "").lower(), len(text[: tag.start()].encode())
        if tag["end"] and not opened:
            raise unreadable(f"Unexpected end tag at byte offset {offset}")
        if tag["end"] and name != opened[-1]:
            raise unreadable(f'Unmatched end tag at byte offset {offset}, expected "</{opened[-1]}>", found "</{name}>"')
        if tag["end"]:
            opened.pop()
        elif name in TAGS:
            opened.append(name)
        else:
            raise unreadable(f'Unsupported start tag "{name}" at byte offset {offset}')
    if opened:
        raise unreadable(f'Can\'t find end tag corresponding to start tag "{opened[-1]}"')
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), _TAG.sub("", text))


def unreadable(why: str) -> Refused:
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
            "editMessageText": lambda fields, photo: self.edit({"text": "", **fields}, None, "text"),
            "editMessageCaption": lambda fields, photo: self.edit(fields, None, "caption"),
            "editMessageMedia": lambda fields, photo: self.edit({**fields, **json.loads(fields["media"])}, photo, "media"),
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

    def edit(self, fields: dict[str, str], photo: bytes | None, what: str) -> dict[str, Any]:
        """Another text, caption or picture with a caption, and the keyboard with it: none takes away the one there was."""
        message = self.find(fields.get("message_id", ""), self._find(fields))
        if message is None:
            raise Refused(400, "Bad Request: message to edit not found")
        if (what == "text") != (message.method == "sendMessage"):
            raise Refused(400, f"Bad Request: there is no {what} in the message to edit")
        if what == "media":
            _check_picture(photo)
        text = fields.get("text" if what == "text" else "caption", "")
        plain, keyboard = _seen(text, fields, 4096 if what == "text" else 1024), _keyboard(fields)
        if (text, keyboard, photo or message.photo) == (message.text, message.keyboard, message.photo):
            same = "specified new message content and reply markup are exactly the same as a current content and reply markup"
            raise Refused(400, f"Bad Request: message is not modified: {same} of the message")
        self._pace()
        message.text, message.plain, message.keyboard, message.edits = text, plain, keyboard, message.edits + 1
        message.photo = photo or message.photo
        return self._remember(message)

    def delete(self, number: int | str) -> None:
        """Somebody deletes a message: from now on nothing can edit it, or be its answer."""
        next(message for message in self.messages if message.id == str(number)).chat = "deleted"

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

    def say(self, text: str, user: Any = None, chat: str = "") -> dict[str, Any]:
        """Somebody writes in the chat; the update that comes of it. `user`, `chat`: see `press`."""
        who = user if isinstance(user, dict) else {} if user is None else {"id": user, "username": ""}
        said = {"message_id": 10_000, "from": {**ANNA, **who}, "chat": _chat(chat or self.chat), "text": text}
        return self.queue.add("message", said)

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
        found = next((m for m in self.messages if m.id == str(reply.get("message_id")) and m.chat != "deleted"), None)
        if reply and not found and not reply.get("allow_sending_without_reply"):
            raise Refused(400, "Bad Request: message to be replied not found")
        return found.id if found else ""

    def _remember(self, message: Accepted) -> dict[str, Any]:
        if self._log:
            with self._log.open("a", encoding="utf-8") as log:
                log.write(message.line() + "\n")
        return {"message_id": int(message.id), "chat": _chat(message.chat), "date": int(message.at), "text": message.plain}


class Queue:
    """The actions of people that no bot has read yet, and the bot's answers to them.

    `updates`: oldest first. `answered`: fields of every accepted answerCallbackQuery. `webhook`: its URL, "" if there is none.
    """

    def __init__(self) -> None:
        self.updates, self.answered = list[Any](), list[dict[str, str]]()
        self.webhook, self.polls = "", 0
        self._numbers, self._queries = itertools.count(700_001), set[str]()

    def put(self, query: dict[str, Any]) -> dict[str, Any]:
        update = self.add("callback_query", query)
        query["id"] = f"48{update['update_id']}"
        self._queries.add(query["id"])
        return update

    def add(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        update = {"update_id": next(self._numbers), kind: fields}
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
