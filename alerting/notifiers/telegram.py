"""A Telegram chat: messages to it, the buttons that people press there, and the commands that they write.

The URL of every request to the Bot API contains the bot's token. No exception, traceback, frame or log record contains it
(`alerting.http_client`): a failed request is returned as a response, and `result` raises the error in a frame without the URL.
"""

import json
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from alerting.model.errors import NotifyError
from alerting.model.message import ButtonPress, ChatCommand, Message, Received
from alerting.notifiers.base import RETRY_PAUSE, cut_html, cut_plain, encodable, html_to_text
from alerting.notifiers.telegram_updates import identifier, json_object, markup, parse_update, secret
from alerting.settings import Settings

TEXT_LIMIT, CAPTION_LIMIT = 4096, 1024  # UTF-16 code units, counted by Telegram without tags and with entities as characters
CONFIRM_LIMIT = 200
CONFIRM_TIMEOUT = 5.0  # seconds; after that the person does not wait any more
GENERAL_TOPIC = "1"  # the first topic of a forum: Telegram refuses this number, and uses the topic if none is given
PAGE_SIZE, MAX_PAGES = 100, 20  # updates in one answer, and answers that are read in a row
MAX_POLL = 50.0  # seconds
MAX_READ = 10.0  # seconds after which no further page is read
UPDATES = '["callback_query", "message"]'  # the kinds of updates to read
NO_PREVIEW = {"link_preview_options": '{"is_disabled": true}'}

_MARKUP_REFUSED = r"400 .*(can't parse|too.long|entit)"  # errors that plain text cannot have
_BUTTONS_REFUSED = r"400 .*(button_|keyboard|reply_markup_|as reply markup)"
_NOT_THE_PICTURE = r"(40[1349]|429) |400 (?!.*photo).*(chat|user|peer|thread|topic|repl)"  # the text would fail as well
_SAME = r"400 .*not modified"
_PHOTO_ID = "photo-"  # start of our ids of messages with a picture; an edit changes the caption, not the text

MAX_RETRY_AFTER = 86_400.0  # longest `retry_after` that is used, seconds
MAX_DESCRIPTION = 300  # characters of a description that errors repeat
SENDING = ("send", "edit")  # beginnings of methods that may have changed the chat even if no answer came

_CHAT = "check ALERTING_TELEGRAM_CHAT, and that the bot is in that chat"
_OWN_BOT = "or give the alerts a bot of their own"
_ACCESS = (  # pattern of "code description" for errors of the set-up, and what to do; the message is kept
    (r"40[14] ", "the bot token is not accepted: check ALERTING_TELEGRAM_TOKEN and ALERTING_TELEGRAM_URL"),
    (r"403 ", "the bot may not write there: add it to the chat again, let it send messages, check ALERTING_TELEGRAM_CHAT"),
    (r"409 .*webhook", f"a webhook takes this bot's updates: call deleteWebhook, {_OWN_BOT}"),
    (r"409 ", f"another program reads this bot's updates: stop it, {_OWN_BOT}"),
    (r"400 .*(thread|topic)", "the topic is closed or gone: set ALERTING_TELEGRAM_TOPIC to an open one, or leave it empty"),
    (r"400 .*(rights|write|admin|restrict)", "let the bot send messages and photos in the chat"),
    (r"400 .*(chat|group|user)\b.*(not found|invalid|deactivated|upgraded|blocked|kicked|empty)", _CHAT),
    (r"400 .*peer_id_invalid", _CHAT),
)


class BotResponse(NamedTuple):
    """An answer of the Bot API, or (code 0) the reason why there is none. It never contains the token."""

    ok: bool
    code: int
    description: str
    parameters: Mapping[str, Any] = MappingProxyType({})
    result: Any = None
    unsure: bool = False  # the request may have been carried out

    def refused_with(self, pattern: str) -> bool:
        """Return whether it is an error whose "code description" begins with this pattern."""
        return not self.ok and bool(re.match(pattern, f"{self.code} {self.description}", re.IGNORECASE))

    @property
    def moved_to(self) -> str:
        """The id of the supergroup that the chat has become; "" if the answer has none."""
        moved = identifier(self.parameters.get("migrate_to_chat_id"))
        return moved if re.fullmatch(r"-?[0-9]{1,20}", moved) else ""


class Telegram:
    """A chat, reached by a bot. `notes`: remarks about the settings, also after a success.

    `url`: address of the Bot API server. `timeout`: seconds for a request. `users`: who may press buttons: ids or @names with
    commas between; * for everyone in the chat; "" for nobody.
    """

    def __init__(self, token: str, chat: str, url: str, topic: str = "", timeout: float = 15.0, users: str = "") -> None:
        self.chat, self.url, self.topic, self.timeout = chat, url.rstrip("/"), topic, timeout
        self.users = frozenset(name.strip().lower() for name in users.split(",") if name.strip())
        self.notes: list[str] = []
        self._username = ""  # name of the bot, after the first request for it
        self._token, self._secret, self._host = token, secret(token), re.sub(r"^\w+://|/.*|.*@", "", self.url)
        self._same_chats, self._other_chats = {chat.lower()}, set[str]()  # ids and @names that are this chat, and are not

    def send(self, message: Message, reply_to: str = "") -> str:
        """Return the id of the sent message. The id shows whether the message has a picture.

        HTML that Telegram cannot parse is sent again as plain text. If the picture cannot be sent, the text is sent without it.
        `reply_to`: the id of the message that it answers; an id of another notifier ("console-3") is ignored. Raises NotifyError.
        It is permanent if this message can never be accepted; any other may succeed later, when the network works or the settings
        were corrected. "may have arrived" in its text means that a repeat is possible.
        """
        fields = dict(NO_PREVIEW)
        if self.topic not in ("", GENERAL_TOPIC):
            fields["message_thread_id"] = self.topic
        if answered := _message_number(reply_to):
            fields["reply_parameters"] = json.dumps({"message_id": int(answered), "allow_sending_without_reply": True})
        if message.quiet:
            fields["disable_notification"] = "true"
        if message.photo:
            response = self._send_text("sendPhoto", message, fields, message.photo)
            if response.ok or response.refused_with(_NOT_THE_PICTURE):
                return _PHOTO_ID + identifier(json_object(result("sendPhoto", response)).get("message_id"))
            self.notes.append(f"{message.key}: sent without its picture, for Telegram said: {response.description}")
        response = self._send_text("sendMessage", message, fields)
        return identifier(json_object(result("sendMessage", response)).get("message_id"))

    def edit(self, message: Message, message_id: str) -> None:
        """Replace text and buttons of the message with this id. Without new buttons, the old ones are removed.

        If both messages have a picture, it is replaced, too; if the new one is refused, the old one stays, with a note. An edit
        may be repeated. Raises NotifyError; it is permanent if there is no message that can be edited.
        """
        number, is_photo = _message_number(message_id), message_id.startswith(_PHOTO_ID)
        if not number:
            raise NotifyError(f"Telegram: {message_id!r} is not the id of a message in this chat", permanent=True)
        fields, photo, refused = {"message_id": number}, message.photo if is_photo else None, ""
        if photo:
            response = self._send_text("editMessageMedia", message, fields, photo)
            if response.ok or response.refused_with("429 "):
                result("editMessageMedia", response)
                return
            refused = "" if response.refused_with(_SAME) else response.description
        method = "editMessageCaption" if is_photo else "editMessageText"
        response = self._send_text(method, message, fields if is_photo else {**NO_PREVIEW, **fields})
        if not response.refused_with(_SAME):
            result(method, response)
        if refused:
            self.notes.append(f"{message.key}: its old picture stays, for Telegram said: {refused}")

    def button_presses(self, since: int, wait: float = 0.0) -> list[Received]:
        """Return presses and commands from update number `since` on, oldest first, refused ones included.

        The next call must begin at `presses[-1].update_id + 1`, even if that is less than before: after a week without updates
        Telegram starts a new count. A request for later updates makes Telegram delete the earlier ones. So a further page is read
        only after a page of refused presses; the caller must store any other press first. `wait`: seconds to wait for the first
        press. Raises NotifyError.
        """
        presses: dict[int, Received] = {}
        ends = time.monotonic() + MAX_READ + wait
        for _ in range(MAX_PAGES):
            wait = min(max(wait, 0.0), MAX_POLL)
            fields = {"offset": str(since), "timeout": str(int(wait)), "limit": str(PAGE_SIZE), "allowed_updates": UPDATES}
            updates = result("getUpdates", self._post("getUpdates", fields, timeout=self.timeout + wait))
            if not isinstance(updates, list):
                raise NotifyError("Telegram getUpdates: no list of updates, so not the Bot API's answer")
            page = [press for press in map(self._received, updates) if press]
            if updates and not page:
                raise NotifyError("Telegram getUpdates: updates without a number, so not the Bot API's answer")
            presses |= {press.update_id: press for press in page}
            if len(updates) < PAGE_SIZE or not all(press.refused for press in page) or time.monotonic() > ends:
                break
            since, wait = page[-1].update_id + 1, 0.0
        return list(presses.values())

    def confirm(self, answer: ButtonPress, text: str) -> None:
        """Show `text` to the person who pressed. If the press was refused, it is a window that the person must close.

        Never raises: Telegram accepts a confirmation only for a short time, so another try would not help.
        """
        if answer.callback_id:
            shown = {"text": cut_plain(encodable(text), CONFIRM_LIMIT), "show_alert": "true" if answer.refused else "false"}
            timeout = min(CONFIRM_TIMEOUT, self.timeout)
            self._post("answerCallbackQuery", {"callback_query_id": answer.callback_id, **shown}, timeout=timeout)

    def check(self) -> str:
        """Return a text: which bot can write to which chat, and who may press buttons. Nothing is sent. Raises NotifyError."""
        bot, chat, hook = (self._query(method) for method in ("getMe", "getChat", "getWebhookInfo"))
        title = repr(chat.get("title") or chat.get("username") or self.chat)
        if chat.get("type") != "private":
            member = self._query("getChatMember", user_id=str(bot.get("id")))
            if not _may_write(chat, member):
                raise NotifyError(f"Telegram: bot @{bot.get('username')} may not write to chat {title}: let it send messages")
        if self.topic and chat.get("type") == "supergroup" and not chat.get("is_forum"):
            raise NotifyError(f"Telegram: chat {title} has no topics: leave ALERTING_TELEGRAM_TOPIC empty")
        pressers = "nobody may press them, set ALERTING_TELEGRAM_USERS"
        if self.users:
            pressers = f"{'everyone in the chat' if '*' in self.users else ', '.join(sorted(self.users))} may press them"
        taken = ", but a webhook takes what they press: getUpdates will not work until deleteWebhook" if hook.get("url") else ""
        return f"bot @{bot.get('username')} can write to chat {title}; buttons: {pressers}{taken}"

    def _send_text(self, method: str, message: Message, fields: dict[str, str], photo: bytes | None = None) -> BotResponse:
        """Return the response to a message with text and buttons. If Telegram cannot parse markup or buttons, leave them out."""
        is_caption = method not in ("sendMessage", "editMessageText")
        field, limit = ("caption", CAPTION_LIMIT) if is_caption else ("text", TEXT_LIMIT)
        text, keyboard = encodable(message.text), markup(message, self._secret)
        text_fields = {field: cut_html(text, limit), "parse_mode": "HTML"}
        while True:
            shown = text_fields
            if method == "editMessageMedia":
                shown = {"media": json.dumps({"type": "photo", "media": "attach://photo", **text_fields}, ensure_ascii=False)}
            response = self._call(method, {**shown, **fields, **keyboard}, photo)
            if keyboard and response.refused_with(_BUTTONS_REFUSED):
                lost, keyboard = "without buttons", {}
            elif "parse_mode" in text_fields and response.refused_with(_MARKUP_REFUSED):
                lost, text_fields = "as plain text", {field: cut_plain(html_to_text(text), limit)}
            else:
                return response
            self.notes.append(f"{message.key}: sent {lost}, for Telegram said: {response.description}")

    def _query(self, method: str, **fields: str) -> dict[str, Any]:
        return json_object(result(method, self._call(method, fields)))

    def _call(self, method: str, fields: dict[str, str], photo: bytes | None = None) -> BotResponse:
        """Return the response to a request about this chat. If the group has become a supergroup, the request is sent there."""
        response = self._post(method, {"chat_id": self.chat, **fields}, photo)
        if moved := response.moved_to:
            self.notes.append(f"Telegram: chat {self.chat} has become {moved}: set ALERTING_TELEGRAM_CHAT={moved}")
            self.chat = moved
            self._same_chats.add(moved)
            response = self._post(method, {"chat_id": self.chat, **fields}, photo)
        return response

    def _post(self, method: str, fields: dict[str, str], photo: bytes | None = None, timeout: float | None = None) -> BotResponse:
        """Return the response to a request; only a refused connection is tried again. `timeout`: seconds; None: the chat's."""
        from alerting.http_client import HttpClient, HttpFailure  # 0.1 s that a quiet run does not need

        mask = partial(re.sub, r"/bot[^/\s]+", "/bot<token>")  # in what urllib3 logs
        client = HttpClient(self.timeout if timeout is None else timeout, retry_pause=RETRY_PAUSE, log=mask)
        files = {"photo": ("picture.png", photo, "image/png")} if photo else None
        answer = client.request("POST", f"{self.url}/bot{self._token}/{method}", data=fields, files=files)
        if isinstance(answer, HttpFailure):
            text = answer.in_words(self._host, "check the network, a proxy, and ALERTING_TELEGRAM_URL")
            return BotResponse(False, 0, text, unsure=answer.unsure)
        body = answer.body.decode("utf-8", "replace")
        return _parse(answer.status, body.replace(self._token, "<token>"))  # some proxies repeat the URL

    def _received(self, update: object) -> Received | None:
        """Return the press or command in an update. It is refused from another chat, and from a person who may not press."""
        parsed = parse_update(update, self._secret)
        if parsed is None:
            return None
        received = parsed.received
        if received.refused:
            return received
        if not self._is_this_chat(parsed.chat):
            return replace(received, refused=f"{'written' if isinstance(received, ChatCommand) else 'pressed'} in another chat")
        if not self.users & {"*", *parsed.person}:
            return replace(received, refused=f"{received.name} ({received.user_id}) is not in ALERTING_TELEGRAM_USERS")
        if parsed.bot and not self._username:
            self._username = str(self._query("getMe").get("username"))
        if parsed.bot and parsed.bot.lower() != self._username.lower():
            return replace(received, refused=f"meant for another bot, {parsed.bot}")
        return received

    def _is_this_chat(self, chat: dict[str, Any]) -> bool:
        """Return whether an update comes from our chat, by its id before or after the chat became a supergroup.

        A "typing" action is sent, because only writing methods return the new id of a migrated group. Raises NotifyError if the
        Bot API gives no answer: the press must not be refused for that.
        """
        id, name = identifier(chat.get("id")), identifier(chat.get("username"))
        if id in self._same_chats or (name and f"@{name.lower()}" in self._same_chats):
            return True
        if id in self._other_chats or not re.fullmatch(r"-[0-9]{1,20}", id):  # only groups move
            return False
        _require_answer(self._call("sendChatAction", {"action": "typing"}))
        if id not in self._same_chats:
            response = self._post("sendChatAction", {"chat_id": id, "action": "typing"})
            _require_answer(response)
            (self._same_chats if response.moved_to in self._same_chats else self._other_chats).add(id)
        return id in self._same_chats


def from_settings(settings: Settings) -> Telegram:
    token, chat, url = settings.telegram_token, settings.telegram_chat, settings.telegram_url
    return Telegram(token, chat, url, settings.telegram_topic, users=settings.telegram_users)


def _require_answer(response: BotResponse) -> None:
    """Raise NotifyError for an error that is not about the chat itself."""
    if not response.ok and response.code not in (400, 401, 403, 404):
        result("sendChatAction", response)


def _message_number(id: str) -> str:
    """Return the number of a message in this chat; "" for the id of another notifier."""
    number = id.removeprefix(_PHOTO_ID)
    return number if re.fullmatch(r"[0-9]{1,18}", number) else ""


def _may_write(chat: dict[str, Any], member: dict[str, Any]) -> bool:
    status, channel = member.get("status"), chat.get("type") == "channel"
    if status in ("left", "kicked"):
        return False
    if status == "creator" or (status == "administrator" and not channel):
        return True
    rights = {**json_object(chat.get("permissions")), **member}  # the rights of a member have precedence over the chat's
    return bool(rights.get("can_post_messages" if channel else "can_send_messages", not channel))


def result(method: str, response: BotResponse) -> Any:
    """Return the result of a request. Raises NotifyError for an error."""
    if response.ok:
        return response.result
    doubt = ": the message may have arrived" if response.unsure and method.startswith(SENDING) else ""
    text = f"Telegram {method}: " + (f"{response.code} " if response.code else "") + response.description + doubt
    for pattern, advice in _ACCESS:
        if response.refused_with(pattern):
            raise NotifyError(f"{text}: {advice}")
    if response.code == 429:
        wait = response.parameters.get("retry_after")
        if not isinstance(wait, int | float) or not wait > 0:
            wait = 1.0
        raise NotifyError(text, retry_after=float(min(wait, MAX_RETRY_AFTER)))
    raise NotifyError(text, permanent=response.code in (400, 413))


def _parse(status: int, body: str) -> BotResponse:
    """Return the Bot API's response in `body`; for any other body, a response with an error."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and isinstance(answer.get("ok"), bool):
        code = answer.get("error_code")
        code = code if isinstance(code, int) else status
        description = answer["description"][:MAX_DESCRIPTION] if isinstance(answer.get("description"), str) else ""
        return BotResponse(answer["ok"], code, description, json_object(answer.get("parameters")), answer.get("result"))
    if 200 <= status < 300:
        return BotResponse(False, 0, "half an answer, or not the Bot API's", unsure=True)
    if status in (404, 413):  # the path is wrong, or the web server before the Bot API finds the picture too large
        return BotResponse(False, status, "not the Bot API's answer")
    text = f"{status}, not the Bot API's answer: it is down, or ALERTING_TELEGRAM_URL or a proxy leads elsewhere"
    return BotResponse(False, 0, text)
