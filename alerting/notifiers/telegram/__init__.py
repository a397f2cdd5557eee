"""A chat, through Telegram's Bot API: `chat` speaks and listens, `buttons` signs and reads, `talking` is the line."""

from alerting.notifiers.telegram.chat import Telegram

__all__ = ["Telegram"]
