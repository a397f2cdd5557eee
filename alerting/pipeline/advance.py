"""Verdicts -> episodes -> incidents and what is told of them; late rows take back what they have made normal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from alerting.incidents.grouping import announce_unsilenced, one_event_each, update_incidents, withdrawn_members, without_members
from alerting.model.incident import Event, Incident, Member, RootCause
from alerting.model.metric import Metric, Silence
from alerting.model.run import Reading
from alerting.model.verdict import Episode, EventKind, Verdict
from alerting.pipeline.context import DueBuckets, RunContext
from alerting.pipeline.judge import INCOMPLETE, StateChange, Trail, fold_episodes, notifiable
from alerting.pipeline.segment_watch import SegmentResult

SAME_VALUE = 1e-9  # relative difference of two numbers that are one
LABELS_FOR = timedelta(days=100)  # labels older than the rules look back change nothing
REOPENABLE_FOR = timedelta(days=1)  # incidents closed since then may go on


@dataclass(frozen=True)
class PreviousState:
    """What an advance starts from: episodes as they stood before the first due bucket, incidents, silences."""

    metrics: Sequence[Metric]
    episodes: dict[str, Episode] = field(default_factory=dict)
    incidents: Sequence[Incident] = ()
    silences: Sequence[Silence] = ()
    labelled: Sequence[Incident] = ()
    now: datetime | None = None
    run_link: str = ""  # link or path of the present run

    def silenced(self, metric: str, bucket: datetime) -> bool:
        step = next(m.step for m in self.metrics if m.name == metric)
        return any(silence.covers(metric, bucket, step) for silence in self.silences)


def find_changed_buckets(ctx: RunContext, due: list[DueBuckets], reading: Reading) -> list[DueBuckets]:
    """The due buckets, and before them those that late rows have changed since they were judged (for `to.mutable`).

    Raises StoreError.
    """
    if not due or not ctx.late_rows:
        return due
    judged: dict[str, list[JudgedBucket]] = {}
    oldest = min(min(item.first, item.last) for item in due)  # a clock that was ahead has judged what is not there yet
    for name, bucket, value, rule in ctx.store.judged_values(oldest - ctx.late_rows):
        judged.setdefault(name, []).append(JudgedBucket(bucket, value, rule))
    return [_again(ctx, item, judged.get(item.metric.name, []), reading) for item in due]


class JudgedBucket(NamedTuple):
    """What was answered of one bucket."""

    bucket: datetime
    value: float
    rule: str


def _again(ctx: RunContext, item: DueBuckets, judged: list[JudgedBucket], reading: Reading) -> DueBuckets:
    series = reading.series.get(item.metric.name)
    if series is None or not judged:
        return item
    waiting, step = reading.incomplete.get(item.metric.scan), item.metric.step
    values, start = series.to_numpy(float), series.index[0].to_pydatetime()
    for known in judged:
        place = (known.bucket - start) // step
        if known.bucket >= item.first or not 0 <= place < len(values):
            continue
        after = values[place + 1] if place + 1 < len(values) else float("nan")
        filled = known.rule == INCOMPLETE and waiting != known.bucket and after == after  # nothing more came, and it goes on
        if filled or not _same(known.value, float(values[place])):
            return replace(item, changed_from=known.bucket) if ctx.store.episode_before(item.metric.name, known.bucket) else item
    return item


def _same(one: float, other: float) -> bool:
    if one != one or other != other:
        return one != one and other != other
    return abs(one - other) <= SAME_VALUE * max(abs(one), abs(other))


def load_state(ctx: RunContext, due: list[DueBuckets], now: datetime) -> PreviousState:
    """What the memory holds of the time before the due buckets. Raises StoreError."""
    episodes = ctx.store.episodes()
    for item in due:
        if item.changed_from and (before := ctx.store.episode_before(item.metric.name, item.changed_from)):
            episodes[item.metric.name] = before
    known = ctx.store.incidents(now - LABELS_FOR)
    recent = [
        incident
        for incident in known
        if incident.open or (incident.closed and incident.closed > now - REOPENABLE_FOR - ctx.late_rows)
    ]
    labelled = [incident for incident in known if incident.label]
    return PreviousState(
        [*ctx.metrics, *ctx.segment_metrics],
        episodes,
        recent,
        ctx.store.silences(now - REOPENABLE_FOR),
        labelled,
        now,
        ctx.run_link,
    )


def advance(
    due: list[DueBuckets], answers: list[Verdict], before: PreviousState, watched: SegmentResult | None = None
) -> StateChange:
    """Fold the due buckets into episodes and incidents, and keep of the events what is still worth telling.

    `watched`: the verdicts of slices, which are folded as those of metrics.
    """
    trail: Trail = []
    slices = _alerting(before, watched)
    due, answers = [*due, *(item for item, _ in slices)], [*answers, *(verdict for _, verdict in slices)]
    folded = [item.metric for item in due]
    episodes, events = fold_episodes(folded, answers, before.episodes, lambda bucket, episode: trail.append((bucket, episode)))
    known, corrections = _corrected(due, answers, before, events, episodes)
    worth = [event for item in due for event in notifiable(item, events)]
    after, told = update_incidents(known, worth, before.metrics, before.silenced)
    told = one_event_each(told, after)
    newest = {verdict.metric: verdict for verdict in answers}
    after, loud = announce_unsilenced(after, newest, episodes, before.silenced)
    causes = watched.causes if watched else {}
    after = [_marked(incident, before.run_link, causes) for incident in after]
    events = [
        replace(e, incident=_marked(e.incident, before.run_link, causes)) if e.incident else e
        for e in (*corrections, *told, *loud)
    ]
    return StateChange(episodes, events, due, after, trail, newest, before.now)


def _alerting(before: PreviousState, watched: SegmentResult | None) -> list[tuple[DueBuckets, Verdict]]:
    """The stand-ins that alert, each due for its one bucket."""
    known = {metric.name: metric for metric in before.metrics if metric.segments_of and metric.slices == "alert"}
    mine = [verdict for verdict in (watched.verdicts if watched else ()) if verdict.metric in known]
    return [(DueBuckets(known[verdict.metric], verdict.bucket, verdict.bucket), verdict) for verdict in mine]


def _marked(incident: Incident, run: str, causes: Mapping[str, RootCause]) -> Incident:
    """With the run that told of it first, and the slice it is about, where it is about one."""
    cause = incident.cause or causes.get(incident.root.metric)
    return replace(incident, cause=cause, run=incident.run or (run if incident.last_notified else ""))


def _corrected(
    due: list[DueBuckets],
    answers: Sequence[Verdict],
    before: PreviousState,
    events: Sequence[Event],
    episodes: dict[str, Episode],
) -> tuple[list[Incident], list[Event]]:
    """The incidents without what late rows have made normal, and what there is to say of it."""
    again = {item.metric.name: item.changed_from for item in due if item.changed_from}
    verdicts = {(v.metric, v.bucket): v for v in answers}
    after, said = [], []
    for incident in before.incidents:
        gone = withdrawn_members(incident, again, events, episodes) if again else []
        if gone:
            incident = without_members(incident, gone, max(item.last for item in due))
            gone_now = [(member, verdicts.get((member.metric, member.joined), member.first)) for member in gone]
            told = [Event(EventKind.CORRECTED, m.metric, m.joined, v, _as_told(m), incident) for m, v in gone_now]
            if incident.last_notified is not None:
                said.append(replace(told[0], also=tuple(told[1:])))
        after.append(incident)
    return after, said


def _as_told(member: Member) -> Episode:
    """What was said of a member that is taken back."""
    return Episode(
        member.metric, since=member.since, gap_since=member.since if member.gap else None, last_notified_verdict=member.first
    )
