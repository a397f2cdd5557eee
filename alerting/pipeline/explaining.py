"""What explains an incident: its slices, against their own expectation from the same time of the days before.

The alert never waits for it: an explanation that is not ready in time follows as a reply, and one that fails is left out.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from math import isnan

import pandas as pd

from alerting import messages
from alerting.model import Cause, Event, Incident, Kind, Memory, Message, Reading, Receipt, SourceError
from alerting.pipeline.causes import DAYS, caused
from alerting.pipeline.composing import edits, reader
from alerting.pipeline.delivering import send_waiting
from alerting.pipeline.judging import Advance
from alerting.pipeline.timing import Connections

READY = 4.0  # seconds an alert waits for its explanation
LATE = 60.0  # seconds a run waits for it after the alert was told
LONGEST = timedelta(hours=1)  # of the trouble that is looked at, its newest part
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Explained:
    """What became of the explanations: incident id -> its cause, or why there is none. `pending`: what still goes on."""

    causes: dict[str, Cause] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)
    pending: dict[str, Future[Cause]] = field(default_factory=dict)


def explain(to: Connections, changes: Advance, ready: float = READY) -> tuple[Advance, Explained]:
    """The changes with a cause for every incident that is opened or worse, as far as it was found within `ready` seconds."""
    events = [event for event in changes.events if _asks(to, event)]
    if not events:
        return changes, Explained()
    pool = ThreadPoolExecutor(1, "explain")  # one after the other: a source answers one question at a time
    futures = {event.incident.id: pool.submit(_cause, to, event) for event in events if event.incident}
    pool.shutdown(wait=False)
    explained = _collected(futures, ready)
    return with_causes(changes, explained.causes), explained


def with_causes(changes: Advance, causes: dict[str, Cause]) -> Advance:
    """The changes whose incidents carry their causes."""

    def known(incident: Incident) -> Incident:
        return replace(incident, cause=causes[incident.id]) if incident.id in causes else incident

    events = [replace(event, incident=known(event.incident)) if event.incident else event for event in changes.events]
    return replace(changes, events=events, incidents=[known(incident) for incident in changes.incidents])


def follow_up(
    to: Connections, changes: Advance, judged: dict[str, pd.DataFrame], explained: Explained, now: datetime
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
        if late[incident.id].answer != "unclear"
    ]
    said += edits(to, replace(told, events=[], incidents=incidents), judged, Reading({}), now)
    to.store.commit(Memory(incidents=incidents, messages=said), now)
    return send_waiting(to.store, to.notifier, now, to.wait)


def _asks(to: Connections, event: Event) -> bool:
    if event.kind not in (Kind.OPENED, Kind.WORSENED) or event.incident is None or isnan(event.verdict.value):
        return False
    if event.metric != event.incident.root.metric:  # the cause of an incident is its root's
        return False
    metric = to.metric(event.metric)
    return metric.query in to.slices and hasattr(to.source, "rows") and hasattr(metric.value, "columns")


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
    rows = to.source.rows(to.slices[metric.query], start - DAYS * DAY, end)  # type: ignore[attr-defined]
    if not len(rows):
        raise SourceError(f"no rows of the slices from {start:%Y-%m-%dT%H:%MZ} on")
    return caused(metric, rows, event.verdict)
