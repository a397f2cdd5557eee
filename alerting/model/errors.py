"""Errors that cross the border of a package."""

from __future__ import annotations


class AlertingError(Exception):
    """The base of all errors here. The text says what failed, where, and what to do; it never holds a secret."""


class SettingsError(AlertingError):
    """A setting is unknown, malformed or missing."""


class SourceError(AlertingError):
    """The source could not be read. `passing`: trying again may help, without a change of settings."""

    def __init__(self, text: str, passing: bool = False) -> None:
        super().__init__(text)
        self.passing = passing


class StoreError(AlertingError):
    """The state database could not be read or written."""


class NotifyError(AlertingError):
    """A message was not accepted. `permanent`: trying again cannot help. `retry_after`: seconds to wait before that."""

    def __init__(self, text: str, permanent: bool = False, retry_after: float = 0.0) -> None:
        super().__init__(text)
        self.permanent, self.retry_after = permanent, retry_after


class RunFailed(AlertingError):
    """Something could not be read or sent: the run fails."""


class NotDelivered(RunFailed):
    """Everything was read, but a message still waits: the run fails, and the chat gets a notice once it can be reached."""
