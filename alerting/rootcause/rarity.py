"""How rare a value is, in numbers that a message can use; and the past incident that is most similar. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from alerting.model.incident import Event, Incident, Rarity, SimilarIncident
from alerting.model.verdict import Status, Verdict

WEEK = timedelta(days=7)
SEPARATE_AFTER = timedelta(hours=6)  # anomalous buckets that are nearer than that belong to one episode
OWN_ONSET = timedelta(hours=1)  # anomalous buckets this long before the episode are its own beginning
OTHER_SEGMENT_DISTANCE = 1.0  # added to the distance of incidents of different segments


def rarity(judged: pd.DataFrame, event: Event, zone: str) -> Rarity:
    """Count the same weekdays and local times with such a value, and the past episodes that were at least as far out.

    `judged`: value, expected, score, status on the full UTC grid.
    """
    verdict, low = event.verdict, event.verdict.value < event.verdict.expected
    same = _same_times(judged["value"], event.bucket, zone)
    beyond = int((same <= verdict.value).sum() if low else (same >= verdict.value).sum())
    before = judged.loc[: (event.episode.since or event.bucket) - OWN_ONSET]
    known = before[before["expected"].notna()]
    if known.empty or not verdict.score:
        return Rarity(len(same), beyond)
    far = known[(known["status"] == Status.ANOMALOUS.value) & (known["score"] * np.sign(verdict.score) >= abs(verdict.score))]
    starts = far.index.to_series().diff().gt(SEPARATE_AFTER).sum() + (len(far) > 0)
    return Rarity(len(same), beyond, (known.index[-1] - known.index[0]) / WEEK, int(starts))


def _same_times(values: pd.Series, bucket: datetime, zone: str) -> np.ndarray:
    """Return the values at the same local time of the same weekday in all weeks before."""
    if values.empty:
        return np.array([])
    local = bucket.astimezone(ZoneInfo(zone))
    weeks = (bucket - values.index[0]) // WEEK
    times = [(local - n * WEEK).astimezone(UTC) for n in range(1, int(weeks) + 1)]
    return values.reindex(pd.DatetimeIndex(times)).dropna().to_numpy()


def most_similar(incident: Incident, verdict: Verdict, past: Sequence[Incident]) -> SimilarIncident | None:
    """Return the closed incident of the same root and direction whose depth is nearest; one of the same segment goes first."""
    closed = [i for i in past if i.id != incident.id and i.closed and not i.corrected]
    pairs = [(_distance(i, incident, verdict), i) for i in closed if i.root.metric == incident.root.metric]
    distance, best = min(pairs, key=lambda pair: pair[0], default=(float("inf"), incident))
    if distance == float("inf"):
        return None
    return SimilarIncident(best.opened, best.label, best.run, best.root.worst or best.root.first)


def _distance(past: Incident, now: Incident, verdict: Verdict) -> float:
    """Return the difference of the logs of what was left, and more for another segment; inf for incidents of another kind."""
    depth, other = verdict.change, (past.root.worst or past.root.first).change
    if not np.isfinite(depth * other) or depth * other <= 0 or past.root.gap:
        return float("inf")
    segments = [i.cause.slice.elements if i.cause and i.cause.slice else None for i in (past, now)]
    apart = abs(np.log(max(1 + depth, 0.01)) - np.log(max(1 + other, 0.01)))
    return float(apart + OTHER_SEGMENT_DISTANCE * (segments[0] != segments[1]))
