"""Alert on a segment that breaks while the total stays normal, as when a source of traffic fails and others make up for it.

Each metric with `slices="alert"` has a stand-in metric, `views.slices`: its verdicts are those of the segment with the most
evidence in the rows of the last hour, if its newest bucket agrees. It has an episode and joins incidents as any metric does, from
two anomalous buckets in a row on. With "digest" it is a line of the daily message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from math import copysign, log

import numpy as np
import pandas as pd

from alerting.model.clock import DAY
from alerting.model.incident import RootCause, Segment
from alerting.model.metric import SEGMENTS_SUFFIX, Metric, spell_segment
from alerting.model.run import Reading, caught
from alerting.model.verdict import Episode, EpisodeState, Status, Verdict
from alerting.pipeline.context import DueBuckets, RunContext
from alerting.rootcause.expectation import HISTORY_DAYS, SegmentHistory, explain_rows
from alerting.rootcause.explain import COUNT, Candidate, explain
from alerting.rootcause.search import Condition, SearchOptions

MIN_EVIDENCE = 5.0  # nats above the logarithm of the number of segments (multiple comparisons; docs/rootcause.md)
MIN_VOLUME_SHARE = 0.05  # least share of the total: each set of attributes has at most 20 segments of this size
MIN_CHANGE = 0.3  # least relative change of a segment, in the window or in its newest bucket
MIN_EXPECTED = 50.0  # least expected units of a segment in the window
MAX_SEGMENT_ATTRIBUTES = 2  # attributes of a watched segment
WINDOW = timedelta(hours=1)  # whose rows are judged, where buckets are shorter
AGREE = 0.5  # least share of the window's change in its newest bucket: with less, the segment has recovered
SEGMENTS_WAIT = 20.0  # seconds a run waits for rows that it requested before it judged
NEED = 2  # buckets in a row that open an episode of a segment, or end it


@dataclass(frozen=True)
class SegmentResult:
    """The stand-ins' verdicts of the newest bucket. `causes`: stand-in -> the segment that its verdict is about.
    `errors`: stand-in -> why its segments could not be judged."""

    verdicts: list[Verdict] = field(default_factory=list)
    causes: dict[str, RootCause] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def segment_metrics(metrics: Sequence[Metric]) -> list[Metric]:
    """Return a stand-in for each metric whose segments are watched. It has the metric's title; messages add the segment.

    Its policy is the metric's own, but for how many buckets open and end an episode.
    """
    return [
        replace(
            metric,
            name=metric.name + SEGMENTS_SUFFIX,
            policy=replace(metric.policy, need=NEED, window=NEED, recover=NEED, recover_window=0),
            parents=(metric.name,),
            product="",
            segments_of=metric.name,
        )
        for metric in metrics
        if metric.slices != "off"
    ]


def stand_in_names(metrics: Iterable[str]) -> set[str]:
    """Return the names that stand-ins of these metrics have, or had while their segments were watched."""
    return {name + SEGMENTS_SUFFIX for name in metrics}


def request_segments(ctx: RunContext, due: Sequence[DueBuckets]) -> dict[str, Future[pd.DataFrame]]:
    """Query the segments of the newest due buckets in the background, while the run judges and draws: query name -> rows."""
    watched = {metric.segments_of: metric.query for metric in ctx.segment_metrics if metric.query in ctx.slices}
    items = {watched[item.metric.name]: item for item in due if item.metric.name in watched and len(item)}
    if not items or not ctx.source.runs_sql:
        return {}
    pool = ThreadPoolExecutor(1, "slices")  # a source runs one query at a time
    rows = ctx.source.rows
    out = {
        name: pool.submit(rows, ctx.slices[name], item.end - max(WINDOW, item.metric.step) - HISTORY_DAYS * DAY, item.end)
        for name, item in items.items()
    }
    pool.shutdown(wait=False)
    return out


def watch_segments(ctx: RunContext, verdicts: Sequence[Verdict], reading: Reading) -> SegmentResult:
    """Judge the segments of the last hour of each watched metric, by the rows that `reading.slices` brings.

    If the total was anomalous (its root cause covers the segments) or missing within the hour, the verdict is unknown.
    """
    newest = {verdict.metric: verdict for verdict in verdicts}
    out = SegmentResult()
    for metric in ctx.segment_metrics:
        total = newest.get(metric.segments_of)
        if total is None or metric.query not in reading.slices or metric.scan in reading.incomplete:  # rows of a later bucket
            continue
        since, end = min(total.bucket, total.bucket + metric.step - WINDOW), total.bucket + metric.step
        before = {verdict.bucket: verdict.status for verdict in ctx.store.judged(total.metric, since)}
        before |= {v.bucket: v.status for v in verdicts if v.metric == total.metric and v.bucket >= since}
        if total.status is not Status.NORMAL or {Status.ANOMALOUS, Status.MISSING} & {*before.values()}:
            out.verdicts.append(Verdict(metric.name, total.bucket, Status.UNKNOWN))
            continue
        newest_rows = partial(ctx.source.rows, ctx.slices[metric.query], total.bucket - HISTORY_DAYS * DAY, end)
        with caught(out.errors, metric.name):
            rows = reading.slices[metric.query].result(SEGMENTS_WAIT)
            verdict, cause = judge_segments(metric, rows, total, len(ctx.segment_metrics), newest_rows)
            out.verdicts.append(verdict)
            if cause is not None:
                out.causes[metric.name] = cause
    return out


def without_open_totals(segments: SegmentResult, stand_ins: Sequence[Metric], episodes: Mapping[str, Episode]) -> SegmentResult:
    """Return the segments, with the status unknown while the episode of the total is open: they belong to that incident.

    This holds even if the band has followed the total. `episodes`: metric -> the episode after the buckets of the run.
    """
    totals = {metric.name: episodes.get(metric.segments_of) for metric in stand_ins}
    covered = {name for name, episode in totals.items() if episode and episode.state is not EpisodeState.OK}
    verdicts = [Verdict(v.metric, v.bucket, Status.UNKNOWN) if v.metric in covered else v for v in segments.verdicts]
    return replace(segments, verdicts=verdicts, causes={name: it for name, it in segments.causes.items() if name not in covered})


def judge_segments(
    metric: Metric, rows: pd.DataFrame, total: Verdict, watched: int = 1, newest_rows: Callable[[], pd.DataFrame] | None = None
) -> tuple[Verdict, RootCause | None]:
    """Return the verdict of the segment with the most evidence, and the segment as a cause; normal if the evidence is too weak.

    `rows`: of the window, as a query of `sql/slices` returns them. `watched`: the number of metrics whose segments are watched.
    `newest_rows`: returns the rows of the newest bucket, if the window has more buckets; the verdict has their values. The score
    is the evidence divided by the least evidence, with the sign of the change.
    """
    found, attributes = strongest_segment(metric, rows, total)
    least = least_evidence(watched, len(attributes))
    normal = Verdict(metric.name, total.bucket, Status.NORMAL, total.value, expected=total.value, score=0.0)
    if found is None or found.score < least:
        return normal, None
    segment = _measured(metric, newest_rows() if newest_rows and metric.step < WINDOW else rows, total, found.conditions)
    now, whole = segment.change * np.sign(found.change), abs(found.change)
    if now < AGREE * whole or max(now, whole) < MIN_CHANGE:
        return normal, None
    score = copysign(found.score / least, found.change)
    half = abs(segment.value - segment.expected) / abs(score)
    band = (segment.expected - half, segment.expected, segment.expected + half)
    verdict = Verdict(metric.name, total.bucket, Status.ANOMALOUS, segment.value, *band, score, spell_segment(segment.elements))
    effect = "rate" if metric.form == "ratio" else found.effect
    return verdict, RootCause("watched", effect, segment, attributes=tuple(attributes), metric=metric.name, at=total.bucket)


def least_evidence(metrics: int, attributes: int) -> float:
    """Return the least evidence (nats) of an anomalous segment. It grows with the number of segments that are compared."""
    return MIN_EVIDENCE + log(max(1, metrics * attributes * (attributes + 1) / 2 / MIN_VOLUME_SHARE))


def strongest_segment(metric: Metric, rows: pd.DataFrame, total: Verdict) -> tuple[Candidate | None, list[str]]:
    """Return the segment with the most evidence among those of enough size and change (None without one), and the attributes.

    For a ratio, the numerator is compared with the segment's usual rate times its present denominator.
    """
    if metric.form == "ratio":
        leaves, attributes = _leaves_of_ratio(metric, rows)
        options = SearchOptions(order=MAX_SEGMENT_ATTRIBUTES, conditions=1)
        candidates = explain(leaves, attributes, COUNT, options).candidates
    else:
        explained, _, attributes = explain_rows(
            metric, rows, _unchanged(metric, rows, total), MAX_SEGMENT_ATTRIBUTES, conditions=1
        )
        candidates = explained.candidates
    least = MIN_CHANGE * min(1.0, metric.step / WINDOW)  # smallest change in the newest bucket alone
    away = {"both": abs, "down": lambda change: -change, "up": lambda change: change}[metric.policy.direction]
    big = (c for c in candidates if c.volume >= MIN_VOLUME_SHARE and away(c.change) >= least and c.expected >= MIN_EXPECTED)
    return next(big, None), attributes


def _unchanged(metric: Metric, rows: pd.DataFrame, total: Verdict) -> Verdict:
    """Return a verdict whose expected total is the total of the rows, so that a segment is compared with the present total."""
    value = float(rows.loc[rows["days_ago"] == 0, metric.columns[0]].sum())
    return replace(total, metric=metric.name, value=value, expected=value)


def _leaves_of_ratio(metric: Metric, rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return leaves with the numerator (value, expected, spread) and the denominator (trials) of a ratio, and their attributes.

    Expected is the leaf's rate on the days before times its trials now, scaled so that the sum is the observed total.
    """
    attributes = [str(name) for name in rows.columns if not pd.api.types.is_numeric_dtype(rows[name])]
    part, trials = (SegmentHistory.of(rows, attributes, column) for column in metric.columns)
    usual = part.before.sum() / max(trials.before.sum(), 1.0)
    rate = (part.before.sum(axis=1) + usual) / (trials.before.sum(axis=1) + 1.0)  # one trial at the usual rate: never 0 / 0
    expected = trials.now * rate
    expected = expected * part.now.sum() / max(expected.sum(), 1e-9)
    spread = (part.before - trials.before * rate[:, None]).std(axis=1)
    return part.leaves.assign(value=part.now, expected=expected, spread=spread, trials=trials.now), attributes


def _measured(metric: Metric, rows: pd.DataFrame, total: Verdict, elements: tuple[Condition, ...]) -> Segment:
    """Return the segment with its value and its expected value in these rows."""
    if metric.form == "ratio":
        leaves, _ = _leaves_of_ratio(metric, rows)
    else:
        leaves = explain_rows(metric, rows, _unchanged(metric, rows, total), order=1, conditions=1)[1]
    (condition,) = elements
    sums = leaves[np.logical_and.reduce([leaves[name] == value for name, value in condition])].sum(numeric_only=True)
    units = max(float(sums["trials"]), 1.0) if metric.form == "ratio" else 1.0
    return Segment(elements, float(sums["value"]) / units, float(sums["expected"]) / units)
