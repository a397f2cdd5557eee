"""What the rooms raise; and a moment as people write it."""

from __future__ import annotations

from datetime import UTC, datetime


class AlertingError(Exception):
    """Base of what the rooms raise. The text says what, where, and what to do; it never holds a secret."""


class SettingsError(AlertingError):
    """A setting is unknown, malformed or missing."""


class SourceError(AlertingError):
    """The source could not be read. `passing`: worth another try without a change."""

    def __init__(self, text: str, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


class StoreError(AlertingError):
    """The memory could not be read or written."""


class NotifyError(AlertingError):
    """A message was not accepted. `permanent`: the same message will never be. `retry_after`: seconds to wait."""

    def __init__(self, text: str, permanent: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.permanent, self.retry_after = permanent, retry_after


class RunFailed(AlertingError):
    """Something was not seen or not said: the run ends red."""


class NotDelivered(RunFailed):
    """All was seen, but a message still waits: the run ends red, and the chat hears of it when it can be reached."""


def parse_instant(text: str, now: datetime) -> datetime:
    """The instant (aware UTC) that `text` writes in ISO 8601 with a zone.

    Raises SettingsError when it is not a time, has no zone, or lies after `now`.
    """
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise SettingsError(f"at={text!r} is not a time: write it as 2026-11-20T12:15Z") from None
    if at.tzinfo is None:
        raise SettingsError(f"at={text!r} has no time zone: add Z for UTC or an offset, as in 2026-11-20T12:15Z")
    if at > now:
        raise SettingsError(f"at={text!r} lies in the future (now it is {now:%Y-%m-%dT%H:%MZ}): choose a moment that has been")
    return at.astimezone(UTC)
