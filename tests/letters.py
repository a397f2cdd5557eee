"""Messages and a mailbox, shared by the tests of several destinations."""

from datetime import UTC, datetime, timedelta

import pytest

from alerting.model.errors import NotifyError
from alerting.model.message import Message
from alerting.model.verdict import EventKind
from alerting.notifiers.email import Mailbox, SmtpServer
from tests.pictures import png

NOW = datetime(2026, 11, 20, 12, 36, tzinfo=UTC)
STEP = timedelta(minutes=15)
OUTPUT = {"capture_output": True, "text": True, "timeout": 300}
PATH = "/services/T000/B000/verysecretpath"
HTML = "🔴 <b>Likes −38 %</b> · Mon 14:15\n1&lt;2 &amp; <i>so</i>\n"
HTML += '<a href="https://bi/?a=1&amp;b=2|3">Dashboard</a> · Run <code>a_b</code>'
PNG = png(noise=40)


def message(key="likes/opened/text", text=HTML, **more):
    return Message(key, more.pop("kind", EventKind.OPENED), "likes", NOW, text, **more)


PICTURE = message("likes/worsened/text", "Likes −52 %", photo=PNG, reply_to="likes/opened/text", incident="likes")


def refused(call, *given):
    with pytest.raises(NotifyError) as caught:
        call(*given)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None  # a library's error would hold the address
    return caught.value


def box(server, scheme="smtp", to="duty@example.com", **more):
    line = SmtpServer(f"{scheme}://127.0.0.1:{server.port}", timeout=more.pop("timeout", 5), **more)
    return Mailbox(line, "Alerts <alerts@example.com>", to)
