"""Where messages go, and where people answer: send, edit, answers, confirm. NotifyError is all that comes out of here."""

from alerting.notifiers.console import Console
from alerting.notifiers.routing import RoutingNotifier, open_destinations
from alerting.notifiers.telegram.chat import Telegram

__all__ = ["Console", "RoutingNotifier", "Telegram", "open_destinations"]
