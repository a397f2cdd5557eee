"""Episodes that are one story, and the events there are to tell of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any

from alerting.model.metric import Policy
from alerting.model.verdict import Episode, EventKind, Label, Status, Verdict


@dataclass(frozen=True)
class Member:
    """One metric's part in an incident."""

    metric: str
    since: datetime  # first odd bucket
    joined: datetime  # bucket of the event that made it a member
    first: Verdict  # that event's verdict
    gap: bool = False  # it has no data, rather than odd data
    until: datetime | None = None  # first bucket that was well again; None: still off
    worst: Verdict | None = None  # farthest outside, as far as it is known
    lost: float = 0.0  # as in Episode


@dataclass(frozen=True)
class Incident:
    """Episodes that are one story, told in one thread. The first member is the root: what the opening message is about."""

    id: str  # made of the bucket and the metric that began it
    opened: datetime  # bucket at which it opened
    members: tuple[Member, ...]
    closed: datetime | None = None  # bucket at which the last member was well again
    last_notified: datetime | None = None  # bucket of what was last told of it; None: nothing yet, for it was silenced
    reopened: int = 0
    acknowledged_by: str = ""  # by whom
    snoozed_until: datetime | None = None  # told nothing of it before this instant
    muted: bool = False  # told nothing of it until it is resolved
    label: Label | None = None
    labelled_by: str = ""  # by whom
    corrected: bool = False  # late rows have taken it back
    cause: RootCause | None = None
    rarity: Rarity | None = None  # as it was when it opened
    similar: SimilarIncident | None = None
    run: str = ""  # link or path of the run that told of it first

    @property
    def open(self) -> bool:
        return self.closed is None

    @property
    def root(self) -> Member:
        return self.members[0]

    @property
    def affected(self) -> tuple[Member, ...]:
        """Members that are not well yet."""
        return tuple(member for member in self.members if member.until is None)

    @property
    def key(self) -> str:
        """Of the opening message, which all that follows answers."""
        return f"{self.id}/opened/text"

    @property
    def ref(self) -> str:
        """16 letters that stand for the incident where there is no room for its id."""
        return blake2b(self.id.encode(), digest_size=8).hexdigest()

    def member(self, metric: str) -> Member | None:
        return next((member for member in self.members if member.metric == metric), None)

    def cells(self) -> dict[str, Any]:
        """A line of a table."""
        from alerting.model.tables import percent_change

        root, worst = self.root, self.root.worst or self.root.first
        also = ", ".join(member.metric for member in self.members[1:])
        elements = self.cause.slice.elements if self.cause and self.cause.slice else ()
        known = {"metric": root.metric, "also": also, "since": root.since, "opened": self.opened, "until": self.closed}
        off = {"what": "no data" if root.gap else percent_change(worst.change), "score": worst.score}
        said = "taken back" if self.corrected else self.label.value if self.label else ""
        return known | off | {"slice": spell_segment(elements), "label": said}

    def _repr_html_(self) -> str:
        from alerting.model.tables import html_table

        return html_table([self.cells()], f"Incident {self.id}, UTC")


@dataclass(frozen=True)
class Event:
    """Something to tell: what happened, to which metric, at which bucket, and the episode as it then stood.

    What is told of an incident is an event too: its root's, with the `incident`, and the other metrics' events as `also`.
    """

    kind: EventKind
    metric: str
    bucket: datetime
    verdict: Verdict
    episode: Episode
    incident: Incident | None = None
    also: tuple[Event, ...] = ()
    quiet: bool = False  # told without a sound
    again: bool = False  # it had been over

    @property
    def key(self) -> str:
        """Made of what the event is about, so that telling it twice is seen."""
        if self.incident and self.kind in (EventKind.OPENED, EventKind.NO_DATA) and not self.again:
            return self.incident.key.removesuffix("/text")
        about = self.incident.id if self.incident else self.metric
        return f"{about}/{self.kind.value.replace(' ', '-')}/{self.bucket:%Y%m%dT%H%MZ}"

    def is_critical(self, policy: Policy, others: Iterable[Verdict] = ()) -> bool:
        """Whether it says that a metric is far from normal; `others`: verdicts that an opening tells of as well.

        What is over, missing or repeated is never critical. A score that is not known is: the value may be anything.
        """
        over = self.incident is not None and (self.incident.corrected or not self.incident.open)
        if over or self.kind not in (EventKind.OPENED, EventKind.WORSENED):
            return False
        if self.kind is EventKind.WORSENED:
            return self.verdict.status is not Status.MISSING and policy.is_critical(self.verdict)
        return any(policy.is_critical(verdict) for verdict in (self.verdict, *others))


# What is known of an incident beyond its figures: which slice carries it, how unusual it is, what it is like.


def spell_segment(elements: Iterable[Iterable[tuple[str, str]]], equals: str = "=", space: str = " ") -> str:
    """os=iOS & source=ads; os=web: each conjunction of attributes and values, one after the other."""
    return f";{space}".join(f"{space}&{space}".join(f"{name}{equals}{value}" for name, value in pairs) for pairs in elements)


@dataclass(frozen=True)
class Segment:
    """One slice of a metric at the time of a trouble: what came and what was expected of it there.

    `elements`: conjunctions of (attribute, value); several where a cause is a set of them. Of a ratio the two numbers are
    ratios; where the mix moved they are shares of what the ratio divides by.
    """

    elements: tuple[tuple[tuple[str, str], ...], ...]
    value: float
    expected: float

    @property
    def change(self) -> float:
        """As a share of expected; infinite where nothing was expected."""
        if self.expected:
            return self.value / self.expected - 1
        return float("inf") if self.value else 0.0


@dataclass(frozen=True)
class RootCause:
    """What explains an incident, as far as slices tell.

    `answer`: carried (by `slice`, the smallest set that carries the change), alike (everything moved as much), unclear.
    `others`: the other values of the attribute(s) of the slice, largest first, for what is not affected.
    """

    answer: str  # carried | alike | unclear
    effect: str = "count"  # count | rate | mix: a number of things, a ratio inside the slice, the slice's share of the whole
    slice: Segment | None = None
    share: float = float("nan")  # of the total's change that the slice carries, signed; above 1 the rest went the other way
    rest: Segment | None = None  # everything else
    others: tuple[Segment, ...] = ()
    experiment: bool = False  # the slice is a group of an experiment, and nothing else tells it apart
    imbalance: tuple[Segment, ...] = ()  # experiment groups whose share of the users is not what it was (value, expected: shares)
    new: tuple[Segment, ...] = ()  # values never seen before (value: share of all now)
    gone: tuple[Segment, ...] = ()  # values that have stopped coming (expected: share of all before)
    attributes: tuple[str, ...] = ()  # all that were looked at
    overlap: bool = False  # of distinct users: the slices add up to more than all, as some are in several


@dataclass(frozen=True)
class Rarity:
    """How unusual a value is, by the history that was read."""

    same: int = 0  # values at the same time of the same weekday before
    beyond: int = 0  # of those, how many lie on this side of the value: 0 = it is lower (or higher) than all of them
    weeks: float = 0.0  # weeks of judged history behind `times`
    times: int = 0  # troubles at least this far out in it, this one left out


@dataclass(frozen=True)
class SimilarIncident:
    """The past incident that is most like this one."""

    at: datetime
    label: Label | None = None
    url: str = ""  # of the run that told of it: web address or path
    off: Verdict | None = None  # its worst verdict
