"""Quiet hours: what makes no sound, what waits for the summary, that nothing is lost. With a real Bot API server."""

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alerting import connections, pipeline
from alerting.model.clock import parse_week_spans
from alerting.model.incident import Incident, Member
from alerting.model.message import Message
from alerting.model.protocols import Commit
from alerting.model.routing import RING, SILENT, WAIT, QuietHours, parse_routes
from alerting.model.verdict import EventKind, Status, Verdict
from alerting.notifiers.base import RoutingNotifier
from alerting.notifiers.telegram import Telegram
from alerting.notifiers.webhook import Webhook
from alerting.pipeline.context import RunContext
from alerting.pipeline.deliver import deliver
from alerting.settings import load_settings
from alerting.store.state import StateStore
from tests.ledger import NoSource
from tests.pictures import png
from tests.servers import says

NIGHT = datetime(2026, 11, 20, 2, 5, tzinfo=UTC)
MORNING = datetime(2026, 11, 20, 8, 5, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SPANS = parse_week_spans("23:00-08:00")
QUIET = QuietHours(SPANS, "UTC", WAIT)


def incident(metric="likes", **more):
    verdict = Verdict(metric, NIGHT, Status.ANOMALOUS, 700.0, 900.0, 1000.0, 1100.0, -3.0, "sudden")
    member = Member(metric, NIGHT, NIGHT, verdict, until=more.get("closed"))
    return Incident(f"20261120T0200Z-{metric}", NIGHT, (member,), last_notified=NIGHT, **more)


def message(kind=EventKind.OPENED, text="🟡 <b>Likes −30 %</b>\nmore", metric="likes", at=NIGHT, **more):
    name, opening = incident(metric).id, f"{incident(metric).id}/opened/text"
    key = opening if kind is EventKind.OPENED else f"{name}/{kind.value}/{at:%H%M}/text"
    return Message(key, kind, metric, at, text, incident=name, **{"reply_to": "" if key == opening else opening, **more})


@pytest.mark.parametrize(
    ("what", "at", "mode"),
    [
        (message(), NIGHT, WAIT),
        (message(), MORNING, RING),
        (message(critical=True), NIGHT, RING),
        (message(EventKind.WORSENED), NIGHT, SILENT),  # of an entry that is in the chat
        (message(EventKind.RESOLVED, reply_to=""), NIGHT, WAIT),  # the first that is said of an incident
        (replace(message(), key=f"webhook:{message().key}"), NIGHT, SILENT),  # a program wants it at once
        (message(metric="views"), NIGHT, RING),
        (message(metric="ctr"), NIGHT, SILENT),
        (message(metric="ctr.slices"), NIGHT, SILENT),  # a watched segment of it
        (Message("run/daily/x/text", EventKind.DAILY, "", NIGHT, "96 of 96"), NIGHT, SILENT),
        (Message("run/run-failed/x/text", EventKind.RUN_FAILED, "", NIGHT, "failed"), NIGHT, RING),
    ],
)
def test_how_a_message_is_sent(what, at, mode):
    assert replace(QUIET, modes={"views": RING, "ctr": SILENT}).mode_of(what, at) == mode
    assert QuietHours((), "UTC", WAIT).mode_of(what, at) == RING


@pytest.mark.parametrize(
    ("waiting", "held", "plan"),
    [
        ([message()], [], ([message().key], [])),
        ([message(EventKind.WORSENED)], [], ([], [])),
        ([], [message(), message(EventKind.WORSENED)], ([], [])),
        ([], [message(), message(EventKind.WORSENED, critical=True)], ([], [message().key, message(EventKind.WORSENED).key])),
        ([], [message(critical=True), message(metric="ctr")], ([], [message().key])),  # its text was edited meanwhile
        ([message(), message(EventKind.WORSENED, critical=True)], [], ([], [])),
        ([message()], [message(metric="ctr", critical=True)], ([message().key], [message(metric="ctr").key])),
    ],
)
def test_what_is_held_back_and_what_is_let_go(waiting, held, plan):
    assert QUIET.plan(waiting, held, NIGHT) == plan


@pytest.fixture
def ctx(bot, tmp_path):
    store = StateStore(tmp_path / "alerts.sqlite")
    return RunContext([], {}, NoSource(), store, Telegram(bot.token, bot.chat, bot.url, timeout=2), "UTC", quiet=QUIET)


def send(ctx, now, *messages, incidents=()):
    ctx.store.commit(Commit(messages=messages, incidents=incidents), now)
    return deliver(ctx, now)


def sounds(bot):
    return [(m.plain.splitlines()[0], "disable_notification" not in m.fields) for m in bot.messages]


def test_without_a_sound(ctx, bot):
    quiet = replace(ctx, quiet=replace(QUIET, mode=SILENT))
    send(quiet, NIGHT, message(), message(metric="ctr", text="🔴 CTR −60 %", critical=True))
    send(quiet, MORNING, message(EventKind.RESOLVED, "🟢 Likes: normal again", at=MORNING))
    assert sounds(bot) == [("🟡 Likes −30 %", False), ("🔴 CTR −60 %", True), ("🟢 Likes: normal again", True)]


def test_what_ends_while_it_waits_is_in_the_summary_and_nothing_else_of_it_is_sent(ctx, bot):
    opening = message(photo=png())
    assert send(ctx, NIGHT, opening, incidents=[incident()]) == []
    assert (ctx.store.waiting(), ctx.store.counts().held, bot.messages) == ([], 1, [])
    edit = replace(message(text="🟡 <b>Likes −30 %</b> · 02:00–02:30 · over since 02:30"), key="e", edits=opening.key)
    send(ctx, NIGHT + HOUR, edit, message(EventKind.RESOLVED, at=NIGHT + HOUR), incidents=[incident(closed=NIGHT + HOUR)])
    assert bot.messages == []
    send(ctx, MORNING)
    assert [m.plain for m in bot.messages] == [
        "🌅 In quiet hours: 1\N{NO-BREAK SPACE}incident (Fri 02:05)\n🟡 Likes −30 % · 02:00–02:30 · over since 02:30"
    ]
    send(ctx, MORNING + HOUR)
    assert (len(bot.messages), ctx.store.waiting(), ctx.store.held()) == (1, [], [])


def test_what_is_open_in_the_morning_comes_with_the_summary_and_has_its_picture(ctx, bot):
    going_on, over = incident(), incident("ctr", closed=NIGHT + HOUR)
    send(ctx, NIGHT, message(photo=png()), message(metric="ctr", text="🟡 CTR −9 %"), incidents=[going_on, over])
    send(ctx, NIGHT + HOUR, message(EventKind.REMINDER, "🟠 Likes still −30 %", at=NIGHT + HOUR))
    send(ctx, MORNING)
    assert sounds(bot) == [
        ("🟡 Likes −30 %", False),
        ("🌅 In quiet hours: 2\N{NO-BREAK SPACE}incidents (Fri 02:05)", True),
    ]
    assert [m.photo is not None for m in bot.messages] == [True, False]
    send(ctx, MORNING + HOUR, message(EventKind.RESOLVED, "🟢 Likes: normal again", at=MORNING))
    assert bot.messages[-1].reply_to == bot.messages[0].id


def test_the_only_one_that_is_open_needs_no_summary(ctx, bot):
    send(ctx, NIGHT, message(), incidents=[incident()])
    send(ctx, NIGHT + HOUR, message(EventKind.RESOLVED, "🟢 Likes: normal again", at=NIGHT + HOUR))
    send(ctx, NIGHT + 2 * HOUR, message(EventKind.REMINDER, "🟠 Likes still −30 %", at=NIGHT + 2 * HOUR))
    send(ctx, MORNING)
    assert sounds(bot) == [("🟡 Likes −30 %", True)], "what was said meanwhile is old"
    send(ctx, MORNING + HOUR, message(EventKind.WORSENED, "🔴 Likes −60 %", at=MORNING + HOUR))
    assert sounds(bot)[1:] == [("🔴 Likes −60 %", True)]


@pytest.mark.parametrize("by", ["a message", "an edit"])
def test_what_becomes_critical_rings_at_once(ctx, bot, by):
    send(ctx, NIGHT, message(photo=png()), incidents=[incident()])
    worse = message(EventKind.WORSENED, "🔴 Likes −60 %", at=NIGHT + HOUR, critical=True, photo=png(16))
    edit = replace(worse, key="e", edits=worse.reply_to, reply_to="")
    send(ctx, NIGHT + HOUR, worse if by == "a message" else edit)
    rings = [("🟡 Likes −30 %", False), ("🔴 Likes −60 %", True)]
    assert sounds(bot) == (rings if by == "a message" else rings[1:])
    assert bot.messages[0].photo == png(8 if by == "a message" else 16), "what was held back keeps its picture, or has the newest"
    send(ctx, MORNING)
    assert len(bot.messages) == (2 if by == "a message" else 1), "nothing is left for the summary"


def test_what_becomes_critical_rings_once(ctx, bot):
    """As a run makes it: the message that it is worse, and the newest text of the one that was held back."""
    send(ctx, NIGHT, message(photo=png()), incidents=[incident()])
    worse = message(EventKind.WORSENED, "🔴 Likes −60 % (was −30 %)", at=NIGHT + HOUR, critical=True)
    edit = replace(worse, key="e", edits=worse.reply_to, reply_to="", text="🔴 Likes −60 %")
    send(ctx, NIGHT + HOUR, worse, edit)
    assert sounds(bot) == [("🔴 Likes −60 %", False), ("🔴 Likes −60 % (was −30 %)", True)]


def test_nothing_is_lost_when_the_chat_is_down_in_the_morning_or_the_process_dies(ctx, bot, tmp_path):
    send(ctx, NIGHT, message(), message(metric="ctr", text="🟡 CTR −9 %"), incidents=[incident(), incident("ctr")])
    ctx.store.close()
    with closing(StateStore(tmp_path / "alerts.sqlite")) as store:
        after = replace(ctx, store=store)
        bot.fail("500", times=2, method="sendMessage")
        assert [receipt.state for receipt in send(after, MORNING)] == ["kept", "kept", "sent"]
        send(after, MORNING + HOUR)
        assert sorted(text for text, _ in sounds(bot)) == [
            "🌅 In quiet hours: 2\N{NO-BREAK SPACE}incidents (Fri 02:05)",
            "🟡 CTR −9 %",
            "🟡 Likes −30 %",
        ]


def test_what_waits_is_not_forgotten_by_the_runs_of_the_night(ctx, bot):
    """Each run begins with forgetting what is old, and took what was held for that: the alert was lost."""
    send(ctx, NIGHT, message(), message(metric="ctr", text="🟡 CTR −9 %"), incidents=[incident(), incident("ctr")])
    for hours in range(1, 6):
        ctx.store.forget(NIGHT + hours * HOUR)
        send(ctx, NIGHT + hours * HOUR)
    send(ctx, MORNING)
    assert len(bot.messages) == 3, "both, and the summary"


def test_a_run_tells_in_the_morning_what_began_in_the_night(bot, tmp_path):
    """As cron makes them: each with connections of its own."""
    end, step = datetime(2026, 11, 20, tzinfo=UTC), timedelta(minutes=15)
    given = {
        "SOURCE": str(tmp_path / "kpi.csv"), "DATA": str(tmp_path / "data"), "ZONE": "UTC", "QUIET": "23:00-02:50",
        "QUIET_MODE": "wait", "TELEGRAM_TOKEN": bot.token, "TELEGRAM_CHAT": bot.chat, "TELEGRAM_URL": bot.url,
    }  # fmt: skip
    settings = load_settings({f"ALERTING_{name}": text for name, text in given.items()}, tmp_path / "none.env")
    for minutes in (111, 126, 141, 156, 171):
        now = end + timedelta(minutes=minutes)
        lines = []
        for n in range(20 * 96 + minutes // 15):
            at = end - 20 * DAY + n * step
            low = end + 2 * HOUR <= at + step
            lines.append(f"likes,{at:%Y-%m-%dT%H:%MZ},{(700 if low else 1000) + n % 7}")
        (tmp_path / "kpi.csv").write_text("\n".join(["series,ts,value", *lines, ""]))
        made = connections.connect(settings=settings, now=now)
        due = pipeline.due(made, now)
        judged = pipeline.judge(made, due, pipeline.read(made, due, 0, now), now)
        changes = pipeline.advance(made, judged, now)
        pipeline.commit(made, judged, changes, pipeline.compose(made, changes, judged, now))
        pipeline.deliver(made, now)
        made.store.close()
        assert bool(bot.messages) is (minutes == 171)
    assert "likes −30" in bot.messages[0].plain


def test_late_rows_withdraw_what_waits(ctx, bot):
    send(ctx, NIGHT, message(), incidents=[incident()])
    gone = incident(closed=NIGHT, corrected=True)
    ctx.store.commit(Commit(incidents=[gone], withdrawn_keys=ctx.store.unsent(gone.id)), NIGHT + HOUR)
    send(ctx, MORNING)
    assert (bot.messages, ctx.store.counts().withdrawn) == ([], 1)


def test_each_destination_has_its_summary_and_a_program_gets_all_at_once(ctx, bot, web, tmp_path):
    web.will(says("ok"))
    routes = parse_routes("* -> telegram, webhook", ("telegram", "webhook"))
    notifier = RoutingNotifier({"telegram": ctx.notifier, "webhook": Webhook(f"{web.url}/hook")})
    both = replace(ctx, store=StateStore(tmp_path / "both.sqlite", routes=routes), notifier=notifier)
    send(both, NIGHT, message(), incidents=[incident(closed=NIGHT)])
    assert ([r.path for r in web.asked], bot.messages) == (["/hook"], [])
    send(both, MORNING)
    assert (len(web.asked), len(bot.messages)) == (1, 1)
