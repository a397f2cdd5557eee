"""The incidents that are planted into the app."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from alerting.sample.generate import DAY, NAMES, SampleApp, epoch

HOME = ZoneInfo("Europe/Moscow")
FEED_METRICS, CHAT_METRICS = ("feed_users", "views", "likes"), ("messenger_users", "messages")
COUNTED = ("views", "likes", "messages")  # the metric that a row of kind VIEW, LIKE or MESSAGE counts for
LEAKING = "slow_leak"


@dataclass(frozen=True)
class PlantedIncident:
    """A planted incident: `start` <= time < `end` (aware UTC).

    `metrics`: the metrics that change. `slice`: the (column, value) of the affected users; None for everybody. `depth`: change of
    the affected rows as a share; at -1 all are lost, at +1 each comes twice. A slow leak reaches its depth at its end.
    """

    kind: str
    start: datetime
    end: datetime
    metrics: tuple[str, ...]
    slice: tuple[str, str] | None
    depth: float


# kind, days before the app's birth, time of day in HOME, length, metrics, segment, depth
Plan = tuple[str, int, time, timedelta, tuple[str, ...], tuple[str, str] | None, float]
PLANS: tuple[Plan, ...] = (  # the first 28 of 56 days stay clean; at least two days lie between any two
    (LEAKING, 27, time(9, 0), timedelta(days=3), FEED_METRICS, ("source", "organic"), -0.5),
    ("outage", 21, time(14, 10), timedelta(minutes=50), FEED_METRICS + CHAT_METRICS, None, -1.0),
    ("os_down", 17, time(19, 25), timedelta(minutes=80), FEED_METRICS + CHAT_METRICS, ("os", "iOS"), -1.0),
    ("ctr_drop", 13, time(12, 0), timedelta(hours=3), ("likes", "ctr"), ("exp_group", "2"), -0.95),
    ("messenger_down", 9, time(11, 40), timedelta(minutes=90), CHAT_METRICS, None, -1.0),
    ("duplicates", 5, time(20, 15), timedelta(minutes=60), ("views", "likes"), None, 1.0),
)
# A new user's first run must have an alert at any hour, and later runs its end. Tried against a 3 IQR band over the same time
# of 14 days: an exp_group (a fifth of the likes) is lost in a night's noise, iOS (-38 %) is seen in two runs of three, Android
# (-52 %) nearly always.
ONGOING_SINCE, ONGOING_FOR = timedelta(minutes=45), timedelta(hours=2)  # before and after the birth
ONGOING = ("like_button_broken", ("likes", "ctr"), ("os", "Android"), -0.9)


def planted_incidents(app: SampleApp) -> list[PlantedIncident]:
    """Return the incidents planted into the app, oldest first. Incidents before its first day are left out."""
    if app.incidents == "none":
        return []
    planted = []
    for kind, days_before, clock, length, metrics, segment, depth in PLANS:
        day = app.birth.astimezone(HOME).date() - timedelta(days=days_before)
        start = datetime.combine(day, clock, HOME).astimezone(UTC)
        planted.append(PlantedIncident(kind, start, start + length, metrics, segment, depth))
    kind, metrics, segment, depth = ONGOING
    planted.append(PlantedIncident(kind, app.birth - ONGOING_SINCE, app.birth + ONGOING_FOR, metrics, segment, depth))
    return [incident for incident in planted if epoch(incident.start) >= app.first_day * DAY]


def apply_incidents(rows: pd.DataFrame, people: pd.DataFrame, incidents: list[PlantedIncident]) -> pd.DataFrame:
    """Return the rows that reach the database: some are lost, some come twice."""
    copies, time = np.ones(len(rows), dtype=np.int64), rows["time"].to_numpy()
    for incident in incidents:
        if len(copies) and epoch(incident.start) <= time[-1] and time[0] < epoch(incident.end):
            copies = np.where(_rows_hit(rows, people, incident), 2 if incident.depth > 0 else 0, copies)
    return rows if (copies == 1).all() else rows.iloc[np.repeat(np.arange(len(copies)), copies)]


def _rows_hit(rows: pd.DataFrame, people: pd.DataFrame, incident: PlantedIncident) -> np.ndarray:
    """Return one bool per row: whether the incident affects it. The choice is by user, as for a broken release."""
    user, time = rows["user"].to_numpy(), rows["time"].to_numpy()
    start, end = epoch(incident.start), epoch(incident.end)
    during = (start <= time) & (time < end)
    counted = np.array([metric in incident.metrics for metric in COUNTED])[rows["kind"]]
    grown = (time - start) / (end - start) if incident.kind == LEAKING else 1.0
    hit = during & counted & (people["fate"].to_numpy()[user] < abs(incident.depth) * grown)
    if incident.slice is None:
        return hit
    column, value = incident.slice
    code = NAMES[column].index(value) if column in NAMES else int(value)
    return hit & (people[column].to_numpy()[user] == code)
