"""Where a message goes: the first route that one of its words matches. Each destination has a copy under a key of its own.

The home destination (Telegram; the console where no chat is configured) has the plain keys, every other `NAME:KEY`. Replies
and edits are addressed alike, so that what holds between messages holds within each destination.
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

_COPY = re.compile(r"([a-z]+):")  # what the keys of a destination's copies begin with; no key of home does


@dataclass(frozen=True)
class Route:
    words: tuple[str, ...]
    places: tuple[str, ...]


@dataclass(frozen=True)
class Routes:
    """In the order in which they are tried. What none matches goes home."""

    routes: tuple[Route, ...] = ()
    destinations: tuple[str, ...] = (DEFAULT_DESTINATION,)  # all that there are, home first

    def of(self, message: Message) -> tuple[str, ...]:
        """The destinations of the first route that matches."""
        words = _words(message)
        return next((route.places for route in self.routes if words & {*route.words}), (DEFAULT_DESTINATION,))

    @property
    def default(self) -> tuple[str, ...]:
        """Where everything goes that has no route of its own."""
        return next((route.places for route in self.routes if ANY in route.words), (DEFAULT_DESTINATION,))

    @property
    def plain(self) -> Routes:
        """Everything by the default route."""
        return replace(self, routes=(Route((ANY,), self.default),))

    @property
    def places(self) -> tuple[str, ...]:
        """All destinations that a route leads to, home first."""
        named = {place for route in self.routes for place in route.places} | {*self.default}
        return tuple(place for place in self.destinations if place in named)


def parse_routes(text: str, destinations: Iterable[str], default: Iterable[str] = (DEFAULT_DESTINATION,)) -> Routes:
    """The routes to these destinations that `text` holds, and behind them `* -> default`.

    Raises ValueError with the form they take.
    """
    known = tuple(destinations)
    routes = [_route(part, known) for part in re.split(r"[;\n]", text) if part.strip()]
    return Routes((*routes, Route((ANY,), tuple(default))), known)


def unknown_words(routes: Routes, metrics: Iterable[str]) -> list[str]:
    """Words of routes that nothing is called."""
    known = {*ROUTE_WORDS, *metrics}
    return [word for route in routes.routes for word in route.words if word not in known]


def _route(text: str, destinations: tuple[str, ...]) -> Route:
    words, arrow, places = text.partition("->")
    route = Route(_listed(words), _listed(places))
    if not (arrow and route.words and route.places):
        raise ValueError(ROUTES_FORM)
    absent = [place for place in route.places if place not in destinations]
    if absent:
        raise ValueError(f"{ROUTES_FORM}; there is no destination {', '.join(absent)}: there are {', '.join(destinations)}")
    return route


def _listed(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _words(message: Message) -> set[str]:
    """What a route may call it. A message about the checks has no metric and no severity."""
    kind = {KIND_WORDS[message.kind]} if message.kind in KIND_WORDS else set()
    metric = {message.metric, "critical" if message.critical else "warning"} if message.metric else set()
    return {ANY, *kind, *metric}


def addressed_to(message: Message, place: str) -> Message:
    """The message as it is addressed to a destination: its key, and those that it answers and edits."""
    key, reply_to, edits = (_keyed(key, place) for key in (message.key, message.reply_to, message.edits))
    return replace(message, key=key, reply_to=reply_to, edits=edits)


def unaddressed(message: Message) -> Message:
    """The message that a copy was made of."""
    key, reply_to, edits = (plain_key(key) for key in (message.key, message.reply_to, message.edits))
    return replace(message, key=key, reply_to=reply_to, edits=edits)


def copy_keys(key: str, destinations: Iterable[str]) -> tuple[str, ...]:
    """The keys that the copies of the message with this key have at the destinations."""
    return tuple(_keyed(plain_key(key), place) for place in destinations)


def destination_of(key: str) -> str:
    """The destination of a copy."""
    found = _COPY.match(key)
    return found[1] if found else DEFAULT_DESTINATION


def plain_key(key: str) -> str:
    return key.partition(":")[2] if destination_of(key) != DEFAULT_DESTINATION else key


def _keyed(key: str, place: str) -> str:
    return key if place == DEFAULT_DESTINATION or not key else f"{place}:{key}"
