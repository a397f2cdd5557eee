"""Several destinations as one: each message goes where its key says (see `model.route`); answers come from home."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alerting.model import NotifyError
from alerting.model.route import HOME, original, place_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from alerting.model import Answer, Message, Notifier


class Routed:
    """`places`: destination -> its notifier; home is one of them."""

    def __init__(self, places: Mapping[str, Notifier]) -> None:
        self.places = dict(places)

    @property
    def notes(self) -> list[str]:
        """What any of them has to say."""
        return [note for notifier in self.places.values() for note in notifier.notes]

    def send(self, message: Message, reply_to: str = "") -> str:
        """Id at the copy's destination. Raises NotifyError."""
        return self._at(message).send(original(message), reply_to)

    def edit(self, message: Message, message_id: str) -> None:
        self._at(message).edit(original(message), message_id)

    def answers(self, since: int, wait: float = 0.0) -> list[Answer]:
        return self.places[HOME].answers(since, wait)

    def confirm(self, answer: Answer, text: str) -> None:
        self.places[HOME].confirm(answer, text)

    def check(self) -> str:
        """What each of them says. Raises NotifyError for the first to which messages would not arrive."""
        return "; ".join(f"{place}: {notifier.check()}" for place, notifier in self.places.items())

    def _at(self, message: Message) -> Notifier:
        place = place_of(message.key)
        if place not in self.places:
            raise NotifyError(f"{place} is not configured any more: set it up again, or leave it", permanent=True)
        return self.places[place]
