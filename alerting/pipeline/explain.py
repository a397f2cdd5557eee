"""What explains an incident: its slices, against their own expectation from the same time of the days before.

The alert never waits for it: an explanation that is not ready in time follows as a reply, and one that fails is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import isnan

import pandas as pd

from alerting.messages.root_cause import root_cause_reply
from alerting.model.errors import SourceError
from alerting.model.incident import Event, Incident, RootCause
from alerting.model.message import Message, Receipt
from alerting.model.protocols import Commit
from alerting.model.run import Reading
from alerting.model.verdict import EventKind
from alerting.pipeline.compose import audience, edit_openings
from alerting.pipeline.context import RunContext
from alerting.pipeline.deliver import send_waiting
from alerting.pipeline.judge import StateChange, whole_frame
from alerting.rootcause import rarity
from alerting.rootcause.expectation import HISTORY_DAYS, find_root_cause
from alerting.rootcause.rarity import most_similar

WAIT_BEFORE_ALERT = 4.0  # seconds an alert waits for its explanation
WAIT_AFTER_ALERT = 60.0  # seconds a run waits for it after the alert was told
MAX_WINDOW = timedelta(hours=1)  # of the trouble that is looked at, its newest part
DAY = timedelta(days=1)
YEAR = timedelta(days=366)  # in which a similar incident is looked for


@dataclass(frozen=True)
class Explanations:
    """What became of the explanations: incident id -> its cause, or why there is none. `pending`: what still goes on."""

    causes: dict[str, RootCause] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    pending: dict[str, Future[RootCause]] = field(default_factory=dict)


def explain(
    ctx: RunContext, changes: StateChange, judged: Mapping[str, pd.DataFrame], ready: float = WAIT_BEFORE_ALERT
) -> tuple[StateChange, Explanations]:
    """The changes, in which every incident that is opened carries how unusual it is, and what it is like; and every one that
    is opened or worse a cause, as far as that was found within `ready` seconds. Raises StoreError."""
    changes = _unusual(ctx, changes, judged)
    events = [event for event in changes.events if _asks(ctx, event)]
    if not events:
        return changes, Explanations()
    pool = ThreadPoolExecutor(1, "explain")  # one after the other: a source answers one question at a time
    futures = {event.incident.id: pool.submit(_cause, ctx, event) for event in events if event.incident}
    pool.shutdown(wait=False)
    explained = _collected(futures, ready)
    return with_causes(changes, explained.causes), explained


def _unusual(ctx: RunContext, changes: StateChange, judged: Mapping[str, pd.DataFrame]) -> StateChange:
    """As it is when it opens: the message is edited later, and these do not change."""
    opened = [
        e for e in changes.events if e.kind is EventKind.OPENED and e.incident and not e.again and not isnan(e.verdict.value)
    ]
    known: dict[str, Incident] = {}
    for event in opened:
        assert event.incident is not None
        past = ctx.store.all_incidents(event.bucket - YEAR, event.bucket)
        rare = rarity.rarity(whole_frame(judged, event.metric), event, ctx.zone) if event.metric in judged else None
        alike = most_similar(event.incident, event.verdict, past)
        known[event.incident.id] = replace(event.incident, rarity=rare, similar=alike)
    return _replaced(
        changes, lambda i: replace(i, rarity=known[i.id].rarity, similar=known[i.id].similar) if i.id in known else i
    )


def with_causes(changes: StateChange, causes: dict[str, RootCause]) -> StateChange:
    """The changes whose incidents carry their causes."""

    return _replaced(
        changes, lambda incident: replace(incident, cause=causes[incident.id]) if incident.id in causes else incident
    )


def _replaced(changes: StateChange, new: Callable[[Incident], Incident]) -> StateChange:
    events = [replace(event, incident=new(event.incident)) if event.incident else event for event in changes.events]
    return replace(changes, events=events, incidents=[new(incident) for incident in changes.incidents])


def follow_up(
    ctx: RunContext, changes: StateChange, judged: Mapping[str, pd.DataFrame], explained: Explanations, now: datetime
) -> list[Receipt]:
    """What was explained only after the alert was told: a reply in its thread, and the opening message anew.

    Raises StoreError.
    """
    if not explained.pending:
        return []
    late = _collected(explained.pending, WAIT_AFTER_ALERT).causes
    told = with_causes(changes, late)
    incidents = [incident for incident in told.incidents if incident.id in late]
    said: list[Message] = [
        root_cause_reply(incident, now, audience(ctx, now), ctx.metric(incident.root.metric))
        for incident in incidents
        if _says_something(late[incident.id])
    ]
    said += edit_openings(ctx, replace(told, events=[], incidents=incidents), judged, Reading({}), now)
    ctx.store.commit(Commit(incidents=incidents, messages=said), now)
    return send_waiting(ctx.store, ctx.notifier, now, ctx.wait)


def _says_something(cause: RootCause) -> bool:
    return cause.answer != "unclear" or bool(cause.imbalance or cause.new or cause.gone)


def _asks(ctx: RunContext, event: Event) -> bool:
    if event.kind not in (EventKind.OPENED, EventKind.WORSENED) or event.incident is None or isnan(event.verdict.value):
        return False
    if event.metric != event.incident.root.metric:  # the cause of an incident is its root's
        return False
    metric = ctx.metric(event.metric)
    known = len(metric.columns) == 1 or (len(metric.columns) == 2 and metric.form == "ratio")
    return known and metric.query in ctx.slices and ctx.source.runs_sql


def _collected(futures: dict[str, Future[RootCause]], seconds: float) -> Explanations:
    done, _ = wait(futures.values(), seconds)
    causes, troubles = {}, {}
    for name, future in futures.items():
        error = future.exception() if future in done else None
        if error is not None:
            troubles[name] = f"{type(error).__name__}: {error}"
        elif future in done:
            causes[name] = future.result()
    return Explanations(causes, troubles, {name: future for name, future in futures.items() if future not in done})


def _cause(ctx: RunContext, event: Event) -> RootCause:
    """Raises SourceError, and whatever an explanation may raise: it concerns nobody but itself."""
    metric = ctx.metric(event.metric)
    end = event.bucket + metric.step
    since = event.episode.since or event.bucket
    start = max(since, end - max(MAX_WINDOW, metric.step))
    rows = ctx.source.rows(ctx.slices[metric.query], start - HISTORY_DAYS * DAY, end)
    if not len(rows):
        raise SourceError(f"no rows of the slices from {start:%Y-%m-%dT%H:%MZ} on")
    return find_root_cause(metric, rows, event.verdict)
