"""Quiet hours: which messages make no sound then, and which wait for their end. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from alerting.model.message import Message
from alerting.model.routing import WEBHOOK, destination_of
from alerting.model.schedule import WeekSpan, is_within
from alerting.model.verdict import EventKind

RING, SILENT, WAIT = "ring", "silent", "wait"  # with a sound; without; not before the end, and then in one summary


@dataclass(frozen=True)
class QuietHours:
    """The spans of the local week in which only what is critical makes a sound. `modes`: metric -> its own mode, not `mode`."""

    spans: tuple[WeekSpan, ...] = ()
    zone: str = "UTC"
    mode: str = SILENT
    modes: Mapping[str, str] = field(default_factory=dict)

    def are_at(self, at: datetime) -> bool:
        """Return whether it is quiet at this instant."""
        return is_within(self.spans, self.zone, at)

    def mode_of(self, message: Message, now: datetime) -> str:
        """Return how a message is sent at `now`.

        What is critical rings, and the notice that a check failed. What belongs to a message that was sent goes out without a
        sound, so that its thread is true; so does all about the checks, and all that a program receives.
        """
        if message.critical or message.kind is EventKind.RUN_FAILED or not self.are_at(now):
            return RING
        mode = self.modes.get(message.metric) or self.mode
        begins = message.incident and not message.reply_to and not message.edits
        return SILENT if mode == WAIT and (not begins or destination_of(message.key) == WEBHOOK) else mode

    def plan(self, waiting: Sequence[Message], held: Sequence[Message], now: datetime) -> tuple[list[str], list[str]]:
        """Return the keys of the waiting messages to hold back, and of the held ones to send now: their incident is critical."""
        critical = {_thread(message) for message in (*waiting, *held) if message.critical}
        back = [m.key for m in waiting if _thread(m) not in critical and self.mode_of(m, now) == WAIT]
        return back, [m.key for m in held if m.incident and _thread(m) in critical]


NO_QUIET_HOURS = QuietHours()


def _thread(message: Message) -> tuple[str, str]:
    return destination_of(message.key), message.incident
