"""An event and its context go in, its text or its picture comes out. Telegram HTML; what comes from data is escaped and cut.

The first line is enough on a lock screen. A line that has nothing to say is left out.
"""

from __future__ import annotations

from collections.abc import Callable

from alerting.messages.context import Context
from alerting.messages.endings import corrected, over
from alerting.messages.gaps import no_data
from alerting.messages.openings import opened, reminder, worsened
from alerting.messages.phrases import Phrases
from alerting.messages.pieces import joined, links
from alerting.messages.replies import buttons
from alerting.model import Action, Event, Kind, Message

GOOD = (Kind.RESOLVED, Kind.DATA_BACK, Kind.CORRECTED)

KINDS: dict[Kind, Callable[[Phrases], list[str]]] = {
    Kind.OPENED: opened,
    Kind.WORSENED: worsened,
    Kind.REMINDER: reminder,
    Kind.RESOLVED: over,
    Kind.NO_DATA: no_data,
    Kind.DATA_BACK: over,
    Kind.CORRECTED: corrected,
}


def compose(event: Event, context: Context) -> Message:
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
        joined(lines, ends),
        reply_to=_answers(event),
        incident=event.incident.id if event.incident else "",
        buttons=rows,
        quiet=event.quiet,
        critical=Phrases(event, context).critical,
    )


def picture(event: Event, png: bytes, context: Context) -> Message:
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
        critical=Phrases(event, context).critical,
    )


def _answers(event: Event) -> str:
    """The opening message, where there is one before."""
    incident = event.incident
    if incident is None or f"{event.key}/text" == incident.key:
        return ""
    return "" if event.kind in GOOD and incident.told is None else incident.key


def _lines(event: Event, context: Context) -> list[str]:
    phrases = Phrases(event, context)
    late = phrases.told_late() if event.kind is not Kind.CORRECTED else ""  # late rows are why
    return [*KINDS[event.kind](phrases), late]


def _links(event: Event, context: Context) -> list[str]:
    """Nobody is called up for good news."""
    called = event.kind not in GOOD and (event.incident is None or event.incident.open)
    owner = (context.metric.owner or context.reader.owner) if called else ""
    return links(context.reader, context.dashboard, owner)
