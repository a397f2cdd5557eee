"""How unusual it is: since when, against the same time of earlier weeks, how often such a thing happens, and what it is like."""

from __future__ import annotations

from html import escape

from alerting.messages.context import Rarity
from alerting.messages.numbers import change
from alerting.messages.phrases import Phrases
from alerting.messages.pieces import capital, dots, is_web
from alerting.messages.standing import LABELS, is_over, over_since
from alerting.messages.words import plural
from alerting.model import Verdict

SAME, WEEKS = 3, 2  # values at the same time, and weeks of history, from which something can be said
MOST = 0.25  # of the same-time values may lie beyond, while it is still worth a word
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def since(p: Phrases) -> str:
    """Since 14:00 · lower than all 12 same-time Mondays · such a drop about once in 9 weeks; when over, from when to when."""
    start = p.since or p.event.bucket
    if is_over(p):
        end = over_since(p.incident) if p.incident and not p.incident.corrected else None
        off = p.say("was off", when=p.context.reader.clock.span(start, end)) if end else ""
        return dots(off, p.say("lasted", lasted=p.lasted(start, end)), rare(p)) if off else ""
    if start == p.event.bucket and p.context.latest is None:
        return capital(rare(p))
    return going_on(p)


def going_on(p: Phrases) -> str:
    """Since 14:00, and how unusual it is, or else how long that is."""
    start = p.since or p.event.bucket
    at, unusual = p.at(start, near=p.event.bucket), rare(p)
    if unusual:
        return dots(capital(p.say("since", since=at)), unusual)
    return p.say("since, so far", since=at, lasted=p.lasted(start))


def rare(p: Phrases) -> str:
    """lower than all 12 same-time Mondays · such a drop about once in 9 weeks"""
    rarity, verdict = p.context.rarity, p.event.verdict
    if rarity is None or not (verdict.value < verdict.expected or verdict.value > verdict.expected):
        return ""
    return dots(_ranked(p, rarity, verdict), _often(p, rarity, verdict))


def _ranked(p: Phrases, rarity: Rarity, verdict: Verdict) -> str:
    if rarity.same < SAME or rarity.beyond > MOST * rarity.same:
        return ""
    weekday = DAYS[p.context.reader.clock.local(p.event.bucket).weekday()]
    than = "lower" if verdict.value < verdict.expected else "higher"
    key = f"{than} than most" if rarity.beyond else f"{than} than all"
    return p.say(key, same=plural(rarity.same, weekday, p.language), many=rarity.same - rarity.beyond)


def _often(p: Phrases, rarity: Rarity, verdict: Verdict) -> str:
    """such a drop about once in 9 weeks · about 3 times a week · not once in the 9 weeks before"""
    if not rarity.weeks >= WEEKS:
        return ""
    move = "drop" if verdict.value < verdict.expected else "rise"
    if not rarity.times:
        return p.say(f"{move}, never", weeks=plural(int(rarity.weeks), "week", p.language))
    return p.say(f"{move}, often", often=_rate(p, rarity.times / rarity.weeks))


def _rate(p: Phrases, a_week: float) -> str:
    weeks, times = round(1 / a_week), round(a_week)
    if weeks > 1:
        return p.say("once in weeks", weeks=plural(weeks, "week", p.language))
    return p.say("times a week", times=plural(times, "occurrence", p.language)) if times > 1 else p.say("once a week")


def before(p: Phrases) -> str:
    """Yesterday 2,015 · a week ago 1,960 · most like: 12 Oct (real, −36 %)"""
    return capital(dots(p.before(), similar(p)))


def similar(p: Phrases) -> str:
    past = p.context.similar
    if past is None:
        return ""
    clock = p.context.reader.clock
    day, today = clock.local(past.at).date(), clock.local(p.event.bucket).date()
    when = clock.at(past.at, near=p.event.bucket) if day == today else clock.day(day)
    linked = f'<a href="{escape(past.url)}">{when}</a>' if is_web(past.url) else when
    facts = [p.say(LABELS[past.label]) if past.label else "", change(past.off, p.language) if past.off else ""]
    more = ", ".join(filter(None, facts))
    said = p.say("most like", when=linked)
    return f"{said} ({more})" if more else said
