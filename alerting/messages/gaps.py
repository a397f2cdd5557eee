"""No data: neither an anomaly nor a failed check. What is missing, since when, and what else there is to see of it."""

from __future__ import annotations

from datetime import datetime

from alerting.messages.context import Part
from alerting.messages.members import also, well_again
from alerting.messages.phrases import Phrases
from alerting.messages.pieces import REASON, SHORT, TITLE, capital, dots, names, plain, some, title_of
from alerting.messages.standing import headline, icon, is_over, now, over_since, standing
from alerting.messages.times import duration, elapsed
from alerting.model import Status

FIRST = 2  # metrics named in a first line, and how many more


def no_data(p: Phrases) -> list[str]:
    same, rest = of_one_gap(p)
    key = "no data again" if p.event.again else "no data of many" if same and not p.context.platform else "no data"
    end = _end(p)
    if p.incident and is_over(p) and not p.incident.corrected:
        first = p.say("untold, no data", title=gap_title(p, same), since=p.at(end), lasted=p.lasted(p.gap, end))
        return [first, also(p, rest), *standing(p)]
    pieces = {"since": p.at(p.gap), "buckets": p.buckets(p.gap, end), "lasted": p.lasted(p.gap, end)}
    first = p.say(key, icon=icon(p, "⚫"), title=gap_title(p, same), **pieces)
    about = [] if is_over(p) else [now(p), *about_the_gap(p)]
    return [headline(p, first), *about, also(p, rest), well_again(p), *standing(p)]


def _end(p: Phrases) -> datetime:
    """Of the gap, as far as it is known."""
    latest = p.context.latest
    since = over_since(p.incident) if p.incident and is_over(p) else None
    return since or (latest.bucket if latest and latest.status is not Status.MISSING else p.until)


def still_no_data(p: Phrases) -> list[str]:
    since = dots(p.say("since", since=p.at(p.gap)), p.buckets(p.gap, p.end))
    return [p.say("still no data", lasted=p.lasted(p.gap)), capital(since), *about_the_gap(p)]


def about_the_gap(p: Phrases) -> list[str]:
    reason = p.event.verdict.reason
    return [
        _source(p),
        _where(p),
        p.say("reason", reason=plain(reason, REASON)) if reason else "",
        _last_value(p),
        p.say("again with a value" if _has_rows(p) or reason else "again with rows"),
    ]


def data_back(p: Phrases) -> list[str]:
    same, rest = of_one_gap(p)
    gap = p.event.episode.gap or (p.member.since if p.member and p.member.gap else None)
    verdict, back = p.event.verdict, (p.member.until if p.member and p.member.until else p.event.bucket)
    well = verdict.status is Status.NORMAL and not any(part.member.until is None for part in rest)
    missing = p.say("was missing", when=p.context.reader.clock.span(gap, back), buckets=p.buckets(gap, back)) if gap else ""
    pieces = {"icon": "🟢" if well else "⚪", "since": p.at(back), "lasted": p.lasted(gap, back)}
    return [
        p.say("data back" if gap else "data back, start unknown", title=gap_title(p, same), **pieces),
        p.bucket(p.state(verdict)) if p.facts(verdict) else "",
        missing,
        also(p, tuple(part for part in rest if part.member.until is None)),
    ]


def of_one_gap(p: Phrases) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """The others that are in the same gap, and the rest; none is in it when the incident has more to it than that gap."""
    gaps = tuple(part for part in p.others if part.member.gap)
    alike = p.context.platform or all(part.metric.query == p.context.metric.query for part in gaps)
    return (gaps, ()) if alike and len(gaps) == len(p.others) else ((), p.others)


def gap_title(p: Phrases, same: tuple[Part, ...]) -> str:
    """Feed users, Views, 2 more"""
    if p.context.platform and same:
        return p.say("platform, no data")
    titles = [p.title, *(title_of(part.metric, p.language, SHORT) for part in same)]
    return some(titles, p.language, max(FIRST, len(titles) if len(titles) <= FIRST + 1 else 0))


def _has_rows(p: Phrases) -> bool:
    """The source has rows of the gap's time, so it is the value that cannot be made of them."""
    return p.context.newest is not None and p.gap <= p.context.newest < p.until


def _source(p: Phrases) -> str:
    """feed_actions: newest row 12:09, 36 min ago, usually 1 min"""
    table, newest, reader = plain(p.context.table, TITLE), p.context.newest, p.context.reader
    if not table or newest is None:
        return table and p.say("table", table=table)
    if _has_rows(p):
        return p.say("rows, no value", table=table, at=p.at(newest))
    ago = duration(elapsed(newest, reader.now), reader.language)
    usual = p.context.usual_delay
    usually = p.say("usually", usual=duration(usual, reader.language)) if usual is not None and newest <= reader.now else ""
    said = p.say("newest" if newest <= reader.now else "newest, ahead", table=table, at=p.at(newest), ago=ago)
    return f"{said}, {usually}" if usually else said


def _where(p: Phrases) -> str:
    """Complete: message_actions → the pipeline of feed_actions, or its part of the app"""
    if p.incident is None or not p.context.table or _has_rows(p) or p.event.verdict.reason:
        return ""
    if not p.context.complete:
        return p.say("none complete")
    tables = names(p.context.complete, p.language, 3)
    return p.say("complete", tables=tables, table=plain(p.context.table, TITLE))


def _last_value(p: Phrases) -> str:
    last = p.event.episode.last
    value = p.numbers(last).value(last.value) if last else ""
    return p.say("last value", value=value, at=p.at(last.bucket), state=p.state(last)) if last and value else ""
