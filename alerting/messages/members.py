"""The incident's other members: a short piece each, in one line or a line each."""

from __future__ import annotations

from alerting.messages.context import Part, Reader
from alerting.messages.numbers import Numbers, about, change, off
from alerting.messages.phrases import Phrases
from alerting.messages.pieces import SHORT, capital, dots, plain, some, title_of
from alerting.model import Event, Kind, Metric, Status, Verdict

MOST = 5  # pieces in a line
LINES = 4  # members with a line of their own
TINY = 0.05  # of what one bucket was expected to have: so small a loss is not worth a word
BEGINS = (Kind.OPENED, Kind.NO_DATA)


def also(p: Phrases, parts: tuple[Part, ...] | None = None, key: str = "also") -> str:
    """Also: CTR 13.1 % (expected 20.4–21.6 %), Messages: no data, 2 more: all who are off, or were until it was over."""
    closed = p.incident is not None and not p.incident.open
    off = [part for part in (p.others if parts is None else parts) if closed or part.member.until is None]
    pieces = [said(part, p.context.reader, as_told=closed) for part in off]
    return p.say(key, members=some(pieces, p.language, MOST)) if pieces else ""


def well_again(p: Phrases) -> str:
    """Normal again: CTR; while the incident goes on."""
    well = [title_of(part.metric, p.language, SHORT) for part in p.others if part.member.until is not None]
    open_ = p.incident is not None and p.incident.open
    return p.say("well again", titles=some(well, p.language, MOST)) if well and open_ else ""


def still_off(p: Phrases) -> str:
    """The members that are off besides those that the event itself tells of."""
    told = {event.metric for event in p.event.also}
    return also(p, tuple(part for part in p.others if part.metric.name not in told), "still off")


def told_with(p: Phrases) -> list[str]:
    """Also now: Messages −60 %, and Also worse: CTR −52 %"""
    joined = [short(p, event) for event in p.event.also if event.kind in BEGINS]
    worse = [short(p, event) for event in p.event.also if event.kind is Kind.WORSENED]
    lines = (("also now", joined), ("also worse", worse))
    return [p.say(key, members=some(pieces, p.language, MOST)) for key, pieces in lines if pieces]


def said(part: Part, reader: Reader, as_told: bool = False) -> str:
    """CTR 13.1 % (expected 20.4–21.6 %) · Messages: no data. `as_told`: as when it joined."""
    title = title_of(part.metric, reader.language, SHORT)
    verdict = part.member.first if as_told else part.verdict or part.member.first
    numbers = Numbers.of(part.metric.form, reader.language, verdict)
    value, edges = numbers.value(verdict.value), numbers.range(verdict.low, verdict.high)
    if verdict.status is Status.ANOMALOUS and value:
        expected = reader.say("expected", value=edges) if edges else ""
        return reader.say("with expected", title=title, value=value, expected=expected) if expected else f"{title} {value}"
    if verdict.status is Status.MISSING:
        return reader.say("member, no data", title=title)
    return reader.say("member, state", title=title, state=reader.say(verdict.status.value))


def briefly(title: str, form: str, verdict: Verdict, reader: Reader) -> str:
    """CTR −38 % · Messages: no data"""
    far = off(verdict, form, reader.language)
    if verdict.status is Status.MISSING or not far:
        return reader.say("member, no data", title=title)
    return reader.say("member", title=title, off=far)


def short(p: Phrases, event: Event) -> str:
    """An event told with another: its metric by title where that is known."""
    metric = next((part.metric for part in p.context.parts if part.metric.name == event.metric), None)
    title = title_of(metric, p.language, SHORT) if metric else plain(event.metric, SHORT)
    return briefly(title, metric.form if metric else "number", event.verdict, p.context.reader)


def lost(metric: Metric, count: float, verdict: Verdict | None, reader: Reader) -> str:
    """about 7,900 lost; nothing for what cannot be summed, or is next to nothing."""
    expected = abs(verdict.expected) if verdict else float("nan")
    if metric.form != "count" or not metric.adds or not abs(count) < float("inf") or abs(count) < max(TINY * expected, 1):
        return ""
    return reader.say("lost" if count > 0 else "too many", count=about(abs(count), reader.language))


def ended(p: Phrases, parts: tuple[Part, ...]) -> list[str]:
    """A line for each of them that mattered: Views: deepest −45 % at 14:30 · about 41,000 lost"""
    lines = [line for part in parts if (line := _ended(p, part))]
    more = len(lines) - LINES
    return [*lines[:LINES], capital(p.say("more", count=more))] if more > 0 else lines


def _ended(p: Phrases, part: Part) -> str:
    reader, member = p.context.reader, part.member
    title, worst = title_of(part.metric, reader.language, SHORT), member.worst
    if worst is None and member.gap:
        when = reader.clock.span(member.since, member.until or p.end)
        return reader.say("member, no data for", title=title, when=when)
    worst = worst or member.first
    share = change(worst, reader.language)
    if not share:
        return ""
    key = "lowest at" if worst.value < worst.expected else "highest at"
    deepest = reader.say(key, change=share, at=p.at(worst.bucket, near=p.event.bucket))
    return capital(reader.say("member, worst", title=title, worst=dots(deepest, lost(part.metric, member.lost, worst, reader))))
