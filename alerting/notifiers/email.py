"""Mail through an SMTP server. A message that the server has accepted counts as sent.

A mail has plain text, HTML, the picture inside, and the headers by which the mails of an incident form a thread. The password is
sent only over TLS or to this machine, and no error contains it.
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
from functools import partial
from hashlib import blake2b
from html import escape
from ipaddress import ip_address
from socket import socket
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from alerting.deadline import Deadline
from alerting.model.errors import NotifyError
from alerting.model.message import Message
from alerting.notifiers.base import OneWayNotifier, cut_plain, encodable, html_to_text
from alerting.settings import Settings, mail_address

MAX_SUBJECT = 150  # characters
MAX_REPLY = 200  # characters of a server's reply that an error repeats
MAX_REPLY_LINES = 1000  # lines of one reply; the longest usual one, to EHLO, has about twenty
POLICY = SMTP.clone(cte_type="7bit")  # a server need not take 8-bit mail
PICTURE = "picture"  # content id, before the domain
PORTS = {"smtp": 587, "smtps": 465}
SETTING = "ALERTING_EMAIL_SERVER"
TOO_LARGE = 552  # the reply to MAIL if the announced size is too large for the server
WHOLE = 3  # time limit of a mail, in timeouts of a reply: servers delay their greeting and check for spam at the end
ADVICE = {  # step of an SMTP session -> what to do when it fails
    "connection": f"check the network, {SETTING}, and of smtps:// the certificate (ALERTING_EMAIL_CA)",
    "encryption": f"it must speak STARTTLS with a certificate that is known (ALERTING_EMAIL_CA): check {SETTING}",
    "login": "check ALERTING_EMAIL_USER and ALERTING_EMAIL_PASSWORD",
    "sender": "check ALERTING_EMAIL_FROM and whether a login is needed",
    "recipient": "check ALERTING_EMAIL_TO and whether a login is needed",
    "content": "the server does not take it",
}
Replies = dict[str, tuple[int, bytes]]  # address -> code and text of the reply
_STEPS = {"mail": "sender", "rcpt": "recipient", "data": "content"}  # SMTP command -> step; others do not change the step
_LINK_ADDRESS = re.compile(r"\s\(https?://[^)\s]*\)")  # added by `html_to_text`; a subject has no place for it


def from_settings(settings: Settings) -> Mailbox:
    server = SmtpServer(settings.email_server, settings.email_user, settings.email_password, settings.email_ca)
    return Mailbox(server, settings.email_from, settings.email_to)


class Mailbox(OneWayNotifier):
    """Mail addresses, reached by an SMTP server. `notes`: addresses that refused a message which others accepted.

    `sender`, `to` (addresses with commas between): as ALERTING_EMAIL_FROM and ALERTING_EMAIL_TO. Raises ValueError for any other
    text.
    """

    def __init__(self, server: SmtpServer, sender: str, to: str) -> None:
        self.notes: list[str] = []
        self._server, self._sender = server, sender
        self._to = tuple(part.strip() for part in to.split(",") if part.strip())
        self._addresses = mail_address(sender), [mail_address(part) for part in self._to]

    def send(self, message: Message, reply_to: str = "") -> str:
        """Return the Message-ID. Raises NotifyError."""
        mail = compose_mail(message, self._sender, self._to, reply_to if "@" in reply_to else "")
        refused = self._server.deliver(*self._addresses, mail.as_bytes())
        self.notes += [f"E-mail: {to} was refused: {reason}" for to, reason in refused.items()]
        return str(mail["Message-ID"])

    def check(self) -> str:
        """Return a text with the addresses to which the server accepts mail. Nothing is sent. Raises NotifyError."""
        refused = self._server.deliver(*self._addresses, None)
        accepted = ", ".join(to for to in self._addresses[1] if to not in refused)
        return f"{self._server} takes mail to {accepted}" + "".join(f", but not to {to} ({why})" for to, why in refused.items())


def compose_mail(message: Message, sender: str, to: tuple[str, ...], reply_to: str = "") -> EmailMessage:
    """Return the message as mail. `reply_to`: the Message-ID of the mail that it answers.

    A message has the same Message-ID each time that it is sent. All mails of an incident refer to one thread id, so that they
    form a thread even without the first mail. Raises NotifyError (permanent) if the message cannot be written as mail.
    """
    domain = mail_address(sender).rpartition("@")[2]
    text, page = encodable(html_to_text(message.text)), encodable(message.text).replace("\n", "<br>\n")
    if message.photo is not None:
        page += f'<br>\n<img src="cid:{PICTURE}@{domain}" alt="{escape(text.partition(chr(10))[0])}" style="max-width:100%">'
    names = (blake2b(of.encode("utf-8", "replace"), digest_size=16).hexdigest() for of in (message.key, message.incident))
    own, thread = (f"<{name}@{domain}>" for name in names)
    thread = thread if message.incident else ""
    headers = {
        "Date": formatdate(),
        "Message-ID": own,
        "In-Reply-To": reply_to or thread,
        "References": " ".join(filter(None, dict.fromkeys((thread, reply_to)))),
        "Auto-Submitted": "auto-generated",
        "Importance": "" if message.quiet else "high",
    }
    mail = EmailMessage(POLICY)
    try:
        for name, value in headers.items():
            if value:
                mail[name] = value
        mail["Subject"] = cut_plain(" ".join(_LINK_ADDRESS.sub("", text.split("\n")[0]).split()), MAX_SUBJECT)
        mail["From"], mail["To"] = sender, ", ".join(to)
        mail.set_content(text)
        mail.add_alternative(f"<html><body><p>{page}</p></body></html>\n", subtype="html")
        html_part = mail.get_body(("html",))
        if message.photo is not None and html_part is not None:
            html_part.add_related(message.photo, "image", "png", cid=f"<{PICTURE}@{domain}>", filename="picture.png")
    except ValueError as error:
        raise NotifyError(f"E-mail: cannot be written as mail ({error})", permanent=True) from None
    return mail


@dataclass(frozen=True)
class SmtpServer:
    """An SMTP server. `url`: smtps://host:465 uses TLS from the start; smtp://host:587 must offer STARTTLS.

    A server on this machine needs no STARTTLS if no CA is given. `timeout`: seconds for a reply.
    """

    url: str
    user: str = ""
    password: str = field(default="", repr=False)
    ca: str = ""  # file of a CA certificate, for a server with a private one
    timeout: float = 20.0

    def __str__(self) -> str:
        return "{}:{}".format(*self.address)

    @property
    def address(self) -> tuple[str, int]:
        """The host and the port."""
        parts = urlsplit(self.url)
        return parts.hostname or "", parts.port or PORTS[parts.scheme]

    def deliver(self, sender: str, to: list[str], content: bytes | None) -> dict[str, str]:
        """Send a mail (None: only ask whether the server would accept one). Return refused address -> reply of the server.

        Raises NotifyError if no address was accepted; it is permanent if the server refuses this mail for its content.
        """
        with Deadline(WHOLE * self.timeout) as deadline:
            session = _Session(deadline)
            try:
                outcome = deadline.call(lambda: self._outcome(session, sender, to, content))
            except TimeoutError as error:  # it hangs in a step in which no connection can be shut down
                outcome = error
        if not isinstance(outcome, Exception):
            return {to: f"{code} {_line(reply)}" for to, (code, reply) in outcome.items()}

        code, reply = _reply_of(outcome)
        if deadline.expired and not code:
            reply = TimeoutError.__name__  # the error is only that the connection ended, because we shut it down
        step = "content" if code == TOO_LARGE else session.step
        if self.password:
            reply = reply.replace(self.password, "<password>")
        text = " ".join(filter(None, ["E-mail:", str(self), step, str(code or ""), reply]))
        if step == "content" and not code:
            raise NotifyError(f"{text}: the message may have arrived")
        raise NotifyError(f"{text}: {ADVICE[step]}", permanent=step == "content" and code >= 500)

    def _outcome(self, session: _Session, sender: str, to: list[str], content: bytes | None) -> Replies | Exception:
        """Return the refused addresses, or an error as a value: frames of a traceback may contain the password."""
        smtp = None
        try:
            smtp = self._connect(session)
            session.step = "sender"
            if content is None:
                return _refused_addresses(smtp, sender, to)
            return smtp.sendmail(sender, to, content)  # send_message would write ">From" where a line begins with "From"
        except (smtplib.SMTPException, OSError, ValueError) as error:
            return error
        finally:
            if smtp:  # the mail was accepted; the answer to QUIT does not matter
                with suppress(Exception):
                    smtp.quit()
                smtp.close()

    def _connect(self, session: _Session) -> smtplib.SMTP:
        """Return an encrypted connection after the login."""
        encrypted, (host, port) = urlsplit(self.url).scheme == "smtps", self.address
        tls_context = partial(ssl.create_default_context, cafile=self.ca or None)
        smtp: smtplib.SMTP
        if encrypted:
            smtp = _EncryptedConnection(session, host, port, timeout=self.timeout, context=tls_context())
        else:
            smtp = _Connection(session, host, port, timeout=self.timeout)
        try:
            if not encrypted:
                session.step = "encryption"
                smtp.ehlo()
                if self.ca or not _is_this_machine(host):  # a local server rarely has a certificate that can be verified
                    smtp.starttls(context=tls_context())
            if self.user:
                session.step = "login"
                smtp.login(self.user, self.password)
        except BaseException:
            smtp.close()
            raise
        return smtp


@dataclass
class _Session:
    """The deadline of an SMTP session, and the step that it has reached."""

    deadline: Deadline
    step: str = "connection"


class _Lines:
    """The lines of a server. After `left` more lines, `readline` raises OSError: the connection counts as broken."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.left, self.close = file, MAX_REPLY_LINES, file.close

    def readline(self, size: int) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise OSError("a reply without an end")
        return self._file.readline(size)


class _Connection(smtplib.SMTP):
    """An SMTP connection that records its step (smtplib does not report it for a lost connection) and ends at the deadline."""

    def __init__(self, session: _Session, *arguments: Any, **keywords: Any) -> None:
        self.session = session
        super().__init__(*arguments, **keywords)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket:
        return self.session.deadline.watch(super()._get_socket(host, port, timeout))  # type: ignore[misc]

    def getreply(self) -> tuple[int, bytes]:
        """Return the next reply. smtplib alone would collect the lines of an endless reply until memory runs out."""
        if self.file is None and self.sock:
            self.file = _Lines(self.sock.makefile("rb"))
        if self.file:
            self.file.left = MAX_REPLY_LINES
        return super().getreply()

    def putcmd(self, cmd: str, args: str = "") -> None:
        self.session.step = _STEPS.get(cmd, self.session.step)
        super().putcmd(cmd, args)


class _EncryptedConnection(smtplib.SMTP_SSL, _Connection):
    """An SMTP connection that uses TLS from the start."""

    def __init__(self, session: _Session, *arguments: Any, **keywords: Any) -> None:
        self.session = session
        smtplib.SMTP_SSL.__init__(self, *arguments, **keywords)


def _refused_addresses(smtp: smtplib.SMTP, sender: str, to: list[str]) -> Replies:
    """Return address -> reply for the addresses that the server would refuse. Sends no mail. Raises the errors of `sendmail`."""
    smtp.ehlo_or_helo_if_needed()
    code, reply = smtp.mail(sender)
    if code != 250:
        raise smtplib.SMTPSenderRefused(code, reply, sender)
    replies = {address: smtp.rcpt(address) for address in to}
    refused = {address: answer for address, answer in replies.items() if answer[0] not in (250, 251)}
    if len(refused) == len(replies):
        raise smtplib.SMTPRecipientsRefused(refused)
    smtp.rset()
    return refused


def _reply_of(error: Exception) -> tuple[int, str]:
    """Return the code of the server's reply (0: none) and its text; without a text, the name of the error."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        code, words = list(error.recipients.values())[-1]
    else:
        code, words = getattr(error, "smtp_code", 0), getattr(error, "smtp_error", b"")
    in_words = _line(str(error)) if type(error) is smtplib.SMTPException else type(error).__name__
    return max(code, 0), _line(words) or in_words


def _line(words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    return " ".join(text.split())[:MAX_REPLY]


def _is_this_machine(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
