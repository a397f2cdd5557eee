"""Errors that one package raises and another one catches."""

from __future__ import annotations


class AlertingError(Exception):
    """The base class of these errors. The text says what failed, where, and what to do. It never contains a secret."""


class SettingsError(AlertingError):
    """A setting is unknown, malformed or missing."""


class SourceError(AlertingError):
    """The source could not be read. `passing`: the same request may succeed later, with the same settings."""

    def __init__(self, text: str, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


class StoreError(AlertingError):
    """The state database could not be read or written."""


class NotifyError(AlertingError):
    """A destination did not accept a message.

    `permanent`: another attempt cannot succeed. `retry_after`: seconds to wait before another attempt.
    """

    def __init__(self, text: str, permanent: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.permanent, self.retry_after = permanent, retry_after


class RunFailed(AlertingError):
    """The run fails, because something could not be read or sent."""


class NotDelivered(RunFailed):
    """The run fails, because a message could not be sent and still waits. Everything was read.

    No failure notice is sent, because the message itself is sent once the chat can be reached.
    """
