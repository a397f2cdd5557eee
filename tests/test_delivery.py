"""Delivery from the outbox to a real Bot API server: within its limits, in order, late or in a digest, never lost."""

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from alerting import pipeline
from alerting.metrics import METRICS
from alerting.model.errors import NotDelivered, RunFailed
from alerting.model.incident import Incident, Member
from alerting.model.message import Message, Receipt
from alerting.model.protocols import Commit
from alerting.model.run import Reading
from alerting.model.verdict import EventKind, Status, Verdict
from alerting.notifiers.telegram import Telegram
from alerting.pipeline.context import RunContext
from alerting.store.state import StateStore
from tests.ledger import NoSource

NOW = datetime(2026, 11, 20, 12, 36, tzinfo=UTC)
STEP = timedelta(minutes=15)


@pytest.fixture
def waits():
    return []


@pytest.fixture
def ctx(bot, tmp_path, waits):
    chat = Telegram(bot.token, bot.chat, bot.url, timeout=2)
    store = StateStore(tmp_path / "alerts.sqlite")
    return RunContext(METRICS, {}, NoSource(), store, chat, zone="UTC", wait=waits.append)


def text(key, at=NOW, **more):
    return Message(key, EventKind.OPENED, "likes", at, f"text of {key}", **more)


def test_a_group_that_takes_twenty_a_minute_is_never_asked_for_more(ctx, bot, waits):
    bot.inside.per_minute = 20
    passed = []
    bot.inside.clock = lambda: sum(waits) + 0.01 * len(bot.calls)  # waiting is what moves its clock
    ctx.store.commit(Commit(messages=[text(f"m{i}") for i in range(40)]), NOW)
    passed += pipeline.deliver(ctx, NOW)
    assert "429" not in {fault for _, fault in bot.calls}
    sent = [r for r in passed if r.state == "sent"]
    kept = [r for r in passed if r.state == "kept"]
    assert len(sent) == 36  # a minute is waited for once
    assert all("no more than 18 messages a minute" in r.reason for r in kept)
    assert len(pipeline.deliver(ctx, NOW + STEP)) == len(kept) == 4
    assert sorted(m.plain for m in bot.messages) == sorted(f"text of m{i}" for i in range(40))


def test_two_runs_within_a_minute_share_the_limit(ctx, bot):
    ctx.store.commit(Commit(messages=[text(f"a{i}") for i in range(18)]), NOW)
    pipeline.deliver(ctx, NOW)
    ctx.store.commit(Commit(messages=[text("b")]), NOW)
    first = RunContext(**{**vars(ctx), "wait": lambda seconds: None})
    (receipt,) = pipeline.deliver(first, NOW + timedelta(seconds=20))
    assert receipt.state == "sent"  # after a wait of a minute


def test_what_is_too_old_is_told_as_a_line_of_a_digest_but_for_what_still_goes_on(ctx, bot):
    bucket = NOW - timedelta(hours=9)
    verdict = Verdict("likes", bucket, Status.ANOMALOUS, 7.0, 9.0, 10.0, 11.0, -3.0)
    going_on = Incident("open-likes", bucket, (Member("likes", bucket, bucket, verdict),), last_notified=bucket)
    old = [text(f"old{i}", bucket) for i in range(3)]
    ctx.store.commit(Commit(messages=[*old, text(going_on.key, bucket, incident=going_on.id)], incidents=[going_on]), bucket)
    ctx.store.commit(Commit(messages=[text("fresh")]), NOW - STEP)
    receipts = pipeline.deliver(ctx, NOW)
    assert {r.state for r in receipts} == {"sent"}
    said = [m.plain for m in bot.messages]
    assert sum("text of old" in line for line in said) == 1  # all three in one
    digest = next(line for line in said if "text of old" in line)
    assert digest.startswith("📜 3\xa0messages could not be sent in time")
    assert [line for line in said if line != digest] == [f"text of {going_on.key}", "text of fresh"]
    assert pipeline.deliver(ctx, NOW + STEP) == []


def test_a_reply_never_overtakes_what_it_answers(ctx, bot):
    ctx.store.commit(Commit(messages=[text("opening"), text("reply", reply_to="opening")]), NOW)
    bot.fail("500", times=1, method="sendMessage")
    assert [r.state for r in pipeline.deliver(ctx, NOW)] == ["kept"]
    assert [r.state for r in pipeline.deliver(ctx, NOW + STEP)] == ["sent", "sent"]
    opening, reply = bot.messages
    assert reply.reply_to == opening.id


@pytest.mark.parametrize("key", ["i/edit/1", "i/newer/1"])
def test_an_edit_that_comes_to_nothing_is_no_failed_run(ctx, bot, key):
    ctx.store.commit(Commit(messages=[text("opening")]), NOW)
    pipeline.deliver(ctx, NOW)
    edit = Message(key, EventKind.OPENED, "likes", NOW, "newer", edits="opening")
    ctx.store.commit(Commit(messages=[edit]), NOW)
    bot.fail("400", times=1, method="editMessageText", description="Bad Request: message can't be edited")
    receipts = pipeline.deliver(ctx, NOW)
    assert [r.state for r in receipts] == ["refused"]
    assert pipeline.finish(ctx, Reading({}), receipts) == "all seen; 0 messages sent"
    with pytest.raises(RunFailed, match="message i/edit/2 was refused"):  # no edit, whatever its key says
        pipeline.finish(ctx, Reading({}), [Receipt("i/edit/2", "refused")])


def test_a_message_that_may_have_arrived_is_repeated_once_and_not_twice(ctx, bot):
    ctx.store.commit(Commit(messages=[text("a")]), NOW)
    bot.fail("accepted but no answer", times=1, method="sendMessage")
    (first,) = pipeline.deliver(ctx, NOW)
    assert (first.state, "may have arrived" in first.reason) == ("kept", True)
    (second,) = pipeline.deliver(ctx, NOW + STEP)
    assert second.state == "sent"
    assert pipeline.deliver(ctx, NOW + 2 * STEP) == []
    assert [m.plain for m in bot.messages] == ["text of a", "text of a"]


# A destination that asks for a long pause, or hangs


def finished(ctx, receipts):
    """The outcome of a run, or the error that makes it red."""
    try:
        return pipeline.finish(ctx, Reading({}), receipts)
    except RunFailed as error:
        return error


@pytest.mark.parametrize("method", ["sendMessage", None])
def test_a_pause_of_hours_keeps_runs_red_and_is_probed_by_each_and_nothing_overtakes(ctx, bot, method):
    """The probe of each run meets the same answer, until the chat takes messages again."""
    ctx.store.commit(Commit(messages=[text("opening")]), NOW)
    bot.fail("429", times=3, method=method, retry_after=21_600)
    for run in range(3):
        now = NOW + run * STEP - timedelta(seconds=run)  # cron is not always as late
        ctx.store.commit(Commit(messages=[text(f"later{run}", now)]), now)
        error = finished(ctx, pipeline.deliver(ctx, now))
        assert isinstance(error, NotDelivered)
        assert "message opening was kept: Telegram sendMessage: 429" in str(error)
        assert bot.calls[run:] == [("sendMessage", "429")]  # one probe
        again = finished(ctx, pipeline.deliver(ctx, now + timedelta(minutes=2)))  # a run by hand, or a later step
        assert "message opening was kept: not tried: the destination asked for a pause" in str(again)
    assert finished(ctx, pipeline.deliver(ctx, NOW + 3 * STEP)) == "all seen; 4 messages sent"
    assert [m.plain for m in bot.messages] == [f"text of {key}" for key in ("opening", "later0", "later1", "later2")]


def test_a_message_that_an_earlier_run_left_makes_this_one_red_though_it_tried_nothing(ctx, bot):
    ctx.store.commit(Commit(messages=[text("opening")]), NOW)
    ctx.store.record(Receipt("opening", "kept", "429"), NOW, retry_after=500)
    assert isinstance(finished(ctx, []), NotDelivered)
    assert bot.calls == []


def test_a_chat_that_asks_for_a_moment_is_not_stormed(ctx, bot, waits):
    ctx.store.commit(Commit(messages=[text("opening")]), NOW)
    bot.fail("429", times=200, method="sendMessage", retry_after=0.001)
    assert [r.state for r in pipeline.deliver(ctx, NOW)] == ["kept"]
    assert (set(waits), len(bot.calls)) == ({1.0}, 91)


def test_what_was_kept_at_first_and_sent_in_the_end_is_no_failed_run(ctx, bot):
    ctx.store.commit(Commit(messages=[text("opening")]), NOW)
    bot.fail("500", times=1, method="sendMessage")
    receipts = [*pipeline.deliver(ctx, NOW), *pipeline.deliver(ctx, NOW)]  # before and after slow tables
    assert [r.state for r in receipts] == ["kept", "sent"]
    assert finished(ctx, receipts) == "all seen; 1 message sent"


def test_a_hold_of_a_clock_that_was_ahead_or_of_an_older_version_is_probed_at_once(ctx, bot):
    ctx.store.commit(Commit(messages=[text("opening")]), NOW)
    ctx.store.record(Receipt("opening", "kept", "429"), NOW, retry_after=21_600)
    assert [r.state for r in pipeline.deliver(ctx, NOW + timedelta(seconds=1))] == ["sent"]


def test_a_chat_that_hangs_costs_a_run_one_request(bot, tmp_path):
    """Seconds pass for the timer at each look, so that a failure seems to take long."""
    ticks = count(step=20)
    store = StateStore(tmp_path / "alerts.sqlite")
    chat = Telegram(bot.token, bot.chat, bot.url, timeout=2)
    ctx = RunContext(METRICS, {}, NoSource(), store, chat, zone="UTC", timer=lambda: next(ticks))
    store.commit(Commit(messages=[text("a"), text("b")]), NOW)
    bot.fail("502 html", times=9, method="sendMessage")
    receipts = pipeline.deliver(ctx, NOW)
    assert [(r.state, r.reason) for r in receipts][1] == ("kept", "not tried: the destination hangs")
    assert {r.reason for r in pipeline.deliver(ctx, NOW)} == {"not tried: the destination asked for a pause, or it hung"}
    assert len(bot.calls) == 1
    bot.faults.clear()
    assert [r.state for r in pipeline.deliver(ctx, NOW + STEP)] == ["sent", "sent"]


def test_a_chat_that_is_slow_has_so_many_seconds_a_run(bot, tmp_path):
    ticks = count(step=20)
    store = StateStore(tmp_path / "alerts.sqlite")
    chat = Telegram(bot.token, bot.chat, bot.url, timeout=2)
    ctx = RunContext(METRICS, {}, NoSource(), store, chat, zone="UTC", timer=lambda: next(ticks))
    store.commit(Commit(messages=[text(f"m{i}") for i in range(9)]), NOW)
    states = [r.state for r in pipeline.deliver(ctx, NOW)]
    assert states == ["sent"] * 5 + ["kept"] * 4
    assert [r.state for r in pipeline.deliver(ctx, NOW)] == ["kept"] * 4
    assert [r.state for r in pipeline.deliver(ctx, NOW + STEP)] == ["sent"] * 4
