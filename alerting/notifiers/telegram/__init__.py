"""A Telegram chat, by the Bot API: `chat` sends and reads, `buttons` signs and parses presses, `api` makes the requests."""

from alerting.notifiers.telegram.chat import Telegram, from_settings

__all__ = ["Telegram", "from_settings"]
