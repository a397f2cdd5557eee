"""How an incident stands: its first line's sign and end, where it is now, the calendar, who is on it, what people said of it."""

from __future__ import annotations

from datetime import datetime, timedelta

from alerting.messages.phrases import Phrases
from alerting.messages.pieces import TITLE, capital, dots, plain
from alerting.model import Incident, Label, Occasion

OCCASIONS = 3  # lines of the calendar
LABELS = {
    Label.REAL: "real",
    Label.FALSE_ALARM: "false alarm",
    Label.EXPECTED: "expected by people",
    Label.NEW_TREND: "new trend",
}


def icon(p: Phrases, sign: str = "") -> str:
    """The first line's sign: `sign`, or that of its severity, while the incident goes on."""
    if p.incident and p.incident.corrected:
        return "↩️"
    if is_over(p):
        return "🟢"
    return sign or p.say("critical icon" if p.critical else "warning icon")


def is_over(p: Phrases) -> bool:
    return p.incident is not None and not p.incident.open


def over_since(incident: Incident) -> datetime | None:
    """First bucket in which all members were well again."""
    return max((member.until for member in incident.members if member.until), default=incident.closed)


def headline(p: Phrases, first: str) -> str:
    """The first line, and how it ended."""
    if p.incident is None or p.incident.open:
        return first
    if p.incident.corrected:
        return dots(first, p.say("taken back"))
    since = over_since(p.incident)
    return dots(first, p.say("over", since=p.at(since, near=p.event.bucket)) if since else "")


def now(p: Phrases) -> str:
    """Now (15:30–15:45): 960, −52 %"""
    latest = p.context.latest
    if latest is None or is_over(p):
        return ""
    when = p.context.reader.clock.span(latest.bucket, p.until, near=p.event.bucket)
    value = p.numbers(latest).value(latest.value)
    return p.say("now", when=when, facts=", ".join(piece for piece in (value, p.state(latest)) if piece))


def standing(p: Phrases) -> list[str]:
    return [*calendar(p), taken(p), silent(p), labelled(p)]


def calendar(p: Phrases) -> list[str]:
    """📅 Release 2.3, 14:05; the nearest first."""
    near = sorted(p.context.occasions, key=lambda occasion: abs(occasion.start - p.event.bucket))
    lines = [f"📅 {plain(o.title or o.kind, TITLE)}{_at(p, o)}" for o in near[:OCCASIONS]]
    more = len(near) - OCCASIONS
    return [*lines, f"📅 {p.say('more', count=more)}"] if more > 0 else lines


def _at(p: Phrases, occasion: Occasion) -> str:
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


def taken(p: Phrases) -> str:
    who = p.incident.taken if p.incident and p.incident.open else ""
    return p.say("on it", who=plain(who, TITLE)) if who else ""


def silent(p: Phrases) -> str:
    """🔕 Silent until 15:35"""
    if is_over(p):
        return ""
    if p.incident and p.incident.muted:
        return p.say("silent, muted")
    snoozed = p.incident.snoozed if p.incident else None
    until = max((at for at in (snoozed, p.context.silenced_until) if at), default=None)
    reader = p.context.reader
    return p.say("silent", until=p.at(until)) if until and until > reader.now else ""


def labelled(p: Phrases) -> str:
    """🏷 Anna: false alarm"""
    if not (p.incident and p.incident.label):
        return ""
    label, who = p.say(LABELS[p.incident.label]), plain(p.incident.labelled, TITLE)
    return p.say("labelled by", label=label, who=who) if who else p.say("labelled", label=capital(label))
