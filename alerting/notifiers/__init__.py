"""Where messages go. `send(message, reply_to) -> id`, or NotifyError."""

from alerting.notifiers.console import Console
from alerting.notifiers.telegram import Telegram

__all__ = ["Console", "Telegram"]
