"""What is said of each kind of event, and in which order. Telegram HTML; what comes from data is escaped and cut in `phrases`.

The first line is enough on a lock screen. A line that has nothing to say is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from alerting.messages.numbers import share
from alerting.messages.phrases import REASON, Context, Phrases, Reader, capital, dots, links, names, plain
from alerting.messages.times import duration, elapsed
from alerting.model import Event, Kind, Message, Status

RULES = ("sudden", "sustained", "level")  # which question an anomalous verdict answers, as its reason


def compose(event: Event, context: Context) -> Message:
    """The text of an opened, reminder, resolved, no data or data back event."""
    return Message(f"{event.key}/text", event.kind, event.metric, event.bucket, _joined(_lines(event, context)))


def picture(event: Event, png: bytes, context: Context) -> Message:
    """The picture that answers the event's text. Its caption is that text's first line."""
    caption = _lines(event, context)[0]
    return Message(f"{event.key}/picture", event.kind, event.metric, event.bucket, caption, png, reply_to=f"{event.key}/text")


def run_failed(at: datetime, reason: str, judged_until: datetime | None, next_try: datetime | None, reader: Reader) -> Message:
    """The check of `at` could not see, tell or finish. `judged_until`: end of the last judged bucket, None if unknown.

    The key holds the (UTC) hour and no more, so an hour of failures is told once.
    """
    since = reader.clock.at(judged_until, near=at) if judged_until else ""
    lines = [
        reader.say("failed, last" if since else "failed", at=reader.clock.at(at), since=since),
        plain(reason, REASON),
        reader.say("next try", at=reader.clock.at(next_try, near=at)) if next_try else "",
        *links(reader, owner=reader.owner),
    ]
    return Message(f"run/run-failed/{at.astimezone(UTC):%Y%m%dT%HZ}/text", Kind.RUN_FAILED, "", at, _joined(lines))


def caught_up(first: datetime, last: datetime, unusual: tuple[str, ...], reader: Reader) -> Message:
    """The runs due from `first` to `last` did not happen. This one judged their buckets too; `unusual`: titles it told about."""
    one = first == last
    when = reader.clock.at(first) if one else reader.clock.span(first, last)
    late = duration(elapsed(first, reader.now), reader.language)
    lines = [
        reader.say("late" if one else "late, many", late=late, when=when),
        reader.say("unusual", titles=names(unusual, reader.language)) if unusual else reader.say("quiet"),
        *links(reader),
    ]
    return Message(f"run/caught-up/{first.astimezone(UTC):%Y%m%dT%H%MZ}/text", Kind.CAUGHT_UP, "", first, _joined(lines))


def _lines(event: Event, context: Context) -> list[str]:
    called = event.kind not in (Kind.RESOLVED, Kind.DATA_BACK)  # nobody is called up for good news
    owner = (context.metric.owner or context.reader.owner) if called else ""
    phrases = Phrases(event, context)
    return [*KINDS[event.kind](phrases), phrases.told_late(), *links(context.reader, context.dashboard, owner)]


def _joined(lines: list[str]) -> str:
    return "\n".join(line for line in lines if line)


def _opened(p: Phrases) -> list[str]:
    verdict, since = p.event.verdict, p.event.episode.since or p.event.bucket
    return [
        *(_opened_by_share if share(verdict, p.language) else _opened_by_value)(p),
        p.say(f"rule {verdict.reason}") if verdict.reason in RULES else "",
        p.say("since, so far", since=p.at(since, near=p.event.bucket), lasted=p.lasted(since)) if since != p.event.bucket else "",
        p.before(),
        p.say("others", titles=names(p.context.others, p.language)) if p.context.others else "",
    ]


def _opened_by_share(p: Phrases) -> list[str]:
    return [p.say("opened", off=p.off(p.event.verdict), when=p.when()), p.facts(p.event.verdict)]


def _opened_by_value(p: Phrases) -> list[str]:
    """A zero, or a value where nothing was expected, says more than a share."""
    verdict, numbers = p.event.verdict, p.numbers(p.event.verdict)
    expected, edges = numbers.value(verdict.expected), numbers.range(verdict.low, verdict.high)
    key = "opened, value" if expected else "opened"
    return [
        p.say(key, off=p.off(verdict), expected=p.say("expected", value=expected), when=p.when()),
        dots(p.say("range", range=edges) if edges else "", p.say("true zero") if verdict.value == 0 else ""),
    ]


def _worsened(p: Phrases) -> list[str]:
    verdict, said, since = p.event.verdict, p.event.episode.said, p.event.episode.since or p.event.bucket
    return [
        p.say("worse", off=p.off(verdict), before=p.off(said) if said else "", when=p.when()),
        p.facts(verdict),
        p.say(f"rule {verdict.reason}") if said and verdict.reason in RULES and verdict.reason != said.reason else "",
        p.say("since, so far", since=p.at(since, near=p.event.bucket), lasted=p.lasted(since)),
        p.before(),
    ]


def _reminder(p: Phrases) -> list[str]:
    verdict, since = p.event.verdict, p.event.episode.since
    if verdict.status is Status.MISSING:
        return _still_no_data(p)
    key = "still" if verdict.status is Status.ANOMALOUS else "still odd"
    return [
        p.say(key, off=p.off(verdict), lasted=p.lasted(since or p.event.bucket)),
        p.bucket(),
        capital(dots(p.say("since", since=p.at(since, near=p.event.bucket)) if since else "", p.farthest())),
        p.before(),
    ]


def _resolved(p: Phrases) -> list[str]:
    since, calm = p.event.episode.since, p.event.episode.calm_since or p.event.bucket
    off = p.say("was off", when=p.context.reader.clock.span(since, calm)) if since else ""
    return [
        p.say("resolved" if since else "resolved, start unknown", since=p.at(calm), lasted=p.lasted(since, calm)),
        p.bucket(),
        capital(dots(off, p.farthest())),
    ]


def _no_data(p: Phrases) -> list[str]:
    buckets = p.buckets(p.gap, p.end)
    return [p.say("no data", since=p.at(p.gap), buckets=buckets, lasted=p.lasted(p.gap)), *_about_the_gap(p)]


def _still_no_data(p: Phrases) -> list[str]:
    since = dots(p.say("since", since=p.at(p.gap)), p.buckets(p.gap, p.end))
    return [p.say("still no data", lasted=p.lasted(p.gap)), capital(since), *_about_the_gap(p)]


def _about_the_gap(p: Phrases) -> list[str]:
    reason = p.event.verdict.reason
    return [
        p.source(),
        p.say("reason", reason=plain(reason, REASON)) if reason else "",
        p.last_value(),
        p.say("again with a value" if p.has_rows() or reason else "again with rows"),
    ]


def _data_back(p: Phrases) -> list[str]:
    verdict, gap, now = p.event.verdict, p.event.episode.gap, p.event.bucket
    icon = "🟢" if verdict.status is Status.NORMAL else "⚪"
    missing = p.say("was missing", when=p.context.reader.clock.span(gap, now), buckets=p.buckets(gap, now)) if gap else ""
    return [
        p.say("data back" if gap else "data back, start unknown", icon=icon, since=p.at(now), lasted=p.lasted(gap, now)),
        p.bucket(p.state(verdict)),
        missing,
    ]


KINDS: dict[Kind, Callable[[Phrases], list[str]]] = {
    Kind.OPENED: _opened,
    Kind.WORSENED: _worsened,
    Kind.REMINDER: _reminder,
    Kind.RESOLVED: _resolved,
    Kind.NO_DATA: _no_data,
    Kind.DATA_BACK: _data_back,
}
