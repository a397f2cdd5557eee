"""Messages as text on a stream."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TextIO

from alerting.model.errors import NotifyError
from alerting.model.message import Message
from alerting.notifiers.base import OneWayNotifier, html_to_text


@dataclass(eq=False)
class Console(OneWayNotifier):
    """Prints messages, if no chat is configured. `out`: the stream; None for standard output."""

    out: TextIO | None = None
    _count: int = field(default=0, init=False)

    def send(self, message: Message, reply_to: str = "") -> str:
        """Return an id such as "console-1". Raises NotifyError if the stream is closed or broken."""
        number = f"console-{self._count + 1}"
        self._print(f"{number} answers {reply_to}" if reply_to else number, message)
        self._count += 1
        return number

    def edit(self, message: Message, message_id: str) -> None:
        """Print the new text. Raises NotifyError if the stream is closed or broken."""
        self._print(f"{message_id}, edited", message)

    def check(self) -> str:
        """Return the settings that a chat needs. Printing itself needs no check."""
        return "No chat is configured: messages are printed. Set ALERTING_TELEGRAM_TOKEN and ALERTING_TELEGRAM_CHAT."

    def _print(self, heading: str, message: Message) -> None:
        out = self.out or sys.stdout
        encoding = out.encoding or "utf-8"  # under cron it may be any encoding: a '?' is better than no alert
        picture = [] if message.photo is None else [f"[picture: {round(len(message.photo) / 1000)} kB, saved in the run]"]
        rows = [" ".join(f"[ {button.text} ]" for button in row) for row in message.buttons]
        text = "\n".join([f"--- {heading} ---", html_to_text(message.text), *picture, *rows]) + "\n\n"
        try:
            out.write(text.encode(encoding, "replace").decode(encoding))
            out.flush()
        except (OSError, ValueError) as error:
            raise NotifyError(f"Console: cannot print: {error}") from error
