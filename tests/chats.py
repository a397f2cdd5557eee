"""A chat on the local Bot API server, and messages for it."""

import traceback
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from alerting.model.errors import NotifyError
from alerting.model.message import Action, Button, Message
from alerting.model.verdict import EventKind
from alerting.notifiers.telegram import Telegram
from tests.pictures import png
from tests.servers import TOKEN

AT = datetime(2026, 11, 20, 12, 15, tzinfo=UTC)


def text(words="<b>Views</b> fell by 40 %", key="views/opened"):
    return Message(key, EventKind.OPENED, "views", AT, words)


def picture(photo=None, words="views", key="views/opened/picture"):
    return Message(key, EventKind.OPENED, "views", AT, words, photo or png(), reply_to="views/opened")


INCIDENT = "20261120T1215Z-views"
ROWS = tuple((Button(f"Кнопка {action}", action),) for action in Action)


def question(words="<b>Views</b> fell by 40 %", rows=ROWS, incident=INCIDENT, **kwargs):
    return Message("views/opened", EventKind.OPENED, "views", AT, words, incident=incident, buttons=rows, **kwargs)


def telegram(bot, **kwargs):
    given = {"token": bot.token, "chat": bot.chat, "url": bot.url, "timeout": 2.0, "users": "4242"}
    return Telegram(**{**given, **kwargs})


def failure(chat, message=None, **kwargs):
    """The NotifyError of sending."""
    return refusal(chat, lambda: chat.send(message or text(), **kwargs))


def refusal(chat, call):
    """The NotifyError of a call; holds nothing of the token, neither in its words nor in any frame that led to it."""
    with pytest.raises(NotifyError) as caught:
        call()
    error = caught.value
    told = traceback.TracebackException.from_exception(error, capture_locals=True)
    ours = [frame for frame in told.stack if "/tests/" not in frame.filename]
    seen = [*traceback.format_exception(error), repr(error), repr(chat), *(str(frame.locals) for frame in ours)]
    assert TOKEN not in "".join(seen)
    assert error.__context__ is None
    return error


LONG = text("<b>&lt;😀" + "a&amp;😀" * 9000 + "</b>")
TAGS = ["b", "i", "code", 'a href="https://x.org/?a>b&amp;c"', "blockquote expandable", 'span class="tg-spoiler"']
ENTITIES = ["&lt;", "&amp;", "&quot;", "&#128200;", "&#x1F4C8;", "&", "&nbsp;"]


class Web(HTTPServer):
    """Answers every request with one code and body; `seen`: the paths asked for."""

    def __init__(self, code, body):
        self.code, self.body, self.seen = code, body.encode(), []
        super().__init__(("127.0.0.1", 0), Page)

    def __enter__(self):
        Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.seen.append(f"{self.command} {self.path}")
        self.send_response(self.server.code, "come/to/secret-path-0123")
        self.send_header("Location", "https://elsewhere.invalid/")
        self.send_header("Content-Length", str(len(self.server.body)))
        self.end_headers()
        self.wfile.write(self.server.body)

    def do_POST(self):
        self.do_GET()

    def log_message(self, *_):
        pass


def web(code, body=""):
    return Web(code, body)
