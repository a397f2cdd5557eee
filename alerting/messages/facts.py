"""What can be said of one event, a line or a piece of a line each. Empty when it has nothing to say."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from html import escape

from alerting.messages.context import Audience, MemberContext, MessageContext
from alerting.messages.format import NAN, NumberFormat, about, change, duration, elapsed, percent_off, times
from alerting.messages.text import (
    SHORT_TITLE,
    TITLE,
    capitalize,
    ellipsis,
    first_few,
    inside_sentence,
    is_web,
    plain_line,
    title_of,
)
from alerting.messages.words import plural
from alerting.model.incident import Event, Incident, Member, Rarity
from alerting.model.metric import CalendarEvent, Metric
from alerting.model.verdict import Episode, EventKind, Label, Status, Verdict

LATE = timedelta(minutes=30)  # a text is late when its bucket ended longer ago than this, and than two steps
CUT = 1000.0  # scores end here: beyond it only the sign says anything
BARELY = 1.05


@dataclass(frozen=True)
class EventFacts:
    """What can be said of one event to one reader."""

    event: Event
    context: MessageContext

    @property
    def title(self) -> str:
        return title_of(self.context.metric, self.language)

    @property
    def language(self) -> str:
        return self.context.reader.language

    @property
    def incident(self) -> Incident | None:
        return self.event.incident

    @property
    def member(self) -> Member | None:
        """The event's metric as a part of the incident."""
        known = next((part.member for part in self.context.members if part.metric.name == self.event.metric), None)
        return (self.incident.member(self.event.metric) if self.incident else None) or known

    @property
    def others(self) -> tuple[MemberContext, ...]:
        """The incident's other members, those that are still off first."""
        others = [part for part in self.context.members if part.metric.name != self.event.metric]
        return tuple(sorted(others, key=lambda part: part.member.until is not None))

    @property
    def end(self) -> datetime:
        """Of the event's bucket."""
        return self.event.bucket + self.context.metric.step

    @property
    def until(self) -> datetime:
        """End of the newest bucket that the text speaks of."""
        latest = self.context.latest
        return latest.bucket + self.context.metric.step if latest else self.end

    @property
    def gap(self) -> datetime:
        """The first missing bucket."""
        return self.event.episode.gap_since or (self.member.since if self.member and self.member.gap else self.event.bucket)

    @property
    def since(self) -> datetime | None:
        """The first odd bucket."""
        return self.event.episode.since or (self.member.since if self.member else None)

    @property
    def worst(self) -> Verdict | None:
        return self.event.episode.worst or (self.member.worst if self.member else None)

    @property
    def critical(self) -> bool:
        """The severity of what the event tells: when the whole platform is down, the worst metric counts."""
        others = [part.member.first for part in self.others] if self.context.is_platform else []
        return self.event.is_critical(self.context.metric.policy, others)

    def about(self, part: MemberContext) -> EventFacts:
        """The same of another member of the incident."""
        verdict = part.verdict or Verdict(part.metric.name, self.event.bucket, Status.UNKNOWN)
        member = part.member
        gap = member.since if member.gap else None
        episode = Episode(
            part.metric.name, since=None if gap else member.since, worst=member.worst, lost=member.lost, gap_since=gap
        )
        event = replace(self.event, metric=part.metric.name, verdict=verdict, episode=episode)
        own = [MemberContext(self.context.metric, self.member, self.event.verdict)] if self.member else []
        parts = (*own, *self.others)
        context = replace(self.context, metric=part.metric, members=parts, yesterday=NAN, week_ago=NAN, latest=None, newest=None)
        return EventFacts(event, replace(context, table=part.metric.query))

    def say(self, key: str, **pieces: object) -> str:
        return self.context.reader.say(key, **{"title": self.title, "inside": inside_sentence(self.title), **pieces})

    def at(self, instant: datetime, near: datetime | None = None) -> str:
        return self.context.reader.clock.at(instant, near or self.context.reader.now)

    def when(self) -> str:
        return self.context.reader.clock.span(self.event.bucket, self.end)

    def lasted(self, start: datetime | None, end: datetime | None = None) -> str:
        """True time from `start` to `end`, or to the end of the newest bucket."""
        return duration(elapsed(start, end or self.until), self.language) if start else ""

    def buckets(self, start: datetime, end: datetime) -> str:
        return plural(round(elapsed(start, end) / self.context.metric.step), "bucket", self.language)

    def off(self, verdict: Verdict) -> str:
        return percent_off(verdict, self.context.metric.form, self.language)

    def bucket(self, *more: str) -> str:
        """Mon 17:00–17:15: 1,240 · expected 2,020 (1,930–2,110) · −780"""
        facts = self.facts(self.event.verdict)
        return capitalize(f"{self.when()}: {ellipsis(facts, *more)}") if facts or any(more) else ""

    def facts(self, verdict: Verdict, *more: str) -> str:
        """1,240 · expected 2,020 (1,930–2,110) · −780"""
        n = self.numbers(verdict)
        odd = verdict.status is Status.ANOMALOUS and verdict.value and verdict.expected
        difference = n.difference(verdict.value - verdict.expected) if odd else ""
        value = n.value(verdict.value)
        return ellipsis(value and f"<b>{value}</b>", self.expected(verdict), difference, *more)

    def edge(self, verdict: Verdict) -> str:
        """2.3 × the edge of normal: how bad it is, in words. Nothing where the score was cut or is not known."""
        far = abs(verdict.score)
        if verdict.status is not Status.ANOMALOUS or not 1 <= far < CUT:
            return ""
        return self.say("edge", times=times(far, self.language)) if far >= BARELY else self.say("edge, barely")

    def expected(self, verdict: Verdict) -> str:
        n = self.numbers(verdict)
        expected, edges = n.value(verdict.expected), n.range(verdict.low, verdict.high)
        value = f"{expected} ({edges})" if edges not in ("", expected) else expected
        return self.say("expected", value=value) if expected else ""

    def before(self) -> str:
        """Yesterday 2,015 · a week ago 1,960"""
        n = self.numbers(self.event.verdict)
        past = {"yesterday": n.value(self.context.yesterday), "week ago": n.value(self.context.week_ago)}
        return capitalize(ellipsis(*(self.say(key, value=value) for key, value in past.items() if value)))

    def farthest(self) -> str:
        """deepest −52 % at 15:30 (960, expected 2,000); empty when the event's own bucket is the farthest."""
        worst = self.worst
        if worst is None or worst.bucket == self.event.bucket:
            return ""
        n = self.numbers(worst)
        expected = n.value(worst.expected)
        facts = n.value(worst.value) + (", " + self.say("expected", value=expected) if expected else "")
        share = change(worst, self.language)
        key = ("deepest" if worst.value < worst.expected else "highest") if share else "farthest"
        return self.say(key, change=share, at=self.at(worst.bucket, near=self.event.bucket), facts=facts) if facts else ""

    def state(self, verdict: Verdict) -> str:
        """normal · −38 % · too little history to judge"""
        share = change(verdict, self.language) if verdict.status is Status.ANOMALOUS else ""
        return share or self.say(verdict.status.value)

    def told_late(self) -> str:
        """Nothing on an opening message that is told anew as things move: that is no delay."""
        late = elapsed(self.end, self.context.reader.now)
        usual = max(LATE, 2 * self.context.metric.step)
        begins = self.event.kind in (EventKind.OPENED, EventKind.NO_DATA)
        anew = begins and (self.context.latest or (self.incident and not self.incident.open))
        return self.say("told late", late=duration(late, self.language)) if late > usual and not anew else ""

    def numbers(self, verdict: Verdict) -> NumberFormat:
        return NumberFormat.of(self.context.metric.form, self.language, verdict)


# The incident's other members: a short piece each, in one line or a line each.

MAX_MEMBERS = 5  # pieces in a line
MAX_MEMBER_LINES = 4  # members with a line of their own
TINY_LOSS = 0.05  # of what one bucket was expected to have: so small a loss is not worth a word
OPENING_EVENTS = (EventKind.OPENED, EventKind.NO_DATA)


def also_line(p: EventFacts, parts: tuple[MemberContext, ...] | None = None, key: str = "also") -> str:
    """Also: CTR 13.1 % (expected 20.4–21.6 %), Messages: no data, 2 more: all who are off, or were until it was over."""
    closed = p.incident is not None and not p.incident.open
    off = [part for part in (p.others if parts is None else parts) if closed or part.member.until is None]
    pieces = [member_text(part, p.context.reader, as_told=closed) for part in off]
    return p.say(key, members=first_few(pieces, p.language, MAX_MEMBERS)) if pieces else ""


def normal_again_line(p: EventFacts) -> str:
    """Normal again: CTR; while the incident goes on."""
    well = [title_of(part.metric, p.language, SHORT_TITLE) for part in p.others if part.member.until is not None]
    open_ = p.incident is not None and p.incident.open
    return p.say("well again", titles=first_few(well, p.language, MAX_MEMBERS)) if well and open_ else ""


def still_off(p: EventFacts) -> str:
    """The members that are off besides those that the event itself tells of."""
    told = {event.metric for event in p.event.also}
    return also_line(p, tuple(part for part in p.others if part.metric.name not in told), "still off")


def also_now_lines(p: EventFacts) -> list[str]:
    """Also now: Messages −60 %, and Also worse: CTR −52 %"""
    joined = [event_brief(p, event) for event in p.event.also if event.kind in OPENING_EVENTS]
    worse = [event_brief(p, event) for event in p.event.also if event.kind is EventKind.WORSENED]
    lines = (("also now", joined), ("also worse", worse))
    return [p.say(key, members=first_few(pieces, p.language, MAX_MEMBERS)) for key, pieces in lines if pieces]


def member_text(part: MemberContext, reader: Audience, as_told: bool = False) -> str:
    """CTR 13.1 % (expected 20.4–21.6 %) · Messages: no data. `as_told`: as when it joined."""
    title = title_of(part.metric, reader.language, SHORT_TITLE)
    verdict = part.member.first if as_told else part.verdict or part.member.first
    numbers = NumberFormat.of(part.metric.form, reader.language, verdict)
    value, edges = numbers.value(verdict.value), numbers.range(verdict.low, verdict.high)
    if verdict.status is Status.ANOMALOUS and value:
        expected = reader.say("expected", value=edges) if edges else ""
        return reader.say("with expected", title=title, value=value, expected=expected) if expected else f"{title} {value}"
    if verdict.status is Status.MISSING:
        return reader.say("member, no data", title=title)
    return reader.say("member, state", title=title, state=reader.say(verdict.status.value))


def member_brief(title: str, form: str, verdict: Verdict, reader: Audience) -> str:
    """CTR −38 % · Messages: no data"""
    far = percent_off(verdict, form, reader.language)
    if verdict.status is Status.MISSING or not far:
        return reader.say("member, no data", title=title)
    return reader.say("member", title=title, off=far)


def event_brief(p: EventFacts, event: Event) -> str:
    """An event told with another: its metric by title where that is known."""
    metric = next((part.metric for part in p.context.members if part.metric.name == event.metric), None)
    title = title_of(metric, p.language, SHORT_TITLE) if metric else plain_line(event.metric, SHORT_TITLE)
    return member_brief(title, metric.form if metric else "number", event.verdict, p.context.reader)


def lost_text(metric: Metric, count: float, verdict: Verdict | None, reader: Audience) -> str:
    """about 7,900 lost; nothing for what cannot be summed, or is next to nothing."""
    expected = abs(verdict.expected) if verdict else float("nan")
    if metric.form != "count" or not metric.adds or not abs(count) < float("inf") or abs(count) < max(TINY_LOSS * expected, 1):
        return ""
    return reader.say("lost" if count > 0 else "too many", count=about(abs(count), reader.language))


def ended_lines(p: EventFacts, parts: tuple[MemberContext, ...]) -> list[str]:
    """A line for each of them that mattered: Views: deepest −45 % at 14:30 · about 41,000 lost"""
    lines = [line for part in parts if (line := _ended(p, part))]
    more = len(lines) - MAX_MEMBER_LINES
    return [*lines[:MAX_MEMBER_LINES], capitalize(p.say("more", count=more))] if more > 0 else lines


def _ended(p: EventFacts, part: MemberContext) -> str:
    reader, member = p.context.reader, part.member
    title, worst = title_of(part.metric, reader.language, SHORT_TITLE), member.worst
    if worst is None and member.gap:
        when = reader.clock.span(member.since, member.until or p.end)
        return reader.say("member, no data for", title=title, when=when)
    worst = worst or member.first
    share = change(worst, reader.language)
    if not share:
        return ""
    key = "lowest at" if worst.value < worst.expected else "highest at"
    deepest = reader.say(key, change=share, at=p.at(worst.bucket, near=p.event.bucket))
    return capitalize(
        reader.say("member, worst", title=title, worst=ellipsis(deepest, lost_text(part.metric, member.lost, worst, reader)))
    )


# How an incident stands: its first line's sign and end, where it is now, the calendar, who is on it, what people said of it.

MAX_CALENDAR_EVENTS = 3  # lines of the calendar
LABEL_WORDS = {
    Label.REAL: "real",
    Label.FALSE_ALARM: "false alarm",
    Label.EXPECTED: "expected by people",
    Label.NEW_TREND: "new trend",
}


def icon(p: EventFacts, sign: str = "") -> str:
    """The first line's sign: `sign`, or that of its severity, while the incident goes on."""
    if p.incident and p.incident.corrected:
        return "↩️"
    if is_over(p):
        return "🟢"
    return sign or p.say("critical icon" if p.critical else "warning icon")


def is_over(p: EventFacts) -> bool:
    return p.incident is not None and not p.incident.open


def over_since(incident: Incident) -> datetime | None:
    """First bucket in which all members were well again."""
    return max((member.until for member in incident.members if member.until), default=incident.closed)


def headline(p: EventFacts, first: str) -> str:
    """The first line, and how it ended."""
    if p.incident is None or p.incident.open:
        return first
    if p.incident.corrected:
        return ellipsis(first, p.say("taken back"))
    since = over_since(p.incident)
    return ellipsis(first, p.say("over", since=p.at(since, near=p.event.bucket)) if since else "")


def now_line(p: EventFacts) -> str:
    """Now (15:30–15:45): 960, −52 %"""
    latest = p.context.latest
    if latest is None or is_over(p):
        return ""
    when = p.context.reader.clock.span(latest.bucket, p.until, near=p.event.bucket)
    value = p.numbers(latest).value(latest.value)
    return p.say("now", when=when, facts=", ".join(piece for piece in (value, p.state(latest)) if piece))


def standing_lines(p: EventFacts) -> list[str]:
    return [*calendar_lines(p), acknowledged_line(p), silent_line(p), label_line(p)]


def calendar_lines(p: EventFacts) -> list[str]:
    """📅 Release 2.3, 14:05; the nearest first."""
    near = sorted(p.context.calendar, key=lambda occasion: abs(occasion.start - p.event.bucket))
    lines = [f"📅 {plain_line(o.title or o.kind, TITLE)}{_at(p, o)}" for o in near[:MAX_CALENDAR_EVENTS]]
    more = len(near) - MAX_CALENDAR_EVENTS
    return [*lines, f"📅 {p.say('more', count=more)}"] if more > 0 else lines


def _at(p: EventFacts, occasion: CalendarEvent) -> str:
    """, 14:05 · , 14:00–18:00 · , Sun; nothing for the whole of this day."""
    clock, start, end = p.context.reader.clock, occasion.start, max(occasion.start, occasion.end)
    if days := clock.days(start, end):
        first, last = clock.local(start).date(), clock.local(start).date() + timedelta(days=days - 1)
        today = first <= clock.local(p.event.bucket).date() <= last
        if days == 1:
            return "" if today else f", {clock.day(first)}"
        return f", {clock.day(first)}–{clock.day(last)}"
    until = f"–{clock.at(end, near=start)}" if end - start >= p.context.metric.step else ""
    return f", {clock.at(start, near=p.event.bucket)}{until}"


def acknowledged_line(p: EventFacts) -> str:
    who = p.incident.acknowledged_by if p.incident and p.incident.open else ""
    return p.say("on it", who=plain_line(who, TITLE)) if who else ""


def silent_line(p: EventFacts) -> str:
    """🔕 Silent until 15:35"""
    if is_over(p):
        return ""
    if p.incident and p.incident.muted:
        return p.say("silent, muted")
    snoozed = p.incident.snoozed_until if p.incident else None
    until = max((at for at in (snoozed, p.context.silenced_until) if at), default=None)
    reader = p.context.reader
    return p.say("silent", until=p.at(until)) if until and until > reader.now else ""


def label_line(p: EventFacts) -> str:
    """🏷 Anna: false alarm"""
    if not (p.incident and p.incident.label):
        return ""
    label, who = p.say(LABEL_WORDS[p.incident.label]), plain_line(p.incident.labelled_by, TITLE)
    return p.say("labelled by", label=label, who=who) if who else p.say("labelled", label=capitalize(label))


# How unusual it is: since when, against the same time of earlier weeks, how often such a thing happens, and what it is like.

SAME, WEEKS = 3, 2  # values at the same time, and weeks of history, from which something can be said
MAX_WEEKS = 0.25  # of the same-time values may lie beyond, while it is still worth a word
RANKED_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def since_line(p: EventFacts) -> str:
    """Since 14:00 · lower than all 12 same-time Mondays · such a drop about once in 9 weeks; when over, from when to when."""
    start = p.since or p.event.bucket
    if is_over(p):
        end = over_since(p.incident) if p.incident and not p.incident.corrected else None
        off = p.say("was off", when=p.context.reader.clock.span(start, end)) if end else ""
        return ellipsis(off, p.say("lasted", lasted=p.lasted(start, end)), rarity_text(p)) if off else ""
    if start == p.event.bucket and p.context.latest is None:
        return capitalize(rarity_text(p))
    return duration_line(p)


def duration_line(p: EventFacts) -> str:
    """Since 14:00, and how unusual it is, or else how long that is."""
    start = p.since or p.event.bucket
    at, unusual = p.at(start, near=p.event.bucket), rarity_text(p)
    if unusual:
        return ellipsis(capitalize(p.say("since", since=at)), unusual)
    return p.say("since, so far", since=at, lasted=p.lasted(start))


def rarity_text(p: EventFacts) -> str:
    """lower than all 12 same-time Mondays · such a drop about once in 9 weeks"""
    rarity, verdict = p.context.rarity, p.event.verdict
    if rarity is None or not (verdict.value < verdict.expected or verdict.value > verdict.expected):
        return ""
    return ellipsis(_ranked(p, rarity, verdict), _often(p, rarity, verdict))


def _ranked(p: EventFacts, rarity: Rarity, verdict: Verdict) -> str:
    if rarity.same < SAME or rarity.beyond > MAX_WEEKS * rarity.same:
        return ""
    weekday = RANKED_DAYS[p.context.reader.clock.local(p.event.bucket).weekday()]
    than = "lower" if verdict.value < verdict.expected else "higher"
    key = f"{than} than most" if rarity.beyond else f"{than} than all"
    return p.say(key, same=plural(rarity.same, weekday, p.language), many=rarity.same - rarity.beyond)


def _often(p: EventFacts, rarity: Rarity, verdict: Verdict) -> str:
    """such a drop about once in 9 weeks · about 3 times a week · not once in the 9 weeks before"""
    if not rarity.weeks >= WEEKS:
        return ""
    move = "drop" if verdict.value < verdict.expected else "rise"
    if not rarity.times:
        return p.say(f"{move}, never", weeks=plural(int(rarity.weeks), "week", p.language))
    return p.say(f"{move}, often", often=_rate(p, rarity.times / rarity.weeks))


def _rate(p: EventFacts, a_week: float) -> str:
    weeks, times = round(1 / a_week), round(a_week)
    if weeks > 1:
        return p.say("once in weeks", weeks=plural(weeks, "week", p.language))
    return p.say("times a week", times=plural(times, "occurrence", p.language)) if times > 1 else p.say("once a week")


def before_line(p: EventFacts) -> str:
    """Yesterday 2,015 · a week ago 1,960 · most like: 12 Oct (real, −36 %)"""
    return capitalize(ellipsis(p.before(), similar_text(p)))


def similar_text(p: EventFacts) -> str:
    past = p.context.similar
    if past is None:
        return ""
    clock = p.context.reader.clock
    day, today = clock.local(past.at).date(), clock.local(p.event.bucket).date()
    when = clock.at(past.at, near=p.event.bucket) if day == today else clock.day(day)
    linked = f'<a href="{escape(past.url)}">{when}</a>' if is_web(past.url) else when
    facts = [p.say(LABEL_WORDS[past.label]) if past.label else "", change(past.off, p.language) if past.off else ""]
    more = ", ".join(filter(None, facts))
    said = p.say("most like", when=linked)
    return f"{said} ({more})" if more else said
