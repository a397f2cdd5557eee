"""Judge the due buckets of all metrics, many series at once; buckets of earlier runs come from the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from alerting.detectors.verdicts import REARM_AFTER, REARM_BY, SUPPORT_FOR, USUAL_GAP, PriorVerdicts
from alerting.model.incident import MetricTree
from alerting.model.run import Reading, caught
from alerting.pipeline.context import DueBuckets, RunContext, band_span, find_changed_buckets
from alerting.pipeline.judged import Banded, JudgedMetrics, JudgedTail, add_bands, judge_related, position_on

BATCH_SERIES = 64  # series judged at once: numpy's overhead is shared, and the arrays stay in the processor's cache
LABELS_FOR = timedelta(days=100)  # no detector looks back further than that: older labels change nothing
RULES = tuple({rule for rules in REARM_BY.values() for rule in rules})


def judge(ctx: RunContext, due: Sequence[DueBuckets], reading: Reading, now: datetime | None = None) -> JudgedMetrics:
    """Judge the due buckets of every metric that was read, and judge again the buckets that late rows have changed.

    An incomplete bucket stays due. If a metric fails, its error is stored as a fault and the others are judged. `now`: the time
    of the run, for late rows and for the labels of incidents; None ignores both, as in a drill. Raises StoreError.
    """
    due, reading = _without_incomplete(due, reading)
    due = find_changed_buckets(ctx, due, reading) if now else due
    labelled = [incident for incident in ctx.store.incidents(now - LABELS_FOR) if incident.label] if now else []
    items = [item for item in due if item.metric.name in reading.series and len(reading.series[item.metric.name])]
    fired, cache = _fired_detectors(ctx, items), ctx.store.nightly_statistics()
    stored, banded = set(cache), dict[str, Banded]()
    for batch in _in_time(ctx, _batches(items, reading)):
        groups = [batch]
        while groups:  # if a group fails, each of its metrics is judged alone, to find the ones that fail
            group, errors, began = groups.pop(0), dict[str, str](), ctx.timer()
            with caught(errors if len(group) > 1 else ctx.faults["judged"], group[0].metric.name):
                parts = [_to_judge(item, reading, fired.get(item.metric.name, ())) for item in group]
                if parts[0].first < len(parts[0].series):
                    parts = add_bands(parts, ctx.zone, labelled, cache, ctx.holidays)
                seconds = (ctx.timer() - began) / len(group)
                banded |= {one.metric.name: replace(one, seconds=seconds) for one in parts}
            groups += [[item] for item in group if errors]
    columns = judge_related(MetricTree(ctx.metrics), list(banded.values()), ctx.faults["judged"])
    items = [item for item in items if item.metric.name in columns]
    for item in items:
        if item.metric.name in reading.gone:  # its past is gone with it: no gap is usual
            columns[item.metric.name]["rule"][columns[item.metric.name]["rule"] == USUAL_GAP] = ""
    tails = {name: JudgedTail(banded[name].first, column, banded[name].seconds) for name, column in columns.items()}
    if made := {key: statistics for key, statistics in cache.items() if key not in stored}:
        ctx.store.save_nightly_statistics(made, max(item.end for item in items))
    return JudgedMetrics(ctx, reading, {item.metric.name: tails[item.metric.name] for item in items}, labelled, due)


def _without_incomplete(due: Sequence[DueBuckets], reading: Reading) -> tuple[list[DueBuckets], Reading]:
    """Return the due buckets and the series of the reading, each up to its metric's incomplete bucket."""
    out, series, volumes = list(due), dict(reading.series), dict(reading.volumes)
    for number, item in enumerate(due):
        incomplete = reading.incomplete.get(item.metric.scan)
        if incomplete is not None:
            out[number] = replace(item, last=min(item.last, incomplete - item.metric.step))
            for part in (series, volumes):
                if item.metric.name in part:
                    part[item.metric.name] = part[item.metric.name].loc[: incomplete - item.metric.step]
    return out, replace(reading, series=series, volumes=volumes)


def _fired_detectors(ctx: RunContext, items: Sequence[DueBuckets]) -> dict[str, list[tuple[datetime, str]]]:
    """Return metric -> (bucket, rule) of recent verdicts by the rules that are not reported each time (`REARM_BY`)."""
    out: dict[str, list[tuple[datetime, str]]] = {}
    if items:
        since = min(item.begin - max(REARM_AFTER, item.metric.step) for item in items)
        for metric, bucket, _, rule in ctx.store.judged_values(since, RULES):
            out.setdefault(metric, []).append((bucket, rule))
    return out


def _batches(items: Sequence[DueBuckets], reading: Reading) -> Iterator[list[DueBuckets]]:
    """Yield metrics that share a detector, a grid and the first judged bucket, `BATCH_SERIES` at most."""
    alike: dict[tuple[Any, ...], list[DueBuckets]] = {}
    for item in items:
        series = reading.series[item.metric.name]
        key = (id(item.metric.rule), item.metric.step, series.index[0], len(series), _first_judged(item, series))
        alike.setdefault(key, []).append(item)
    for group in alike.values():
        yield from (group[first : first + BATCH_SERIES] for first in range(0, len(group), BATCH_SERIES))


def _in_time(ctx: RunContext, batches: Iterable[list[DueBuckets]]) -> Iterator[list[DueBuckets]]:
    """Yield the batches, new metrics last and only until the time for them is over. The others wait for the next run."""
    known_first = sorted(batches, key=lambda batch: batch[0].first_look)
    began = None
    for batch in known_first:
        if batch[0].first_look:
            began = ctx.timer() if began is None else began
            if ctx.timer() - began > ctx.judge_limit:
                late = f"no time was left after {ctx.judge_limit:.0f} s of judging new metrics; the next run goes on there"
                ctx.faults["judged"] |= {item.metric.name: late for item in batch}
                continue
        yield batch


def _to_judge(item: DueBuckets, reading: Reading, fired: Sequence[tuple[datetime, str]]) -> Banded:
    """Return the buckets of a metric to judge, without a band yet. They begin SUPPORT_FOR earlier, to support related metrics."""
    metric, series = item.metric, reading.series[item.metric.name]
    first = _first_judged(item, series)
    before = _prior_verdicts(series.to_numpy(float)[:first], series.index, metric.step, fired)
    return Banded(metric, series, {}, reading.volumes.get(metric.name), max(0, first - SUPPORT_FOR // metric.step), first, before)


def _first_judged(item: DueBuckets, series: pd.Series) -> int:
    """Return the position of the first bucket to judge. For a new metric it is `band_span` before its first due bucket.

    A new metric whose first value is later begins with that value: the time before it is not a gap.
    """
    begin = item.begin - band_span(item.metric) if item.first_look else item.begin
    first = min(max(0, position_on(series.index, begin)), len(series))
    there = np.isfinite(series.to_numpy(float)) if item.first_look else np.empty(0, bool)
    return max(first, int(there.argmax())) if there.any() else first


def _prior_verdicts(
    values: np.ndarray, index: pd.DatetimeIndex, step: timedelta, fired: Sequence[tuple[datetime, str]]
) -> PriorVerdicts:
    """Return what judging needs of earlier verdicts: the length of the gap at the end of `values`, and the rules that fired."""
    there = np.isfinite(values)
    missing = int(np.argmax(there[::-1])) if there.any() else len(values)
    if not fired:
        return PriorVerdicts(missing)
    rules = np.full(max(1, REARM_AFTER // step), "", dtype=object)
    for bucket, rule in fired:
        position = position_on(index, bucket) - len(values) + len(rules)
        if 0 <= position < len(rules):
            rules[position] = rule
    return PriorVerdicts(missing, rules)
