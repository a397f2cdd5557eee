"""The settings of where messages go: how each is read, what goes together, and what a route needs. Nothing here connects."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from alerting.model import Routes, route

SET = {  # destination -> the setting without which it is not there, and all that it needs
    route.HOME: ("telegram_token", "ALERTING_TELEGRAM_TOKEN and ALERTING_TELEGRAM_CHAT"),
    "slack": ("slack_url", "ALERTING_SLACK_URL"),
    "email": ("email_server", "ALERTING_EMAIL_SERVER, ALERTING_EMAIL_FROM and ALERTING_EMAIL_TO"),
    "webhook": ("webhook_url", "ALERTING_WEBHOOK_URL"),
}
NAMES = tuple(SET)


def hook(text: str) -> str:
    """An address to post to, as it is: its path may be its secret. Raises ValueError."""
    parts = urlsplit(text)
    if text and (parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password):
        raise ValueError("a URL such as https://host/path, without user and password")
    return text


def mail_server(text: str) -> str:
    if text and not re.fullmatch(r"smtps?://([\w.-]+|\[[\da-fA-F:]+\])(:\d{1,5})?/?", text):
        raise ValueError("smtps://host:465 (TLS from the start) or smtp://host:587 (STARTTLS, or this machine)")
    return text.rstrip("/")


def sender(text: str) -> str:
    if text:
        address(text)
    return text


def receivers(text: str) -> str:
    for part in filter(str.strip, text.split(",")):
        address(part)
    return text


def address(text: str) -> str:
    """The bare mail address in `text`, which may have a name before it. Raises ValueError for what is none."""
    from email.utils import parseaddr  # milliseconds that most runs do not need

    bare = parseaddr(text)[1]
    if not re.fullmatch(r"[^@\s,;<>]+@[^@\s,;<>]+", bare) or not bare.isascii() or not text.isprintable():
        raise ValueError("mail addresses such as alerts@example.com or 'Alerts <alerts@example.com>'")
    return bare


def routes(text: str) -> str:
    route.read(text, NAMES)
    return text


def set_up(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The destinations that are there."""
    return tuple(place for place, (key, _) in SET.items() if values[key])


def routed(values: Mapping[str, Any]) -> Routes:
    """Without a route, everything goes to the chat; without a chat, to all there is."""
    there = set_up(values)
    return route.read(values["routes"], NAMES, (route.HOME,) if route.HOME in there or not there else there)


def faults(values: Mapping[str, Any]) -> list[str]:
    """What goes together and is not all there; routes that lead nowhere."""
    out = []
    if bool(values["telegram_token"]) != bool(values["telegram_chat"]):
        out.append("ALERTING_TELEGRAM_TOKEN and ALERTING_TELEGRAM_CHAT go together: set both, or neither to print")
    if len({bool(values[f"email_{name}"].strip()) for name in ("server", "from", "to")}) > 1:
        out.append(f"{SET['email'][1]} go together: set all three, or none")
    if bool(values["email_user"]) != bool(values["email_password"]):
        out.append("ALERTING_EMAIL_USER and ALERTING_EMAIL_PASSWORD go together: set both, or neither for no login")
    absent = [place for place in route.read(values["routes"], NAMES, ()).places if place not in set_up(values)]
    return [*out, *(f"ALERTING_ROUTES leads to {place}, which is not set up: set {SET[place][1]}" for place in absent)]
