"""Several destinations as one: each message goes to the destination in its key (see `model.routing`)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from alerting.model.errors import NotifyError
from alerting.model.routing import DEFAULT_DESTINATION, addressed_to, destination_of
from alerting.notifiers.console import Console
from alerting.settings import configured_destinations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alerting.model.message import Message
    from alerting.model.protocols import Notifier
    from alerting.settings import Settings


def open_destinations(settings: Settings) -> dict[str, Notifier]:
    """Return name -> notifier of the destinations that are set up; in place of the chat the console, if it is not set up.

    Only the modules of these destinations are imported.
    """
    opened: dict[str, Notifier] = {DEFAULT_DESTINATION: Console()}
    for name in configured_destinations(vars(settings)):
        opened[name] = import_module(f"alerting.notifiers.{name}").from_settings(settings)
    return opened


class RoutingNotifier:
    """The notifiers of several destinations by name. Button presses come from the default one, which is one of them."""

    def __init__(self, destinations: Mapping[str, Notifier]) -> None:
        self.destinations = dict(destinations)
        pressed_in = self.destinations[DEFAULT_DESTINATION]
        self.button_presses, self.confirm = pressed_in.button_presses, pressed_in.confirm

    @property
    def notes(self) -> list[str]:
        return [note for notifier in self.destinations.values() for note in notifier.notes]

    def send(self, message: Message, reply_to: str = "") -> str:
        """Return the id at the destination. Raises NotifyError."""
        return self._notifier_of(message).send(addressed_to(message, DEFAULT_DESTINATION), reply_to)

    def edit(self, message: Message, message_id: str) -> None:
        self._notifier_of(message).edit(addressed_to(message, DEFAULT_DESTINATION), message_id)

    def check(self) -> str:
        """Return the results of all destinations. Raises NotifyError of the first to which messages would not arrive."""
        return "; ".join(f"{name}: {notifier.check()}" for name, notifier in self.destinations.items())

    def _notifier_of(self, message: Message) -> Notifier:
        name = destination_of(message.key)
        if name not in self.destinations:
            raise NotifyError(f"{name} is not configured any more: set it up again, or leave it", permanent=True)
        return self.destinations[name]
