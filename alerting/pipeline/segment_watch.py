"""Alert on a segment that breaks while the total stays normal, as when a source of traffic fails and others make up for it.

Each metric with `slices="alert"` has a stand-in metric, `views.slices`: its verdicts are those of the segment with the most
evidence. It has an episode and joins incidents as any metric does, from two anomalous buckets in a row on. With "digest" it
is a line of the daily message. `MIN_EVIDENCE` allows for the hundreds of segments tested (multiple comparisons).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from math import copysign

import pandas as pd

from alerting.model.errors import caught
from alerting.model.incident import RootCause, Segment, spell_segment
from alerting.model.metric import SEGMENTS_SUFFIX, Metric, Policy
from alerting.model.run import Reading
from alerting.model.verdict import Episode, EpisodeState, Status, Verdict
from alerting.pipeline.context import DueBuckets, RunContext
from alerting.rootcause.expectation import HISTORY_DAYS, explain_rows

MIN_EVIDENCE = 12.0  # nats; without any incident the highest of 896 was 7.6 on the sample app (docs/rootcause.md)
MIN_VOLUME_SHARE = 0.05  # share of the total that a segment must have
MIN_CHANGE = 0.3  # relative change that it must have
MIN_EXPECTED = 50.0  # units that must be expected of it
MAX_SEGMENT_ATTRIBUTES = 2  # attributes of a watched segment
SEGMENTS_WAIT = 20.0  # seconds a run waits for rows that it requested before it judged
DAY = timedelta(days=1)
POLICY = Policy(need=2, window=2, recover=2)


@dataclass(frozen=True)
class SegmentResult:
    """The stand-ins' verdicts of the newest bucket. `causes`: stand-in -> the segment that its verdict is about.
    `errors`: stand-in -> why its segments could not be judged."""

    verdicts: list[Verdict] = field(default_factory=list)
    causes: dict[str, RootCause] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def segment_metrics(metrics: Sequence[Metric]) -> list[Metric]:
    """Return a stand-in for each metric whose segments are watched. It has the metric's title; messages add the segment."""
    return [
        replace(
            metric,
            name=metric.name + SEGMENTS_SUFFIX,
            policy=replace(POLICY, remind=metric.policy.remind, worsen=metric.policy.worsen),
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
    out = {name: pool.submit(rows, ctx.slices[name], item.last - HISTORY_DAYS * DAY, item.end) for name, item in items.items()}
    pool.shutdown(wait=False)
    return out


def watch_segments(ctx: RunContext, verdicts: Sequence[Verdict], reading: Reading) -> SegmentResult:
    """Judge the segments of the newest bucket of each watched metric, by the rows that `reading.slices` brings.

    If the total is anomalous (its root cause covers the segments) or missing, the verdict is unknown.
    """
    newest = {verdict.metric: verdict for verdict in verdicts}
    out = SegmentResult()
    for metric in ctx.segment_metrics:
        total = newest.get(metric.segments_of)
        if total is None or metric.query not in reading.slices or metric.scan in reading.incomplete:  # rows of a later bucket
            continue
        if total.status is not Status.NORMAL:
            out.verdicts.append(Verdict(metric.name, total.bucket, Status.UNKNOWN))
            continue
        with caught(out.errors, metric.name):
            verdict, cause = judge_segments(metric, reading.slices[metric.query].result(SEGMENTS_WAIT), total)
            out.verdicts.append(verdict)
            if cause is not None:
                out.causes[metric.name] = cause
    return out


def without_open_totals(segments: SegmentResult, stand_ins: Sequence[Metric], episodes: Mapping[str, Episode]) -> SegmentResult:
    """Return the segments; unknown where the total's episode goes on: they belong to its incident, even if its band has followed
    it down. `episodes`: metric -> the episode after the buckets of the run."""
    totals = {metric.name: episodes.get(metric.segments_of) for metric in stand_ins}
    covered = {name for name, episode in totals.items() if episode and episode.state is not EpisodeState.OK}
    verdicts = [Verdict(v.metric, v.bucket, Status.UNKNOWN) if v.metric in covered else v for v in segments.verdicts]
    return replace(segments, verdicts=verdicts, causes={name: it for name, it in segments.causes.items() if name not in covered})


def judge_segments(
    metric: Metric, rows: pd.DataFrame, total: Verdict, min_evidence: float = MIN_EVIDENCE
) -> tuple[Verdict, RootCause | None]:
    """Return the verdict of the segment with the most evidence, and the segment as a cause; normal where evidence is short.

    `rows`: as a query of `sql/slices` returns them. The score is the evidence over `min_evidence`, with the sign of the change.
    """
    unchanged = replace(total, metric=metric.name, expected=total.value)  # segments against the total as it is
    explained, _, attributes = explain_rows(metric, rows, unchanged, order=MAX_SEGMENT_ATTRIBUTES, conditions=1)
    big = [c for c in explained.candidates if c.volume >= MIN_VOLUME_SHARE and abs(c.change) >= MIN_CHANGE and c.effect != "mix"]
    found = next((c for c in big if metric.form == "ratio" or c.expected >= MIN_EXPECTED), None)
    if found is None or found.score < min_evidence:
        return Verdict(metric.name, total.bucket, Status.NORMAL, total.value, expected=total.value, score=0.0), None
    score = copysign(found.score / min_evidence, found.value - found.expected)
    half = abs(found.value - found.expected) / abs(score)
    band = (found.expected - half, found.expected, found.expected + half)
    segment = Segment(found.conditions, found.value, found.expected)
    verdict = Verdict(metric.name, total.bucket, Status.ANOMALOUS, found.value, *band, score, spell_segment(segment.elements))
    return verdict, RootCause("watched", found.effect, segment, attributes=tuple(attributes), metric=metric.name, at=total.bucket)
