"""Make messages: about an event, about runs, for a drill, and the edit after a button was pressed. Pure.

The first line is enough on a lock screen. To change a text, change its template: `templates/KIND.LANGUAGE.j2` looks like its
message, in Telegram HTML. Empty lines, and empty pieces between two " · ", are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from itertools import accumulate
from typing import Any

from markupsafe import Markup

from alerting.messages.context import GOOD_KINDS, Audience, MessageContext, Subject
from alerting.messages.facts import event_facts, incident_facts
from alerting.messages.format import (
    MAX_REASON,
    MAX_SHORT_TITLE,
    MAX_TITLE,
    duration,
    percent,
    plain_line,
    plural,
    roughly,
    segment_words,
    tidy,
)
from alerting.messages.words import LABEL_WORDS, WORDS
from alerting.model.incident import Event, Incident, incident_file
from alerting.model.message import Action, Button, Message
from alerting.model.metric import Metric
from alerting.model.verdict import END_KINDS, OPENING_KINDS, EventKind, Label

LATE = timedelta(minutes=30)  # a text is late if its bucket ended longer ago than this and than two steps
MAX_TEXT = 4000  # UTF-16 units of a text without its tags, as Telegram counts (it takes 4096)
MAX_CAPTION = 1000  # UTF-16 units of a picture's caption; Telegram allows 1024
MAX_LINES = 6  # lines of an incident's text; the run's page has the rest
TAG = re.compile(r"<[^>]*>")
STATUS_ICONS = ("👀", "🔕", "🏷")  # the line about what people did begins with one of them
MAX_DIGEST_LINES = 15  # largest number of messages that get a line in a digest
DIGEST_HEAD = 200  # UTF-16 units for the lines before them


def _buttons(*actions: tuple[Action, ...]) -> dict[str, tuple[tuple[Button, ...], ...]]:
    """Return language -> rows of buttons."""
    return {
        language: tuple(tuple(Button(words[f"button {action.value}"], action) for action in row) for row in actions)
        for language, words in WORDS.items()
    }


OPENING_BUTTONS = _buttons((Action.TAKE, Action.SNOOZE), (Action.MUTE, Action.FALSE_ALARM, Action.EXPECTED))
ENDING_BUTTONS = _buttons((Action.REAL, Action.FALSE_ALARM), (Action.EXPECTED, Action.NEW_TREND))


def compose(event: Event, context: MessageContext) -> Message:
    """Return the message about an event, with its buttons. Composed again from newer facts, it is an edit of the first one.

    The text has at most MAX_LINES lines and the length of a caption, because it may be the caption of a picture.
    """
    incident, metric, reader, kind = event.incident, context.metric, context.reader, event.kind
    is_over, is_entry = incident is not None and incident.closed is not None, kind in OPENING_KINDS
    if kind is EventKind.OPENED and is_over and incident is not None and not incident.corrected:
        kind = EventKind.RESOLVED  # an incident that is over already is sent as its end
    subject = Subject.of(replace(event, kind=kind), context)
    template = kind.value.replace(" ", "_")
    if kind is EventKind.OPENED and context.is_platform and subject.others:
        template = "platform"
    elif kind is EventKind.WORSENED and (subject.is_gap or subject.before is None):
        template = "joined"
    elif kind in END_KINDS:
        template = "data_back" if subject.is_gap else "resolved"

    buttons: tuple[tuple[Button, ...], ...] = ()
    if incident and is_entry and not is_over:
        buttons = OPENING_BUTTONS[reader.language]
    elif incident and (event.kind is EventKind.RESOLVED or (event.kind is EventKind.DATA_BACK and not incident.root.gap)):
        buttons = ENDING_BUTTONS[reader.language]  # only for an anomaly: nobody labels a gap

    # The last lines: how late the text is, where it leads, who is called, and what people did
    bucket = subject.shown.bucket if is_entry else event.bucket
    lateness = reader.now - bucket - metric.step
    is_late = lateness > max(LATE, 2 * metric.step) and not (is_entry and is_over) and kind is not EventKind.CORRECTED
    footer = {
        "late": duration(lateness, reader.language) if is_late else "",
        "dashboard": context.dashboard,
        "run": reader.run_link,
        "page": f"{reader.pages}/{incident_file(incident.id)}" if reader.pages and incident else "",
        "owner": plain_line(reader.mention(metric.owner), MAX_TITLE) if kind not in GOOD_KINDS and not is_over else "",
        "is_reminder": kind is EventKind.REMINDER,  # its first line says who is on it
        "is_label_wanted": buttons == ENDING_BUTTONS[reader.language] and incident is not None and incident.label is None,
    }
    text = render(template, reader.language, event_facts(subject) | footer, footer="footer")
    is_first = (is_entry and not event.again) or (kind in GOOD_KINDS and not (incident and incident.last_notified))
    return Message(
        f"{event.key}/text", event.kind, event.metric, bucket, text, incident=incident.id if incident else "",
        reply_to=incident.key if incident and not is_first else "",
        buttons=buttons, quiet=event.quiet, critical=subject.is_critical,
    )  # fmt: skip


def status_edit(incident: Incident, kind: EventKind, text: str, at: datetime, reader: Audience) -> Message:
    """Return the edit of the incident's entry after a button was pressed: its last line gives what people did.

    `kind`: taken, silenced or labelled. `text`: the present text of the entry.
    """
    lines = [line for line in text.split("\n") if not line.startswith(STATUS_ICONS)]
    if len(lines) == MAX_LINES:
        del lines[-2]  # the least important one: the links follow
    lines.append(status_line(incident, reader))
    key = f"{incident.id}/{kind.value}/{at.astimezone(UTC):%Y%m%dT%H%M%SZ}/text"
    buttons, text = OPENING_BUTTONS[reader.language] if incident.open else (), "\n".join(lines)
    metric = incident.root.metric
    return Message(key, kind, metric, at, text, edits=incident.key, incident=incident.id, buttons=buttons, quiet=True)


def status_line(incident: Incident, reader: Audience) -> str:
    """Return what people did with the incident: 👀 Anna is on it · 🔕 silent until 15:35 · 🏷 Anna: real."""
    return render("status", reader.language, {"incident": incident_facts(incident, reader), "is_reminder": False})


def plain_text(event: Event, metric: Metric, reader: Audience) -> Message:
    """Return the message to send if `compose` fails: the event's metric and time, and the link to the run."""
    facts = {"title": plain_line(metric.title_in(reader.language), MAX_TITLE), "at": reader.at(event.bucket)}
    incident, key = event.incident, f"{event.key}/text"
    text = _text("plain", reader, facts, owner=reader.mention())
    reply_to = incident.key if incident and incident.key != key else ""
    return Message(key, event.kind, event.metric, event.bucket, text, reply_to=reply_to, incident=incident.id if incident else "")


def escalation(incident: Incident, entry: str, waited: timedelta, reader: Audience, mention: str) -> Message:
    """Return the call to the next person: nobody has taken the incident for `waited`. `entry`: its text in the chat."""
    facts = {"entry": Markup(entry.split("\n")[0]), "waited": duration(waited, reader.language)}
    text = _text("escalated", reader, facts, owner=mention)
    again = f"-{incident.reopened}" if incident.reopened else ""
    return Message(
        f"{incident.id}/escalated{again}/text",
        EventKind.ESCALATED,
        incident.root.metric,
        reader.now,
        text,
        reply_to=incident.key,
        incident=incident.id,
        buttons=OPENING_BUTTONS[reader.language],
        critical=True,
    )


def unchecked(incident: Incident, names: Sequence[str], reader: Audience) -> Message:
    """Return the end of an incident whose metrics are not checked any more. `names`: their titles or names."""
    shown = [plain_line(name, MAX_SHORT_TITLE) for name in names]
    since = reader.at(incident.closed or reader.now, near=reader.now)
    text = _text("unchecked", reader, {"names": shown, "since": since})
    key, bucket = f"{incident.id}/unchecked/{incident.closed:%Y%m%dT%H%MZ}/text", incident.closed or reader.now
    metric = incident.root.metric
    return Message(key, EventKind.RESOLVED, metric, bucket, text, reply_to=incident.key, incident=incident.id)


@dataclass(frozen=True)
class DailySummary:
    """The runs and incidents of 24 hours."""

    runs: int  # runs that took place
    due: int  # runs that cron should have started
    failed: int
    unseen: int  # number of buckets without a value, over all metrics
    incidents: tuple[tuple[str, Label | None], ...]  # title of the root, and people's label
    open: int  # number of these incidents that are open
    closest: tuple[str, float, datetime] | None  # title, score and bucket of the normal verdict with the largest score
    at: datetime  # end of the 24 hours, aware UTC
    slices: tuple[tuple[str, str, float, int], ...] = ()  # title, segment, change (share), buckets: anomalous in a normal total
    silences: tuple[str, ...] = ()  # texts of the silences that have not ended


def run_failed(
    at: datetime,
    reason: str,
    judged_until: datetime | None,
    next_try: datetime | None,
    reader: Audience,
    made_up: datetime | None = None,
) -> Message:
    """Return the notice that the check of `at` failed. `judged_until`: end of the last judged bucket; None if unknown.

    `made_up`: the time of the later check that reports the failure and has judged the buckets that were left out. The key holds
    the failure and the UTC hour of the notice, so that the same failure is sent once an hour.
    """
    facts = {
        "at": reader.at(at),
        "judged_until": reader.at(judged_until, near=at) if judged_until else "",
        "reason": plain_line(reason, MAX_REASON),
        "next_try": reader.at(next_try, near=at) if next_try else "",
        "made_up": reader.at(made_up, near=at) if made_up else "",
    }
    text, told = _text("run_failed", reader, facts, owner=reader.mention()), made_up or at
    key = f"run/run-failed/{told.astimezone(UTC):%Y%m%dT%HZ}-{failure_id(reason)}/text"
    return Message(key, EventKind.RUN_FAILED, "", told, text)


def failure_id(reason: str) -> str:
    """Return 8 hexadecimal digits, the same for the same failure: numbers in the reason (times, seconds) are ignored."""
    return blake2b(re.sub(r"\d+", "0", reason).encode("utf-8", "replace"), digest_size=4).hexdigest()


def run_recovered(at: datetime, since: datetime, incidents: int, reader: Audience) -> Message:
    """Return the notice that the check of `at` succeeded and has judged the buckets that the failed checks had left out.

    `since`: the first failed check. `incidents`: the number of incidents that began since then.
    """
    facts = {
        "at": reader.at(at),
        "since": reader.at(since, near=at),
        "lasted": duration(at - since, reader.language),
        "incidents": plural(incidents, "incident", reader.language) if incidents else "",
    }
    text = _text("run_recovered", reader, facts)
    return Message(f"run/run-recovered/{at.astimezone(UTC):%Y%m%dT%H%MZ}/text", EventKind.RUN_RECOVERED, "", at, text)


def caught_up(
    first: datetime, last: datetime, unusual: tuple[str, ...], reader: Audience, going_on: tuple[str, ...] = ()
) -> Message:
    """Return the notice that the runs due from `first` to `last` did not take place, and that this run judged their buckets.

    `unusual`: titles of the metrics that were anomalous or without data in that time. `going_on`: titles of those whose incident
    began before and is still open.
    """
    facts = {
        "is_one": first == last,
        "when": reader.at(first) if first == last else reader.span(first, last),
        "late": duration(reader.now - first, reader.language),
        "unusual": tuple(plain_line(title, MAX_TITLE) for title in unusual),
        "going_on": tuple(plain_line(title, MAX_TITLE) for title in going_on),
    }
    text = _text("caught_up", reader, facts)
    return Message(f"run/caught-up/{first.astimezone(UTC):%Y%m%dT%H%MZ}/text", EventKind.CAUGHT_UP, "", first, text)


def digest_message(messages: Sequence[Message], at: datetime, reader: Audience, template: str = "digest") -> Message:
    """Return one message with the first lines of messages that could not be sent in time, the newest last.

    `template`: digest, or quiet_hours for messages that waited for the end of quiet hours, one of each incident.
    """
    unsent = sorted(messages, key=lambda message: message.bucket)
    start, end = (unsent[0].bucket, unsent[-1].bucket) if unsent else (at, at)

    newest = [message.text.split("\n")[0] for message in unsent][::-1][:MAX_DIGEST_LINES]
    sizes = accumulate(len(f"{line}\n".encode("utf-16-le")) // 2 for line in newest)
    lines = [Markup(line) for line, size in zip(newest, sizes, strict=True) if size < MAX_TEXT - DIGEST_HEAD][::-1]
    facts = {
        "messages": plural(len(unsent), "message", reader.language),
        "incidents": plural(len(unsent), "incident", reader.language),
        "when": (reader.span(start, end) if end > start else reader.at(start)) if unsent else "",
        "earlier": len(unsent) - len(lines),
        "lines": lines,
    }
    key = f"run/{template.replace('_', '-')}/{at.astimezone(UTC):%Y%m%dT%H%M%SZ}/text"
    return Message(key, EventKind.DIGEST, "", at, render(template, reader.language, facts))


def daily_message(summary: DailySummary, reader: Audience) -> Message:
    """Return the daily message: one line if nothing happened, otherwise a few. A day without it means that no run took place."""
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
        "closest": closest
        and {
            "title": plain_line(closest[0], MAX_SHORT_TITLE),
            "share": percent(abs(closest[1]), language),
            "at": reader.at(closest[2], near=summary.at),
        },
        "segments": [
            {
                "title": plain_line(f"{title} ({segment_words(segment, language)})", MAX_TITLE),
                "change": roughly(change, language),
                "buckets": plural(buckets, "bucket", language),
            }
            for title, segment, change, buckets in summary.slices
        ],
    }
    key = f"run/daily/{summary.at.astimezone(UTC):%Y%m%dT%H%MZ}/text"
    return Message(key, EventKind.DAILY, "", summary.at, _text("daily", reader, facts), quiet=True)


def _text(template: str, reader: Audience, facts: dict[str, Any], owner: str = "") -> str:
    """Return the text of a message about a run, with the run's link. `owner`: the person to mention."""
    links = {"dashboard": "", "run": reader.run_link, "page": "", "owner": plain_line(owner, MAX_TITLE)}
    return render(template, reader.language, facts | links)


def as_drill(message: Message, language: str) -> Message:
    """Return the message marked as a drill, in its text and in its keys."""
    text = f"{WORDS[language]['drill']} {message.text}"
    key, reply_to, edits = (key and f"drill/{key}" for key in (message.key, message.reply_to, message.edits))
    return replace(message, text=text, key=key, reply_to=reply_to, edits=edits)


def render(template: str, language: str, facts: Mapping[str, Any], footer: str = "") -> str:
    """Return the lines of a template, then the lines of the footer template, without empty lines.

    A text with a footer is about an incident: it has at most MAX_LINES lines and MAX_CAPTION units. If it is longer, the last
    lines before the footer are dropped. Raises UndefinedError for a fact that does not exist.
    """
    from alerting.messages.jinja import templates

    names = [f"{name}.{language}.j2" if name else "" for name in (template, footer)]
    texts = [templates.get_template(name).render(facts) if name else "" for name in names]
    lines, ends = ([line for line in map(tidy, text.split("\n")) if line] for text in texts)
    if footer:
        lines = lines[: MAX_LINES - len(ends)]
    units = [len(f"{TAG.sub('', line)}\n".encode("utf-16-le")) // 2 for line in (*lines, *ends)]
    room = (MAX_CAPTION if footer else MAX_TEXT) - sum(units[len(lines) :])
    fitting = [line for line, size in zip(lines, accumulate(units), strict=False) if size <= room]
    return "\n".join([*fitting, *ends])
