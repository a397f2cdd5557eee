"""Tables that are slow hold up nobody else: the same steps for their metrics, once the others have been told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from alerting.model import Reading, Receipt
from alerting.pipeline.advancing import advance, recall, reconsider
from alerting.pipeline.composing import compose
from alerting.pipeline.delivering import deliver
from alerting.pipeline.explaining import explain, follow_up
from alerting.pipeline.judged import judge
from alerting.pipeline.judging import earlier, verdicts
from alerting.pipeline.reading import of_late, read_late
from alerting.pipeline.telling import commit
from alerting.pipeline.timing import Connections, Due


def slow(to: Connections, todo: Sequence[Due], reading: Reading, days: int, now: datetime) -> tuple[Reading, list[Receipt]]:
    """Wait for the tables that were late and judge, remember and tell what they say: the whole reading, and what became of
    the messages. Raises StoreError."""
    items = of_late(todo, reading.late)
    if not items:
        return reading, []
    late = read_late(to, items, days, now, reading.late)
    due = reconsider(to, items, late)
    before = recall(to, due, now)
    judged = judge(to, due, late, before.labelled)
    answers = verdicts(due, judged)
    changes, explained = explain(to, advance(due, answers, before), judged)
    commit(to, earlier(due, judged) + answers, changes, compose(to, changes, judged, late, now), late)
    receipts = [*deliver(to, now), *follow_up(to, changes, judged, explained, now)]
    return _both(reading, late), receipts


def _both(one: Reading, other: Reading) -> Reading:
    return replace(
        one,
        series=one.series | other.series,
        counts=one.counts | other.counts,
        troubles=one.troubles | other.troubles,
        seconds=one.seconds | other.seconds,
        notes=tuple(dict.fromkeys([*one.notes, *other.notes])),
        late={},
    )
