"""The outbox -> its destinations: in order, within their limits, and marked only when accepted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

from alerting import messages
from alerting.model import Message, Notifier, NotifyError, Receipt, Store
from alerting.model.route import HOME, copied, place_of, plain_key
from alerting.pipeline.composing import reader
from alerting.pipeline.timing import Connections

PATIENCE = 90.0  # seconds a run waits in all for destinations that ask to slow down
GIVE_UP = 3  # messages in a row that did not get through to a destination before its rest waits for the next run
LIMIT, MINUTE = 18, timedelta(seconds=60)  # a Telegram group takes about 20 messages a minute
LIFE = timedelta(hours=6)  # a text older than this is told as one line of a digest


def deliver(to: Connections, now: datetime) -> list[Receipt]:
    """Send what waits in the outbox; what became of each message. Raises StoreError."""
    _fold_stale(to, now)
    return send_waiting(to.store, to.notifier, now, to.wait)


def _fold_stale(to: Connections, now: datetime) -> None:
    """What is too old to be told by itself becomes a line of a digest, each destination's of its own; but the opening of what
    is still going on is told."""
    open_now = {incident.key for incident in to.store.incidents() if incident.open}
    stale: dict[str, list[Message]] = {}
    for message in to.store.stale(now - LIFE):
        if plain_key(message.key) not in open_now:
            stale.setdefault(place_of(message.key), []).append(message)
    for place, old in stale.items():
        to.store.fold([message.key for message in old], copied(messages.digest(old, now, reader(to, now)), place))


def send_waiting(store: Store, notifier: Notifier, now: datetime, wait: Callable[[float], None]) -> list[Receipt]:
    """Oldest first, texts before edits before pictures; each answer is remembered as it comes.

    A message that does not get through stays for the next run and does not hold up the others, unless nothing gets through to
    its destination. `wait` (seconds) is called when a destination asks to slow down, or the chat would.
    """
    post = _Post(store, notifier, now, wait, in_minute=store.sent_since(now - MINUTE, HOME))
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
    patience: float = PATIENCE
    failed: Counter[str] = field(default_factory=Counter)
    in_minute: int = 0

    def send(self, message: Message) -> Receipt:
        place, answer = place_of(message.key), partial(Receipt, message.key, edit=bool(message.edits))
        if self.failed[place] >= GIVE_UP:
            return answer("kept", f"not tried: {self.failed[place]} in a row did not get through")
        if place == HOME and self.in_minute >= LIMIT and not self._rested():
            return answer("kept", f"not tried: the chat takes no more than {LIMIT} messages a minute")
        try:
            receipt, again = answer("sent", message_id=self._accepted(message)), 0.0
        except NotifyError as error:
            receipt, again = answer("refused" if error.permanent else "kept", str(error)), error.retry_after
        self.failed[place] = self.failed[place] + 1 if receipt.state == "kept" else 0
        self.in_minute += place == HOME
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
