"""The facts of an event as its template shows them: numbers and times are formatted, texts from data escaped and cut.

A text is empty, and an object None, where nothing is known: the template leaves it out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from alerting.messages.context import MemberContext, MessageContext
from alerting.messages.format import NAN, ClockFormat, NumberFormat, about, change, duration, signed_percent, times
from alerting.messages.root_cause import RootCauseFacts, root_cause_facts, segment_name
from alerting.messages.text import MAX_REASON, MAX_SHORT_TITLE, MAX_TITLE, Html, is_web, plain_line, title_of
from alerting.messages.words import LABEL_WORDS, WORDS, plural
from alerting.model.incident import Event, Incident, Member, Rarity, SimilarIncident
from alerting.model.metric import CalendarEvent, Metric
from alerting.model.verdict import Episode, EventKind, Status, Verdict

OPENING_KINDS = (EventKind.OPENED, EventKind.NO_DATA)
GOOD_KINDS = (EventKind.RESOLVED, EventKind.DATA_BACK, EventKind.CORRECTED)
DETECTORS = ("sudden", "sustained", "level")  # reasons of an anomalous verdict that a text explains

LATE = timedelta(minutes=30)  # a text is late when its bucket ended longer ago than this, and than two steps
MAX_SCORE = 1000.0  # scores are cut here: beyond it only the sign means anything
CRITICAL_ICON, WARNING_ICON = "🔴", "🟡"
BARELY_OUTSIDE = 1.05  # up to this score a value is just past the edge of its band
TINY_LOSS = 0.05  # of what one bucket was expected to have: a smaller loss is not worth a word
MIN_SAME, MIN_WEEKS = 3, 2  # values at the same time, and weeks of history, from which something can be said
MAX_BEYOND = 0.25  # of the same-time values may lie beyond, while the rank is still worth a word
SAME_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")  # keys of NOUNS


@dataclass(frozen=True)
class VerdictFacts:
    """The numbers of a verdict, all with the same decimals."""

    status: str  # normal | anomalous | missing | unknown
    value: str  # 1,240
    expected: str  # 2,020
    range: str  # 1,930–2,110
    difference: str  # −780: value minus expected, of an anomalous verdict
    change: str  # −39 %: that as a share of expected
    deviation: str  # −39 %, or the value where that says more: a zero, or a value when nothing was expected
    is_share: bool  # the deviation is the change
    is_zero: bool  # a true zero
    is_lower: bool  # than expected
    times: str  # 2.3 ×: how many times as far out as the edge of the band
    is_barely_outside: bool


@dataclass(frozen=True)
class TitledVerdict:
    """A metric in a list of several: its title and deviation."""

    title: Html
    verdict: VerdictFacts


@dataclass(frozen=True)
class LossFacts:
    """The sum of what is missing, or too much, over an episode of a metric whose values can be summed."""

    count: str  # 7,900
    is_gain: bool


@dataclass(frozen=True)
class MemberFacts:
    """Another metric of the incident."""

    title: Html
    verdict: VerdictFacts  # its newest; as it joined, when the incident is over
    worst: VerdictFacts
    worst_at: str
    loss: LossFacts | None
    gap: str  # from when to when it had no data, where it had nothing but a gap


@dataclass(frozen=True)
class OtherMetrics:
    """The other metrics of the incident, as lists."""

    also: tuple[MemberFacts, ...] = ()  # not normal; of a gap, those that are not in it
    still: tuple[MemberFacts, ...] = ()  # not normal, and this event says nothing new of them
    normal_again: tuple[Html, ...] = ()  # titles
    joined: tuple[TitledVerdict, ...] = ()  # in this event
    worsened: tuple[TitledVerdict, ...] = ()
    corrected: tuple[Html, ...] = ()  # titles of those that a correction takes back, too
    in_gap: tuple[Html, ...] = ()  # titles of those that are in the same gap
    deviations: tuple[TitledVerdict, ...] = ()  # as they joined; roots of other products first
    members: tuple[MemberFacts, ...] = ()  # in the same order
    ended: tuple[MemberFacts, ...] = ()  # those that mattered, when it is over


@dataclass(frozen=True)
class IncidentFacts:
    """How the incident stands."""

    exists: bool = False
    is_over: bool = False
    is_corrected: bool = False  # late rows have taken it back
    is_unsent: bool = False  # nothing was sent about it before
    ended: str = ""  # since when all is normal
    acknowledged_by: Html = Html("")
    is_muted: bool = False
    snoozed_until: datetime | None = None
    label: str = ""
    labelled_by: Html = Html("")


@dataclass(frozen=True)
class RarityFacts:
    """How unusual the value is: its rank among the same time of the weekday, and how often such a change happens."""

    is_lower: bool  # than expected
    same: str = ""  # 12 same-time Mondays; "" nothing is known of the rank
    rank: int = 0  # the value is beyond so many of them; 0: beyond all
    never_in: str = ""  # 9 weeks
    once_in: str = ""  # 9 weeks
    is_weekly: bool = False
    times_a_week: str = ""  # 3 times


@dataclass(frozen=True)
class SimilarFacts:
    """The past incident that is most like this one."""

    when: str
    url: str  # "": nothing to link
    details: tuple[str, ...]  # label, deviation


@dataclass(frozen=True)
class GapFacts:
    """A time without data, and what is known of its table."""

    is_start_known: bool
    since: str  # its first bucket
    back: str  # the first bucket with data again
    when: str  # from when to when
    buckets: str  # 2 buckets
    lasted: str
    reason: Html
    has_rows: bool  # the table has rows of that time: no value can be made of them
    table: Html
    newest: str  # the table's newest row; "": not known
    newest_age: str  # "": the row is later than now
    usual_age: str
    complete_tables: tuple[Html, ...]
    last: VerdictFacts | None  # the last value before it
    last_at: str
    is_all_normal: bool  # the metric is normal, and nothing else of the incident goes on


@dataclass(frozen=True)
class EndFacts:
    """How the incident, or the metric's episode, ended."""

    since: str  # normal again since
    all_since: str  # since when all metrics are; "" when that is not later
    is_of_platform: bool  # the text is about the whole platform
    lasted: str  # "": the start is not known
    when: str  # from when to when it was not normal
    worst: VerdictFacts | None
    loss: LossFacts | None
    cause: Html  # the segment that explains it
    is_mix: bool
    unsent_since: str  # of an incident that was not sent before: normal again since
    unsent_lasted: str


@dataclass(frozen=True)
class EventFacts:
    """All that the template of an event may show."""

    icon: str
    title: Html
    when: str  # the event's bucket
    verdict: VerdictFacts
    before: VerdictFacts | None  # the verdict that was sent last
    detector: str  # why it is anomalous: sudden | sustained | level
    is_detector_new: bool  # it is another one than the last time
    is_again: bool  # opened once more
    is_critical: bool
    is_platform: bool
    is_known_member: bool  # the metric was in the incident before this event
    incident: IncidentFacts
    silent_until: str
    late: str  # by so much
    # the metric over time
    since: str  # when it began
    is_since_known: bool
    is_first_bucket: bool
    lasted: str  # until now, or until the incident was over
    off: str  # from when to when it was not normal, when it is over
    latest: VerdictFacts | None  # its newest verdict, in an opening message that is edited
    latest_when: str
    worst: VerdictFacts | None  # where that is not the event's own
    worst_at: str
    yesterday: str
    week_ago: str
    rarity: RarityFacts | None
    # what else there is
    others: OtherMetrics
    normal: tuple[Html, ...]  # titles of the metrics that are normal
    cause: RootCauseFacts
    similar: SimilarFacts | None
    calendar: tuple[tuple[Html, str], ...]  # title and time, the nearest first
    gap: GapFacts | None
    end: EndFacts | None
    # the footer
    dashboard: str
    run: str
    owner: Html  # "": nobody is called


@dataclass(frozen=True)
class Subject:
    """An event about one metric of its incident, with what the facts are made from."""

    event: Event
    context: MessageContext
    member: Member | None  # the metric in the incident
    others: tuple[MemberContext, ...]  # of the incident, those that are not normal first
    clock: ClockFormat
    since: datetime | None  # the first anomalous bucket
    gap: datetime | None  # the first missing bucket
    worst: Verdict | None
    until: datetime  # end of the newest bucket that the text is about
    over: datetime | None  # the last bucket at which a metric of the incident became normal; None: not known

    @classmethod
    def of(cls, event: Event, context: MessageContext) -> Subject:
        """Return the subject of the event's text. That is the root of what has ended, and of a reminder a metric that is not
        normal, whichever metric the event comes from."""
        incident, parts, episode = event.incident, context.members, event.episode
        known = next((part.member for part in parts if part.metric.name == event.metric), None)
        member = (incident.member(event.metric) if incident else None) or known
        others = sorted((p for p in parts if p.metric.name != event.metric), key=lambda part: part.member.until is not None)
        other = None
        if event.kind in (EventKind.RESOLVED, EventKind.DATA_BACK):
            other = next((part for part in others if incident and part.metric.name == incident.root.metric), None)
        elif event.kind is EventKind.REMINDER and member and member.until:
            other = next((part for part in others if part.member.until is None), None)
        if other:
            return cls.of(*_about(event, context, other, member, others))
        return cls(
            event,
            context,
            member,
            tuple(others),
            context.reader.clock,
            episode.since or (member.since if member else None),
            episode.gap_since or (member.since if member and member.gap else None),
            episode.worst or (member.worst if member else None),
            (context.latest.bucket if context.latest else event.bucket) + context.metric.step,
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
    more = {"yesterday": NAN, "week_ago": NAN, "latest": None, "newest": None, "table": part.metric.query}
    return (
        replace(event, metric=name, verdict=verdict, episode=episode),
        replace(context, metric=part.metric, members=(*own, *others), **more),
    )


def event_facts(event: Event, context: MessageContext) -> EventFacts:
    """Return all that the text of an event may show."""
    late = context.reader.now - event.bucket - context.metric.step
    is_called = event.kind not in GOOD_KINDS and (event.incident is None or event.incident.open)
    owner, dashboard = context.metric.owner or context.reader.owner, context.dashboard

    s = Subject.of(event, context)
    event, context, clock, language = s.event, s.context, s.clock, s.context.reader.language
    metric, now, incident = context.metric, context.reader.now, _incident_facts(s)
    is_critical = event.is_critical(metric.policy, [part.member.first for part in s.others] if context.is_platform else [])
    is_edit = event.kind in OPENING_KINDS and bool(context.latest or incident.is_over)  # which is never late
    is_late = late > max(LATE, 2 * metric.step) and not is_edit and event.kind is not EventKind.CORRECTED
    silent_until = max((at for at in (incident.snoozed_until, context.silenced_until) if at and at > now), default=None)

    verdict, before = event.verdict, event.episode.last_notified_verdict
    if event.kind is EventKind.CORRECTED:
        before = s.member.first if s.member else None
    numbers, start = NumberFormat.of(metric.form, language, verdict), s.since or event.bucket
    end = s.over if incident.is_over and not incident.is_corrected else None
    latest, worst = context.latest, s.worst if s.worst and s.worst.bucket != event.bucket else None
    return EventFacts(
        icon="↩️" if incident.is_corrected else "🟢" if incident.is_over else CRITICAL_ICON if is_critical else WARNING_ICON,
        title=title_of(metric, language),
        when=clock.span(event.bucket, event.bucket + metric.step),
        verdict=verdict_facts(verdict, metric.form, language),
        before=verdict_facts(before, metric.form, language) if before else None,
        detector=verdict.reason if verdict.reason in DETECTORS else "",
        is_detector_new=before is None or before.reason != verdict.reason,
        is_again=event.again,
        is_critical=is_critical,
        is_platform=context.is_platform,
        is_known_member=s.member is not None and s.member.joined < event.bucket,
        incident=incident,
        silent_until=clock.at(silent_until, near=now) if silent_until and not incident.is_over else "",
        late=duration(late, language) if is_late else "",
        since=clock.at(start, near=event.bucket),
        is_since_known=s.since is not None,
        is_first_bucket=start == event.bucket and latest is None,
        lasted=duration((end or s.until) - start, language),
        off=clock.span(start, end) if end else "",
        latest=verdict_facts(latest, metric.form, language) if latest else None,
        latest_when=clock.span(latest.bucket, s.until, near=event.bucket) if latest else "",
        worst=verdict_facts(worst, metric.form, language) if worst else None,
        worst_at=clock.at(worst.bucket, near=event.bucket) if worst else "",
        yesterday=numbers.value(context.yesterday),
        week_ago=numbers.value(context.week_ago),
        rarity=_rarity_facts(context.rarity, verdict, clock) if context.rarity else None,
        others=_other_metrics(s) if s.others or event.also else OtherMetrics(),
        normal=tuple(plain_line(title, MAX_TITLE) for title in context.normal),
        cause=_cause_facts(s) if event.incident and event.incident.cause else RootCauseFacts(),
        similar=_similar_facts(context.similar, event.bucket, clock) if context.similar else None,
        calendar=_calendar(s) if context.calendar else (),
        gap=_gap_facts(s) if _is_about_a_gap(s) else None,
        end=_end_facts(s) if event.kind in (EventKind.RESOLVED, EventKind.DATA_BACK) else None,
        dashboard=dashboard,
        run=context.reader.run_link,
        owner=plain_line(owner if is_called else "", MAX_TITLE),
    )


def verdict_facts(verdict: Verdict, form: str, language: str) -> VerdictFacts:
    numbers = NumberFormat.of(form, language, verdict)
    value, change = numbers.value(verdict.value), signed_percent(verdict.value, verdict.expected, language)
    is_anomalous, score = verdict.status is Status.ANOMALOUS, abs(verdict.score)
    is_outside = is_anomalous and 1 <= score < MAX_SCORE
    has_difference = is_anomalous and verdict.value and verdict.expected
    return VerdictFacts(
        status=verdict.status.value,
        value=value,
        expected=numbers.value(verdict.expected),
        range=numbers.range(verdict.low, verdict.high),
        difference=numbers.difference(verdict.value - verdict.expected) if has_difference else "",
        change=change,
        deviation=(change if verdict.value else "") or value,
        is_share=bool(change and verdict.value),
        is_zero=verdict.value == 0,
        is_lower=verdict.value < verdict.expected,
        times=times(score, language) if is_outside and score >= BARELY_OUTSIDE else "",
        is_barely_outside=is_outside and score < BARELY_OUTSIDE,
    )


def _incident_facts(s: Subject) -> IncidentFacts:
    incident, reader = s.event.incident, s.context.reader
    if incident is None:
        return IncidentFacts()
    is_over = incident.closed is not None
    ended = s.clock.at(s.over, near=s.event.bucket) if s.over and is_over and not incident.corrected else ""
    return IncidentFacts(
        exists=True,
        is_over=is_over,
        is_corrected=incident.corrected,
        is_unsent=incident.last_notified is None,
        ended=ended,
        acknowledged_by=plain_line(incident.acknowledged_by, MAX_TITLE),
        is_muted=incident.muted,
        snoozed_until=incident.snoozed_until,
        label=WORDS[reader.language][LABEL_WORDS[incident.label]] if incident.label else "",
        labelled_by=plain_line(incident.labelled_by, MAX_TITLE),
    )


def _rarity_facts(rarity: Rarity, verdict: Verdict, clock: ClockFormat) -> RarityFacts | None:
    """Return None where the value is as expected, or too little history was read."""
    language, facts = clock.language, RarityFacts(is_lower=verdict.value < verdict.expected)
    if not (facts.is_lower or verdict.value > verdict.expected):
        return None
    if rarity.same >= MIN_SAME and rarity.beyond <= MAX_BEYOND * rarity.same:
        weekday = SAME_WEEKDAYS[clock.local(verdict.bucket).weekday()]
        rank = rarity.same - rarity.beyond if rarity.beyond else 0
        facts = replace(facts, same=plural(rarity.same, weekday, language), rank=rank)
    if rarity.weeks >= MIN_WEEKS and not rarity.times:
        return replace(facts, never_in=plural(int(rarity.weeks), "week", language))
    if rarity.weeks >= MIN_WEEKS:
        a_week = rarity.times / rarity.weeks
        if round(1 / a_week) > 1:
            return replace(facts, once_in=plural(round(1 / a_week), "week", language))
        if round(a_week) > 1:
            return replace(facts, times_a_week=plural(round(a_week), "occurrence", language))
        return replace(facts, is_weekly=True)
    return facts if facts.same else None


def _similar_facts(past: SimilarIncident, bucket: datetime, clock: ClockFormat) -> SimilarFacts:
    day, language = clock.local(past.at).date(), clock.language
    when = clock.at(past.at, near=bucket) if day == clock.local(bucket).date() else clock.day(day)
    label = WORDS[language][LABEL_WORDS[past.label]] if past.label else ""
    deviation = change(past.off, language) if past.off else ""
    return SimilarFacts(when, past.url if is_web(past.url) else "", tuple(filter(None, [label, deviation])))


def _cause_facts(s: Subject) -> RootCauseFacts:
    """Return the cause of an incident that stands, where its root is known."""
    incident = s.event.incident
    metrics = [s.context.metric, *(part.metric for part in s.others)]
    root = next((metric for metric in metrics if incident and metric.name == incident.root.metric), None)
    if incident is None or incident.corrected or root is None:
        return RootCauseFacts()
    return root_cause_facts(incident, root, s.context.reader)


def _calendar(s: Subject) -> tuple[tuple[Html, str], ...]:
    """Return title and time of the calendar's events, the nearest first."""
    nearest = sorted(s.context.calendar, key=lambda it: abs(it.start - s.event.bucket))
    return tuple((plain_line(it.title or it.kind, MAX_TITLE), _calendar_time(s, it)) for it in nearest)


def _calendar_time(s: Subject, it: CalendarEvent) -> str:
    """14:05 · 14:00–18:00 · Sun; empty for the whole of the event's day."""
    start, end, clock = it.start, max(it.start, it.end), s.clock
    if days := clock.days(start, end):
        first, last = clock.local(start).date(), clock.local(start).date() + timedelta(days=days - 1)
        if days > 1:
            return f"{clock.day(first)}–{clock.day(last)}"
        return "" if first == clock.local(s.event.bucket).date() else clock.day(first)
    until = f"–{clock.at(end, near=start)}" if end - start >= s.context.metric.step else ""
    return f"{clock.at(start, near=s.event.bucket)}{until}"


# The other metrics of the incident.


def _other_metrics(s: Subject) -> OtherMetrics:
    event, incident, language = s.event, s.event.incident, s.context.reader.language
    is_open, is_over = incident is not None and incident.open, incident is not None and not incident.open
    in_gap, rest = members_of_gap(s)
    ends = event.kind in (EventKind.RESOLVED, EventKind.DATA_BACK)
    listed = rest if event.kind is EventKind.NO_DATA or (ends and ends_a_gap(s)) else s.others
    facts = {part.metric.name: _member_facts(s, part) for part in s.others}
    titles = {name: member.title for name, member in facts.items()}

    going_on = [p.metric.name for p in s.others if p.member.until is None]
    off = [p.metric.name for p in s.others if is_over or p.member.until is None]
    with_news = {other.metric for other in event.also}
    corrected = [p for p in s.others if (incident and incident.corrected) or p.metric.name in with_news]
    left = [e.metric for e in event.also if e.metric not in {part.metric.name for part in s.context.members}]
    ordered = _roots_first(s)
    return OtherMetrics(
        also=tuple(facts[p.metric.name] for p in listed if p.metric.name in (going_on if ends else off)),
        still=tuple(facts[name] for name in off if name not in with_news),
        normal_again=tuple(titles[p.metric.name] for p in s.others if p.member.until is not None and is_open),
        joined=tuple(_titled(s, other) for other in event.also if other.kind in OPENING_KINDS),
        worsened=tuple(_titled(s, other) for other in event.also if other.kind is EventKind.WORSENED),
        corrected=(*(titles[p.metric.name] for p in corrected), *(plain_line(name, MAX_SHORT_TITLE) for name in left)),
        in_gap=tuple(titles[p.metric.name] for p in in_gap),
        deviations=tuple(
            TitledVerdict(titles[p.metric.name], verdict_facts(p.member.first, p.metric.form, language)) for p in ordered
        ),
        members=tuple(facts[p.metric.name] for p in ordered),
        ended=tuple(member for p in listed if (member := facts[p.metric.name]).gap or member.worst.change),
    )


def ends_a_gap(s: Subject) -> bool:
    """Tell whether what has ended was a gap: no data, rather than anomalous data."""
    return s.event.incident.root.gap if s.event.incident else s.event.kind is EventKind.DATA_BACK


def members_of_gap(s: Subject) -> tuple[tuple[MemberContext, ...], tuple[MemberContext, ...]]:
    """Return the others that are in the same gap, and the rest. None is in it when the incident is more than that gap."""
    gaps = tuple(part for part in s.others if part.member.gap)
    alike = s.context.is_platform or all(part.metric.query == s.context.metric.query for part in gaps)
    return (gaps, ()) if alike and len(gaps) == len(s.others) else ((), s.others)


def _roots_first(s: Subject) -> list[MemberContext]:
    """Return the others: the roots of other products, the other roots, then what depends on them."""
    names = {s.event.metric, *(part.metric.name for part in s.others)}
    roots = [part for part in s.others if not names & set(part.metric.parents)]
    roots.sort(key=lambda part: part.metric.product == s.context.metric.product)
    return [*roots, *(part for part in s.others if part not in roots)]


def _member_facts(s: Subject, part: MemberContext) -> MemberFacts:
    member, metric, language = part.member, part.metric, s.context.reader.language
    is_over = s.event.incident is not None and not s.event.incident.open
    verdict = member.first if is_over else part.verdict or member.first
    worst, end = member.worst or member.first, member.until or s.event.bucket + s.context.metric.step
    return MemberFacts(
        title_of(metric, language, MAX_SHORT_TITLE),
        verdict_facts(verdict, metric.form, language),
        verdict_facts(worst, metric.form, language),
        s.clock.at(worst.bucket, near=s.event.bucket),
        _loss_facts(metric, member.lost, worst, language),
        s.clock.span(member.since, end) if member.gap and member.worst is None else "",
    )


def _titled(s: Subject, event: Event) -> TitledVerdict:
    """Return the metric of an event that comes with this one, by its title where that is known."""
    language = s.context.reader.language
    metric = next((part.metric for part in s.context.members if part.metric.name == event.metric), None)
    title = title_of(metric, language, MAX_SHORT_TITLE) if metric else plain_line(event.metric, MAX_SHORT_TITLE)
    return TitledVerdict(title, verdict_facts(event.verdict, metric.form if metric else "number", language))


def _loss_facts(metric: Metric, count: float, verdict: Verdict, language: str) -> LossFacts | None:
    """Return None for a metric whose values cannot be summed, and where the loss is next to nothing."""
    is_sum = metric.form == "count" and metric.adds and abs(count) < float("inf")
    if not is_sum or abs(count) < max(TINY_LOSS * abs(verdict.expected), 1):
        return None
    return LossFacts(about(abs(count), language), is_gain=count < 0)


# A gap, and an end.


def _is_about_a_gap(s: Subject) -> bool:
    kind, is_missing = s.event.kind, s.event.verdict.status is Status.MISSING
    if kind in (EventKind.RESOLVED, EventKind.DATA_BACK):
        return ends_a_gap(s)
    if kind is EventKind.CORRECTED:
        return s.gap is not None
    return kind is EventKind.NO_DATA or (is_missing and kind in (EventKind.WORSENED, EventKind.REMINDER))


def _gap_facts(s: Subject) -> GapFacts:
    event, context, clock, language = s.event, s.context, s.clock, s.context.reader.language
    start, end, now = s.gap or event.bucket, _end_of_gap(s), context.reader.now
    newest, last, form = context.newest, event.episode.last, context.metric.form
    return GapFacts(
        is_start_known=s.gap is not None,
        since=clock.at(start, near=now),
        back=clock.at(end, near=now),
        when=clock.span(start, end),
        buckets=plural(round((end - start) / context.metric.step), "bucket", language),
        lasted=duration(end - start, language),
        reason=plain_line(event.verdict.reason, MAX_REASON),
        has_rows=newest is not None and start <= newest < s.until,
        table=plain_line(context.table, MAX_TITLE),
        newest=clock.at(newest, near=now) if newest else "",
        newest_age=duration(now - newest, language) if newest and newest <= now else "",
        usual_age=duration(context.usual_delay, language) if context.usual_delay is not None else "",
        complete_tables=tuple(plain_line(table, MAX_TITLE) for table in context.complete_tables),
        last=verdict_facts(last, form, language) if last else None,
        last_at=clock.at(last.bucket, near=now) if last else "",
        is_all_normal=event.verdict.status is Status.NORMAL and all(p.member.until for p in members_of_gap(s)[1]),
    )


def _end_of_gap(s: Subject) -> datetime:
    """Return the end of the gap, as far as it is known."""
    event, latest = s.event, s.context.latest
    if event.kind in (EventKind.RESOLVED, EventKind.DATA_BACK):
        return (s.member.until if s.member else None) or event.bucket
    if event.kind is not EventKind.NO_DATA:
        return event.bucket + s.context.metric.step
    if s.over and event.incident and not event.incident.open:
        return s.over
    return latest.bucket if latest and latest.status is not Status.MISSING else s.until


def _end_facts(s: Subject) -> EndFacts:
    event, incident, clock, language = s.event, s.event.incident, s.clock, s.context.reader.language
    metric, now = s.context.metric, s.context.reader.now
    normal = (s.member.until if s.member else None) or event.episode.normal_since or event.bucket
    last, over = s.over or normal, s.over or event.bucket
    is_whole = incident is not None and s.since is not None and s.context.is_platform
    since = min(member.since for member in incident.members) if is_whole and incident else s.since
    lost, worst = (s.member.lost if s.member else 0.0) or event.episode.lost, s.worst or event.verdict
    cause = incident.cause if incident and not incident.corrected else None
    where = cause.slice if cause and cause.answer == "carried" else None
    return EndFacts(
        since=clock.at(last if is_whole else normal, near=now),
        all_since=clock.at(last, near=normal) if last > normal and not is_whole else "",
        is_of_platform=is_whole,
        lasted=duration(last - since, language) if since else "",
        when=clock.span(s.since, normal) if s.since else "",
        worst=verdict_facts(s.worst, metric.form, language) if s.worst else None,
        loss=_loss_facts(metric, lost, worst, language),
        cause=Html(segment_name(where, language)) if where else Html(""),
        is_mix=cause is not None and cause.effect == "mix",
        unsent_since=clock.at(over, near=now),
        unsent_lasted=duration(over - (s.since or s.gap or event.bucket), language),
    )
