"""Settings -> notifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alerting.model.route import HOME

if TYPE_CHECKING:
    from alerting.model import Notifier


def opened(given: Any) -> dict[str, Notifier]:
    """destination -> its notifier, of those that are set up; home is always there. `given`: settings, by their names."""
    places: dict[str, Notifier] = {HOME: _home(given)}
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
    from alerting.notifiers import Console, Telegram

    if not given.telegram_token:
        return Console()
    chat = given.telegram_chat
    return Telegram(given.telegram_token, chat, given.telegram_url, given.telegram_topic, users=given.telegram_users)


def _mailbox(given: Any) -> Notifier:
    from alerting.notifiers.email import Mailbox, Server

    server = Server(given.email_server, given.email_user, given.email_password, given.email_ca)
    return Mailbox(server, given.email_from, given.email_to)
