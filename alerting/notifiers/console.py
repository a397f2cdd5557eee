"""Messages as text on a stream."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from alerting.model import NotifyError
from alerting.notifiers.text import plain

if TYPE_CHECKING:
    from alerting.model import Message


class Console:
    """Prints messages for people to read: what the chat would get when no chat is configured."""

    def __init__(self, out: TextIO | None = None) -> None:
        self.notes: list[str] = []
        self._out, self._count = out, 0

    def send(self, message: Message, reply_to: str = "") -> str:
        """Id such as "console-1". Raises NotifyError if the stream is closed or broken."""
        out, number = self._out or sys.stdout, f"console-{self._count + 1}"
        encoding = getattr(out, "encoding", None) or "utf-8"  # cron's may be anything: a '?' is better than no alert
        picture = "" if message.photo is None else f"\n[picture: {round(len(message.photo) / 1000)} kB, saved in the run]"
        answers = f" answers {reply_to}" if reply_to else ""
        text = f"--- {number}{answers} ---\n{plain(message.text)}{picture}\n\n"
        try:
            out.write(text.encode(encoding, "replace").decode(encoding))
            out.flush()
        except (OSError, ValueError) as error:
            raise NotifyError(f"Console: cannot print: {error}") from error
        self._count += 1
        return number

    def check(self) -> str:
        """Always able to print."""
        return "no chat is configured (ALERTING_TELEGRAM_TOKEN and ALERTING_TELEGRAM_CHAT): messages are printed"
