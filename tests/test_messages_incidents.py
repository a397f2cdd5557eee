"""The texts of incidents and runs: buttons, threads, severity, calendar and lists."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta

import pytest

from alerting import messages
from alerting.messages import facts
from alerting.messages.compose import as_drill, digest_message, run_failed
from alerting.model.incident import Event
from alerting.model.message import Action, Message
from alerting.model.metric import CalendarEvent
from alerting.model.routing import parse_routes
from alerting.model.verdict import Episode, EventKind, Label, Status, Verdict
from tests.texts import (
    DEEPER,
    DOWN,
    DROP,
    EDGES,
    NAN,
    STEP,
    WORST,
    context,
    corrected,
    daily,
    data_back_incident,
    digest,
    event,
    gaps,
    incident,
    joined,
    labelled,
    member,
    metric,
    missing,
    moscow,
    muted,
    no_data,
    no_data_incident,
    no_data_of_one_metric,
    no_data_over,
    normal,
    odd,
    opened,
    opened_again,
    opened_incident,
    opened_incident_edited,
    opened_incident_over,
    part,
    plain_spaces,
    platform,
    reader,
    reminder_open,
    resolved_incident,
    resolved_untold,
    silenced,
    taken,
    told,
    worsened_incident,
)


def test_buttons_go_with_what_can_be_said():
    def actions(message: Message) -> list[list[Action]]:
        return [[button.action for button in row] for row in message.buttons]

    begins = [[Action.TAKE, Action.SNOOZE], [Action.MUTE, Action.FALSE_ALARM, Action.EXPECTED]]
    ends = [[Action.REAL, Action.FALSE_ALARM], [Action.EXPECTED, Action.NEW_TREND]]
    assert actions(opened_incident("en")) == actions(no_data_incident("en")) == actions(opened_incident_edited("en")) == begins
    assert actions(resolved_incident("en")) == actions(resolved_untold("en")) == ends
    for make in (
        opened,
        opened_incident_over,
        no_data_over,
        data_back_incident,
        worsened_incident,
        reminder_open,
        corrected,
    ):
        assert actions(make("en")) == [], make
    assert [button.text for row in opened_incident("ru").buttons for button in row] == [
        "Беру в работу", "Отложить на 1 ч", "Без звука до конца", "Ложная", "Ожидаемо",
    ]  # fmt: skip


@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_row_of_buttons_fits_a_phone(language):
    for message in (opened_incident(language), resolved_incident(language)):
        assert all(sum(len(button.text) + 2 for button in row) <= 42 for row in message.buttons)


def test_an_incident_is_one_thread():
    first = opened_incident("en")
    assert (first.key, first.reply_to, first.incident) == ("20261012T1115Z-likes/opened/text", "", "20261012T1115Z-likes")
    for make in (opened_again, worsened_incident, joined, reminder_open, resolved_incident):
        message = make("en")
        assert (message.reply_to, message.incident) == (first.key, first.incident), make
        assert message.key.startswith(f"{first.incident}/"), make
        assert message.key != first.key
    for make in (taken, silenced, muted, labelled(Label.REAL)):
        message = make("en")
        assert (message.edits, message.reply_to, message.incident) == (first.key, "", first.incident), make
        assert message.text.splitlines()[0] == first.text.splitlines()[0]
        assert message.buttons == first.buttons
    assert opened_incident_edited("en").key == opened_incident_over("en").key == first.key
    assert resolved_untold("en").reply_to == ""  # there is nothing to answer


def test_messages_about_problems_make_a_sound_and_confirmations_do_not():
    loud = [opened_incident, no_data_incident, worsened_incident, reminder_open, resolved_incident, corrected, digest]
    assert not any(make("en").quiet for make in loud)
    assert all(make("en").quiet for make in (taken, silenced, muted, daily, labelled(Label.REAL)))
    calm = replace(event(EventKind.RESOLVED, normal(moscow("17:00"))), quiet=True)
    assert messages.compose(calm, context(metric(), reader())).quiet


def test_a_drill_can_be_taken_for_nothing_else():
    real, marked = worsened_incident("en"), as_drill(worsened_incident("en"), "en")
    assert (marked.key, marked.reply_to, marked.edits) == (f"drill/{real.key}", f"drill/{real.reply_to}", "")
    assert marked.text == f"🧪 DRILL {real.text}"
    shown = messages.compose(event(EventKind.OPENED, DROP), context(metric(), reader("ru")))
    assert as_drill(shown, "ru").text.startswith("🧪 УЧЕБНАЯ ТРЕВОГА 🟡")


def test_a_digest_keeps_the_newest_and_counts_the_rest():
    late = [Message(f"m{i}", EventKind.OPENED, "likes", moscow("02:00") + i * STEP, f"<b>{i}</b>\nmore") for i in range(40)]
    lines = digest_message(late, moscow("14:00"), reader()).text.splitlines()
    assert plain_spaces(lines[0]) == "📜 <b>40 messages could not be sent in time</b> (Mon 02:00–11:45)"
    assert lines[1:] == ["25 more before", *(f"<b>{i}</b>" for i in range(25, 40))]
    long = [replace(message, text="🔥" * 900) for message in late]
    assert len(digest_message(long, moscow("14:00"), reader()).text.encode("utf-16-le")) // 2 < 4096
    assert "1\u00a0message " in digest_message(late[:1], moscow("14:00"), reader()).text


@pytest.mark.parametrize("icon", ["🔴", "🚨"])
def test_what_is_critical_is_routed_by_its_severity_and_not_by_its_icon(monkeypatch, icon):
    monkeypatch.setattr(facts, "CRITICAL_ICON", icon)
    routes, about = parse_routes("critical -> email; * -> slack", ("telegram", "slack", "email")), context(metric(), reader())
    said = event(EventKind.OPENED, WORST)
    text = messages.compose(said, about)
    for message in (text, platform("en"), messages.compose(replace(said, kind=EventKind.REMINDER), about)):
        assert (message.text.split()[0], routes.of(message)) == (icon, ("email",))
    for calm in (
        event(EventKind.OPENED, DROP),
        event(EventKind.WORSENED, DROP, last_notified_verdict=DROP),
        event(EventKind.WORSENED, missing(DROP.bucket), gap_since=DROP.bucket),
        event(EventKind.NO_DATA, missing(DROP.bucket), gap_since=DROP.bucket),
        event(EventKind.REMINDER, DROP, since=DROP.bucket),
        event(EventKind.RESOLVED, normal(DROP.bucket)),
    ):
        assert routes.of(messages.compose(calm, about)) == ("slack",), calm.kind
    taken_back = replace(said, incident=incident(member("likes"), corrected=True))
    assert (opened_incident_over("en").critical, messages.compose(taken_back, about).critical) == (False, False)


@pytest.mark.parametrize("score", [-1.01, -9.96, 123.4, -1000, NAN])
def test_the_distance_to_the_edge_is_not_the_severity(score):
    text = messages.compose(event(EventKind.OPENED, replace(DROP, score=score)), context(metric(), reader())).text
    assert text.startswith("🟡")


@pytest.mark.parametrize(
    ("lost", "more", "said"),
    [
        (7912, {}, "about 7,900 likes lost"),
        (-7912, {}, "about 7,900 likes too many"),
        (101, {}, "about 100 likes lost"),
        (99, {}, ""),  # less than 5 % of the 2,000 that one bucket was to have
        (0, {}, ""),
        (7912, {"adds": False}, ""),
        (7912, {"form": "number"}, ""),
        (float("inf"), {}, ""),
    ],
)
def test_the_loss_is_said_where_it_can_be_summed(lost, more, said):
    over = event(EventKind.RESOLVED, normal(moscow("17:00")), since=moscow("14:00"), worst=WORST, lost=lost)
    lines = messages.compose(over, context(metric(**more), reader(now=moscow("17:20")))).text.splitlines()
    assert plain_spaces(lines[1]).partition("15:30")[2].removeprefix(" · ") == said


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        (moscow("14:05"), moscow("14:05"), "Push, 14:05"),
        (moscow("14:05"), moscow("14:10"), "Push, 14:05"),
        (moscow("14:00"), moscow("18:00"), "Push, 14:00–18:00"),
        (moscow("23:00", -1), moscow("01:00"), "Push, Sun 23:00–Mon 01:00"),
        (moscow("00:00"), moscow("00:00", 1), "Push"),
        (moscow("00:00", 1), moscow("00:00", 2), "Push, Tue"),
        (moscow("00:00", -2), moscow("00:00", 1), "Push, Sat–Mon"),
    ],
)
def test_the_calendar_says_when(start, end, said):
    about = context(metric(), reader(), calendar=(CalendarEvent(start, end, "push", "Push"),))
    assert f"📅 {said}" in plain_spaces(messages.compose(event(EventKind.OPENED, DROP), about).text).splitlines()


def test_the_nearest_of_the_calendar_are_named():
    days = tuple(CalendarEvent(moscow("14:00") + n * STEP, moscow("14:00") + n * STEP, "push", f"Push {n}") for n in range(9))
    lines = messages.compose(event(EventKind.OPENED, DROP), context(metric(), reader(), calendar=days)).text.splitlines()
    assert [line for line in lines if "📅" in line] == ["📅 Push 1, 14:15; Push 0, 14:00, 7 more"]


def test_what_left_the_incident_is_named_in_its_correction():
    views = Verdict("views", moscow("14:15"), Status.NORMAL, 42_300, *EDGES["views"], score=-0.1)
    also = (Event(EventKind.CORRECTED, "ctr", moscow("14:15"), views, Episode("ctr")),)
    message = told(EventKind.CORRECTED, views, incident(member("likes")), "en", "15:05", (part(member("likes")),), also=also)
    assert plain_spaces(message.text).splitlines()[:3] == [
        "↩️ <b>Views, ctr: normal after all</b> · 42,300 once all rows of Mon 14:15–14:30 had arrived",
        "Expected 41,000–44,000",
        "Still off: Likes 1,240 (usually 2,020)",
    ]
    stale = told(EventKind.CORRECTED, odd("views", moscow("14:15"), 26_357), incident(member("likes")), "en", "15:05")
    assert "26,357" not in stale.text  # that was before the rows came


def test_the_platform_has_no_data_only_when_none_of_it_has():
    story, parts = gaps("feed_users", "views", "messenger_users")
    odd_one = replace(story.members[2], gap=False, first=odd("messenger_users", moscow("12:15"), 130))
    story, parts = replace(story, members=(*story.members[:2], odd_one)), (parts[0], part(odd_one))
    more = {"is_platform": True, "gap_since": moscow("12:15")}
    text = told(EventKind.NO_DATA, story.root.first, story, "en", "12:45", parts, **more).text
    assert text.startswith("🔴 <b>Feed users: no data</b>")  # nine of ten messenger users are gone
    assert "Also: Views: no data, Messenger users 130 (usually 1,325)" in text


def test_the_daily_message_has_one_key_a_day():
    assert daily("en").key == daily("ru").key == "run/daily/20261011T2100Z/text"


def test_an_edit_is_not_late():
    for make in (opened_incident_edited, opened_incident_over, no_data_over):
        assert "⏱" not in make("en").text


def test_a_silence_is_said_while_it_lasts():
    def lines(**more) -> list[str]:
        said = replace(event(EventKind.OPENED, DROP), incident=incident(member("likes"), **more))
        return messages.compose(said, context(metric(), reader())).text.splitlines()

    assert "🔕 silent until 16:00" in lines(snoozed_until=moscow("16:00"))
    assert not any("🔕" in line for line in lines(snoozed_until=moscow("14:00")))


def test_what_joined_is_named_even_when_little_is_known_of_it():
    also = (Event(EventKind.OPENED, "sign_ups", moscow("15:30"), odd("likes", moscow("15:30"), 600), Episode("sign_ups")),)
    text = told(EventKind.WORSENED, DEEPER, incident(member("likes")), "en", "15:50", also=also, last_notified_verdict=DOWN).text
    assert "Also now: sign_ups −70\u202f%" in text


def test_the_owner_is_not_mentioned_when_the_incident_is_over():
    assert "@duty" in opened_incident_edited("en").text
    for make in (opened_incident_over, no_data_over, resolved_incident, resolved_untold, data_back_incident, corrected):
        assert "@duty" not in make("en").text, make


def test_keys_say_what_a_message_is_about():
    likes = context(metric(), reader())
    text = messages.compose(event(EventKind.OPENED, DROP), likes)
    assert (text.key, text.photo, text.reply_to) == ("likes/opened/20261012T1115Z/text", None, "")


def test_the_same_failure_has_one_key_in_an_hour():
    failures = [("12:00", "down for 1 s"), ("12:15", "down for 60 s"), ("13:00", "down for 1 s"), ("12:00", "disk full")]
    keys = [run_failed(moscow(at), why, None, None, reader()).key for at, why in failures]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3
    assert [key.rpartition("-")[0] for key in keys[1:]] == [f"run/run-failed/20261012T{hour}Z" for hour in ("09", "10", "09")]


@pytest.mark.parametrize(
    ("now", "step", "late"),
    [("14:50", 15, ""), ("15:00", 15, ""), ("15:01", 15, "31 min"), ("14:46", 1, ""), ("14:47", 1, "31 min"), ("16:00", 60, "")],
)
def test_late_is_said_when_it_is_unusual(now, step, late):
    about = messages.MessageContext(metric(step=timedelta(minutes=step)), reader(now=moscow(now)))
    text = plain_spaces(messages.compose(event(EventKind.OPENED, DROP), about).text)
    assert ("⏱" in text) == bool(late)
    assert late in text


def test_a_value_that_cannot_be_made_is_told_from_rows_that_do_not_come():
    assert "last row 12:44, but its rows give no value" in no_data_of_one_metric("en").text
    assert "when data arrives" in no_data("en").text


def test_a_ratio_of_nothing_does_not_wait_for_an_incomplete_interval():
    said = event(EventKind.NO_DATA, missing(moscow("12:30")), gap_since=moscow("12:15"))
    about = messages.MessageContext(
        metric(form="ratio"), reader(now=moscow("12:50")), table="feed_actions", newest=moscow("12:44")
    )
    text = plain_spaces(messages.compose(said, about).text)
    assert "feed_actions: last row 12:44, but its rows give no value: is there anything to divide by?" in text
    assert "incomplete" not in text


@pytest.mark.parametrize(
    ("language", "said"), [("en", "the day before 1,500, a week before"), ("ru", "накануне 1 500, неделей раньше")]
)
def test_yesterday_is_the_day_before_the_reader_not_before_the_bucket(language, said):
    """A day is reported when it is over: yesterday is that day itself."""
    drop = replace(DROP, bucket=moscow("00:00"))
    here = reader(language, now=moscow("00:20") + timedelta(days=1))
    about = messages.MessageContext(metric(step=timedelta(days=1)), here, yesterday=1500, week_ago=1400)
    assert said in plain_spaces(messages.compose(event(EventKind.OPENED, drop), about).text).lower()
    about = messages.MessageContext(metric(), replace(here, now=moscow("23:50")), yesterday=1500)
    assert "before" not in plain_spaces(messages.compose(event(EventKind.OPENED, DROP), about).text).lower()


def test_rows_from_the_future_are_not_ago():
    said = event(EventKind.NO_DATA, missing(moscow("12:30")), gap_since=moscow("12:15"))
    about = context(metric(), reader(now=moscow("12:50")), table="feed_actions", newest=moscow("13:30"))
    assert "feed_actions: last row 13:30, later than now" in messages.compose(said, about).text


@pytest.mark.parametrize("language", ["en", "ru"])
def test_what_is_deeper_now_is_the_worst(language):
    """A first look at two buckets opens at the first of them, and the newest is deeper."""
    said = event(EventKind.OPENED, DROP, since=moscow("14:15"), worst=DROP)
    text = messages.compose(said, context(metric(), reader(language, now=moscow("15:46")), latest=WORST)).text
    assert "−52" in text.split("\n")[0]
    assert not re.search("[Ww]orst|аксимум", text)


def test_the_incidents_page_is_linked_where_reports_are_served():
    page = "https://alerts.example.org/incidents/20261012T1115Z-likes.html"
    assert f'<a href="{page}">Incident</a>' in opened_incident("en").text
    said = replace(event(EventKind.OPENED, DROP), incident=incident(member("likes")))
    assert "Incident" not in messages.compose(said, context(metric(), reader(pages=""))).text
