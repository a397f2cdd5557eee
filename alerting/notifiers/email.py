"""Mail, through an SMTP server. The server's word is believed: accepted is sent, wherever the mail goes from there.

A message becomes a letter: plain text and HTML, its picture within, and the headers that make an incident one thread. The
password goes to the server encrypted, or to this very machine; no error tells it.
"""

from __future__ import annotations

import re
import smtplib
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from hashlib import blake2b
from html import escape
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from alerting.deadline import Deadline
from alerting.model.errors import NotifyError
from alerting.notifiers.telegram_html import cut_plain, encodable, html_to_text
from alerting.settings import mail_address

if TYPE_CHECKING:
    from socket import socket

    from alerting.model.message import ButtonPress, Message

SUBJECT = 150  # characters
POLICY = SMTP.clone(cte_type="7bit")  # a server need not take 8-bit mail
PICTURE = "picture"  # content id, before the domain
PORTS = {"smtp": 587, "smtps": 465}
SETTING = "ALERTING_EMAIL_SERVER"
TOO_LARGE = 552  # a server that was told the size says it of the sender, before it has seen the letter
WHOLE = 3  # times the timeout of a reply that a letter may take: servers greet late and look for spam at the end, on purpose
ADVICE = {
    "connection": f"check the network, {SETTING}, and of smtps:// the certificate (ALERTING_EMAIL_CA)",
    "encryption": f"it must speak STARTTLS with a certificate that is known (ALERTING_EMAIL_CA): check {SETTING}",
    "login": "check ALERTING_EMAIL_USER and ALERTING_EMAIL_PASSWORD",
    "sender": "check ALERTING_EMAIL_FROM and whether a login is needed",
    "recipient": "check ALERTING_EMAIL_TO and whether a login is needed",
    "content": "the server does not take it",
}
_STEPS = {"mail": "sender", "rcpt": "recipient", "data": "content"}  # SMTP command -> step; any other is of the step before
_LINKED = re.compile(r"\s\(https?://[^)\s]*\)")  # what `plain` makes of a link: no part of a subject


class Mailbox:
    """Some addresses, through an SMTP server. `notes`: which of them did not take a message that others took."""

    def __init__(self, server: Server, sender: str, to: str) -> None:
        """`sender` and `to` (with commas between) as ALERTING_EMAIL_FROM and ALERTING_EMAIL_TO. Raises ValueError."""
        self.notes: list[str] = []
        self._server, self._sender = server, sender
        self._to = tuple(part.strip() for part in to.split(",") if part.strip())
        self._envelope = mail_address(sender), [mail_address(part) for part in self._to]

    def send(self, message: Message, reply_to: str = "") -> str:
        """The Message-ID. Raises NotifyError."""
        made = letter(message, self._sender, self._to, reply_to if "@" in reply_to else "")
        absent = self._server.deliver(*self._envelope, made.as_bytes())
        self.notes += [f"E-mail: {to} was refused: {why}" for to, why in absent.items()]
        return str(made["Message-ID"])

    def edit(self, message: Message, message_id: str) -> None:
        """Nothing: mail cannot be edited, and a mail a quarter of an hour is not what anybody wants to be woken by."""

    def button_presses(self, since: int, wait: float = 0.0) -> list[ButtonPress]:
        return []

    def confirm(self, answer: ButtonPress, text: str) -> None:
        """Nobody can have pressed anything."""

    def check(self) -> str:
        """Whether the server takes mail from us to all addresses. Nothing is sent. Raises NotifyError."""
        absent = self._server.deliver(*self._envelope, None)
        refused = "".join(f", but not to {to} ({why})" for to, why in absent.items())
        return f"{self._server} takes mail to {', '.join(to for to in self._envelope[1] if to not in absent)}{refused}"


def letter(message: Message, sender: str, to: tuple[str, ...], reply_to: str = "") -> EmailMessage:
    """`reply_to`: the Message-ID that it answers. The same message has the same Message-ID, however often it is sent.

    Raises NotifyError (permanent) for what cannot be written as mail.
    """
    made, text = EmailMessage(POLICY), encodable(html_to_text(message.text))
    domain = mail_address(sender).rpartition("@")[2]
    try:
        for name, value in _headers(message, domain, reply_to).items():
            if value:
                made[name] = value
        made["Subject"] = cut_plain(" ".join(_LINKED.sub("", text.split("\n")[0]).split()), SUBJECT)
        made["From"], made["To"] = sender, ", ".join(to)
        made.set_content(text)
        made.add_alternative(_html(message, domain), subtype="html")
        page = made.get_body(("html",))
        if message.photo is not None and page is not None:
            page.add_related(message.photo, "image", "png", cid=f"<{PICTURE}@{domain}>", filename="picture.png")
    except ValueError as error:
        raise NotifyError(f"E-mail: cannot be written as mail ({error})", permanent=True) from None
    return made


def _headers(message: Message, domain: str, reply_to: str) -> dict[str, str]:
    """An incident's letters all name its thread, so that they stay together where the first one is absent."""
    thread = f"<{_digest(message.incident)}@{domain}>" if message.incident else ""
    return {
        "Date": formatdate(),
        "Message-ID": f"<{_digest(message.key)}@{domain}>",
        "In-Reply-To": reply_to or thread,
        "References": " ".join(filter(None, dict.fromkeys((thread, reply_to)))),
        "Auto-Submitted": "auto-generated",
        "Importance": "" if message.quiet else "high",
    }


def _html(message: Message, domain: str) -> str:
    """The chat's HTML is a part of a mail's; lines are broken by marks there."""
    text = encodable(message.text).replace("\n", "<br>\n")
    picture = f'<br>\n<img src="cid:{PICTURE}@{domain}" alt="{escape(html_to_text(message.text))}" style="max-width:100%">'
    return f"<html><body><p>{text}{picture if message.photo is not None else ''}</p></body></html>\n"


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


@dataclass(frozen=True)
class Server:
    """`url`: smtps://host:465 speaks TLS from the start; smtp://host:587 must offer STARTTLS, unless it is this
    machine and no CA is given. `timeout`: seconds for a reply."""

    url: str
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""  # file of a CA certificate, for a server with a private one
    timeout: float = 20.0

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or PORTS[urlsplit(self.url).scheme]

    def deliver(self, sender: str, to: list[str], content: bytes | None) -> dict[str, str]:
        """Hand over a letter (None: only ask whether one would be taken). The addresses that were refused, and why, while others
        were not. Raises NotifyError; permanent when the server refuses this very letter."""
        with Deadline(WHOLE * self.timeout) as deadline:
            exchange = _Exchange(deadline)
            ended = self._exchanged(exchange, sender, to, content)
        if isinstance(ended, dict):
            return {to: f"{code} {_line(words)}" for to, (code, words) in ended.items()}
        code, said = _answered(ended)
        if deadline.expired and not code:
            said = TimeoutError.__name__  # and not that of a connection which we have shut down ourselves
        step = "content" if code == TOO_LARGE else exchange.step
        if self.password:
            said = said.replace(self.password, "<password>")
        text = " ".join(filter(None, ["E-mail:", str(self), step, str(code or ""), said]))
        if step == "content" and not code:
            raise NotifyError(f"{text}: the message may have arrived")
        raise NotifyError(f"{text}: {ADVICE[step]}", permanent=step == "content" and code >= 500)

    def _exchanged(self, exchange: _Exchange, sender: str, to: list[str], content: bytes | None) -> Any:
        """The refused addresses, or the error as a value: errors, and the frames in them, may hold what was said."""
        smtp = None
        try:
            smtp = self._connected(exchange)
            exchange.step = "sender"
            if content is None:
                return _asked(smtp, sender, to)
            return smtp.sendmail(sender, to, content)  # send_message would write ">From" where a line begins with "From"
        except (smtplib.SMTPException, OSError, ValueError) as error:
            return error
        finally:
            if smtp:  # a server that does not say goodbye has accepted the letter all the same
                with suppress(Exception):
                    smtp.quit()
                smtp.close()

    def _connected(self, exchange: _Exchange) -> smtplib.SMTP:
        """Encrypted, and logged in."""
        encrypted = urlsplit(self.url).scheme == "smtps"
        if encrypted:
            smtp: smtplib.SMTP = _EncryptedLine(exchange, self.host, self.port, timeout=self.timeout, context=self._context())
        else:
            smtp = _Line(exchange, self.host, self.port, timeout=self.timeout)
        try:
            if not encrypted:
                exchange.step = "encryption"
                smtp.ehlo()
                if self.ca or not _here(self.host):  # a local server's certificate is rarely one that anybody knows
                    smtp.starttls(context=self._context())
            if self.user:
                exchange.step = "login"
                smtp.login(self.user, self.password)
        except BaseException:
            smtp.close()
            raise
        return smtp

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca or None)


@dataclass
class _Exchange:
    """How far a letter came, and the end of its time."""

    deadline: Deadline
    step: str = "connection"


class _Line(smtplib.SMTP):
    """Notes the step at which an exchange ends, which smtplib does not tell of a lost connection, and ends with the deadline."""

    def __init__(self, exchange: _Exchange, *given: Any, **more: Any) -> None:
        self.exchange = exchange
        super().__init__(*given, **more)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket:
        return self.exchange.deadline.watch(super()._get_socket(host, port, timeout))  # type: ignore[misc]

    def putcmd(self, cmd: str, args: str = "") -> None:
        self.exchange.step = _STEPS.get(cmd, self.exchange.step)
        super().putcmd(cmd, args)


class _EncryptedLine(smtplib.SMTP_SSL, _Line):
    """With TLS around what `_Line` connects."""

    def __init__(self, exchange: _Exchange, *given: Any, **more: Any) -> None:
        self.exchange = exchange
        smtplib.SMTP_SSL.__init__(self, *given, **more)


def _asked(smtp: smtplib.SMTP, sender: str, to: list[str]) -> dict[str, tuple[int, bytes]]:
    """The addresses that would be refused. Raises as `sendmail` does."""
    smtp.ehlo_or_helo_if_needed()
    code, words = smtp.mail(sender)
    if code != 250:
        raise smtplib.SMTPSenderRefused(code, words, sender)
    said = {to: smtp.rcpt(to) for to in to}
    refused = {to: answer for to, answer in said.items() if answer[0] not in (250, 251)}
    if len(refused) == len(said):
        raise smtplib.SMTPRecipientsRefused(refused)
    smtp.rset()
    return refused


def _answered(error: Exception) -> tuple[int, str]:
    """Code (0: none) and words of the server; where it said nothing, what happened."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, words = list(error.recipients.values())[-1]
    else:
        code, words = getattr(error, "smtp_code", 0), getattr(error, "smtp_error", b"")
    happened = str(error) if type(error) is smtplib.SMTPException else type(error).__name__
    return max(code, 0), _line(words) or " ".join(happened.split())[:200]


def _line(words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    return " ".join(text.split())[:200]


def _here(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
