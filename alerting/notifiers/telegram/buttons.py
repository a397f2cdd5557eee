"""Buttons under a message, and what a press of one says.

A client of one's own can send any data as a press, so a button carries action:ref:signature. The signature does not cover the
chat, for a group that becomes a supergroup keeps its buttons; where a button was pressed is in Telegram's update.
"""

from __future__ import annotations

import hmac
import json
import re
import unicodedata
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING, Any, NamedTuple

from alerting.model.message import Action, ButtonPress
from alerting.notifiers.telegram.api import record
from alerting.notifiers.telegram_html import encodable

if TYPE_CHECKING:
    from alerting.model.message import Message

DATA_LIMIT = 64  # bytes of callback_data
SIGNATURE = 32  # hex digits
NAME_LIMIT = 40  # characters of a person's name
LARGEST = 2**53  # above any number of an update, and what every program can hold

NOT_A_PRESS = "not a button that somebody pressed"
FORGED = "not a button of these alerts, or older than the bot's token"


class Press(NamedTuple):
    """An answer, and what decides whether it counts: where it was given, and the ids and @names of who gave it."""

    answer: ButtonPress
    chat: dict[str, Any]
    person: frozenset[str]


def secret(token: str) -> bytes:
    """What buttons are signed with. Nobody can tell the token from it."""
    return blake2b(token.encode(), digest_size=32, person=b"alert buttons").digest()


def ref(incident: str) -> str:
    """16 letters that stand for the incident with this id, as `Incident.ref`."""
    return blake2b(incident.encode(), digest_size=8).hexdigest()


def markup(message: Message, key: bytes) -> dict[str, str]:
    """The field that gives a message its buttons. A button that belongs to no incident is left out: nothing could be done."""
    if not (message.buttons and message.incident):
        return {}
    about = ref(message.incident)
    rows = [
        [{"text": encodable(button.text), "callback_data": data(button.action, about, key)} for button in row]
        for row in message.buttons
    ]
    return {"reply_markup": json.dumps({"inline_keyboard": rows}, ensure_ascii=False)}


def data(action: Action, about: str, key: bytes) -> str:
    """What a button carries."""
    return f"{action}:{about}:{_signature(action, about, key)}"


def number(update: object) -> int | None:
    """An update's number, or None for what cannot be one."""
    told = record(update).get("update_id")
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 <= told < LARGEST else None


def read(update: dict[str, Any], key: bytes) -> Press:
    """What an update that has a number says. Whatever is odd about it, it is an answer: a refused one."""
    query = record(update.get("callback_query"))
    sender = record(query.get("from"))
    user, username = _digits(sender.get("id")), _username(sender.get("username"))
    action, about = _meant(query.get("data"), key)
    refused = "" if about and user else FORGED if query else NOT_A_PRESS
    answer = ButtonPress(number(update) or 0, _words(query.get("id")), action, about, _name(sender), user, refused)
    return Press(answer, record(record(query.get("message")).get("chat")), frozenset({user, username} - {""}))


def _meant(told: object, key: bytes) -> tuple[Action, str]:
    """Action and ref of a button we have made; no ref for anything else."""
    parts = re.fullmatch(rf"([a-z]+):([0-9a-f]{{16}}):([0-9a-f]{{{SIGNATURE}}})", told) if isinstance(told, str) else None
    if parts is None or parts[1] not in set(Action):
        return Action.TAKE, ""
    action, about, signature = Action(parts[1]), parts[2], parts[3]
    genuine = hmac.compare_digest(signature, _signature(action, about, key))
    return (action, about) if genuine else (Action.TAKE, "")


def _signature(action: Action, about: str, key: bytes) -> str:
    return hmac.new(key, f"{action}:{about}".encode(), sha256).hexdigest()[:SIGNATURE]


def _name(sender: dict[str, Any]) -> str:
    """The name to show: one line of what can be seen."""
    names = [_words(sender.get("first_name")), _words(sender.get("last_name"))]
    seen = " ".join(filter(None, names))[:NAME_LIMIT].strip()
    return seen or _username(sender.get("username")) or _digits(sender.get("id")) or "somebody"


def _words(told: object) -> str:
    """Text without control, direction and other unseen characters, on one line; "" for what is no text."""
    if not isinstance(told, str):
        return ""
    kinds = [(letter, unicodedata.category(letter)) for letter in encodable(told)]
    seen = (" " if kind in ("Cc", "Zl", "Zp") else "" if kind[0] == "C" else letter for letter, kind in kinds)
    return " ".join("".join(seen).split())


def _username(told: object) -> str:
    return f"@{told.lower()}" if isinstance(told, str) and re.fullmatch(r"[A-Za-z0-9_]{1,64}", told) else ""


def _digits(told: object) -> str:
    whole = isinstance(told, int) and not isinstance(told, bool) and 0 < told < LARGEST
    return str(told) if whole else ""
