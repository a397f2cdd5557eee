"""Where messages go, and where people answer: send, edit, answers, confirm. NotifyError is all that comes out of here."""

from alerting.notifiers.console import Console
from alerting.notifiers.heartbeat import ping
from alerting.notifiers.opening import opened
from alerting.notifiers.routed import Routed
from alerting.notifiers.telegram import Telegram

__all__ = ["Console", "Routed", "Telegram", "opened", "ping"]
