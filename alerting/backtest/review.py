"""A replay in review: its incidents, and the buckets that nearly opened one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from alerting.backtest.replay import OPENINGS, RECOVERY, KnownSpan, Replay
from alerting.incidents.grouping import update_incidents
from alerting.model.incident import Event, Incident
from alerting.model.metric import Metric
from alerting.model.tables import DisplayList
from alerting.model.verdict import Episode, EpisodeState, Status, Verdict
from alerting.pipeline.advance import fold_episodes

MIN_DISTANCE = timedelta(hours=3)  # between two near misses of one metric


def group_events(metrics: Sequence[Metric], events: Sequence[Event]) -> list[Incident]:
    """Group the events of a replay into incidents, as a run does."""
    return update_incidents([], events, metrics, lambda metric, bucket: False)[0]


def near_misses(replay: Replay, most: int = 10) -> DisplayList[Verdict]:
    """Return the highest scores outside of any notified episode, highest first; of one metric, scores hours apart.

    Only scores in the direction of the metric's policy count, and no level that was notified before.
    """
    in_episode = {(event.metric, event.bucket) for event in replay.events}

    def add_firing(bucket: datetime, episode: Episode) -> None:
        if episode.state in (EpisodeState.FIRING, EpisodeState.RECOVERING):
            in_episode.add((episode.metric, bucket))

    fold_episodes(replay.metrics, replay.verdicts, {}, add_firing)
    directions = {metric.name: metric.policy.direction for metric in replay.metrics}
    candidates = [
        v
        for v in replay.verdicts
        if (v.is_new or v.status is not Status.ANOMALOUS)
        and v.score == v.score
        and (v.metric, v.bucket) not in in_episode
        and directions[v.metric] in ("both", "down" if v.score < 0 else "up")
    ]
    missed: list[Verdict] = []
    for verdict in sorted(candidates, key=lambda verdict: -abs(verdict.score)):
        near = (other for other in missed if other.metric == verdict.metric and abs(other.bucket - verdict.bucket) < MIN_DISTANCE)
        if len(missed) < most and not any(near):
            missed.append(verdict)
    return DisplayList(missed, "near misses")


def is_found(event: Event, truth: KnownSpan, step: timedelta) -> bool:
    """Return whether the event opens during the true incident or in its recovery, and is about one of its metrics."""
    in_time = truth.start - step < event.bucket < truth.end + RECOVERY
    return in_time and event.kind in OPENINGS and truth.concerns(event.metric)
