"""Messages to a chat, through Telegram's Bot API.

The token is part of every Bot API URL, so no library exception, traceback, frame or log record that holds one leaves this
module: a failed call comes back as an answer (`_post`), and the error is raised where no URL is in sight (`_result`).
"""

from __future__ import annotations

import json
import logging
import re
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from alerting.model import NotifyError
from alerting.notifiers.text import cut, cut_plain, encodable, plain

if TYPE_CHECKING:
    from alerting.model import Message

TEXT_LIMIT, CAPTION_LIMIT = 4096, 1024  # UTF-16 code units, counted after Telegram has read tags and entities
CONNECT_TIMEOUT = 5.0  # seconds; an answer may take longer than a connection
RETRY_PAUSE = 0.3  # seconds before the one further try after a refused connection
GENERAL_TOPIC = "1"  # a forum's first topic is addressed by leaving the topic out; with its number Telegram refuses

_CHAT = "check ALERTING_TELEGRAM_CHAT, and that the bot is in that chat"
_ACCESS = (  # "code description" of answers about the set-up, not about the message: it is kept, and here is what to do
    (r"40[14] ", "the bot token is not accepted: check ALERTING_TELEGRAM_TOKEN and ALERTING_TELEGRAM_URL"),
    (r"403 ", "the bot may not write there: add it to the chat again, let it send messages, check ALERTING_TELEGRAM_CHAT"),
    (r"400 .*(thread|topic)", "the topic is closed or gone: set ALERTING_TELEGRAM_TOPIC to an open one, or leave it empty"),
    (r"400 .*(rights|write|admin|restrict)", "let the bot send messages and photos in the chat"),
    (r"400 .*(chat|group|user)\b.*(not found|invalid|deactivated|upgraded|blocked|kicked|empty)", _CHAT),
    (r"400 .*peer_id_invalid", _CHAT),
)
_MARKUP = r"400 .*(can't parse|too.long|entit)"  # what plain text cannot suffer from


class _Answer(NamedTuple):
    """What the Bot API said, or (code 0) why it said nothing. Never holds the token."""

    ok: bool
    code: int
    description: str
    parameters: dict[str, Any]
    result: dict[str, Any]

    def says(self, pattern: str) -> bool:
        return not self.ok and bool(re.match(pattern, f"{self.code} {self.description}", re.IGNORECASE))


class Telegram:
    """A chat, through a bot. `notes`: what whoever keeps the settings should know, also after a success."""

    def __init__(self, token: str, chat: str, url: str, topic: str = "", timeout: float = 15.0) -> None:
        """`url`: of the Bot API server. `timeout`: seconds to wait for an answer."""
        self.chat, self.url, self.topic, self.timeout = chat, url.rstrip("/"), topic, timeout
        self.notes: list[str] = []
        self._token, self._host = token, re.sub(r"^\w+://|/.*|.*@", "", self.url)
        logging.getLogger("urllib3.connectionpool").addFilter(_without_token)  # at DEBUG it logs every path

    def __repr__(self) -> str:
        return f"Telegram(chat={self.chat!r}, url={self.url!r}, topic={self.topic!r})"

    def send(self, message: Message, reply_to: str = "") -> str:
        """Id of the accepted message. HTML that Telegram cannot read goes again as plain text: markup never costs an alert.

        Raises NotifyError: permanent when this very message will never do; otherwise it is worth keeping, be it for a
        broken line or for settings that somebody has to repair. "may have arrived" means that a repeat is possible.
        """
        method, field, limit = ("sendPhoto", "caption", CAPTION_LIMIT) if message.photo else ("sendMessage", "text", TEXT_LIMIT)
        text, place = encodable(message.text), self._place(reply_to)
        answer = self._ask(method, {field: cut(text, limit), "parse_mode": "HTML", **place}, message.photo)
        if answer.says(_MARKUP):
            self.notes.append(f"{message.key}: sent as plain text, for Telegram said: {answer.description}")
            answer = self._ask(method, {field: cut_plain(plain(text), limit), **place}, message.photo)
        return str(_result(method, answer).get("message_id", ""))

    def check(self) -> str:
        """Who can write where, in words. Nothing is sent. Raises NotifyError saying what to do."""
        bot, chat = (_result(method, self._ask(method, {})) for method in ("getMe", "getChat"))
        title = repr(chat.get("title") or chat.get("username") or self.chat)
        if chat.get("type") != "private":
            member = _result("getChatMember", self._ask("getChatMember", {"user_id": str(bot.get("id"))}))
            if not _may_write(chat, member):
                raise NotifyError(f"Telegram: bot @{bot.get('username')} may not write to chat {title}: let it send messages")
        if self.topic and chat.get("type") == "supergroup" and not chat.get("is_forum"):
            raise NotifyError(f"Telegram: chat {title} has no topics: leave ALERTING_TELEGRAM_TOPIC empty")
        return f"bot @{bot.get('username')} can write to chat {title}"

    def _place(self, reply_to: str) -> dict[str, str]:
        """Which topic, answering what, without a page preview. An id of another notifier ("console-3") answers nothing."""
        place = {"link_preview_options": '{"is_disabled": true}'}
        if self.topic not in ("", GENERAL_TOPIC):
            place["message_thread_id"] = self.topic
        if reply_to.isdigit():
            place["reply_parameters"] = json.dumps({"message_id": int(reply_to), "allow_sending_without_reply": True})
        return place

    def _ask(self, method: str, fields: dict[str, str], photo: bytes | None = None) -> _Answer:
        """The answer. A refused connection is tried once more, for nothing has arrived then; after anything else something
        may have. A group that has become a supergroup is followed, once."""
        answer, refused = self._post(method, fields, photo)
        if refused:
            time.sleep(RETRY_PAUSE)
            answer, _ = self._post(method, fields, photo)
        if moved := answer.parameters.get("migrate_to_chat_id"):
            self.notes.append(f"Telegram: chat {self.chat} has become {moved}: set ALERTING_TELEGRAM_CHAT={moved}")
            self.chat = str(moved)
            answer, _ = self._post(method, fields, photo)
        return answer

    def _post(self, method: str, fields: dict[str, str], photo: bytes | None) -> tuple[_Answer, bool]:
        """The answer, and whether no connection came about. Never raises: its locals and its errors hold the token."""
        import requests  # 0.1 s that a quiet run does not need
        from urllib3.exceptions import HTTPError

        try:
            response = requests.post(
                f"{self.url}/bot{self._token}/{method}",
                data={"chat_id": self.chat, **fields},
                files={"photo": ("picture.png", photo, "image/png")} if photo else None,
                timeout=(min(CONNECT_TIMEOUT, self.timeout), self.timeout),
                allow_redirects=False,  # a redirect would carry the alert, as a GET, to who knows where
            )
        except (OSError, ValueError, HTTPError) as error:  # RequestException is an OSError
            return _unanswered(error, self._host)
        body = response.content.decode("utf-8", "replace")
        return _read(response.status_code, body.replace(self._token, "<token>")), False  # some proxies quote the URL


def _without_token(record: logging.LogRecord) -> bool:
    record.msg, record.args = re.sub(r"/bot[^/\s]+", "/bot<token>", record.getMessage()), ()
    return True


def _read(status: int, body: str) -> _Answer:
    """The Bot API's answer in `body`; for anything else an answer that says what came instead."""
    try:
        told = json.loads(body)
    except ValueError:
        told = None
    if isinstance(told, dict) and isinstance(told.get("ok"), bool):
        parameters, result = (part if isinstance(part, dict) else {} for part in map(told.get, ("parameters", "result")))
        return _Answer(told["ok"], told.get("error_code", status), str(told.get("description", ""))[:300], parameters, result)
    if 200 <= status < 300:
        return _failed("half an answer, or not the Bot API's: the message may have arrived")
    if status in (404, 413):  # the path is wrong, or the web server before the Bot API finds the picture too large
        return _failed("not the Bot API's answer", status)
    return _failed(f"{status}, not the Bot API's answer: it is down, or ALERTING_TELEGRAM_URL or a proxy leads elsewhere")


def _failed(description: str, code: int = 0) -> _Answer:
    return _Answer(False, code, description, {}, {})


def _unanswered(error: Exception, host: str) -> tuple[_Answer, bool]:
    """What a broken line looks like, and whether no connection came about at all (refused, or no such host).

    Only the error's type is told: its text holds the URL.
    """
    from urllib3.exceptions import NewConnectionError

    name = type(error).__name__
    refused = isinstance(getattr(error.args[0] if error.args else None, "reason", None), NewConnectionError)
    if refused or name in ("ConnectTimeout", "ProxyError", "SSLError", "InvalidURL"):
        return _failed(f"{host} cannot be reached ({name}): check the network, a proxy, and ALERTING_TELEGRAM_URL"), refused
    return _failed(f"no answer from {host} ({name}): the message may have arrived"), False


def _result(method: str, answer: _Answer) -> dict[str, Any]:
    """What was asked for. Raises NotifyError for an answer that says no."""
    if answer.ok:
        return answer.result
    text = f"Telegram {method}: " + (f"{answer.code} {answer.description}" if answer.code else answer.description)
    for pattern, advice in _ACCESS:
        if answer.says(pattern):
            raise NotifyError(f"{text}: {advice}")
    if answer.code == 429:
        wait = answer.parameters.get("retry_after")
        raise NotifyError(text, retry_after=float(wait) if isinstance(wait, int | float) else 1.0)
    raise NotifyError(text, permanent=answer.code in (400, 413))


def _may_write(chat: dict[str, Any], member: dict[str, Any]) -> bool:
    status, channel = member.get("status"), chat.get("type") == "channel"
    if status in ("left", "kicked"):
        return False
    if status == "creator" or (status == "administrator" and not channel):
        return True
    rights = {**(chat.get("permissions") or {}), **member}  # what this member may do goes before what everyone may
    return bool(rights.get("can_post_messages" if channel else "can_send_messages", not channel))
