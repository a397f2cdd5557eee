"""Commit what a run has found in one transaction; then deliver the outbox in order, within the limits of the destinations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from alerting.messages.compose import digest_message, root_cause_reply
from alerting.model.errors import NotifyError
from alerting.model.message import Message, Receipt
from alerting.model.protocols import Commit, Notifier, Store
from alerting.model.routing import DEFAULT_DESTINATION, addressed_to, destination_of, plain_key
from alerting.model.verdict import EventKind
from alerting.pipeline.advance import StateChange
from alerting.pipeline.compose import edit_openings
from alerting.pipeline.context import RunContext
from alerting.pipeline.explain import Explanations
from alerting.pipeline.judge import JudgedMetrics

MAX_RATE_WAIT = 90.0  # seconds a run waits in all for destinations that ask to slow down
MAX_FAILURES = 3  # after so many failures in a row the other messages of a destination wait for the next run
MESSAGES_PER_MINUTE, MINUTE = 18, timedelta(seconds=60)  # a Telegram group takes about 20 messages a minute
DIGEST_AFTER = timedelta(hours=6)  # a text that waits longer becomes one line of a digest
WAIT_AFTER_ALERT = 60.0  # seconds a run waits for a root cause once the alert is sent


def commit(ctx: RunContext, judged: JudgedMetrics, changes: StateChange, messages: Sequence[Message]) -> None:
    """Store verdicts, episodes, incidents and messages in one transaction: a crash leaves all of it or nothing.

    Messages that still wait of incidents which late rows have made normal are withdrawn. Raises StoreError.
    """
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
        ),
        changes.now,
    )


def deliver(ctx: RunContext, now: datetime, explained: Explanations | None = None) -> list[Receipt]:
    """Send the messages that wait in the outbox, then those about root causes that were pending. Raises StoreError."""
    # Texts that have waited too long become one digest per destination, but not the opening of an open incident
    open_now = {incident.key for incident in ctx.store.incidents() if incident.open}
    stale: dict[str, list[Message]] = {}
    for message in ctx.store.stale(now - DIGEST_AFTER):
        if plain_key(message.key) not in open_now:
            stale.setdefault(destination_of(message.key), []).append(message)
    for destination, old in stale.items():
        digest = addressed_to(digest_message(old, now, ctx.audience(now)), destination)
        ctx.store.merge_into_digest([message.key for message in old], digest)

    receipts = send_waiting(ctx.store, ctx.notifier, now, ctx.wait)
    return receipts + (follow_up(ctx, explained, now) if explained else [])


def follow_up(ctx: RunContext, explained: Explanations, now: datetime) -> list[Receipt]:
    """Wait for pending root causes; reply with each in its thread and edit the opening message. Raises StoreError."""
    if not explained.pending:
        return []
    late = explained.collect(WAIT_AFTER_ALERT)
    incidents = [
        incident for incident in late.changes.incidents if incident.id in explained.pending and incident.id in late.causes
    ]
    messages: list[Message] = []
    for incident in incidents:
        cause = late.causes[incident.id]
        if cause.answer != "unclear" or cause.imbalance or cause.new or cause.gone:
            messages.append(root_cause_reply(incident, now, ctx.audience(now), ctx.metric(cause.metric)))
    messages += edit_openings(ctx, replace(late.changes, events=[], incidents=incidents), late.judged, now)
    ctx.store.commit(Commit(incidents=incidents, messages=messages), now)
    return send_waiting(ctx.store, ctx.notifier, now, ctx.wait)


def send_waiting(store: Store, notifier: Notifier, now: datetime, wait: Callable[[float], None]) -> list[Receipt]:
    """Send what waits, oldest first, texts before edits before pictures, and record each receipt as it comes.

    A message that fails stays for the next run and does not block the others, unless everything to its destination fails.
    `wait` (seconds) is called when a destination asks to slow down, or when the chat has had as many messages as it takes.
    Raises StoreError.
    """
    delivery = _Delivery(store, notifier, now, wait, sent_in_minute=store.sent_since(now - MINUTE, DEFAULT_DESTINATION))
    receipts: dict[str, Receipt] = {}
    while batch := [message for message in store.waiting(now) if message.key not in receipts]:
        for message in batch:  # after these others may be sent, such as the picture of a sent text
            receipts[message.key] = delivery.send(message)
    return list(receipts.values())


@dataclass
class _Delivery:
    """The deliveries of one run. `seconds_left`: for waiting. `failed`: failures in a row, by destination."""

    store: Store
    notifier: Notifier
    now: datetime
    wait: Callable[[float], None]
    seconds_left: float = MAX_RATE_WAIT
    failed: Counter[str] = field(default_factory=Counter)
    sent_in_minute: int = 0  # to the default destination

    def send(self, message: Message) -> Receipt:
        destination, receipt_of = destination_of(message.key), partial(Receipt, message.key, edit=bool(message.edits))
        if self.failed[destination] >= MAX_FAILURES:
            return receipt_of("kept", f"not tried: {self.failed[destination]} in a row did not get through")
        if destination == DEFAULT_DESTINATION and self.sent_in_minute >= MESSAGES_PER_MINUTE:
            pause = MINUTE.total_seconds()
            if pause > self.seconds_left:
                return receipt_of("kept", f"not tried: the chat takes no more than {MESSAGES_PER_MINUTE} messages a minute")
            self._pause(pause)
            self.sent_in_minute = 0
        try:
            receipt, retry_after = receipt_of("sent", message_id=self._send(message)), 0.0
        except NotifyError as error:
            receipt, retry_after = receipt_of("refused" if error.permanent else "kept", str(error)), error.retry_after
        self.failed[destination] = self.failed[destination] + 1 if receipt.state == "kept" else 0
        self.sent_in_minute += destination == DEFAULT_DESTINATION
        self.store.record(receipt, self.now, retry_after)
        return receipt

    def _send(self, message: Message) -> str:
        """Return the id at the destination, after the waits that it asks for. Raises NotifyError."""
        while True:
            try:
                if message.edits:
                    target = self.store.message_id(message.edits)
                    self.notifier.edit(message, target)
                    return target
                return self.notifier.send(message, self.store.message_id(message.reply_to) if message.reply_to else "")
            except NotifyError as error:
                if not 0 < error.retry_after <= self.seconds_left:
                    raise
                self._pause(error.retry_after)

    def _pause(self, seconds: float) -> None:
        self.seconds_left -= seconds
        self.wait(seconds)
