"""A channel by an incoming webhook of Slack, or of a chat that takes the same JSON (Mattermost, Rocket.Chat, Discord's /slack).

Such a webhook can only post: it has no threads, edits, uploads or buttons, and returns no id. So each text is posted as a new
message without its picture, which is on the page of the run, and edits are left out.
"""

import html
import json
import re

from alerting.model.errors import NotifyError
from alerting.model.message import Message
from alerting.notifiers.base import PIECE, Hook, OneWayNotifier, cut_html, encodable
from alerting.settings import Settings

MAX_TEXT = 3900  # characters; Slack advises 4000
MARKS = {"b": "*", "strong": "*", "i": "_", "em": "_", "s": "~", "code": "`", "pre": "```"}
_HREF = re.compile(r"""href=(["'])(?P<url>.*?)\1""", re.IGNORECASE | re.DOTALL)


class Slack(OneWayNotifier):
    """The channel of the webhook `url`, which is a secret. `timeout`: seconds for a request."""

    def __init__(self, url: str, timeout: float = 15.0) -> None:
        self._hook = Hook("Slack", "ALERTING_SLACK_URL", url, timeout)

    def send(self, message: Message, reply_to: str = "") -> str:
        """Return the message's key, because a webhook gives no id. Its picture is not posted. Raises NotifyError."""
        body = {"text": mrkdwn(cut_html(encodable(message.text), MAX_TEXT)), "unfurl_links": False, "unfurl_media": False}
        self._hook.post(json.dumps(body, ensure_ascii=False).encode())
        return message.key

    def check(self) -> str:
        """Return a text about the webhook. An empty text is posted to it, which it refuses if it works. Raises NotifyError."""
        try:
            self._hook.post(b'{"text": ""}')
        except NotifyError as error:
            if error.permanent:
                return f"the webhook at {self._hook.host} answers; `make drill` shows what it does with a message"
            raise
        return f"the webhook at {self._hook.host} takes messages"


def from_settings(settings: Settings) -> Slack:
    return Slack(settings.slack_url)


def mrkdwn(text: str) -> str:
    """Return Telegram HTML in Slack's markup: *bold*, _italic_, <url|text>; only &, < and > are written as entities."""
    has_address = list[bool]()  # for each open <a>: whether it has an address

    def converted(piece: re.Match[str]) -> str:
        if piece["tag"] is None:
            return html.escape(html.unescape(piece[0]), quote=False)
        if piece["tag"].lower() != "a":
            return MARKS.get(piece["tag"].lower(), "")
        if piece["end"]:
            return ">" if has_address and has_address.pop() else ""
        href = _HREF.search(piece[0])
        has_address.append(bool(href))
        return f"<{html.escape(html.unescape(href['url']), quote=False).replace('|', '%7C')}|" if href else ""

    return PIECE.sub(converted, text)
