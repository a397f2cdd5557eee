"""The parts of a destination that most destinations have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alerting.model.message import ButtonPress


class OneWayNotifier:
    """A destination without buttons: nobody can answer there. `notes` is for remarks about the settings after a success."""

    notes: Sequence[str] = ()

    def button_presses(self, since: int, wait: float = 0.0) -> list[ButtonPress]:
        return []

    def confirm(self, answer: ButtonPress, text: str) -> None:
        """Do nothing: there is no press to confirm."""
