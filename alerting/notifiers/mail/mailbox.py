"""Messages as mail. The server's word is believed: accepted is sent, wherever the mail goes from there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alerting.destinations import address
from alerting.notifiers.mail.letters import letter
from alerting.notifiers.mail.posting import Server

if TYPE_CHECKING:
    from alerting.model import Answer, Message


class Mailbox:
    """Some addresses, through an SMTP server. `notes`: which of them did not take a message that others took."""

    def __init__(self, server: Server, sender: str, to: str) -> None:
        """`sender` and `to` (with commas between) as ALERTING_EMAIL_FROM and ALERTING_EMAIL_TO. Raises ValueError."""
        self.notes: list[str] = []
        self._server, self._sender = server, sender
        self._to = tuple(part.strip() for part in to.split(",") if part.strip())
        self._envelope = address(sender), [address(part) for part in self._to]

    def send(self, message: Message, reply_to: str = "") -> str:
        """The Message-ID. Raises NotifyError."""
        made = letter(message, self._sender, self._to, reply_to if "@" in reply_to else "")
        absent = self._server.deliver(*self._envelope, made.as_bytes())
        self.notes += [f"E-mail: {to} was refused: {why}" for to, why in absent.items()]
        return str(made["Message-ID"])

    def edit(self, message: Message, message_id: str) -> None:
        """Nothing: mail cannot be edited, and a mail a quarter of an hour is not what anybody wants to be woken by."""

    def answers(self, since: int, wait: float = 0.0) -> list[Answer]:
        return []

    def confirm(self, answer: Answer, text: str) -> None:
        """Nobody can have pressed anything."""

    def check(self) -> str:
        """Whether the server takes mail from us to all addresses. Nothing is sent. Raises NotifyError."""
        absent = self._server.deliver(*self._envelope, None)
        refused = "".join(f", but not to {to} ({why})" for to, why in absent.items())
        return f"{self._server} takes mail to {', '.join(to for to in self._envelope[1] if to not in absent)}{refused}"
