"""Process slow tables after the alerts of the other metrics were sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from alerting.model.message import Receipt
from alerting.model.run import Reading
from alerting.pipeline.advance import advance
from alerting.pipeline.commit import commit
from alerting.pipeline.compose import compose
from alerting.pipeline.context import DueBuckets, RunContext
from alerting.pipeline.deliver import deliver
from alerting.pipeline.explain import explain
from alerting.pipeline.judge import JudgedMetrics, judge
from alerting.pipeline.read import read_pending


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
    everything = replace(
        reading,
        series=reading.series | late.series,
        counts=reading.counts | late.counts,
        volumes=reading.volumes | late.volumes,
        incomplete=reading.incomplete | late.incomplete,
        arrivals=(*reading.arrivals, *late.arrivals),
        errors=reading.errors | late.errors,
        seconds=reading.seconds | late.seconds,
        notes=tuple(dict.fromkeys([*reading.notes, *late.notes])),
        pending={},
    )
    return SlowTables(everything, judged, receipts)
