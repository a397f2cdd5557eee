"""Messages reach a real Bot API server, or a NotifyError says what became of them. The token is in nothing that is raised."""

import io
import json
import logging
import os
import signal
import socket
import struct
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
import zlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.model import Kind, Message, NotifyError
from alerting.notifiers import Console, Telegram
from alerting.notifiers.text import cut, cut_plain, plain
from tests.botapi import TOKEN, BotApi, Refused, read_html, units

AT = datetime(2026, 11, 20, 12, 15, tzinfo=UTC)


def png(width=8, height=8, noise=0):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress((b"\0" + b"\x7f" * 3 * width) * height)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    extra = chunk(b"teSt", bytes(range(256)) * noise) if noise else b""  # every byte there is, line breaks too
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def text(words="<b>Views</b> fell by 40 %", key="views/opened"):
    return Message(key, Kind.OPENED, "views", AT, words)


def picture(photo=None, words="views", key="views/opened/picture"):
    return Message(key, Kind.OPENED, "views", AT, words, photo or png(), reply_to="views/opened")


def telegram(bot, **kwargs):
    return Telegram(**{"token": bot.token, "chat": bot.chat, "url": bot.url, "timeout": 2.0, **kwargs})


def failure(chat, message=None, **kwargs):
    """The NotifyError of sending; holds nothing of the token, neither in its words nor in any frame that led to it."""
    with pytest.raises(NotifyError) as caught:
        chat.send(message or text(), **kwargs)
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


# What is sent


def test_a_text_arrives_with_its_markup_and_without_a_preview(bot):
    number = telegram(bot).send(text('<b>Views</b> &lt;40&gt; <a href="https://x.org/?a=1&amp;b=2">dashboard</a>'))
    (seen,) = bot.messages
    assert (seen.id, seen.chat, seen.plain) == (number, bot.chat, "Views <40> dashboard")
    assert json.loads(seen.fields["link_preview_options"]) == {"is_disabled": True}


def test_a_picture_answers_its_text_in_the_topic(bot):
    chat, photo = telegram(bot, topic="7"), png(noise=40)
    first = chat.send(text())
    chat.send(picture(photo, "<i>views</i>"), reply_to=first)
    seen = bot.messages[1]
    assert (seen.method, seen.reply_to, seen.thread, seen.plain) == ("sendPhoto", first, "7", "views")
    assert seen.photo == photo


@pytest.mark.parametrize("reply_to", ["99999", "console-3", ""])
def test_an_answer_to_something_gone_is_sent_all_the_same(bot, reply_to):
    telegram(bot).send(text(), reply_to=reply_to)
    assert bot.messages[0].reply_to == ""


def test_the_general_topic_is_addressed_by_leaving_it_out(bot):
    telegram(bot, topic="1").send(text())
    assert bot.messages[0].thread == ""


@pytest.mark.parametrize(("message", "limit"), [(LONG, 4096), (picture(words="я" * 9000), 1024)])
def test_what_is_too_long_is_cut(bot, message, limit):
    telegram(bot).send(message)
    assert bot.messages[0].plain.endswith("…")
    assert limit - 2 <= units(bot.messages[0].plain) <= limit


def test_a_mangled_name_is_sent_with_a_question_mark(bot):
    telegram(bot).send(text("city Sa\udce3o Paulo"))
    assert bot.messages[0].plain == "city Sa?o Paulo"


@pytest.mark.parametrize(
    "words", ["views < 40 & falling", "<b>views", "a</i>", "<script>x</script>", "a <b><i>b</b></i>", "a<br>b"]
)
def test_markup_never_costs_an_alert(bot, words):
    chat = telegram(bot)
    chat.send(text(words))
    assert bot.messages[0].plain == plain(words)
    assert "parse" in chat.notes[0]


def test_plain_text_goes_once(bot):
    bot.fail("parse", times=3)
    assert failure(telegram(bot)).permanent
    assert len(bot.calls) == 2


def test_a_group_that_became_a_supergroup_is_followed_at_once(bot):
    bot.fail("migrate", to="-100777")
    chat = telegram(bot)
    chat.send(text())
    chat.send(picture())
    assert [m.chat for m in bot.messages] == ["-100777", "-100777"]
    assert chat.notes == [f"Telegram: chat {bot.chat} has become -100777: set ALERTING_TELEGRAM_CHAT=-100777"]


# What is not accepted

AGAIN = {"permanent": False, "retry_after": 0.0}
NEVER = {"permanent": True, "retry_after": 0.0}
FAULTS = [  # fault, how it is understood, what the error says, messages that arrived nevertheless
    (("429", {"retry_after": 7}), {"permanent": False, "retry_after": 7.0}, "429 Too Many Requests", 0),
    (("500", {}), AGAIN, "500 Internal", 0),
    (("502 html", {}), AGAIN, "502, not the Bot API's answer", 0),
    (("200 html", {}), AGAIN, "may have arrived", 0),
    (("302 html", {}), AGAIN, "a proxy leads elsewhere", 0),
    (("403 html", {}), AGAIN, "a proxy leads elsewhere", 0),
    (("404 html", {}), AGAIN, "ALERTING_TELEGRAM_URL", 0),
    (("413 html", {}), NEVER, "413", 0),
    (("reset", {}), AGAIN, "may have arrived", 0),
    (("stall", {"seconds": 30}), AGAIN, "ReadTimeout", 0),
    (("half answer", {}), AGAIN, "may have arrived", 1),
    (("accepted but no answer", {}), AGAIN, "may have arrived", 1),
    (("kicked", {}), AGAIN, "add it to the chat", 0),
    (("401", {"description": "Unauthorized"}), AGAIN, "ALERTING_TELEGRAM_TOKEN", 0),
    (("400", {"description": "Bad Request: chat not found"}), AGAIN, "ALERTING_TELEGRAM_CHAT", 0),
    (("400", {"description": "Bad Request: message thread not found"}), AGAIN, "ALERTING_TELEGRAM_TOPIC", 0),
    (("400", {"description": "Bad Request: TOPIC_CLOSED"}), AGAIN, "ALERTING_TELEGRAM_TOPIC", 0),
    (("400", {"description": "Bad Request: not enough rights to send photos to the chat"}), AGAIN, "let the bot send", 0),
    (("400", {"description": "Bad Request: CHAT_WRITE_FORBIDDEN"}), AGAIN, "let the bot send", 0),
    (("400", {"description": "Bad Request: PEER_ID_INVALID"}), AGAIN, "ALERTING_TELEGRAM_CHAT", 0),
    (("400", {"description": "Bad Request: message text is empty"}), NEVER, "message text is empty", 0),
    (("413", {"description": "Request Entity Too Large"}), NEVER, "413", 0),
]


@pytest.mark.parametrize(("fault", "understood", "says", "arrived"), FAULTS, ids=lambda value: str(value)[:40])
def test_a_fault_is_understood(bot, fault, understood, says, arrived):
    kind, details = fault
    bot.fail(kind, **details)
    error = failure(telegram(bot, timeout=0.3 if kind == "stall" else 2.0))
    assert {"permanent": error.permanent, "retry_after": error.retry_after} == understood
    assert says in str(error)
    assert (len(bot.calls), len(bot.messages)) == (1, arrived)  # never again after something that may have arrived
    telegram(bot).send(text())  # the fault is over


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"token": "123:other"}, "ALERTING_TELEGRAM_TOKEN"),
        ({"chat": "-5"}, "ALERTING_TELEGRAM_CHAT"),
        ({"topic": "8"}, "ALERTING_TELEGRAM_TOPIC"),
        ({"url": "http://127.0.0.1:9/elsewhere"}, "ALERTING_TELEGRAM_URL"),
        ({"url": "http://nowhere.invalid"}, "ALERTING_TELEGRAM_URL"),
        ({"url": "http://[::bad"}, "ALERTING_TELEGRAM_URL"),
    ],
)
def test_wrong_settings_keep_the_message_and_say_which(bot, given, says):
    bot.inside.topics = {"7"}
    error = failure(telegram(bot, **given))
    assert says in str(error)
    assert not error.permanent


@pytest.mark.parametrize(
    ("message", "says"),
    [(text(" "), "empty"), (picture(b"GIF89a"), "IMAGE_PROCESS_FAILED"), (picture(png(9000, 9000)), "PHOTO_INVALID_DIMENSIONS")],
)
def test_a_message_that_will_never_do_is_refused(bot, message, says):
    error = failure(telegram(bot), message)
    assert says in str(error)
    assert error.permanent


def test_a_refused_connection_is_tried_once_more(bot):
    chat = telegram(bot)
    bot.close()
    began = time.monotonic()
    assert "cannot be reached" in str(failure(chat))
    assert 0.3 <= time.monotonic() - began < 2
    with BotApi(port=bot.port) as back:
        chat.send(text())
        assert len(back.messages) == 1


def test_a_server_that_echoes_the_url_gives_nothing_away(bot):
    bot.fail("400", description=f"Bad Request: /bot{bot.token}/sendMessage")
    assert "<token>" in str(failure(telegram(bot)))


def test_a_log_at_debug_holds_no_token(bot, caplog):
    with caplog.at_level(logging.DEBUG):
        telegram(bot).send(text())
    assert "/bot<token>/sendMessage" in caplog.text
    assert bot.token not in caplog.text


# Asking whether it would work


def test_check_says_who_can_write_where(bot):
    assert telegram(bot).check() == "bot @alerts_bot can write to chat 'On duty'"
    assert bot.messages == []


@pytest.mark.parametrize(
    ("given", "inside", "says"),
    [
        ({"token": "1:wrong"}, {}, "ALERTING_TELEGRAM_TOKEN"),
        ({"chat": "@nobody"}, {}, "ALERTING_TELEGRAM_CHAT"),
        ({"topic": "7"}, {"topics": set()}, "ALERTING_TELEGRAM_TOPIC"),
        ({}, {"member": {"status": "left"}}, "may not write"),
        ({}, {"permissions": {"can_send_messages": False}}, "may not write"),
        ({}, {"member": {"status": "restricted", "can_send_messages": False}}, "may not write"),
    ],
)
def test_check_says_what_to_do(bot, given, inside, says):
    vars(bot.inside).update(inside)
    with pytest.raises(NotifyError, match=says):
        telegram(bot, **given).check()


def test_an_administrator_may_write_where_others_may_not(bot):
    bot.inside.permissions, bot.inside.member = {"can_send_messages": False}, {"status": "administrator"}
    assert "can write" in telegram(bot).check()


# Text

markup = st.recursive(
    st.one_of(st.text("aя😀 \n'\";", max_size=12), st.sampled_from(ENTITIES)),
    lambda inner: st.builds(
        lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag.split()[0]}>",
        st.sampled_from(
            ["b", "i", "code", 'a href="https://x.org/?a>b&amp;c"', "blockquote expandable", 'span class="tg-spoiler"']
        ),
        st.lists(inner, max_size=4),
    ),
    max_leaves=20,
)


@given(st.lists(markup, max_size=8).map("".join), st.integers(1, 60))
def test_cut_text_is_valid_within_its_limit_and_a_beginning(words, limit):
    whole, short = read_html(words), read_html(cut(words, limit))
    assert units(short) <= limit
    if units(whole) <= limit:
        assert cut(words, limit) == words
    else:
        assert short.endswith("…")
        assert whole.startswith(short[:-1])


@given(st.text(), st.integers(1, 30))
def test_anything_at_all_can_be_cut(words, limit):
    for short in (cut(words, limit), cut_plain(words, limit)):
        short.encode("utf-8", "surrogatepass")
    assert units(cut_plain(words, limit)) <= limit


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ("<b>Views</b> &lt;5 &amp; falling", "Views <5 & falling"),
        ('see <a href="https://x.org/?a=1&amp;b=2">the <b>dashboard</b></a>.', "see the dashboard (https://x.org/?a=1&b=2)."),
        ("<a href='https://x.org'>https://x.org</a>", "https://x.org"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("&lt;b&gt;", "<b>"),
    ],
)
def test_plain(words, read):
    assert plain(words) == read


@pytest.mark.parametrize("words", ["<b>a", "a</b>", "<b><i>a</b></i>", "<br>", "a < b", '<a href="x>y', "<B x>"])
def test_the_fake_refuses_what_telegram_refuses(words):
    with pytest.raises(Refused, match="can't parse entities"):
        read_html(words)


# Console


def test_console_is_readable():
    out = io.StringIO()
    console = Console(out)
    first = console.send(text('<b>Views</b> &lt;5, <a href="https://x.org">dashboard</a>'))
    second = console.send(picture(b"x" * 23_400), reply_to=first)
    assert (first, second) == ("console-1", "console-2")
    assert out.getvalue() == (
        "--- console-1 ---\nViews <5, dashboard (https://x.org)\n\n"
        "--- console-2 answers console-1 ---\nviews\n[picture: 23 kB, saved in the run]\n\n"
    )


def test_console_prints_to_the_stdout_of_the_moment(capsys):
    Console().send(text("Просмотры"))
    assert "Просмотры" in capsys.readouterr().out


def test_console_survives_a_narrow_encoding_and_reports_a_closed_stream():
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    Console(out).send(text("−40 % views"))
    assert b"?40 % views" in raw.getvalue()
    out.close()
    with pytest.raises(NotifyError, match="cannot print"):
        Console(out).send(text())


# The fake


def test_a_stall_that_is_sat_out_is_an_answer(bot):
    bot.fail("stall", seconds=0.05, method="sendPhoto")
    chat = telegram(bot)
    chat.send(picture(), reply_to=chat.send(text()))
    assert bot.calls == [("sendMessage", "as usual"), ("sendPhoto", "stall")]
    assert len(bot.messages) == 2


def test_what_comes_later_is_there(bot):
    def request(method, fields):
        kind = {"Content-Type": "application/json"}
        return urllib.request.Request(f"{bot.url}/bot{bot.token}/{method}", json.dumps(fields).encode(), kind)

    def ask(method, **fields):
        try:
            with urllib.request.urlopen(request(method, fields)) as answer:
                return json.load(answer)["result"]
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error)["description"]

    number = ask("sendMessage", chat_id=bot.chat, text="a")["message_id"]
    bot.inside.updates += [{"update_id": 4}, {"update_id": 5}]
    assert ask("editMessageText", chat_id=bot.chat, message_id=str(number), text="b")["text"] == "b"
    assert ask("editMessageText", chat_id=bot.chat, message_id=str(number), text="b") == "Bad Request: message is not modified"
    assert ask("getUpdates", offset=5) == [{"update_id": 5}]
    assert ask("answerCallbackQuery", callback_query_id="1") is True
    assert ask("banChatMember") == "Not Found: method not found"


def test_the_fake_serves_as_a_process(tmp_path):
    port, log = tmp_path / "port", tmp_path / "log"
    command = [sys.executable, str(Path(__file__).parent / "botapi.py"), str(port), str(log)]
    with subprocess.Popen(command) as server:
        try:
            while not port.exists():
                assert server.poll() is None
                time.sleep(0.01)
            url = f"http://127.0.0.1:{port.read_text()}"
            order = json.dumps({"kind": "429", "retry_after": 3, "method": "sendMessage"}).encode()
            urllib.request.urlopen(f"{url}/control", data=order).close()
            chat = Telegram(TOKEN, "-1001234567890", url)
            assert failure(chat).retry_after == 3
            chat.send(picture(), reply_to=chat.send(text()))
        finally:
            os.kill(server.pid, signal.SIGTERM)
    first, second = map(json.loads, log.read_text().splitlines())
    assert (first["plain"], second["reply_to"], second["photo"]) == ("Views fell by 40 %", first["id"], len(png()))
    with BotApi(log) as again, socket.create_connection(("127.0.0.1", again.port)):
        assert [m.id for m in again.messages] == ["101", "102"]
