"""Commands in the chat: who may ask, what is answered in both languages, and that a flood stops no check. With a real Bot API."""

import re
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest

from alerting import messages
from alerting.messages.answers import silence_text
from alerting.model.metric import NO_END, Silence
from alerting.model.protocols import Commit
from alerting.model.run import Run
from alerting.model.verdict import Status, Verdict
from alerting.notifiers.telegram import Telegram
from alerting.pipeline.deliver import send_waiting
from alerting.pipeline.feedback import MAX_COMMANDS, TOO_MANY, answer_questions, find_metric, read_feedback
from alerting.store.state import StateStore
from tests.test_escalation import live
from tests.test_lifecycle import START, STEP, after, connect

AFTER = after(START)


@pytest.fixture
def ctx(bot, tmp_path):
    """A run of three metrics has judged the bucket before START, and alpha is off in that of START."""
    chat = Telegram(bot.token, bot.chat, bot.url, timeout=2, users="4242,@boris")
    ctx = connect(store=StateStore(tmp_path / "alerts.sqlite"), notifier=chat)
    live(ctx, -1)
    live(ctx, 0, alpha="low")
    return ctx


def ask(ctx, bot, *texts, now=AFTER, **who):
    """Write in the chat, then do what `listen` does; return the feedback and what the chat got."""
    before = len(bot.messages)
    for text in texts:
        bot.say(text, **who)
    feedback, trouble = read_feedback(ctx, now)
    assert trouble == ""
    answer_questions(ctx, now)
    send_waiting(ctx.store, ctx.notifier, now, lambda seconds: None)
    return feedback, [message.plain for message in bot.messages[before:]]


def test_status_says_what_is_open_until_when_and_how_the_checks_are(ctx, bot):
    ctx.store.save_run(Run(AFTER, AFTER, AFTER, ok=True, outcome="all seen"))
    _, (said,) = ask(ctx, bot, "/status")
    entry = bot.messages[0].plain.splitlines()[0]
    assert said.splitlines() == [entry, "Checked until 12:15, metrics: 3", "Last check 12:21: all seen"]
    _, (said,) = ask(replace(ctx, language="ru"), bot, "/status@Alerts_Bot")
    assert said.splitlines()[1:] == ["Проверено до 12:15, метрик: 3", "Последняя проверка 12:21: все данные есть"]


@pytest.mark.parametrize(
    ("language", "lines"),
    [
        ("en", ["Checked until 12:15, metrics: 3", "Only until 00:15: nightly"]),
        ("ru", ["Проверено до 12:15, метрик: 3", "Только до 00:15: nightly"]),
    ],
)
def test_status_names_a_metric_that_lags_behind(ctx, bot, language, lines):
    """One of longer steps does not lag while its next bucket is not over."""
    names = {"nightly": (STEP, 48), "hourly": (4 * STEP, 4)}
    more = [replace(ctx.metrics[0], name=name, title={"en": name}, step=step) for name, (step, _) in names.items()]
    ctx = replace(ctx, metrics=[*ctx.metrics[:2], *more], language=language)
    found = [Verdict(name, START - ago * STEP, Status.NORMAL, 100.0) for name, (_, ago) in names.items()]
    ctx.store.commit(Commit(verdicts=found), START)
    _, (said,) = ask(ctx, bot, "/status")
    assert said.splitlines()[1:3] == lines


def test_metrics_are_listed_with_those_that_are_off_first(ctx, bot):
    _, (said,) = ask(ctx, bot, "/metrics")
    first, *others = said.splitlines()
    assert re.fullmatch(r"🔴 alpha 40.* · 12:00–12:15", first)
    assert [line[:9] for line in others] == ["🟢 bravo 1", "🟢 charlie"]


@pytest.mark.parametrize(("language", "word"), [("en", "no value"), ("ru", "нет значения")])
def test_a_metric_without_a_value_is_said_to_have_none(ctx, bot, language, word):
    live(ctx, 1, alpha="none")
    _, (said,) = ask(replace(ctx, language=language), bot, "/metrics", now=after(START + STEP))
    assert f"⚫ alpha {word} · 12:15–12:30" in said.splitlines()


def test_a_chart_is_a_picture_with_the_state_of_the_metric(ctx, bot):
    _, (said,) = ask(ctx, bot, "/chart Alpha 7d")
    assert said.startswith("🔴 alpha 40")
    assert bot.messages[-1].photo.startswith(b"\x89PNG")


def test_a_run_answers_for_the_bucket_that_it_has_just_judged(ctx, bot):
    bot.say("/status")
    live(ctx, 1, alpha="low")
    assert [m.plain.splitlines()[1] for m in bot.messages if "Checked until" in m.plain] == ["Checked until 12:30, metrics: 3"]


def test_a_silence_counts_at_once_and_is_confirmed(ctx, bot):
    _, said = ask(ctx, bot, "/silence charlie 1d 6h", "/silence all 2h")
    assert said == ["🔕 Anna: charlie until Sat 18:21", "🔕 Anna: all metrics until 14:21"]
    assert [(s.scope, s.until - AFTER, s.by) for s in ctx.store.silences(AFTER)] == [
        ("charlie", timedelta(hours=30), "Anna"), ("*", timedelta(hours=2), "Anna"),
    ]  # fmt: skip
    assert "🔕 charlie until Sat 18:21" in ask(ctx, bot, "/status")[1][0].splitlines()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("/help", "/status: what is open"),
        ("/start", "/status: what is open"),
        ("/silence charlie", "/status: what is open"),
        ("/silence charlie 400d", "/status: what is open"),
        ("/silence <b>delta 2h", "There is no metric <b>delta: there are alpha, bravo, charlie"),
        ("/chart", "There is no metric without a name: there are alpha, bravo, charlie"),
        ("/chart alpha often", "/status: what is open"),
    ],
)
def test_what_is_not_understood_is_answered_with_help(ctx, bot, text, answer):
    _, (said,) = ask(ctx, bot, text)
    assert said.startswith(answer)
    assert ctx.store.silences(AFTER) == []


def test_a_metric_is_called_by_its_title_as_the_messages_do(ctx, bot):
    alpha, *others = ctx.metrics
    ctx = replace(ctx, metrics=[replace(alpha, title={"en": "Feed <users>"}), *others])
    _, said = ask(ctx, bot, "/silence feed <users> 1d 2h", "/chart Feed <users> 7d")
    assert [line.split(" until ")[0] for line in said] == ["🔕 Anna: Feed <users>", "🔴 Feed <users> 40 · 12:00–12:15"]
    assert [silence.scope for silence in ctx.store.silences(AFTER)] == ["alpha"]


TITLED = [("views", "Просмотры"), ("views_hourly", "Views"), ("iOS", "iOS"), ("ios", "ios"), ("views_daily", "Views")]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("views", "views"),
        ("iOS", "iOS"),
        ("ios", "ios"),
        ("просмотры", "views"),
        ("VIEWS", "views"),
        ("Views", "views_hourly"),
    ],
)
def test_a_name_is_found_before_a_title_of_another_metric(ctx, words, name):
    named = replace(ctx, metrics=[replace(ctx.metric("alpha"), name=one, title={"en": title}) for one, title in TITLED])
    metric, _, more = find_metric(named, [words, "2h"])
    assert (metric.name, more) == (name, "2h")


@pytest.mark.parametrize(
    ("how", "text", "refused"),
    [
        (
            {"user": {"id": 9, "first_name": "Eve", "username": ""}},
            "/silence all 2h",
            r"Eve \(9\) is not in ALERTING_TEL",
        ),
        ({"chat": "77"}, "/status", "written in another chat"),
        ({}, "/status@other_bot", "meant for another bot, other_bot"),
        ({}, "hello /status", "not a button"),
        ({}, "/", "not a button"),
    ],
)
def test_others_get_no_answer_and_change_nothing(ctx, bot, how, text, refused):
    (item,), said = ask(ctx, bot, text, **how)
    assert re.search(refused, item.reply)
    assert (said, ctx.store.silences(AFTER)) == ([], [])
    assert read_feedback(ctx, AFTER) == ([], "")


def test_a_flood_of_commands_stops_no_check(ctx, bot):
    texts = [f"/silence alpha {minutes}m" for minutes in range(1, 1_000)]
    for text in (*texts, *["/status"] * 3_000):
        bot.inside.say(text)
    bot.press(bot.messages[0].id, "take")
    feedback, said = ask(ctx, bot)
    assert len(said) == MAX_COMMANDS
    assert sum(item.times for item in feedback) == 4_000
    assert len(ctx.store.silences(AFTER)) == MAX_COMMANDS
    assert any(item.reply == TOO_MANY for item in feedback)
    assert ctx.store.incidents()[0].acknowledged_by == "Anna"


def test_a_question_is_not_lost_when_the_process_dies_before_it_is_answered(ctx, bot, tmp_path):
    bot.say("/status")
    read_feedback(ctx, AFTER)
    assert (ctx.store.waiting(), read_feedback(ctx, AFTER)) == ([], ([], ""))
    ctx.store.close()
    with closing(StateStore(tmp_path / "alerts.sqlite")) as store:
        assert "Checked until" in ask(replace(ctx, store=store), bot)[1][0]
        assert ask(replace(ctx, store=store), bot)[1] == []


@pytest.mark.parametrize(
    ("more", "en", "ru"),
    [
        ({"until": AFTER + timedelta(hours=2)}, "Views until 14:21", "Views до 14:21"),
        (
            {"start": AFTER + timedelta(hours=1), "until": AFTER + timedelta(hours=2)},
            "Views from 13:21 until 14:21",
            "Views с 13:21 до 14:21",
        ),
        ({"until": NO_END, "weekly": "Sat 02:00-04:00"}, "Views every week Sat 02:00–04:00", "Views еженедельно сб 02:00–04:00"),
        ({"scope": "*", "until": AFTER + timedelta(hours=2)}, "all metrics until 14:21", "все метрики до 14:21"),
    ],
)
def test_a_silence_in_words(more, en, ru):
    silence = Silence(**{"scope": "views", "start": AFTER, **more})
    for language, said in (("en", en), ("ru", ru)):
        assert silence_text(silence, {"views": "Views"}, messages.Audience(language, "UTC", AFTER)) == said
