"""Finish a run: process the slow tables, then give its outcome, or the error that makes it red."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from alerting.incidents.consistency import inconsistencies
from alerting.model.errors import NotDelivered, RunFailed
from alerting.model.message import Receipt
from alerting.model.run import Outcome, Reading, Run
from alerting.pipeline.advance import StateChange, advance
from alerting.pipeline.compose import compose
from alerting.pipeline.context import DueBuckets, RunContext, clock
from alerting.pipeline.deliver import commit, deliver
from alerting.pipeline.explain import explain
from alerting.pipeline.judge import JudgedMetrics, judge
from alerting.pipeline.read import merged, read_pending


@dataclass(frozen=True)
class SlowTables:
    """The reading of all tables; the judged metrics of the slow ones, and the receipts of their messages."""

    reading: Reading
    judged: JudgedMetrics
    receipts: list[Receipt] = field(default_factory=list)


def process_slow_tables(ctx: RunContext, due: Sequence[DueBuckets], reading: Reading, days: int, now: datetime) -> SlowTables:
    """Wait for the tables that were slow, and take their metrics through the steps of the run. Raises StoreError."""
    slow = [item for item in due if item.metric.scan in reading.pending]
    if not slow:
        return SlowTables(reading, JudgedMetrics(ctx, reading, {}))
    late = read_pending(ctx, slow, days, now, reading.pending)
    judged = judge(ctx, slow, late, now)
    changes, explained = explain(ctx, advance(ctx, judged, now), judged)
    commit(ctx, judged, changes, compose(ctx, changes, judged, now))
    receipts = deliver(ctx, now, explained)
    return SlowTables(merged([reading, late]), judged, receipts)


def finish(
    ctx: RunContext,
    reading: Reading,
    receipts: Sequence[Receipt],
    now: datetime | None = None,
    changes: StateChange | None = None,
) -> Outcome:
    """Close the source, record the end of the run and return its outcome in one line. `now`: the moment of the run.

    Raises RunFailed when a metric or the segments of one (`changes`) could not be judged, a message was refused, the state was
    lost, or an incident is open without an open episode; NotDelivered when the only fault is that messages still wait.
    """
    ctx.source.close()  # chDB's process would outlive a killed kernel
    unjudged: dict[str, list[str]] = {}  # reason -> metrics
    for metric, reason in (reading.errors | (changes.segments.errors if changes else {})).items():
        unjudged.setdefault(reason, []).append(metric)
    faults = [f"{', '.join(m)} {'was' if len(m) == 1 else 'were'} not judged: {reason}" for reason, m in unjudged.items()]
    messages = [receipt for receipt in receipts if not receipt.edit]
    sent = sum(receipt.state == "sent" for receipt in messages)
    faults += [f"message {r.key} was refused: {r.reason}" for r in messages if r.state == "refused"]
    faults += ctx.store.notes  # the state file was lost
    faults += inconsistencies(ctx.store.incidents(), ctx.store.episodes())
    kept = [f"message {r.key} was kept: {r.reason}" for r in messages if r.state == "kept"]

    text = "; ".join([*faults, *kept]) or f"all seen; {sent} message{'' if sent == 1 else 's'} sent"
    if ctx.started:
        ctx.store.save_run(Run(ctx.started, now or ctx.started, clock(), not faults and not kept, text))
    if faults:
        raise RunFailed(text)
    if kept:
        raise NotDelivered(text)
    return Outcome("; ".join([text, *ctx.source.loud, *ctx.notifier.notes]), sent)
