"""The console, the heartbeat, and Telegram HTML."""

import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.model.errors import NotifyError
from alerting.model.incident import incident_ref
from alerting.model.message import Action, Button, ButtonPress
from alerting.notifiers.base import Console, cut_html, cut_plain, html_to_text, ping
from tests.chats import ENTITIES, INCIDENT, ROWS, picture, question, text, web
from tests.servers import Refused, read_html, units

# Heartbeat

SECRET = "secret-path-0123"


@pytest.mark.parametrize(
    ("code", "says"),
    [(200, ""), (204, ""), (301, "where it redirects"), (404, "answered 404: check"), (410, "410"), (500, "500")],
)
def test_a_heartbeat_is_one_request(code, says, caplog):
    server = web(code, "body")
    with server as url, caplog.at_level(logging.DEBUG):
        told = ping(f"{url}/{SECRET}?key={SECRET}")
    assert server.seen == [f"GET /{SECRET}?key={SECRET}"]
    assert says in told if says else told == ""
    assert SECRET not in told + caplog.text
    assert "\n" not in told


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:9/", "http://nowhere.invalid/", "http://[::bad/", "nonsense/", "", "ftp://x.invalid/", "http://.x/", "\0"],
)
def test_a_heartbeat_that_fails_says_so_and_keeps_its_secret(url, caplog):
    with caplog.at_level(logging.DEBUG):
        told = ping(url + SECRET, timeout=0.5)
    assert "check ALERTING_HEARTBEAT_URL" in told
    assert SECRET not in told + caplog.text


@pytest.mark.parametrize("kind", ["stall", "reset"])
def test_a_heartbeat_that_is_not_answered_says_so(bot, kind):
    bot.fail(kind, seconds=20)
    told = ping(f"{bot.url}/bot{bot.token}/getMe", timeout=0.3)
    assert told.startswith("heartbeat: no answer from 127.0.0.1 (")
    assert bot.token not in told


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
    whole, short = read_html(words), read_html(cut_html(words, limit))
    assert units(short) <= limit
    if units(whole) <= limit:
        assert cut_html(words, limit) == words
    else:
        assert short.endswith("…")
        assert whole.startswith(short[:-1])


@given(st.text(), st.integers(1, 30))
def test_anything_at_all_can_be_cut(words, limit):
    for short in (cut_html(words, limit), cut_plain(words, limit)):
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
def test_telegram_html_becomes_plain_text(words, read):
    assert html_to_text(words) == read


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


def test_console_shows_edits_and_buttons():
    out = io.StringIO()
    console = Console(out)
    row = (Button("I'm on it", Action.TAKE), Button("Snooze 1 h", Action.SNOOZE))
    number = console.send(question("a", rows=(row, ROWS[2])))
    console.edit(question("<b>b</b>", rows=(row,)), number)
    assert out.getvalue() == (
        "--- console-1 ---\na\n[ I'm on it ] [ Snooze 1 h ]\n[ Кнопка mute ]\n\n"
        "--- console-1, edited ---\nb\n[ I'm on it ] [ Snooze 1 h ]\n\n"
    )
    assert console.button_presses(0) == []
    console.confirm(ButtonPress(1, "2", Action.TAKE, incident_ref(INCIDENT), "Anna", "4242"), "taken")
    assert console.send(text()) == "console-2"


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
