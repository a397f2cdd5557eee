"""Explain incidents: their root cause, how rare the value is, and the past incident that is most similar.

An alert waits a few seconds for its root cause. One that is not ready in time is added later, by an edit of the alert. One that
fails is left out, and the outcome of the run reports it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from math import isnan
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from alerting.model.clock import DAY, iso_text
from alerting.model.errors import SourceError
from alerting.model.incident import Event, Incident, Rarity, RootCause, SimilarIncident
from alerting.model.run import caught
from alerting.model.verdict import EventKind, Status, Verdict
from alerting.pipeline.advance import StateChange
from alerting.pipeline.context import RunContext
from alerting.pipeline.judged import JudgedMetrics
from alerting.rootcause.expectation import HISTORY_DAYS, find_root_cause

WAIT_BEFORE_ALERT = 4.0  # seconds an alert waits for its root cause
SEPARATE_AFTER = timedelta(hours=6)  # anomalous buckets that are nearer than that belong to one episode
OWN_ONSET = timedelta(hours=1)  # anomalous buckets this long before the episode are its own beginning
OTHER_SEGMENT_DISTANCE = 1.0  # added to the distance of incidents of different segments
MAX_DEPTH_DISTANCE = float(np.log(2))  # in log(value / expected); an incident that is twice or half as deep is not similar
WEEK = timedelta(days=7)
YEAR = timedelta(days=366)  # a similar incident is looked for in this time


@dataclass(frozen=True)
class Explanations:
    """Root causes by incident id. `errors`: why a search failed. `pending`: searches that are not finished.

    `changes`, `judged`: the input of the messages about pending root causes.
    """

    changes: StateChange
    judged: JudgedMetrics
    causes: dict[str, RootCause] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    pending: dict[str, Future[RootCause]] = field(default_factory=dict)

    def collect(self, seconds: float) -> Explanations:
        """Wait up to `seconds`. Return the explanations with the searches that have finished, also in the incidents of `changes`.

        A search that failed is recorded as a fault of its metric, which the outcome of the run reports.
        """
        done, _ = wait(self.pending.values(), seconds)
        ready = {name: future for name, future in self.pending.items() if future in done}
        errors = {name: f"{type(e).__name__}: {e}" for name, future in ready.items() if (e := future.exception()) is not None}
        causes = {name: future.result() for name, future in ready.items() if name not in errors}
        changes = self.changes.with_incidents(lambda i: replace(i, cause=causes.get(i.id, i.cause)))
        roots = {incident.id: incident.root.metric for incident in changes.incidents}
        self.judged.ctx.faults["searched for a cause"] |= {roots[name]: reason for name, reason in errors.items()}
        pending = {name: future for name, future in self.pending.items() if name not in ready}
        return Explanations(changes, self.judged, self.causes | causes, self.errors | errors, pending)


def explain(
    ctx: RunContext, changes: StateChange, judged: JudgedMetrics, max_wait: float = WAIT_BEFORE_ALERT
) -> tuple[StateChange, Explanations]:
    """Return the changes with opened incidents explained, and the explanations.

    An opened incident gets its rarity and a similar incident. One that opened or worsened gets its root cause, if that is found
    within `max_wait` seconds. Raises StoreError.
    """
    # Rarity and similar incident: as they are at the opening; they do not change later.
    found: dict[str, tuple[Rarity | None, SimilarIncident | None]] = {}
    for event in changes.events:
        incident = event.incident
        is_first = event.kind is EventKind.OPENED and incident and not event.again and event.metric == incident.root.metric
        if incident and is_first and not isnan(event.verdict.value):
            past = ctx.store.all_incidents(event.bucket - YEAR, event.bucket)
            with caught(ctx.faults["compared with its past"], event.metric):
                rare = rarity(judged.whole(event.metric), event, ctx.zone) if event.metric in judged else None
                found[incident.id] = rare, most_similar(incident, event.verdict, past)
    changes = changes.with_incidents(lambda i: replace(i, rarity=found[i.id][0], similar=found[i.id][1]) if i.id in found else i)

    # Root causes, computed in the background.
    pool, futures = ThreadPoolExecutor(1, "explain"), dict[str, Future[RootCause]]()  # a source runs one query at a time
    for event in changes.events:
        if event.incident and _has_segments(ctx, event):
            futures[event.incident.id] = pool.submit(_root_cause, ctx, event)
    pool.shutdown(wait=False)
    explained = Explanations(changes, judged, pending=futures).collect(max_wait)
    return explained.changes, explained


def _has_segments(ctx: RunContext, event: Event) -> bool:
    """Return whether the event opens or worsens an incident, and its metric is a sum, or a ratio of sums, of segments."""
    metric = ctx.metric(event.metric)
    opened = event.kind in (EventKind.OPENED, EventKind.WORSENED) and not isnan(event.verdict.value)
    if not opened or metric.segments_of:
        return False
    summed = len(metric.columns) == 1 or (len(metric.columns) == 2 and metric.form == "ratio")
    return summed and metric.query in ctx.slices and ctx.source.runs_sql


def _root_cause(ctx: RunContext, event: Event) -> RootCause:
    """Return the root cause of the event's bucket. It may raise any error: a search that fails does not block the alert."""
    metric = ctx.metric(event.metric)
    rows = ctx.source.rows(ctx.slices[metric.query], event.bucket - HISTORY_DAYS * DAY, event.bucket + metric.step)
    if not len(rows):
        raise SourceError(f"no rows of the slices from {iso_text(event.bucket, ctx.zone)} on")
    return find_root_cause(metric, rows, event.verdict)


def rarity(judged: pd.DataFrame, event: Event, zone: str) -> Rarity:
    """Count earlier values at the same weekday and local time that are as extreme, and past episodes with at least this score.

    `judged`: value, high, score, status on the full UTC grid.
    """
    verdict, low = event.verdict, event.verdict.residual < 0
    weeks = (event.bucket - judged.index[0]) // WEEK if len(judged) else 0
    same = np.array([same_time_before(judged["value"], event.bucket, 7 * n, zone) for n in range(1, weeks + 1)])
    same = same[np.isfinite(same)]
    beyond = int((same <= verdict.value).sum() if low else (same >= verdict.value).sum())
    before = judged.loc[: (event.episode.since or event.bucket) - OWN_ONSET]
    known = before[before["high"].notna()]
    if known.empty or not abs(verdict.score) > 0:  # nor where it is unknown: every comparison with NaN is false
        return Rarity(len(same), beyond)
    far = known[(known["status"] == Status.ANOMALOUS.value) & (known["score"] * np.sign(verdict.score) >= abs(verdict.score))]
    starts = far.index.to_series().diff().gt(SEPARATE_AFTER).sum() + (len(far) > 0)
    return Rarity(len(same), beyond, (known.index[-1] - known.index[0]) / WEEK, int(starts))


def same_time_before(values: pd.Series, bucket: datetime, days: int, zone: str) -> float:
    """Return the value at the same local time `days` before; NaN if there is none."""
    if len(values) < 2:
        return float("nan")
    then = (bucket.astimezone(ZoneInfo(zone)) - days * DAY).astimezone(UTC)
    first, step = values.index[0], values.index[1] - values.index[0]
    at = round((then - first) / step)  # long buckets do not follow the clock
    return float(values.iloc[at]) if 0 <= at < len(values) and first + at * step < bucket else float("nan")


def most_similar(incident: Incident, verdict: Verdict, past: Sequence[Incident]) -> SimilarIncident | None:
    """Return the closed incident of the same root metric and direction with the most similar change; None if there is none.

    An incident of the same segment comes before the others.
    """
    closed = [i for i in past if i.id != incident.id and i.closed and not i.corrected]
    pairs = [(_distance(i, incident, verdict), i) for i in closed if i.root.metric == incident.root.metric]
    distance, best = min(pairs, key=lambda pair: pair[0], default=(float("inf"), incident))
    if distance == float("inf"):
        return None
    return SimilarIncident(best.opened, best.label, best.run, best.root.worst or best.root.first)


def _distance(past: Incident, now: Incident, verdict: Verdict) -> float:
    """Return the difference of log(value / expected), plus a constant for another segment; inf if they cannot be compared."""
    depth, other = verdict.change, (past.root.worst or past.root.first).change
    if not np.isfinite(depth * other) or depth * other <= 0 or past.root.gap or past.root.segment != now.root.segment:
        return float("inf")
    causes = [incident.cause.claim.slice if incident.cause else None for incident in (past, now)]
    segments = [cause.elements if cause else None for cause in causes]
    apart = abs(np.log(max(1 + depth, 0.01)) - np.log(max(1 + other, 0.01)))
    return float(apart + OTHER_SEGMENT_DISTANCE * (segments[0] != segments[1])) if apart <= MAX_DEPTH_DISTANCE else float("inf")
