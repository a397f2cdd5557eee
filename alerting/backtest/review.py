"""A replay looked back at: what nearly opened something, and what other widths would have told and lost. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pandas as pd

from alerting.backtest.replay import RECOVERY, WEEK, BacktestData, KnownInterval, Progress, Replay, concerns
from alerting.incidents.grouping import update_incidents
from alerting.model.incident import Event, Incident
from alerting.model.metric import Metric
from alerting.model.tables import DisplayList
from alerting.model.verdict import EpisodeState, EventKind, Status, Verdict
from alerting.pipeline.advance import fold_episodes

WIDTH_FACTORS = (0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5)  # times the widths as they are
APART = timedelta(hours=3)  # what is nearer than that to a higher score of the same metric is the same near miss
BEGINS = (EventKind.OPENED, EventKind.NO_DATA)


def group_events(metrics: Sequence[Metric], events: Sequence[Event]) -> list[Incident]:
    """The incidents that these events would have been told as."""
    return update_incidents([], events, metrics, lambda metric, bucket: False)[0]


def near_misses(replay: Replay, most: int = 10) -> DisplayList[Verdict]:
    """The highest scores that opened nothing and lie in no trouble that was told; each metric's own peaks, farthest out first."""
    calm = sorted(_calm(replay), key=lambda verdict: -abs(verdict.score))
    missed: list[Verdict] = []
    for verdict in calm:
        same = (other for other in missed if other.metric == verdict.metric and abs(other.bucket - verdict.bucket) < APART)
        if len(missed) < most and not any(same):
            missed.append(verdict)
    return DisplayList(missed, "near misses")


def _calm(replay: Replay) -> list[Verdict]:
    """What was judged while nothing was told, on a side that the metric's policy looks at; no level that was told before."""
    told = {(event.metric, event.bucket) for event in replay.events}
    off = (EpisodeState.FIRING, EpisodeState.RECOVERING)
    fold_episodes(replay.metrics, replay.answers, {}, lambda bucket, e: told.add((e.metric, bucket)) if e.state in off else None)
    sides = {metric.name: metric.policy.direction for metric in replay.metrics}
    fresh = (verdict for verdict in replay.answers if verdict.is_new or verdict.status is not Status.ANOMALOUS)
    scored = [v for v in fresh if v.score == v.score and (v.metric, v.bucket) not in told]
    return [v for v in scored if sides[v.metric] == "both" or (v.score < 0) == (sides[v.metric] == "down")]


def at_widths(
    past: BacktestData, truths: Sequence[KnownInterval], factors: Sequence[float] = WIDTH_FACTORS, track: Progress = iter
) -> pd.DataFrame:
    """One row per factor: incidents a week with all widths times that, how many of the `truths` are found, and `lost`, those
    that are not. Every band is made once; each row is a replay of the live steps."""
    bands = {metric.name: past.band(metric) for metric in track(list(past.metrics))}
    rows = {factor: _at(past, bands, truths, factor) for factor in track(list(factors))}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("times the width")


def _at(
    past: BacktestData, bands: Mapping[str, pd.DataFrame], truths: Sequence[KnownInterval], factor: float
) -> dict[str, object]:
    metrics = [replace(metric, width=metric.width * factor) for metric in past.metrics]
    events = [event for metric in metrics for event in past.replay(metric, bands[metric.name]).events]
    steps = {metric.name: metric.step for metric in metrics}
    lost = [truth for truth in truths if not any(is_found(event, truth, steps[event.metric]) for event in events)]
    weeks = (past.end - past.start) / WEEK
    told = len(group_events(metrics, events))
    return {
        "incidents a week": told / weeks,
        "found": len(truths) - len(lost),
        "lost": "; ".join(truth_name(past, t) for t in lost),
    }


def is_found(event: Event, truth: KnownInterval, step: timedelta) -> bool:
    """The event tells of it: one of its metrics opened during it, or on the way back."""
    return event.kind in BEGINS and concerns(truth, event.metric) and truth.start - step < event.bucket < truth.end + RECOVERY


def truth_name(past: BacktestData, truth: KnownInterval) -> str:
    """views, likes Tue 24 Nov 12:15: the first of its metrics that are here, and when it began by the clock of the zone."""
    here = [metric.name for metric in past.metrics if concerns(truth, metric.name)]
    more = f" +{len(here) - 2}" if len(here) > 2 else ""
    return f"{', '.join(here[:2])}{more} {pd.Timestamp(truth.start).tz_convert(past.zone):%a %d %b %H:%M}"
