"""Messages to a chat, and the answers that people give there by pressing buttons."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from alerting.model.errors import NotifyError
from alerting.notifiers.telegram import buttons
from alerting.notifiers.telegram.api import Line, Response, identifier, record, result
from alerting.notifiers.telegram_html import cut_html, cut_plain, encodable, html_to_text

if TYPE_CHECKING:
    from alerting.model.message import ButtonPress, Message

TEXT_LIMIT, CAPTION_LIMIT = 4096, 1024  # UTF-16 code units, counted after Telegram has read tags and entities
CONFIRM_LIMIT = 200
CONFIRM_TIMEOUT = 5.0  # seconds; nobody looks at it any longer
GENERAL_TOPIC = "1"  # a forum's first topic is addressed by leaving the topic out; with its number Telegram refuses
PAGE, PAGES = 100, 20  # updates in one answer, and answers that are read in a row
LONGEST_POLL = 50.0  # seconds

_MARKUP = r"400 .*(can't parse|too.long|entit)"  # what plain text cannot suffer from
_BUTTONS = r"400 .*(button_|keyboard|reply_markup_|as reply markup)"


class Telegram:
    """A chat, through a bot. `notes`: what whoever keeps the settings should know, also after a success."""

    def __init__(self, token: str, chat: str, url: str, topic: str = "", timeout: float = 15.0, users: str = "") -> None:
        """`url`: of the Bot API server. `timeout`: seconds to wait for an answer. `users`: who may press buttons, ids or
        @names with commas between; * for everyone in the chat; "" for nobody."""
        self.chat, self.url, self.topic, self.timeout = chat, url.rstrip("/"), topic, timeout
        self.users = frozenset(name.strip().lower() for name in users.split(",") if name.strip())
        self.notes: list[str] = []
        self._line, self._secret = Line(token, self.url, timeout), buttons.secret(token)
        self._same, self._other = {chat.lower()}, set[str]()  # chats that are this one, and that were found not to be

    def __repr__(self) -> str:
        return f"Telegram(chat={self.chat!r}, url={self.url!r}, topic={self.topic!r})"

    def send(self, message: Message, reply_to: str = "") -> str:
        """Id of the accepted message. HTML that Telegram cannot read goes again as plain text: markup never costs an alert.

        Raises NotifyError: permanent when this very message will never do; otherwise it is worth keeping, be it for a
        broken line or for settings that somebody has to repair. "may have arrived" means that a repeat is possible.
        """
        method, place = "sendPhoto" if message.photo else "sendMessage", self._place(reply_to)
        if message.quiet:
            place["disable_notification"] = "true"
        response = self._say(method, message, place, message.photo)
        return identifier(record(result(method, response)).get("message_id"))

    def edit(self, message: Message, message_id: str) -> None:
        """Give the message with this id the text and the buttons of `message`; without buttons it loses those it had.

        Doing it twice is harmless. Raises NotifyError: permanent when there is nothing (any more) that could be edited.
        """
        if not _is_id(message_id):
            raise NotifyError(f"Telegram: {message_id!r} is not the id of a message in this chat", permanent=True)
        place = {"link_preview_options": '{"is_disabled": true}', "message_id": message_id}
        response = self._say("editMessageText", replace(message, photo=None), place)
        if not response.says(r"400 .*not modified"):
            result("editMessageText", response)

    def button_presses(self, since: int, wait: float = 0.0) -> list[ButtonPress]:
        """The buttons pressed from update number `since` on, oldest first, the refused ones too: what to read next is what
        follows the last of them, `answers[-1].update + 1`, even where that is less than before (after a week without
        presses Telegram begins to count anew).

        Reading on makes Telegram forget what was read. So that is done only past a page of refused ones; whoever is given
        answers that count remembers them first, and then asks for more. `wait`: seconds to wait for the first press.
        Raises NotifyError.
        """
        told: dict[int, ButtonPress] = {}
        for _ in range(PAGES):
            updates = self._updates(since, wait)
            page = [self._answer(update) for update in updates if buttons.number(update) is not None]
            if updates and not page:
                raise NotifyError("Telegram getUpdates: updates without a number, so not the Bot API's answer")
            told |= {answer.update_id: answer for answer in page}
            if len(updates) < PAGE or not all(answer.refused for answer in page):
                break
            since, wait = page[-1].update_id + 1, 0.0
        return list(told.values())

    def confirm(self, answer: ButtonPress, text: str) -> None:
        """Show `text` to whoever pressed; a refusal so that it has to be closed. Best effort: it never raises, for a press is
        soon too old to be answered."""
        if answer.callback_id:
            shown = {"text": cut_plain(encodable(text), CONFIRM_LIMIT), "show_alert": "true" if answer.refused else "false"}
            timeout = min(CONFIRM_TIMEOUT, self.timeout)
            self._line.ask("answerCallbackQuery", {"callback_query_id": answer.callback_id, **shown}, timeout=timeout)

    def check(self) -> str:
        """Who can write where and who may press buttons, in words. Nothing is sent. Raises NotifyError saying what to do."""
        bot, chat, hook = (self._told(method) for method in ("getMe", "getChat", "getWebhookInfo"))
        title = repr(chat.get("title") or chat.get("username") or self.chat)
        if chat.get("type") != "private":
            member = self._told("getChatMember", user_id=str(bot.get("id")))
            if not _may_write(chat, member):
                raise NotifyError(f"Telegram: bot @{bot.get('username')} may not write to chat {title}: let it send messages")
        if self.topic and chat.get("type") == "supergroup" and not chat.get("is_forum"):
            raise NotifyError(f"Telegram: chat {title} has no topics: leave ALERTING_TELEGRAM_TOPIC empty")
        deaf = ", but a webhook takes what they press: getUpdates will not work until deleteWebhook" if hook.get("url") else ""
        return f"bot @{bot.get('username')} can write to chat {title}; buttons: {self._pressers()}{deaf}"

    def _pressers(self) -> str:
        if not self.users:
            return "nobody may press them, set ALERTING_TELEGRAM_USERS"
        return f"{'everyone in the chat' if '*' in self.users else ', '.join(sorted(self.users))} may press them"

    def _place(self, reply_to: str) -> dict[str, str]:
        """Which topic, answering what, without a page preview. An id of another notifier ("console-3") answers nothing."""
        place = {"link_preview_options": '{"is_disabled": true}'}
        if self.topic not in ("", GENERAL_TOPIC):
            place["message_thread_id"] = self.topic
        if _is_id(reply_to):
            place["reply_parameters"] = json.dumps({"message_id": int(reply_to), "allow_sending_without_reply": True})
        return place

    def _say(self, method: str, message: Message, place: dict[str, str], photo: bytes | None = None) -> Response:
        """The response to the message's text and buttons; to less of them where Telegram cannot read them."""
        field, limit = ("caption", CAPTION_LIMIT) if photo else ("text", TEXT_LIMIT)
        text, keyboard = encodable(message.text), buttons.markup(message, self._secret)
        words = {field: cut_html(text, limit), "parse_mode": "HTML"}
        while True:
            response = self._ask(method, {**words, **place, **keyboard}, photo)
            if keyboard and response.says(_BUTTONS):
                lost, keyboard = "without buttons", {}
            elif "parse_mode" in words and response.says(_MARKUP):
                lost, words = "as plain text", {field: cut_plain(html_to_text(text), limit)}
            else:
                return response
            self.notes.append(f"{message.key}: sent {lost}, for Telegram said: {response.description}")

    def _told(self, method: str, **fields: str) -> dict[str, Any]:
        return record(result(method, self._ask(method, fields)))

    def _ask(self, method: str, fields: dict[str, str], photo: bytes | None = None) -> Response:
        """The response about this chat. A group that has become a supergroup is followed, once."""
        response = self._line.ask(method, {"chat_id": self.chat, **fields}, photo)
        if moved := response.moved_to:
            self.notes.append(f"Telegram: chat {self.chat} has become {moved}: set ALERTING_TELEGRAM_CHAT={moved}")
            self.chat = moved
            self._same.add(moved)
            response = self._line.ask(method, {"chat_id": self.chat, **fields}, photo)
        return response

    def _updates(self, since: int, wait: float) -> list[Any]:
        wait = min(max(wait, 0.0), LONGEST_POLL)
        fields = {"offset": str(since), "timeout": str(int(wait)), "limit": str(PAGE), "allowed_updates": '["callback_query"]'}
        told = result("getUpdates", self._line.ask("getUpdates", fields, timeout=self.timeout + wait))
        if not isinstance(told, list):
            raise NotifyError("Telegram getUpdates: no list of updates, so not the Bot API's answer")
        return told

    def _answer(self, update: dict[str, Any]) -> ButtonPress:
        answer, chat, person = buttons.read(update, self._secret)
        if answer.refused:
            return answer
        if not self._is_this(chat):
            return replace(answer, refused="pressed in another chat")
        if not self.users & {"*", *person}:
            return replace(answer, refused=f"{answer.name} ({answer.user_id}) is not in ALERTING_TELEGRAM_USERS")
        return answer

    def _is_this(self, chat: dict[str, Any]) -> bool:
        """Whether a button of ours was pressed in our chat, be it under the number before or after it became a supergroup.

        Which is which only a method that writes is told (getChat is not), so the bot is "typing" for some seconds.
        """
        number, name = identifier(chat.get("id")), identifier(chat.get("username"))
        if number in self._same or (name and f"@{name.lower()}" in self._same):
            return True
        if number in self._other or not re.fullmatch(r"-[0-9]{1,20}", number):  # only groups move
            return False
        _passing(self._ask("sendChatAction", {"action": "typing"}))
        if number not in self._same:
            there = self._line.ask("sendChatAction", {"chat_id": number, "action": "typing"})
            _passing(there)
            (self._same if there.moved_to in self._same else self._other).add(number)
        return number in self._same


def _passing(response: Response) -> None:
    """Raises NotifyError when the Bot API could not say, so that a press is not refused for it."""
    if not response.ok and response.code not in (400, 401, 403, 404):
        result("sendChatAction", response)


def _is_id(text: str) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,18}", text))


def _may_write(chat: dict[str, Any], member: dict[str, Any]) -> bool:
    status, channel = member.get("status"), chat.get("type") == "channel"
    if status in ("left", "kicked"):
        return False
    if status == "creator" or (status == "administrator" and not channel):
        return True
    rights = {**record(chat.get("permissions")), **member}  # what this member may do goes before what everyone may
    return bool(rights.get("can_post_messages" if channel else "can_send_messages", not channel))
