"""Incidents: groups of episodes that belong together, each notified in one thread. Pure.

The input is the events of episodes, bucket by bucket; the output is incidents and notifications. A notification is an Event too:
the event of the metric that leads, with its `incident`, and with the events of the other metrics in `also`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from alerting.incidents.episodes import is_open, is_worse_than_notified
from alerting.model.incident import Event, Incident, Member, MetricTree
from alerting.model.metric import Metric
from alerting.model.verdict import END_KINDS, OPENING_KINDS, Episode, EpisodeState, EventKind, Status, Verdict

JOIN_ANY_WITHIN = timedelta(hours=1)  # an episode that opens within this time joins the incident, related or not
JOIN_RELATED_WITHIN = timedelta(hours=12)  # a related metric joins within this time; later it opens its own incident
REOPEN_WITHIN = timedelta(hours=3)  # an anomaly within this time after the end reopens the incident
MAX_REOPEN_MESSAGES = 2  # reopenings that send a message; later ones send only reminders

IsSilenced = Callable[[str, datetime], bool]  # (metric, bucket) -> whether a silence covers it


def update_incidents(
    known: Sequence[Incident],
    events: Sequence[Event],
    metrics: Sequence[Metric],
    silenced: IsSilenced,
    still_open: Sequence[Event] = (),
) -> tuple[list[Incident], list[Event]]:
    """Return the incidents after the metrics' events, and the notifications in the order in which the buckets ended.

    An event of a metric in an open incident belongs to that incident. A new episode does the first of these that is possible:
    it reopens an incident of its metric that closed within REOPEN_WITHIN and has no label; it joins an open incident that opened
    within JOIN_ANY_WITHIN, or JOIN_RELATED_WITHIN for a related metric; it opens an incident with all other new episodes of its
    bucket.
    Silenced events change incidents in the same way. `still_open`: one event for each metric whose episode is open after
    `events`. If late rows have withdrawn an end that was reported, the incident is reopened.
    """
    tree = MetricTree(metrics)
    grouping = IncidentGrouping({incident.id: incident for incident in known}, tree, silenced)

    by_end: dict[datetime, list[Event]] = {}
    for event in events:
        by_end.setdefault(event.bucket + tree.metrics[event.metric].step, []).append(event)
    for end in sorted(by_end):
        grouping.add(by_end[end])
    for event in still_open:
        grouping.keep_open(event)
    return list(grouping.incidents.values()), grouping.notifications


def one_event_each(notifications: Sequence[Event], after: Sequence[Incident]) -> list[Event]:
    """Merge the notifications of a run that judged many buckets: one event per incident, with its state after the run.

    An incident that opened and closed within the run is notified once, as resolved; its `last_notified` is None then.
    """
    by_incident: dict[str, list[Event]] = {}
    for event in notifications:
        by_incident.setdefault(event.incident.id if event.incident else event.key, []).append(event)
    incidents = {incident.id: incident for incident in after}
    return [_merged(events, incidents.get(name)) for name, events in by_incident.items()]


def _merged(events: list[Event], incident: Incident | None) -> Event:
    """Return one event in place of all events of an incident."""
    first, last = events[0], events[-1]
    opened = first.kind in OPENING_KINDS and not first.again
    if incident is None or first is last:
        return last
    if not incident.open:
        return replace(last, incident=replace(incident, last_notified=None) if opened else incident)
    if not opened:
        first = next((event for event in reversed(events) if event.kind is not EventKind.REMINDER), last)
    return replace(first, incident=incident)


def is_silent(incident: Incident, verdict: Verdict, silenced: IsSilenced) -> bool:
    """Return whether messages about this metric and bucket are silenced, muted or snoozed."""
    snoozed = incident.snoozed_until is not None and verdict.bucket < incident.snoozed_until
    return snoozed or (incident.muted and incident.open) or silenced(verdict.metric, verdict.bucket)


@dataclass
class IncidentGrouping:
    """The current incidents, and the notifications so far."""

    incidents: dict[str, Incident]
    tree: MetricTree
    silenced: IsSilenced
    notifications: list[Event] = field(default_factory=list)

    def add(self, events: list[Event]) -> None:
        """Add all events of one bucket. Process ends first, because an incident may end and reopen in the same bucket."""
        opening, by_incident = list[Event](), dict[str, list[Event]]()
        for event in sorted(events, key=lambda event: event.kind in OPENING_KINDS):
            incident = self._incident_of(event)
            if incident is not None:
                by_incident.setdefault(incident.id, []).append(event)
            elif event.kind in OPENING_KINDS and not self._was_notified(event):
                opening.append(event)
        closed = [self.incidents[name] for name in by_incident if not self.incidents[name].open]
        reopened = [it for it in closed if any(event.kind in OPENING_KINDS for event in by_incident[it.id])]
        if opening and reopened:  # they go wrong together: one thread
            newest = max(reopened, key=lambda incident: incident.opened)
            by_incident[newest.id] += opening
        elif opening:
            by_incident[self._opened(opening).id] = opening
        for name, group in by_incident.items():
            self._update(self.incidents[name], group, new=group is opening)

    def keep_open(self, event: Event) -> None:
        """Make sure that the metric of an open episode is affected in an open incident: reopen one, or open a new one."""
        own = [incident for incident in self.incidents.values() if incident.member(event.metric)]
        if any(incident.open and event.metric in {m.metric for m in incident.affected} for incident in own):
            return
        began = min(filter(None, (event.episode.opened, event.episode.gap_since)))
        within = {i.id: timedelta() if i.label else REOPEN_WITHIN for i in own}
        known = [i for i in own if i.open or (i.closed and _may_reopen(i) and began <= i.closed + within[i.id])]
        if known:
            self._update(max(known, key=lambda incident: (incident.open, incident.opened)), [event], new=False)
        else:
            event = replace(event, verdict=event.episode.worst or event.verdict)
            self._update(self._opened([event]), [event], new=True)

    def _incident_of(self, event: Event) -> Incident | None:
        """Return the incident of an event: one of the same metric, otherwise the newest that it may join, otherwise None."""
        newest = sorted(self.incidents.values(), key=lambda incident: incident.opened, reverse=True)
        own = [incident for incident in newest if incident.member(event.metric)]
        for incident in own:
            if incident.open:
                return incident
        if event.kind not in OPENING_KINDS or self._was_notified(event):
            return None
        for incident in own:
            if incident.closed is None or incident.label or not _may_reopen(incident):  # a label covers what a person saw
                continue
            if timedelta() < event.bucket - incident.closed <= REOPEN_WITHIN:
                return incident
        return next((incident for incident in newest if incident.open and self._may_join(incident, event)), None)

    def _was_notified(self, event: Event) -> bool:
        """Return whether a closed incident of the metric covers the bucket: late rows caused it to be judged again."""
        own = [incident for incident in self.incidents.values() if incident.member(event.metric)]
        return any(i.closed and _may_reopen(i) and i.opened <= event.bucket <= i.closed for i in own)

    def _may_join(self, incident: Incident, event: Event) -> bool:
        age = event.bucket - max(incident.opened, min(member.since for member in incident.affected))  # since it was reopened
        snoozed = incident.snoozed_until is not None and event.bucket < incident.snoozed_until
        if incident.muted or incident.label or snoozed:  # a person's decision covers what they saw, not later anomalies
            return False
        if age <= JOIN_ANY_WITHIN:
            return True
        return age <= JOIN_RELATED_WITHIN and any(self.tree.related(event.metric, m.metric) for m in incident.affected)

    def _opened(self, events: list[Event]) -> Incident:
        """Add a new incident of these events, with the root metric first and an unused id. Return it."""
        root = self.tree.lead({event.metric: event.verdict for event in events})
        members = {event.metric: _member(event) for event in sorted(events, key=lambda event: event.metric != root)}
        bucket = members[root].joined
        name = f"{bucket:%Y%m%dT%H%MZ}-{root}"
        while name in self.incidents:
            name += "-2"
        self.incidents[name] = Incident(name, bucket, tuple(members.values()))
        return self.incidents[name]

    def _update(self, before: Incident, events: list[Event], new: bool) -> None:
        """Update the incident with its events of one bucket, and add the notification, if there is one."""
        after = before
        for event in events:
            after = _with_event(after, event)
        bucket, over = max(event.bucket for event in events), not after.affected
        reopened = after.reopened + (not before.open and not over)
        if reopened > before.reopened:  # the person took the earlier part, which is over
            after = replace(after, acknowledged_by="")
        after = self._with_root(replace(after, closed=bucket if over else None, reopened=reopened))
        silent = all(is_silent(after, event.verdict, self.silenced) for event in events)
        told, kind = self._told(before, after, events, new)
        if silent and not over and before.last_notified is not None:
            after = _remember_hidden(after, events, told)
        if silent and (not over or before.last_notified is None):  # only the end of what was notified is told, without a sound
            told = []
        told = [_compared_with_notified(event, after.member(event.metric)) for event in told]
        after = _without_hidden(after, told)
        if over:
            after = replace(after, muted=False, snoozed_until=None)
        if told:  # one notification, of the metric that leads (see `MetricTree.lead`); `also` has the others
            first = self.tree.lead({event.metric: event.verdict for event in told}, after.root.metric)
            lead = next(event for event in told if event.metric == first)
            also = tuple(event for event in told if event is not lead)
            after = replace(after, last_notified=bucket)
            unannounced = over and before.last_notified is None  # the opening was silenced, so the end is the first notification
            shown = replace(after, last_notified=None) if unannounced else after
            is_again = reopened > before.reopened
            event = replace(lead, kind=kind or lead.kind, incident=shown, also=also, quiet=silent, again=is_again)
            self.notifications.append(event)
        self.incidents[after.id] = after

    def _with_root(self, incident: Incident) -> Incident:
        """Return the open incident with the member first that leads its messages.

        If the root changes, rarity and similar incident are dropped, and so is a cause that is not about the new root.
        """
        if not incident.open:
            return incident
        root = self.tree.lead({member.metric: member.worst or member.first for member in incident.affected}, incident.root.metric)
        if root == incident.root.metric:
            return incident
        cause = incident.cause if incident.cause and incident.cause.metric == root else None
        members = tuple(sorted(incident.members, key=lambda member: member.metric != root))
        return replace(incident, members=members, cause=cause, rarity=None, similar=None)

    def _told(self, before: Incident, after: Incident, events: list[Event], new: bool) -> tuple[list[Event], EventKind | None]:
        """Return the events of one bucket to notify ([] for no message), and the kind of the message; None: the events' own.

        A silence is not taken into account.
        """
        if not after.open:
            return [event for event in events if event.kind in END_KINDS], None
        if before.last_notified is None and not new:
            return [], None

        opening = [event for event in events if event.kind in OPENING_KINDS]
        if new:
            return opening, None
        if not before.open:
            # Any other opening only shows that the incident is not over yet
            worth_message = any(e.kind is EventKind.NO_DATA or e.verdict.status is Status.ANOMALOUS for e in opening)
            return opening if worth_message and after.reopened <= MAX_REOPEN_MESSAGES else [], None
        # The new root is worse than the one in the sent message
        leader = after.root.metric if after.root.metric != before.root.metric else ""
        worse = [
            e
            for e in events
            if e.kind is EventKind.WORSENED or e.metric == leader or (e in opening and self._is_notable(before, e))
        ]
        if worse:
            return worse, EventKind.WORSENED

        # A reminder of one metric is sent only if the last notification of the whole incident is old enough
        reminders = [event for event in events if event.kind is EventKind.REMINDER]
        if not reminders:
            return [], None
        remind = self.tree.metrics[reminders[0].metric].policy.remind
        due = before.last_notified is None or reminders[0].bucket - before.last_notified >= remind
        return reminders if due else [], None

    def _is_notable(self, before: Incident, event: Event) -> bool:
        """Return whether an opening within an incident is worth a message.

        A metric below the root that becomes anomalous soon after it is not notable; any other metric that joins is. A member is
        notable when it changes from anomalous to missing, or back.
        """
        member, root = before.member(event.metric), before.root.metric
        if member is not None:
            return member.until is None and member.gap != (event.kind is EventKind.NO_DATA)
        below_root = self.tree.related(event.metric, root) and self.tree.depth[event.metric] > self.tree.depth[root]
        return not (below_root and event.bucket - before.opened <= JOIN_ANY_WITHIN)


def _may_reopen(incident: Incident) -> bool:
    """Return whether the closed incident may go on: its end was that its metrics were normal."""
    return not (incident.corrected or incident.unchecked)


def _member(event: Event) -> Member:
    """Return the member of an incident for an opening event."""
    gap = event.kind is EventKind.NO_DATA
    since = (event.episode.gap_since if gap else event.episode.since) or event.bucket
    return Member(event.metric, since, event.bucket, event.verdict, gap, worst=None if gap else event.episode.worst)


def _with_event(incident: Incident, event: Event) -> Incident:
    """Return the incident after the event: its metric is added or updated."""
    member, episode = incident.member(event.metric), event.episode
    if member is None:
        return replace(incident, members=(*incident.members, _member(event))) if event.kind in OPENING_KINDS else incident
    now = member
    ended = replace(
        member, worst=episode.worst or member.worst, lost=member.lost + episode.lost, notified=None, unannounced=False
    )
    if event.kind is EventKind.OPENED and member.gap and member.until is None:
        now = _member(event)  # no "data back" came before it: late rows have shown that there was no gap
    elif event.kind in OPENING_KINDS and member.until and member.until < _member(event).since:
        now = replace(
            _member(event), joined=member.joined, first=member.first, ended=member.until
        )  # messages about a new episode count from its own start
    elif event.kind in OPENING_KINDS:
        before, worst = member.until or member.ended, member.worst or episode.worst
        now = replace(member, until=None, gap=event.kind is EventKind.NO_DATA, worst=worst, ended=before)
    elif event.kind is EventKind.RESOLVED:
        now = replace(ended, until=episode.normal_since or event.bucket)
    elif event.kind is EventKind.DATA_BACK:  # the gap is over; an anomaly that began before it may continue
        now = replace(member, gap=False) if episode.opened else replace(ended, until=episode.back_since or event.bucket)
    elif episode.worst is not None:
        now = replace(member, worst=episode.worst)
    return replace(incident, members=tuple(now if each is member else each for each in incident.members))


# What a silence hides, and what is told of it when it is over


def _remember_hidden(incident: Incident, silent: Sequence[Event], hidden: Sequence[Event]) -> Incident:
    """Return the incident, which was notified before, after silent events. `hidden`: those that would have been notified."""
    gap_goes_on = {e.metric for e in silent if e.kind is EventKind.REMINDER and e.verdict.status is Status.MISSING}
    said = {e.metric: e.episode.last_notified_verdict for e in silent if e.metric not in gap_goes_on}
    began = {e.metric for e in hidden if e.kind in OPENING_KINDS and not said[e.metric]}
    members = [m if m.until else replace(m, unannounced=m.unannounced or m.metric in began) for m in incident.members]
    members = [m if m.until or m.unannounced else replace(m, notified=m.notified or said.get(m.metric)) for m in members]
    return replace(incident, members=tuple(members))


def _compared_with_notified(event: Event, member: Member | None) -> Event:
    """Return the event, compared with the last notification of its metric before a silence, or with none if there was none."""
    if member is None or not (member.unannounced or member.notified):
        return event
    return replace(event, episode=replace(event.episode, last_notified_verdict=member.notified))


def _without_hidden(incident: Incident, told: Sequence[Event]) -> Incident:
    """Return the incident after a notification of these events."""
    names = {event.metric for event in told}
    members = tuple(replace(m, notified=None, unannounced=False) if m.metric in names else m for m in incident.members)
    return replace(incident, members=members)


def announce_unsilenced(
    incidents: Sequence[Incident],
    newest: Mapping[str, Verdict],
    episodes: Mapping[str, Episode],
    silenced: IsSilenced,
    metrics: Sequence[Metric],
) -> tuple[list[Incident], list[Event]]:
    """Return the incidents, and the events that tell what a silence has hidden, once it is over.

    They are an opening for each open incident that was silent since it opened or was reopened, and a "worsened" for each that is
    worse now than its last notification, or has more metrics. `newest`: metric -> the verdict of its newest bucket.
    """
    tree, after, told = MetricTree(metrics), list[Incident](), list[Event]()
    for incident in incidents:
        known = [m for m in incident.affected if m.metric in newest]
        audible = [m for m in known if not is_silent(_awake(incident, newest[m.metric], tree), newest[m.metric], silenced)]
        hidden = [event for m in audible for event in _hidden_event(incident, m, newest[m.metric], episodes, tree)]
        if incident.open and incident.last_notified is None and audible:
            incident = replace(incident, last_notified=newest[audible[0].metric].bucket)
            told.append(opening_event(incident, episodes))
        elif incident.open and hidden:
            first = tree.lead({event.metric: event.verdict for event in hidden}, incident.root.metric)
            lead = next(event for event in hidden if event.metric == first)
            is_again = incident.reopened > 0 and all(m.unannounced for m in incident.affected)
            incident = replace(_without_hidden(incident, hidden), last_notified=lead.bucket)
            also, kind = tuple(event for event in hidden if event is not lead), lead.kind if is_again else EventKind.WORSENED
            told.append(replace(lead, kind=kind, incident=incident, also=also, again=is_again))
        after.append(incident)
    return after, told


def _awake(incident: Incident, verdict: Verdict, tree: MetricTree) -> Incident:
    """Return the incident without its snooze if that ended before the bucket did: what it has hidden is told at once."""
    end = verdict.bucket + tree.metrics[verdict.metric].step
    return replace(incident, snoozed_until=None) if incident.snoozed_until and incident.snoozed_until < end else incident


def _hidden_event(
    incident: Incident, member: Member, verdict: Verdict, episodes: Mapping[str, Episode], tree: MetricTree
) -> Iterator[Event]:
    """Yield the event that tells what a silence has hidden of a member, unless this bucket has an event of its incident.

    `verdict`: its newest.
    """
    is_told = incident.last_notified is not None and verdict.bucket <= incident.last_notified
    is_off = verdict.status is Status.ANOMALOUS or (verdict.status is Status.MISSING and episodes[member.metric].gap_notified)
    kind = (
        EventKind.NO_DATA if verdict.status is Status.MISSING else EventKind.OPENED if member.unannounced else EventKind.WORSENED
    )
    policy, notified = tree.metrics[member.metric].policy, member.notified
    if not is_told and is_off and (member.unannounced or (notified and is_worse_than_notified(notified, verdict, policy))):
        yield _compared_with_notified(Event(kind, member.metric, verdict.bucket, verdict, episodes[member.metric]), member)


def opening_event(incident: Incident, episodes: Mapping[str, Episode], metric: str = "") -> Event:
    """Return the event that opened the incident, rebuilt from the stored incident and `episodes`. `metric`: another member's."""
    root = incident.member(metric) or incident.root
    episode = episodes.get(root.metric) or Episode(root.metric)
    if root.gap or root.first.status is Status.MISSING:  # it began as a gap, even if an anomaly followed
        return Event(EventKind.NO_DATA, root.metric, root.joined, root.first, replace(episode, gap_since=root.since), incident)
    if episode.since != root.since:  # the episode of the root is over, or a later one has begun
        episode = Episode(root.metric, EpisodeState.OK, since=root.since, worst=root.worst, lost=root.lost)
    return Event(EventKind.OPENED, root.metric, root.joined, root.first, episode, incident)


# Consistency with episodes: an incident is open exactly while one of its episodes is open


def inconsistencies(incidents: Sequence[Incident], episodes: Mapping[str, Episode]) -> list[str]:
    """Return an error text for each open incident without an open episode, and each open episode without an open incident."""
    affected = {member.metric for incident in incidents if incident.open for member in incident.affected}
    out = [
        f"incident {incident.id} is open, but none of its metrics is off"
        for incident in incidents
        if incident.open and not any(is_open(episodes.get(member.metric)) for member in incident.affected)
    ]
    return out + [
        f"{name} is off, but no incident is open" for name in episodes if is_open(episodes[name]) and name not in affected
    ]
