"""The events of one bucket after the other: which incident each belongs to, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import groupby

from alerting.incidents.metric_tree import MetricTree
from alerting.model.incident import Event, Incident, Member
from alerting.model.metric import Metric
from alerting.model.verdict import Episode, EpisodeState, EventKind, Status, Verdict

JOIN_ANY_WITHIN = timedelta(hours=1)  # what begins so soon after an incident is part of it, related or not
JOIN_RELATED_WITHIN = timedelta(hours=12)  # so long a related metric joins; later it is a story of its own
REOPEN_WITHIN = timedelta(hours=3)  # a metric that is off again so soon after the end goes on in the same thread
MAX_REOPEN_MESSAGES = 2  # times it is "again" with a message of its own; after that reminders are enough
OPENING_KINDS, ENDING_KINDS = (EventKind.OPENED, EventKind.NO_DATA), (EventKind.RESOLVED, EventKind.DATA_BACK)

IsSilenced = Callable[[str, datetime], bool]  # (metric, bucket) -> is nothing told of it?


def update_incidents(
    known: Sequence[Incident], events: Sequence[Event], metrics: Sequence[Metric], silenced: IsSilenced
) -> tuple[list[Incident], list[Event]]:
    """The incidents after the metrics' events, and what is told of them, in the order in which the buckets ended.

    An event of a metric that is part of an open incident belongs to it. A new trouble joins an open incident that began less
    than TOGETHER ago, or (for RELATED) one whose metrics it hangs together with; it goes on with its own that ended less than
    AGAIN ago; or it begins a new one with all others of its bucket. What is silenced is folded all the same.
    """
    fold = _Fold({incident.id: incident for incident in known}, MetricTree(metrics), silenced)
    step = {metric.name: metric.step for metric in metrics}
    ordered = sorted(events, key=lambda event: event.bucket + step[event.metric])
    for _, group in groupby(ordered, key=lambda event: event.bucket + step[event.metric]):
        fold.take(list(group))
    return list(fold.incidents.values()), fold.told


def one_event_each(told: Sequence[Event], after: Sequence[Incident]) -> list[Event]:
    """One event per incident of a run that judged many buckets: with its true times, as it stands at the end.

    What opened and ended within the run is told once, as over (its incident's `told` is None then).
    """
    stories: dict[str, list[Event]] = {}
    for event in told:
        stories.setdefault(event.incident.id if event.incident else event.key, []).append(event)
    now = {incident.id: incident for incident in after}
    return [_in_one(events, now.get(name)) for name, events in stories.items()]


def is_silent(incident: Incident, verdict: Verdict, silenced: IsSilenced) -> bool:
    """Nothing is told of this metric and bucket of the incident."""
    snoozed = incident.snoozed_until is not None and verdict.bucket < incident.snoozed_until
    return snoozed or (incident.muted and incident.open) or silenced(verdict.metric, verdict.bucket)


def _in_one(events: list[Event], now: Incident | None) -> Event:
    first, last = events[0], events[-1]
    opened = first.kind in OPENING_KINDS and not first.again
    if now is None or first is last:
        return last
    if not now.open:
        return replace(last, incident=replace(now, last_notified=None) if opened else now)
    news = first if opened else next((e for e in reversed(events) if e.kind is not EventKind.REMINDER), last)
    return replace(news, incident=now)


@dataclass
class _Fold:
    """The incidents as they stand, and what has been told on the way."""

    incidents: dict[str, Incident]
    tree: MetricTree
    silenced: IsSilenced
    told: list[Event] = field(default_factory=list)

    def take(self, events: list[Event]) -> None:
        """All events of one bucket; ends first, for what ends may begin again."""
        homeless, at_home = list[Event](), dict[str, list[Event]]()
        for event in sorted(events, key=lambda e: e.kind in OPENING_KINDS):
            home = self._home(event)
            if home is not None:
                at_home.setdefault(home.id, []).append(event)
            elif event.kind in OPENING_KINDS and not self._known(event):
                homeless.append(event)
        if homeless:
            at_home[self._begin(homeless).id] = homeless
        for name, mine in at_home.items():
            self._tell(self.incidents[name], mine, new=mine is homeless)

    def _known(self, event: Event) -> bool:
        """Judged again because of late rows, and told long ago."""
        mine = [incident for incident in self.incidents.values() if incident.member(event.metric)]
        return any(i.closed and not i.corrected and event.bucket <= i.closed and event.bucket >= i.opened for i in mine)

    def _home(self, event: Event) -> Incident | None:
        """The incident it belongs to: its own first, then the newest that it may be part of."""
        newest = sorted(self.incidents.values(), key=lambda incident: incident.opened, reverse=True)
        mine = [incident for incident in newest if incident.member(event.metric)]
        if own := next((incident for incident in mine if incident.open), None):
            return own
        if event.kind not in OPENING_KINDS or self._known(event):
            return None
        over = (incident for incident in mine if incident.closed and not incident.corrected)
        if again := next((i for i in over if i.closed and timedelta() < event.bucket - i.closed <= REOPEN_WITHIN), None):
            return again
        return next((incident for incident in newest if incident.open and self._joins(incident, event)), None)

    def _joins(self, incident: Incident, event: Event) -> bool:
        age = event.bucket - incident.opened
        snoozed = incident.snoozed_until is not None and event.bucket < incident.snoozed_until
        if incident.muted or incident.label or snoozed:  # people meant what they saw, not what comes later
            return False
        return age <= JOIN_ANY_WITHIN or (
            age <= JOIN_RELATED_WITHIN and any(self.tree.related(event.metric, m.metric) for m in incident.affected)
        )

    def _begin(self, events: list[Event]) -> Incident:
        root = self.tree.first(event.metric for event in events)
        members = {event.metric: _member(event) for event in sorted(events, key=lambda event: event.metric != root)}
        bucket = members[root].joined
        name = f"{bucket:%Y%m%dT%H%MZ}-{root}"
        while name in self.incidents:
            name += "-2"
        self.incidents[name] = Incident(name, bucket, tuple(members.values()))
        return self.incidents[name]

    def _tell(self, before: Incident, events: list[Event], new: bool) -> None:
        after = before
        for event in events:
            after = _changed(after, event)
        bucket, over = max(event.bucket for event in events), not after.affected
        again = not before.open and not over
        after = replace(after, closed=bucket if over else None, reopened=after.reopened + again)
        loud = not all(is_silent(after, event.verdict, self.silenced) for event in events)
        news = self._news(before, after, events, new, loud)
        if over:
            after = replace(after, muted=False, snoozed_until=None)
        if news is not None:
            after = replace(after, last_notified=bucket)
            untold = over and before.last_notified is None  # its opening was silenced: its end is the first that is heard of it
            self.told.append(replace(news, incident=replace(after, last_notified=None) if untold else after))
        self.incidents[after.id] = after

    def _news(self, before: Incident, after: Incident, events: list[Event], new: bool, loud: bool) -> Event | None:
        """What is told of it, if anything: one event, with the others beside it."""
        if not after.open:
            return self._end(before, after, events, loud)
        if not loud or (before.last_notified is None and not new):
            return None
        begun = [e for e in events if e.kind in OPENING_KINDS]
        if new:
            return self._led(begun, after)
        if not before.open:
            return replace(self._led(begun, after), again=True) if after.reopened <= MAX_REOPEN_MESSAGES else None
        worse = [e for e in events if e.kind is EventKind.WORSENED or (e in begun and self._matters(before, e))]
        if worse:
            return replace(self._led(worse, after), kind=EventKind.WORSENED)
        due = [e for e in events if e.kind is EventKind.REMINDER]
        return self._led(due, after) if due and self._long_ago(before, due[0]) else None

    def _matters(self, before: Incident, event: Event) -> bool:
        """A follower that comes along soon is seen in the opening message; anything else that joins is news."""
        mine = before.member(event.metric)
        if mine is not None:  # it turns from odd data to none, or back
            return mine.until is None and mine.gap != (event.kind is EventKind.NO_DATA)
        root = before.root.metric
        follows = self.tree.related(event.metric, root) and self.tree.depth(event.metric) > self.tree.depth(root)
        return not (follows and event.bucket - before.opened <= JOIN_ANY_WITHIN)

    def _long_ago(self, before: Incident, event: Event) -> bool:
        """The metric's own reminder is due; so is the incident's, whichever metric was last told of."""
        return before.last_notified is None or event.bucket - before.last_notified >= self.tree.metric(event.metric).policy.remind

    def _end(self, before: Incident, after: Incident, events: list[Event], loud: bool) -> Event | None:
        ended = [event for event in events if event.kind in ENDING_KINDS]
        if not ended or (before.last_notified is None and not loud):
            return None
        return replace(self._led(ended, after), quiet=not loud)

    def _led(self, events: list[Event], after: Incident) -> Event:
        """One event for all of them, the root's first."""
        names = [event.metric for event in events]
        first = after.root.metric if after.root.metric in names else self.tree.first(names)
        lead = next(event for event in events if event.metric == first)
        return replace(lead, also=tuple(event for event in events if event is not lead))


def _member(event: Event) -> Member:
    gap = event.kind is EventKind.NO_DATA
    since = (event.episode.gap_since if gap else event.episode.since) or event.bucket
    return Member(event.metric, since, event.bucket, event.verdict, gap, worst=None if gap else event.episode.worst)


def _changed(incident: Incident, event: Event) -> Incident:
    """The incident with the event's metric as it is now."""
    mine = incident.member(event.metric)
    if mine is None:
        return replace(incident, members=(*incident.members, _member(event))) if event.kind in OPENING_KINDS else incident
    now = mine
    if (
        event.kind is EventKind.OPENED and mine.gap and mine.until is None
    ):  # no "data back" before it: late rows say it never was a gap
        now = _member(event)
    elif event.kind in OPENING_KINDS:
        now = replace(mine, until=None, gap=event.kind is EventKind.NO_DATA, worst=mine.worst or event.episode.worst)
    elif event.kind is EventKind.RESOLVED:
        now = _over(mine, event, event.episode.normal_since or event.bucket)
    elif event.kind is EventKind.DATA_BACK:  # the gap is over; a trouble from before it may not be
        now = replace(mine, gap=False) if event.episode.opened else _over(mine, event, event.bucket)
    elif event.episode.worst is not None:
        now = replace(mine, worst=event.episode.worst)
    return replace(incident, members=tuple(now if member is mine else member for member in incident.members))


def _over(mine: Member, event: Event, until: datetime) -> Member:
    return replace(mine, until=until, worst=event.episode.worst or mine.worst, lost=mine.lost + event.episode.lost)


# What becomes of incidents between events: told when a silence ends, told anew, taken back when late rows arrive.


def announce_unsilenced(
    incidents: Sequence[Incident], newest: Mapping[str, Verdict], episodes: Mapping[str, Episode], silenced: IsSilenced
) -> tuple[list[Incident], list[Event]]:
    """What was kept silent and is still going on, now that it may be told: each with its opening event.

    `newest`: metric -> the verdict of its newest bucket.
    """
    after, told = [], []
    for incident in incidents:
        loud = [m for m in incident.affected if m.metric in newest and not is_silent(incident, newest[m.metric], silenced)]
        if incident.open and incident.last_notified is None and loud:
            incident = replace(incident, last_notified=newest[loud[0].metric].bucket)
            told.append(opening_event(incident, episodes))
        after.append(incident)
    return after, told


def opening_event(incident: Incident, episodes: Mapping[str, Episode]) -> Event:
    """The event that opened it, made again from what is remembered."""
    root = incident.root
    episode = episodes.get(root.metric) or Episode(root.metric)
    if root.gap or root.first.status is Status.MISSING:  # it began as a gap, whatever came after
        return Event(EventKind.NO_DATA, root.metric, root.joined, root.first, replace(episode, gap_since=root.since), incident)
    if episode.since != root.since:  # it is over, or another trouble by now
        episode = Episode(root.metric, EpisodeState.OK, since=root.since, worst=root.worst, lost=root.lost)
    return Event(EventKind.OPENED, root.metric, root.joined, root.first, episode, incident)


def withdrawn_members(
    incident: Incident, again: Mapping[str, datetime], events: Sequence[Event], episodes: Mapping[str, Episode]
) -> list[Member]:
    """Members that late rows have taken back: judged again from `again[metric]` on, there was no trouble at all.

    `events` and `episodes`: what the metrics' new judgement gave.
    """
    begun = {event.metric for event in events if event.kind in OPENING_KINDS}
    judged = [member for member in incident.members if member.metric in again and member.joined >= again[member.metric]]
    return [member for member in judged if member.metric not in begun and not _stands(member, episodes[member.metric])]


def _stands(member: Member, episode: Episode) -> bool:
    return episode.gap_notified if member.gap else episode.opened is not None


def without_members(incident: Incident, gone: Sequence[Member], bucket: datetime) -> Incident:
    """The incident without these members; closed at `bucket` and marked as corrected when none is left."""
    left = tuple(member for member in incident.members if member not in gone)
    if not left:
        return replace(incident, closed=bucket, corrected=True)
    over = all(member.until for member in left)
    return replace(incident, members=left, closed=incident.closed or (bucket if over else None))
