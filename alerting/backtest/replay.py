"""A replay: the steps of a run (`pipeline.judge`) over a long past. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
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

Progress = Callable[[Sequence[Any]], Iterable[Any]]  # wraps a sequence in a progress bar, as tqdm does; `iter` shows no bar
WEEK = timedelta(weeks=1)
RECOVERY = timedelta(hours=1)  # time after the end of a known incident that still belongs to it
MIN_DISTANCE = timedelta(hours=3)  # between two near misses of the same metric


@dataclass(frozen=True)
class KnownSpan:
    """A span of time, `start` <= time < `end` (aware), in which something is known to have happened to the metrics.

    It comes from a planted incident, a person's label or an injected fault. An empty `metrics` means all metrics. Raises
    ValueError for naive times or an end that is not after the start.
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
        """Return whether the span is about this metric."""
        return not self.metrics or metric in self.metrics


def covered_buckets(
    index: pd.DatetimeIndex, spans: Iterable[KnownSpan], metric: str, after: timedelta = timedelta()
) -> np.ndarray:
    """Return one bool per bucket of `index`: whether it overlaps a span of the metric, or begins within `after` of its end.

    A partial overlap counts, so a span can start inside a bucket.
    """
    covered = np.zeros(len(index), dtype=bool)
    step = index[1] - index[0] if len(index) > 1 else pd.Timedelta(0)
    for span in spans:
        if span.concerns(metric):
            covered |= np.asarray((index > span.start - step) & (index < span.end + after))
    return covered


@dataclass(frozen=True)
class BacktestData:
    """A past to replay. Buckets with `start` <= bucket < `end` (aware UTC) are judged; earlier buckets are history.

    `series`: metric -> float64 values on the full UTC grid, NaN where missing. `known`: incidents that are known to be real
    (labelled or planted), and other spans in which no alert counts as false. `volumes`: metric -> denominators of a ratio.
    `holidays`: dates in `zone`.
    """

    metrics: Sequence[Metric]
    series: Mapping[str, pd.Series]
    start: datetime
    end: datetime
    zone: str = "UTC"
    known: Sequence[KnownSpan] = ()
    volumes: Mapping[str, pd.Series] = field(default_factory=dict)
    holidays: frozenset[date] = frozenset()

    @property
    def weeks(self) -> range:
        """The numbers of the whole weeks from `start` on: 0, 1 ..."""
        return range((self.end - self.start) // WEEK)

    @property
    def metrics_with_values(self) -> list[Metric]:
        return [metric for metric in self.metrics if metric.name in self.series]

    def values(self) -> dict[str, pd.Series]:
        """Return metric -> its values from `start` on."""
        return {m.name: self.series[m.name].loc[self.start : self.end - m.step] for m in self.metrics_with_values}

    def in_known(self, metric: Metric, index: pd.DatetimeIndex) -> np.ndarray:
        """Return one bool per bucket of `index`: whether it is in a known incident of the metric, or within RECOVERY after it."""
        return covered_buckets(index, self.known, metric.name, RECOVERY)

    def band(self, metric: Metric) -> pd.DataFrame:
        """Return the band of the metric's detector: low, expected, high ... for each bucket, history included."""
        return band(metric, self.series[metric.name], self.zone, self.volumes.get(metric.name), self.holidays)

    def replay(self, metric: Metric, band: pd.DataFrame) -> Replay:
        """Judge one metric against `band`, with the metric's width and policy. Return the replay of this metric alone."""
        values, span = self.series[metric.name], slice(self.start, self.end - metric.step)
        volume = self.volumes[metric.name].reindex(values.index).loc[span] if metric.name in self.volumes else None
        judged = detectors.judge(values.loc[span], band.loc[span], metric, volume)
        return replay_judged([metric], {metric.name: judged}, self.start, self.end)

    def replay_all(self, track: Progress = iter) -> Replay:
        """Judge every metric that has values and build the episodes, exactly as a run does. Return the replay."""
        metrics, errors = self.metrics_with_values, dict[str, str]()
        judged = judge_whole(list(track(metrics)), self.series, self.zone, self.volumes, errors, self.holidays)
        return replace(replay_judged(metrics, judged, self.start, self.end), zone=self.zone, errors=errors)


def replay_judged(metrics: list[Metric], judged: dict[str, pd.DataFrame], start: datetime, end: datetime) -> Replay:
    """Build the episodes from judged buckets and return the replay. `judged`: metric -> frame as `detectors.judge` returns it.

    A metric whose first value, history included, is later than `start` begins with this value, as in a run.
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
        """Return one row per notified episode, ordered by the time of its alert.

        Columns: metric, what (kind of the first event), since, told and until (buckets, aware UTC), change (share of expected
        in the worst bucket) and score (of the worst bucket).
        """
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
        """Return `incidents` with times as text: local times, or dates for buckets of a day."""
        steps, frame = {metric.name: metric.step for metric in self.metrics}, self.incidents()
        for name in ("since", "told", "until"):
            buckets = zip(frame["metric"], frame[name], strict=True)
            frame[name] = ["" if pd.isna(at) else bucket_text(at, steps[metric], self.zone) for metric, at in buckets]
        return frame

    def budget(self) -> pd.DataFrame:
        """Return one row per metric: messages (reminders included), incidents, incidents a week, and one column per status.

        A status column counts the metric's buckets with this status.
        """
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


# The results of a replay: its incidents, and the buckets that nearly opened one.


def group_events(metrics: Sequence[Metric], events: Sequence[Event]) -> list[Incident]:
    """Group the events of a replay, as a run does. Return the incidents."""
    return update_incidents([], events, metrics, lambda metric, bucket: False)[0]


def near_misses(replay: Replay, most: int = 10) -> DisplayList[Verdict]:
    """Return the `most` verdicts with the highest scores outside of notified episodes, highest first.

    Two of the same metric are at least MIN_DISTANCE apart. Only scores in the direction of the metric's policy count. A level
    that was notified before does not count.
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
    """Return whether the event is an alert about a metric of the true incident, during it or within RECOVERY after it."""
    in_time = truth.start - step < event.bucket < truth.end + RECOVERY
    return in_time and event.kind in OPENING_KINDS and truth.concerns(event.metric)
