"""Make messages of events: an event and its context go in, its text or its picture comes out.

The first line is enough on a lock screen. To change a text, change its template.
"""

from __future__ import annotations

from dataclasses import replace

from alerting.messages.context import END_KINDS, OPENING_KINDS, MessageContext
from alerting.messages.facts import GOOD_KINDS, event_facts
from alerting.messages.text import render
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
    if incident and event.kind in OPENING_KINDS and not facts.incident.is_over:
        actions = OPENING_BUTTONS
    elif incident and (event.kind is EventKind.RESOLVED or (event.kind is EventKind.DATA_BACK and not incident.root.gap)):
        actions = ENDING_BUTTONS  # of an anomaly; nobody is asked about a gap

    template = event.kind.value.replace(" ", "_")
    if event.kind is EventKind.OPENED and facts.is_platform and facts.others.roots_first:
        template = "platform"
    elif event.kind is EventKind.WORSENED and (facts.gap or facts.before is None):
        template = "joined"
    elif event.kind in END_KINDS:
        template = "data_back" if facts.gap else "resolved"
    is_label_wanted = actions == ENDING_BUTTONS and not facts.incident.label

    is_opening = event.kind in OPENING_KINDS and not event.again
    is_first = incident is None or is_opening or (event.kind in GOOD_KINDS and facts.incident.is_unsent)
    return Message(
        f"{event.key}/text",
        event.kind,
        event.metric,
        event.bucket,
        render(template, language, vars(facts) | {"is_label_wanted": is_label_wanted}, footer="footer"),
        reply_to="" if incident is None or is_first else incident.key,
        incident=incident.id if incident else "",
        buttons=tuple(tuple(Button(WORDS[language][f"button {it.value}"], it) for it in row) for row in actions),
        quiet=event.quiet,
        critical=facts.is_critical,
    )


def picture_message(event: Event, png: bytes, context: MessageContext) -> Message:
    """Return the picture that answers the event's text. Its caption is that text's first line."""
    text = compose(event, context)
    caption, key = text.text.split("\n")[0], f"{event.key}/picture"
    return replace(text, key=key, text=caption, photo=png, reply_to=text.key, buttons=(), quiet=True)


def rarity_text(event: Event, context: MessageContext) -> str:
    """Return how unusual the event is: lower than all 12 same-time Mondays · such a drop about once in 9 weeks. May be empty."""
    return render("rarity", context.reader.language, vars(event_facts(event, context)))
