"""A replay: the steps of a live run (`pipeline.judge`) over a long past. No detector has a second version here. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from alerting import detectors
from alerting.incidents.grouping import update_incidents
from alerting.model.incident import Event, Incident
from alerting.model.metric import Metric
from alerting.model.tables import DisplayList, DisplayTable, bucket_text, cell_text, html_table, percent_change
from alerting.model.verdict import OPENING_KINDS, EpisodeState, EventKind, Status, Verdict
from alerting.pipeline.advance import EpisodeTrail, fold_episodes
from alerting.pipeline.context import buckets_between
from alerting.pipeline.judged import band, judge_whole, verdicts

Progress = Callable[[Sequence[Any]], Iterable[Any]]  # wraps a sequence in a progress bar, as tqdm does; `iter` shows none
WEEK = timedelta(weeks=1)
RECOVERY = timedelta(hours=1)  # the return to normal after a known incident still belongs to it
MIN_DISTANCE = timedelta(hours=3)  # between two near misses of one metric


@dataclass(frozen=True)
class KnownSpan:
    """The time (`start` <= bucket < `end`, aware UTC) and the metrics of a planted incident, a label or an injected fault.

    No metrics: all of them.
    """

    start: datetime
    end: datetime
    metrics: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError(f"Span {self.start} .. {self.end}: give aware times")
        if not self.start < self.end:
            raise ValueError(f"Span {self.start} .. {self.end}: it ends before it begins")

    def concerns(self, metric: str) -> bool:
        """Return whether it is about that metric."""
        return not self.metrics or metric in self.metrics


def covered_buckets(
    index: pd.DatetimeIndex, spans: Iterable[KnownSpan], metric: str, after: timedelta = timedelta()
) -> np.ndarray:
    """Return which buckets (bool) of `index` overlap a span of that metric or begin less than `after` behind its end.

    A partial overlap counts: `start` need not be the start of a bucket.
    """
    covered = np.zeros(len(index), dtype=bool)
    step = index[1] - index[0] if len(index) > 1 else pd.Timedelta(0)
    for span in spans:
        if span.concerns(metric):
            covered |= np.asarray((index > span.start - step) & (index < span.end + after))
    return covered


@dataclass(frozen=True)
class BacktestData:
    """A past to backtest: buckets with `start` <= bucket < `end` (aware UTC) are judged, the earlier ones are history.

    `series`: metric -> float64 values on the full UTC grid. `known`: incidents that are known to be real (labelled or
    planted), and other spans that must not count as false alerts. `volumes`: metric -> the denominators of a ratio.
    """

    metrics: Sequence[Metric]
    series: Mapping[str, pd.Series]
    start: datetime
    end: datetime
    zone: str = "UTC"
    known: Sequence[KnownSpan] = ()
    volumes: Mapping[str, pd.Series] = field(default_factory=dict)

    @property
    def weeks(self) -> range:
        """The numbers of its whole weeks: 0, 1 ..."""
        return range((self.end - self.start) // WEEK)

    @property
    def metrics_with_values(self) -> list[Metric]:
        return [metric for metric in self.metrics if metric.name in self.series]

    def values(self) -> dict[str, pd.Series]:
        """Return metric -> its values from `start` on."""
        return {m.name: self.series[m.name].loc[self.start : self.end - m.step] for m in self.metrics_with_values}

    def in_known(self, metric: Metric, index: pd.DatetimeIndex) -> np.ndarray:
        """Return which buckets (bool) lie in a known incident of that metric or in the recovery after one."""
        return covered_buckets(index, self.known, metric.name, RECOVERY)

    def band(self, metric: Metric) -> pd.DataFrame:
        """Return the band of the metric's detector over the whole series, history included."""
        return band(metric, self.series[metric.name], self.zone, self.volumes.get(metric.name))

    def replay(self, metric: Metric, band: pd.DataFrame) -> Replay:
        """Replay one metric in that band, with the metric's width and policy."""
        values, span = self.series[metric.name], slice(self.start, self.end - metric.step)
        judged = detectors.judge(values.loc[span], band.loc[span], metric)
        return replay_judged([metric], {metric.name: judged}, self.start, self.end)

    def replay_all(self, track: Progress = iter) -> Replay:
        """Judge every metric that has values and fold the verdicts into episodes, exactly as a run does."""
        metrics, errors = self.metrics_with_values, dict[str, str]()
        judged = judge_whole(list(track(metrics)), self.series, self.zone, self.volumes, errors)
        return replace(replay_judged(metrics, judged, self.start, self.end), zone=self.zone, errors=errors)


def replay_judged(metrics: list[Metric], judged: dict[str, pd.DataFrame], start: datetime, end: datetime) -> Replay:
    """Fold buckets that are judged already (metric -> frame as `detectors.judge` gives) into episodes.

    A metric whose first value, history included, lies after `start` begins with that, as in a run.
    """
    due = [buckets_between(metric, start, end) for metric in metrics]
    for number, item in enumerate(due):
        values = judged[item.metric.name]["value"] if item.metric.name in judged else pd.Series(dtype=float)
        begins = values.first_valid_index()
        if begins is not None and values.index[0] < item.first < begins:
            due[number] = replace(item, first=begins.to_pydatetime())
    found = verdicts(due, judged)
    return Replay(metrics, judged, found, fold_episodes(metrics, found, {})[1], start, end)


@dataclass(frozen=True)
class Replay(DisplayTable):
    """The verdicts and events of `start` <= bucket < `end` (aware UTC). A notebook cell shows times in `zone`.

    `errors`: metric -> why it could not be judged.
    """

    metrics: list[Metric]
    judged: dict[str, pd.DataFrame]
    verdicts: list[Verdict]
    events: list[Event]
    start: datetime
    end: datetime
    zone: str = "UTC"
    errors: Mapping[str, str] = field(default_factory=dict)

    def incidents(self) -> pd.DataFrame:
        """Return one row per notified episode: metric, what, since, told, until, change (share of expected at the worst
        bucket) and score."""
        rows: dict[tuple[str, object], dict[str, object]] = {}
        for event in self.events:
            gap = event.kind in (EventKind.NO_DATA, EventKind.DATA_BACK) or event.verdict.status is Status.MISSING
            since = event.episode.gap_since if gap else event.episode.since
            row = rows.setdefault((event.metric, since), {"metric": event.metric, "what": event.kind.value, "since": since})
            worst = event.episode.worst or event.verdict
            if event.kind in OPENING_KINDS:
                row |= {"told": event.bucket, "until": pd.NaT, "change": worst.change, "score": worst.score}
            elif event.kind is EventKind.RESOLVED:
                row |= {"until": event.episode.normal_since, "change": worst.change, "score": worst.score}
            elif event.kind is EventKind.DATA_BACK:
                row |= {"until": event.episode.back_since or event.bucket}
        columns = ["metric", "what", "since", "told", "until", "change", "score"]
        return pd.DataFrame(list(rows.values()), columns=columns).sort_values(["told", "metric"], ignore_index=True)

    def local_incidents(self) -> pd.DataFrame:
        """Return `incidents` with local times as text, and the dates of buckets that are days."""
        steps, frame = {metric.name: metric.step for metric in self.metrics}, self.incidents()
        for name in ("since", "told", "until"):
            buckets = zip(frame["metric"], frame[name], strict=True)
            frame[name] = ["" if pd.isna(at) else bucket_text(at, steps[metric], self.zone) for metric, at in buckets]
        return frame

    def budget(self) -> pd.DataFrame:
        """Return one row per metric: messages (with reminders), incidents, incidents a week, and buckets by status."""
        rows = {}
        for metric in self.metrics:
            kinds = [event.kind for event in self.events if event.metric == metric.name]
            opened = sum(kind in OPENING_KINDS for kind in kinds)
            a_week = round(opened / ((self.end - self.start) / WEEK), 2)
            rows[metric.name] = {"messages": len(kinds), "incidents": opened, "incidents a week": a_week}
        statuses = pd.crosstab([v.metric for v in self.verdicts], [v.status.value for v in self.verdicts])
        return pd.DataFrame.from_dict(rows, orient="index").join(statuses)

    def _repr_html_(self) -> str:
        cost: list[Any] = self.budget().reset_index(names="metric").to_dict("records")
        return super()._repr_html_() + html_table(cost, f"{len(self.events):,} messages")

    def _table(self) -> tuple[list[Any], str, str]:
        rows = [{**row, "change": percent_change(float(row["change"]))} for row in self.local_incidents().to_dict("records")]
        start, end = (cell_text(at, self.zone) for at in (self.start, self.end))
        title = f"Replay from {start} to {end} ({self.zone}): {len(rows):,} alerts"
        return rows, title, self.zone


# What a replay found: its incidents, and the buckets that nearly opened one.


def group_events(metrics: Sequence[Metric], events: Sequence[Event]) -> list[Incident]:
    """Group the events of a replay into incidents, as a run does."""
    return update_incidents([], events, metrics, lambda metric, bucket: False)[0]


def near_misses(replay: Replay, most: int = 10) -> DisplayList[Verdict]:
    """Return the highest scores outside of any notified episode, highest first; of one metric, scores hours apart.

    Only scores in the direction of the metric's policy count, and no level that was notified before.
    """
    trail: EpisodeTrail = []
    fold_episodes(replay.metrics, replay.verdicts, {}, trail)
    firing = (EpisodeState.FIRING, EpisodeState.RECOVERING)
    in_episode = {(event.metric, event.bucket) for event in replay.events}
    in_episode |= {(episode.metric, bucket) for bucket, episode in trail if episode.state in firing}
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
    return in_time and event.kind in OPENING_KINDS and truth.concerns(event.metric)
