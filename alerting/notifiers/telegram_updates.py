"""Updates of a Telegram chat: presses of buttons under a message, and commands such as /status (in a group /status@botname).

Any client can send any data as a press, so the data of a button is action:ref:signature. The signature does not cover the chat,
because a group that becomes a supergroup keeps its buttons; the update contains the chat in which a button was pressed.
"""

import hmac
import json
import re
import unicodedata
from hashlib import blake2b, sha256
from typing import Any, NamedTuple

from alerting.model.incident import incident_ref
from alerting.model.message import Action, ButtonPress, ChatCommand, Message, Received
from alerting.notifiers.base import encodable

SIGNATURE_LENGTH = 32  # hex digits; action:ref:signature has at most 64 bytes
MAX_NAME = 40  # characters of a person's name
MAX_NUMBER = 2**53  # above every id of Telegram, and a number that every program can represent

NOT_A_PRESS = "not a button that somebody pressed"
FORGED = "not a button of these alerts, or older than the bot's token"
MAX_COMMAND = 100  # characters
_COMMAND = re.compile(r"(/[A-Za-z0-9_]+)(?:@(\w+))?(?!\S)(.*)", re.DOTALL)


def secret(token: str) -> bytes:
    """Return the key that signs buttons, 32 bytes. The token cannot be computed from it."""
    return blake2b(token.encode(), digest_size=32, person=b"alert buttons").digest()


def markup(message: Message, key: bytes) -> dict[str, str]:
    """Return the request field with a message's buttons; {} without an incident, because they would have no effect."""
    if not (message.buttons and message.incident):
        return {}
    about = incident_ref(message.incident)
    rows = [
        [{"text": encodable(button.text), "callback_data": data(button.action, about, key)} for button in row]
        for row in message.buttons
    ]
    return {"reply_markup": json.dumps({"inline_keyboard": rows}, ensure_ascii=False)}


def data(action: Action, about: str, key: bytes) -> str:
    """Return the data of a button. `about`: the incident's ref."""
    signed = f"{action}:{about}"
    return f"{signed}:{hmac.new(key, signed.encode(), sha256).hexdigest()[:SIGNATURE_LENGTH]}"


class Update(NamedTuple):
    """A press or a command, its chat, the id and @name of the person, and the bot that a command names."""

    received: Received
    chat: dict[str, Any]
    person: set[str]
    bot: str = ""


def parse_update(update: object, key: bytes) -> Update | None:
    """Return the press or command in an update; for any other update a refused press; None if it has no valid number."""
    fields = json_object(update)
    number = _whole_number(fields.get("update_id"))
    if number is None:
        return None

    message = json_object(fields.get("message"))
    text = message.get("text")
    if found := _COMMAND.match(text) if isinstance(text, str) else None:
        user, person, shown = _person_of(message)
        words = " ".join(f"{found[1].lower()} {found[3]}".split())
        command = ChatCommand(number, words[:MAX_COMMAND], shown, user)
        return Update(command, json_object(message.get("chat")), person, found[2] or "")

    query = json_object(fields.get("callback_query"))
    user, person, shown = _person_of(query)
    action, about = _verified(query.get("data"), key)
    refused = "" if about and user else FORGED if query else NOT_A_PRESS
    press = ButtonPress(number, _printable(query.get("id")), action, about, shown, user, refused)
    return Update(press, json_object(json_object(query.get("message")).get("chat")), person)


def _person_of(message: dict[str, Any]) -> tuple[str, set[str], str]:
    """Return the sender's id ("" if unusable), the id and @name by which settings may name them, and the name to show."""
    sender = json_object(message.get("from"))
    user, alias = str(_whole_number(sender.get("id")) or ""), sender.get("username")
    username = f"@{alias.lower()}" if isinstance(alias, str) and re.fullmatch(r"[A-Za-z0-9_]{1,64}", alias) else ""
    parts = filter(None, [_printable(sender.get("first_name")), _printable(sender.get("last_name"))])
    return user, {user, username} - {""}, " ".join(parts)[:MAX_NAME].strip() or username or user or "somebody"


def _verified(text: object, key: bytes) -> tuple[Action, str]:
    """Return action and incident's ref of a button with our signature; for any other data the ref is ""."""
    parts = re.fullmatch(r"([a-z]+):([0-9a-f]{16}):[0-9a-f]+", text) if isinstance(text, str) else None
    if parts and parts[1] in set(Action):
        action, about = Action(parts[1]), parts[2]
        if hmac.compare_digest(parts[0], data(action, about, key)):
            return action, about
    return Action.TAKE, ""


def _printable(text: object) -> str:
    """Return the text as one line without control, direction and other invisible characters; "" for any other value."""
    if not isinstance(text, str):
        return ""
    kinds = [(letter, unicodedata.category(letter)) for letter in encodable(text)]
    letters = (" " if kind in ("Cc", "Zl", "Zp") else "" if kind[0] == "C" else letter for letter, kind in kinds)
    return " ".join("".join(letters).split())


def _whole_number(value: object) -> int | None:
    """Return the number if it is an integer from 0 to MAX_NUMBER, else None. JSON's true is not a number here."""
    return value if type(value) is int and 0 <= value < MAX_NUMBER else None


def json_object(value: object) -> dict[str, Any]:
    """Return `value` if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def identifier(value: object) -> str:
    """Return an id as text: Telegram's are numbers, those of other servers may be text; "" for anything else."""
    return str(value) if isinstance(value, int | str) else ""
