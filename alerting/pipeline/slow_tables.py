"""Tables that are slow hold up nobody else: the same steps for their metrics, once the others have been told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from alerting.model.message import Receipt
from alerting.model.run import Reading
from alerting.pipeline.advance import advance, find_changed_buckets, load_state
from alerting.pipeline.compose import compose
from alerting.pipeline.context import DueBuckets, RunContext
from alerting.pipeline.deliver import commit, deliver
from alerting.pipeline.explain import explain, follow_up
from alerting.pipeline.judge import JudgedMetrics, judge, verdicts, warmup_verdicts
from alerting.pipeline.read import read_slow, slow_buckets


@dataclass(frozen=True)
class SlowTables:
    """The whole reading, what the late tables' metrics were answered, and what became of their messages."""

    reading: Reading
    judged: JudgedMetrics
    receipts: list[Receipt] = field(default_factory=list)


def process_slow_tables(ctx: RunContext, todo: Sequence[DueBuckets], reading: Reading, days: int, now: datetime) -> SlowTables:
    """Wait for the tables that were late and judge, remember and tell what they say. Raises StoreError."""
    items = slow_buckets(todo, reading.pending)
    if not items:
        return SlowTables(reading, JudgedMetrics(ctx, reading, {}))
    late = read_slow(ctx, items, days, now, reading.pending)
    due = find_changed_buckets(ctx, items, late)
    before = load_state(ctx, due, now)
    judged = judge(ctx, due, late, before.labelled)
    answers = verdicts(due, judged)
    changes, explained = explain(ctx, advance(due, answers, before), judged)
    commit(ctx, warmup_verdicts(due, judged) + answers, changes, compose(ctx, changes, judged, late, now), late)
    receipts = [*deliver(ctx, now), *follow_up(ctx, changes, judged, explained, now)]
    return SlowTables(_both(reading, late), judged, receipts)


def _both(one: Reading, other: Reading) -> Reading:
    return replace(
        one,
        series=one.series | other.series,
        counts=one.counts | other.counts,
        volumes=one.volumes | other.volumes,
        incomplete=one.incomplete | other.incomplete,
        arrivals=(*one.arrivals, *other.arrivals),
        errors=one.errors | other.errors,
        seconds=one.seconds | other.seconds,
        notes=tuple(dict.fromkeys([*one.notes, *other.notes])),
        pending={},
    )
