"""What is said when it is over, and when late rows have taken it back."""

from __future__ import annotations

from datetime import datetime

from alerting.messages.causes import briefly
from alerting.messages.gaps import data_back, gap_title, of_one_gap
from alerting.messages.members import ended, lost, still_off
from alerting.messages.phrases import Phrases
from alerting.messages.pieces import SHORT, capital, dots, plain, some, title_of
from alerting.messages.standing import labelled, over_since
from alerting.model import Kind, Status

NAMED = 2  # metrics in the first line of a correction, and how many more


def over(p: Phrases) -> list[str]:
    """An incident's end is its root's, whichever of its metrics was the last to be well."""
    root = next((part for part in p.others if p.incident and part.metric.name == p.incident.root.metric), None)
    p = p.about(root) if root else p
    if ends_a_gap(p):
        first, *lines = data_back(p)
        return [_untold(p) or first, *lines, *ended(p, of_one_gap(p)[1]), labelled(p)]
    return [*_resolved(p), labelled(p)]


def ends_a_gap(p: Phrases) -> bool:
    """The incident was a gap: no data, rather than odd data."""
    return p.incident.root.gap if p.incident else p.event.kind is Kind.DATA_BACK


def _resolved(p: Phrases) -> list[str]:
    calm = (p.member.until if p.member else None) or p.event.episode.calm_since or p.event.bucket
    count = (p.member.lost if p.member else 0.0) or p.event.episode.lost
    loss = lost(p.context.metric, count, p.worst or p.event.verdict, p.context.reader)
    deepest = dots(p.farthest(), loss)
    return [
        _untold(p) or _first(p, calm),
        f"{p.title}: {deepest}" if deepest and p.context.platform else capital(deepest),
        briefly(p),
        *ended(p, p.others),
        "" if p.context.platform else p.bucket(),
        p.say("was off", when=p.context.reader.clock.span(p.since, calm)) if p.since else "",
    ]


def _first(p: Phrases, calm: datetime) -> str:
    """Likes normal again since 16:45; where others took longer: all since 17:30."""
    if p.since is None:
        return p.say("resolved, start unknown", since=p.at(calm))
    last = (over_since(p.incident) if p.incident else None) or calm
    if p.incident and p.context.platform:
        since = min(member.since for member in p.incident.members)
        return p.say("resolved", title=p.say("platform title"), since=p.at(last), lasted=p.lasted(since, last))
    key = "resolved, all" if last > calm else "resolved"
    return p.say(key, since=p.at(calm), all=p.at(last, near=calm), lasted=p.lasted(p.since, last))


def _untold(p: Phrases) -> str:
    """The first that is heard of it is that it is over."""
    if p.incident is None or p.incident.told is not None:
        return ""
    end = over_since(p.incident) or p.event.bucket
    pieces = {"since": p.at(end), "lasted": p.lasted(p.since or p.gap, end)}
    if ends_a_gap(p):
        return p.say("untold, no data", title=gap_title(p, of_one_gap(p)[0]), **pieces)
    return p.say("untold", off=p.off(p.worst), **pieces) if p.worst else ""


def corrected(p: Phrases) -> list[str]:
    """Late rows have made it normal: what was told, what there is now, and that we are sorry."""
    verdict, member, clock = p.event.verdict, p.member, p.context.reader.clock
    gap = bool(member and member.gap) or p.event.episode.gap is not None
    start = p.gap if gap else p.event.bucket
    titles = [p.title, *_gone(p)]
    many = max(NAMED, len(titles) if len(titles) <= NAMED + 1 else 0)
    first = p.say("corrected", title=some(titles, p.language, many), when=clock.span(start, p.end))
    value, expected = p.numbers(verdict).value(verdict.value), p.expected(verdict)
    if gap or not value or verdict.status is not Status.NORMAL:
        return [first, p.say("sorry"), _left(p)]
    now = p.say("rows late", value=value, expected=expected) if expected else value
    sorry = p.say("sorry, told", off=p.off(member.first)) if member else p.say("sorry, value")
    return [first, now, sorry, _left(p)]


def _gone(p: Phrases) -> list[str]:
    """The other metrics that are taken back, too: all that are left when all of it is, and those that have left it."""
    known = {part.metric.name for part in p.context.parts}
    told = {event.metric for event in p.event.also}
    gone = [part for part in p.others if (p.incident and p.incident.corrected) or part.metric.name in told]
    left = [plain(event.metric, SHORT) for event in p.event.also if event.metric not in known]
    return [*(title_of(part.metric, p.language, SHORT) for part in gone), *left]


def _left(p: Phrases) -> str:
    return "" if p.incident is None or p.incident.corrected else still_off(p)
