"""Events -> messages -> the memory -> the chat; and the last word on the run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from alerting.model import Message, NotifyError, Reading, Receipt, RunFailed, Verdict
from alerting.pipeline.judging import Advance
from alerting.pipeline.timing import Connections

PATIENCE = 30.0  # seconds a run waits in all for a chat that asks to slow down
GIVE_UP = 3  # messages in a row that did not get through before the rest waits for the next run


def commit(to: Connections, answers: list[Verdict], changes: Advance, messages: list[Message]) -> None:
    """Remember what was judged and what is to be said, in one transaction: a crash leaves all of it or none.

    Raises StoreError.
    """
    to.store.commit(answers, list(changes.episodes.values()), messages)


def deliver(to: Connections, now: datetime) -> list[Receipt]:
    """Send what waits, oldest first, texts before pictures; each answer is remembered as it comes.

    A message that does not get through stays for the next run and does not hold up the others, unless nothing gets through.
    Raises StoreError.
    """
    receipts: list[Receipt] = []
    patience, failed = PATIENCE, 0
    for message in _waiting(to, now):
        if failed >= GIVE_UP:
            receipts.append(Receipt(message.key, "kept", f"not tried: {failed} in a row did not get through"))
            continue
        receipt, patience = _send(to, message, now, patience)
        failed = 0 if receipt.state != "kept" else failed + 1
        receipts.append(receipt)
    return receipts


def _waiting(to: Connections, now: datetime) -> Iterator[Message]:
    """Ask again until nothing new comes: a picture is ready only when its text has been sent."""
    seen: set[str] = set()
    while batch := [message for message in to.store.waiting(now) if message.key not in seen]:
        for message in batch:
            seen.add(message.key)
            yield message


def _send(to: Connections, message: Message, now: datetime, patience: float) -> tuple[Receipt, float]:
    """The receipt, remembered, and what is left of the patience."""
    try:
        sent = Receipt(message.key, "sent", message_id=to.notifier.send(message, to.store.message_id(message.reply_to)))
    except NotifyError as error:
        if 0 < error.retry_after <= patience:
            to.wait(error.retry_after)
            return _send(to, message, now, patience - error.retry_after)
        sent = Receipt(message.key, "refused" if error.permanent else "kept", str(error))
        to.store.record(sent, now, error.retry_after)
        return sent, patience
    to.store.record(sent, now)
    return sent, patience


def finish(reading: Reading, receipts: list[Receipt]) -> str:
    """One line: what was seen and said. Raises RunFailed when something was not, so that the run ends red."""
    faults = [f"{metric} was not judged: {reason}" for metric, reason in reading.troubles.items()]
    faults += [f"message {r.key} was {r.state}: {r.reason}" for r in receipts if r.state != "sent"]
    if faults:
        raise RunFailed("; ".join(dict.fromkeys(faults)))
    return f"all seen; {len(receipts)} message{'' if len(receipts) == 1 else 's'} sent"
