"""A replay in review: buckets that nearly opened an incident, and the incidents that other widths would find or lose. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pandas as pd

from alerting.backtest.replay import OPENINGS, RECOVERY, WEEK, BacktestData, KnownSpan, Progress, Replay
from alerting.incidents.grouping import update_incidents
from alerting.model.incident import Event, Incident
from alerting.model.metric import Metric
from alerting.model.tables import DisplayList
from alerting.model.verdict import Episode, EpisodeState, Status, Verdict
from alerting.pipeline.advance import fold_episodes

WIDTH_FACTORS = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5)
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


def at_widths(
    past: BacktestData, truths: Sequence[KnownSpan], factors: Sequence[float] = WIDTH_FACTORS, track: Progress = iter
) -> pd.DataFrame:
    """Replay the past with all widths times each factor.

    One row per factor: incidents a week, the number of `truths` that are `found`, and the names of those `lost`. Each band is
    computed once.
    """
    bands = {metric.name: past.band(metric) for metric in track(list(past.metrics))}
    weeks = (past.end - past.start) / WEEK
    rows = {}
    for factor in track(list(factors)):
        metrics = [replace(metric, width=metric.width * factor) for metric in past.metrics]
        events = [event for metric in metrics for event in past.replay(metric, bands[metric.name]).events]
        steps = {metric.name: metric.step for metric in metrics}
        lost = [truth for truth in truths if not any(is_found(event, truth, steps[event.metric]) for event in events)]
        rows[factor] = {
            "incidents a week": len(group_events(metrics, events)) / weeks,
            "found": len(truths) - len(lost),
            "lost": "; ".join(truth_name(past, truth) for truth in lost),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("times the width")


def is_found(event: Event, truth: KnownSpan, step: timedelta) -> bool:
    """Return whether the event opens during the true incident or in its recovery, and is about one of its metrics."""
    in_time = truth.start - step < event.bucket < truth.end + RECOVERY
    return in_time and event.kind in OPENINGS and truth.concerns(event.metric)


def truth_name(past: BacktestData, truth: KnownSpan) -> str:
    """Return the incident's first two metrics and its start in local time: "views, likes Tue 24 Nov 12:15"."""
    names = [metric.name for metric in past.metrics if truth.concerns(metric.name)]
    more = f" +{len(names) - 2}" if len(names) > 2 else ""
    return f"{', '.join(names[:2])}{more} {pd.Timestamp(truth.start).tz_convert(past.zone):%a %d %b %H:%M}"
