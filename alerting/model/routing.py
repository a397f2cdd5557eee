"""Routing: which destinations a message goes to, and the keys of its copies there.

The first route with a matching word decides. The default destination (Telegram, or the console without a chat) has the plain
keys, every other one `NAME:KEY`. Replies and edits are addressed alike, so they stay within one destination.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from alerting.model.message import Message
from alerting.model.verdict import EventKind

DEFAULT_DESTINATION = "telegram"
ANY = "*"
KIND_WORDS = {EventKind.RUN_FAILED: "check-failed", EventKind.NO_DATA: "no-data", EventKind.DAILY: "daily"}
ROUTE_WORDS = (ANY, "critical", "warning", *KIND_WORDS.values())  # beside the names of metrics
ROUTES_FORM = "routes such as 'critical -> telegram, email; views,likes -> slack; * -> telegram'"
KEY_PREFIX = re.compile(r"([a-z]+):")  # of a copy; plain keys never begin like that


@dataclass(frozen=True)
class Route:
    words: tuple[str, ...]
    destinations: tuple[str, ...]


@dataclass(frozen=True)
class Routes:
    """Routes in the order in which they are tried; a message that matches none goes to the default destination."""

    routes: tuple[Route, ...] = ()
    destinations: tuple[str, ...] = (DEFAULT_DESTINATION,)  # all that are configured, the default one first

    def of(self, message: Message) -> tuple[str, ...]:
        """Return the destinations of the first route that matches.

        A message about a metric matches its name and its severity; one about the run has neither.
        """
        words = {ANY}
        if message.kind in KIND_WORDS:
            words.add(KIND_WORDS[message.kind])
        if message.metric:
            words |= {message.metric, "critical" if message.critical else "warning"}
        return next((route.destinations for route in self.routes if words & {*route.words}), (DEFAULT_DESTINATION,))

    @property
    def default(self) -> tuple[str, ...]:
        """Destinations of all that has no route of its own."""
        return next((route.destinations for route in self.routes if ANY in route.words), (DEFAULT_DESTINATION,))

    @property
    def plain(self) -> Routes:
        """Routes that send everything by the default route."""
        return replace(self, routes=(Route((ANY,), self.default),))

    @property
    def places(self) -> tuple[str, ...]:
        """All destinations that a route leads to, in the order of `destinations`."""
        used = {name for route in self.routes for name in route.destinations} | {*self.default}
        return tuple(name for name in self.destinations if name in used)


def parse_routes(text: str, destinations: Iterable[str], default: Iterable[str] = (DEFAULT_DESTINATION,)) -> Routes:
    """Return the routes in `text` to these destinations, followed by `* -> default`.

    Raises ValueError with the form that routes take.
    """
    configured, routes = tuple(destinations), []
    for part in re.split(r"[;\n]", text):
        if not part.strip():
            continue
        before, arrow, after = part.partition("->")
        words, names = (
            tuple(dict.fromkeys(word.strip() for word in side.split(",") if word.strip())) for side in (before, after)
        )
        if not (arrow and words and names):
            raise ValueError(ROUTES_FORM)
        absent = ", ".join(name for name in names if name not in configured)
        if absent:
            raise ValueError(f"{ROUTES_FORM}; there is no destination {absent}: there are {', '.join(configured)}")
        routes.append(Route(words, names))
    return Routes((*routes, Route((ANY,), tuple(default))), configured)


def unknown_words(routes: Routes, metrics: Iterable[str]) -> list[str]:
    """Return the words of routes that are neither a metric nor a route word."""
    known = {*ROUTE_WORDS, *metrics}
    return [word for route in routes.routes for word in route.words if word not in known]


def addressed_to(message: Message, destination: str) -> Message:
    """Return the copy for a destination: its own key, and the keys that it replies to and edits, get the prefix."""
    key, reply_to, edits = (_prefixed(key, destination) for key in (message.key, message.reply_to, message.edits))
    return replace(message, key=key, reply_to=reply_to, edits=edits)


def unaddressed(message: Message) -> Message:
    """Return the message that a copy was made of."""
    key, reply_to, edits = (plain_key(key) for key in (message.key, message.reply_to, message.edits))
    return replace(message, key=key, reply_to=reply_to, edits=edits)


def copy_keys(key: str, destinations: Iterable[str]) -> tuple[str, ...]:
    """Return the keys of the message's copies at the destinations."""
    return tuple(_prefixed(plain_key(key), destination) for destination in destinations)


def destination_of(key: str) -> str:
    """Return the destination of the copy with this key."""
    found = KEY_PREFIX.match(key)
    return found[1] if found else DEFAULT_DESTINATION


def plain_key(key: str) -> str:
    """Return the key without the destination's prefix."""
    return key.partition(":")[2] if destination_of(key) != DEFAULT_DESTINATION else key


def _prefixed(key: str, destination: str) -> str:
    return key if destination == DEFAULT_DESTINATION or not key else f"{destination}:{key}"
