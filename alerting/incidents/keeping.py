"""What becomes of incidents between events: told when a silence ends, told anew, taken back when late rows arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from alerting.incidents.folding import BEGINS, Silenced, is_quiet
from alerting.model import Episode, Event, Incident, Kind, Member, State, Status, Verdict


def late(
    incidents: Sequence[Incident], newest: Mapping[str, Verdict], episodes: Mapping[str, Episode], silenced: Silenced
) -> tuple[list[Incident], list[Event]]:
    """What was kept silent and is still going on, now that it may be told: each with its opening event.

    `newest`: metric -> the verdict of its newest bucket.
    """
    after, told = [], []
    for incident in incidents:
        loud = [m for m in incident.off if m.metric in newest and not is_quiet(incident, newest[m.metric], silenced)]
        if incident.open and incident.told is None and loud:
            incident = replace(incident, told=newest[loud[0].metric].bucket)
            told.append(opening(incident, episodes))
        after.append(incident)
    return after, told


def opening(incident: Incident, episodes: Mapping[str, Episode]) -> Event:
    """The event that opened it, made again from what is remembered."""
    root = incident.root
    episode = episodes.get(root.metric) or Episode(root.metric)
    if root.gap or root.first.status is Status.MISSING:  # it began as a gap, whatever came after
        return Event(Kind.NO_DATA, root.metric, root.joined, root.first, replace(episode, gap=root.since), incident)
    if episode.since != root.since:  # it is over, or another trouble by now
        episode = Episode(root.metric, State.OK, since=root.since, worst=root.worst, lost=root.lost)
    return Event(Kind.OPENED, root.metric, root.joined, root.first, episode, incident)


def withdrawn(
    incident: Incident, again: Mapping[str, datetime], events: Sequence[Event], episodes: Mapping[str, Episode]
) -> list[Member]:
    """Members that late rows have taken back: judged again from `again[metric]` on, there was no trouble at all.

    `events` and `episodes`: what the metrics' new judgement gave.
    """
    begun = {event.metric for event in events if event.kind in BEGINS}
    judged = [member for member in incident.members if member.metric in again and member.joined >= again[member.metric]]
    return [member for member in judged if member.metric not in begun and not _stands(member, episodes[member.metric])]


def _stands(member: Member, episode: Episode) -> bool:
    return episode.gap_told if member.gap else episode.opened is not None


def without(incident: Incident, gone: Sequence[Member], bucket: datetime) -> Incident:
    """The incident without these members; closed at `bucket` and marked as corrected when none is left."""
    left = tuple(member for member in incident.members if member not in gone)
    if not left:
        return replace(incident, closed=bucket, corrected=True)
    over = all(member.until for member in left)
    return replace(incident, members=left, closed=incident.closed or (bucket if over else None))
