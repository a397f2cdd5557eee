"""Escalation: a critical incident that nobody takes goes once to the next route. With a real Bot API server and a real hook."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alerting import pipeline
from alerting.event_calendar import read_rota
from alerting.messages import Audience
from alerting.messages.compose import escalation
from alerting.model.clock import Shift
from alerting.model.incident import Incident
from alerting.model.metric import Silence
from alerting.model.protocols import Commit
from alerting.model.routing import parse_routes
from alerting.model.verdict import EventKind, Label
from alerting.notifiers.base import RoutingNotifier
from alerting.notifiers.telegram import Telegram
from alerting.notifiers.webhook import Webhook
from alerting.pipeline.advance import StateChange
from alerting.pipeline.compose import escalations, is_escalation_due
from alerting.store.state import StateStore
from tests.ledger import rows
from tests.servers import says
from tests.stored import incident, text
from tests.test_lifecycle import START, STEP, after, connect, counts

HALF_AN_HOUR = timedelta(minutes=30)
NAMES = ("telegram", "slack", "email", "webhook")


@pytest.mark.parametrize(
    ("more", "minutes", "due"),
    [
        ({}, 30, True),
        ({}, 29, False),
        ({"acknowledged_by": "Anna"}, 60, False),
        ({"label": Label.REAL}, 60, False),
        ({"muted": True}, 60, False),
        ({"closed": START}, 60, False),
        ({"last_notified": None}, 60, False),  # silenced: nobody was told
    ],
)
def test_when_an_escalation_is_due(more, minutes, due):
    known: Incident = incident(**{"last_notified": START, **more})
    assert is_escalation_due(known, START, HALF_AN_HOUR, START + timedelta(minutes=minutes)) is due


@pytest.mark.parametrize(
    ("routes", "to"),
    [
        ("", ("telegram",)),
        ("critical -> telegram; critical -> slack, email; * -> telegram", ("slack", "email")),
        ("critical -> telegram; escalated -> email; critical -> slack", ("email",)),
        ("critical -> telegram, slack; * -> slack", ("telegram", "slack")),  # no route leads elsewhere
        ("critical -> slack", ("telegram",)),
        ("warning -> email; critical -> telegram; views -> slack", ("slack",)),
        ("warning -> email; critical -> telegram; likes -> slack", ("telegram",)),
    ],
)
def test_the_next_route(routes, to):
    message = replace(text("k", EventKind.ESCALATED), critical=True, incident="i")
    assert parse_routes(routes, NAMES).of(message) == to
    assert tuple(parse_routes(routes, NAMES).following(message, {"telegram": True})) == to


@pytest.mark.parametrize(
    ("language", "lines"),
    [
        ("en", ["‼️ <b>Nobody has taken it for 35\N{NO-BREAK SPACE}min</b>", "🔴 <b>alpha −60 %</b> · 12:00", "@anna"]),
        ("ru", ["‼️ <b>Никто не взял в работу: прошло 35\N{NO-BREAK SPACE}мин</b>", "🔴 <b>alpha −60 %</b> · 12:00", "@anna"]),
    ],
)
def test_its_text(language, lines):
    said = escalation(incident(), f"{lines[1]}\nmore", timedelta(minutes=35), Audience(language, "UTC", START), "@anna")
    assert said.text.splitlines() == lines
    assert said.critical


@pytest.fixture
def ctx(bot, web, tmp_path):
    web.will(says("ok"))
    routes = parse_routes("critical -> telegram; critical -> webhook", NAMES)
    store = StateStore(tmp_path / "alerts.sqlite", routes=routes)
    chat = Telegram(bot.token, bot.chat, bot.url, timeout=2, users="*")
    shifts = (Shift(START, START + timedelta(days=7), "@anna"),)
    notifier = RoutingNotifier({"telegram": chat, "webhook": Webhook(f"{web.url}/hook")})
    return connect(store=store, notifier=notifier, escalate_after=HALF_AN_HOUR, shifts=shifts, owner="@duty")


def live(ctx, number, **values):
    """A whole run after the bucket of this number, in which alpha has these values; returns what was sent."""
    bucket = START + number * STEP
    ctx.source.add(rows(counts(bucket, **values), within="14min"))
    now = ctx.source.now = after(bucket)
    due = pipeline.due(ctx, now)
    reading = pipeline.read(ctx, due, 0, now)
    pipeline.read_feedback(ctx, now)
    judged = pipeline.judge(ctx, due, reading, now)
    changes = pipeline.advance(ctx, judged, now)
    pipeline.commit(ctx, judged, changes, pipeline.compose(ctx, changes, judged, now))
    return pipeline.deliver(ctx, now)


def hooked(web):
    return [json.loads(asked.body) for asked in web.asked]


def test_a_critical_incident_that_nobody_takes_goes_once_to_the_next_route(ctx, bot, web):
    live(ctx, -1)
    for number in range(2):
        live(ctx, number, alpha="lower")
    assert (web.asked, "@anna" in bot.messages[0].plain) == ([], True)  # the mention of the opening is of who is on call
    live(ctx, 2, alpha="lower")
    entry_then = bot.messages[0].plain.splitlines()[0]
    for number in range(3, 6):
        live(ctx, number, alpha="lower")
    (call,) = hooked(web)
    first, entry, mention = call["text_plain"].splitlines()
    assert (call["kind"], first, mention) == ("escalated", "‼️ Nobody has taken it for 30\N{NO-BREAK SPACE}min", "@anna")
    assert entry == entry_then
    for number in range(6, 9):
        live(ctx, number)
    assert [said["kind"] for said in hooked(web)] == ["escalated", "resolved"]  # who was called hears of the end


@pytest.mark.parametrize("how", ["taken", "silenced", "not critical any more", "not critical"])
def test_it_is_not_escalated(ctx, bot, web, how):
    live(ctx, -1)
    live(ctx, 0, alpha="low" if how == "not critical" else "lower")
    if how == "taken":
        bot.press(bot.messages[0].id, "take")
    if how == "silenced":
        ctx.store.commit(Commit(silences=[Silence("alpha", START + STEP, START + timedelta(hours=9))]))
    for number in range(1, 5):
        live(ctx, number, alpha="lower" if how in ("taken", "silenced") else "low")
    assert [said for said in hooked(web) if said["kind"] == "escalated"] == []


def test_a_rota_with_bad_rows_is_read_as_far_as_it_can_be(tmp_path):
    path = tmp_path / "oncall.csv"
    path.write_text(
        "from,until,mention\n2026-11-16,2026-11-22,@anna\nsoon,later,@boris\n2026-11-24,2026-11-23,@carl\n2026-11-25,,\n"
    )
    shifts, notes = read_rota(path, "Europe/Moscow")
    assert shifts == (Shift(datetime(2026, 11, 15, 21, tzinfo=UTC), datetime(2026, 11, 22, 21, tzinfo=UTC), "@anna"),)
    assert [note.partition(": ")[0] for note in notes] == [f"rota oncall.csv, line {number}" for number in (3, 4, 5)]
    assert "'soon' is not a time: write it as 2026-11-20 14:05" in notes[0]
    assert read_rota(tmp_path / "none.csv", "UTC") == ((), [])
    path.write_bytes(b"\xff\xfe")
    assert "save it as UTF-8 text" in read_rota(path, "UTC")[1][0]


def escalated(web):
    return [call["text_plain"].splitlines()[0] for call in hooked(web) if call["kind"] == "escalated"]


def test_the_time_to_take_it_begins_when_the_chat_has_it(ctx, bot, web):
    live(ctx, -1)
    bot.fail("500", times=99)
    for number in range(3):
        live(ctx, number, alpha="lower")
    bot.faults.clear()
    for number in range(3, 5):
        live(ctx, number, alpha="lower")
    assert (len(bot.messages), escalated(web)) == (1, [])
    live(ctx, 5, alpha="lower")
    assert escalated(web) == ["‼️ Nobody has taken it for 30\N{NO-BREAK SPACE}min"]


@pytest.mark.parametrize("how", ["taken", "escalated"])
def test_what_comes_again_has_its_own_time(ctx, bot, web, how):
    live(ctx, -1)
    live(ctx, 0, alpha="lower")
    if how == "taken":
        bot.press(bot.messages[0].id, "take")
    for number in range(1, 4):
        live(ctx, number, alpha="lower")
    before = escalated(web)
    assert len(before) == (how == "escalated")
    for number in range(4, 7):
        live(ctx, number)
    for number in range(7, 9):
        live(ctx, number, alpha="lower")
    (known,) = ctx.store.incidents()
    assert (known.reopened, known.acknowledged_by, escalated(web)) == (1, "", before)
    live(ctx, 9, alpha="lower")
    assert escalated(web) == [*before, "‼️ Nobody has taken it for 30\N{NO-BREAK SPACE}min"]


def test_a_run_does_not_show_the_escalation_of_another(ctx):
    live(ctx, -1)
    for number in range(2):
        live(ctx, number, alpha="lower")
    known, now = ctx.store.incidents(), after(START + 2 * STEP)
    changes = StateChange(incidents=known)
    newest = {known[0].id: {"alpha": known[0].root.first}}
    message, *others = escalations(ctx, changes, newest, [], now)
    assert (message.kind, others) == (EventKind.ESCALATED, [])
    ctx.store.commit(Commit(messages=[message]), now)
    assert [*escalations(ctx, changes, newest, [], now + STEP)] == []


def test_a_snooze_puts_it_off(ctx, bot, web):
    live(ctx, -1)
    live(ctx, 0, alpha="lower")
    bot.press(bot.messages[0].id, "snooze")  # at 12:36 for an hour
    for number in range(1, 7):
        live(ctx, number, alpha="lower")
    assert escalated(web) == []
    live(ctx, 7, alpha="lower")
    assert escalated(web) == ["‼️ Nobody has taken it for 30\N{NO-BREAK SPACE}min"]


@pytest.mark.parametrize(("owner", "said"), [("@duty", "@anna"), ("@duty @boss", "@anna @boss"), ("@duty_team", "@duty_team")])
def test_only_duty_itself_is_who_is_on_call(owner, said):
    assert Audience("en", "UTC", START, duty="@anna").mention(owner) == said
