"""Messages to the chat and what comes back: receipts, and presses of buttons."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from alerting.model.verdict import EventKind

PICTURE_SUFFIX = "/picture"  # of the keys of pictures that older versions sent apart from their texts


class Action(StrEnum):
    """The action of a button."""

    TAKE = "take"
    SNOOZE = "snooze"  # quiet for an hour
    MUTE = "mute"  # quiet until resolved
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
    """A button that a person pressed. `refused`: why the press does not count, "" when it does."""

    update_id: int  # number of the chat's update
    callback_id: str  # id to confirm it with
    action: Action
    ref: str  # of the incident
    name: str  # the person's name, to be shown
    user_id: str
    refused: str = ""


@dataclass(frozen=True)
class ChatCommand:
    """A command that a person wrote in the chat, such as /chart views 7d. `refused`: why it does not count, "" when it does."""

    update_id: int
    text: str  # its words with a space between, the first in small letters
    name: str
    user_id: str
    refused: str = ""


Received = ButtonPress | ChatCommand  # from people in the chat


@dataclass(frozen=True)
class Message:
    """A text (Telegram HTML) for the chat. With a `photo` (PNG) it is the caption of that."""

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
    quiet: bool = False  # without a sound
    critical: bool = False  # severity of its incident as the message shows it


@dataclass(frozen=True)
class Receipt:
    """The result of sending a message: sent, kept (tried again in the next run) or refused (never again), and why."""

    key: str
    state: str  # sent | kept | refused
    reason: str = ""
    message_id: str = ""
    edit: bool = False  # of an edit: if it fails, the next run makes a new one


@dataclass(frozen=True)
class ThreadMessage:
    """A message of an incident's thread, and its state: waiting, held, sent, refused, withdrawn or folded."""

    key: str
    kind: EventKind
    text: str  # Telegram HTML
    state: str
    created: datetime
    reply_to: str = ""
    edits: str = ""
    reason: str = ""
    changed: datetime | None = None  # when it came into its state
    buttons: tuple[tuple[Button, ...], ...] = ()
    photo: bytes | None = None  # empty once it does not wait any more: the run's record has it

    @property
    def has_picture(self) -> bool:
        return self.photo is not None or self.is_only_picture

    @property
    def is_only_picture(self) -> bool:
        """Whether it is a picture that answers its text, as older versions sent them."""
        return self.key.endswith(PICTURE_SUFFIX)
