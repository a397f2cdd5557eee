"""How unusual a value is, in numbers that can be said in words; and the past incident that is most like this one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from alerting.model.incident import Event, Incident, Rarity, SimilarIncident
from alerting.model.verdict import Status, Verdict

WEEK = timedelta(days=7)
SEPARATE_AFTER = timedelta(hours=6)  # odd buckets nearer than that are one trouble
OWN_ONSET = timedelta(hours=1)  # before it began, what is odd is its own beginning


def rarity(judged: pd.DataFrame, event: Event, zone: str) -> Rarity:
    """Against the same weekday and local time before, and against all troubles in the judged history on the same side.

    `judged`: value, expected, score, status on the full UTC grid.
    """
    verdict, low = event.verdict, event.verdict.value < event.verdict.expected
    same = _same_time(judged["value"], event.bucket, zone)
    beyond = int((same <= verdict.value).sum() if low else (same >= verdict.value).sum())
    before = judged.loc[: (event.episode.since or event.bucket) - OWN_ONSET]
    known = before[before["expected"].notna()]
    if known.empty or not verdict.score:
        return Rarity(len(same), beyond)
    far = known[(known["status"] == Status.ANOMALOUS.value) & (known["score"] * np.sign(verdict.score) >= abs(verdict.score))]
    starts = far.index.to_series().diff().gt(SEPARATE_AFTER).sum() + (len(far) > 0)
    return Rarity(len(same), beyond, (known.index[-1] - known.index[0]) / WEEK, int(starts))


def _same_time(values: pd.Series, bucket: datetime, zone: str) -> np.ndarray:
    """The values at the same local time of the same weekday in all weeks before."""
    if values.empty:
        return np.array([])
    local = bucket.astimezone(ZoneInfo(zone))
    weeks = (bucket - values.index[0]) // WEEK
    then = [(local - n * WEEK).astimezone(UTC) for n in range(1, int(weeks) + 1)]
    return values.reindex(pd.DatetimeIndex(then)).dropna().to_numpy()


def most_similar(incident: Incident, verdict: Verdict, past: Sequence[Incident]) -> SimilarIncident | None:
    """The closed incident of the same root, on the same side, whose depth is nearest; the same slice goes before all."""
    known = [i for i in past if i.id != incident.id and i.closed and not i.corrected and i.root.metric == incident.root.metric]
    near = [(i, _distance(i, incident, verdict)) for i in known]
    near = [(i, distance) for i, distance in near if distance < np.inf]
    if not near:
        return None
    best = min(near, key=lambda pair: pair[1])[0]
    return SimilarIncident(best.opened, best.label, best.run, best.root.worst or best.root.first)


def _distance(past: Incident, now: Incident, verdict: Verdict) -> float:
    """Between the depths, as logs of what was left; an incident of another slice is one further away."""
    depth, other = verdict.change, (past.root.worst or past.root.first).change
    if not np.isfinite(depth * other) or depth * other <= 0 or past.root.gap:
        return float("inf")
    apart = abs(np.log(max(1 + depth, 0.01)) - np.log(max(1 + other, 0.01)))
    return float(apart + (_elements(past) != _elements(now)))


def _elements(incident: Incident) -> object:
    return incident.cause.slice.elements if incident.cause and incident.cause.slice else None
