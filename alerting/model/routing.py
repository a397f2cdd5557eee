"""Routing: which destinations a message goes to, the keys of its copies there, and the quiet hours. Pure.

The first route with a matching word decides. At the default destination (Telegram, or the console without a chat) the copy has
the plain key of the message, at every other destination the key `NAME:KEY`. The keys that a copy replies to or edits are formed
in the same way, so replies and edits stay within one destination.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TypeVar

from alerting.model.clock import WeekSpan, is_within
from alerting.model.message import Message, ThreadMessage
from alerting.model.metric import total_name
from alerting.model.verdict import EventKind

M = TypeVar("M", Message, ThreadMessage)

DEFAULT_DESTINATION = "telegram"
WEBHOOK = "webhook"  # programs read the messages there
ANY = "*"
KIND_WORDS = {
    EventKind.RUN_FAILED: "check-failed",
    EventKind.RUN_RECOVERED: "check-failed",
    EventKind.NO_DATA: "no-data",
    EventKind.DAILY: "daily",
    EventKind.ESCALATED: "escalated",
}
ROUTE_WORDS = (ANY, "critical", "warning", *dict.fromkeys(KIND_WORDS.values()))  # names of metrics are possible as well
ROUTES_FORM = "routes such as 'critical -> telegram, email; views,likes -> slack; * -> telegram'"
KEY_PREFIX = re.compile(r"([a-z]+):")  # start of a copy's key; no plain key starts like that


@dataclass(frozen=True)
class Route:
    """One route: a message that one of the words matches goes to the destinations. `words`: ROUTE_WORDS or names of metrics."""

    words: tuple[str, ...]
    destinations: tuple[str, ...]


@dataclass(frozen=True)
class Routes:
    """Routes in the order in which they are tried. A message that matches no route goes to the default destination."""

    routes: tuple[Route, ...] = ()
    destinations: tuple[str, ...] = (DEFAULT_DESTINATION,)  # all configured destinations, the default one first

    def of(self, message: Message) -> tuple[str, ...]:
        """Return the destinations of the first route that matches the message.

        A message about a metric matches the metric's name and the severity; a message about the run has neither. An escalation
        takes a route with the word "escalated", else the first matching route that adds a destination. An answer to a question
        goes where the question was asked.
        """
        if message.kind in (EventKind.ASKED, EventKind.ANSWER):
            return (DEFAULT_DESTINATION,)
        words = {ANY}
        if message.kind in KIND_WORDS:
            words.add(KIND_WORDS[message.kind])
        if message.metric:
            words |= {message.metric, total_name(message.metric), "critical" if message.critical else "warning"}
        found = [route for route in self.routes if words & {*route.words}] or [Route((ANY,), (DEFAULT_DESTINATION,))]
        if message.kind is EventKind.ESCALATED:
            own = [route for route in found if "escalated" in route.words]
            elsewhere = [route for route in found if not {*route.destinations} <= {*found[0].destinations}]
            found = [*own, *elsewhere, *found]
        return found[0].destinations

    def following(self, message: Message, reached: Mapping[str, bool]) -> list[str]:
        """Return the destinations of a message about an incident that may have been sent before.

        It goes where the earlier messages of its incident went. A critical message goes to the destinations of its route too.
        `reached`: destination that the incident was sent to -> whether a message was accepted there.
        """
        earlier = [name for name in self.places if name in reached]
        if message.kind is EventKind.ESCALATED:
            return [*self.of(message)]
        if message.edits:
            return earlier or [*self.places]  # an edit has no effect where its message was not sent
        if message.kind is EventKind.CORRECTED and earlier:
            return [name for name in earlier if reached[name]]  # no other destination has the wrong message
        routed = self.of(message) if message.critical or not earlier else ()
        return [name for name in self.places if name in earlier or name in routed]

    @property
    def default(self) -> tuple[str, ...]:
        """The destinations of messages that no other route matches."""
        return next((route.destinations for route in self.routes if ANY in route.words), (DEFAULT_DESTINATION,))

    @property
    def plain(self) -> Routes:
        """Routes that send every message to the default destinations."""
        return replace(self, routes=(Route((ANY,), self.default),))

    @property
    def places(self) -> tuple[str, ...]:
        """All destinations to which some route leads, in the order of `destinations`."""
        used = {name for route in self.routes for name in route.destinations} | {*self.default}
        return tuple(name for name in self.destinations if name in used)


def parse_routes(text: str, destinations: Iterable[str], default: Iterable[str] = (DEFAULT_DESTINATION,)) -> Routes:
    """Return the routes in `text` to these destinations, followed by `* -> default`.

    Raises ValueError that shows the right form.
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


def addressed_to(message: M, destination: str) -> M:
    """Return the copy of a message for a destination. Its keys (own, replied to, edited) are keys of copies there."""
    key, reply_to, edits = (copy_key(key, destination) for key in (message.key, message.reply_to, message.edits))
    return replace(message, key=key, reply_to=reply_to, edits=edits)


def copy_key(key: str, destination: str) -> str:
    """Return the key of the copy at a destination. `key`: the key of the message or of any copy; "" gives ""."""
    plain = plain_key(key)
    return plain if destination == DEFAULT_DESTINATION or not plain else f"{destination}:{plain}"


def destination_of(key: str) -> str:
    """Return the destination of the copy with this key."""
    found = KEY_PREFIX.match(key)
    return found[1] if found else DEFAULT_DESTINATION


def plain_key(key: str) -> str:
    """Return the key without the destination's prefix."""
    return key.partition(":")[2] if destination_of(key) != DEFAULT_DESTINATION else key


RING, SILENT, WAIT = "ring", "silent", "wait"  # sent with a sound; sent without one; sent in one summary when they end


@dataclass(frozen=True)
class QuietHours:
    """The spans of the local week in which only critical messages make a sound. `modes`: metric -> mode that replaces `mode`."""

    spans: tuple[WeekSpan, ...] = ()
    zone: str = "UTC"
    mode: str = SILENT
    modes: Mapping[str, str] = field(default_factory=dict)

    def are_at(self, at: datetime) -> bool:
        """Return whether it is quiet at this instant."""
        return is_within(self.spans, self.zone, at)

    def mode_of(self, message: Message, now: datetime) -> str:
        """Return how a message is sent at `now`: RING, SILENT or WAIT.

        RING: critical messages, and the notice that a check failed. Where the mode is WAIT, these do not wait but are SILENT:
        replies and edits, so that a thread is never out of date; messages about the checks; messages that a program reads.
        """
        if message.critical or message.kind is EventKind.RUN_FAILED or not self.are_at(now):
            return RING
        mode = self.modes.get(total_name(message.metric)) or self.mode
        begins = message.incident and not message.reply_to and not message.edits
        return SILENT if mode == WAIT and (not begins or destination_of(message.key) == WEBHOOK) else mode

    def plan(self, waiting: Sequence[Message], held: Sequence[Message], now: datetime) -> tuple[list[str], list[str]]:
        """Return the keys of the waiting messages to hold back, and the keys of the held messages to send now.

        A held message is sent now if its incident has become critical.
        """
        thread = {message.key: (destination_of(message.key), message.incident) for message in (*waiting, *held)}
        critical = {thread[message.key] for message in (*waiting, *held) if message.critical}
        back = [m.key for m in waiting if thread[m.key] not in critical and self.mode_of(m, now) == WAIT]
        return back, [m.key for m in held if m.incident and thread[m.key] in critical]


NO_QUIET_HOURS = QuietHours()
