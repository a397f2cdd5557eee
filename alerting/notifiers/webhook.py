"""Any program that takes JSON over HTTP: an incident tool, a queue, a script. `docs/destinations.md` describes the JSON.

The header Idempotency-Key has the message's key, so that a receiver can drop a message that it has already: after a timeout it is
unknown whether the message arrived, and it is posted again.
"""

import base64
import hmac
import json
from dataclasses import replace
from hashlib import sha256
from urllib.parse import quote

from alerting.model.errors import NotifyError
from alerting.model.message import Message
from alerting.notifiers.base import Hook, OneWayNotifier, encodable, html_to_text
from alerting.settings import Settings

VERSION = 1  # version of the JSON; it rises if a field changes its meaning or is removed
HEAD_NOT_SUPPORTED = 501
SETTING = "ALERTING_WEBHOOK_URL"


class Webhook(OneWayNotifier):
    """The receiver at `url`, a secret. `secret` signs bodies (X-Alerting-Signature: sha256=HEX). `timeout`: seconds."""

    def __init__(self, url: str, secret: str = "", photos: bool = True, timeout: float = 15.0) -> None:
        self._hook, self._secret, self._photos = Hook("Webhook", SETTING, url, timeout), secret.encode(), photos

    def send(self, message: Message, reply_to: str = "") -> str:
        """Return the message's key, which is also its id in the JSON (`reply_to`, `edits`). Raises NotifyError."""
        body = json.dumps(schema(message if self._photos else replace(message, photo=None)), ensure_ascii=False).encode()
        headers = {"Idempotency-Key": quote(message.key, safe="/:")}
        if self._secret:
            headers["X-Alerting-Signature"] = f"sha256={hmac.new(self._secret, body, sha256).hexdigest()}"
        self._hook.post(body, **headers)
        return message.key

    def check(self) -> str:
        """Return a text that a server answers at the address. Nothing is posted. Raises NotifyError."""
        answer = self._hook.ask("HEAD", b"", {})
        if answer.code in (0, 401, 403, 410) or (answer.code >= 500 and answer.code != HEAD_NOT_SUPPORTED):
            raise NotifyError(f"Webhook: {answer.code or ''} {answer.text}: check {SETTING}")
        return f"{self._hook.host} answers (HEAD: {answer.code}); `make drill` shows what it does with a message"


def from_settings(settings: Settings) -> Webhook:
    return Webhook(settings.webhook_url, settings.webhook_secret, settings.webhook_photo == "yes")


def schema(message: Message) -> dict[str, object]:
    """Return the fields of a message's JSON."""
    return {
        "version": VERSION,
        "key": message.key,
        "kind": message.kind.value,
        "metric": message.metric,
        "severity": ("critical" if message.critical else "warning") if message.metric else None,
        "bucket": f"{message.bucket:%Y-%m-%dT%H:%M:%SZ}",
        "text": encodable(message.text),
        "text_plain": encodable(html_to_text(message.text)),
        "incident": message.incident,
        "reply_to": message.reply_to,
        "edits": message.edits,
        "quiet": message.quiet,
        "photo": None if message.photo is None else base64.b64encode(message.photo).decode(),
    }
