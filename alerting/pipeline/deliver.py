"""The outbox -> its destinations: in order, within their limits, and marked only when accepted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from alerting.messages.system import digest_message
from alerting.model.errors import NotDelivered, NotifyError, RunFailed
from alerting.model.message import Message, Receipt
from alerting.model.protocols import Commit, Notifier, Store
from alerting.model.routing import DEFAULT_DESTINATION, addressed_to, destination_of, plain_key
from alerting.model.run import Outcome, Reading, Run
from alerting.model.verdict import Verdict
from alerting.pipeline.compose import audience, withdrawn_keys
from alerting.pipeline.context import RunContext, clock
from alerting.pipeline.judge import StateChange

MAX_RATE_WAIT = 90.0  # seconds a run waits in all for destinations that ask to slow down
MAX_FAILURES = 3  # messages in a row that did not get through to a destination before its rest waits for the next run
MESSAGES_PER_MINUTE, MINUTE = 18, timedelta(seconds=60)  # a Telegram group takes about 20 messages a minute
DIGEST_AFTER = timedelta(hours=6)  # a text older than this is told as one line of a digest


def deliver(ctx: RunContext, now: datetime) -> list[Receipt]:
    """Send what waits in the outbox; what became of each message. Raises StoreError."""
    _fold_stale(ctx, now)
    return send_waiting(ctx.store, ctx.notifier, now, ctx.wait)


def _fold_stale(ctx: RunContext, now: datetime) -> None:
    """What is too old to be told by itself becomes a line of a digest, each destination's of its own; but the opening of what
    is still going on is told."""
    open_now = {incident.key for incident in ctx.store.incidents() if incident.open}
    stale: dict[str, list[Message]] = {}
    for message in ctx.store.stale(now - DIGEST_AFTER):
        if plain_key(message.key) not in open_now:
            stale.setdefault(destination_of(message.key), []).append(message)
    for place, old in stale.items():
        ctx.store.merge_into_digest(
            [message.key for message in old], addressed_to(digest_message(old, now, audience(ctx, now)), place)
        )


def send_waiting(store: Store, notifier: Notifier, now: datetime, wait: Callable[[float], None]) -> list[Receipt]:
    """Oldest first, texts before edits before pictures; each answer is remembered as it comes.

    A message that does not get through stays for the next run and does not hold up the others, unless nothing gets through to
    its destination. `wait` (seconds) is called when a destination asks to slow down, or the chat would.
    """
    post = _Post(store, notifier, now, wait, in_minute=store.sent_since(now - MINUTE, DEFAULT_DESTINATION))
    return [post.send(message) for message in _waiting(store, now)]


def _waiting(store: Store, now: datetime) -> Iterator[Message]:
    """Ask again until nothing new comes: a picture is ready only when its text has been sent."""
    seen: set[str] = set()
    while batch := [message for message in store.waiting(now) if message.key not in seen]:
        for message in batch:
            seen.add(message.key)
            yield message


@dataclass
class _Post:
    """One run's deliveries: how long it may still wait, how many the chat has had within a minute, and how many in a row did
    not get through to each destination."""

    store: Store
    notifier: Notifier
    now: datetime
    wait: Callable[[float], None]
    patience: float = MAX_RATE_WAIT
    failed: Counter[str] = field(default_factory=Counter)
    in_minute: int = 0

    def send(self, message: Message) -> Receipt:
        place, answer = destination_of(message.key), partial(Receipt, message.key, edit=bool(message.edits))
        if self.failed[place] >= MAX_FAILURES:
            return answer("kept", f"not tried: {self.failed[place]} in a row did not get through")
        if place == DEFAULT_DESTINATION and self.in_minute >= MESSAGES_PER_MINUTE and not self._rested():
            return answer("kept", f"not tried: the chat takes no more than {MESSAGES_PER_MINUTE} messages a minute")
        try:
            receipt, again = answer("sent", message_id=self._accepted(message)), 0.0
        except NotifyError as error:
            receipt, again = answer("refused" if error.permanent else "kept", str(error)), error.retry_after
        self.failed[place] = self.failed[place] + 1 if receipt.state == "kept" else 0
        self.in_minute += place == DEFAULT_DESTINATION
        self.store.record(receipt, self.now, again)
        return receipt

    def _rested(self) -> bool:
        """A minute is waited for, if there is one left."""
        pause = MINUTE.total_seconds()
        if pause > self.patience:
            return False
        self.patience -= pause
        self.wait(pause)
        self.in_minute = 0
        return True

    def _accepted(self, message: Message) -> str:
        """Its id at the destination. Raises NotifyError."""
        while True:
            try:
                return self._told(message)
            except NotifyError as error:
                if not 0 < error.retry_after <= self.patience:
                    raise
                self.patience -= error.retry_after
                self.wait(error.retry_after)

    def _told(self, message: Message) -> str:
        if message.edits:
            target = self.store.message_id(message.edits)
            self.notifier.edit(message, target)
            return target
        reply_to = self.store.message_id(message.reply_to) if message.reply_to else ""
        return self.notifier.send(message, reply_to)


# What is to be said is remembered, in one transaction with why; and the last word on the run.


def commit(ctx: RunContext, answers: list[Verdict], changes: StateChange, messages: list[Message], reading: Reading) -> None:
    """Remember what was judged and what is to be said, in one transaction: a crash leaves all of it or none.

    Raises StoreError.
    """
    memory = Commit(
        verdicts=answers,
        episodes=list(changes.episodes.values()),
        messages=messages,
        incidents=changes.incidents,
        episode_trail=changes.trail,
        withdrawn_keys=withdrawn_keys(ctx, changes),
        arrivals=reading.arrivals,
    )
    ctx.store.commit(memory, changes.now)


def finish(ctx: RunContext, reading: Reading, receipts: list[Receipt], now: datetime | None = None) -> Outcome:
    """One line: what was seen and said. `now`: the moment the run stood at.

    Raises RunFailed when something was not seen, was refused for good or was forgotten, NotDelivered when all that is wrong
    is that messages still wait: the run ends red.
    """
    ctx.source.close()  # an engine of its own would be left to nobody when the kernel is killed
    told = [receipt for receipt in receipts if not receipt.edit]
    kept = [f"message {r.key} was kept: {r.reason}" for r in told if r.state == "kept"]
    faults = [*_unseen(reading), *(f"message {r.key} was refused: {r.reason}" for r in told if r.state == "refused")]
    faults += ctx.store.notes  # a memory that was lost
    sent = len([receipt for receipt in told if receipt.state == "sent"])
    said = "; ".join([*faults, *kept]) or f"all seen; {sent} message{'' if sent == 1 else 's'} sent"
    if ctx.started:
        ctx.store.end_run(Run(ctx.started, now or ctx.started, clock(), not faults and not kept, said))
    if faults:
        raise RunFailed(said)
    if kept:
        raise NotDelivered(said)
    return Outcome("; ".join([said, *ctx.source.loud, *ctx.notifier.notes]), sent)


def _unseen(reading: Reading) -> list[str]:
    """One line a reason, with all the metrics that it blinds."""
    reasons = dict.fromkeys(reading.errors.values())
    blind = {reason: [metric for metric, why in reading.errors.items() if why == reason] for reason in reasons}
    return [f"{', '.join(names)} {_was(names)} not judged: {reason}" for reason, names in blind.items()]


def _was(names: list[str]) -> str:
    return "was" if len(names) == 1 else "were"
