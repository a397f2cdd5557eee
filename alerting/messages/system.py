"""What is said of the runs rather than of a metric: failed, late, what could not be told, the day in a line, drills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import accumulate

from alerting.messages.context import Audience
from alerting.messages.facts import LABEL_WORDS
from alerting.messages.format import duration, elapsed, format_number, roughly
from alerting.messages.text import (
    MAX_TEXT,
    REASON,
    SHORT_TITLE,
    TITLE,
    capitalize,
    ellipsis,
    first_few,
    join_lines,
    join_names,
    link_line,
    plain_line,
)
from alerting.messages.words import WORDS, plural
from alerting.model.incident import Event, Incident
from alerting.model.message import Action, Button, Message
from alerting.model.verdict import EventKind, Label

MAX_DIGEST_LINES = 15  # messages with a line in a digest
MAX_DAILY_INCIDENTS = 6  # incidents named in the daily message


@dataclass(frozen=True)
class DailySummary:
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


def run_failed(at: datetime, reason: str, judged_until: datetime | None, next_try: datetime | None, reader: Audience) -> Message:
    """The check of `at` could not see, tell or finish. `judged_until`: end of the last judged bucket, None if unknown.

    The key holds the (UTC) hour and no more, so an hour of failures is told once.
    """
    since = reader.clock.at(judged_until, near=at) if judged_until else ""
    lines = [
        reader.say("failed, last" if since else "failed", at=reader.clock.at(at), since=since),
        plain_line(reason, REASON),
        reader.say("next try", at=reader.clock.at(next_try, near=at)) if next_try else "",
        *link_line(reader, owner=reader.owner),
    ]
    return Message(f"run/run-failed/{at.astimezone(UTC):%Y%m%dT%HZ}/text", EventKind.RUN_FAILED, "", at, join_lines(lines))


def caught_up(first: datetime, last: datetime, unusual: tuple[str, ...], reader: Audience) -> Message:
    """The runs due from `first` to `last` did not happen. This one judged their buckets too; `unusual`: titles it told about."""
    one = first == last
    when = reader.clock.at(first) if one else reader.clock.span(first, last)
    late = duration(elapsed(first, reader.now), reader.language)
    lines = [
        reader.say("late" if one else "late, many", late=late, when=when),
        reader.say("unusual", titles=join_names(unusual, reader.language)) if unusual else reader.say("quiet"),
        *link_line(reader),
    ]
    return Message(f"run/caught-up/{first.astimezone(UTC):%Y%m%dT%H%MZ}/text", EventKind.CAUGHT_UP, "", first, join_lines(lines))


def digest_message(messages: Sequence[Message], at: datetime, reader: Audience) -> Message:
    """What could not be told in time, by first lines, newest last. A picture, or an edit, of a text among them adds nothing."""
    texts = {message.key for message in messages}
    told = [m for m in messages if m.edits not in texts and not (m.photo and m.reply_to in texts)]
    told.sort(key=lambda message: message.bucket)
    lines = _newest([message.text.split("\n")[0] for message in told])
    start, end = (reader.clock.at(told[0].bucket), told[-1].bucket) if told else ("", at)
    when = reader.clock.span(told[0].bucket, end) if told and end > told[0].bucket else start
    earlier = reader.say("earlier", count=len(told) - len(lines)) if len(told) > len(lines) else ""
    first = reader.say("digest", messages=plural(len(told), "message", reader.language), when=when)
    return Message(
        f"run/digest/{at.astimezone(UTC):%Y%m%dT%H%M%SZ}/text", EventKind.DIGEST, "", at, join_lines([first, earlier, *lines])
    )


def _newest(lines: list[str]) -> list[str]:
    """As many of the last ones as are wanted and fit."""
    newest = lines[::-1][:MAX_DIGEST_LINES]
    ends = accumulate(len(line.encode("utf-16-le")) // 2 + 1 for line in newest)
    return [line for line, end in zip(newest, ends, strict=True) if end < MAX_TEXT - 200][::-1]


def daily_message(summary: DailySummary, reader: Audience) -> Message:
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
        *([ellipsis(day, *incidents)] if well else [day, capitalize(ellipsis(*incidents))]),
        _listed(summary, reader),
        capitalize(
            ellipsis(
                reader.say("quietest", metric=plain_line(summary.quietest, SHORT_TITLE)) if summary.quietest else "",
                _closest(summary, reader),
            )
        ),
        _slices(summary, reader),
        *link_line(reader),
    ]
    key = f"run/daily/{summary.at.astimezone(UTC):%Y%m%dT%H%MZ}/text"
    return Message(key, EventKind.DAILY, "", summary.at, join_lines(lines), quiet=True)


def _incidents(summary: DailySummary, reader: Audience) -> tuple[str, str]:
    """1 incident (real) · 1 still open"""
    many = len(summary.incidents)
    count = plural(many, "incident", reader.language) if many else reader.say("no incidents")
    if many == 1:
        count = reader.say("one incident", incidents=count, label=_label(summary.incidents[0][1], reader))
    return count, reader.say("still open", count=summary.open) if summary.open else ""


def _listed(summary: DailySummary, reader: Audience) -> str:
    """Likes: real, CTR: no label yet; one alone stands in the first line."""
    if len(summary.incidents) < 2:
        return ""
    pieces = [f"{plain_line(title, SHORT_TITLE)}: {_label(label, reader)}" for title, label in summary.incidents]
    return first_few(pieces, reader.language, MAX_DAILY_INCIDENTS)


def _label(label: Label | None, reader: Audience) -> str:
    return reader.say(LABEL_WORDS[label] if label else "no label")


def _slices(summary: DailySummary, reader: Audience) -> str:
    """Slices: Views, source ads −60 % (12 buckets)"""
    pieces = [
        f"{plain_line(title, SHORT_TITLE)}, {plain_line(part, SHORT_TITLE)} {roughly(change, reader.language)}"
        f" ({plural(buckets, 'bucket', reader.language)})"
        for title, part, change, buckets in summary.slices
    ]
    return reader.say("odd slices", slices=first_few(pieces, reader.language, MAX_DAILY_INCIDENTS)) if pieces else ""


def _closest(summary: DailySummary, reader: Audience) -> str:
    if summary.closest is None:
        return ""
    title, score, bucket = summary.closest
    at = reader.clock.at(bucket, near=summary.at)
    return reader.say(
        "closest", metric=plain_line(title, SHORT_TITLE), score=format_number(abs(score), 1, reader.language), at=at
    )


def as_drill(message: Message, language: str) -> Message:
    """The same message, marked: nobody may take it for real, nor it the key of a real one."""
    text = f"{WORDS[language]['drill']} {message.text}"
    key, reply_to, edits = (key and f"drill/{key}" for key in (message.key, message.reply_to, message.edits))
    return replace(message, text=text, key=key, reply_to=reply_to, edits=edits)


# The buttons, and the short answers that confirm them in the thread. None makes a sound.

OPENING_BUTTONS = ((Action.TAKE, Action.SNOOZE), (Action.MUTE, Action.FALSE_ALARM, Action.EXPECTED))
ENDING_BUTTONS = ((Action.REAL, Action.FALSE_ALARM), (Action.EXPECTED, Action.NEW_TREND))


def buttons(event: Event, reader: Audience) -> tuple[tuple[Button, ...], ...]:
    """What may be pressed under the event's text."""
    incident = event.incident
    if incident is None:
        return ()
    if event.kind in (EventKind.OPENED, EventKind.NO_DATA):
        return _rows(OPENING_BUTTONS, reader) if incident.open else ()
    odd = event.kind is EventKind.RESOLVED or (event.kind is EventKind.DATA_BACK and not incident.root.gap)
    return _rows(ENDING_BUTTONS, reader) if odd else ()


def acknowledged_reply(incident: Incident, who: str, at: datetime, reader: Audience) -> Message:
    """👀 Anna is on it"""
    return _reply(incident, EventKind.TAKEN, "taken", at, reader.say("answer taken", who=_name(who)))


def silenced_reply(incident: Incident, who: str, at: datetime, reader: Audience) -> Message:
    """🔕 Anna: silent until 15:35, as the incident says."""
    if incident.muted or incident.snoozed_until is None:
        what = reader.say("until resolved")
    else:
        what = reader.say("until", until=reader.clock.at(incident.snoozed_until, near=reader.now))
    return _reply(incident, EventKind.SILENCED, "silenced", at, reader.say("answer silence", who=_name(who), what=what))


def unsilenced_reply(incident: Incident, who: str, at: datetime, reader: Audience) -> Message:
    """🔔 Anna: no longer silent"""
    text = reader.say("answer loud", who=_name(who), what=reader.say("loud again"))
    return _reply(incident, EventKind.SILENCED, "unsilenced", at, text)


def labelled_reply(incident: Incident, who: str, at: datetime, reader: Audience) -> Message:
    """🏷 Anna: false alarm, and what that does."""
    label = incident.label or Label.REAL
    said = reader.say("answer label", who=_name(who), label=reader.say(LABEL_WORDS[label]))
    return _reply(incident, EventKind.LABELLED, "labelled", at, f"{said}\n{reader.say(f'effect {label.value}')}")


def _reply(incident: Incident, kind: EventKind, what: str, at: datetime, text: str) -> Message:
    key = f"{incident.id}/{what}/{at.astimezone(UTC):%Y%m%dT%H%M%SZ}/text"
    return Message(key, kind, incident.root.metric, at, text, reply_to=incident.key, incident=incident.id, quiet=True)


def _name(who: str) -> str:
    return plain_line(who, TITLE) or "?"


def _rows(rows: tuple[tuple[Action, ...], ...], reader: Audience) -> tuple[tuple[Button, ...], ...]:
    return tuple(tuple(Button(reader.say(f"button {action.value}"), action) for action in row) for row in rows)
