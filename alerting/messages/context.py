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
    VerdictFacts,
    metric_title,
    plain_line,
)
from alerting.model.incident import Event, Member, Rarity, Roots, SimilarIncident, is_critical
from alerting.model.metric import CalendarEvent, Metric
from alerting.model.verdict import END_KINDS, OPENING_KINDS, Episode, EventKind, Status, Verdict

GOOD_KINDS = (*END_KINDS, EventKind.CORRECTED)
TINY_LOSS = 0.05  # share of one bucket's expected value; a smaller loss is not mentioned


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
    """The facts that an event's text needs beyond the event. The text leaves out unknown ones (NaN, None, empty)."""

    metric: Metric
    reader: Audience
    yesterday: float = NAN  # value at the same local time the day before
    week_ago: float = NAN  # and seven days before
    dashboard: str = ""  # URL, filled in
    table: str = ""  # the source table
    newest: datetime | None = None  # instant of its newest row
    normal: tuple[str, ...] = ()  # titles of the metrics that are normal now
    members: tuple[MemberContext, ...] = ()  # the incident's other members
    latest: Verdict | None = None  # for an opening: the metric's newest verdict, if it is later than the event's bucket
    is_platform: bool = False  # the root metrics of all products are affected together
    calendar: tuple[CalendarEvent, ...] = ()  # events of the calendar near the event's bucket
    usual_delay: timedelta | None = None  # how old the table's newest row usually is when it is read
    complete_tables: tuple[str, ...] = ()  # other source tables that have all their rows
    rarity: Rarity | None = None
    similar: SimilarIncident | None = None
    late: tuple[tuple[datetime, datetime], ...] = ()  # for a correction: the spans (start, end) for which late rows came
    roots: Roots = field(default_factory=dict)  # the root metrics of the catalogue
    is_gone: bool = False  # the source does not have the metric any more
    stopped: datetime | None = None  # for an opening: a newer bucket that has no value


@dataclass(frozen=True)
class Subject:
    """An event about one metric of its incident, and what its facts are computed from."""

    event: Event
    context: MessageContext
    shown: Verdict  # the verdict that the first line is about
    member: Member | None  # the metric in the incident
    others: tuple[MemberContext, ...]  # other members of the incident, those that are not normal first
    since: datetime | None  # the first anomalous bucket
    gap: datetime | None  # the first missing bucket
    is_gap: bool  # the text is about missing data, rather than anomalous data
    is_critical: bool
    before: Verdict | None  # the verdict that was sent last; for a correction, the one that is withdrawn
    worst: Verdict | None
    until: datetime  # end of the newest bucket that the text is about
    over: datetime | None  # the bucket in which the last metric of the incident became normal; None: unknown

    @classmethod
    def of(cls, event: Event, context: MessageContext) -> Subject:
        """Return the subject of the event's text.

        The event may come from any metric of the incident. The text of an end is about the incident's root. A reminder is about a
        metric that is still affected.
        """
        incident, kind, episode = event.incident, event.kind, event.episode
        members = [*(incident.members if incident else ()), *(part.member for part in context.members)]
        member = next((it for it in members if it.metric == event.metric), None)
        others = [part for part in context.members if part.metric.name != event.metric]
        others.sort(key=lambda part: part.member.until is not None)
        instead: list[MemberContext] = []
        if kind in END_KINDS and incident:
            instead = [part for part in others if part.metric.name == incident.root.metric]
        elif kind is EventKind.REMINDER and member and member.until:
            instead = [part for part in others if part.member.until is None]
        if instead:
            return cls.of(*_about(event, context, instead[0], member, others))

        gap = episode.gap_since or (member.since if member and member.gap else None)
        is_gap = kind is EventKind.NO_DATA or (kind is EventKind.CORRECTED and gap is not None)
        if kind in END_KINDS:
            is_gap = incident.root.gap if incident else kind is EventKind.DATA_BACK
        elif kind in (EventKind.WORSENED, EventKind.REMINDER):
            is_gap = event.verdict.status is Status.MISSING

        is_entry = kind in OPENING_KINDS and not (kind is EventKind.OPENED and incident and incident.corrected)
        shown = context.latest or event.verdict if is_entry else event.verdict
        worst, before = episode.worst or (member.worst if member else None), episode.last_notified_verdict
        if worst and shown.status is Status.ANOMALOUS and shown.size > worst.size:
            worst = shown
        if kind is EventKind.CORRECTED and member and member.joined >= event.bucket:  # the whole member is withdrawn
            before = member.first
        elif before and before.segment != event.verdict.segment:  # it was another watched segment
            before = None

        # The severity is that of the incident as it is now; an incident that is over, or withdrawn, is not critical
        own = [(context.metric, shown)] if member is None or member.until is None else []
        affected = [(part.metric, part.verdict or part.member.first) for part in others if part.member.until is None]
        is_done = kind in GOOD_KINDS or (incident is not None and (incident.corrected or incident.closed is not None))
        critical = not is_done and is_critical([*own, *affected], context.roots, incident.cause if incident else None)
        since, until = episode.since or (member.since if member else None), shown.bucket + context.metric.step
        over = max((m.until for m in incident.members if m.until), default=incident.closed) if incident else None
        return cls(event, context, shown, member, tuple(others), since, gap, is_gap, critical, before, worst, until, over)


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
class LossFacts:
    """The loss or gain over an episode: the sum of expected minus value, for a metric whose values can be summed."""

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

    title: Markup  # for a stand-in, with the segment of `verdict`
    verdict: VerdictFacts  # its newest; its worst, when the incident is over
    worst: VerdictFacts
    worst_title: Markup  # for a stand-in, with the segment of `worst`
    worst_at: str
    loss: LossFacts | None
    gap: str  # the time without data; "" if the member is more than a gap


NO_OTHERS: dict[str, tuple[Any, ...]] = dict.fromkeys(
    ("also", "still", "normal_again", "joined", "worsened", "corrected", "in_gap", "roots_first", "ended"), ()
)


def other_metrics(subject: Subject) -> dict[str, tuple[Any, ...]]:
    """Return the lists of the incident's other metrics that a text may show. It has the keys of NO_OTHERS."""
    event, incident, parts = subject.event, subject.event.incident, subject.others
    is_end, is_over = event.kind in END_KINDS, incident is not None and incident.closed is not None
    facts = {part.metric.name: _member_facts(subject, part) for part in parts}
    with_news = {other.metric for other in event.also}

    in_gap, rest = members_of_gap(subject)
    listed = rest if subject.is_gap and event.kind in (EventKind.NO_DATA, *END_KINDS) else parts
    anomalous = [p.metric.name for p in parts if p.member.until is None or (is_over and not is_end)]
    known = [p for p in parts if not (p.verdict and p.verdict.status is Status.UNKNOWN)]  # after a gap it may not be judged yet
    well = [p for p in known if p.member.until is not None and not (p.verdict and p.verdict.moved_with(subject.shown))]
    normal_again = [p.metric.name for p in well if incident and not is_over]
    corrected = [p.metric.name for p in parts if (incident and incident.corrected) or p.metric.name in with_news]
    unknown = [e.metric for e in event.also if e.metric not in {part.metric.name for part in subject.context.members}]

    names = {event.metric, *facts}
    roots = [part for part in parts if not names & set(part.metric.parents)]
    roots.sort(key=lambda part: part.metric.product == subject.context.metric.product)
    return {
        # For a gap: the metrics that are anomalous
        "also": tuple(facts[p.metric.name] for p in listed if p.metric.name in anomalous),
        "still": tuple(facts[name] for name in anomalous if name not in with_news),  # this event has nothing new about them
        "normal_again": tuple(facts[name].title for name in normal_again),
        "joined": tuple(_titled(subject, other) for other in event.also if other.kind in OPENING_KINDS),
        "worsened": tuple(_titled(subject, other) for other in event.also if other.kind is EventKind.WORSENED),
        "corrected": (*(facts[name].title for name in corrected), *(plain_line(name, MAX_SHORT_TITLE) for name in unknown)),
        "in_gap": tuple(facts[p.metric.name].title for p in in_gap),  # in the same gap
        # all of them: roots of other products, other roots, then the metrics below them
        "roots_first": tuple(facts[p.metric.name] for p in (*roots, *(part for part in parts if part not in roots))),
        "ended": tuple(member for p in listed if (member := facts[p.metric.name]).gap or member.worst.deviation),  # to report
    }


def members_of_gap(subject: Subject) -> tuple[tuple[MemberContext, ...], tuple[MemberContext, ...]]:
    """Return the other metrics that are in the same gap, and the rest. If the incident is more than one gap, all are the rest."""
    incident = subject.event.incident
    is_over = subject.event.kind in END_KINDS or incident is None or incident.closed is not None
    gaps = tuple(
        part
        for part in subject.others
        if (part.member.gap and (is_over or part.member.until is None))
        or (part.member.until is None and part.verdict and part.verdict.status is Status.MISSING)
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
        VerdictFacts.of(verdict, metric.form, reader.language),
        VerdictFacts.of(worst, metric.form, reader.language),
        worst_title,
        reader.at(worst.bucket, near=subject.shown.bucket),
        loss_facts(metric, member.lost, worst, reader.language),
        reader.span(member.since, end) if member.gap and member.worst is None else "",
    )


def _titled(subject: Subject, event: Event) -> dict[str, Any]:
    """Return title and verdict of an event in `Event.also`. The title is the metric's name if its title is unknown."""
    language = subject.context.reader.language
    metric = next((part.metric for part in subject.context.members if part.metric.name == event.metric), None)
    title = plain_line(metric_title(metric, event.segment, language) if metric else event.name, MAX_SHORT_TITLE)
    return {"title": title, "verdict": VerdictFacts.of(event.verdict, metric.form if metric else "number", language)}
