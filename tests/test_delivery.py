"""Delivery from the outbox to a real Bot API server: within its limits, in order, late or in a digest, never lost."""

from datetime import UTC, datetime, timedelta

import pytest

from alerting import pipeline
from alerting.metrics import METRICS
from alerting.model.errors import RunFailed
from alerting.model.incident import Incident, Member
from alerting.model.message import Message, Receipt
from alerting.model.protocols import Commit
from alerting.model.run import Reading
from alerting.model.verdict import EventKind, Status, Verdict
from alerting.notifiers.telegram import Telegram
from alerting.pipeline.context import RunContext
from alerting.sources.base import BaseSource
from alerting.store.state import StateStore

NOW = datetime(2026, 11, 20, 12, 36, tzinfo=UTC)
STEP = timedelta(minutes=15)


class NoSource(BaseSource):
    def fetch(self, query, start, end):
        raise AssertionError("delivery needs no source")


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
