"""Make messages of events: an event and its context go in, its text or its picture comes out.

The first line is enough on a lock screen. To change a text, change its template.
"""

from __future__ import annotations

from alerting.messages.context import MessageContext
from alerting.messages.facts import GOOD_KINDS, EventFacts, event_facts
from alerting.messages.members import END_KINDS, OPENING_KINDS
from alerting.messages.text import join_lines, render_lines
from alerting.messages.words import WORDS
from alerting.model.incident import Event
from alerting.model.message import Action, Button, Message
from alerting.model.verdict import EventKind

OPENING_BUTTONS = ((Action.TAKE, Action.SNOOZE), (Action.MUTE, Action.FALSE_ALARM, Action.EXPECTED))
ENDING_BUTTONS = ((Action.REAL, Action.FALSE_ALARM), (Action.EXPECTED, Action.NEW_TREND))


def compose(event: Event, context: MessageContext) -> Message:
    """Return the text of an event, with its buttons. With newer facts it is the text to edit the first one to."""
    incident, language, facts = event.incident, context.reader.language, event_facts(event, context)
    actions: tuple[tuple[Action, ...], ...] = ()
    if incident and event.kind in OPENING_KINDS and incident.open:
        actions = OPENING_BUTTONS
    elif incident and (event.kind is EventKind.RESOLVED or (event.kind is EventKind.DATA_BACK and not incident.root.gap)):
        actions = ENDING_BUTTONS  # of an anomaly; nobody is asked about a gap

    is_label_wanted = actions == ENDING_BUTTONS and not facts.incident.label
    lines = render_lines(_template(event, facts), language, vars(facts))
    footer = render_lines("footer", language, vars(facts) | {"is_label_wanted": is_label_wanted})
    key = f"{event.key}/text"
    is_first = incident is None or key == incident.key or (event.kind in GOOD_KINDS and facts.incident.is_unsent)
    return Message(
        key,
        event.kind,
        event.metric,
        event.bucket,
        join_lines(lines, footer),
        reply_to="" if incident is None or is_first else incident.key,
        incident=incident.id if incident else "",
        buttons=tuple(tuple(Button(WORDS[language][f"button {it.value}"], it) for it in row) for row in actions),
        quiet=event.quiet,
        critical=facts.is_critical,
    )


def picture_message(event: Event, png: bytes, context: MessageContext) -> Message:
    """Return the picture that answers the event's text. Its caption is that text's first line."""
    facts = event_facts(event, context)
    return Message(
        f"{event.key}/picture",
        event.kind,
        event.metric,
        event.bucket,
        render_lines(_template(event, facts), context.reader.language, vars(facts))[0],
        png,
        reply_to=f"{event.key}/text",
        incident=event.incident.id if event.incident else "",
        quiet=True,
        critical=facts.is_critical,
    )


def _template(event: Event, facts: EventFacts) -> str:
    """Return the name of the event's template, without its language."""
    if event.kind is EventKind.OPENED and facts.is_platform and facts.others.roots_first:
        return "platform"
    if event.kind is EventKind.WORSENED and (facts.gap or facts.before is None):
        return "joined"
    if event.kind in END_KINDS:
        return "data_back" if facts.gap else "resolved"
    return event.kind.value.replace(" ", "_")


def rarity_text(event: Event, context: MessageContext) -> str:
    """Return how unusual the event is: lower than all 12 same-time Mondays · such a drop about once in 9 weeks. May be empty."""
    return "".join(render_lines("rarity", context.reader.language, vars(event_facts(event, context))))
