"""Incidents, their events, what is known about their cause, how severe they are, and the tree of metrics that they follow."""

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
SEGMENT_GONE = -0.9  # change of a segment that is an outage of its own ...
SEGMENT_PART = -0.25  # ... where the metric has changed by so much because of it
ROOT_SIZE = 0.1  # a root that is less far off does not count as one of several
LEADING_SHARE = 0.5  # of the largest size: a metric that is higher in the tree leads from there on

Roots = Mapping[str, Collection[str]]  # metric -> its root metrics; those of a metric that is not in it are not known
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
    worst: Verdict | None = None  # with the largest size; None: unknown
    lost: float = 0.0  # as in Episode
    ended: datetime | None = None  # its last `until` before it was affected again

    @property
    def segment(self) -> str:
        """The watched segment that it is about, at its worst; "" where it is the whole metric."""
        return (self.worst.segment if self.worst else "") or self.first.segment

    @property
    def name(self) -> str:
        """The metric, with the segment where it is about one: views os=iOS."""
        return metric_with_segment(self.metric, self.segment)


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
    cause: RootCause | None = None  # the newest; `Event.cause` is that of a message
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
    """Return the path of an incident's page, relative to the folder of reports. No id can lead out of that folder."""
    return f"incidents/{_UNSAFE_IN_FILE_NAME.sub('_', id)[:150].lstrip('.') or '_'}.html"


def incident_notebook(id: str) -> str:
    """Return the path of an incident's executed notebook, relative to the folder of reports; its page is beside it."""
    return incident_file(id).removesuffix(".html") + "-notebook.ipynb"


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
        if self.incident and self.kind in OPENING_KINDS and not self.again:
            return f"{self.incident.id}/opened"
        about = self.incident.id if self.incident else self.metric
        return f"{about}/{self.kind.value.replace(' ', '-')}/{self.bucket:%Y%m%dT%H%MZ}"

    @property
    def segment(self) -> str:
        """The watched segment that it is about; "" where it is the whole metric."""
        member = self.incident.member(self.metric) if self.incident else None
        worst = self.episode.worst.segment if self.episode.worst else ""
        return self.verdict.segment or worst or (member.segment if member else "")

    @property
    def name(self) -> str:
        """The metric, with the segment where it is about one: views os=iOS."""
        return metric_with_segment(self.metric, self.segment)

    @property
    def cause(self) -> RootCause | None:
        """The root cause for its metric and its bucket; None where the incident's is one of another metric or bucket."""
        incident, cause = self.incident, self.incident.cause if self.incident else None
        if incident is None or cause is None or (cause.metric or incident.root.metric) != self.metric:
            return None
        return cause.claim if (cause.at or incident.root.joined) == self.bucket else None


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
    """The segments that explain the change of one bucket of one metric of an incident, if any.

    `answer`: carried (by `slice`, the smallest set of segments that explains the change), alike (the values of each of
    `attributes` changed by the same share), unclear, watched (`slice` is the segment of a stand-in). `others`: the other values
    of the slice's attributes, largest first, for comparison; of `alike` the segment that changed more than `rest`, if any.
    """

    answer: str  # carried | alike | unclear | watched
    effect: str = "count"  # count | rate (the ratio inside the segment) | mix (the segment's share of the whole)
    slice: Segment | None = None
    share: float = float("nan")  # contribution of the slice to the total's change, signed; NaN where that is within the noise
    rest: Segment | None = None  # everything else
    others: tuple[Segment, ...] = ()
    experiment: bool = False  # the slice is a group of an experiment, and nothing else distinguishes it
    imbalance: tuple[Segment, ...] = ()  # experiment groups whose share of the users has changed (value, expected: shares)
    new: tuple[Segment, ...] = ()  # values never seen before (value: share of all now)
    gone: tuple[Segment, ...] = ()  # values that do not come any more (expected: share of all before)
    attributes: tuple[str, ...] = ()  # all that were searched; of `alike` those whose values changed alike
    overlap: bool = False  # for distinct users: segments add up to more than the total, because users are in several
    metric: str = ""  # that it explains; "": the incident's root
    at: datetime | None = None  # the bucket that it explains; None: that of the opening, or (of an older version) unknown

    @property
    def is_everywhere(self) -> bool:
        """Whether the rest changed the same way, by at least MOVED_TOO of the slice's relative change, or there is no rest."""
        if self.slice is None or self.rest is None or self.effect == "mix":
            return False
        if not (self.rest.value or self.rest.expected):
            return True
        here, rest = self.slice.change, self.rest.change
        return isfinite(here) and here * rest > 0 and abs(rest) >= MOVED_TOO * abs(here)

    @property
    def claim(self) -> RootCause:
        """The cause as it may be told: no segment is to blame where the rest changed as well."""
        if self.answer != "carried" or self.slice is None or not self.is_everywhere:
            return self
        names = {name for pairs in self.slice.elements for name, _ in pairs}
        alike = tuple(name for name in self.attributes if name not in names)
        most = (self.slice,) if self.rest and self.rest.expected else ()
        return replace(self, answer="alike", slice=None, share=float("nan"), others=most, attributes=alike)


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


class MetricTree:
    """The metrics and their `parents`. A metric may have two; a parent that is not in the catalogue is ignored."""

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

        self.depth: dict[str, int] = {}  # length of the longest path from a root metric; 0 for a root metric
        self.roots: dict[str, frozenset[str]] = {}  # the root metrics above it; itself if it is a root
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
        """Return the metric that a message about these verdicts leads with.

        The candidates are the metrics whose size is at least LEADING_SHARE of the largest. Of these the `root` of the incident
        leads, otherwise the metric that is highest in the tree (of several, the first in the catalogue): the others may depend
        on it. A watched segment does not lead while its metric is among `verdicts`.
        """
        off = {name: it for name, it in verdicts.items() if self.totals.get(name) not in verdicts}
        # No data is as bad as half of them gone, as they may still come; an unknown size as bad as all
        sizes = {name: it.size if it.status is Status.ANOMALOUS else 0.0 for name, it in off.items()}
        sizes |= {name: CRITICAL_SIZE for name, it in off.items() if it.status is Status.MISSING}
        sizes = {name: 1.0 if size != size else size for name, size in sizes.items()}
        names = [name for name, size in sizes.items() if size >= LEADING_SHARE * max(sizes.values())]
        root = self.totals[root] if self.totals.get(root) in verdicts else root
        return root if root in names else min((name for name in self.metrics if name in names), key=self.depth.__getitem__)

    def is_platform(self, names: Iterable[str]) -> bool:
        """Return whether the root metrics of all products (two at least) are among `names`."""
        chosen, metrics = set(names), self.metrics.values()
        down = {metric.product for metric in metrics if metric.name in chosen and self.depth[metric.name] == 0}
        products = {metric.product for metric in metrics if metric.product}
        return len(products) > 1 and products <= down


def is_critical(members: Iterable[tuple[Metric, Verdict]], roots: Roots, cause: RootCause | None = None) -> bool:
    """Return whether an incident is critical: an outage, most of a metric gone, or several roots off at once.

    `members`: those that are affected, each with its present verdict. `cause`: of the incident, if it is known.
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
    """Return how many of the groups have nothing in common with one that was counted; empty ones do not count."""
    seen, count = set[str](), 0
    for group in groups:
        count += bool(group) and seen.isdisjoint(group)
        seen |= {*group}
    return count
