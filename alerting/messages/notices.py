"""What is said of the runs rather than of a metric: failed, late, what could not be told, the day in a line, drills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import accumulate

from alerting.messages.context import Reader
from alerting.messages.numbers import roughly, written
from alerting.messages.pieces import LONGEST, REASON, SHORT, capital, dots, joined, links, names, plain, some
from alerting.messages.standing import LABELS
from alerting.messages.times import duration, elapsed
from alerting.messages.words import WORDS, plural
from alerting.model import Kind, Label, Message

FOLDED = 15  # messages with a line in a digest
LISTED = 6  # incidents named in the daily message


@dataclass(frozen=True)
class Daily:
    """A day of watching."""

    runs: int  # that happened
    due: int
    failed: int
    unseen: int  # buckets, of all metrics together, that had no value
    incidents: tuple[tuple[str, Label | None], ...]  # title of the root, and what people said of it
    open: int  # of these
    quietest: str  # title of the metric that stayed farthest from its edges; "" if none is known
    closest: tuple[str, float, datetime] | None  # title, score and bucket of the closest call
    at: datetime
    slices: tuple[tuple[str, str, float, int], ...] = ()  # title, slice, change (share) and buckets: odd while the total was calm


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
    return Message(f"run/run-failed/{at.astimezone(UTC):%Y%m%dT%HZ}/text", Kind.RUN_FAILED, "", at, joined(lines))


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
    return Message(f"run/caught-up/{first.astimezone(UTC):%Y%m%dT%H%MZ}/text", Kind.CAUGHT_UP, "", first, joined(lines))


def digest(messages: Sequence[Message], at: datetime, reader: Reader) -> Message:
    """What could not be told in time, by first lines, newest last. A picture, or an edit, of a text among them adds nothing."""
    texts = {message.key for message in messages}
    told = [m for m in messages if m.edits not in texts and not (m.photo and m.reply_to in texts)]
    told.sort(key=lambda message: message.bucket)
    lines = _newest([message.text.split("\n")[0] for message in told])
    start, end = (reader.clock.at(told[0].bucket), told[-1].bucket) if told else ("", at)
    when = reader.clock.span(told[0].bucket, end) if told and end > told[0].bucket else start
    earlier = reader.say("earlier", count=len(told) - len(lines)) if len(told) > len(lines) else ""
    first = reader.say("digest", messages=plural(len(told), "message", reader.language), when=when)
    return Message(f"run/digest/{at.astimezone(UTC):%Y%m%dT%H%M%SZ}/text", Kind.DIGEST, "", at, joined([first, earlier, *lines]))


def _newest(lines: list[str]) -> list[str]:
    """As many of the last ones as are wanted and fit."""
    newest = lines[::-1][:FOLDED]
    ends = accumulate(len(line.encode("utf-16-le")) // 2 + 1 for line in newest)
    return [line for line, end in zip(newest, ends, strict=True) if end < LONGEST - 200][::-1]


def daily(summary: Daily, reader: Reader) -> Message:
    """One line in good times, a few in others; silence would say nothing."""
    well = summary.runs >= summary.due and not summary.failed
    seen = reader.say("unseen", buckets=plural(summary.unseen, "bucket", reader.language))
    ran = [
        reader.say("daily", icon="✅" if well else "⚠️", runs=summary.runs, due=summary.due),
        reader.say("failed runs", count=summary.failed) if summary.failed else "",
        seen if summary.unseen else reader.say("all seen"),
    ]
    day, incidents = ", ".join(piece for piece in ran if piece), _incidents(summary, reader)
    lines = [
        *([dots(day, *incidents)] if well else [day, capital(dots(*incidents))]),
        _listed(summary, reader),
        capital(
            dots(
                reader.say("quietest", metric=plain(summary.quietest, SHORT)) if summary.quietest else "",
                _closest(summary, reader),
            )
        ),
        _slices(summary, reader),
        *links(reader),
    ]
    key = f"run/daily/{summary.at.astimezone(UTC):%Y%m%dT%H%MZ}/text"
    return Message(key, Kind.DAILY, "", summary.at, joined(lines), quiet=True)


def _incidents(summary: Daily, reader: Reader) -> tuple[str, str]:
    """1 incident (real) · 1 still open"""
    many = len(summary.incidents)
    count = plural(many, "incident", reader.language) if many else reader.say("no incidents")
    if many == 1:
        count = reader.say("one incident", incidents=count, label=_label(summary.incidents[0][1], reader))
    return count, reader.say("still open", count=summary.open) if summary.open else ""


def _listed(summary: Daily, reader: Reader) -> str:
    """Likes: real, CTR: no label yet; one alone stands in the first line."""
    if len(summary.incidents) < 2:
        return ""
    pieces = [f"{plain(title, SHORT)}: {_label(label, reader)}" for title, label in summary.incidents]
    return some(pieces, reader.language, LISTED)


def _label(label: Label | None, reader: Reader) -> str:
    return reader.say(LABELS[label] if label else "no label")


def _slices(summary: Daily, reader: Reader) -> str:
    """Slices: Views, source ads −60 % (12 buckets)"""
    pieces = [
        f"{plain(title, SHORT)}, {plain(part, SHORT)} {roughly(change, reader.language)}"
        f" ({plural(buckets, 'bucket', reader.language)})"
        for title, part, change, buckets in summary.slices
    ]
    return reader.say("odd slices", slices=some(pieces, reader.language, LISTED)) if pieces else ""


def _closest(summary: Daily, reader: Reader) -> str:
    if summary.closest is None:
        return ""
    title, score, bucket = summary.closest
    at = reader.clock.at(bucket, near=summary.at)
    return reader.say("closest", metric=plain(title, SHORT), score=written(abs(score), 1, reader.language), at=at)


def drill(message: Message, language: str) -> Message:
    """The same message, marked: nobody may take it for real, nor it the key of a real one."""
    text = f"{WORDS[language]['drill']} {message.text}"
    key, reply_to, edits = (key and f"drill/{key}" for key in (message.key, message.reply_to, message.edits))
    return replace(message, text=text, key=key, reply_to=reply_to, edits=edits)
