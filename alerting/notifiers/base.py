"""Notifiers without a destination of their own: the base of those that nobody can answer, and several destinations as one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alerting.model.errors import NotifyError
from alerting.model.routing import DEFAULT_DESTINATION, addressed_to, destination_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from alerting.model.message import ButtonPress, Message, Received
    from alerting.model.protocols import Notifier


class OneWayNotifier:
    """A destination without buttons: nobody can answer there. `notes` is for remarks about the settings after a success."""

    notes: Sequence[str] = ()

    def button_presses(self, since: int, wait: float = 0.0) -> list[Received]:
        return []

    def confirm(self, answer: ButtonPress, text: str) -> None:
        """Do nothing: there is no press to confirm."""


class RoutingNotifier:
    """Several destinations as one: each message goes to the one in its key (see `model.routing`).

    `destinations`: name -> notifier. Button presses come from the default one, which is among them.
    """

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
