"""Keep incidents consistent with episodes: an incident is open exactly while one of its episodes is. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from alerting.model.incident import Event, Incident, Member
from alerting.model.verdict import Episode, EventKind, Status, Verdict

OPENING_KINDS, ENDING_KINDS = (EventKind.OPENED, EventKind.NO_DATA), (EventKind.RESOLVED, EventKind.DATA_BACK)


def is_open(episode: Episode | None) -> bool:
    """Return whether the metric is in an episode or a gap that was an event."""
    return episode is not None and (episode.opened is not None or episode.gap_notified)


def inconsistencies(incidents: Sequence[Incident], episodes: Mapping[str, Episode]) -> list[str]:
    """Return in words each open incident without an open episode, and each open episode without an open incident."""
    affected = {member.metric for incident in incidents if incident.open for member in incident.affected}
    out = [
        f"incident {incident.id} is open, but none of its metrics is off"
        for incident in incidents
        if incident.open and not any(is_open(episodes.get(member.metric)) for member in incident.affected)
    ]
    return out + [
        f"{name} is off, but no incident is open" for name in episodes if is_open(episodes[name]) and name not in affected
    ]


def withdrawn_members(
    incident: Incident, again: Mapping[str, datetime], events: Sequence[Event], episodes: Mapping[str, Episode]
) -> list[Member]:
    """Return the members that are no longer anomalous after late rows changed their buckets.

    `again`: metric -> the bucket from which it was judged again. `events`, `episodes`: the result of judging again.
    """
    opened = {event.metric for event in events if event.kind in OPENING_KINDS}
    ended = {event.metric for event in events if event.kind in ENDING_KINDS}
    return [
        member
        for member in incident.members
        if member.metric in again and member.metric not in opened and not is_open(episodes.get(member.metric))
        if member.joined >= again[member.metric] or (member.until is None and member.metric not in ended)
    ]


def without_members(incident: Incident, gone: Sequence[Member], again: Mapping[str, datetime], bucket: datetime) -> Incident:
    """Return the incident without these members; one that was a member before `again` only loses its return.

    If none is left, it is closed at `bucket` and marked as corrected.
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


def without_metrics(incident: Incident, gone: Collection[str], bucket: datetime) -> Incident:
    """Return an open incident in which these metrics are over at `bucket`."""
    members = tuple(replace(m, until=m.until or bucket) if m.metric in gone else m for m in incident.members)
    return replace(incident, members=members, closed=bucket if all(member.until for member in members) else None)


def missing_ends(
    incidents: Sequence[Incident], events: Sequence[Event], newest: Mapping[str, Verdict], episodes: Mapping[str, Episode]
) -> list[Event]:
    """Return an end for each member of an open incident that has neither an open episode nor an event in this run.

    `newest`: metric -> the verdict of its newest bucket.
    """
    with_event = {event.metric for event in events if event.kind in (*OPENING_KINDS, *ENDING_KINDS)}
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


def open_events(newest: Mapping[str, Verdict], episodes: Mapping[str, Episode]) -> list[Event]:
    """Return, for each judged metric whose episode is open, an event at its newest bucket that says so."""
    kinds = {name: EventKind.NO_DATA if episodes[name].gap_notified else EventKind.OPENED for name in newest}
    return [Event(kinds[name], name, v.bucket, v, episodes[name]) for name, v in newest.items() if is_open(episodes[name])]


def is_worth_message(event: Event) -> bool:
    """Return whether an event of `open_events` says more than that an incident is not over yet."""
    return event.kind is EventKind.NO_DATA or event.verdict.status is Status.ANOMALOUS
