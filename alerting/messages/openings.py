"""What is said while it goes on: opened (also as it is told anew when numbers move), worse, still."""

from __future__ import annotations

from alerting.messages.causes import causes
from alerting.messages.context import Part
from alerting.messages.gaps import about_the_gap, still_no_data
from alerting.messages.history import before, going_on, similar, since
from alerting.messages.members import LINES, also, briefly, said, still_off, told_with, well_again
from alerting.messages.numbers import share
from alerting.messages.phrases import Phrases
from alerting.messages.pieces import SHORT, TITLE, capital, dots, inside, names, plain, title_of
from alerting.messages.standing import headline, icon, is_over, now, standing, taken
from alerting.model import Status

RULES = ("sudden", "sustained", "level")  # which question an anomalous verdict answers, as its reason
FIRST = 2  # members named in the platform's first line


def opened(p: Phrases) -> list[str]:
    verdict = p.event.verdict
    if p.context.platform and p.others:
        return _platform(p)
    cause, *more = causes(p) or [""]
    first, *facts = (_by_share if share(verdict, p.language) else _by_value)(p)
    return [
        headline(p, first),
        *facts,
        now(p),
        also(p),
        cause,
        since(p),
        before(p),
        *more,
        well_again(p),
        _normal(p),
        p.say(f"rule {verdict.reason}") if verdict.reason in RULES else "",
        *standing(p),
    ]


def _by_share(p: Phrases) -> list[str]:
    key = "again" if p.event.again else "opened"
    first = p.say(key, icon=icon(p), off=p.off(p.event.verdict), when=p.when())
    return [first, p.facts(p.event.verdict, p.edge(p.event.verdict))]


def _by_value(p: Phrases) -> list[str]:
    """A zero, or a value where nothing was expected, says more than a share."""
    verdict, numbers = p.event.verdict, p.numbers(p.event.verdict)
    expected, edges = numbers.value(verdict.expected), numbers.range(verdict.low, verdict.high)
    key = "again" if p.event.again else "opened, value" if expected else "opened"
    return [
        p.say(key, icon=icon(p), off=p.off(verdict), expected=p.say("expected", value=expected), when=p.when()),
        dots(
            p.say("range", range=edges) if edges else "",
            p.say("true zero") if verdict.value == 0 else "",
            p.edge(verdict),
        ),
    ]


def _normal(p: Phrases) -> str:
    return p.say("others", titles=names(p.context.others, p.language)) if p.context.others and not is_over(p) else ""


def _platform(p: Phrases) -> list[str]:
    """The products' roots in the first line; what explains it; then a line for each of the worst hit."""
    parts, (cause, *besides) = _roots_first(p), causes(p) or [""]
    lines = [said(part, p.context.reader, as_told=is_over(p)) for part in parts]
    return [
        headline(p, _platform_line(p, parts)),
        f"{p.title} {p.facts(p.event.verdict, p.edge(p.event.verdict))}",
        now(p),
        cause,
        capital(dots(since(p), similar(p))),
        *besides,
        *lines[: LINES + 1],
        capital(p.say("more", count=len(lines) - LINES - 1)) if len(lines) > LINES + 1 else "",
        _normal(p),
        *standing(p),
    ]


def _roots_first(p: Phrases) -> list[Part]:
    """The other products' roots before this one's, then what hangs on them."""
    members = {p.event.metric, *(part.metric.name for part in p.others)}
    roots = [part for part in p.others if not members & set(part.metric.parents)]
    far = sorted(roots, key=lambda part: part.metric.product == p.context.metric.product)
    return [*far, *(part for part in p.others if part not in roots)]


def _platform_line(p: Phrases, parts: list[Part]) -> str:
    own = briefly(p.title, p.context.metric.form, p.event.verdict, p.context.reader)
    pieces = [own, *(_briefly(p, part) for part in parts)]
    titles = ", ".join(inside(piece) for piece in pieces[:FIRST])
    more = f", {p.say('more', count=len(pieces) - FIRST)}" if len(pieces) > FIRST else ""
    return p.say("platform", icon=icon(p), titles=titles, more=more, when=p.when())


def _briefly(p: Phrases, part: Part) -> str:
    """As it was when it joined: the first line keeps its figures."""
    title = title_of(part.metric, p.language, SHORT)
    return briefly(title, part.metric.form, part.member.first, p.context.reader)


def worsened(p: Phrases) -> list[str]:
    verdict, said_before = p.event.verdict, p.event.episode.said
    if said_before is None or verdict.status is Status.MISSING:
        return _joined(p)
    cause, *more = causes(p) or [""]
    return [
        p.say("worse", icon=icon(p), off=p.off(verdict), before=p.off(said_before), when=p.when()),
        p.facts(verdict, p.edge(verdict)),
        *told_with(p),
        cause,
        going_on(p),
        before(p),
        *more,
        p.say(f"rule {verdict.reason}") if verdict.reason in RULES and verdict.reason != said_before.reason else "",
        taken(p),
    ]


def _joined(p: Phrases) -> list[str]:
    """A metric that is off now, too: its first line says so, and below is what it joins."""
    verdict = p.event.verdict
    if verdict.status is Status.MISSING:
        buckets = p.buckets(p.gap, p.end)
        known = p.member is not None and p.member.joined < p.event.bucket  # it was odd before, and has stopped now
        first = p.say(
            "no data" if known else "joined, no data", icon="⚫", since=p.at(p.gap), buckets=buckets, lasted=p.lasted(p.gap)
        )
        facts = about_the_gap(p)
    else:
        first, *facts = p.say("joined", icon=icon(p), off=p.off(verdict), when=p.when()), p.facts(verdict, p.edge(verdict))
    return [first, *facts, *told_with(p), still_off(p), p.before(), taken(p)]


def reminder(p: Phrases) -> list[str]:
    if p.member and p.member.until and (off := [part for part in p.others if part.member.until is None]):
        p = p.about(off[0])  # the root is well; what follows it is not
    verdict = p.event.verdict
    if verdict.status is Status.MISSING:
        first, *lines = still_no_data(p)
        return [dots(first, _who(p)), *lines, also(p), well_again(p)]
    key = "still" if verdict.status is Status.ANOMALOUS else "still odd"
    since = p.say("since", since=p.at(p.since, near=p.event.bucket)) if p.since else ""
    return [
        dots(p.say(key, off=p.off(verdict), lasted=p.lasted(p.since or p.event.bucket)), _who(p)),
        p.bucket(),
        also(p),
        well_again(p),
        capital(dots(since, p.farthest())),
        p.before(),
    ]


def _who(p: Phrases) -> str:
    """nobody has taken it · Anna is on it"""
    if p.incident is None:
        return ""
    return p.say("somebody", who=plain(p.incident.taken, TITLE)) if p.incident.taken else p.say("nobody")
