"""Explain incidents: their root cause, how rare the value is, and the past incident that is most similar.

An alert never waits for long: a root cause that is not ready in time follows as a reply, and one that fails is left out.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import timedelta
from math import isnan

from alerting.model.errors import SourceError
from alerting.model.incident import Event, Rarity, RootCause, SimilarIncident
from alerting.model.verdict import EventKind
from alerting.pipeline.advance import StateChange
from alerting.pipeline.context import RunContext
from alerting.pipeline.judge import JudgedMetrics
from alerting.rootcause import rarity
from alerting.rootcause.expectation import HISTORY_DAYS, find_root_cause

WAIT_BEFORE_ALERT = 4.0  # seconds an alert waits for its root cause
MAX_WINDOW = timedelta(hours=1)  # the newest part of an episode, which is searched for the root cause
DAY = timedelta(days=1)
YEAR = timedelta(days=366)  # a similar incident is looked for in this time


@dataclass(frozen=True)
class Explanations:
    """Root causes by incident id. `errors`: why one failed. `pending`: those that are still computed.

    `changes` and `judged` are what the messages about pending ones will be made of.
    """

    changes: StateChange
    judged: JudgedMetrics
    causes: dict[str, RootCause] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    pending: dict[str, Future[RootCause]] = field(default_factory=dict)

    def collect(self, seconds: float) -> Explanations:
        """Return the explanations with those that become ready within `seconds`, also in the incidents of the changes."""
        done, _ = wait(self.pending.values(), seconds)
        ready = {name: future for name, future in self.pending.items() if future in done}
        errors = {name: f"{type(e).__name__}: {e}" for name, future in ready.items() if (e := future.exception()) is not None}
        causes = {name: future.result() for name, future in ready.items() if name not in errors}
        changes = self.changes.with_incidents(lambda i: replace(i, cause=causes.get(i.id, i.cause)))
        pending = {name: future for name, future in self.pending.items() if name not in ready}
        return Explanations(changes, self.judged, self.causes | causes, self.errors | errors, pending)


def explain(
    ctx: RunContext, changes: StateChange, judged: JudgedMetrics, max_wait: float = WAIT_BEFORE_ALERT
) -> tuple[StateChange, Explanations]:
    """Return the changes with opened incidents explained, and the explanations.

    An opened incident gets its rarity and a similar incident; one that is opened or worse gets its root cause, as far as that
    is found within `max_wait` seconds. Raises StoreError.
    """
    # How rare it is and what it resembles: as it was at the opening, never changed later.
    found: dict[str, tuple[Rarity | None, SimilarIncident | None]] = {}
    for event in changes.events:
        incident = event.incident
        if event.kind is EventKind.OPENED and incident and not event.again and not isnan(event.verdict.value):
            past = ctx.store.all_incidents(event.bucket - YEAR, event.bucket)
            rare = rarity.rarity(judged.whole(event.metric), event, ctx.zone) if event.metric in judged else None
            found[incident.id] = rare, rarity.most_similar(incident, event.verdict, past)
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
    """Whether the event opens or worsens an incident, and its root metric is a sum, or a ratio of sums, of segments."""
    opened = event.kind in (EventKind.OPENED, EventKind.WORSENED) and not isnan(event.verdict.value)
    if not opened or event.incident is None or event.metric != event.incident.root.metric:
        return False
    metric = ctx.metric(event.metric)
    summed = len(metric.columns) == 1 or (len(metric.columns) == 2 and metric.form == "ratio")
    return summed and metric.query in ctx.slices and ctx.source.runs_sql


def _root_cause(ctx: RunContext, event: Event) -> RootCause:
    """Find the root cause. May raise anything: a failed explanation never blocks the alert."""
    metric = ctx.metric(event.metric)
    end = event.bucket + metric.step
    start = max(event.episode.since or event.bucket, end - max(MAX_WINDOW, metric.step))
    rows = ctx.source.rows(ctx.slices[metric.query], start - HISTORY_DAYS * DAY, end)
    if not len(rows):
        raise SourceError(f"no rows of the slices from {start:%Y-%m-%dT%H:%MZ} on")
    return find_root_cause(metric, rows, event.verdict)
