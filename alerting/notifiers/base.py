"""The parts that destinations share: a base class without answers, the console, posting to a secret address, routing, texts.

No exception, traceback or log record contains a secret address: `alerting.http_client` keeps it, and errors are raised in frames
without it (`Hook.post`). All texts are Telegram HTML, cut to a length as Telegram counts it, or converted to plain text.
"""

import html
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple, TextIO
from urllib.parse import urlsplit

from alerting.model.errors import NotifyError
from alerting.model.message import ButtonPress, Message, Received
from alerting.model.protocols import Notifier
from alerting.model.routing import DEFAULT_DESTINATION, addressed_to, destination_of

RETRY_PAUSE = 0.3  # seconds before the second, and last, attempt after a refused connection
MAX_BODY = 2000  # bytes of an answer that are read
MAX_EXCERPT = 120  # characters of an answer that an error repeats
PIECE = re.compile(  # a tag, an entity or a character
    r"""<(?P<end>/?)(?P<tag>[a-z][\w-]*)(?:"[^"]*"|'[^']*'|[^<>"'])*>|&(?:lt|gt|amp|quot|\#\d+|\#x[\da-f]+);|.""",
    re.IGNORECASE | re.DOTALL,
)
_LINK = re.compile(r"""<a\s[^<>]*?href=(["'])(?P<url>.*?)\1[^<>]*>(?P<text>.*?)</a>""", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"""</?[a-z](?:"[^"]*"|'[^']*'|[^<>"'])*>""", re.IGNORECASE)


class OneWayNotifier:
    """A destination without buttons and edits: messages are only sent. `notes`: remarks about the settings after a success."""

    notes: Sequence[str] = ()

    def button_presses(self, since: int, wait: float = 0.0) -> list[Received]:
        return []

    def edit(self, message: Message, message_id: str) -> None:
        """Do nothing: a message for every edit would be too many. Important changes are sent as messages."""

    def confirm(self, answer: ButtonPress, text: str) -> None:
        """Do nothing: there is no press to confirm."""


class RoutingNotifier:
    """Several destinations as one: each message goes to the destination in its key (see `model.routing`).

    `destinations`: name -> notifier; the default one must be among them. Button presses come from the default one.
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
        """Return the results of all destinations. Raises the NotifyError of the first at which messages would not arrive."""
        return "; ".join(f"{name}: {notifier.check()}" for name, notifier in self.destinations.items())

    def _notifier_of(self, message: Message) -> Notifier:
        name = destination_of(message.key)
        if name not in self.destinations:
            raise NotifyError(f"{name} is not configured any more: set it up again, or leave it", permanent=True)
        return self.destinations[name]


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


class HookAnswer(NamedTuple):
    """An answer, or (code 0) the reason why there is none. It never contains the address."""

    code: int
    text: str
    retry_after: float = 0.0  # seconds
    unsure: bool = False  # the request may have arrived


class Hook:
    """A client of the address `url`. Errors contain the name of the destination and the setting of its address."""

    def __init__(self, name: str, setting: str, url: str, timeout: float = 15.0) -> None:
        self.name, self.setting, self.timeout = name, setting, timeout
        self._url, parts = url, urlsplit(url)
        self.host = parts.hostname or "nowhere"
        self._secrets = [url, f"{parts.path}?{parts.query}" if parts.query else parts.path, parts.path]

    def post(self, body: bytes, **headers: str) -> None:
        """Post a message. Raises NotifyError for any answer but 2xx, permanent when this message can never be accepted."""
        answer = self.ask("POST", body, headers)
        if 200 <= answer.code < 300:
            return
        text = f"{self.name}: {answer.code or ''} {answer.text}".replace(":  ", ": ")
        if answer.code == 429:
            raise NotifyError(text, retry_after=answer.retry_after or 1.0)
        if 300 <= answer.code < 400:
            raise NotifyError(f"{text}: it redirects, which is not followed: set {self.setting} to where it leads")
        if 400 < answer.code < 500 and answer.code not in (408, 413, 422):
            raise NotifyError(f"{text}: check {self.setting}")
        doubt = ": the message may have arrived" if answer.unsure else ""
        raise NotifyError(text + doubt, permanent=answer.code in (400, 413, 422))

    def ask(self, method: str, body: bytes, headers: dict[str, str]) -> HookAnswer:
        """Return the answer. Only a refused connection is tried again, because then nothing has arrived."""
        from alerting.http_client import HttpClient, HttpFailure  # 0.1 s that a quiet run does not need

        # The body of a 2xx is not read: if it is slow, an accepted message must not be posted again.
        client = HttpClient(self.timeout, max_body=MAX_BODY, success_body=False, retry_pause=RETRY_PAUSE)
        content = {"Content-Type": "application/json; charset=utf-8"}
        answer = client.request(method, self._url, data=body, headers={**content, **headers})
        if isinstance(answer, HttpFailure):
            text = answer.in_words(self.host, f"check the network and {self.setting}")
            return HookAnswer(0, text, unsure=answer.unsure)
        text = answer.head
        for secret in filter(lambda part: len(part) > 1, self._secrets):  # some servers repeat the address
            text = text.replace(secret, "<address>")
        line = " ".join(text.split())
        is_web_page = re.match(r"<!|<html", line, re.IGNORECASE)
        return HookAnswer(answer.status, "" if is_web_page else line[:MAX_EXCERPT], answer.retry_after)


def ping(url: str, timeout: float = 10.0) -> str:
    """Send one GET to a watchdog service, which raises an alarm when the requests stop. Never raises.

    Return "" for an answer of 2xx, otherwise a line about the failure. The URL is not in it, because it works as a password.
    """
    from alerting.http_client import HttpClient, HttpFailure  # 0.1 s that most runs do not need

    host = "nowhere"
    with suppress(ValueError):
        host = urlsplit(url).hostname or host
    answer = HttpClient(timeout, max_body=0).request("GET", url)  # the body is not needed
    if isinstance(answer, HttpFailure):
        return f"heartbeat: no answer from {host} ({answer.error}): check ALERTING_HEARTBEAT_URL"
    if 200 <= answer.status < 300:
        return ""
    redirected = 300 <= answer.status < 400
    advice = "set ALERTING_HEARTBEAT_URL to where it redirects" if redirected else "check ALERTING_HEARTBEAT_URL"
    return f"heartbeat: {host} answered {answer.status}: {advice}"


def cut_html(text: str, limit: int) -> str:
    """Return the text, cut to at most `limit` UTF-16 code units. A text that was cut ends in '…', with every tag closed.

    Tags are not counted, and an entity (&lt;) counts as one character. Neither is split.
    """
    pieces = list(PIECE.finditer(text))
    if sum(map(_units, pieces)) <= limit:
        return text
    left, open_tags, kept = limit - 1, list[str](), list[str]()
    for piece in pieces:
        left -= _units(piece)
        if left < 0:
            break
        kept.append(piece[0])
        if piece["tag"] and not piece["end"]:
            open_tags.append(piece["tag"])
        elif piece["tag"] and open_tags:
            open_tags.pop()
    return "".join(kept).rstrip() + "…" + "".join(f"</{tag}>" for tag in reversed(open_tags))


def html_to_text(text: str) -> str:
    """Return Telegram HTML as plain text: without tags, with entities as characters and links as `text (url)`."""
    text = _LINK.sub(lambda it: it["text"] if it["text"] == it["url"] else f"{it['text']} ({it['url']})", text)
    return html.unescape(_TAG.sub("", text))


def cut_plain(text: str, limit: int) -> str:
    """Return text without markup, cut as `cut_html` does."""
    return html.unescape(cut_html(html.escape(text), limit))


def encodable(text: str) -> str:
    """Return text that can be encoded: a lone surrogate (from a broken name in the data) becomes '?'."""
    return text.encode("utf-8", "replace").decode()


def _units(piece: re.Match[str]) -> int:
    """Return the UTF-16 code units of a piece, as Telegram counts them: a character above 65535 has two."""
    return 0 if piece["tag"] else max(1, len(html.unescape(piece[0]).encode("utf-16-le", "replace")) // 2)
