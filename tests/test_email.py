"""E-mail: the content of an e-mail, its delivery, and the meaning of a mail server's answers."""

import re
import shlex
import shutil
import subprocess
import time

import pytest

from alerting.notifiers.email import Mailbox, SmtpServer, _is_this_machine
from tests.letters import PICTURE, PNG, box, message, refused
from tests.servers import MailServer, needs
from tests.test_http import peer


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A key and a certificate for 127.0.0.1 that signs itself, in one file."""
    needs(shutil.which("openssl"), "openssl is not installed")
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    subprocess.run([*shlex.split(command), "-keyout", file, "-out", f"{file}.crt"], check=True, capture_output=True)
    file.write_text(file.read_text() + file.with_suffix(".pem.crt").read_text())
    return str(file)


@pytest.fixture
def served(certificate):
    """Makes servers that speak TLS."""
    made = []

    def serve(**more):
        made.append(MailServer(certificate, **more))
        return made[-1]

    yield serve
    for server in made:
        server.close()


def test_a_letter_has_text_html_and_a_thread(mail):
    mailbox = box(mail, to="duty@example.com, Anna <anna@example.com>")
    opening = mailbox.send(message(incident="likes"))
    mailbox.send(PICTURE, opening)
    mailbox.edit(message(), opening)
    mailbox.send(message("likes/resolved/text", "🟢 over", incident="likes", quiet=True), opening)
    mailbox.send(message("run/daily/text", "a day"), "console-3")
    first, picture, last, other = (letter.mail for letter in mail.letters)
    assert mail.letters[0].to == ["duty@example.com", "anna@example.com"]
    assert mail.letters[0].sender == "alerts@example.com"
    assert (first["Subject"], first["From"]) == ("🔴 Likes −38 % · Mon 14:15", "Alerts <alerts@example.com>")
    assert "Dashboard (https://bi/?a=1&b=2|3)" in mail.letters[0].text
    page = first.get_body(("html",)).get_content()
    assert '<a href="https://bi/?a=1&amp;b=2|3">Dashboard</a>' in page
    assert "</b> · Mon 14:15<br>" in page
    thread = first["References"]
    assert first["In-Reply-To"] == thread  # it opens a thread that has its name already
    assert all(later["References"] == f"{thread} {opening}" for later in (picture, last))
    assert all(later["In-Reply-To"] == opening == first["Message-ID"] for later in (picture, last))
    assert (first["Importance"], last["Importance"], last["Auto-Submitted"]) == ("high", None, "auto-generated")
    assert (other["In-Reply-To"], other["References"]) == (None, None)
    assert all(letter.raw.isascii() for letter in mail.letters)


def test_a_picture_lies_within_its_letter(mail):
    box(mail).send(PICTURE)
    made = mail.letters[0].mail
    (picture,) = [part for part in made.walk() if part.get_content_type() == "image/png"]
    assert picture.get_content() == PNG
    name = picture["Content-ID"].strip("<>")
    assert f'src="cid:{name}"' in made.get_body(("html",)).get_content()


def test_the_same_message_is_the_same_letter(mail):
    mail.will(".", "taken, and not said")
    error = refused(box(mail).send, message())
    assert (error.permanent, "may have arrived" in str(error)) == (False, True)
    box(mail).send(message())
    once, again = mail.letters
    assert once.mail["Message-ID"] == again.mail["Message-ID"]


def test_a_login_goes_over_starttls_or_tls(served, certificate):
    for server, scheme in ((served(starttls=True), "smtp"), (served(implicit=True), "smtps")):
        server.accounts["me"] = "hunter2hunter2"
        mailbox = box(server, scheme, user="me", password="hunter2hunter2", ca=certificate)
        mailbox.send(message())
        assert "127.0.0.1" in mailbox.check()
        assert [(letter.encrypted, letter.user) for letter in server.letters] == [(True, "me")]
        stranger = SmtpServer(
            f"{scheme}://0.0.0.0:{server.port}", "me", "hunter2hunter2"
        )  # no loopback address, and not in the certificate
        error = refused(Mailbox(stranger, "a@b.example", "c@d.example").send, message())
        assert "SSLCertVerificationError" in str(error)
        assert "ALERTING_EMAIL_CA" in str(error)
        assert len([line for line in server.said if line.startswith("AUTH")]) == 2  # and not a third time


def test_a_wrong_password_is_said_and_not_repeated(mail):
    mail.accounts["me"] = "right"
    error = refused(box(mail, user="me", password="hunter2hunter2").send, message())
    assert str(error).endswith("login 535 <password> is wrong: check ALERTING_EMAIL_USER and ALERTING_EMAIL_PASSWORD")
    assert not error.permanent
    assert "hunter2" not in repr(box(mail, user="me", password="hunter2hunter2")._server)
    assert "authentication required" in str(refused(box(mail).send, message()))


def test_without_starttls_only_this_machine_is_spoken_to(mail):
    hosts = ("127.0.0.1", "::1", "localhost", "10.0.0.1", "mail.example")
    assert [_is_this_machine(host) for host in hosts] == [True] * 3 + [False] * 2
    mail.accounts["me"] = "hunter2hunter2"
    elsewhere = SmtpServer(f"smtp://0.0.0.0:{mail.port}", "me", "hunter2hunter2")
    error = refused(Mailbox(elsewhere, "a@b.example", "c@d.example").send, message())
    assert "encryption SMTPNotSupportedError: it must speak STARTTLS" in str(error)
    assert not any("AUTH" in line for line in mail.said)  # the password stays here
    box(mail, user="me", password="hunter2hunter2").send(message())  # plain, but to this machine
    assert not mail.letters[0].encrypted


@pytest.mark.parametrize(
    ("verb", "reply", "permanent", "said"),
    [
        ("connect", "421 busy", False, "connection 421 busy"),
        ("connect", "", False, "connection"),
        ("MAIL", "451 later", False, "sender 451 later"),
        ("MAIL", "550 not you", False, "sender 550 not you: check ALERTING_EMAIL_FROM"),
        ("RCPT", "450 greylisted", False, "recipient 450 greylisted"),
        ("RCPT", "550 unknown", False, "recipient 550 unknown: check ALERTING_EMAIL_TO"),
        ("DATA", "451 later", False, "content 451 later"),
        (".", "452 disk full", False, "content 452 disk full"),
        (".", "552 too large", True, "content 552 too large"),
        (".", "554 spam", True, "content 554 spam"),
        ("MAIL", "stall", False, "sender"),
    ],
)
def test_what_a_mail_server_says(mail, verb, reply, permanent, said):
    mail.will(verb, reply, times=9)
    error = refused(box(mail, timeout=0.3).send, message())
    assert (error.permanent, error.retry_after) == (permanent, 0)
    assert said in str(error)
    assert mail.letters == []


def test_a_mail_server_that_drips_is_given_up_in_time(mail):
    """Each byte is a new beginning to the timeout of a socket."""

    def drip(connection, closing):
        while not closing.wait(0.03):
            connection.sendall(b"220-a greeting\r\n")

    with peer(drip) as (port, gone):
        began = time.monotonic()
        server = SmtpServer(f"smtp://127.0.0.1:{port}", timeout=0.3)
        error = refused(Mailbox(server, "a@b.example", "c@d.example").send, message())
        assert time.monotonic() - began < 0.9 + 2
        assert "connection TimeoutError" in str(error)
        assert gone.wait(2)


def test_a_letter_too_large_is_refused_for_good_before_it_is_sent(mail):
    mail.will("MAIL", "552 5.3.4 message size exceeds limit")
    error = refused(box(mail).send, message())
    assert error.permanent
    assert "content 552" in str(error)
    assert any(re.fullmatch(r"(?i)MAIL FROM:<alerts@example.com> size=\d+", line) for line in mail.said)
    assert not any(line.upper() == "DATA" for line in mail.said)


def test_a_line_that_begins_with_from_stays_as_it_is(mail):
    box(mail).send(message(text="over\nFrom 14:15 on"))
    assert mail.letters[0].text.splitlines() == ["over", "From 14:15 on"]


def test_a_server_that_does_not_say_goodbye_has_taken_the_letter(mail):
    mail.will("QUIT", "stall")
    box(mail, timeout=0.3).send(message())
    assert len(mail.letters) == 1


def test_a_refused_connection_is_named(mail):
    error = refused(Mailbox(SmtpServer("smtp://127.0.0.1:9"), "a@b.example", "c@d.example").send, message())
    assert "connection ConnectionRefusedError" in str(error)


def test_one_address_that_is_refused_costs_the_others_nothing(mail):
    mailbox = box(mail, to="nobody@example.com, duty@example.com")
    mailbox.send(message())
    assert mail.letters[0].to == ["duty@example.com"]
    assert mailbox.notes == ["E-mail: nobody@example.com was refused: 550 no such mailbox"]
    assert mailbox.check().endswith("takes mail to duty@example.com, but not to nobody@example.com (550 no such mailbox)")
    assert len(mail.letters) == 1
