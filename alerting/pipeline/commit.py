"""Commit what a run has found in one transaction, and finish the run: its outcome, or the error that makes it red."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from alerting.model.errors import NotDelivered, RunFailed
from alerting.model.message import Message, Receipt
from alerting.model.protocols import Commit
from alerting.model.run import Outcome, Reading, Run
from alerting.model.verdict import EventKind
from alerting.pipeline.advance import StateChange
from alerting.pipeline.context import RunContext, clock
from alerting.pipeline.judge import JudgedMetrics


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


def finish(
    ctx: RunContext,
    reading: Reading,
    receipts: Sequence[Receipt],
    now: datetime | None = None,
    changes: StateChange | None = None,
) -> Outcome:
    """Close the source, record the end of the run and return its outcome in one line. `now`: the moment of the run.

    Raises RunFailed when a metric or the segments of one (`changes`) could not be judged, a message was refused or the state
    was lost; NotDelivered when the only fault is that messages still wait.
    """
    ctx.source.close()  # chDB's process would outlive a killed kernel
    errors = reading.errors | (changes.segments.errors if changes else {})
    messages = [receipt for receipt in receipts if not receipt.edit]
    sent = sum(receipt.state == "sent" for receipt in messages)
    faults = _error_lines(errors) + [f"message {r.key} was refused: {r.reason}" for r in messages if r.state == "refused"]
    faults += ctx.store.notes  # the state file was lost
    kept = [f"message {r.key} was kept: {r.reason}" for r in messages if r.state == "kept"]

    text = "; ".join([*faults, *kept]) or f"all seen; {sent} message{'' if sent == 1 else 's'} sent"
    if ctx.started:
        ctx.store.save_run(Run(ctx.started, now or ctx.started, clock(), not faults and not kept, text))
    if faults:
        raise RunFailed(text)
    if kept:
        raise NotDelivered(text)
    return Outcome("; ".join([text, *ctx.source.loud, *ctx.notifier.notes]), sent)


def _error_lines(errors: Mapping[str, str]) -> list[str]:
    """Return one line per reason, with all the metrics that it concerns."""
    metrics: dict[str, list[str]] = {}
    for metric, reason in errors.items():
        metrics.setdefault(reason, []).append(metric)
    return [
        f"{', '.join(names)} {'was' if len(names) == 1 else 'were'} not judged: {reason}" for reason, names in metrics.items()
    ]
