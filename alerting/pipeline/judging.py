"""Series -> verdicts -> episodes and events. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import pandas as pd

from alerting import detectors, episodes
from alerting.model import Episode, Event, Incident, Kind, Listed, Metric, Status, Verdict
from alerting.pipeline.judged import Judged
from alerting.pipeline.timing import Due

Trail = list[tuple[datetime, Episode]]


def judge_one(metric: Metric, series: pd.Series, zone: str) -> pd.DataFrame:
    """The band of the metric's rule over `series`, and every bucket's status by it."""
    return detectors.judge(series, metric.rule.band(series, zone), metric)


def verdicts(todo: list[Due], judged: Mapping[str, pd.DataFrame]) -> Listed[Verdict]:
    """The due buckets' answers, in the order in which the buckets ended; the catalogue's order among equals."""
    rows = [(verdict, item) for item in todo if item.metric.name in judged for verdict in _rows(item, judged)]
    ordered = sorted(rows, key=lambda row: row[0].bucket + row[1].metric.step)
    return Listed((verdict for verdict, _ in ordered), "verdicts")


def earlier(todo: Sequence[Due], judged: Judged) -> list[Verdict]:
    """What a metric that was never judged has to show of the time before its due buckets: a picture goes back two days."""
    fresh = [item for item in todo if item.fresh and item.metric.name in judged]
    shown = [replace(item, first=judged.begins(item.metric.name), last=item.begin - item.metric.step) for item in fresh]
    return [verdict for item in shown for verdict in _rows(item, judged)]


def _rows(item: Due, judged: Mapping[str, pd.DataFrame]) -> Iterator[Verdict]:
    frame = judged.due(item) if isinstance(judged, Judged) else judged[item.metric.name].loc[item.begin : item.last]
    buckets = frame.index.to_pydatetime() if isinstance(frame, pd.DataFrame) else frame.pop("bucket")
    columns = (frame[name].tolist() for name in ("status", "value", "low", "expected", "high", "score", "rule", "news", "usual"))
    for bucket, status, *numbers in zip(buckets, *columns, strict=True):
        yield Verdict(item.metric.name, bucket, Status(status), *numbers)


@dataclass(frozen=True)
class Advance:
    """What the due buckets changed: every metric's episode and every incident as they stand now, and what there is to tell.

    `trail`: each metric's episode after each bucket. `newest`: metric -> the answer of its newest due bucket.
    """

    episodes: dict[str, Episode] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    todo: list[Due] = field(default_factory=list)
    incidents: list[Incident] = field(default_factory=list)
    trail: Trail = field(default_factory=list)
    newest: dict[str, Verdict] = field(default_factory=dict)
    now: datetime | None = None


def fold(
    metrics: Sequence[Metric],
    answers: Sequence[Verdict],
    before: dict[str, Episode],
    seen: Callable[[datetime, Episode], None] | None = None,
) -> tuple[dict[str, Episode], list[Event]]:
    """The episodes after the verdicts, bucket by bucket, and every event on the way: live, catching up, or in a backtest.

    `seen` is shown each episode as it stands after a bucket.
    """
    policies = {metric.name: metric.policy for metric in metrics}
    after = dict(before)
    events: list[Event] = []
    for verdict in answers:
        episode = after.get(verdict.metric) or Episode(verdict.metric)
        after[verdict.metric], happened = episodes.step(episode, verdict, policies[verdict.metric])
        events += happened
        if seen:
            seen(verdict.bucket, after[verdict.metric])
    return after, events


def worth_telling(item: Due, events: Sequence[Event]) -> list[Event]:
    """On the first look only what is still going on; in a catch-up no reminder but the newest bucket's."""
    mine = [e for e in events if e.metric == item.metric.name]
    if not item.fresh:
        return [e for e in mine if e.kind is not Kind.REMINDER or e.bucket == item.last]
    closed = {Kind.RESOLVED: Kind.OPENED, Kind.DATA_BACK: Kind.NO_DATA}
    going_on: dict[Kind, Event] = {}
    for event in mine:
        if event.kind in closed:
            going_on.pop(closed[event.kind], None)
        elif event.kind not in (Kind.REMINDER, Kind.WORSENED):
            going_on[event.kind] = event
    return list(going_on.values())
