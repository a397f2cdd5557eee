"""A channel, through an incoming webhook: Slack's, or that of a chat that takes the same (Mattermost, Rocket.Chat, Discord's
/slack). Such a hook posts and does nothing else: no thread, no edit, no upload, no button, and it gives no id.

So only what has news in its text is posted. A text that is brought up to date in place elsewhere stays as it was (worse, still
and over come as messages of their own), and a picture is left to the run, which every alert links to.
"""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING

from alerting.model.errors import NotifyError
from alerting.notifiers.hook import Hook
from alerting.notifiers.telegram_html import cut_html, encodable

if TYPE_CHECKING:
    from alerting.model.message import ButtonPress, Message

LIMIT = 3900  # characters; Slack advises 4000
SETTING = "ALERTING_SLACK_URL"
MARKS = {"b": "*", "strong": "*", "i": "_", "em": "_", "s": "~", "code": "`", "pre": "```"}
_TAG = re.compile(r"""<(?P<end>/?)(?P<tag>[a-z][\w-]*)(?:"[^"]*"|'[^']*'|[^<>"'])*>""", re.IGNORECASE)
_HREF = re.compile(r"""href=(["'])(?P<url>.*?)\1""", re.IGNORECASE | re.DOTALL)


class Slack:
    """`url`: of the webhook, a secret. `notes` stays empty: it tells nothing after a success."""

    def __init__(self, url: str, timeout: float = 15.0) -> None:
        self.notes: list[str] = []
        self._hook = Hook("Slack", SETTING, url, timeout)

    def send(self, message: Message, reply_to: str = "") -> str:
        """The message's key, for a hook gives no id. A picture is not posted. Raises NotifyError."""
        if message.photo is None:
            body = {"text": mrkdwn(cut_html(encodable(message.text), LIMIT)), "unfurl_links": False, "unfurl_media": False}
            self._hook.post(json.dumps(body, ensure_ascii=False).encode())
        return message.key

    def edit(self, message: Message, message_id: str) -> None:
        """Nothing: a hook cannot edit, and a message a quarter of an hour is not what anybody wants to be woken by."""

    def button_presses(self, since: int, wait: float = 0.0) -> list[ButtonPress]:
        return []

    def confirm(self, answer: ButtonPress, text: str) -> None:
        """Nobody can have pressed anything."""

    def check(self) -> str:
        """Whether the hook is alive: one that is refuses a message without text. Nothing is posted. Raises NotifyError."""
        try:
            self._hook.post(b'{"text": ""}')
        except NotifyError as error:
            if error.permanent:
                return f"the webhook at {self._hook.host} answers; `make drill` shows what it does with a message"
            raise
        return f"the webhook at {self._hook.host} takes messages"


def mrkdwn(text: str) -> str:
    """Telegram HTML as Slack writes it: *bold*, _italic_, <url|text>, and &lt; as it is."""
    out, end, links = list[str](), 0, list[bool]()
    for tag in _TAG.finditer(text):
        out += [_plain(text[end : tag.start()]), _mark(tag, links)]
        end = tag.end()
    return "".join([*out, _plain(text[end:])])


def _mark(tag: re.Match[str], links: list[bool]) -> str:
    """`links`: of the <a> that are open, whether they lead anywhere."""
    name = tag["tag"].lower()
    if name != "a":
        return MARKS.get(name, "")
    if tag["end"]:
        return ">" if links and links.pop() else ""
    href = _HREF.search(tag[0])
    links.append(bool(href))
    return f"<{_plain(href['url']).replace('|', '%7C')}|" if href else ""


def _plain(text: str) -> str:
    """Slack wants &, < and > as entities, and no others."""
    return html.escape(html.unescape(text), quote=False)
