"""Messages reach a real Bot API server, or a NotifyError says what became of them. The token is in nothing that is raised."""

import io
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from alerting.model.errors import NotifyError
from alerting.model.incident import Incident
from alerting.model.message import Action, Button, ButtonPress, Message
from alerting.model.verdict import EventKind
from alerting.notifiers.console import Console
from alerting.notifiers.heartbeat import ping
from alerting.notifiers.telegram import buttons
from alerting.notifiers.telegram.buttons import NOT_A_PRESS
from alerting.notifiers.telegram.chat import Telegram
from alerting.notifiers.telegram_html import cut_html, cut_plain, html_to_text
from tests.pictures import png
from tests.servers import ANNA, CHAT, OTHER_POLL, TOKEN, BotApi, Refused, read_html, units
from tests.waiting import PATIENCE, ended, until

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
    assert bot.messages[0].plain == html_to_text(words)
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
    assert 0.3 <= time.monotonic() - began < PATIENCE
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


# Buttons


def test_a_message_has_its_buttons_and_makes_no_sound(bot):
    chat = telegram(bot)
    chat.send(question(quiet=True))
    chat.send(replace(picture(), buttons=ROWS, incident=INCIDENT))
    chat.send(text())
    first, second, third = bot.messages
    assert [[b["text"] for b in row] for row in first.keyboard] == [[f"Кнопка {action}"] for action in Action]
    assert second.keyboard == first.keyboard
    assert [m.fields.get("disable_notification") for m in bot.messages] == ["true", None, None]
    assert third.keyboard == []


@pytest.mark.parametrize("action", list(Action))
def test_every_action_comes_back(bot, action):
    chat = telegram(bot)
    number = chat.send(question())
    update = bot.press(number, action)
    told = ButtonPress(update["update_id"], update["callback_query"]["id"], action, buttons.ref(INCIDENT), "Anna", "4242")
    assert chat.button_presses(0) == [told]
    assert chat.button_presses(told.update_id + 1) == []
    assert bot.inside.updates == []


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
@example("20261120T1215Z-" + "метрика-с-очень-длинным-именем" * 20)
def test_what_a_button_carries_fits_and_stands_for_its_incident(incident):
    fields = buttons.markup(question(incident=incident or "x"), buttons.secret(TOKEN))
    carried = [b["callback_data"] for row in json.loads(fields["reply_markup"])["inline_keyboard"] for b in row]
    assert len(set(carried)) == len(Action)
    assert all(len(data.encode()) <= 64 and TOKEN not in data for data in carried)
    assert all(data.split(":")[1] == Incident(incident or "x", AT, ()).ref for data in carried)


def test_nobody_can_tell_the_token_from_a_button(bot):
    telegram(bot).send(question())
    signed = "".join(b["callback_data"] for b in bot.messages[0].buttons)
    assert not any(part in signed for part in TOKEN.split(":"))


ABOUT, KEY = buttons.ref(INCIDENT), buttons.secret(TOKEN)
GENUINE = buttons.data(Action.TAKE, ABOUT, KEY)
NOT_OURS = [
    GENUINE.replace("take", "mute"),
    GENUINE.replace(ABOUT, "0" * 16),
    GENUINE[:-1] + ("0" if GENUINE[-1] != "0" else "1"),
    GENUINE[:-1],
    GENUINE.upper(),
    GENUINE + "\n",
    " " + GENUINE,
    f"take:{ABOUT}",
    f"take:{ABOUT}:",
    f"take:{ABOUT}:{'٠' * 32}",
    f"launch:{ABOUT}:{'0' * 32}",
    buttons.data(Action.TAKE, ABOUT, buttons.secret("987654321:AAF-another_bot-0123456789abcdefgh")),
    buttons.data(Action.TAKE, ABOUT, TOKEN.encode()),
    "",
    "x" * 64,
    None,
    7,
    ["take"],
]


@pytest.mark.parametrize("data", NOT_OURS, ids=lambda data: str(data)[:40])
def test_a_forged_press_is_refused_and_passed(bot, data):
    chat = telegram(bot)
    number = chat.send(question())
    forged = bot.press(number, "take", data="?")
    forged["callback_query"]["data"] = data
    genuine = bot.press(number, "take")
    first, second = chat.button_presses(0)
    assert (first.update_id, first.ref) == (forged["update_id"], "")
    assert "not a button of these alerts" in first.refused
    assert (second.update_id, second.ref, second.refused) == (genuine["update_id"], ABOUT, "")


@pytest.mark.parametrize(
    ("users", "user", "refused"),
    [
        ("4242", None, ""),
        ("@Anna_Duty", None, ""),
        ("1, @ANNA_DUTY ,2", None, ""),
        ("*", {"id": 5, "first_name": "Яна", "username": None}, ""),
        ("", None, "Anna (4242) is not in ALERTING_TELEGRAM_USERS"),
        ("424", None, "Anna (4242) is not in ALERTING_TELEGRAM_USERS"),
        ("@anna", None, "Anna (4242) is not in ALERTING_TELEGRAM_USERS"),
        ("anna_duty", None, "Anna (4242) is not in ALERTING_TELEGRAM_USERS"),
        ("4242", {"id": 7, "first_name": "4242", "username": "x4242"}, "4242 (7) is not in ALERTING_TELEGRAM_USERS"),
        ("4242", {"id": 7, "username": "4242"}, "Anna (7) is not in ALERTING_TELEGRAM_USERS"),
    ],
)
def test_only_the_listed_may_press(bot, users, user, refused):
    chat = telegram(bot, users=users)
    bot.press(chat.send(question()), "mute", user=user)
    (told,) = chat.button_presses(0)
    assert (told.refused, told.action, told.ref) == (refused, Action.MUTE, ABOUT)


@pytest.mark.parametrize("elsewhere", ["-1009999999999", "-77", "4242", "@other"])
def test_a_press_in_another_chat_is_refused(bot, elsewhere):
    bot.inside.known.add("-77")
    chat = telegram(bot)
    number = chat.send(question())
    for _ in range(3):
        bot.press(number, "take", chat=elsewhere)
    assert [a.refused for a in chat.button_presses(0)] == ["pressed in another chat"] * 3
    assert len(bot.calls) <= 4  # sent, read, and asked once at most about each of the two chats


def test_a_press_in_a_channel_is_known_by_its_name():
    with BotApi(chat="@Duty_Channel") as bot:
        chat = telegram(bot, chat="@duty_channel")
        bot.inside.known.add("@duty_channel")
        bot.press(chat.send(question()), "take")
        assert [a.refused for a in chat.button_presses(0)] == [""]


@pytest.mark.parametrize("configured", ["-42", "-100777"])
@pytest.mark.parametrize("pressed", ["-42", "-100777"])
def test_a_group_that_became_a_supergroup_keeps_its_buttons(configured, pressed):
    with BotApi(chat="-42") as bot:
        number = telegram(bot, chat="-42").send(question())
        bot.inside.migrate("-42", "-100777")
        bot.press(number, "take", chat=pressed)
        later = telegram(bot, chat=configured)  # another run, that nobody has told anything
        assert [a.refused for a in later.button_presses(0)] == [""]
        assert refusal(later, lambda: later.edit(question("b"), number)).permanent  # its messages stayed behind


def test_a_press_is_not_refused_because_telegram_could_not_say_where_it_was():
    with BotApi(chat="-42") as bot:
        chat = telegram(bot, chat="-42")
        number = chat.send(question())
        bot.inside.migrate("-42", "-100777")
        update = bot.press(number, "take", chat="-100777")
        bot.fail("500", method="sendChatAction")
        refusal(chat, lambda: chat.button_presses(0))
        assert [a.update_id for a in chat.button_presses(0) if not a.refused] == [update["update_id"]]


@pytest.mark.parametrize(
    ("sender", "who"),
    [
        ({"first_name": "Анна", "last_name": "Щукина"}, "Анна Щукина"),
        ({"first_name": "A\u202enna\x00\n\tB\u200b"}, "Anna B"),
        ({"first_name": "<b>Anna</b> & co"}, "<b>Anna</b> & co"),
        ({"first_name": "я" * 90}, "я" * 40),
        ({"first_name": "\u200b", "last_name": 5}, "@anna_duty"),
        ({"first_name": None, "username": "a b"}, "4242"),
        ({"first_name": "A\ud800"}, "A?"),
    ],
)
def test_a_name_is_one_line_that_can_be_seen(bot, sender, who):
    chat = telegram(bot)
    bot.press(chat.send(question()), "take", user={**ANNA, **sender})
    assert chat.button_presses(0)[0].name == who


def test_buttons_without_an_incident_are_left_out(bot):
    telegram(bot).send(question(incident=""))
    assert bot.messages[0].keyboard == []


@pytest.mark.parametrize("act", ["send", "edit"])
def test_buttons_never_cost_an_alert(bot, act):
    chat = telegram(bot)
    number = chat.send(text("before"))
    broken = question("<b>a", rows=((Button(" ", Action.TAKE),),))
    chat.send(broken) if act == "send" else chat.edit(broken, number)
    assert (bot.messages[-1].plain, bot.messages[-1].keyboard) == ("a", [])
    assert ["without buttons" in note or "plain text" in note for note in chat.notes] == [True, True]


# Answers


def test_what_has_to_be_remembered_is_not_forgotten_by_telegram_before(bot):
    chat = telegram(bot)
    number = chat.send(question())
    presses = [bot.press(number, "take")["update_id"] for _ in range(250)]
    read = chat.button_presses(0)
    assert [a.update_id for a in read] == presses[:100]
    assert [a.update_id for a in chat.button_presses(0)] == presses[:100]  # whoever forgot them reads them again
    while more := chat.button_presses(read[-1].update_id + 1):
        read += more
    assert [a.update_id for a in read] == presses


def test_refused_presses_do_not_hold_up_the_others(bot):
    chat = telegram(bot)
    number = chat.send(question())
    strangers = [bot.press(number, "take", user=7)["update_id"] for _ in range(230)]
    anna = bot.press(number, "take")["update_id"]
    told = chat.button_presses(0)
    assert [a.update_id for a in told] == [*strangers, anna]
    assert [a.update_id for a in told if not a.refused] == [anna]


def test_numbers_that_begin_again_are_read(bot):
    chat = telegram(bot)
    number = chat.send(question())
    before = bot.press(number, "take")["update_id"]
    assert chat.button_presses(before + 1) == []
    bot.inside.queue.begin_again(1000)
    bot.press(number, "mute")
    assert [(a.update_id, a.action) for a in chat.button_presses(before + 1)] == [(1000, Action.MUTE)]
    assert chat.button_presses(1001) == []


def test_other_updates_are_passed(bot):
    bot.inside.updates.extend([{"update_id": 5, "message": {"text": "take"}}, {"update_id": 6}, {}, {"update_id": 8, "x": None}])
    told = telegram(bot).button_presses(0)
    assert [(a.update_id, a.ref, a.refused) for a in told] == [(n, "", NOT_A_PRESS) for n in (5, 6, 8)]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
CHATS = st.fixed_dictionaries({}, optional={"id": ANYTHING | st.just(int(CHAT)), "username": ANYTHING})
QUERIES = st.fixed_dictionaries(
    {},
    optional={
        "id": ANYTHING | st.just("1"),
        "data": ANYTHING | st.just(GENUINE),
        "from": ANYTHING | st.fixed_dictionaries({"id": ANYTHING | st.just(4242)}, optional={"first_name": ANYTHING}),
        "message": ANYTHING | st.fixed_dictionaries({"chat": ANYTHING | CHATS}),
    },
)
UPDATES = ANYTHING | st.fixed_dictionaries(
    {"update_id": ANYTHING | st.integers(1, 10**9)}, optional={"callback_query": ANYTHING | QUERIES}
)


@pytest.fixture(scope="module")
def one_bot():
    with BotApi() as api:
        yield api


@budget(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(updates=st.lists(UPDATES, max_size=4) | ANYTHING.filter(lambda value: not isinstance(value, list)), repeat=st.booleans())
@example(updates=[{"update_id": 3}] * 100, repeat=True)
@example(updates=[{"update_id": 10**300}], repeat=False)
@example(
    updates=[
        {"update_id": 1, "callback_query": {"data": GENUINE, "from": {"id": 4242}, "message": {"chat": {"id": int(CHAT)}}}},
        {"update_id": 2, "callback_query": {"data": GENUINE, "from": {"id": 4242}, "message": {"chat": {"id": [[{}]]}}}},
    ],
    repeat=True,
)
def test_whatever_comes_is_an_answer_or_a_notify_error(one_bot, updates, repeat):
    one_bot.calls.clear()
    queue = one_bot.inside.queue
    queue.read = lambda fields: updates if repeat else updates[: int(fields["limit"])] if isinstance(updates, list) else updates
    try:
        told = telegram(one_bot).button_presses(1)
    except NotifyError:
        told = []
    finally:
        del queue.read
    for answer in told:
        json.dumps([answer.update_id, answer.callback_id, answer.name, answer.user_id, answer.refused]).encode()
        f"{answer.name}{answer.callback_id}".encode()
        assert len(answer.name) <= 40
        assert answer.refused or (answer.ref, answer.user_id) == (ABOUT, "4242")
    assert len(one_bot.calls) <= 30


@pytest.mark.parametrize("body", ["[" * 100_000, '{"ok": true, "result": ' + "[" * 900 + "]" * 900 + "}", '{"ok": true}', "null"])
def test_an_answer_that_is_none_is_an_error(body):
    with web(200, body) as url:
        chat = Telegram(TOKEN, CHAT, url, users="*")
        refusal(chat, lambda: chat.button_presses(0))


@pytest.mark.parametrize(
    ("fault", "says", "wait"),
    [
        (("429", {"retry_after": 7}), "429", 7.0),
        (("500", {}), "500", 0.0),
        (("502 html", {}), "502", 0.0),
        (("reset", {}), "no answer", 0.0),
        (("half answer", {}), "no answer", 0.0),
        (("stall", {"seconds": 30}), "ReadTimeout", 0.0),
        (("401", {"description": "Unauthorized"}), "ALERTING_TELEGRAM_TOKEN", 0.0),
        (("409", {"description": OTHER_POLL}), "another program reads this bot's updates: stop it", 0.0),
    ],
)
def test_answers_that_cannot_be_read_are_read_later(bot, fault, says, wait):
    kind, details = fault
    chat = telegram(bot, timeout=0.3)
    bot.press(chat.send(question()), "take")
    bot.fail(kind, method="getUpdates", **details)
    error = refusal(chat, lambda: chat.button_presses(0))
    assert says in str(error)
    assert "may have arrived" not in str(error)
    assert (error.permanent, error.retry_after) == (False, wait)
    assert [a.refused for a in chat.button_presses(0)] == [""]


def test_a_webhook_is_said(bot):
    bot.inside.queue.webhook = "https://example.org/hook"
    assert "call deleteWebhook, or give the alerts a bot of their own" in str(
        refusal(bot, lambda: telegram(bot).button_presses(0))
    )


def test_waiting_for_an_answer_ends_with_it(bot):
    chat = telegram(bot, timeout=0.2)  # shorter than it waits
    number = chat.send(question())
    with ThreadPoolExecutor() as aside:
        waiting = aside.submit(chat.button_presses, 0, wait=50)
        until(lambda: bot.inside.queue.polls)
        began = time.monotonic()
        bot.press(number, "real")
        assert [a.action for a in waiting.result(timeout=PATIENCE)] == [Action.REAL]
        assert time.monotonic() - began < 25


def test_who_waits_is_ended_by_another_who_waits(bot):
    with ThreadPoolExecutor() as aside:
        first = aside.submit(telegram(bot).button_presses, 0, wait=20)
        until(lambda: bot.inside.queue.polls)
        assert telegram(bot).button_presses(0) == []  # a run that only looks disturbs nobody
        second = aside.submit(telegram(bot).button_presses, 0, wait=1)
        with pytest.raises(NotifyError, match="another program reads this bot's updates"):
            first.result(timeout=PATIENCE)
        assert second.result(timeout=PATIENCE) == []


@pytest.mark.parametrize(("user", "alert"), [(4242, "false"), (7, "true")])
def test_whoever_pressed_is_told(bot, user, alert):
    chat = telegram(bot)
    bot.press(chat.send(question()), "take", user=user)
    (told,) = chat.button_presses(0)
    chat.confirm(told, "👀" * 150)
    (seen,) = bot.inside.queue.answered
    assert (seen["callback_query_id"], seen["show_alert"]) == (told.callback_id, alert)
    assert units(seen["text"]) <= 200
    assert "chat_id" not in seen


@pytest.mark.parametrize("kind", ["429", "500", "502 html", "reset", "half answer", "accepted but no answer", "stall", "401"])
def test_a_confirmation_never_raises(bot, kind):
    chat = telegram(bot, timeout=0.2)
    bot.fail(kind)
    chat.confirm(ButtonPress(1, "2", Action.TAKE, ABOUT, "Anna", "4242"), "taken\ud800")
    chat.confirm(ButtonPress(1, "2", Action.TAKE, ABOUT, "Anna", "4242"), "taken")  # too old
    assert len(bot.calls) == 2
    chat.confirm(ButtonPress(1, "", Action.TAKE, "", "somebody", "", "no press"), "taken")
    assert len(bot.calls) == 2
    bot.close()
    chat.confirm(ButtonPress(1, "2", Action.TAKE, ABOUT, "Anna", "4242"), "taken")


# Edits


def test_an_edit_changes_text_and_buttons(bot):
    chat = telegram(bot, topic="7")
    number = chat.send(question("<b>a</b>"))
    chat.edit(question("<b>b</b> &lt;", rows=ROWS[:2]), number)
    (seen,) = bot.messages
    assert (seen.plain, [b["text"] for b in seen.buttons], seen.edits) == ("b <", ["Кнопка take", "Кнопка snooze"], 1)
    chat.edit(question("c", rows=()), number)
    assert (seen.plain, seen.keyboard, seen.edits) == ("c", [], 2)
    chat.edit(question("c", rows=()), number)  # nothing new is a success
    assert seen.edits == 2
    assert chat.notes == []


def test_an_edit_is_cut_and_falls_back_to_plain_text(bot):
    chat = telegram(bot)
    number = chat.send(text("before"))
    chat.edit(replace(LONG, incident=INCIDENT, buttons=ROWS), number)
    assert units(bot.messages[0].plain) <= 4096
    chat.edit(question("a < b <i>"), number)
    assert (bot.messages[0].plain, len(bot.messages[0].buttons)) == ("a < b", len(Action))


@pytest.mark.parametrize("number", ["99999", "console-3", "", "²", "-1", "102"])
def test_what_cannot_be_edited_is_refused_for_good(bot, number):
    chat = telegram(bot)
    chat.send(text())
    chat.send(picture())  # 102
    assert refusal(chat, lambda: chat.edit(text("b"), number)).permanent


@pytest.mark.parametrize("words", ["message can't be edited", "MESSAGE_ID_INVALID"])
def test_an_edit_that_telegram_does_not_allow_is_refused_for_good(bot, words):
    chat = telegram(bot)
    number = chat.send(text())
    bot.fail("400", description=f"Bad Request: {words}")
    assert refusal(chat, lambda: chat.edit(text("b"), number)).permanent


EDIT_FAULTS = [
    ("429", {"retry_after": 7}, 7.0, 0),
    ("500", {}, 0.0, 0),
    ("502 html", {}, 0.0, 0),
    ("reset", {}, 0.0, 0),
    ("stall", {"seconds": 30}, 0.0, 0),
    ("half answer", {}, 0.0, 1),
    ("accepted but no answer", {}, 0.0, 1),
    ("kicked", {}, 0.0, 0),
]


@pytest.mark.parametrize(("kind", "details", "wait", "edits"), EDIT_FAULTS)
def test_an_edit_that_failed_is_tried_again(bot, kind, details, wait, edits):
    chat = telegram(bot, timeout=0.3)
    number = chat.send(question())
    bot.fail(kind, method="editMessageText", **details)
    error = refusal(chat, lambda: chat.edit(question("b"), number))
    assert (error.permanent, error.retry_after, bot.messages[0].edits) == (False, wait, edits)
    chat.edit(question("b"), number)
    assert (bot.messages[0].plain, bot.messages[0].edits) == ("b", 1)


@pytest.mark.parametrize(
    ("told", "believed"), [(3, 3.0), (0.5, 0.5), ("9", 1.0), (None, 1.0), (-5, 1.0), (1e999, 86_400.0), (10**400, 86_400.0)]
)
def test_a_wait_is_believed_within_reason(bot, told, believed):
    bot.fail("429", retry_after=told)
    assert failure(telegram(bot)).retry_after == believed


# Heartbeat


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


# Asking whether it would work


@pytest.mark.parametrize(
    ("users", "says"),
    [
        ("", "nobody may press them, set ALERTING_TELEGRAM_USERS"),
        ("@Boris_1,4242", "4242, @boris_1 may press them"),
        ("*", "everyone in the chat may press them"),
    ],
)
def test_check_says_who_can_write_where_and_who_may_press(bot, users, says):
    assert telegram(bot, users=users).check() == f"bot @alerts_bot can write to chat 'On duty'; buttons: {says}"
    assert bot.messages == []


def test_check_sees_a_webhook(bot):
    bot.inside.queue.webhook = "https://example.org/secret"
    told = telegram(bot).check()
    assert told.endswith("4242 may press them, but a webhook takes what they press: getUpdates will not work until deleteWebhook")
    assert "secret" not in told


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
def test_plain(words, read):
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
    console.confirm(ButtonPress(1, "2", Action.TAKE, ABOUT, "Anna", "4242"), "taken")
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
    assert "message is not modified" in ask("editMessageText", chat_id=bot.chat, message_id=str(number), text="b")
    assert ask("getUpdates", limit=1) == [{"update_id": 4}]
    assert ask("getUpdates", offset=-1) == [{"update_id": 5}]
    assert ask("getUpdates") == [{"update_id": 5}]
    assert "query ID is invalid" in ask("answerCallbackQuery", callback_query_id="1")
    bot.inside.queue.webhook = "https://example.org"
    assert "while webhook is active" in ask("getUpdates", offset=5)
    assert (ask("getWebhookInfo")["url"], ask("deleteWebhook"), ask("getWebhookInfo")["url"]) == ("https://example.org", True, "")
    too_long = {"inline_keyboard": [[{"text": "a", "callback_data": "я" * 33}]]}
    assert ask("sendMessage", chat_id=bot.chat, text="a", reply_markup=too_long) == "Bad Request: BUTTON_DATA_INVALID"
    assert ask("banChatMember") == "Not Found: method not found"


def test_the_fake_takes_no_more_than_so_many_a_minute(bot):
    bot.inside.per_minute, now = 3, [0.0]
    bot.inside.clock = lambda: now[0]
    chat = telegram(bot)
    number = chat.send(text())
    now[0] = 20.0
    chat.send(picture())
    chat.edit(text("b"), number)
    assert failure(chat).retry_after == 40.0
    assert refusal(chat, lambda: chat.edit(text("c"), number)).retry_after == 40.0
    now[0] = 60.0
    chat.edit(text("c"), number)
    assert failure(chat).retry_after == 20.0


def test_the_fake_serves_as_a_process(tmp_path):
    port, log = tmp_path / "port", tmp_path / "log"
    command = [sys.executable, "-m", "tests.servers", "botapi", str(port), str(log)]
    with ended(subprocess.Popen(command, cwd=Path(__file__).parent.parent)) as server:
        try:
            until(lambda: port.exists() or server.poll() is not None)
            url = f"http://127.0.0.1:{port.read_text()}"

            def control(**order):
                with urllib.request.urlopen(f"{url}/control", data=json.dumps(order).encode() if order else None) as told:
                    return json.load(told)

            control(kind="429", retry_after=3, method="sendMessage")
            chat = Telegram(TOKEN, "-1001234567890", url, users="4242")
            assert failure(chat).retry_after == 3
            chat.send(picture(), reply_to=chat.send(question()))
            (seen,) = control()["keyboards"]
            assert (seen["id"], seen["plain"]) == ("101", "Views fell by 40 %")
            assert seen["keyboard"][0][0]["text"] == "Кнопка take"
            pressed = control(press={"message_id": 101, "button": "Кнопка take"})["update"]["update_id"]
            (told,) = chat.button_presses(0)
            assert (told.update_id, told.action, told.refused) == (pressed, Action.TAKE, "")
            chat.confirm(told, "taken")
            assert control(per_minute=1)["answered"][0]["text"] == "taken"
            assert failure(chat).retry_after > 50
            with pytest.raises(urllib.error.HTTPError) as refused:
                control(press={"message_id": 101, "button": "?"})
            refused.value.close()
        finally:
            os.kill(server.pid, signal.SIGTERM)
    first, second = map(json.loads, log.read_text().splitlines())
    assert (first["plain"], second["reply_to"], second["photo"]) == ("Views fell by 40 %", first["id"], len(png()))
    with BotApi(log) as again, socket.create_connection(("127.0.0.1", again.port)):
        assert [m.id for m in again.messages] == ["101", "102"]
