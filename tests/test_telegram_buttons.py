"""Buttons under a message in a Telegram chat, and the presses that come back."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as budget
from hypothesis import strategies as st

from alerting.model.errors import NotifyError
from alerting.model.incident import incident_ref
from alerting.model.message import Action, Button, ButtonPress
from alerting.notifiers import telegram_updates as buttons
from alerting.notifiers.telegram import Telegram
from alerting.notifiers.telegram_updates import NOT_A_PRESS
from tests.chats import INCIDENT, ROWS, picture, question, refusal, telegram, text, web
from tests.servers import ANNA, CHAT, OTHER_POLL, TOKEN, BotApi, units
from tests.waiting import PATIENCE, until

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
    told = ButtonPress(update["update_id"], update["callback_query"]["id"], action, incident_ref(INCIDENT), "Anna", "4242")
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
    assert all(data.split(":")[1] == incident_ref(incident or "x") for data in carried)


def test_nobody_can_tell_the_token_from_a_button(bot):
    telegram(bot).send(question())
    signed = "".join(b["callback_data"] for b in bot.messages[0].buttons)
    assert not any(part in signed for part in TOKEN.split(":"))


ABOUT, KEY = incident_ref(INCIDENT), buttons.secret(TOKEN)
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


def test_telegram_keeps_presses_until_they_were_stored(bot):
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


def test_presses_are_read_when_update_numbers_begin_again(bot):
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


def test_a_second_listener_ends_the_first_with_an_error(bot):
    with ThreadPoolExecutor() as aside:
        first = aside.submit(telegram(bot).button_presses, 0, wait=20)
        until(lambda: bot.inside.queue.polls)
        assert telegram(bot).button_presses(0) == []  # a run that only looks disturbs nobody
        second = aside.submit(telegram(bot).button_presses, 0, wait=1)
        with pytest.raises(NotifyError, match="another program reads this bot's updates"):
            first.result(timeout=PATIENCE)
        assert second.result(timeout=PATIENCE) == []


@pytest.mark.parametrize(("user", "alert"), [(4242, "false"), (7, "true")])
def test_the_person_who_pressed_sees_the_confirmation(bot, user, alert):
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
