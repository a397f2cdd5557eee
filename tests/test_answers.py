"""Button presses: their effect, who may press, and that each counts once. With a real Bot API server and state database."""

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alerting import messages
from alerting.metrics import METRICS
from alerting.model.incident import Event, Incident, Member
from alerting.model.protocols import Commit
from alerting.model.verdict import Episode, EpisodeState, EventKind, Label, Status, Verdict
from alerting.notifiers.telegram import Telegram
from alerting.pipeline.context import RunContext
from alerting.pipeline.deliver import send_waiting
from alerting.pipeline.feedback import BUDGET, MAX_REFUSALS_SHOWN, MAX_ROWS, read_feedback
from alerting.store.state import StateStore
from tests.ledger import NoSource

NOW = datetime(2026, 11, 20, 12, 36, tzinfo=UTC)
BUCKET = datetime(2026, 11, 20, 12, 15, tzinfo=UTC)
ANNA = {"id": 4242, "first_name": "Anna"}
VERDICT = Verdict("likes", BUCKET, Status.ANOMALOUS, 700.0, 900.0, 1000.0, 1100.0, -3.0, "sudden")
INCIDENT = Incident("20261120T1215Z-likes", BUCKET, (Member("likes", BUCKET, BUCKET, VERDICT),), last_notified=BUCKET)


@pytest.fixture
def ctx(bot, tmp_path):
    """Connections whose chat holds one opening message."""
    notifier = Telegram(bot.token, bot.chat, bot.url, timeout=2, users="4242,@boris")
    store = StateStore(tmp_path / "alerts.sqlite")
    ctx = RunContext(METRICS, {}, NoSource(), store, notifier, zone="UTC")
    event = Event(EventKind.OPENED, "likes", BUCKET, VERDICT, pipeline_episode(), INCIDENT)
    context = messages.MessageContext(ctx.metric("likes"), messages.Audience("en", "UTC", NOW))
    store.commit(Commit(incidents=[INCIDENT], messages=[messages.compose(event, context)]), NOW)
    deliver(ctx)
    return ctx


def pipeline_episode():
    return Episode("likes", EpisodeState.FIRING, since=BUCKET, opened=BUCKET)


def deliver(ctx, now=NOW):
    return send_waiting(ctx.store, ctx.notifier, now, lambda seconds: None)


def press(ctx, bot, button, user=ANNA, now=NOW):
    """Press, read the feedback, deliver; return the incident as it is then, the feedback, and the new last line of its entry."""
    (entry,) = bot.messages
    before = entry.edits
    bot.press(entry.id, button, user=user)
    feedback, trouble = read_feedback(ctx, now)
    assert trouble == ""
    deliver(ctx, now)
    (incident,) = ctx.store.incidents(now - timedelta(days=1))
    assert bot.messages == [entry], "nothing but the entry"
    return incident, feedback, entry.plain.splitlines()[-1:] if entry.edits > before else []


def test_im_on_it_acknowledges_the_incident(ctx, bot):
    incident, feedback, said = press(ctx, bot, "take")
    assert incident.acknowledged_by == "Anna"
    assert said == ["👀 Anna is on it"]
    assert [item.reply for item in feedback] == said
    assert bot.messages[0].plain.startswith("🟡 Likes −30")
    assert len(bot.messages[0].buttons) == 5


def test_snoozed_for_an_hour_and_muted_until_resolved(ctx, bot):
    incident, _, said = press(ctx, bot, "snooze")
    assert incident.snoozed_until == NOW + timedelta(hours=1)
    assert said == ["🔕 silent until 13:36"]
    incident, _, said = press(ctx, bot, "mute")
    assert incident.muted
    assert "until it is resolved" in said[0]


@pytest.mark.parametrize(
    ("button", "label", "muted"),
    [("false", Label.FALSE_ALARM, True), ("expected", Label.EXPECTED, True)],
)
def test_a_label_is_kept_and_nobody_is_reminded_of_what_is_known(ctx, bot, button, label, muted):
    incident, _, said = press(ctx, bot, button)
    assert (incident.label, incident.labelled_by, incident.muted) == (label, "Anna", muted)
    assert "🏷 Anna: " in said[0]
    assert [i.label for i in ctx.store.all_incidents(NOW - timedelta(days=1))] == [label]


def test_a_press_counts_once_however_often_answers_are_read(ctx, bot):
    press(ctx, bot, "take")
    assert read_feedback(ctx, NOW) == ([], "")
    assert deliver(ctx) == []


def test_two_presses_before_one_run_both_count_in_order(ctx, bot):
    bot.press(bot.messages[0].id, "take", user=ANNA)
    bot.press(bot.messages[0].id, "expected", user={"id": 7, "first_name": "Boris", "username": "Boris"})
    feedback, _ = read_feedback(ctx, NOW)
    (incident,) = ctx.store.incidents(NOW - timedelta(days=1))
    assert (incident.acknowledged_by, incident.label, incident.labelled_by) == ("Anna", Label.EXPECTED, "Boris")
    assert len(feedback) == 2


def test_who_is_not_listed_changes_nothing_and_is_told_so(ctx, bot):
    incident, feedback, said = press(ctx, bot, "take", user={"id": 9, "first_name": "<b>Eve</b>"})
    assert repr(incident) == repr(INCIDENT)  # NaN is not equal to itself
    assert said == []
    assert "(9) is not in ALERTING_TELEGRAM_USERS" in feedback[0].press.refused
    assert read_feedback(ctx, NOW) == ([], "")  # and the press is done with


def test_a_name_cannot_inject(ctx, bot):
    _, _, said = press(ctx, bot, "take", user={"id": 4242, "first_name": "<b>Anna</b> & co"})
    assert said == ["👀 <b>Anna</b> & co is on it"]  # as people see it; the server refuses markup that is not closed or unknown


@pytest.mark.parametrize("button", ["take", "snooze", "mute"])
def test_nobody_takes_or_silences_an_incident_that_is_over(ctx, bot, button):
    """A phone still shows the old buttons. If the incident opened again, it would be silent."""
    over = replace(INCIDENT, closed=BUCKET, acknowledged_by="Boris")
    ctx.store.commit(Commit(incidents=[over]), NOW)
    incident, feedback, said = press(ctx, bot, button)
    assert repr(incident) == repr(over)
    assert ([item.reply for item in feedback], said) == (["this incident is over: nothing was changed"], [])


def test_an_incident_that_is_over_can_be_labelled(ctx, bot):
    ctx.store.commit(Commit(incidents=[replace(INCIDENT, closed=BUCKET)]), NOW)
    incident, _, _ = press(ctx, bot, "false")
    assert (incident.label, incident.muted) == (Label.FALSE_ALARM, False)


def test_an_incident_that_nobody_remembers_is_answered_and_passed(ctx, bot):
    ctx.store.forget(NOW)
    old = replace(INCIDENT, closed=NOW - timedelta(days=60), opened=NOW - timedelta(days=61))
    ctx.store.commit(Commit(incidents=[old]), NOW)
    bot.press(bot.messages[0].id, "take", user=ANNA)
    feedback, trouble = read_feedback(ctx, NOW)
    assert (feedback[0].reply, trouble) == ("this incident is not known any more", "")
    assert read_feedback(ctx, NOW) == ([], "")


def test_a_chat_that_cannot_be_read_is_said_and_loses_no_press(ctx, bot):
    bot.press(bot.messages[0].id, "take", user=ANNA)
    bot.fail("500", times=1, method="getUpdates")
    feedback, trouble = read_feedback(ctx, NOW)
    assert feedback == []
    assert "500" in trouble
    assert [item.press.name for item in read_feedback(ctx, NOW)[0]] == ["Anna"]


def test_what_is_remembered_but_not_confirmed_counts_once(ctx, bot):
    """A crash between remembering a press and confirming it: the next run does not apply it again."""
    bot.press(bot.messages[0].id, "take", user=ANNA)
    bot.fail("reset", times=9, method="answerCallbackQuery")
    read_feedback(ctx, NOW)
    assert read_feedback(ctx, NOW) == ([], "")
    deliver(ctx)
    assert bot.messages[0].plain.count("is on it") == bot.messages[0].edits == 1


@pytest.mark.parametrize(
    ("button", "line"), [("take", "is on it"), ("snooze", "silent until"), ("mute", "silent"), ("false", "false alarm")]
)
def test_a_double_tap_posts_its_line_once(ctx, bot, button, line):
    """Both taps before one read, and one more in the next."""
    bot.press(bot.messages[0].id, button, user=ANNA)
    _, feedback, said = press(ctx, bot, button)
    assert [item.times for item in feedback] == [2]
    assert sum(line in text for text in said) == 1
    incident, feedback, said = press(ctx, bot, button, now=NOW + timedelta(seconds=30))
    assert said == []
    assert line in feedback[0].reply, "the person sees that it counts"
    assert incident.snoozed_until == (NOW + timedelta(hours=1) if button == "snooze" else None)


def test_a_snooze_later_makes_it_longer(ctx, bot):
    press(ctx, bot, "snooze")
    later = NOW + timedelta(minutes=30)
    incident, _, said = press(ctx, bot, "snooze", now=later)
    assert (incident.snoozed_until, said) == (later + timedelta(hours=1), ["🔕 silent until 14:06"])


def test_a_flood_of_refused_presses_is_dropped_in_bulk_and_the_press_behind_it_counts(ctx, bot):
    for number in range(5_000):
        bot.press(bot.messages[0].id, "mute", user={"id": 100 + number % 300, "first_name": "Eve"})
    incident, feedback, said = press(ctx, bot, "take")
    assert (incident.acknowledged_by, incident.muted, said) == ("Anna", False, ["👀 Anna is on it"])
    assert sum(item.times for item in feedback) == 5_001
    assert len(feedback) <= MAX_ROWS + 1
    assert len(bot.holds()["answered"]) <= MAX_REFUSALS_SHOWN + 1
    assert read_feedback(ctx, NOW) == ([], "")


def test_a_flood_of_presses_that_count_says_each_once(ctx, bot):
    for number in range(1_000):
        bot.press(bot.messages[0].id, ("take", "snooze", "mute")[number % 3], user=ANNA)
    incident, feedback, said = press(ctx, bot, "expected")
    assert (incident.acknowledged_by, incident.muted, incident.label) == ("Anna", True, Label.EXPECTED)
    assert said == ["👀 Anna is on it · 🔕 silent until it is resolved · 🏷 Anna: expected"]
    assert sum(item.times for item in feedback) == 1_001


def test_reading_presses_has_a_budget_and_the_next_run_goes_on(ctx, bot):
    ticks = itertools.count(0.0, BUDGET / 4)
    for number in range(1_500):
        bot.press(bot.messages[0].id, "take", user={"id": 4242, "first_name": f"Anna {number}"})
    read, runs = 0, 0
    while read < 1_500 and runs < 50:
        feedback, trouble = read_feedback(replace(ctx, timer=lambda: next(ticks)), NOW)
        read, runs = read + sum(item.times for item in feedback), runs + 1
        assert trouble == ("" if read == 1_500 else "more buttons were pressed than can be read in 20 s: the next run goes on")
    assert (read, runs > 1) == (1_500, True)
