"""What is to be said is remembered, in one transaction with why; and the last word on the run."""

from __future__ import annotations

from datetime import datetime

from alerting.model import Memory, Message, NotDelivered, Outcome, Reading, Receipt, Run, RunFailed, Verdict
from alerting.pipeline.composing import withdrawn
from alerting.pipeline.judging import Advance
from alerting.pipeline.timing import Connections, clock


def commit(to: Connections, answers: list[Verdict], changes: Advance, messages: list[Message], reading: Reading) -> None:
    """Remember what was judged and what is to be said, in one transaction: a crash leaves all of it or none.

    Raises StoreError.
    """
    memory = Memory(
        verdicts=answers,
        episodes=list(changes.episodes.values()),
        messages=messages,
        incidents=changes.incidents,
        trail=changes.trail,
        withdrawn=withdrawn(to, changes),
        arrivals=reading.arrivals,
    )
    to.store.commit(memory, changes.now)


def finish(to: Connections, reading: Reading, receipts: list[Receipt], now: datetime | None = None) -> Outcome:
    """One line: what was seen and said. `now`: the moment the run stood at.

    Raises RunFailed when something was not seen, was refused for good or was forgotten, NotDelivered when all that is wrong
    is that messages still wait: the run ends red.
    """
    to.source.close()  # an engine of its own would be left to nobody when the kernel is killed
    told = [receipt for receipt in receipts if not receipt.edit]
    kept = [f"message {r.key} was kept: {r.reason}" for r in told if r.state == "kept"]
    faults = [*_unseen(reading), *(f"message {r.key} was refused: {r.reason}" for r in told if r.state == "refused")]
    faults += to.store.notes  # a memory that was lost
    sent = len([receipt for receipt in told if receipt.state == "sent"])
    said = "; ".join([*faults, *kept]) or f"all seen; {sent} message{'' if sent == 1 else 's'} sent"
    if to.started:
        to.store.end(Run(to.started, now or to.started, clock(), not faults and not kept, said))
    if faults:
        raise RunFailed(said)
    if kept:
        raise NotDelivered(said)
    return Outcome("; ".join([said, *to.source.loud, *to.notifier.notes]), sent)


def _unseen(reading: Reading) -> list[str]:
    """One line a reason, with all the metrics that it blinds."""
    reasons = dict.fromkeys(reading.troubles.values())
    blind = {reason: [metric for metric, why in reading.troubles.items() if why == reason] for reason in reasons}
    return [f"{', '.join(names)} {_was(names)} not judged: {reason}" for reason, names in blind.items()]


def _was(names: list[str]) -> str:
    return "was" if len(names) == 1 else "were"
