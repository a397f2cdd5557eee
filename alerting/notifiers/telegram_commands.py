"""Commands that people write in a Telegram chat: /status, or in a group /status@botname."""

from __future__ import annotations

import re
from typing import Any

from alerting.model.message import ChatCommand
from alerting.notifiers.telegram_api import json_object
from alerting.notifiers.telegram_buttons import person_of, whole_number

MAX_COMMAND = 100  # characters
_COMMAND = re.compile(r"(/[A-Za-z0-9_]+)(?:@(\w+))?(?!\S)(.*)", re.DOTALL)


def parse_command(update: object) -> tuple[ChatCommand, str, dict[str, Any], set[str]] | None:
    """Return the command in an update, the bot that it names ("": none), the chat, and the id and @name of the person.

    None for any other update.
    """
    fields = json_object(update)
    message, number = json_object(fields.get("message")), whole_number(fields.get("update_id"))
    text = message.get("text")
    found = _COMMAND.match(text) if isinstance(text, str) else None
    if not found or number is None:
        return None
    user, names, shown = person_of(json_object(message.get("from")))
    words = " ".join(f"{found[1].lower()} {found[3]}".split())
    command = ChatCommand(number, words[:MAX_COMMAND], shown, user)
    return command, found[2] or "", json_object(message.get("chat")), names
