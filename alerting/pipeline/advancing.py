"""Verdicts -> episodes -> incidents and what is told of them; late rows take back what they have made normal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from alerting import incidents as stories
from alerting.model import Cause, Episode, Event, Incident, Kind, Member, Metric, Reading, Silence, Verdict
from alerting.pipeline.judged import INCOMPLETE
from alerting.pipeline.judging import Advance, Trail, fold, worth_telling
from alerting.pipeline.timing import Connections, Due
from alerting.pipeline.watching import Watched

SAME = 1e-9  # relative difference of two numbers that are one
LEARNED = timedelta(days=100)  # labels older than the rules look back change nothing
RECENT = timedelta(days=1)  # incidents closed since then may go on


@dataclass(frozen=True)
class Remembered:
    """What an advance starts from: episodes as they stood before the first due bucket, incidents, silences."""

    metrics: Sequence[Metric]
    episodes: dict[str, Episode] = field(default_factory=dict)
    incidents: Sequence[Incident] = ()
    silences: Sequence[Silence] = ()
    labelled: Sequence[Incident] = ()
    now: datetime | None = None
    run: str = ""  # link or path of the present run

    def silenced(self, metric: str, bucket: datetime) -> bool:
        step = next(m.step for m in self.metrics if m.name == metric)
        return any(silence.covers(metric, bucket, step) for silence in self.silences)


def reconsider(to: Connections, todo: list[Due], reading: Reading) -> list[Due]:
    """The due buckets, and before them those that late rows have changed since they were judged (for `to.mutable`).

    Raises StoreError.
    """
    if not todo or not to.mutable:
        return todo
    judged: dict[str, list[Known]] = {}
    oldest = min(min(item.first, item.last) for item in todo)  # a clock that was ahead has judged what is not there yet
    for name, bucket, value, rule in to.store.lately(oldest - to.mutable):
        judged.setdefault(name, []).append(Known(bucket, value, rule))
    return [_again(to, item, judged.get(item.metric.name, []), reading) for item in todo]


class Known(NamedTuple):
    """What was answered of one bucket."""

    bucket: datetime
    value: float
    rule: str


def _again(to: Connections, item: Due, judged: list[Known], reading: Reading) -> Due:
    series = reading.series.get(item.metric.name)
    if series is None or not judged:
        return item
    waiting, step = reading.waiting.get(item.metric.scan), item.metric.step
    values, start = series.to_numpy(float), series.index[0].to_pydatetime()
    for known in judged:
        place = (known.bucket - start) // step
        if known.bucket >= item.first or not 0 <= place < len(values):
            continue
        after = values[place + 1] if place + 1 < len(values) else float("nan")
        filled = known.rule == INCOMPLETE and waiting != known.bucket and after == after  # nothing more came, and it goes on
        if filled or not _same(known.value, float(values[place])):
            return replace(item, again=known.bucket) if to.store.episode_before(item.metric.name, known.bucket) else item
    return item


def _same(one: float, other: float) -> bool:
    if one != one or other != other:
        return one != one and other != other
    return abs(one - other) <= SAME * max(abs(one), abs(other))


def recall(to: Connections, todo: list[Due], now: datetime) -> Remembered:
    """What the memory holds of the time before the due buckets. Raises StoreError."""
    episodes = to.store.episodes()
    for item in todo:
        if item.again and (before := to.store.episode_before(item.metric.name, item.again)):
            episodes[item.metric.name] = before
    known = to.store.incidents(now - LEARNED)
    recent = [
        incident for incident in known if incident.open or (incident.closed and incident.closed > now - RECENT - to.mutable)
    ]
    labelled = [incident for incident in known if incident.label]
    return Remembered([*to.metrics, *to.stand_ins], episodes, recent, to.store.silences(now - RECENT), labelled, now, to.run)


def advance(todo: list[Due], answers: list[Verdict], before: Remembered, watched: Watched | None = None) -> Advance:
    """Fold the due buckets into episodes and incidents, and keep of the events what is still worth telling.

    `watched`: the verdicts of slices, which are folded as those of metrics.
    """
    trail: Trail = []
    slices = _alerting(before, watched)
    todo, answers = [*todo, *(item for item, _ in slices)], [*answers, *(verdict for _, verdict in slices)]
    folded = [item.metric for item in todo]
    episodes, events = fold(folded, answers, before.episodes, lambda bucket, episode: trail.append((bucket, episode)))
    known, corrections = _corrected(todo, answers, before, events, episodes)
    worth = [event for item in todo for event in worth_telling(item, events)]
    after, told = stories.advance(known, worth, before.metrics, before.silenced)
    told = stories.condensed(told, after)
    newest = {verdict.metric: verdict for verdict in answers}
    after, loud = stories.late(after, newest, episodes, before.silenced)
    causes = watched.causes if watched else {}
    after = [_marked(incident, before.run, causes) for incident in after]
    events = [
        replace(e, incident=_marked(e.incident, before.run, causes)) if e.incident else e for e in (*corrections, *told, *loud)
    ]
    return Advance(episodes, events, todo, after, trail, newest, before.now)


def _alerting(before: Remembered, watched: Watched | None) -> list[tuple[Due, Verdict]]:
    """The stand-ins that alert, each due for its one bucket."""
    known = {metric.name: metric for metric in before.metrics if metric.watches and metric.slices == "alert"}
    mine = [verdict for verdict in (watched.verdicts if watched else ()) if verdict.metric in known]
    return [(Due(known[verdict.metric], verdict.bucket, verdict.bucket), verdict) for verdict in mine]


def _marked(incident: Incident, run: str, causes: Mapping[str, Cause]) -> Incident:
    """With the run that told of it first, and the slice it is about, where it is about one."""
    cause = incident.cause or causes.get(incident.root.metric)
    return replace(incident, cause=cause, run=incident.run or (run if incident.told else ""))


def _corrected(
    todo: list[Due], answers: Sequence[Verdict], before: Remembered, events: Sequence[Event], episodes: dict[str, Episode]
) -> tuple[list[Incident], list[Event]]:
    """The incidents without what late rows have made normal, and what there is to say of it."""
    again = {item.metric.name: item.again for item in todo if item.again}
    verdicts = {(v.metric, v.bucket): v for v in answers}
    after, said = [], []
    for incident in before.incidents:
        gone = stories.withdrawn(incident, again, events, episodes) if again else []
        if gone:
            incident = stories.without(incident, gone, max(item.last for item in todo))
            gone_now = [(member, verdicts.get((member.metric, member.joined), member.first)) for member in gone]
            told = [Event(Kind.CORRECTED, m.metric, m.joined, v, _as_told(m), incident) for m, v in gone_now]
            if incident.told is not None:
                said.append(replace(told[0], also=tuple(told[1:])))
        after.append(incident)
    return after, said


def _as_told(member: Member) -> Episode:
    """What was said of a member that is taken back."""
    return Episode(member.metric, since=member.since, gap=member.since if member.gap else None, said=member.first)
