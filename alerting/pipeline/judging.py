"""Series -> verdicts -> episodes and events. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pandas as pd

from alerting import detectors, episodes
from alerting.model import Episode, Event, Kind, Metric, Reading, Status, Verdict
from alerting.pipeline.timing import Due


def judge(metrics: list[Metric], reading: Reading, zone: str) -> dict[str, pd.DataFrame]:
    """metric -> value, low, expected, high, score, status, rule of every bucket that was read (see `detectors.judge`)."""
    return {
        metric.name: judge_one(metric, reading.series[metric.name], zone) for metric in metrics if metric.name in reading.series
    }


def judge_one(metric: Metric, series: pd.Series, zone: str) -> pd.DataFrame:
    """The band of the metric's rule over `series`, and every bucket's status by it."""
    return detectors.judge(series, metric.rule.band(series, zone), metric)


def verdicts(todo: list[Due], judged: dict[str, pd.DataFrame]) -> list[Verdict]:
    """The due buckets' answers, in the order in which the buckets ended; the catalogue's order among equals."""
    rows = [(verdict, item) for item in todo if item.metric.name in judged for verdict in _rows(item, judged[item.metric.name])]
    return [verdict for verdict, item in sorted(rows, key=lambda row: row[0].bucket + row[1].metric.step)]


def _rows(item: Due, judged: pd.DataFrame) -> Iterator[Verdict]:
    frame = judged.loc[item.first : item.last]
    columns = (frame[name].tolist() for name in ("status", "value", "low", "expected", "high", "score", "rule", "news", "usual"))
    for bucket, status, *numbers in zip(frame.index.to_pydatetime(), *columns, strict=True):
        yield Verdict(item.metric.name, bucket, Status(status), *numbers)


@dataclass(frozen=True)
class Advance:
    """What the due buckets changed: every metric's episode as it stands now, and what there is to tell."""

    episodes: dict[str, Episode] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    todo: list[Due] = field(default_factory=list)


def advance(todo: list[Due], answers: list[Verdict], before: dict[str, Episode]) -> Advance:
    """Fold the due buckets into the episodes, and keep of the events what is still worth telling."""
    after, events = fold([item.metric for item in todo], answers, before)
    return Advance(after, [event for item in todo for event in _worth_telling(item, events)], todo)


def fold(metrics: list[Metric], answers: list[Verdict], before: dict[str, Episode]) -> tuple[dict[str, Episode], list[Event]]:
    """The episodes after the verdicts, bucket by bucket, and every event on the way: live, catching up, or in a backtest."""
    policies = {metric.name: metric.policy for metric in metrics}
    after = dict(before)
    events: list[Event] = []
    for verdict in answers:
        episode = after.get(verdict.metric) or Episode(verdict.metric)
        after[verdict.metric], happened = episodes.step(episode, verdict, policies[verdict.metric])
        events += happened
    return after, events


def _worth_telling(item: Due, events: list[Event]) -> list[Event]:
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
