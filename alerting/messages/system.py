"""Messages about the runs instead of a metric: failed, late, the digest of what was not sent, the day; drills and replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from markupsafe import Markup

from alerting.messages.context import Audience
from alerting.messages.format import NumberFormat, duration, roughly
from alerting.messages.text import MAX_REASON, MAX_SHORT_TITLE, MAX_TEXT, MAX_TITLE, plain_line, render
from alerting.messages.words import LABEL_WORDS, WORDS, plural
from alerting.model.incident import Incident
from alerting.model.message import Message
from alerting.model.verdict import EventKind, Label

MAX_DIGEST_LINES = 15  # messages with a line in a digest
DIGEST_HEAD = 200  # UTF-16 units for the lines before them


@dataclass(frozen=True)
class DailySummary:
    """A day of runs and incidents."""

    runs: int  # that happened
    due: int
    failed: int
    unseen: int  # buckets, of all metrics together, that had no value
    incidents: tuple[tuple[str, Label | None], ...]  # title of the root, and what people said of it
    open: int  # of these
    quietest: str  # title of the metric that stayed farthest from its edges; "" if none is known
    closest: tuple[str, float, datetime] | None  # title, score and bucket of the closest call
    at: datetime
    slices: tuple[tuple[str, str, float, int], ...] = ()  # title, segment, change (share), buckets: anomalous in a normal total


def run_failed(at: datetime, reason: str, judged_until: datetime | None, next_try: datetime | None, reader: Audience) -> Message:
    """Return the notice that the check of `at` failed. `judged_until`: end of the last judged bucket, None if unknown.

    The key holds the (UTC) hour and no more, so that an hour of failures is one message.
    """
    facts = {
        "at": reader.at(at),
        "judged_until": reader.at(judged_until, near=at) if judged_until else "",
        "reason": plain_line(reason, MAX_REASON),
        "next_try": reader.at(next_try, near=at) if next_try else "",
    }
    text = _text("run_failed", reader, facts, owner=reader.owner)
    return Message(f"run/run-failed/{at.astimezone(UTC):%Y%m%dT%HZ}/text", EventKind.RUN_FAILED, "", at, text)


def caught_up(first: datetime, last: datetime, unusual: tuple[str, ...], reader: Audience) -> Message:
    """Return the notice that the runs due from `first` to `last` did not happen, and that this one judged their buckets.

    `unusual`: titles of the metrics that it sent alerts about.
    """
    facts = {
        "is_one": first == last,
        "when": reader.at(first) if first == last else reader.span(first, last),
        "late": duration(reader.now - first, reader.language),
        "unusual": tuple(plain_line(title, MAX_TITLE) for title in unusual),
    }
    text = _text("caught_up", reader, facts)
    return Message(f"run/caught-up/{first.astimezone(UTC):%Y%m%dT%H%MZ}/text", EventKind.CAUGHT_UP, "", first, text)


def digest_message(messages: Sequence[Message], at: datetime, reader: Audience) -> Message:
    """Return the first lines of messages that could not be sent in time, the newest last.

    A picture, or an edit, of a text among them has no line.
    """
    texts = {message.key for message in messages}
    unsent = [m for m in messages if m.edits not in texts and not (m.photo and m.reply_to in texts)]
    unsent.sort(key=lambda message: message.bucket)
    start, end = (unsent[0].bucket, unsent[-1].bucket) if unsent else (at, at)

    newest = [message.text.split("\n")[0] for message in unsent][::-1][:MAX_DIGEST_LINES]
    sizes = accumulate(len(f"{line}\n".encode("utf-16-le")) // 2 for line in newest)
    lines = [Markup(line) for line, size in zip(newest, sizes, strict=True) if size < MAX_TEXT - DIGEST_HEAD][::-1]
    facts = {
        "messages": plural(len(unsent), "message", reader.language),
        "when": (reader.span(start, end) if end > start else reader.at(start)) if unsent else "",
        "earlier": len(unsent) - len(lines),
        "lines": lines,
    }
    key = f"run/digest/{at.astimezone(UTC):%Y%m%dT%H%M%SZ}/text"
    return Message(key, EventKind.DIGEST, "", at, render("digest", reader.language, facts))


def daily_message(summary: DailySummary, reader: Audience) -> Message:
    """Return one line if nothing happened, otherwise a few. A day without a message would be a sign that no run happens."""
    language, closest, words = reader.language, summary.closest, WORDS[reader.language]
    facts = {
        "day": summary,
        "is_complete": summary.runs >= summary.due and not summary.failed,
        "unseen": plural(summary.unseen, "bucket", language) if summary.unseen else "",
        "count": plural(len(summary.incidents), "incident", language) if summary.incidents else "",
        "incidents": [
            {"title": plain_line(title, MAX_SHORT_TITLE), "label": words[LABEL_WORDS[label]] if label else ""}
            for title, label in summary.incidents
        ],
        "quietest": plain_line(summary.quietest, MAX_SHORT_TITLE),
        "closest": closest
        and {
            "title": plain_line(closest[0], MAX_SHORT_TITLE),
            "score": NumberFormat("number", language, 1).value(abs(closest[1])),
            "at": reader.at(closest[2], near=summary.at),
        },
        "segments": [
            {
                "title": plain_line(title, MAX_SHORT_TITLE),
                "segment": plain_line(segment, MAX_SHORT_TITLE),
                "change": roughly(change, language),
                "buckets": plural(buckets, "bucket", language),
            }
            for title, segment, change, buckets in summary.slices
        ],
    }
    key = f"run/daily/{summary.at.astimezone(UTC):%Y%m%dT%H%MZ}/text"
    return Message(key, EventKind.DAILY, "", summary.at, _text("daily", reader, facts), quiet=True)


def _text(template: str, reader: Audience, facts: dict[str, Any], owner: str = "") -> str:
    """Return the text of a message about the run, with the run's link. `owner`: the one who is called."""
    links = {"dashboard": "", "run": reader.run_link, "owner": plain_line(owner, MAX_TITLE)}
    return render(template, reader.language, facts | links)


def as_drill(message: Message, language: str) -> Message:
    """Return the message marked as a drill: nobody takes it for a real one, nor has it the key of a real one."""
    text = f"{WORDS[language]['drill']} {message.text}"
    key, reply_to, edits = (key and f"drill/{key}" for key in (message.key, message.reply_to, message.edits))
    return replace(message, text=text, key=key, reply_to=reply_to, edits=edits)


# The short answers that confirm a button in the thread. None makes a sound.


def acknowledged_reply(incident: Incident, who: str, at: datetime, reader: Audience) -> Message:
    """👀 Anna is on it"""
    return _reply(incident, EventKind.TAKEN, "taken", at, reader, {"who": who})


def silenced_reply(incident: Incident, who: str, at: datetime, reader: Audience) -> Message:
    """🔕 Anna: silent until 15:35, as the incident says."""
    snoozed_until = None if incident.muted else incident.snoozed_until
    until = reader.at(snoozed_until, near=reader.now) if snoozed_until else ""
    return _reply(incident, EventKind.SILENCED, "silenced", at, reader, {"who": who, "until": until})


def unsilenced_reply(incident: Incident, who: str, at: datetime, reader: Audience) -> Message:
    """🔔 Anna: no longer silent"""
    return _reply(incident, EventKind.SILENCED, "unsilenced", at, reader, {"who": who})


def labelled_reply(incident: Incident, who: str, at: datetime, reader: Audience) -> Message:
    """🏷 Anna: false alarm, and the effect of that."""
    label = incident.label or Label.REAL
    facts = {"who": who, "label": WORDS[reader.language][LABEL_WORDS[label]], "effect": label.value}
    return _reply(incident, EventKind.LABELLED, "labelled", at, reader, facts)


def _reply(incident: Incident, kind: EventKind, name: str, at: datetime, reader: Audience, facts: dict[str, str]) -> Message:
    """Return a reply to the incident's opening message. `name`: of its template."""
    who = plain_line(facts["who"], MAX_TITLE) or "?"
    text = render(name, reader.language, facts | {"who": who})
    key = f"{incident.id}/{name}/{at.astimezone(UTC):%Y%m%dT%H%M%SZ}/text"
    return Message(key, kind, incident.root.metric, at, text, reply_to=incident.key, incident=incident.id, quiet=True)
