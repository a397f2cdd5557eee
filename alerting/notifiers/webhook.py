"""Any program that takes JSON over HTTP: an incident tool, a queue, a script of one's own. `docs/destinations.md` has the schema.

A message is posted under its own key (header Idempotency-Key), so a receiver that has seen the key may drop it: after a timeout
nobody knows whether it arrived, and it is posted again.
"""

from __future__ import annotations

import base64
import hmac
import json
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import quote

from alerting.model.errors import NotifyError
from alerting.notifiers.hook import Hook
from alerting.notifiers.telegram_html import encodable, html_to_text

if TYPE_CHECKING:
    from alerting.model.message import ButtonPress, Message

VERSION = 1  # of the schema: raised when a field changes its meaning or goes
NO_HEAD = 501  # from a server that knows POST only
SETTING = "ALERTING_WEBHOOK_URL"


class Webhook:
    """`url` is a secret, and so is `secret`, which signs each body (header X-Alerting-Signature: sha256=HEX)."""

    def __init__(self, url: str, secret: str = "", photos: bool = True, timeout: float = 15.0) -> None:
        self.notes: list[str] = []
        self._hook, self._secret, self._photos = Hook("Webhook", SETTING, url, timeout), secret.encode(), photos

    def send(self, message: Message, reply_to: str = "") -> str:
        """The message's key: what it answers is named by its key, too. Raises NotifyError."""
        if message.photo is None or self._photos:
            self._post(message)
        return message.key

    def edit(self, message: Message, message_id: str) -> None:
        """Posts the new text, `edits` naming the message whose text it replaces. Raises NotifyError."""
        self._post(message)

    def button_presses(self, since: int, wait: float = 0.0) -> list[ButtonPress]:
        return []

    def confirm(self, answer: ButtonPress, text: str) -> None:
        """Nobody can have pressed anything."""

    def check(self) -> str:
        """Whether something answers there. Nothing is posted. Raises NotifyError."""
        answer = self._hook.ask("HEAD", b"", {})
        if answer.code in (0, 401, 403, 410) or (answer.code >= 500 and answer.code != NO_HEAD):
            raise NotifyError(f"Webhook: {answer.code or ''} {answer.text}: check {SETTING}")
        return f"{self._hook.host} answers (HEAD: {answer.code}); `make drill` shows what it does with a message"

    def _post(self, message: Message) -> None:
        body = json.dumps(schema(message), ensure_ascii=False).encode()
        signature = {"X-Alerting-Signature": f"sha256={hmac.new(self._secret, body, sha256).hexdigest()}"} if self._secret else {}
        self._hook.post(body, **{"Idempotency-Key": quote(message.key, safe="/:"), **signature})


def schema(message: Message) -> dict[str, object]:
    """The message as JSON has it."""
    return {
        "version": VERSION,
        "key": message.key,
        "kind": message.kind.value,
        "metric": message.metric,
        "bucket": f"{message.bucket:%Y-%m-%dT%H:%M:%SZ}",
        "text": encodable(message.text),
        "text_plain": encodable(html_to_text(message.text)),
        "incident": message.incident,
        "reply_to": message.reply_to,
        "edits": message.edits,
        "quiet": message.quiet,
        "photo": None if message.photo is None else base64.b64encode(message.photo).decode(),
    }
