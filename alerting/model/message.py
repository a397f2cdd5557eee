"""What goes to the chat and what comes back: messages, receipts, buttons and their answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from alerting.model.verdict import EventKind


class Action(StrEnum):
    """What a button asks for."""

    TAKE = "take"
    SNOOZE = "snooze"  # silent for an hour
    MUTE = "mute"  # silent until resolved
    REAL = "real"
    FALSE_ALARM = "false"
    EXPECTED = "expected"
    NEW_TREND = "trend"


@dataclass(frozen=True)
class Button:
    text: str
    action: Action


@dataclass(frozen=True)
class ButtonPress:
    """A button that somebody pressed. `refused`: why it does not count, "" when it does."""

    update_id: int  # number of the chat's update
    callback_id: str  # id to confirm it with
    action: Action
    ref: str  # of the incident
    name: str  # name to show
    user_id: str  # id
    refused: str = ""


@dataclass(frozen=True)
class Message:
    """A text (Telegram HTML) or a picture on its way to the chat. A picture has `photo` (PNG) and a short `text` as caption."""

    key: str
    kind: EventKind
    metric: str
    bucket: datetime
    text: str
    photo: bytes | None = None
    reply_to: str = ""  # key of the message this one answers
    edits: str = ""  # key of the message whose text this one replaces
    incident: str = ""  # id of the incident it belongs to
    buttons: tuple[tuple[Button, ...], ...] = ()  # rows
    quiet: bool = False  # without a sound
    critical: bool = field(default=False, compare=False)  # of what is new in it; only routes ask, so it is not remembered


@dataclass(frozen=True)
class Receipt:
    """What became of a message: sent, kept (tried again next run) or refused (never again), and why."""

    key: str
    state: str  # sent | kept | refused
    reason: str = ""
    message_id: str = ""
    edit: bool = False  # of a message that edits another: where one fails, the next run makes it anew


@dataclass(frozen=True)
class ThreadMessage:
    """A text or a picture of an incident's thread, and what became of it: waiting, sent, refused, withdrawn or folded."""

    key: str
    kind: EventKind
    text: str  # Telegram HTML
    state: str
    created: datetime
    reply_to: str = ""
    edits: str = ""
    reason: str = ""
    changed: datetime | None = None  # when it came to its state
    buttons: tuple[tuple[Button, ...], ...] = ()

    @property
    def picture(self) -> bool:
        return self.key.endswith("/picture")
