"""Messages to the chat, the receipts of sending them, and what people in the chat answer: button presses and commands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from alerting.model.verdict import EventKind

PICTURE_SUFFIX = "/picture"  # end of a picture's key; older versions sent the picture as a message of its own


class Action(StrEnum):
    """The action of a button."""

    TAKE = "take"
    SNOOZE = "snooze"  # no notification for an hour
    MUTE = "mute"  # no notification until the incident is resolved
    REAL = "real"
    FALSE_ALARM = "false"
    EXPECTED = "expected"
    NEW_TREND = "trend"


@dataclass(frozen=True)
class Button:
    """A button under a message: the text that it shows and the action that a press causes."""

    text: str
    action: Action


@dataclass(frozen=True)
class ButtonPress:
    """A button that a person pressed. `refused`: why the press does not count; "" if it counts."""

    update_id: int  # number of the update in which the chat reported it
    callback_id: str  # id with which the press is confirmed
    action: Action
    ref: str  # `incident_ref` of the incident
    name: str  # the person's name, to be shown
    user_id: str
    refused: str = ""


@dataclass(frozen=True)
class ChatCommand:
    """A command that a person wrote in the chat, such as /chart views 7d. `refused`: why it does not count; "" if it counts."""

    update_id: int
    text: str  # its words, joined by single spaces; the first word in lower case
    name: str
    user_id: str
    refused: str = ""


Received = ButtonPress | ChatCommand  # from people in the chat


@dataclass(frozen=True)
class Message:
    """A text (Telegram HTML) for the chat. If there is a `photo` (PNG), the text is its caption."""

    key: str
    kind: EventKind
    metric: str
    bucket: datetime
    text: str
    photo: bytes | None = None
    reply_to: str = ""  # key of the message to reply to
    edits: str = ""  # key of the message whose text this one replaces
    incident: str = ""  # id of its incident
    buttons: tuple[tuple[Button, ...], ...] = ()  # rows
    quiet: bool = False  # sent without a sound
    critical: bool = False  # whether the message shows its incident as critical


@dataclass(frozen=True)
class Receipt:
    """The result of sending a message: sent, kept (the next run tries again) or refused (no run tries again), and the reason."""

    key: str
    state: str  # sent | kept | refused
    reason: str = ""
    message_id: str = ""
    edit: bool = False  # the message was an edit; the next run makes a new edit if this one failed


@dataclass(frozen=True)
class ThreadMessage:
    """A message of an incident's thread and its state: waiting, held, sent, refused, withdrawn or folded (into a digest)."""

    key: str
    kind: EventKind
    text: str  # Telegram HTML
    state: str
    created: datetime
    reply_to: str = ""
    edits: str = ""
    reason: str = ""
    changed: datetime | None = None  # time at which it got its present state
    buttons: tuple[tuple[Button, ...], ...] = ()
    photo: bytes | None = None  # empty bytes once the message does not wait any more, because the run's record has the picture

    @property
    def has_picture(self) -> bool:
        return self.photo is not None or self.is_only_picture

    @property
    def is_only_picture(self) -> bool:
        """Whether it is a picture that replies to its text. Only older versions sent such messages."""
        return self.key.endswith(PICTURE_SUFFIX)
