"""Several destinations as one: each message goes where its key says (see `model.route`); answers come from home."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alerting.model.errors import NotifyError
from alerting.model.routing import DEFAULT_DESTINATION, destination_of, unaddressed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alerting.model.message import ButtonPress, Message
    from alerting.model.protocols import Notifier


class RoutingNotifier:
    """`places`: destination -> its notifier; home is one of them."""

    def __init__(self, places: Mapping[str, Notifier]) -> None:
        self.places = dict(places)

    @property
    def notes(self) -> list[str]:
        """What any of them has to say."""
        return [note for notifier in self.places.values() for note in notifier.notes]

    def send(self, message: Message, reply_to: str = "") -> str:
        """Id at the copy's destination. Raises NotifyError."""
        return self._at(message).send(unaddressed(message), reply_to)

    def edit(self, message: Message, message_id: str) -> None:
        self._at(message).edit(unaddressed(message), message_id)

    def button_presses(self, since: int, wait: float = 0.0) -> list[ButtonPress]:
        return self.places[DEFAULT_DESTINATION].button_presses(since, wait)

    def confirm(self, answer: ButtonPress, text: str) -> None:
        self.places[DEFAULT_DESTINATION].confirm(answer, text)

    def check(self) -> str:
        """What each of them says. Raises NotifyError for the first to which messages would not arrive."""
        return "; ".join(f"{place}: {notifier.check()}" for place, notifier in self.places.items())

    def _at(self, message: Message) -> Notifier:
        place = destination_of(message.key)
        if place not in self.places:
            raise NotifyError(f"{place} is not configured any more: set it up again, or leave it", permanent=True)
        return self.places[place]


# Settings -> notifiers.


def open_destinations(given: Any) -> dict[str, Notifier]:
    """destination -> its notifier, of those that are set up; home is always there. `given`: settings, by their names."""
    places: dict[str, Notifier] = {DEFAULT_DESTINATION: _home(given)}
    if given.slack_url:
        from alerting.notifiers.slack import Slack

        places["slack"] = Slack(given.slack_url)
    if given.email_server:
        places["email"] = _mailbox(given)
    if given.webhook_url:
        from alerting.notifiers.webhook import Webhook

        places["webhook"] = Webhook(given.webhook_url, given.webhook_secret, given.webhook_photo == "yes")
    return places


def _home(given: Any) -> Notifier:
    from alerting.notifiers.console import Console
    from alerting.notifiers.telegram.chat import Telegram

    if not given.telegram_token:
        return Console()
    chat = given.telegram_chat
    return Telegram(given.telegram_token, chat, given.telegram_url, given.telegram_topic, users=given.telegram_users)


def _mailbox(given: Any) -> Notifier:
    from alerting.notifiers.email import Mailbox, Server

    server = Server(given.email_server, given.email_user, given.email_password, given.email_ca)
    return Mailbox(server, given.email_from, given.email_to)
