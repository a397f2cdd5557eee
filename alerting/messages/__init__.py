"""The only place with words people receive: an event and its context go in, a text or a picture for the chat comes out. Pure."""

from alerting.messages.causes import cause
from alerting.messages.context import Context, Part, Rarity, Reader, Similar
from alerting.messages.notices import Daily, caught_up, daily, digest, drill, run_failed
from alerting.messages.replies import labelled, silenced, taken, unsilenced
from alerting.messages.texts import compose, picture

__all__ = [
    "Context",
    "Daily",
    "Part",
    "Rarity",
    "Reader",
    "Similar",
    "caught_up",
    "cause",
    "compose",
    "daily",
    "digest",
    "drill",
    "labelled",
    "picture",
    "run_failed",
    "silenced",
    "taken",
    "unsilenced",
]
