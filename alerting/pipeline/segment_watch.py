"""Slices that break while the total is calm: a source of traffic that disappears, although its neighbours make up for it.

Each metric with `slices="alert"` has a stand-in, `views.slices`, whose verdicts are those of the slice that is furthest out. It
has an episode and joins incidents as any metric, two buckets in a row, so there is one mechanism; with "digest" it is a line of
the daily message. So many slices are tried that one is always odd: `FURTHEST` is set for the number of them (docs/rootcause.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from math import copysign

import pandas as pd

from alerting import rootcause
from alerting.model.errors import SourceError
from alerting.model.incident import RootCause, Segment, spell_segment
from alerting.model.metric import Metric, Policy
from alerting.model.run import Reading
from alerting.model.verdict import Status, Verdict
from alerting.pipeline.context import DueBuckets, RunContext
from alerting.rootcause.expectation import HISTORY_DAYS, explain_rows

MIN_EVIDENCE = 12.0  # nats of evidence; on the calm sample app the highest of 896 was 7.6 (docs/rootcause.md)
MIN_VOLUME_SHARE = 0.05  # smaller slices are not watched
MIN_CHANGE = 0.3  # nor smaller changes
MIN_EXPECTED = 50.0  # nor what is expected to count less
MAX_SEGMENT_ATTRIBUTES = 2  # attributes of a watched slice
SUFFIX = ".slices"
SEGMENTS_WAIT = 20.0  # seconds a run waits for rows that were asked for while it did other things
DAY = timedelta(days=1)
POLICY = Policy(need=2, window=2, recover=2)


@dataclass(frozen=True)
class SegmentResult:
    """The stand-ins' verdicts of the newest bucket, and which slice each is about."""

    verdicts: list[Verdict] = field(default_factory=list)
    causes: dict[str, RootCause] = field(default_factory=dict)


def segment_metrics(metrics: Sequence[Metric]) -> list[Metric]:
    """One for each metric whose slices are watched. Its title says so; the message names the slice."""
    return [
        replace(
            metric,
            name=metric.name + SUFFIX,
            policy=replace(POLICY, remind=metric.policy.remind, worsen=metric.policy.worsen),
            parents=(metric.name,),
            product="",
            segments_of=metric.name,
        )
        for metric in metrics
        if metric.slices != "off"
    ]


def stand_in_names(metrics: Iterable[str]) -> set[str]:
    """The names of the stand-ins that metrics of these names have, or had while their slices were watched."""
    return {name + SUFFIX for name in metrics}


def request_segments(ctx: RunContext, todo: Sequence[DueBuckets]) -> dict[str, Future[pd.DataFrame]]:
    """The rows of the newest due bucket's slices, on their way while the run judges and draws: query name -> rows."""
    watched = {metric.segments_of: metric.query for metric in ctx.segment_metrics if metric.query in ctx.slices}
    due = {watched[item.metric.name]: item for item in todo if item.metric.name in watched and len(item)}
    if not due or not ctx.source.runs_sql:
        return {}
    pool = ThreadPoolExecutor(1, "slices")  # a source answers one question at a time
    rows = ctx.source.rows
    out = {query: pool.submit(rows, ctx.slices[query], item.last - HISTORY_DAYS * DAY, item.end) for query, item in due.items()}
    pool.shutdown(wait=False)
    return out


def watch_segments(
    ctx: RunContext, due: Sequence[DueBuckets], answers: Sequence[Verdict], reading: Reading
) -> tuple[SegmentResult, Reading]:
    """The slices of the newest due bucket of each watched metric; and the reading, with what could not be seen of them.

    A total that is odd itself says more than its slices: then, and where there is no value, the answer is unknown.
    """
    newest = {verdict.metric: verdict for verdict in answers}
    out, troubles = SegmentResult(), dict[str, str]()
    for metric in ctx.segment_metrics:
        total = newest.get(metric.segments_of)
        if total is None or metric.query not in reading.slices:
            continue
        if total.status is not Status.NORMAL:
            out.verdicts.append(Verdict(metric.name, total.bucket, Status.UNKNOWN))
            continue
        try:
            verdict, cause = judge_segments(metric, reading.slices[metric.query].result(SEGMENTS_WAIT), total)
        except (SourceError, ValueError, KeyError, TimeoutError) as error:
            troubles[metric.name] = f"its slices could not be judged: {error or type(error).__name__}"
            continue
        out.verdicts.append(verdict)
        if cause is not None:
            out.causes[metric.name] = cause
    return out, replace(reading, errors=reading.errors | troubles)


def judge_segments(metric: Metric, rows: pd.DataFrame, total: Verdict) -> tuple[Verdict, RootCause | None]:
    """The answer for the slice that is furthest out, and which it is; normal where none is far enough.

    `rows`: as `sql/slices` gives them. The score is the evidence over FURTHEST, with the sign of the change.
    """
    cause, attributes = _odd(metric, rows, total)
    if cause is not None and cause.score >= MIN_EVIDENCE:
        score = copysign(cause.score / MIN_EVIDENCE, cause.value - cause.expected)
        half = abs(cause.value - cause.expected) / abs(score)
        edges = (cause.expected - half, cause.expected, cause.expected + half)
        found = Segment(cause.elements, cause.value, cause.expected)
        verdict = Verdict(metric.name, total.bucket, Status.ANOMALOUS, cause.value, *edges, score, spell_segment(found.elements))
        return verdict, RootCause("watched", cause.effect, found, attributes=tuple(attributes))
    return Verdict(metric.name, total.bucket, Status.NORMAL, total.value, expected=total.value, score=0.0), None


def highest_evidence(metric: Metric, rows: pd.DataFrame, total: Verdict) -> float:
    """The evidence (nats) for the slice that is furthest out; 0 where none is big and changed enough."""
    cause, _ = _odd(metric, rows, total)
    return cause.score if cause else 0.0


def _odd(metric: Metric, rows: pd.DataFrame, total: Verdict) -> tuple[rootcause.Candidate | None, list[str]]:
    """The best candidate that is big enough to be watched, and the attributes there are."""
    calm = replace(total, metric=metric.name, expected=total.value)  # against what there is: the total itself is not asked
    told, _, attributes = explain_rows(metric, rows, calm, order=MAX_SEGMENT_ATTRIBUTES, elements=1)
    big = (c for c in told.candidates if c.volume >= MIN_VOLUME_SHARE and (metric.form == "ratio" or c.expected >= MIN_EXPECTED))
    return next((c for c in big if c.effect != "mix" and abs(c.change) >= MIN_CHANGE), None), attributes
