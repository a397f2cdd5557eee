"""The line to an SMTP server. The password crosses it encrypted, or to this very machine; no error tells it."""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from alerting.model import NotifyError

if TYPE_CHECKING:
    from smtplib import SMTP

PORTS = {"smtp": 587, "smtps": 465}
SETTING = "ALERTING_EMAIL_SERVER"


class Said(NamedTuple):
    """How far a letter came: the step at which it ended, with the server's code (0: none) and words; "" when it was taken."""

    step: str = ""
    code: int = 0
    words: str = ""
    absent: tuple[tuple[str, str], ...] = ()  # addresses that were refused, and why


@dataclass(frozen=True)
class Server:
    """`url`: smtps://host:465 speaks TLS from the start; smtp://host:587 must offer STARTTLS, unless it is this
    machine and no CA is given."""

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

    def deliver(self, sender: str, to: list[str], letter: bytes | None) -> dict[str, str]:
        """Hand over a letter (None: only ask whether one would be taken); the addresses that were refused while others were not.

        Raises NotifyError; permanent when the server refuses this very letter.
        """
        said = self._said(sender, to, letter)
        if not said.step:
            return dict(said.absent)
        text = " ".join(filter(None, ["E-mail:", str(self), said.step, str(said.code or ""), said.words]))
        if said.step == "content" and not said.code:
            raise NotifyError(f"{text}: the message may have arrived")
        raise NotifyError(f"{text}: {_advice(said)}", permanent=said.step == "content" and said.code >= 500)

    def _said(self, sender: str, to: list[str], letter: bytes | None) -> Said:
        """Never raises: the errors of a line may hold what was said on it."""
        from smtplib import SMTPException

        step, smtp = ["connection"], None
        try:
            smtp = self._connected()
            self._trusted(smtp, step)
            return _handed_over(smtp, sender, to, letter, step)
        except (SMTPException, OSError, ValueError) as error:
            code, words = getattr(error, "smtp_code", 0), getattr(error, "smtp_error", b"")
            said = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
            known = said or (str(error) if type(error) is SMTPException else type(error).__name__)
            return Said(step[0], code if code > 0 else 0, self._shown(known))
        finally:
            _leave(smtp)

    def _connected(self) -> SMTP:
        import smtplib  # only who sends mail needs it

        if self._encrypted:
            return smtplib.SMTP_SSL(self.host, self.port, timeout=self.timeout, context=self._context())
        return smtplib.SMTP(self.host, self.port, timeout=self.timeout)

    def _trusted(self, smtp: SMTP, step: list[str]) -> None:
        """Encrypted, and logged in."""
        if not self._encrypted:
            step[0] = "encryption"
            smtp.ehlo()
            if self.ca or not _here(self.host):  # a local server's certificate is rarely one that anybody knows
                smtp.starttls(context=self._context())
        if self.user:
            step[0] = "login"
            smtp.login(self.user, self.password)

    @property
    def _encrypted(self) -> bool:
        return urlsplit(self.url).scheme == "smtps"

    def _context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca or None)

    def _shown(self, text: str) -> str:
        line = " ".join(text.split())[:200]
        return line.replace(self.password, "<password>") if self.password else line


def _handed_over(smtp: SMTP, sender: str, to: list[str], letter: bytes | None, step: list[str]) -> Said:
    step[0] = "sender"
    smtp.ehlo_or_helo_if_needed()
    code, words = smtp.mail(sender)
    if code != 250:
        return Said("sender", code, _text(words))
    step[0], absent = "recipient", []
    for address in to:
        code, words = smtp.rcpt(address)
        if code not in (250, 251):
            absent.append((address, f"{code} {_text(words)}"))
    if len(absent) == len(to):
        return Said("recipient", code, _text(words))
    if letter is None:
        smtp.rset()
        return Said(absent=tuple(absent))
    step[0] = "content"
    code, words = smtp.data(letter)
    return Said(absent=tuple(absent)) if code == 250 else Said("content", code, _text(words))


def _leave(smtp: SMTP | None) -> None:
    """A server that does not say goodbye has accepted the letter all the same."""
    if smtp:
        with suppress(Exception):
            smtp.quit()
        smtp.close()


def _text(words: bytes) -> str:
    return " ".join(words.decode("utf-8", "replace").split())[:200]


def _advice(said: Said) -> str:
    return {
        "connection": f"check the network, {SETTING}, and of smtps:// the certificate (ALERTING_EMAIL_CA)",
        "encryption": f"it must speak STARTTLS with a certificate that is known (ALERTING_EMAIL_CA): check {SETTING}",
        "login": "check ALERTING_EMAIL_USER and ALERTING_EMAIL_PASSWORD",
        "sender": "check ALERTING_EMAIL_FROM and whether a login is needed",
        "recipient": "check ALERTING_EMAIL_TO and whether a login is needed",
        "content": "the server does not take it",
    }[said.step]


def _here(host: str) -> bool:
    with suppress(ValueError):
        return ip_address(host).is_loopback
    return host == "localhost"
