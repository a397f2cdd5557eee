"""Episodes that are one story, and the events there are to tell of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any

from alerting.model.metric import Policy
from alerting.model.trouble import Episode, Kind, Label, Status, Verdict
from alerting.model.why import Cause, Rarity, Similar, spell_segment


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
    told: datetime | None = None  # bucket of what was last told of it; None: nothing yet, for it was silenced
    reopened: int = 0
    taken: str = ""  # by whom
    snoozed: datetime | None = None  # told nothing of it before this instant
    muted: bool = False  # told nothing of it until it is resolved
    label: Label | None = None
    labelled: str = ""  # by whom
    corrected: bool = False  # late rows have taken it back
    cause: Cause | None = None
    rarity: Rarity | None = None  # as it was when it opened
    similar: Similar | None = None
    run: str = ""  # link or path of the run that told of it first

    @property
    def open(self) -> bool:
        return self.closed is None

    @property
    def root(self) -> Member:
        return self.members[0]

    @property
    def off(self) -> tuple[Member, ...]:
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
        from alerting.model.cells import share

        root, worst = self.root, self.root.worst or self.root.first
        also = ", ".join(member.metric for member in self.members[1:])
        elements = self.cause.slice.elements if self.cause and self.cause.slice else ()
        known = {"metric": root.metric, "also": also, "since": root.since, "opened": self.opened, "until": self.closed}
        off = {"what": "no data" if root.gap else share(worst.change), "score": worst.score}
        said = "taken back" if self.corrected else self.label.value if self.label else ""
        return known | off | {"slice": spell_segment(elements), "label": said}

    def _repr_html_(self) -> str:
        from alerting.model.cells import table

        return table([self.cells()], f"Incident {self.id}, UTC")


@dataclass(frozen=True)
class Event:
    """Something to tell: what happened, to which metric, at which bucket, and the episode as it then stood.

    What is told of an incident is an event too: its root's, with the `incident`, and the other metrics' events as `also`.
    """

    kind: Kind
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
        if self.incident and self.kind in (Kind.OPENED, Kind.NO_DATA) and not self.again:
            return self.incident.key.removesuffix("/text")
        about = self.incident.id if self.incident else self.metric
        return f"{about}/{self.kind.value.replace(' ', '-')}/{self.bucket:%Y%m%dT%H%MZ}"

    def is_critical(self, policy: Policy, others: Iterable[Verdict] = ()) -> bool:
        """Whether it says that a metric is far from normal; `others`: verdicts that an opening tells of as well.

        What is over, missing or repeated is never critical. A score that is not known is: the value may be anything.
        """
        over = self.incident is not None and (self.incident.corrected or not self.incident.open)
        if over or self.kind not in (Kind.OPENED, Kind.WORSENED):
            return False
        if self.kind is Kind.WORSENED:
            return self.verdict.status is not Status.MISSING and policy.is_critical(self.verdict)
        return any(policy.is_critical(verdict) for verdict in (self.verdict, *others))
