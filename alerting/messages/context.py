"""The context of an event: its readers, the metric that its text is about, and the other metrics of the incident."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from markupsafe import Markup

from alerting.messages.format import (
    MAX_SHORT_TITLE,
    NAN,
    ClockFormat,
    NumberFormat,
    change,
    metric_title,
    plain_line,
)
from alerting.model.incident import Event, Member, Rarity, Roots, SimilarIncident, is_critical
from alerting.model.metric import CalendarEvent, Metric
from alerting.model.verdict import Episode, EventKind, Status, Verdict

OPENING_KINDS = (EventKind.OPENED, EventKind.NO_DATA)
END_KINDS = (EventKind.RESOLVED, EventKind.DATA_BACK)
GOOD_KINDS = (*END_KINDS, EventKind.CORRECTED)
TINY_LOSS = 0.05  # of what one bucket was expected to have: a smaller loss is not worth a word


@dataclass(frozen=True)
class Audience(ClockFormat):
    """The readers of a run's messages, and the moment of the run: the same for all its messages."""

    run_link: str = ""  # the saved run: URL, or path
    pages: str = ""  # URL of the folder of reports; "" where it is not served
    owner: str = ""  # mentioned for metrics that name no owner
    duty: str = ""  # who is on call now, mentioned in place of @duty

    def mention(self, owner: str = "") -> str:
        """Return who is mentioned for a metric of this owner."""
        return re.sub(r"@duty\b", lambda _: self.duty or "@duty", owner or self.owner)


@dataclass(frozen=True)
class MemberContext:
    """Another metric of the event's incident. `verdict`: its newest."""

    metric: Metric
    member: Member
    verdict: Verdict | None = None


@dataclass(frozen=True)
class MessageContext:
    """The facts that an event's text needs beyond the event. What is unknown (NaN, None, empty) is not mentioned."""

    metric: Metric
    reader: Audience
    yesterday: float = NAN  # value at the same local time the day before
    week_ago: float = NAN  # and seven days before
    dashboard: str = ""  # URL, filled in
    table: str = ""  # the source table
    newest: datetime | None = None  # instant of its newest row
    normal: tuple[str, ...] = ()  # titles of the metrics that are normal now
    members: tuple[MemberContext, ...] = ()  # the incident's other members
    latest: Verdict | None = None  # of an opening: the metric's newest verdict, where that is later than the event's bucket
    is_platform: bool = False  # all products are down together
    calendar: tuple[CalendarEvent, ...] = ()  # events of the calendar near the event's bucket
    usual_delay: timedelta | None = None  # how old the table's newest row usually is when it is read
    complete_tables: tuple[str, ...] = ()  # other source tables that have all their rows
    rarity: Rarity | None = None
    similar: SimilarIncident | None = None
    late: tuple[tuple[datetime, datetime], ...] = ()  # spans (start, end) of which late rows came, of a correction
    roots: Roots = field(default_factory=dict)  # of the catalogue
    is_gone: bool = False  # the source does not have the metric any more
    stopped: datetime | None = None  # of an opening: a bucket without a value that is newer than the one it is about


@dataclass(frozen=True)
class Subject:
    """An event about one metric of its incident, with what the facts are made from."""

    event: Event
    context: MessageContext
    shown: Verdict  # the verdict that the first line is about
    member: Member | None  # the metric in the incident
    others: tuple[MemberContext, ...]  # of the incident, those that are not normal first
    since: datetime | None  # the first anomalous bucket
    gap: datetime | None  # the first missing bucket
    is_gap: bool  # the text is about missing data, rather than anomalous data
    is_critical: bool
    before: Verdict | None  # the verdict that was sent last; of a correction, the one that it takes back
    worst: Verdict | None
    until: datetime  # end of the newest bucket that the text is about
    over: datetime | None  # the last bucket at which a metric of the incident became normal; None: not known

    @classmethod
    def of(cls, event: Event, context: MessageContext) -> Subject:
        """Return the subject of the event's text.

        The text of an end is about the incident's root, and a reminder about a metric that is not normal, whichever metric
        the event comes from.
        """
        incident, parts, episode, kind = event.incident, context.members, event.episode, event.kind
        members = [*(incident.members if incident else ()), *(part.member for part in parts)]
        member = next((it for it in members if it.metric == event.metric), None)
        others = sorted((p for p in parts if p.metric.name != event.metric), key=lambda part: part.member.until is not None)
        other = None
        if kind in END_KINDS:
            other = next((part for part in others if incident and part.metric.name == incident.root.metric), None)
        elif kind is EventKind.REMINDER and member and member.until:
            other = next((part for part in others if part.member.until is None), None)
        if other:
            return cls.of(*_about(event, context, other, member, others))

        gap = episode.gap_since or (member.since if member and member.gap else None)
        is_gap = kind is EventKind.NO_DATA or (kind is EventKind.CORRECTED and gap is not None)
        if kind in END_KINDS:
            is_gap = incident.root.gap if incident else kind is EventKind.DATA_BACK
        elif kind in (EventKind.WORSENED, EventKind.REMINDER):
            is_gap = event.verdict.status is Status.MISSING
        is_withdrawn = kind is EventKind.CORRECTED and member is not None and member.joined >= event.bucket  # not only its return
        known_worst, told = episode.worst or (member.worst if member else None), episode.last_notified_verdict
        told = told if told and told.segment == event.verdict.segment else None  # not of another watched segment
        is_entry = kind in OPENING_KINDS and not (kind is EventKind.OPENED and incident and incident.corrected)
        shown = context.latest or event.verdict if is_entry else event.verdict

        # Critical is the incident as it is now; not once it is over, nor when there is nothing to act on
        own = [(context.metric, shown)] if member is None or member.until is None else []
        affected = [(part.metric, part.verdict or part.member.first) for part in others if part.member.until is None]
        is_done = kind in GOOD_KINDS or (incident is not None and (incident.corrected or incident.closed is not None))
        return cls(
            event,
            context,
            shown,
            member,
            tuple(others),
            episode.since or (member.since if member else None),
            gap,
            is_gap,
            not is_done and is_critical([*own, *affected], context.roots, incident.cause if incident else None),
            member.first if member and is_withdrawn else told,
            shown if known_worst and shown.status is Status.ANOMALOUS and shown.size > known_worst.size else known_worst,
            shown.bucket + context.metric.step,
            max((m.until for m in incident.members if m.until), default=incident.closed) if incident else None,
        )


def _about(
    event: Event, context: MessageContext, part: MemberContext, member: Member | None, others: Iterable[MemberContext]
) -> tuple[Event, MessageContext]:
    """Return the event as if it were about another metric of the incident. Its newest verdict may be unknown."""
    it, name = part.member, part.metric.name
    gap = it.since if it.gap else None
    verdict = part.verdict or Verdict(name, event.bucket, Status.UNKNOWN)
    episode = Episode(name, since=None if gap else it.since, worst=it.worst, lost=it.lost, gap_since=gap)
    own = [MemberContext(context.metric, member, event.verdict)] if member else []
    unknown = replace(context, yesterday=NAN, week_ago=NAN, latest=None, newest=None)
    return (
        replace(event, metric=name, verdict=verdict, episode=episode),
        replace(unknown, metric=part.metric, members=(*own, *others), table=part.metric.query),
    )


@dataclass(frozen=True)
class VerdictFacts:
    """The numbers of a verdict, all with the same decimals."""

    status: str  # normal | anomalous | missing | unknown
    value: str  # 1,240
    expected: str  # 2,020, or the range where limits are fixed
    range: str  # 1,930–2,110, or ≤ 2,110
    difference: str  # −780: value minus expected (or the fixed limit that it passed), of an anomalous verdict
    change: str  # −39 %: that as a share of expected
    deviation: str  # −39 %, or the value where that says more: a zero, nothing was expected, a fixed limit
    is_share: bool  # the deviation is the change
    is_zero: bool  # a true zero


def verdict_facts(verdict: Verdict, form: str, language: str) -> VerdictFacts:
    """Return the numbers of a verdict as a text shows them. `form`: the metric's."""
    numbers = NumberFormat.of(form, language, verdict)
    value, band, share = numbers.value(verdict.value), numbers.range(verdict.low, verdict.high), change(verdict, language)
    is_fixed, is_anomalous = verdict.has_fixed_limits, verdict.status is Status.ANOMALOUS
    return VerdictFacts(
        status=verdict.status.value,
        value=value,
        expected=band if is_fixed else numbers.value(verdict.expected),
        range=band,
        difference=numbers.difference(verdict.residual) if is_anomalous and verdict.value and verdict.reference else "",
        change=share,
        deviation=(share if verdict.value else "") or value,
        is_share=bool(share and verdict.value),
        is_zero=verdict.value == 0,
    )


@dataclass(frozen=True)
class LossFacts:
    """The sum of what is missing, or too much, over an episode of a metric whose values can be summed."""

    count: str  # 7,900
    is_gain: bool


def loss_facts(metric: Metric, count: float, verdict: Verdict, language: str) -> LossFacts | None:
    """Return the loss or gain of the episode; None if values cannot be summed or it is below TINY_LOSS."""
    is_sum = metric.form == "count" and metric.adds and abs(count) < float("inf")
    if not is_sum or abs(count) < max(1, TINY_LOSS * abs(verdict.expected)):  # 1 also where expected is NaN
        return None
    rounded = float(f"{abs(count):.2g}")  # it is an estimate: two digits
    decimals = 0 if rounded >= 10 or rounded == round(rounded) else 1
    return LossFacts(NumberFormat("number", language, decimals).value(rounded), is_gain=not count > 0)


@dataclass(frozen=True)
class MemberFacts:
    """Another metric of the incident."""

    title: Markup  # of a stand-in with the segment of `verdict`
    verdict: VerdictFacts  # its newest; its worst, when the incident is over
    worst: VerdictFacts
    worst_title: Markup  # of a stand-in with the segment of `worst`
    worst_at: str
    loss: LossFacts | None
    gap: str  # from when to when it had no data, where it had nothing but a gap


NO_OTHERS: dict[str, tuple[Any, ...]] = dict.fromkeys(
    ("also", "still", "normal_again", "joined", "worsened", "corrected", "in_gap", "roots_first", "ended"), ()
)


def other_metrics(subject: Subject) -> dict[str, tuple[Any, ...]]:
    """Return the lists that a text may show of the incident's other metrics: those of NO_OTHERS."""
    event, incident, parts = subject.event, subject.event.incident, subject.others
    is_end, is_over = event.kind in END_KINDS, incident is not None and incident.closed is not None
    facts = {part.metric.name: _member_facts(subject, part) for part in parts}
    with_news = {other.metric for other in event.also}

    in_gap, rest = members_of_gap(subject)
    listed = rest if subject.is_gap and event.kind in (EventKind.NO_DATA, *END_KINDS) else parts
    anomalous = [p.metric.name for p in parts if p.member.until is None or (is_over and not is_end)]
    well = [p for p in parts if p.member.until is not None and not (p.verdict and p.verdict.moved_with(subject.shown))]
    normal_again = [p.metric.name for p in well if incident and not is_over]
    corrected = [p.metric.name for p in parts if (incident and incident.corrected) or p.metric.name in with_news]
    unknown = [e.metric for e in event.also if e.metric not in {part.metric.name for part in subject.context.members}]

    names = {event.metric, *facts}
    roots = [part for part in parts if not names & set(part.metric.parents)]
    roots.sort(key=lambda part: part.metric.product == subject.context.metric.product)
    return {
        "also": tuple(facts[p.metric.name] for p in listed if p.metric.name in anomalous),  # of a gap, those that are not in it
        "still": tuple(facts[name] for name in anomalous if name not in with_news),  # this event says nothing new of them
        "normal_again": tuple(facts[name].title for name in normal_again),
        "joined": tuple(_titled(subject, other) for other in event.also if other.kind in OPENING_KINDS),
        "worsened": tuple(_titled(subject, other) for other in event.also if other.kind is EventKind.WORSENED),
        "corrected": (*(facts[name].title for name in corrected), *(plain_line(name, MAX_SHORT_TITLE) for name in unknown)),
        "in_gap": tuple(facts[p.metric.name].title for p in in_gap),  # in the same gap
        # all: roots of other products, other roots, then what depends on them
        "roots_first": tuple(facts[p.metric.name] for p in (*roots, *(part for part in parts if part not in roots))),
        "ended": tuple(member for p in listed if (member := facts[p.metric.name]).gap or member.worst.deviation),  # that mattered
    }


def members_of_gap(subject: Subject) -> tuple[tuple[MemberContext, ...], tuple[MemberContext, ...]]:
    """Return the others that are in the same gap, and the rest. None is in it when the incident is more than that gap."""
    gaps = tuple(
        part
        for part in subject.others
        if part.member.gap or (part.member.until is None and part.verdict and part.verdict.status is Status.MISSING)
    )
    alike = subject.context.is_platform or all(part.metric.query == subject.context.metric.query for part in gaps)
    return (gaps, ()) if alike and len(gaps) == len(subject.others) else ((), subject.others)


def _member_facts(subject: Subject, part: MemberContext) -> MemberFacts:
    """Return the facts of another metric of the incident: as it joined, now, and at its worst."""
    member, metric, reader, incident = part.member, part.metric, subject.context.reader, subject.event.incident
    worst, end = member.worst or member.first, member.until or subject.until
    verdict = worst if incident and incident.closed else part.verdict or member.first
    segments = (verdict.segment or member.segment, worst.segment or member.segment)
    title, worst_title = (plain_line(metric_title(metric, it, reader.language), MAX_SHORT_TITLE) for it in segments)
    return MemberFacts(
        title,
        verdict_facts(verdict, metric.form, reader.language),
        verdict_facts(worst, metric.form, reader.language),
        worst_title,
        reader.at(worst.bucket, near=subject.shown.bucket),
        loss_facts(metric, member.lost, worst, reader.language),
        reader.span(member.since, end) if member.gap and member.worst is None else "",
    )


def _titled(subject: Subject, event: Event) -> dict[str, Any]:
    """Return the metric of an event that comes with this one, by its title where that is known."""
    language = subject.context.reader.language
    metric = next((part.metric for part in subject.context.members if part.metric.name == event.metric), None)
    title = plain_line(metric_title(metric, event.segment, language) if metric else event.name, MAX_SHORT_TITLE)
    return {"title": title, "verdict": verdict_facts(event.verdict, metric.form if metric else "number", language)}
