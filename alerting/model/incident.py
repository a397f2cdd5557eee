"""Incidents, their events, root causes and severity, and the tree of metrics that decides which episodes join one incident."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from graphlib import CycleError, TopologicalSorter
from hashlib import blake2b
from math import isfinite
from typing import Any

from alerting.model.metric import Metric, metric_with_segment, spell_segment
from alerting.model.tables import html_table, percent_change
from alerting.model.verdict import MOVED_TOO, OPENING_KINDS, Episode, EventKind, Label, Status, Verdict

CRITICAL_SIZE = 0.5  # `Verdict.size`: half of the metric is gone, or it is three times the expected
SEGMENT_GONE = -0.9  # a segment makes an incident critical if it changed by this share or further down ...
SEGMENT_PART = -0.25  # ... and because of it the metric changed by this share or further down
ROOT_SIZE = 0.1  # `Verdict.size` from which a metric counts when root metrics that are off are counted
LEADING_SHARE = 0.5  # share of the largest size from which a metric can lead a message

Roots = Mapping[str, Collection[str]]  # metric -> its root metrics; a metric whose roots are not known is left out
_UNSAFE_IN_FILE_NAME = re.compile(r"[^\w.-]")


@dataclass(frozen=True)
class Member:
    """One metric's part in an incident."""

    metric: str
    since: datetime  # first anomalous (or missing) bucket
    joined: datetime  # bucket of the event that made it a member
    first: Verdict  # that event's verdict
    gap: bool = False  # the metric has no data, rather than anomalous data
    until: datetime | None = None  # first normal bucket; None: still affected
    worst: Verdict | None = None  # the verdict with the largest size; None: unknown
    lost: float = 0.0  # as `Episode.lost`
    ended: datetime | None = None  # its last `until` before it was affected again
    notified: Verdict | None = None  # the verdict of its last notification, if a later event was silent
    unannounced: bool = False  # its beginning was silent, in an incident that was notified before

    @property
    def segment(self) -> str:
        """The watched segment that it is about, from the worst verdict; "" if it is about the whole metric."""
        return (self.worst.segment if self.worst else "") or self.first.segment

    @property
    def name(self) -> str:
        """The name of the metric, followed by the watched segment if there is one: views os=iOS."""
        return metric_with_segment(self.metric, self.segment)


@dataclass(frozen=True)
class Incident:
    """Episodes that belong together and share one thread of the chat. The opening message is about the first member, the root."""

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
    unchecked: bool = False  # closed because its metrics are not checked any more: nobody knows whether they are normal
    cause: RootCause | None = None  # the newest root cause; a message shows `Event.cause`
    rarity: Rarity | None = None  # computed when the incident opened
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
        """Return column -> value: one row of a table of incidents."""
        root, worst = self.root, self.root.worst or self.root.first
        segment = self.cause.claim.slice if self.cause else None
        return {
            "metric": root.name,
            "also": ", ".join(member.name for member in self.members[1:]),
            "since": root.since,
            "opened": self.opened,
            "until": self.closed,
            "what": "no data" if root.gap else percent_change(worst.change),
            "score": worst.score,
            "slice": spell_segment(segment.elements if segment else ()),
            "label": "taken back" if self.corrected else self.label.value if self.label else "",
        }

    def _repr_html_(self) -> str:
        return html_table([self.cells()], f"Incident {self.id}, UTC")


def incident_file(id: str) -> str:
    """Return the path of an incident's page, relative to the folder of reports. For any id it stays inside that folder."""
    return f"incidents/{_UNSAFE_IN_FILE_NAME.sub('_', id)[:150].lstrip('.') or '_'}.html"


def incident_notebook(id: str) -> str:
    """Return the path of an incident's executed notebook, relative to the folder of reports. It is in the folder of its page."""
    return incident_file(id).removesuffix(".html") + "-notebook.ipynb"


def incident_ref(id: str) -> str:
    """Return a hash of an incident's id, 16 hexadecimal digits, for places where the id is too long."""
    return blake2b(id.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Event:
    """A change that can cause a notification: its kind, metric and bucket, and the episode after it.

    A notification about an incident is the event of its root metric, with `incident` set. `also` has the events of the other
    metrics.
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
        """The key of the event. The same event has the same key in every run, so it is not sent twice."""
        if self.incident and self.kind in OPENING_KINDS and not self.again:
            return f"{self.incident.id}/opened"
        about = self.incident.id if self.incident else self.metric
        return f"{about}/{self.kind.value.replace(' ', '-')}/{self.bucket:%Y%m%dT%H%MZ}"

    @property
    def segment(self) -> str:
        """The watched segment that it is about; "" if it is about the whole metric."""
        member = self.incident.member(self.metric) if self.incident else None
        worst = self.episode.worst.segment if self.episode.worst else ""
        return self.verdict.segment or worst or (member.segment if member else "")

    @property
    def name(self) -> str:
        """The name of the metric, followed by the watched segment if there is one: views os=iOS."""
        return metric_with_segment(self.metric, self.segment)

    @property
    def cause(self) -> RootCause | None:
        """The incident's root cause; None if it explains another metric or another bucket than the event's."""
        incident, cause = self.incident, self.incident.cause if self.incident else None
        if incident is None or cause is None or (cause.metric or incident.root.metric) != self.metric:
            return None
        return cause.claim if (cause.at or incident.root.joined) == self.bucket else None


@dataclass(frozen=True)
class Segment:
    """A segment of a metric in one bucket: its value and its expected value.

    `elements`: conjunctions of (attribute, value) pairs; several if the cause is a set of segments. Both numbers are in the unit
    of the metric. For a ratio they are ratios; for a mix effect they are shares of the denominator.
    """

    elements: tuple[tuple[tuple[str, str], ...], ...]
    value: float
    expected: float

    @property
    def change(self) -> float:
        """The change as a share of expected. If expected is 0: 0 for no value, else infinite."""
        if self.expected:
            return self.value / self.expected - 1
        return float("inf") if self.value else 0.0


@dataclass(frozen=True)
class RootCause:
    """The result of the search for segments that explain the change of one metric in one bucket.

    `answer` is one of four words. carried: `slice`, the smallest set of segments that explains the change, was found. alike: the
    values of each attribute in `attributes` changed by the same share. unclear: neither. watched: `slice` is the segment of a
    stand-in, so nothing was searched. `others`: the other values of the slice's attributes, largest first, for comparison; for
    `alike`, the segment that changed more than `rest`, if there is one.
    """

    answer: str  # carried | alike | unclear | watched
    effect: str = "count"  # what changed: count | rate (the ratio inside the segment) | mix (the segment's share of the whole)
    slice: Segment | None = None
    share: float = float("nan")  # part of the total's change that the slice explains, signed; NaN if that is within the noise
    rest: Segment | None = None  # all rows outside the slice
    others: tuple[Segment, ...] = ()
    experiment: bool = False  # the slice is a group of an experiment, and nothing else distinguishes it
    imbalance: tuple[Segment, ...] = ()  # experiment groups whose share of the users has changed (value, expected: shares)
    new: tuple[Segment, ...] = ()  # values never seen before (value: share of all now)
    gone: tuple[Segment, ...] = ()  # values that do not come any more (expected: share of all before)
    attributes: tuple[str, ...] = ()  # all that were searched; for `alike` those whose values changed by the same share
    overlap: bool = False  # for distinct users: segments add up to more than the total, because a user can be in several
    metric: str = ""  # the metric that it explains; "": the incident's root
    at: datetime | None = None  # the bucket that it explains; None: the opening bucket, or unknown (from an older version)

    @property
    def is_everywhere(self) -> bool:
        """Whether the rows outside the slice changed too, or there are none.

        They changed too if their relative change has the same sign as the slice's, and at least MOVED_TOO of its size.
        """
        if self.slice is None or self.rest is None or self.effect == "mix":
            return False
        if not (self.rest.value or self.rest.expected):
            return True
        here, rest = self.slice.change, self.rest.change
        return isfinite(here) and here * rest > 0 and abs(rest) >= MOVED_TOO * abs(here)

    @property
    def claim(self) -> RootCause:
        """The cause that messages show: if the rest changed as well (`is_everywhere`), it is "alike" and names no segment."""
        if self.answer != "carried" or self.slice is None or not self.is_everywhere:
            return self
        names = {name for pairs in self.slice.elements for name, _ in pairs}
        alike = tuple(name for name in self.attributes if name not in names)
        most = (self.slice,) if self.rest and self.rest.expected else ()
        return replace(self, answer="alike", slice=None, share=float("nan"), others=most, attributes=alike)


@dataclass(frozen=True)
class Rarity:
    """How rare a value is, compared with the history that was read."""

    same: int = 0  # number of earlier values at this time of this weekday
    beyond: int = 0  # how many of those are as extreme; 0: the value is lower (or higher) than all of them
    weeks: float = 0.0  # length of the judged history in which `times` were counted
    times: int = 0  # number of other episodes in it with at least this score


@dataclass(frozen=True)
class SimilarIncident:
    """The past incident that is most similar to an incident."""

    at: datetime
    label: Label | None = None
    url: str = ""  # web address or path of the run that notified it
    off: Verdict | None = None  # the worst verdict of that incident


class MetricTree:
    """The metrics and their `parents`. A metric may have several parents. A parent that is not in the catalogue is ignored."""

    def __init__(self, metrics: Sequence[Metric]) -> None:
        """Build the tree. Raises ValueError if the parents of a metric lead back to itself."""
        self.metrics = {metric.name: metric for metric in metrics}  # in the order of the catalogue
        self.totals = {metric.name: metric.segments_of for metric in metrics if metric.segments_of}
        parents = {name: [it for it in metric.parents if it in self.metrics] for name, metric in self.metrics.items()}
        try:
            parents_first = [*TopologicalSorter(parents).static_order()]
        except CycleError as error:
            first = next(metric for metric in metrics if metric.name in error.args[1])
            raise ValueError(f"metric {first.name}: its parents lead back to itself ({', '.join(first.parents)})") from None

        self.depth: dict[str, int] = {}  # metric -> length of the longest path from a root metric; 0 for a root metric
        self.roots: dict[str, frozenset[str]] = {}  # metric -> the root metrics above it; a root metric -> itself
        for name in parents_first:
            self.depth[name] = max((1 + self.depth[parent] for parent in parents[name]), default=0)
            self.roots[name] = frozenset[str]().union(*(self.roots[parent] for parent in parents[name])) or frozenset({name})

    def related(self, one: str, other: str) -> bool:
        """Return whether two metrics have a root in common."""
        roots = self.roots
        return bool(roots.get(one, frozenset({one})) & roots.get(other, frozenset({other})))

    def relatives(self) -> dict[str, set[str]]:
        """Return metric -> the other metrics that have a root in common with it; metrics without any are left out."""
        by_root: dict[str, set[str]] = {}
        for name, roots in self.roots.items():
            for root in roots:
                by_root.setdefault(root, set()).add(name)
        out: dict[str, set[str]] = {}
        for family in by_root.values():
            for name in family if len(family) > 1 else ():
                out.setdefault(name, set()).update(family - {name})
        return out

    def lead(self, verdicts: Mapping[str, Verdict], root: str = "") -> str:
        """Return the metric that a message about these verdicts (metric -> verdict) puts first.

        The candidates are the metrics whose size is at least LEADING_SHARE of the largest size. If the incident's `root` is a
        candidate, it leads. Otherwise the candidate that is highest in the tree leads, because the others may depend on it; of
        several, the first in the catalogue. A watched segment does not lead if its metric is among `verdicts`.
        """
        off = {name: it for name, it in verdicts.items() if self.totals.get(name) not in verdicts}
        # No data counts like half of the metric gone, because it may still arrive. An unknown size counts like all of it gone.
        sizes = {name: it.size if it.status is Status.ANOMALOUS else 0.0 for name, it in off.items()}
        sizes |= {name: CRITICAL_SIZE for name, it in off.items() if it.status is Status.MISSING}
        sizes = {name: 1.0 if size != size else size for name, size in sizes.items()}
        names = [name for name, size in sizes.items() if size >= LEADING_SHARE * max(sizes.values())]
        root = self.totals[root] if self.totals.get(root) in verdicts else root
        return root if root in names else min((name for name in self.metrics if name in names), key=self.depth.__getitem__)

    def is_platform(self, names: Iterable[str]) -> bool:
        """Return whether `names` include a root metric of every product. False if the catalogue has fewer than two products."""
        chosen, metrics = set(names), self.metrics.values()
        down = {metric.product for metric in metrics if metric.name in chosen and self.depth[metric.name] == 0}
        products = {metric.product for metric in metrics if metric.product}
        return len(products) > 1 and products <= down


def is_critical(members: Iterable[tuple[Metric, Verdict]], roots: Roots, cause: RootCause | None = None) -> bool:
    """Return whether an incident is critical.

    One of three conditions must hold. A metric is off by at least its `Policy.critical`. A segment is almost gone, and a large
    part of its metric with it (SEGMENT_GONE, SEGMENT_PART). Metrics without a common root are off at the same time.

    `members`: the affected metrics, each with its present verdict. `cause`: the root cause of the incident, if it is known.
    """
    off = [(metric, v) for metric, v in members if v.status in (Status.ANOMALOUS, Status.MISSING)]
    judged = [(metric, v) for metric, v in off if v.status is Status.ANOMALOUS]
    if any(not v.size < metric.policy.critical for metric, v in judged):  # an unknown size may be anything
        return True
    claim = cause.claim if cause else None
    if cause and claim and claim.answer == "carried" and claim.effect != "mix":
        is_gone = claim.slice is not None and claim.slice.change <= SEGMENT_GONE
        explained = [v for metric, v in judged if cause.metric in ("", metric.name)]
        if is_gone and any(v.change * cause.share <= SEGMENT_PART for v in explained):
            return True
    return _count_apart(roots.get(m.name, ()) for m, v in off if v.status is Status.MISSING or v.size >= ROOT_SIZE) > 1


def _count_apart(groups: Iterable[Collection[str]]) -> int:
    """Count the groups, in order, that share no element with an earlier group. Empty groups do not count."""
    seen, count = set[str](), 0
    for group in groups:
        count += bool(group) and seen.isdisjoint(group)
        seen |= {*group}
    return count
