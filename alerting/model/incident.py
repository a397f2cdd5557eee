"""Incidents, their events, and what is known about their cause."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any

from alerting.model.tables import html_table, percent_change
from alerting.model.verdict import Episode, EventKind, Label, Verdict


@dataclass(frozen=True)
class Member:
    """One metric's part in an incident."""

    metric: str
    since: datetime  # first anomalous (or missing) bucket
    joined: datetime  # bucket of the event that made it a member
    first: Verdict  # that event's verdict
    gap: bool = False  # the metric has no data, rather than anomalous data
    until: datetime | None = None  # first normal bucket; None: still affected
    worst: Verdict | None = None  # with the largest size; None: unknown
    lost: float = 0.0  # as in Episode
    ended: datetime | None = None  # its last `until` before it was affected again


@dataclass(frozen=True)
class Incident:
    """Episodes that belong together, in one thread of the chat. The first member is the root, which the opening is about."""

    id: str  # made of the bucket and the metric that opened it
    opened: datetime  # bucket at which it opened
    members: tuple[Member, ...]
    closed: datetime | None = None  # bucket at which its last member was normal again
    last_notified: datetime | None = None  # bucket of its last notification; None: none yet, because it was silenced
    reopened: int = 0
    acknowledged_by: str = ""
    snoozed_until: datetime | None = None  # no notification before this instant
    muted: bool = False  # no notification until it is resolved
    label: Label | None = None
    labelled_by: str = ""
    corrected: bool = False  # late rows made it normal
    cause: RootCause | None = None
    rarity: Rarity | None = None  # as it was when it opened
    similar: SimilarIncident | None = None
    run: str = ""  # link or path of the run that notified it first

    @property
    def open(self) -> bool:
        return self.closed is None

    @property
    def root(self) -> Member:
        return self.members[0]

    @property
    def affected(self) -> tuple[Member, ...]:
        """Members that are not normal again."""
        return tuple(member for member in self.members if member.until is None)

    @property
    def key(self) -> str:
        """Key of the opening message, to which all later ones reply."""
        return f"{self.id}/opened/text"

    def member(self, metric: str) -> Member | None:
        return next((member for member in self.members if member.metric == metric), None)

    def cells(self) -> dict[str, Any]:
        """Return the row of a table: column -> value."""
        root, worst = self.root, self.root.worst or self.root.first
        elements = self.cause.slice.elements if self.cause and self.cause.slice else ()
        return {
            "metric": root.metric,
            "also": ", ".join(member.metric for member in self.members[1:]),
            "since": root.since,
            "opened": self.opened,
            "until": self.closed,
            "what": "no data" if root.gap else percent_change(worst.change),
            "score": worst.score,
            "slice": spell_segment(elements),
            "label": "taken back" if self.corrected else self.label.value if self.label else "",
        }

    def _repr_html_(self) -> str:
        return html_table([self.cells()], f"Incident {self.id}, UTC")


def incident_ref(id: str) -> str:
    """Return 16 hexadecimal digits that stand for an incident's id where there is no room for it."""
    return blake2b(id.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Event:
    """A change that is worth a notification: its kind, metric and bucket, and the episode as it stands then.

    An incident's notification is its root metric's event, with the `incident`; `also` holds the other metrics' events.
    """

    kind: EventKind
    metric: str
    bucket: datetime
    verdict: Verdict
    episode: Episode
    incident: Incident | None = None
    also: tuple[Event, ...] = ()
    quiet: bool = False  # sent without a sound
    again: bool = False  # the incident was reopened

    @property
    def key(self) -> str:
        """Key made of what the event is about, so that the same event is not sent twice."""
        if self.incident and self.kind in (EventKind.OPENED, EventKind.NO_DATA) and not self.again:
            return f"{self.incident.id}/opened"
        about = self.incident.id if self.incident else self.metric
        return f"{about}/{self.kind.value.replace(' ', '-')}/{self.bucket:%Y%m%dT%H%MZ}"


def spell_segment(elements: Iterable[Iterable[tuple[str, str]]], equals: str = "=", space: str = " ") -> str:
    """Return a segment's conjunctions of (attribute, value) as text, such as `os=iOS & source=ads; os=web`."""
    return f";{space}".join(f"{space}&{space}".join(f"{name}{equals}{value}" for name, value in pairs) for pairs in elements)


@dataclass(frozen=True)
class Segment:
    """A segment of a metric during an incident: its value and the expected one.

    `elements`: conjunctions of (attribute, value); several where a cause is a set of them. For a ratio both numbers are ratios;
    for a mix effect they are shares of the denominator.
    """

    elements: tuple[tuple[tuple[str, str], ...], ...]
    value: float
    expected: float

    @property
    def change(self) -> float:
        """The change as a share of expected; infinite where expected is 0."""
        if self.expected:
            return self.value / self.expected - 1
        return float("inf") if self.value else 0.0


@dataclass(frozen=True)
class RootCause:
    """The segments that explain an incident, if any.

    `answer`: carried (by `slice`, the smallest set of segments that explains the change), alike (all segments changed by the
    same share), unclear. `others`: the other values of the slice's attributes, largest first, for comparison.
    """

    answer: str  # carried | alike | unclear
    effect: str = "count"  # count | rate (the ratio inside the segment) | mix (the segment's share of the whole)
    slice: Segment | None = None
    share: float = float("nan")  # contribution of the slice to the total's change, signed; above 1: the rest moved against it
    rest: Segment | None = None  # everything else
    others: tuple[Segment, ...] = ()
    experiment: bool = False  # the slice is a group of an experiment, and nothing else distinguishes it
    imbalance: tuple[Segment, ...] = ()  # experiment groups whose share of the users has changed (value, expected: shares)
    new: tuple[Segment, ...] = ()  # values never seen before (value: share of all now)
    gone: tuple[Segment, ...] = ()  # values that do not come any more (expected: share of all before)
    attributes: tuple[str, ...] = ()  # all that were searched
    overlap: bool = False  # for distinct users: segments add up to more than the total, because users are in several


@dataclass(frozen=True)
class Rarity:
    """The rarity of a value, from the history that was read."""

    same: int = 0  # earlier values at this time of this weekday
    beyond: int = 0  # of those, how many are as extreme: 0 means that the value is lower (or higher) than all of them
    weeks: float = 0.0  # weeks of judged history behind `times`
    times: int = 0  # other episodes with at least this score in it


@dataclass(frozen=True)
class SimilarIncident:
    """The past incident that is most similar to an incident."""

    at: datetime
    label: Label | None = None
    url: str = ""  # web address or path of the run that notified it
    off: Verdict | None = None  # its worst verdict
