"""Tables that are slow hold up nobody else: the same steps for their metrics, once the others have been told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from alerting.model import Reading, Receipt
from alerting.pipeline.advancing import advance, recall, reconsider
from alerting.pipeline.composing import compose
from alerting.pipeline.delivering import deliver
from alerting.pipeline.explaining import explain, follow_up
from alerting.pipeline.judged import Judged, judge
from alerting.pipeline.judging import earlier, verdicts
from alerting.pipeline.reading import of_late, read_late
from alerting.pipeline.telling import commit
from alerting.pipeline.timing import Connections, Due


@dataclass(frozen=True)
class Slow:
    """The whole reading, what the late tables' metrics were answered, and what became of their messages."""

    reading: Reading
    judged: Judged
    receipts: list[Receipt] = field(default_factory=list)


def slow(to: Connections, todo: Sequence[Due], reading: Reading, days: int, now: datetime) -> Slow:
    """Wait for the tables that were late and judge, remember and tell what they say. Raises StoreError."""
    items = of_late(todo, reading.late)
    if not items:
        return Slow(reading, Judged(to, reading, {}))
    late = read_late(to, items, days, now, reading.late)
    due = reconsider(to, items, late)
    before = recall(to, due, now)
    judged = judge(to, due, late, before.labelled)
    answers = verdicts(due, judged)
    changes, explained = explain(to, advance(due, answers, before), judged)
    commit(to, earlier(due, judged) + answers, changes, compose(to, changes, judged, late, now), late)
    receipts = [*deliver(to, now), *follow_up(to, changes, judged, explained, now)]
    return Slow(_both(reading, late), judged, receipts)


def _both(one: Reading, other: Reading) -> Reading:
    return replace(
        one,
        series=one.series | other.series,
        counts=one.counts | other.counts,
        volumes=one.volumes | other.volumes,
        waiting=one.waiting | other.waiting,
        arrivals=(*one.arrivals, *other.arrivals),
        troubles=one.troubles | other.troubles,
        seconds=one.seconds | other.seconds,
        notes=tuple(dict.fromkeys([*one.notes, *other.notes])),
        late={},
    )
