"""Messages to a Telegram chat: sending, refusals, edits, and the check of the set-up."""

import json
import logging
import time
from dataclasses import replace

import pytest

from alerting.model.errors import NotifyError
from alerting.model.message import Action
from alerting.notifiers.base import html_to_text
from tests.chats import INCIDENT, LONG, ROWS, failure, picture, question, refusal, telegram, text
from tests.pictures import png
from tests.servers import BotApi, units

# What is sent


def test_a_text_arrives_with_its_markup_and_without_a_preview(bot):
    number = telegram(bot).send(text('<b>Views</b> &lt;40&gt; <a href="https://x.org/?a=1&amp;b=2">dashboard</a>'))
    (seen,) = bot.messages
    assert (seen.id, seen.chat, seen.plain) == (number, bot.chat, "Views <40> dashboard")
    assert json.loads(seen.fields["link_preview_options"]) == {"is_disabled": True}


def test_a_picture_has_its_text_as_caption_in_the_topic(bot):
    chat, photo = telegram(bot, topic="7"), png(noise=40)
    first = chat.send(picture(photo, "<i>views</i>"))
    chat.send(picture(photo, "worse"), reply_to=first)
    entry, seen = bot.messages
    assert (entry.method, entry.plain, entry.photo) == ("sendPhoto", "views", photo)
    assert (seen.method, seen.reply_to, seen.thread, seen.plain) == ("sendPhoto", entry.id, "7", "worse")


@pytest.mark.parametrize(
    ("fault", "details"),
    [
        ("400", {"description": "Bad Request: IMAGE_PROCESS_FAILED"}),
        ("400", {"description": "Bad Request: not enough rights to send photos to the chat"}),
        ("413 html", {}), ("502 html", {}), ("500", {}), ("reset", {}),
    ],
)  # fmt: skip
def test_a_text_whose_picture_does_not_get_through_goes_at_once(bot, fault, details):
    bot.fail(fault, method="sendPhoto", **details)
    chat = telegram(bot)
    number = chat.send(replace(question("<b>views</b>"), photo=png()))
    (seen,) = bot.messages
    assert (seen.id, seen.method, seen.plain, len(seen.buttons)) == (number, "sendMessage", "views", len(Action))
    assert "sent without its picture" in chat.notes[0]
    chat.edit(replace(question("later"), photo=png()), number)
    assert (seen.plain, seen.photo) == ("later", None), "and stays a text"


@pytest.mark.parametrize(("fault", "details"), [("429", {"retry_after": 7}), ("kicked", {}), ("401", {})])
def test_no_second_request_where_a_text_would_fail_as_well(bot, fault, details):
    bot.fail(fault, **details)
    failure(telegram(bot), picture())
    assert [method for method, _ in bot.calls] == ["sendPhoto"]


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
    [(text(" "), "empty"), (picture(b"GIF89a", " "), "empty")],
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


def test_a_caption_and_its_picture_are_edited_in_place(bot):
    chat, first, second = telegram(bot), png(), png(noise=9)
    number = chat.send(replace(question("<b>a</b>"), photo=first))
    chat.edit(question("<b>b</b>", rows=ROWS[:2]), number)
    (seen,) = bot.messages
    assert (seen.plain, seen.photo, len(seen.buttons)) == ("b", first, 2)
    chat.edit(replace(question("c", rows=()), photo=second), number)
    assert (seen.plain, seen.photo, seen.buttons) == ("c", second, [])
    chat.edit(replace(question("c", rows=()), photo=second), number)  # nothing new is a success
    bot.fail("400", method="editMessageMedia", description="Bad Request: IMAGE_PROCESS_FAILED")
    chat.edit(replace(question("d" * 2000), photo=first), number)
    assert (seen.plain[0], units(seen.plain), seen.photo) == ("d", 1024, second), "the old picture stays"
    assert ["IMAGE_PROCESS_FAILED" in note for note in chat.notes] == [True], "and that is said"
    assert len(bot.messages) == 1


def test_an_edit_of_what_a_person_deleted_is_refused_for_good(bot):
    chat = telegram(bot)
    for message in (text(), picture()):
        number = chat.send(message)
        bot.inside.delete(bot.messages[-1].id)
        assert refusal(chat, lambda message=message, number=number: chat.edit(message, number)).permanent
        chat.send(text("worse"), reply_to=number)
        assert bot.messages[-1].reply_to == "", "what follows stands alone"


def test_an_edit_is_cut_and_falls_back_to_plain_text(bot):
    chat = telegram(bot)
    number = chat.send(text("before"))
    chat.edit(replace(LONG, incident=INCIDENT, buttons=ROWS), number)
    assert units(bot.messages[0].plain) <= 4096
    chat.edit(question("a < b <i>"), number)
    assert (bot.messages[0].plain, len(bot.messages[0].buttons)) == ("a < b", len(Action))


@pytest.mark.parametrize("number", ["99999", "console-3", "", "²", "-1", "102", "photo-101", "photo-x"])
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


def test_a_new_picture_is_not_lost_when_the_chat_asks_for_a_pause(bot):
    chat, second = telegram(bot), png(noise=9)
    number = chat.send(picture())
    bot.fail("429", method="editMessageMedia", retry_after=7)
    error = refusal(chat, lambda: chat.edit(replace(picture(), text="b", photo=second), number))
    assert (error.permanent, error.retry_after, bot.messages[0].edits) == (False, 7.0, 0)
    chat.edit(replace(picture(), text="b", photo=second), number)
    assert (bot.messages[0].plain, bot.messages[0].photo, chat.notes) == ("b", second, [])


@pytest.mark.parametrize(
    ("told", "believed"), [(3, 3.0), (0.5, 0.5), ("9", 1.0), (None, 1.0), (-5, 1.0), (1e999, 86_400.0), (10**400, 86_400.0)]
)
def test_a_wait_is_believed_within_reason(bot, told, believed):
    bot.fail("429", retry_after=told)
    assert failure(telegram(bot)).retry_after == believed


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
