"""No data: neither an anomaly nor a failed check. What is missing, since when, and what else there is to see of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from alerting.messages.context import MemberContext, MessageContext
from alerting.messages.facts import (
    MAX_MEMBER_LINES,
    EventFacts,
    acknowledged_line,
    also_line,
    also_now_lines,
    before_line,
    duration_line,
    ended_lines,
    headline,
    icon,
    is_over,
    label_line,
    lost_text,
    member_brief,
    member_text,
    normal_again_line,
    now_line,
    over_since,
    similar_text,
    since_line,
    standing_lines,
    still_off,
)
from alerting.messages.format import duration, elapsed, share
from alerting.messages.root_cause import root_cause_brief, root_cause_lines
from alerting.messages.system import buttons
from alerting.messages.text import (
    REASON,
    SHORT_TITLE,
    TITLE,
    capitalize,
    ellipsis,
    first_few,
    inside_sentence,
    join_lines,
    join_names,
    link_line,
    plain_line,
    title_of,
)
from alerting.model.incident import Event
from alerting.model.message import Action, Message
from alerting.model.verdict import EventKind, Status

FIRST_GAP = 2  # metrics named in a first line, and how many more


def no_data_text(p: EventFacts) -> list[str]:
    same, rest = members_of_gap(p)
    key = "no data again" if p.event.again else "no data of many" if same and not p.context.is_platform else "no data"
    end = _end(p)
    if p.incident and is_over(p) and not p.incident.corrected:
        first = p.say("untold, no data", title=gap_title(p, same), since=p.at(end), lasted=p.lasted(p.gap, end))
        return [first, also_line(p, rest), *standing_lines(p)]
    pieces = {"since": p.at(p.gap), "buckets": p.buckets(p.gap, end), "lasted": p.lasted(p.gap, end)}
    first = p.say(key, icon=icon(p, "⚫"), title=gap_title(p, same), **pieces)
    about = [] if is_over(p) else [now_line(p), *gap_lines(p)]
    return [headline(p, first), *about, also_line(p, rest), normal_again_line(p), *standing_lines(p)]


def _end(p: EventFacts) -> datetime:
    """Of the gap, as far as it is known."""
    latest = p.context.latest
    since = over_since(p.incident) if p.incident and is_over(p) else None
    return since or (latest.bucket if latest and latest.status is not Status.MISSING else p.until)


def still_no_data_text(p: EventFacts) -> list[str]:
    since = ellipsis(p.say("since", since=p.at(p.gap)), p.buckets(p.gap, p.end))
    return [p.say("still no data", lasted=p.lasted(p.gap)), capitalize(since), *gap_lines(p)]


def gap_lines(p: EventFacts) -> list[str]:
    reason = p.event.verdict.reason
    return [
        _source(p),
        _where(p),
        p.say("reason", reason=plain_line(reason, REASON)) if reason else "",
        _last_value(p),
        p.say("again with a value" if _has_rows(p) or reason else "again with rows"),
    ]


def data_back_text(p: EventFacts) -> list[str]:
    same, rest = members_of_gap(p)
    gap = p.event.episode.gap_since or (p.member.since if p.member and p.member.gap else None)
    verdict, back = p.event.verdict, (p.member.until if p.member and p.member.until else p.event.bucket)
    well = verdict.status is Status.NORMAL and not any(part.member.until is None for part in rest)
    missing = p.say("was missing", when=p.context.reader.clock.span(gap, back), buckets=p.buckets(gap, back)) if gap else ""
    pieces = {"icon": "🟢" if well else "⚪", "since": p.at(back), "lasted": p.lasted(gap, back)}
    return [
        p.say("data back" if gap else "data back, start unknown", title=gap_title(p, same), **pieces),
        p.bucket(p.state(verdict)) if p.facts(verdict) else "",
        missing,
        also_line(p, tuple(part for part in rest if part.member.until is None)),
    ]


def members_of_gap(p: EventFacts) -> tuple[tuple[MemberContext, ...], tuple[MemberContext, ...]]:
    """The others that are in the same gap, and the rest; none is in it when the incident has more to it than that gap."""
    gaps = tuple(part for part in p.others if part.member.gap)
    alike = p.context.is_platform or all(part.metric.query == p.context.metric.query for part in gaps)
    return (gaps, ()) if alike and len(gaps) == len(p.others) else ((), p.others)


def gap_title(p: EventFacts, same: tuple[MemberContext, ...]) -> str:
    """Feed users, Views, 2 more"""
    if p.context.is_platform and same:
        return p.say("platform, no data")
    titles = [p.title, *(title_of(part.metric, p.language, SHORT_TITLE) for part in same)]
    return first_few(titles, p.language, max(FIRST_GAP, len(titles) if len(titles) <= FIRST_GAP + 1 else 0))


def _has_rows(p: EventFacts) -> bool:
    """The source has rows of the gap's time, so it is the value that cannot be made of them."""
    return p.context.newest is not None and p.gap <= p.context.newest < p.until


def _source(p: EventFacts) -> str:
    """feed_actions: newest row 12:09, 36 min ago, usually 1 min"""
    table, newest, reader = plain_line(p.context.table, TITLE), p.context.newest, p.context.reader
    if not table or newest is None:
        return table and p.say("table", table=table)
    if _has_rows(p):
        return p.say("rows, no value", table=table, at=p.at(newest))
    ago = duration(elapsed(newest, reader.now), reader.language)
    usual = p.context.usual_delay
    usually = p.say("usually", usual=duration(usual, reader.language)) if usual is not None and newest <= reader.now else ""
    said = p.say("newest" if newest <= reader.now else "newest, ahead", table=table, at=p.at(newest), ago=ago)
    return f"{said}, {usually}" if usually else said


def _where(p: EventFacts) -> str:
    """Complete: message_actions → the pipeline of feed_actions, or its part of the app"""
    if p.incident is None or not p.context.table or _has_rows(p) or p.event.verdict.reason:
        return ""
    if not p.context.complete_tables:
        return p.say("none complete")
    tables = join_names(p.context.complete_tables, p.language, 3)
    return p.say("complete", tables=tables, table=plain_line(p.context.table, TITLE))


def _last_value(p: EventFacts) -> str:
    last = p.event.episode.last
    value = p.numbers(last).value(last.value) if last else ""
    return p.say("last value", value=value, at=p.at(last.bucket), state=p.state(last)) if last and value else ""


# What is said while it goes on: opened (also as it is told anew when numbers move), worse, still.

DETECTOR_WORDS = ("sudden", "sustained", "level")  # which question an anomalous verdict answers, as its reason
MAX_FIRST_LINE = 2  # members named in the platform's first line


def opened_text(p: EventFacts) -> list[str]:
    verdict = p.event.verdict
    if p.context.is_platform and p.others:
        return _platform(p)
    cause, *more = root_cause_lines(p) or [""]
    first, *facts = (_by_share if share(verdict, p.language) else _by_value)(p)
    return [
        headline(p, first),
        *facts,
        now_line(p),
        also_line(p),
        cause,
        since_line(p),
        before_line(p),
        *more,
        normal_again_line(p),
        _normal(p),
        p.say(f"rule {verdict.reason}") if verdict.reason in DETECTOR_WORDS else "",
        *standing_lines(p),
    ]


def _by_share(p: EventFacts) -> list[str]:
    key = "again" if p.event.again else "opened"
    first = p.say(key, icon=icon(p), off=p.off(p.event.verdict), when=p.when())
    return [first, p.facts(p.event.verdict, p.edge(p.event.verdict))]


def _by_value(p: EventFacts) -> list[str]:
    """A zero, or a value where nothing was expected, says more than a share."""
    verdict, numbers = p.event.verdict, p.numbers(p.event.verdict)
    expected, edges = numbers.value(verdict.expected), numbers.range(verdict.low, verdict.high)
    key = "again" if p.event.again else "opened, value" if expected else "opened"
    return [
        p.say(key, icon=icon(p), off=p.off(verdict), expected=p.say("expected", value=expected), when=p.when()),
        ellipsis(
            p.say("range", range=edges) if edges else "",
            p.say("true zero") if verdict.value == 0 else "",
            p.edge(verdict),
        ),
    ]


def _normal(p: EventFacts) -> str:
    return p.say("others", titles=join_names(p.context.normal, p.language)) if p.context.normal and not is_over(p) else ""


def _platform(p: EventFacts) -> list[str]:
    """The products' roots in the first line; what explains it; then a line for each of the worst hit."""
    parts, (cause, *besides) = _roots_first(p), root_cause_lines(p) or [""]
    lines = [member_text(part, p.context.reader, as_told=is_over(p)) for part in parts]
    return [
        headline(p, _platform_line(p, parts)),
        f"{p.title} {p.facts(p.event.verdict, p.edge(p.event.verdict))}",
        now_line(p),
        cause,
        capitalize(ellipsis(since_line(p), similar_text(p))),
        *besides,
        *lines[: MAX_MEMBER_LINES + 1],
        capitalize(p.say("more", count=len(lines) - MAX_MEMBER_LINES - 1)) if len(lines) > MAX_MEMBER_LINES + 1 else "",
        _normal(p),
        *standing_lines(p),
    ]


def _roots_first(p: EventFacts) -> list[MemberContext]:
    """The other products' roots before this one's, then what hangs on them."""
    members = {p.event.metric, *(part.metric.name for part in p.others)}
    roots = [part for part in p.others if not members & set(part.metric.parents)]
    far = sorted(roots, key=lambda part: part.metric.product == p.context.metric.product)
    return [*far, *(part for part in p.others if part not in roots)]


def _platform_line(p: EventFacts, parts: list[MemberContext]) -> str:
    own = member_brief(p.title, p.context.metric.form, p.event.verdict, p.context.reader)
    pieces = [own, *(_briefly(p, part) for part in parts)]
    titles = ", ".join(inside_sentence(piece) for piece in pieces[:MAX_FIRST_LINE])
    more = f", {p.say('more', count=len(pieces) - MAX_FIRST_LINE)}" if len(pieces) > MAX_FIRST_LINE else ""
    return p.say("platform", icon=icon(p), titles=titles, more=more, when=p.when())


def _briefly(p: EventFacts, part: MemberContext) -> str:
    """As it was when it joined: the first line keeps its figures."""
    title = title_of(part.metric, p.language, SHORT_TITLE)
    return member_brief(title, part.metric.form, part.member.first, p.context.reader)


def worsened_text(p: EventFacts) -> list[str]:
    verdict, said_before = p.event.verdict, p.event.episode.last_notified_verdict
    if said_before is None or verdict.status is Status.MISSING:
        return _joined(p)
    cause, *more = root_cause_lines(p) or [""]
    return [
        p.say("worse", icon=icon(p), off=p.off(verdict), before=p.off(said_before), when=p.when()),
        p.facts(verdict, p.edge(verdict)),
        *also_now_lines(p),
        cause,
        duration_line(p),
        before_line(p),
        *more,
        p.say(f"rule {verdict.reason}") if verdict.reason in DETECTOR_WORDS and verdict.reason != said_before.reason else "",
        acknowledged_line(p),
    ]


def _joined(p: EventFacts) -> list[str]:
    """A metric that is off now, too: its first line says so, and below is what it joins."""
    verdict = p.event.verdict
    if verdict.status is Status.MISSING:
        buckets = p.buckets(p.gap, p.end)
        known = p.member is not None and p.member.joined < p.event.bucket  # it was odd before, and has stopped now
        first = p.say(
            "no data" if known else "joined, no data", icon="⚫", since=p.at(p.gap), buckets=buckets, lasted=p.lasted(p.gap)
        )
        facts = gap_lines(p)
    else:
        first, *facts = p.say("joined", icon=icon(p), off=p.off(verdict), when=p.when()), p.facts(verdict, p.edge(verdict))
    return [first, *facts, *also_now_lines(p), still_off(p), p.before(), acknowledged_line(p)]


def reminder_text(p: EventFacts) -> list[str]:
    if p.member and p.member.until and (off := [part for part in p.others if part.member.until is None]):
        p = p.about(off[0])  # the root is well; what follows it is not
    verdict = p.event.verdict
    if verdict.status is Status.MISSING:
        first, *lines = still_no_data_text(p)
        return [ellipsis(first, _who(p)), *lines, also_line(p), normal_again_line(p)]
    key = "still" if verdict.status is Status.ANOMALOUS else "still odd"
    since = p.say("since", since=p.at(p.since, near=p.event.bucket)) if p.since else ""
    return [
        ellipsis(p.say(key, off=p.off(verdict), lasted=p.lasted(p.since or p.event.bucket)), _who(p)),
        p.bucket(),
        also_line(p),
        normal_again_line(p),
        capitalize(ellipsis(since, p.farthest())),
        p.before(),
    ]


def _who(p: EventFacts) -> str:
    """nobody has taken it · Anna is on it"""
    if p.incident is None:
        return ""
    return p.say("somebody", who=plain_line(p.incident.acknowledged_by, TITLE)) if p.incident.acknowledged_by else p.say("nobody")


# What is said when it is over, and when late rows have taken it back.

MAX_NAMED = 2  # metrics in the first line of a correction, and how many more


def over_text(p: EventFacts) -> list[str]:
    """An incident's end is its root's, whichever of its metrics was the last to be well."""
    root = next((part for part in p.others if p.incident and part.metric.name == p.incident.root.metric), None)
    p = p.about(root) if root else p
    if ends_a_gap(p):
        first, *lines = data_back_text(p)
        return [_untold(p) or first, *lines, *ended_lines(p, members_of_gap(p)[1]), label_line(p)]
    return [*_resolved(p), label_line(p)]


def ends_a_gap(p: EventFacts) -> bool:
    """The incident was a gap: no data, rather than odd data."""
    return p.incident.root.gap if p.incident else p.event.kind is EventKind.DATA_BACK


def _resolved(p: EventFacts) -> list[str]:
    calm = (p.member.until if p.member else None) or p.event.episode.normal_since or p.event.bucket
    count = (p.member.lost if p.member else 0.0) or p.event.episode.lost
    loss = lost_text(p.context.metric, count, p.worst or p.event.verdict, p.context.reader)
    deepest = ellipsis(p.farthest(), loss)
    return [
        _untold(p) or _first(p, calm),
        f"{p.title}: {deepest}" if deepest and p.context.is_platform else capitalize(deepest),
        root_cause_brief(p),
        *ended_lines(p, p.others),
        "" if p.context.is_platform else p.bucket(),
        p.say("was off", when=p.context.reader.clock.span(p.since, calm)) if p.since else "",
    ]


def _first(p: EventFacts, calm: datetime) -> str:
    """Likes normal again since 16:45; where others took longer: all since 17:30."""
    if p.since is None:
        return p.say("resolved, start unknown", since=p.at(calm))
    last = (over_since(p.incident) if p.incident else None) or calm
    if p.incident and p.context.is_platform:
        since = min(member.since for member in p.incident.members)
        return p.say("resolved", title=p.say("platform title"), since=p.at(last), lasted=p.lasted(since, last))
    key = "resolved, all" if last > calm else "resolved"
    return p.say(key, since=p.at(calm), all=p.at(last, near=calm), lasted=p.lasted(p.since, last))


def _untold(p: EventFacts) -> str:
    """The first that is heard of it is that it is over."""
    if p.incident is None or p.incident.last_notified is not None:
        return ""
    end = over_since(p.incident) or p.event.bucket
    pieces = {"since": p.at(end), "lasted": p.lasted(p.since or p.gap, end)}
    if ends_a_gap(p):
        return p.say("untold, no data", title=gap_title(p, members_of_gap(p)[0]), **pieces)
    return p.say("untold", off=p.off(p.worst), **pieces) if p.worst else ""


def corrected_text(p: EventFacts) -> list[str]:
    """Late rows have made it normal: what was told, what there is now, and that we are sorry."""
    verdict, member, clock = p.event.verdict, p.member, p.context.reader.clock
    gap = bool(member and member.gap) or p.event.episode.gap_since is not None
    start = p.gap if gap else p.event.bucket
    titles = [p.title, *_gone(p)]
    many = max(MAX_NAMED, len(titles) if len(titles) <= MAX_NAMED + 1 else 0)
    first = p.say("corrected", title=first_few(titles, p.language, many), when=clock.span(start, p.end))
    value, expected = p.numbers(verdict).value(verdict.value), p.expected(verdict)
    if gap or not value or verdict.status is not Status.NORMAL:
        return [first, p.say("sorry"), _left(p)]
    now = p.say("rows late", value=value, expected=expected) if expected else value
    sorry = p.say("sorry, told", off=p.off(member.first)) if member else p.say("sorry, value")
    return [first, now, sorry, _left(p)]


def _gone(p: EventFacts) -> list[str]:
    """The other metrics that are taken back, too: all that are left when all of it is, and those that have left it."""
    known = {part.metric.name for part in p.context.members}
    told = {event.metric for event in p.event.also}
    gone = [part for part in p.others if (p.incident and p.incident.corrected) or part.metric.name in told]
    left = [plain_line(event.metric, SHORT_TITLE) for event in p.event.also if event.metric not in known]
    return [*(title_of(part.metric, p.language, SHORT_TITLE) for part in gone), *left]


def _left(p: EventFacts) -> str:
    return "" if p.incident is None or p.incident.corrected else still_off(p)


# An event and its context go in, its text or its picture comes out. Telegram HTML; what comes from data is escaped and cut.
# The first line is enough on a lock screen. A line that has nothing to say is left out.

GOOD = (EventKind.RESOLVED, EventKind.DATA_BACK, EventKind.CORRECTED)

KINDS: dict[EventKind, Callable[[EventFacts], list[str]]] = {
    EventKind.OPENED: opened_text,
    EventKind.WORSENED: worsened_text,
    EventKind.REMINDER: reminder_text,
    EventKind.RESOLVED: over_text,
    EventKind.NO_DATA: no_data_text,
    EventKind.DATA_BACK: over_text,
    EventKind.CORRECTED: corrected_text,
}


def compose(event: Event, context: MessageContext) -> Message:
    """The text of an event, with its buttons. Called again with newer facts, it makes the text to edit the first one to."""
    rows = buttons(event, context.reader)
    ends = _links(event, context)
    lines = _lines(event, context)
    asked = any(button.action is Action.REAL for row in rows for button in row)
    if asked and event.incident and not event.incident.label:
        ends.append(context.reader.say("was it real"))
    return Message(
        f"{event.key}/text",
        event.kind,
        event.metric,
        event.bucket,
        join_lines(lines, ends),
        reply_to=_answers(event),
        incident=event.incident.id if event.incident else "",
        buttons=rows,
        quiet=event.quiet,
        critical=EventFacts(event, context).critical,
    )


def picture_message(event: Event, png: bytes, context: MessageContext) -> Message:
    """The picture that answers the event's text. Its caption is that text's first line."""
    caption = _lines(event, context)[0]
    return Message(
        f"{event.key}/picture",
        event.kind,
        event.metric,
        event.bucket,
        caption,
        png,
        reply_to=f"{event.key}/text",
        incident=event.incident.id if event.incident else "",
        quiet=True,
        critical=EventFacts(event, context).critical,
    )


def _answers(event: Event) -> str:
    """The opening message, where there is one before."""
    incident = event.incident
    if incident is None or f"{event.key}/text" == incident.key:
        return ""
    return "" if event.kind in GOOD and incident.last_notified is None else incident.key


def _lines(event: Event, context: MessageContext) -> list[str]:
    phrases = EventFacts(event, context)
    late = phrases.told_late() if event.kind is not EventKind.CORRECTED else ""  # late rows are why
    return [*KINDS[event.kind](phrases), late]


def _links(event: Event, context: MessageContext) -> list[str]:
    """Nobody is called up for good news."""
    called = event.kind not in GOOD and (event.incident is None or event.incident.open)
    owner = (context.metric.owner or context.reader.owner) if called else ""
    return link_line(context.reader, context.dashboard, owner)
