"""Advance episodes and incidents by the verdicts of a run, and find the events that are worth a message.

If late rows make a reported bucket normal, its incident is corrected.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pandas as pd

from alerting.incidents.episodes import against_level_before, is_open, notified, step
from alerting.incidents.grouping import announce_unsilenced, is_silent, one_event_each, update_incidents
from alerting.model.incident import Event, Incident, Member
from alerting.model.metric import Metric, Silence
from alerting.model.verdict import END_KINDS, OPENING_KINDS, Episode, EventKind, Verdict
from alerting.pipeline.context import DueBuckets, RunContext
from alerting.pipeline.judged import JudgedMetrics, verdict_of
from alerting.pipeline.segment_watch import SegmentResult, watch_segments, without_open_totals

REOPENABLE_FOR = timedelta(days=1)  # an incident that was closed within this time may be reopened

EpisodeTrail = list[tuple[datetime, Episode]]


@dataclass(frozen=True)
class PreviousState:
    """The state before the first due bucket.

    `incidents`: those that are open, or closed so recently that they may be reopened. `now`: the moment of the run (aware UTC).
    `run_link`: link or path of the present run.
    """

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

    `trail`: each metric's episode after each bucket. `newest`: metric -> verdict of its newest due bucket, compared with the
    level before its episode. `before`: the episodes before the due buckets. `unchecked`: incidents that were closed because the
    metrics that they affected are not checked any more.
    """

    episodes: dict[str, Episode] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    due: Sequence[DueBuckets] = ()
    incidents: list[Incident] = field(default_factory=list)
    trail: EpisodeTrail = field(default_factory=list)
    newest: dict[str, Verdict] = field(default_factory=dict)
    now: datetime | None = None
    segments: SegmentResult = field(default_factory=SegmentResult)
    before: Mapping[str, Episode] = field(default_factory=dict)
    unchecked: Sequence[Incident] = ()

    def compared(self, judged: Mapping[str, pd.DataFrame]) -> ComparedFrames:
        """Return the frames of the judged metrics with the numbers that the messages give."""
        return ComparedFrames(judged, self)

    def with_incidents(self, new: Callable[[Incident], Incident]) -> StateChange:
        """Apply `new` to every incident, also to those in the events."""
        events = [replace(event, incident=new(event.incident)) if event.incident else event for event in self.events]
        return replace(self, events=events, incidents=[new(incident) for incident in self.incidents])


@dataclass(frozen=True)
class ComparedFrames(Mapping[str, pd.DataFrame]):
    """Frames of judged metrics in which the buckets of an episode are compared with the level before it. Built on access.

    With them the table, the chart and the message show the same numbers for a bucket.
    """

    judged: Mapping[str, pd.DataFrame]
    changes: StateChange

    def __getitem__(self, name: str) -> pd.DataFrame:
        newest = self.changes.newest.get(name)
        episode = self.changes.episodes.get(name)
        if episode is None or episode.opened is None:  # it has just ended, if there was one
            episode = self.changes.before.get(name)
        return compare_frame(self.judged[name], name, episode, newest)

    def __iter__(self) -> Iterator[str]:
        return iter(self.judged)

    def __len__(self) -> int:
        return len(self.judged)


def compare_frame(frame: pd.DataFrame, name: str, episode: Episode | None, *known: Verdict | None) -> pd.DataFrame:
    """Return a judged frame in which the buckets since the episode opened are compared with the level before it.

    `known`: verdicts that replace those of their buckets; None is ignored.
    """
    since = episode.opened if episode else None
    rows = frame.loc[since:] if since and episode and episode.fell_to == episode.fell_to else frame.iloc[:0]
    found = [verdict for verdict in known if verdict is not None and verdict.bucket in frame.index]
    if episode and len(rows):
        found = [against_level_before(episode, verdict_of(name, bucket, row)) for bucket, row in rows.iterrows()] + found
    if not found:
        return frame
    frame = frame.copy()
    for verdict in found:
        frame.loc[verdict.bucket, ["low", "expected", "high", "score", "status"]] = [
            verdict.low, verdict.expected, verdict.high, verdict.score, verdict.status.value,
        ]  # fmt: skip
    return frame


def advance(ctx: RunContext, judged: JudgedMetrics, now: datetime) -> StateChange:
    """Return the state after the verdicts of the run and of the watched segments. Nothing is stored. Raises StoreError."""
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
    silences = ctx.store.silences(min([now, *(item.begin for item in due)]) - REOPENABLE_FOR)
    return PreviousState([*ctx.metrics, *ctx.segment_metrics], episodes, recent, silences, now, ctx.run_link)


def advance_state(
    due: Sequence[DueBuckets], verdicts: Sequence[Verdict], before: PreviousState, segments: SegmentResult | None = None
) -> StateChange:
    """Return the episodes and incidents after the verdicts, and the events that are worth a message. Pure.

    `segments`: the result of `watch_segments`; stand-ins with `slices="alert"` have episodes as any metric does.
    """
    before, unchecked = _end_unchecked(due, before)
    segments = segments or SegmentResult()
    trail: EpisodeTrail = []
    episodes, events = fold_episodes([item.metric for item in due], verdicts, before.episodes, trail)

    # Segments come after totals: while the episode of its total is open, a segment belongs to that
    segments = without_open_totals(segments, [metric for metric in before.metrics if metric.segments_of], episodes)
    stand_ins = {metric.name: metric for metric in before.metrics if metric.segments_of and metric.slices == "alert"}
    alerting = [verdict for verdict in segments.verdicts if verdict.metric in stand_ins]
    episodes, more = fold_episodes(list(stand_ins.values()), alerting, episodes, trail)
    events += more
    due = [*due, *(DueBuckets(stand_ins[v.metric], v.bucket, v.bucket) for v in alerting)]
    verdicts = [*verdicts, *alerting]

    newest = _newest_compared(verdicts, before.episodes, trail)
    known, corrections = _correct_incidents(due, verdicts, before, events, episodes)
    worth_message = [event for item in due for event in notifiable(item, events)]
    worth_message += _missing_ends(known, worth_message, newest, episodes)
    kinds = {name: EventKind.NO_DATA if episodes[name].gap_notified else EventKind.OPENED for name in newest}
    still_open = [Event(kinds[name], name, v.bucket, v, episodes[name]) for name, v in newest.items() if is_open(episodes[name])]
    incidents, reported = update_incidents(known, worth_message, before.metrics, before.silenced, still_open)
    reported = one_event_each(reported, incidents)
    incidents, unsilenced = announce_unsilenced(incidents, newest, episodes, before.silenced, before.metrics)
    for event in (
        each for first in unsilenced if first.again or first.kind is EventKind.WORSENED for each in (first, *first.also)
    ):
        episodes[event.metric] = notified(episodes[event.metric], event.verdict)

    def with_run_and_cause(incident: Incident) -> Incident:
        run = incident.run or (before.run_link if incident.last_notified else "")  # the run that reported it first
        return replace(incident, run=run, cause=incident.cause or segments.causes.get(incident.root.metric))

    reported = [*corrections, *reported, *unsilenced]
    changes = StateChange(episodes, reported, due, incidents, trail, newest, before.now, segments, before.episodes, unchecked)
    return changes.with_incidents(with_run_and_cause)


def _newest_compared(verdicts: Sequence[Verdict], before: Mapping[str, Episode], trail: EpisodeTrail) -> dict[str, Verdict]:
    """Return metric -> its newest verdict, compared with the level before its episode. `trail`: the episode after each one."""
    episodes, newest = dict(before), dict[str, Verdict]()
    for verdict, (_, after) in zip(verdicts, trail, strict=True):
        newest[verdict.metric] = against_level_before(episodes.get(verdict.metric), verdict)
        episodes[verdict.metric] = after
    return newest


def fold_episodes(
    metrics: Sequence[Metric],
    verdicts: Sequence[Verdict],
    before: dict[str, Episode],
    trail: EpisodeTrail | None = None,
) -> tuple[dict[str, Episode], list[Event]]:
    """Apply the verdicts in their order. Return metric -> its episode after them, and all events.

    A run, a catch-up and a backtest all use this function. `trail`: a list that gets (bucket, episode after it) per verdict.
    """
    policies = {metric.name: metric.policy for metric in metrics}
    after = dict(before)
    events: list[Event] = []
    for verdict in verdicts:
        episode = after.get(verdict.metric) or Episode(verdict.metric)
        after[verdict.metric], happened = step(episode, verdict, policies[verdict.metric])
        events += happened
        if trail is not None:
            trail.append((verdict.bucket, after[verdict.metric]))
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


def _end_unchecked(due: Sequence[DueBuckets], before: PreviousState) -> tuple[PreviousState, list[Incident]]:
    """End the open episodes of metrics that are not checked any more. Return the new state and the incidents that it closes.

    A metric that is off when it is checked again opens a new incident (`Episode.unchecked`).
    """
    checked, bucket = {metric.name for metric in before.metrics}, max((item.last for item in due), default=before.now)
    left = {name for name, episode in before.episodes.items() if is_open(episode) and name not in checked}
    left |= {member.metric for incident in before.incidents if incident.open for member in incident.affected} - checked
    if not left or bucket is None:
        return before, []
    incidents = [_without_metrics(incident, left, bucket) if incident.open else incident for incident in before.incidents]
    ended = [after for was, after in zip(before.incidents, incidents, strict=True) if was.open and not after.open]
    episodes = before.episodes | {name: Episode(name, unchecked=True) for name in left}
    return replace(before, episodes=episodes, incidents=incidents), ended


def _without_metrics(incident: Incident, gone: Collection[str], bucket: datetime) -> Incident:
    """Return the open incident with these metrics ended at `bucket`; it is closed if no other metric is affected."""
    members = tuple(replace(m, until=m.until or bucket) if m.metric in gone else m for m in incident.members)
    over = all(member.until for member in members)
    return replace(incident, members=members, closed=bucket if over else None, unchecked=over)


def _missing_ends(
    incidents: Sequence[Incident], events: Sequence[Event], newest: Mapping[str, Verdict], episodes: Mapping[str, Episode]
) -> list[Event]:
    """Return an end event for each affected member that has neither an open episode nor an event in this run.

    `newest`: metric -> the verdict of its newest bucket.
    """
    with_event = {event.metric for event in events if event.kind in (*OPENING_KINDS, *END_KINDS)}
    return [
        Event(
            EventKind.RESOLVED,
            member.metric,
            newest[member.metric].bucket,
            newest[member.metric],
            Episode(member.metric, since=member.since, worst=member.worst),
        )
        for incident in incidents
        if incident.open
        for member in incident.affected
        if member.metric in newest and member.metric not in with_event and not is_open(episodes.get(member.metric))
    ]


def _correct_incidents(
    due: Sequence[DueBuckets],
    verdicts: Sequence[Verdict],
    before: PreviousState,
    events: Sequence[Event],
    episodes: dict[str, Episode],
) -> tuple[list[Incident], list[Event]]:
    """Remove the members that late rows have made normal. Return the incidents, and a correction for each that was reported."""
    again = {item.metric.name: item.changed_from for item in due if item.changed_from}
    if not again:
        return list(before.incidents), []
    by_bucket = {(verdict.metric, verdict.bucket): verdict for verdict in verdicts}
    newest = {verdict.metric: verdict for verdict in verdicts}
    after, corrections = [], []
    for incident in before.incidents:
        if gone := _withdrawn_members(incident, again, events, episodes):
            silent = all(is_silent(incident, newest.get(m.metric, m.first), before.silenced) for m in gone)
            incident = _without_members(incident, gone, again, max(item.last for item in due))
            if incident.last_notified is not None:
                first, *also = [_correction(m, again[m.metric], by_bucket, incident) for m in gone]
                corrections.append(replace(first, also=tuple(also), quiet=silent))
        after.append(incident)
    return after, corrections


def _correction(member: Member, again: datetime, verdicts: Mapping[tuple[str, datetime], Verdict], incident: Incident) -> Event:
    """Return the event that withdraws a member, or only its second episode if it was over and had come back.

    The event holds the episode as it was reported.
    """
    is_return = member.joined < again
    bucket = again if is_return else member.joined
    verdict = verdicts.get((member.metric, bucket), member.first)
    gap_since = (again if is_return else member.since) if member.gap else None
    reported = Episode(
        member.metric, since=member.since, gap_since=gap_since, last_notified_verdict=None if is_return else member.first
    )
    return Event(EventKind.CORRECTED, member.metric, bucket, verdict, reported, incident)


def _withdrawn_members(
    incident: Incident, again: Mapping[str, datetime], events: Sequence[Event], episodes: Mapping[str, Episode]
) -> list[Member]:
    """Return the members that are no longer anomalous after late rows changed their buckets.

    `again`: metric -> the first bucket that was judged again. `events`, `episodes`: the result of judging again.
    """
    opened = {event.metric for event in events if event.kind in OPENING_KINDS}
    ended = {event.metric for event in events if event.kind in END_KINDS}
    return [
        member
        for member in incident.members
        if member.metric in again and member.metric not in opened and not is_open(episodes.get(member.metric))
        if member.joined >= again[member.metric] or (member.until is None and member.metric not in ended)
    ]


def _without_members(incident: Incident, gone: Sequence[Member], again: Mapping[str, datetime], bucket: datetime) -> Incident:
    """Return the incident without these members. A member that joined before `again` loses only what it had from then on.

    If no member is left, the incident is closed at `bucket` and marked as corrected.
    """
    left = []
    for member in incident.members:
        if member not in gone:
            left.append(member)
        elif member.joined < again[member.metric]:
            before = (
                member if member.since <= member.joined else replace(member, since=member.joined, worst=member.first, lost=0.0)
            )
            left.append(replace(before, until=member.ended or again[member.metric]))
    if not left:
        return replace(incident, closed=bucket, corrected=True)
    over = all(member.until for member in left)
    return replace(incident, members=tuple(left), closed=incident.closed or (bucket if over else None))
