"""Finish a run: process the slow tables, then return its outcome, or raise the error that marks the run as failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from alerting.incidents.grouping import inconsistencies
from alerting.metric_values import column_list
from alerting.model.errors import NotDelivered, RunFailed
from alerting.model.message import Message, Receipt
from alerting.model.run import Outcome, Reading, Run
from alerting.pipeline.advance import StateChange, advance
from alerting.pipeline.compose import compose
from alerting.pipeline.context import DueBuckets, RunContext, clock, clock_fault
from alerting.pipeline.deliver import commit, deliver
from alerting.pipeline.explain import explain
from alerting.pipeline.judge import judge
from alerting.pipeline.judged import JudgedMetrics
from alerting.pipeline.read import merged, read_pending


@dataclass(frozen=True)
class SlowTables:
    """The reading of all tables, and of the slow ones: the judged metrics, their messages and the receipts."""

    reading: Reading
    judged: JudgedMetrics
    receipts: list[Receipt] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)


def process_slow_tables(ctx: RunContext, due: Sequence[DueBuckets], reading: Reading, days: int, now: datetime) -> SlowTables:
    """Wait for the tables that were slow, and take their metrics through the steps of the run. Raises StoreError."""
    slow = [item for item in due if item.metric.scan in reading.pending]
    if not slow:
        return SlowTables(reading, JudgedMetrics(ctx, reading, {}))
    late = read_pending(ctx, slow, days, now, reading.pending)
    judged = judge(ctx, slow, late, now)
    changes, explained = explain(ctx, advance(ctx, judged, now), judged)
    messages = compose(ctx, changes, judged, now)
    commit(ctx, judged, changes, messages)
    receipts = deliver(ctx, now, explained)
    return SlowTables(merged([reading, late]), judged, receipts, messages)


def fault_texts(what: str, errors: Mapping[str, str]) -> list[str]:
    """Return one text per reason: a, b and 8 more were not judged: no rows. `errors`: metric -> why it was not `what`."""
    metrics: dict[str, list[str]] = {}
    for metric, reason in errors.items():
        metrics.setdefault(reason, []).append(metric)
    return [f"{column_list(m)} {'was' if len(m) == 1 else 'were'} not {what}: {reason}" for reason, m in metrics.items()]


def finish(
    ctx: RunContext,
    reading: Reading,
    receipts: Sequence[Receipt],
    now: datetime | None = None,
    changes: StateChange | None = None,
) -> Outcome:
    """Close the source, store the end of the run and return its outcome in one line. `now`: the time of the run.

    Raises RunFailed in these cases: a metric or its segments could not be judged, drawn, described or searched for a cause; no
    metric has a value; a message was refused; the state was lost; an incident is open without an open episode. Raises
    NotDelivered if the only fault is that messages still wait.
    """
    ctx.source.close()  # chDB's process would outlive a killed kernel
    unjudged = reading.errors | (changes.segments.errors if changes else {}) | ctx.faults["judged"]
    faults = [text for what, errors in {**ctx.faults, "judged": unjudged}.items() for text in fault_texts(what, errors)]
    if reading.series and not any(values.notna().any() for name, values in reading.series.items() if name not in reading.gone):
        faults.append("nothing was seen: no metric has a value; is the source empty?")
    messages = [receipt for receipt in receipts if not receipt.edit]
    sent = sum(receipt.state == "sent" for receipt in messages)
    faults += [f"message {r.key} was refused: {r.reason}" for r in messages if r.state == "refused"]
    faults += ctx.store.notes  # the state file was lost
    faults += filter(None, [clock_fault(ctx, now or clock())])
    faults += inconsistencies(ctx.store.incidents(), ctx.store.episodes())
    reasons = {r.key: r.reason for r in messages}
    kept = [f"message {m.key} was kept: {reasons.get(m.key, 'not tried')}" for m in ctx.store.waiting() if not m.edits]

    text = "; ".join([*faults, *kept]) or f"all seen; {sent} message{'' if sent == 1 else 's'} {ctx.sent_as}"
    if ctx.started:
        ctx.store.save_run(Run(ctx.started, now or ctx.started, clock(), not faults and not kept, text))
    if faults:
        raise RunFailed(text)
    if kept:
        raise NotDelivered(text)
    return Outcome("; ".join([text, *ctx.source.loud, *ctx.notifier.notes]), sent)
