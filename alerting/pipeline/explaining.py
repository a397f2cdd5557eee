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

from alerting import messages
from alerting.model import Cause, Event, Incident, Kind, Memory, Message, Reading, Receipt, SourceError
from alerting.pipeline import unusual
from alerting.pipeline.causes import DAYS, caused
from alerting.pipeline.composing import edits, reader
from alerting.pipeline.delivering import send_waiting
from alerting.pipeline.judged import whole
from alerting.pipeline.judging import Advance
from alerting.pipeline.timing import Connections

READY = 4.0  # seconds an alert waits for its explanation
LATE = 60.0  # seconds a run waits for it after the alert was told
LONGEST = timedelta(hours=1)  # of the trouble that is looked at, its newest part
DAY = timedelta(days=1)
YEAR = timedelta(days=366)  # in which a similar incident is looked for


@dataclass(frozen=True)
class Explained:
    """What became of the explanations: incident id -> its cause, or why there is none. `pending`: what still goes on."""

    causes: dict[str, Cause] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    pending: dict[str, Future[Cause]] = field(default_factory=dict)


def explain(
    to: Connections, changes: Advance, judged: Mapping[str, pd.DataFrame], ready: float = READY
) -> tuple[Advance, Explained]:
    """The changes, in which every incident that is opened carries how unusual it is, and what it is like; and every one that
    is opened or worse a cause, as far as that was found within `ready` seconds. Raises StoreError."""
    changes = _unusual(to, changes, judged)
    events = [event for event in changes.events if _asks(to, event)]
    if not events:
        return changes, Explained()
    pool = ThreadPoolExecutor(1, "explain")  # one after the other: a source answers one question at a time
    futures = {event.incident.id: pool.submit(_cause, to, event) for event in events if event.incident}
    pool.shutdown(wait=False)
    explained = _collected(futures, ready)
    return with_causes(changes, explained.causes), explained


def _unusual(to: Connections, changes: Advance, judged: Mapping[str, pd.DataFrame]) -> Advance:
    """As it is when it opens: the message is edited later, and these do not change."""
    opened = [e for e in changes.events if e.kind is Kind.OPENED and e.incident and not e.again and not isnan(e.verdict.value)]
    known: dict[str, Incident] = {}
    for event in opened:
        assert event.incident is not None
        past = to.store.all_incidents(event.bucket - YEAR, event.bucket)
        rare = unusual.rarity(whole(judged, event.metric), event, to.zone) if event.metric in judged else None
        alike = unusual.similar(event.incident, event.verdict, past)
        known[event.incident.id] = replace(event.incident, rarity=rare, similar=alike)
    return _replaced(
        changes, lambda i: replace(i, rarity=known[i.id].rarity, similar=known[i.id].similar) if i.id in known else i
    )


def with_causes(changes: Advance, causes: dict[str, Cause]) -> Advance:
    """The changes whose incidents carry their causes."""

    return _replaced(
        changes, lambda incident: replace(incident, cause=causes[incident.id]) if incident.id in causes else incident
    )


def _replaced(changes: Advance, new: Callable[[Incident], Incident]) -> Advance:
    events = [replace(event, incident=new(event.incident)) if event.incident else event for event in changes.events]
    return replace(changes, events=events, incidents=[new(incident) for incident in changes.incidents])


def follow_up(
    to: Connections, changes: Advance, judged: Mapping[str, pd.DataFrame], explained: Explained, now: datetime
) -> list[Receipt]:
    """What was explained only after the alert was told: a reply in its thread, and the opening message anew.

    Raises StoreError.
    """
    if not explained.pending:
        return []
    late = _collected(explained.pending, LATE).causes
    told = with_causes(changes, late)
    incidents = [incident for incident in told.incidents if incident.id in late]
    said: list[Message] = [
        messages.cause(incident, now, reader(to, now), to.metric(incident.root.metric))
        for incident in incidents
        if _says_something(late[incident.id])
    ]
    said += edits(to, replace(told, events=[], incidents=incidents), judged, Reading({}), now)
    to.store.commit(Memory(incidents=incidents, messages=said), now)
    return send_waiting(to.store, to.notifier, now, to.wait)


def _says_something(cause: Cause) -> bool:
    return cause.answer != "unclear" or bool(cause.imbalance or cause.new or cause.gone)


def _asks(to: Connections, event: Event) -> bool:
    if event.kind not in (Kind.OPENED, Kind.WORSENED) or event.incident is None or isnan(event.verdict.value):
        return False
    if event.metric != event.incident.root.metric:  # the cause of an incident is its root's
        return False
    metric = to.metric(event.metric)
    known = len(metric.columns) == 1 or (len(metric.columns) == 2 and metric.form == "ratio")
    return known and metric.query in to.slices and to.source.runs_sql


def _collected(futures: dict[str, Future[Cause]], seconds: float) -> Explained:
    done, _ = wait(futures.values(), seconds)
    causes, troubles = {}, {}
    for name, future in futures.items():
        error = future.exception() if future in done else None
        if error is not None:
            troubles[name] = f"{type(error).__name__}: {error}"
        elif future in done:
            causes[name] = future.result()
    return Explained(causes, troubles, {name: future for name, future in futures.items() if future not in done})


def _cause(to: Connections, event: Event) -> Cause:
    """Raises SourceError, and whatever an explanation may raise: it concerns nobody but itself."""
    metric = to.metric(event.metric)
    end = event.bucket + metric.step
    since = event.episode.since or event.bucket
    start = max(since, end - max(LONGEST, metric.step))
    rows = to.source.rows(to.slices[metric.query], start - DAYS * DAY, end)
    if not len(rows):
        raise SourceError(f"no rows of the slices from {start:%Y-%m-%dT%H:%MZ} on")
    return caused(metric, rows, event.verdict)
