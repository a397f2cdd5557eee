"""What is wrong: verdicts, the episodes of one metric, the incidents they make, the events there are to tell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import blake2b


class Status(StrEnum):
    """The four answers to "how is this bucket?"."""

    NORMAL = "normal"
    ANOMALOUS = "anomalous"
    MISSING = "missing"  # we looked, and there is no value
    UNKNOWN = "unknown"  # there is a value, and too little history to tell


class State(StrEnum):
    """Where one metric's episode stands."""

    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    RECOVERING = "recovering"


class Kind(StrEnum):
    """What an event says, and what a message is about."""

    OPENED = "opened"
    WORSENED = "worsened"
    REMINDER = "reminder"
    RESOLVED = "resolved"
    NO_DATA = "no data"
    DATA_BACK = "data back"
    CORRECTED = "corrected"  # late rows have made it normal
    CAUSE = "cause"  # what explains it, where that came later than the alert
    TAKEN = "taken"  # somebody is on it
    SILENCED = "silenced"
    LABELLED = "labelled"
    RUN_FAILED = "run failed"
    CAUGHT_UP = "caught up"
    DIGEST = "digest"  # what could not be told in time, a line each
    DAILY = "daily"


class Label(StrEnum):
    """What a person says an incident was."""

    REAL = "real"
    FALSE_ALARM = "false alarm"
    EXPECTED = "expected"
    NEW_TREND = "new trend"


@dataclass(frozen=True)
class Verdict:
    """The answer for one metric and bucket. `score` is signed; beyond +-1 lies outside the band."""

    metric: str
    bucket: datetime
    status: Status
    value: float = float("nan")
    low: float = float("nan")
    expected: float = float("nan")
    high: float = float("nan")
    score: float = float("nan")
    reason: str = ""  # which question an anomalous bucket answers badly: sudden, sustained, level; "usual gap" of a missing one
    news: bool = True  # False: what it says was told before, as of a level that is still held wrong
    usual: float = float("nan")  # the same time of the days before, where the rule knows it

    @property
    def change(self) -> float:
        """Deviation from expected as a share, NaN where expected is 0 or unknown."""
        return (self.value - self.expected) / abs(self.expected) if self.expected else float("nan")

    @property
    def loss(self) -> float:
        """What is missing to expected (negative: what there is too much), 0 where that is not known."""
        loss = self.expected - self.value
        return loss if loss == loss else 0.0


@dataclass(frozen=True)
class Episode:
    """One metric's trouble, from its first odd bucket to the last; also its memory while nothing is wrong."""

    metric: str
    state: State = State.OK
    since: datetime | None = None  # first anomalous bucket of the present trouble
    opened: datetime | None = None  # bucket whose verdict opened it
    told: datetime | None = None  # bucket of the last event
    said: Verdict | None = None  # the anomalous verdict that was last told
    share: float = float("nan")  # of usual: what was expected when it opened, where a sudden change opened it ...
    fell_to: float = float("nan")  # ... and what there was
    worst: Verdict | None = None  # farthest outside so far
    last: Verdict | None = None  # newest verdict seen that had a value
    recent: str = ""  # newest last: one letter of the status per bucket (n, a, m, u)
    answers: str = ""  # newest last: n or a per answer since it opened, against what was expected before
    calm_since: datetime | None = None  # first normal bucket after the last anomalous one
    lost: float = 0.0  # expected less value, summed over the anomalous buckets since it opened
    gap: datetime | None = None  # first missing bucket of the present gap
    gap_told: bool = False


@dataclass(frozen=True)
class Slice:
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
class Cause:
    """What explains an incident, as far as slices tell.

    `answer`: carried (by `slice`, the smallest set that carries the change), alike (everything moved as much), unclear.
    `others`: the other values of the attribute(s) of the slice, largest first, for what is not affected.
    """

    answer: str  # carried | alike | unclear
    effect: str = "count"  # count | rate | mix: a number of things, a ratio inside the slice, the slice's share of the whole
    slice: Slice | None = None
    share: float = float("nan")  # of the total's change that the slice carries, signed; above 1 the rest went the other way
    rest: Slice | None = None  # everything else
    others: tuple[Slice, ...] = ()
    experiment: bool = False  # the slice is a group of an experiment, and nothing else tells it apart
    imbalance: tuple[Slice, ...] = ()  # experiment groups whose share of the users is not what it was (value, expected: shares)
    new: tuple[Slice, ...] = ()  # values never seen before (value: share of all now)
    gone: tuple[Slice, ...] = ()  # values that have stopped coming (expected: share of all before)
    attributes: tuple[str, ...] = ()  # all that were looked at
    overlap: bool = False  # of distinct users: the slices add up to more than all, as some are in several


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
