"""Commit the results of a run in one transaction; then deliver the outbox in order, within the limits of the destinations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent import futures
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from threading import Thread
from typing import TypeVar

from alerting.messages.compose import digest_message
from alerting.model.errors import NotifyError
from alerting.model.message import Message, Receipt
from alerting.model.protocols import Commit, Notifier, Store
from alerting.model.routing import DEFAULT_DESTINATION, NO_QUIET_HOURS, RING, QuietHours, addressed_to, destination_of, plain_key
from alerting.model.verdict import OPENING_KINDS, EventKind, Status
from alerting.pipeline.advance import StateChange
from alerting.pipeline.compose import edit_openings
from alerting.pipeline.context import RunContext
from alerting.pipeline.explain import Explanations
from alerting.pipeline.feedback import answer_questions
from alerting.pipeline.judged import JudgedMetrics

T = TypeVar("T")

MAX_SECONDS = 90.0  # that each destination may take at a time: its requests, and the pauses that it asks for
MIN_PAUSE = 1.0  # seconds before a destination that asks for a pause is tried again
MAX_FAILURES = 3  # after so many failures in a row the other messages of a destination wait for the next run
SLOW_FAILURE = 5.0  # seconds; after a failure that took longer, too: a peer that hangs costs the run one request
REST_OF_RUN = 60.0  # seconds of hold that keep later steps of the same run from trying again
MAX_HOLD = timedelta(minutes=10)  # longest pause of a destination: the next run tries it again, even if it asked for more
PAUSED = "the destination asked for a pause, or it hung"
MESSAGES_PER_MINUTE, MINUTE = 18, timedelta(seconds=60)  # a Telegram group takes about 20 messages a minute
DIGEST_AFTER = timedelta(hours=6)  # a text that waits longer becomes one line of a digest
WAIT_AFTER_ALERT = 60.0  # seconds a run waits for a root cause once the alert is sent


def commit(ctx: RunContext, judged: JudgedMetrics, changes: StateChange, messages: Sequence[Message]) -> None:
    """Store verdicts, episodes, incidents and messages in one transaction: a crash leaves all of it or nothing.

    Unsent messages of incidents that late rows have made normal are withdrawn. Raises StoreError.
    """
    newest = {v.metric: v.bucket for v in judged.verdicts if v.status is not Status.MISSING}  # late rows come before these
    corrected = {e.incident.id for e in changes.events if e.kind is EventKind.CORRECTED and e.incident and e.incident.corrected}
    ctx.store.commit(
        Commit(
            verdicts=[*judged.warmup_verdicts(), *judged.verdicts, *changes.segments.verdicts],
            episodes=list(changes.episodes.values()),
            messages=messages,
            incidents=changes.incidents,
            episode_trail=changes.trail,
            withdrawn_keys=[key for incident in sorted(corrected) for key in ctx.store.unsent(incident)],
            arrivals=judged.reading.arrivals,
            trail_since={name: at - ctx.late_rows - ctx.metric(name).step for name, at in newest.items()},
        ),
        changes.now,
    )


def deliver(ctx: RunContext, now: datetime, explained: Explanations | None = None) -> list[Receipt]:
    """Send the messages of the outbox, then the edits with root causes that were pending. Return receipts. Raises StoreError."""
    # Texts that have waited too long become one digest per destination, but not the opening of an open incident
    open_now = {incident.key for incident in ctx.store.incidents() if incident.open}
    stale: dict[str, list[Message]] = {}
    for message in ctx.store.stale(now - DIGEST_AFTER):
        if plain_key(message.key) not in open_now:
            stale.setdefault(destination_of(message.key), []).append(message)
    for destination, old in stale.items():
        digest = addressed_to(digest_message(old, now, ctx.audience(now)), destination)
        ctx.store.merge_into_digest([message.key for message in old], digest)

    end_quiet_hours(ctx, now)
    receipts = send_waiting(ctx.store, ctx.notifier, now, ctx.wait, ctx.timer, ctx.quiet)
    if answer_questions(ctx, now):
        receipts += send_waiting(ctx.store, ctx.notifier, now, ctx.wait, ctx.timer, ctx.quiet)
    return receipts + (follow_up(ctx, explained, now) if explained else [])


def follow_up(ctx: RunContext, explained: Explanations, now: datetime) -> list[Receipt]:
    """Wait for pending root causes, and add them to the opening messages by an edit. Return receipts. Raises StoreError."""
    if not explained.pending:
        return []
    late = explained.collect(WAIT_AFTER_ALERT)
    incidents = [
        incident for incident in late.changes.incidents if incident.id in explained.pending and incident.id in late.causes
    ]
    edits = edit_openings(ctx, replace(late.changes, events=[], incidents=incidents), late.judged, now)
    ctx.store.commit(Commit(incidents=incidents, messages=[*edits]), now)
    return send_waiting(ctx.store, ctx.notifier, now, ctx.wait, ctx.timer, ctx.quiet)


def end_quiet_hours(ctx: RunContext, now: datetime) -> None:
    """Replace the messages that waited for the end of quiet hours by one summary for each destination.

    Messages of incidents that are still open are sent as well, without a sound, because people answer them. Raises StoreError.
    """
    held = [message for message in ctx.store.held() if message.incident]
    if not held or ctx.quiet.are_at(now):
        return
    open_now = {incident.id for incident in ctx.store.incidents()}
    for destination in _destinations(held):
        own = [message for message in held if destination_of(message.key) == destination]
        first = [message for message in own if not message.reply_to]
        going_on = [message for message in own if message.incident in open_now and message.kind in OPENING_KINDS]
        if len(first) == 1 and first[0] in going_on:
            earlier = [message.key for message in own if message.reply_to]  # the entry says how it is now
            ctx.store.commit(Commit(withdrawn_keys=earlier), now)
            ctx.store.hold((), [first[0].key])
            continue
        summary = addressed_to(digest_message(first, now, ctx.audience(now), "quiet_hours"), destination)
        over = [message.key for message in own if message not in going_on]
        ctx.store.merge_into_digest(over, summary, now, [message.key for message in going_on])


def send_waiting(
    store: Store,
    notifier: Notifier,
    now: datetime,
    wait: Callable[[float], None],
    timer: Callable[[], float] = lambda: 0.0,
    quiet: QuietHours = NO_QUIET_HOURS,
) -> list[Receipt]:
    """Send the waiting messages and store each receipt at once. Each destination has a thread, so that none waits for another.

    The order is: oldest first, texts before edits before pictures. A message that fails is kept for the next run. The next
    message is tried, unless the destination asks for a pause, hangs, or has refused several in a row. `wait` (seconds) is called
    if a destination asks to slow down, or the chat has had its messages of a minute; `timer` gives seconds since any fixed
    instant. In `quiet` hours a message that is not critical makes no sound, or is held back. Raises StoreError.
    """
    if quiet.are_at(now):
        store.hold(*quiet.plan(store.waiting(), store.held(), now))
    # A hold that ends later than any of ours is from a clock that was ahead, or from an older version.
    paused = _destinations(store.waiting(now + MAX_HOLD), besides=store.waiting(now))
    in_minute = store.sent_since(now - MINUTE, now, DEFAULT_DESTINATION)
    queues = [
        _Queue(store, notifier, now, wait, timer, name, in_minute, quiet, PAUSED if name in paused else "")
        for name in _destinations(store.waiting())
    ]
    return [receipt for receipts in side_by_side([queue.send_all for queue in queues]) for receipt in receipts]


def _destinations(messages: Sequence[Message], besides: Sequence[Message] = ()) -> list[str]:
    """Return the destinations of the messages that are not in `besides`, each once."""
    known = {message.key for message in besides}
    return list(dict.fromkeys(destination_of(message.key) for message in messages if message.key not in known))


def side_by_side(calls: Sequence[Callable[[], T]]) -> list[T]:
    """Call each in a thread of its own, and return the results in this order. Raises the first error, once all have ended."""
    outcomes = [Future[T]() for _ in calls]

    def work(call: Callable[[], T], outcome: Future[T]) -> None:
        try:
            outcome.set_result(call())
        except BaseException as error:  # noqa: BLE001 - `result` raises it
            outcome.set_exception(error)

    for call, outcome in zip(calls, outcomes, strict=True):
        Thread(target=work, args=(call, outcome), daemon=True).start()  # a daemon: it must not keep the process from ending
    futures.wait(outcomes)
    return [outcome.result() for outcome in outcomes]


@dataclass
class _Queue:
    """The messages to one destination, sent one after the other. `in_minute`: messages that the chat has had in the last minute.

    `closed`: why no more messages are tried; "" while they are. `seconds_left`: for requests and pauses. `failed`: failures in a
    row. `took`: seconds of the last request.
    """

    store: Store
    notifier: Notifier
    now: datetime
    wait: Callable[[float], None]
    timer: Callable[[], float]
    destination: str
    in_minute: int
    quiet: QuietHours
    closed: str = ""
    seconds_left: float = MAX_SECONDS
    failed: int = 0
    took: float = 0.0

    def send_all(self) -> list[Receipt]:
        """Send the waiting messages, then those that waited for them, such as a reply. Return the receipts."""
        receipts: dict[str, Receipt] = {}
        while True:
            own = [message for message in self.store.waiting() if destination_of(message.key) == self.destination]
            batch = [message for message in own if message.key not in receipts]
            if not batch:
                return list(receipts.values())
            for message in batch:
                receipts[message.key] = self._receipt(message)

    def _receipt(self, message: Message) -> Receipt:
        """Try to send the message, unless the queue is closed. Return the receipt."""
        receipt_of = partial(Receipt, message.key, edit=bool(message.edits))
        if not self.closed:
            self._take_turn(message)
        if self.closed:
            return receipt_of("kept", f"not tried: {self.closed}")
        pause = 0.0
        try:
            receipt = receipt_of("sent", message_id=self._send(message))
        except NotifyError as error:
            receipt, pause = receipt_of("refused" if error.permanent else "kept", str(error)), error.retry_after
        self.in_minute += 1
        self.failed = self.failed + 1 if receipt.state == "kept" else 0
        if pause:
            self.closed = f"the destination asked for a pause of {pause:.0f} s"
        elif self.failed and self.took > SLOW_FAILURE:
            self.closed = "the destination hangs"
        elif self.failed >= MAX_FAILURES:
            self.closed = f"{self.failed} in a row did not get through"
        hold = min(pause or REST_OF_RUN, MAX_HOLD.total_seconds()) if self.closed else 0.0
        self.store.record(receipt, self.now, hold)
        return receipt

    def _take_turn(self, message: Message) -> None:
        """Wait until the chat takes another message. Close the queue if there is no time for that, or no time at all."""
        full = self.destination == DEFAULT_DESTINATION and self.in_minute >= MESSAGES_PER_MINUTE
        if self.seconds_left <= 0:
            self.closed = f"the destination took more than {MAX_SECONDS:.0f} s"
            self.store.record(Receipt(message.key, "kept", self.closed), self.now, REST_OF_RUN)
        elif full and self.seconds_left < MINUTE.total_seconds():
            self.closed = f"the chat takes no more than {MESSAGES_PER_MINUTE} messages a minute"
        elif full:
            self.seconds_left -= MINUTE.total_seconds()
            self.wait(MINUTE.total_seconds())
            self.in_minute = 0

    def _send(self, message: Message) -> str:
        """Return the id at the destination, after the pauses that it asks for. Raises NotifyError."""
        while True:
            began = self.timer()
            try:
                if message.edits:
                    target = self.store.message_id(message.edits)
                    self.notifier.edit(message, target)
                    return target
                is_quiet = message.quiet or self.quiet.mode_of(message, self.now) != RING
                message = replace(message, quiet=is_quiet)
                return self.notifier.send(message, self.store.message_id(message.reply_to) if message.reply_to else "")
            except NotifyError as error:
                if not 0 < error.retry_after <= self.seconds_left:
                    raise
                pause = max(error.retry_after, MIN_PAUSE)
            finally:
                self.took = self.timer() - began
                self.seconds_left -= self.took
            self.seconds_left -= pause
            self.wait(pause)
