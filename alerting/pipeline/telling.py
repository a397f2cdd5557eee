"""Events -> messages -> the memory -> the chat; and the last word on the run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pandas as pd

from alerting import messages
from alerting.model import (
    Event,
    Kind,
    Message,
    Metric,
    NotDelivered,
    Notifier,
    NotifyError,
    Reading,
    Receipt,
    RunFailed,
    Status,
    Store,
    Verdict,
)  # fmt: skip
from alerting.pipeline.judging import Advance
from alerting.pipeline.timing import Connections

PATIENCE = 30.0  # seconds a run waits in all for a chat that asks to slow down
MISSED = 1  # buckets that may wait for a run without a word: cron is sometimes a little late
GIVE_UP = 3  # messages in a row that did not get through before the rest waits for the next run


def compose(to: Connections, changes: Advance, judged: dict[str, pd.DataFrame], reading: Reading, now: datetime) -> list[Message]:
    """A text for each event, and a picture that answers what is opened or worse; before them, that runs were missed."""
    out = _caught_up(to, changes, now)
    for event in changes.events:
        context = _context(to, event, judged, reading, now)
        out.append(messages.compose(event, context))
        if event.kind in (Kind.OPENED, Kind.WORSENED):
            out.append(messages.picture(event, _png(to, event, judged[event.metric]), context))
    return out


def _caught_up(to: Connections, changes: Advance, now: datetime) -> list[Message]:
    """Said when more than MISSED buckets had waited for a run, unless failed checks have told of that already."""
    waited = [item for item in changes.todo if not item.fresh and len(item) > 1 + MISSED]
    if not waited or to.store.told_recently(Kind.RUN_FAILED.value, waited[0].first):
        return []
    first, last = waited[0].first + waited[0].metric.step, waited[0].last
    opened = dict.fromkeys(e.metric for e in changes.events if e.kind in (Kind.OPENED, Kind.NO_DATA))
    titles = tuple(to.metric(name).title.get(to.language, name) for name in opened)
    return [messages.caught_up(first, last, titles, _reader(to, now))]


def _png(to: Connections, event: Event, judged: pd.DataFrame) -> bytes:
    from alerting import plots  # drawing libraries cost half a second: only when there is something to draw

    return plots.png(plots.alert(to.metric(event.metric), judged, event.bucket, to.zone, to.language))


def _context(to: Connections, event: Event, judged: dict[str, pd.DataFrame], reading: Reading, now: datetime) -> messages.Context:
    metric, values = to.metric(event.metric), judged[event.metric].value
    normal = [m for m in to.metrics if m.name in judged and _status(judged[m.name], event.bucket) == Status.NORMAL.value]
    return messages.Context(
        metric,
        _reader(to, now),
        yesterday=_days_before(values, event.bucket, 1, to.zone),
        week_ago=_days_before(values, event.bucket, 7, to.zone),
        dashboard=_dashboard(to, metric, event.bucket),
        table=metric.query,
        newest=_newest(reading.counts.get(metric.query), event.bucket),
        others=tuple(m.title.get(to.language, m.name) for m in normal if m.name != event.metric),
    )


def _newest(counts: pd.DataFrame | None, bucket: datetime) -> datetime | None:
    """Instant of the newest row there was when `bucket` was over, where the query tells."""
    newest = float("nan") if counts is None or "newest" not in counts else counts["newest"].loc[:bucket].max()
    return datetime.fromtimestamp(newest, UTC) if newest == newest else None


def _reader(to: Connections, now: datetime) -> messages.Reader:
    return messages.Reader(to.language, to.zone, now, to.run, to.owner)


def _status(judged: pd.DataFrame, bucket: datetime) -> str:
    return judged.status.get(bucket, "")


def _days_before(values: pd.Series, bucket: datetime, days: int, zone: str) -> float:
    """The value at the same local time `days` before; NaN where there is none."""
    then = (bucket.astimezone(ZoneInfo(zone)) - timedelta(days=days)).astimezone(UTC)
    return float(values.get(then, float("nan")))


def _dashboard(to: Connections, metric: Metric, bucket: datetime) -> str:
    start, end = bucket - timedelta(days=1), bucket + metric.step
    span = {name: quote(f"{at:%Y-%m-%dT%H:%M:%SZ}") for name, at in (("start", start), ("end", end))}
    return (metric.dashboard or to.dashboard).format(metric=quote(metric.name), **span)


def commit(to: Connections, answers: list[Verdict], changes: Advance, messages: list[Message]) -> None:
    """Remember what was judged and what is to be said, in one transaction: a crash leaves all of it or none.

    Raises StoreError.
    """
    to.store.commit(answers, list(changes.episodes.values()), messages)


def deliver(to: Connections, now: datetime) -> list[Receipt]:
    """Send what waits in the outbox; what became of each message. Raises StoreError."""
    return send_waiting(to.store, to.notifier, now, to.wait)


def send_waiting(store: Store, notifier: Notifier, now: datetime, wait: Callable[[float], None]) -> list[Receipt]:
    """Oldest first, texts before pictures; each answer is remembered as it comes.

    A message that does not get through stays for the next run and does not hold up the others, unless nothing gets through.
    `wait` (seconds) is called when the chat asks to slow down.
    """
    post = _Post(store, notifier, now, wait)
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
    """One run's deliveries: how long it may still wait, and how many messages in a row did not get through."""

    store: Store
    notifier: Notifier
    now: datetime
    wait: Callable[[float], None]
    patience: float = PATIENCE
    failed: int = 0

    def send(self, message: Message) -> Receipt:
        if self.failed >= GIVE_UP:
            return Receipt(message.key, "kept", f"not tried: {self.failed} in a row did not get through")
        try:
            receipt, again = self._accepted(message), 0.0
        except NotifyError as error:
            receipt, again = Receipt(message.key, "refused" if error.permanent else "kept", str(error)), error.retry_after
        self.failed = self.failed + 1 if receipt.state == "kept" else 0
        self.store.record(receipt, self.now, again)
        return receipt

    def _accepted(self, message: Message) -> Receipt:
        reply_to = self.store.message_id(message.reply_to) if message.reply_to else ""
        while True:
            try:
                return Receipt(message.key, "sent", message_id=self.notifier.send(message, reply_to))
            except NotifyError as error:
                if not 0 < error.retry_after <= self.patience:
                    raise
                self.patience -= error.retry_after
                self.wait(error.retry_after)


def finish(to: Connections, reading: Reading, receipts: list[Receipt]) -> str:
    """One line: what was seen and said.

    Raises RunFailed when something was not seen, was refused for good or was forgotten, NotDelivered when all that is wrong
    is that messages still wait: the run ends red.
    """
    getattr(to.source, "close", lambda: None)()  # an engine of its own would be left to nobody when the kernel is killed
    kept = [f"message {r.key} was kept: {r.reason}" for r in receipts if r.state == "kept"]
    faults = [*_unseen(reading), *(f"message {r.key} was refused: {r.reason}" for r in receipts if r.state == "refused")]
    faults += getattr(to.store, "notes", ())  # a memory that was lost
    if faults:
        raise RunFailed("; ".join([*faults, *kept]))
    if kept:
        raise NotDelivered("; ".join(kept))
    said = f"all seen; {len(receipts)} message{'' if len(receipts) == 1 else 's'} sent"
    return "; ".join([said, *getattr(to.notifier, "notes", ())])


def _unseen(reading: Reading) -> list[str]:
    """One line a reason, with all the metrics that it blinds."""
    reasons = dict.fromkeys(reading.troubles.values())
    blind = {reason: [metric for metric, why in reading.troubles.items() if why == reason] for reason in reasons}
    return [f"{', '.join(names)} {_was(names)} not judged: {reason}" for reason, names in blind.items()]


def _was(names: list[str]) -> str:
    return "was" if len(names) == 1 else "were"
