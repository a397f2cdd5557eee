"""A local SMTP server that implements a part of RFC 5321: STARTTLS, AUTH PLAIN, and refusals on command."""

from __future__ import annotations

import base64
import email
import email.policy
import socket
import socketserver
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import EmailMessage

import pytest


@dataclass
class Letter:
    """A mail that was accepted."""

    sender: str
    to: list[str]
    raw: bytes
    encrypted: bool
    user: str

    @property
    def mail(self) -> EmailMessage:
        made = email.message_from_bytes(self.raw, policy=email.policy.default)
        assert isinstance(made, EmailMessage)
        return made

    @property
    def text(self) -> str:
        part = self.mail.get_body(("plain",))
        assert part is not None
        return part.get_content()


@dataclass
class Fault:
    """The reply to the next `times` commands of this verb ("." for the end of a letter); "" drops the line, "stall" waits."""

    verb: str
    reply: str
    times: int = 1


class MailServer:
    """`accounts`: user -> password; where there are some, mail is taken only after a login. `letters`: what was accepted."""

    def __init__(self, certificate: str = "", starttls: bool = False, implicit: bool = False) -> None:
        self.accounts, self.letters, self.faults, self.said = dict[str, str](), list[Letter](), list[Fault](), list[str]()
        self.closing, self.starttls, self.implicit = threading.Event(), starttls, implicit
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if certificate:
            self.context.load_cert_chain(certificate)
        self._server = _Server(("127.0.0.1", 0), _Session)
        self._server.mail = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def will(self, verb: str, reply: str, times: int = 1) -> None:
        self.faults.append(Fault(verb, reply, times))

    def fault(self, verb: str) -> str | None:
        for fault in self.faults:
            if fault.verb == verb and fault.times > 0:
                fault.times -= 1
                return fault.reply
        return None

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    mail: MailServer

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that has gone, or that trusts no self-signed certificate."""


@dataclass
class _Envelope:
    sender: str = ""
    to: list[str] = field(default_factory=list)


class _Session(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        self.encrypted, self.user, self.envelope = self.server.mail.implicit, "", _Envelope()
        if self.server.mail.implicit:
            self._encrypt()
        if not self._fault("connect"):
            self._say("220 localhost ESMTP")
        while line := self.rfile.readline():
            text = line.decode().rstrip("\r\n")
            verb, _, rest = text.partition(" ")
            self.server.mail.said.append(text)
            if self._fault(verb.upper()):
                continue
            if verb.upper() == "QUIT":
                return self._say("221 bye")
            getattr(self, f"do_{verb.lower()}", self._unknown)(rest)
        return None

    def finish(self) -> None:
        super().finish()
        self.connection.close()  # what TLS was put around

    def do_ehlo(self, rest: str) -> None:
        offered = ["STARTTLS"] if self.server.mail.starttls and not self.encrypted else []
        lines = ["localhost", *offered, "AUTH PLAIN", "SIZE 1000000"]
        for line in lines[:-1]:
            self._say(f"250-{line}")
        self._say(f"250 {lines[-1]}")

    def do_starttls(self, rest: str) -> None:
        self._say("220 go ahead")
        self._encrypt()

    def do_auth(self, rest: str) -> None:
        _, user, password = base64.b64decode(rest.split()[1]).decode().split("\0")
        if self.server.mail.accounts.get(user) != password:
            return self._say(f"535 {password} is wrong")  # some servers quote what they were given
        self.user = user
        return self._say("235 ok")

    def do_mail(self, rest: str) -> None:
        if self.server.mail.accounts and not self.user:
            return self._say("530 authentication required")
        self.envelope = _Envelope(_bare(rest))
        return self._say("250 ok")

    def do_rcpt(self, rest: str) -> None:
        if _bare(rest).startswith("nobody"):
            return self._say("550 no such mailbox")
        self.envelope.to.append(_bare(rest))
        return self._say("250 ok")

    def do_data(self, rest: str) -> None:
        self._say("354 go on")
        lines = list(iter(self.rfile.readline, b".\r\n"))
        raw = b"".join(line[1:] if line.startswith(b".") else line for line in lines)
        fault = self.server.mail.fault(".")
        if fault is None or fault == "taken, and not said":
            letter = Letter(self.envelope.sender, self.envelope.to, raw, self.encrypted, self.user)
            self.server.mail.letters.append(letter)
        if fault == "taken, and not said":
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self._say(fault or "250 taken")

    def do_rset(self, rest: str) -> None:
        self._say("250 ok")

    def _unknown(self, rest: str) -> None:
        self._say("502 what?")

    def _fault(self, verb: str) -> bool:
        reply = self.server.mail.fault(verb)
        if reply == "stall":
            self.server.mail.closing.wait(20)
        elif reply:
            self._say(reply)
        elif reply == "":
            self.connection.shutdown(socket.SHUT_RDWR)
        return reply is not None

    def _encrypt(self) -> None:
        self.connection = self.server.mail.context.wrap_socket(self.connection, server_side=True)
        self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb", buffering=0)
        self.encrypted = True

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


def _bare(text: str) -> str:
    return text.partition("<")[2].partition(">")[0]


@pytest.fixture
def mail() -> Iterator[MailServer]:
    server = MailServer()
    yield server
    server.close()
