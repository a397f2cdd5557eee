"""Advance episodes and incidents by the verdicts of a run, and find the events that are worth a message.

Where late rows have made normal what was reported, the incident is corrected.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from alerting.incidents.episodes import step
from alerting.incidents.grouping import announce_unsilenced, one_event_each, update_incidents, withdrawn_members, without_members
from alerting.model.incident import Event, Incident, Member
from alerting.model.metric import Metric, Silence
from alerting.model.verdict import Episode, EventKind, Verdict
from alerting.pipeline.context import DueBuckets, RunContext
from alerting.pipeline.judge import JudgedMetrics
from alerting.pipeline.segment_watch import SegmentResult, watch_segments, without_open_totals

REOPENABLE_FOR = timedelta(days=1)  # an incident that was closed within this time may be reopened

EpisodeTrail = list[tuple[datetime, Episode]]


@dataclass(frozen=True)
class PreviousState:
    """The state before the first due bucket: episodes, incidents that may change, silences. `run_link`: of the present run."""

    metrics: Sequence[Metric]
    episodes: dict[str, Episode] = field(default_factory=dict)
    incidents: Sequence[Incident] = ()
    silences: Sequence[Silence] = ()
    now: datetime | None = None
    run_link: str = ""

    def silenced(self, metric: str, bucket: datetime) -> bool:
        length = next(m.step for m in self.metrics if m.name == metric)
        return any(silence.covers(metric, bucket, length) for silence in self.silences)


@dataclass(frozen=True)
class StateChange:
    """Every metric's episode and every incident after the due buckets, and the events to report.

    `trail`: each metric's episode after each bucket. `newest`: metric -> verdict of its newest due bucket.
    """

    episodes: dict[str, Episode] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    due: Sequence[DueBuckets] = ()
    incidents: list[Incident] = field(default_factory=list)
    trail: EpisodeTrail = field(default_factory=list)
    newest: dict[str, Verdict] = field(default_factory=dict)
    now: datetime | None = None
    segments: SegmentResult = field(default_factory=SegmentResult)

    def with_incidents(self, new: Callable[[Incident], Incident]) -> StateChange:
        """Apply `new` to every incident, also to those in the events."""
        events = [replace(event, incident=new(event.incident)) if event.incident else event for event in self.events]
        return replace(self, events=events, incidents=[new(incident) for incident in self.incidents])


def advance(ctx: RunContext, judged: JudgedMetrics, now: datetime) -> StateChange:
    """Advance the state in the store by the verdicts of the run and of the watched segments. Raises StoreError."""
    segments = watch_segments(ctx, judged.verdicts, judged.reading)
    return advance_state(judged.due, judged.verdicts, load_state(ctx, judged.due, now), segments)


def load_state(ctx: RunContext, due: Sequence[DueBuckets], now: datetime) -> PreviousState:
    """Return the state before the first due bucket or, for metrics that are judged again, before the first changed bucket.

    Raises StoreError.
    """
    episodes = ctx.store.episodes()
    for item in due:
        if item.changed_from and (before := ctx.store.episode_before(item.metric.name, item.changed_from)):
            episodes[item.metric.name] = before
    closed_since = now - REOPENABLE_FOR - ctx.late_rows
    recent = [i for i in ctx.store.incidents(closed_since) if i.open or (i.closed and i.closed > closed_since)]
    silences = ctx.store.silences(now - REOPENABLE_FOR)
    return PreviousState([*ctx.metrics, *ctx.segment_metrics], episodes, recent, silences, now, ctx.run_link)


def advance_state(
    due: Sequence[DueBuckets], verdicts: Sequence[Verdict], before: PreviousState, segments: SegmentResult | None = None
) -> StateChange:
    """Fold verdicts into episodes and incidents, and keep the events that are worth a message. Pure.

    `segments`: the verdicts of stand-ins with `slices="alert"` are folded as those of any metric.
    """
    segments = segments or SegmentResult()
    trail: EpisodeTrail = []

    def seen(bucket: datetime, episode: Episode) -> None:
        trail.append((bucket, episode))

    episodes, events = fold_episodes([item.metric for item in due], verdicts, before.episodes, seen)

    # The segments after the totals, whose episodes say whether a segment belongs to them
    segments = without_open_totals(segments, [metric for metric in before.metrics if metric.segments_of], episodes)
    stand_ins = {metric.name: metric for metric in before.metrics if metric.segments_of and metric.slices == "alert"}
    alerting = [verdict for verdict in segments.verdicts if verdict.metric in stand_ins]
    episodes, more = fold_episodes(list(stand_ins.values()), alerting, episodes, seen)
    events += more
    due = [*due, *(DueBuckets(stand_ins[v.metric], v.bucket, v.bucket) for v in alerting)]
    verdicts = [*verdicts, *alerting]
    newest = {verdict.metric: verdict for verdict in verdicts}

    known, corrections = _correct_incidents(due, verdicts, before, events, episodes)
    worth_message = [event for item in due for event in notifiable(item, events)]
    incidents, reported = update_incidents(known, worth_message, before.metrics, before.silenced)
    reported = one_event_each(reported, incidents)
    incidents, unsilenced = announce_unsilenced(incidents, newest, episodes, before.silenced)

    def with_run_and_cause(incident: Incident) -> Incident:
        run = incident.run or (before.run_link if incident.last_notified else "")  # the run that reported it first
        return replace(incident, run=run, cause=incident.cause or segments.causes.get(incident.root.metric))

    changes = StateChange(episodes, [*corrections, *reported, *unsilenced], due, incidents, trail, newest, before.now, segments)
    return changes.with_incidents(with_run_and_cause)


def fold_episodes(
    metrics: Sequence[Metric],
    verdicts: Sequence[Verdict],
    before: dict[str, Episode],
    seen: Callable[[datetime, Episode], None] | None = None,
) -> tuple[dict[str, Episode], list[Event]]:
    """Return the episodes after the verdicts, bucket by bucket, and all their events: in a run, a catch-up or a backtest.

    `seen` is called with each bucket and the episode after it.
    """
    policies = {metric.name: metric.policy for metric in metrics}
    after = dict(before)
    events: list[Event] = []
    for verdict in verdicts:
        episode = after.get(verdict.metric) or Episode(verdict.metric)
        after[verdict.metric], happened = step(episode, verdict, policies[verdict.metric])
        events += happened
        if seen:
            seen(verdict.bucket, after[verdict.metric])
    return after, events


def notifiable(item: DueBuckets, events: Sequence[Event]) -> list[Event]:
    """Return the metric's events that are worth a message.

    For a new metric: events of episodes that are still open. In a catch-up: all events except reminders before the newest
    bucket.
    """
    own = [event for event in events if event.metric == item.metric.name]
    if not item.first_look:
        return [event for event in own if event.kind is not EventKind.REMINDER or event.bucket == item.last]
    ends = {EventKind.RESOLVED: EventKind.OPENED, EventKind.DATA_BACK: EventKind.NO_DATA}
    going_on: dict[EventKind, Event] = {}
    for event in own:
        if event.kind in ends:
            going_on.pop(ends[event.kind], None)
        elif event.kind not in (EventKind.REMINDER, EventKind.WORSENED):
            going_on[event.kind] = event
    return list(going_on.values())


def _correct_incidents(
    due: Sequence[DueBuckets],
    verdicts: Sequence[Verdict],
    before: PreviousState,
    events: Sequence[Event],
    episodes: dict[str, Episode],
) -> tuple[list[Incident], list[Event]]:
    """Return the incidents without members that late rows have made normal, and a correction for each that was reported."""
    again = {item.metric.name: item.changed_from for item in due if item.changed_from}
    if not again:
        return list(before.incidents), []
    by_bucket = {(verdict.metric, verdict.bucket): verdict for verdict in verdicts}
    after, corrections = [], []
    for incident in before.incidents:
        if gone := withdrawn_members(incident, again, events, episodes):
            incident = without_members(incident, gone, max(item.last for item in due))
            if incident.last_notified is not None:
                first, *also = [_correction(m, by_bucket.get((m.metric, m.joined), m.first), incident) for m in gone]
                corrections.append(replace(first, also=tuple(also)))
        after.append(incident)
    return after, corrections


def _correction(member: Member, verdict: Verdict, incident: Incident) -> Event:
    """Return the event that withdraws a member. The event has the episode as it was last reported."""
    gap_since = member.since if member.gap else None
    reported = Episode(member.metric, since=member.since, gap_since=gap_since, last_notified_verdict=member.first)
    return Event(EventKind.CORRECTED, member.metric, member.joined, verdict, reported, incident)
