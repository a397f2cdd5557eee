"""Incidents planted into the app, and the truth about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from alerting.sample.app import DAY, SampleApp, epoch
from alerting.sample.generate import EventRows, People

HOME = ZoneInfo("Europe/Moscow")
FEED_METRICS, CHAT_METRICS = ("feed_users", "views", "likes"), ("messenger_users", "messages")
COUNTED = ("views", "likes", "messages")  # the metric that a row of kind VIEW, LIKE or MESSAGE counts for
LEAKING = "slow_leak"


@dataclass(frozen=True)
class PlantedIncident:
    """What went wrong, from `start` until before `end` (aware UTC).

    `metrics` are those that move, `slice` the (column, value) that was hit or None for everybody, `depth` the change of
    the rows hit, as a share: -1 all are lost, +1 each comes twice. A slow leak reaches its depth at the end.
    """

    kind: str
    start: datetime
    end: datetime
    metrics: tuple[str, ...]
    slice: tuple[str, str] | None
    depth: float


@dataclass(frozen=True)
class IncidentPlan:
    """An incident that begins some days before the app's birth, at a local time of day."""

    kind: str
    days_before: int
    clock: time
    length: timedelta
    metrics: tuple[str, ...]
    slice: tuple[str, str] | None = None
    depth: float = -1.0


PLANS = (  # the first 28 of 56 days stay clean; at least two days lie between any two
    IncidentPlan(LEAKING, 27, time(9, 0), timedelta(days=3), FEED_METRICS, ("source", "organic"), -0.5),
    IncidentPlan("outage", 21, time(14, 10), timedelta(minutes=50), FEED_METRICS + CHAT_METRICS),
    IncidentPlan("os_down", 17, time(19, 25), timedelta(minutes=80), FEED_METRICS + CHAT_METRICS, ("os", "iOS")),
    IncidentPlan("ctr_drop", 13, time(12, 0), timedelta(hours=3), ("likes", "ctr"), ("exp_group", "2"), -0.95),
    IncidentPlan("messenger_down", 9, time(11, 40), timedelta(minutes=90), CHAT_METRICS),
    IncidentPlan("duplicates", 5, time(20, 15), timedelta(minutes=60), ("views", "likes"), depth=1.0),
)
# A stranger's first run must have something to tell at any hour, and the later ones must see it end. Tried against a
# 3 IQR fence over the same time of 14 days: an exp_group (a fifth of the likes) is lost in a night's noise, iOS (-38 %)
# is seen in two runs of three, Android (-52 %) nearly always.
SINCE, UNTIL = timedelta(minutes=45), timedelta(hours=2)
ONGOING = ("like_button_broken", ("likes", "ctr"), ("os", "Android"), -0.9)


def planted_incidents(app: SampleApp) -> list[PlantedIncident]:
    """The truth about the app, oldest first; incidents from before its first day are left out."""
    if app.incidents == "none":
        return []
    past = [_at(plan, app.birth) for plan in PLANS]
    kind, metrics, part, depth = ONGOING
    ongoing = PlantedIncident(kind, app.birth - SINCE, app.birth + UNTIL, metrics, part, depth)
    return [incident for incident in (*past, ongoing) if epoch(incident.start) >= app.first_day * DAY]


def apply_incidents(rows: EventRows, people: People, incidents: list[PlantedIncident]) -> EventRows:
    """The rows as the database got them: some lost, some twice."""
    copies = np.ones(len(rows.time), dtype=np.int64)
    for incident in incidents:
        if len(copies) and epoch(incident.start) <= rows.time[-1] and rows.time[0] < epoch(incident.end):
            copies = np.where(_hit(rows, people, incident), 2 if incident.depth > 0 else 0, copies)
    return rows if (copies == 1).all() else rows.take(np.repeat(np.arange(len(copies)), copies))


def _hit(rows: EventRows, people: People, incident: PlantedIncident) -> np.ndarray:
    """Which rows (bool) an incident hits. Users are hit, not rows: who has the broken release keeps it."""
    start, end = epoch(incident.start), epoch(incident.end)
    during = (start <= rows.time) & (rows.time < end)
    counted = np.array([metric in incident.metrics for metric in COUNTED])[rows.kind]
    grown = (rows.time - start) / (end - start) if incident.kind == LEAKING else 1.0
    unlucky = people.fate[rows.user] < abs(incident.depth) * grown
    return during & counted & unlucky & people.within(incident.slice)[rows.user]


def _at(plan: IncidentPlan, birth: datetime) -> PlantedIncident:
    """A plan in the life of an app born then."""
    date = birth.astimezone(HOME).date() - timedelta(days=plan.days_before)
    start = datetime.combine(date, plan.clock, HOME).astimezone(UTC)
    return PlantedIncident(plan.kind, start, start + plan.length, plan.metrics, plan.slice, plan.depth)
