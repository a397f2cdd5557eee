"""Begin a run: record that it runs, and apply the buttons that were pressed in the chat to their incidents."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from html import unescape

from alerting.messages.compose import confirmation
from alerting.model.errors import NotifyError
from alerting.model.incident import Incident, incident_ref
from alerting.model.message import Action, ButtonPress, Message
from alerting.model.protocols import Commit
from alerting.model.run import Run
from alerting.model.verdict import EventKind, Label
from alerting.pipeline.context import RunContext

SNOOZE = timedelta(hours=1)
PRESSABLE_FOR = timedelta(days=30)  # the buttons of older incidents no longer work
LABELS = {
    Action.REAL: Label.REAL,
    Action.FALSE_ALARM: Label.FALSE_ALARM,
    Action.EXPECTED: Label.EXPECTED,
    Action.NEW_TREND: Label.NEW_TREND,
}


@dataclass(frozen=True)
class Feedback:
    """A pressed button. `incident`: id, "" if there is none. `reply`: the text that the person is shown."""

    press: ButtonPress
    incident: str
    reply: str


def begin_run(ctx: RunContext, now: datetime) -> tuple[list[Feedback], str]:
    """Record that a run has begun, so that the next one sees it if it never ends; then read the feedback. Raises StoreError."""
    ctx.store.save_run(Run(ctx.started or now, now))
    return read_feedback(ctx, now)


def read_feedback(ctx: RunContext, now: datetime) -> tuple[list[Feedback], str]:
    """Apply and confirm the buttons pressed since the last read; return them, and why they could not be read, else "".

    All is committed in one transaction before anything is confirmed, so that a press counts once. Raises StoreError.
    """
    try:
        presses = ctx.notifier.button_presses(ctx.store.next_update())
    except NotifyError as error:
        return [], f"answers in the chat could not be read: {error}"
    if not presses:
        return [], ""
    incidents = {incident_ref(incident.id): incident for incident in ctx.store.incidents(now - PRESSABLE_FOR)}
    feedback, replies, changed = list[Feedback](), list[Message](), dict[str, Incident]()
    for press in presses:
        incident = changed.get(press.ref) or incidents.get(press.ref)
        if press.refused or incident is None:
            feedback.append(Feedback(press, "", press.refused or "this incident is not known any more"))
            continue
        changed[press.ref], reply = _apply(ctx, incident, press, now)
        replies.append(replace(reply, key=f"{incident.id}/answer/{press.update_id}/text"))  # two people may press at once
        feedback.append(Feedback(press, incident.id, unescape(re.sub(r"<[^>]*>", "", reply.text.splitlines()[0]))))
    following = presses[-1].update_id + 1  # not the highest: after a quiet week the numbers begin anew
    ctx.store.commit(Commit(messages=replies, incidents=list(changed.values()), next_update=following), now)
    for item in feedback:
        ctx.notifier.confirm(item.press, item.reply)
    return feedback, ""


def _apply(ctx: RunContext, incident: Incident, press: ButtonPress, now: datetime) -> tuple[Incident, Message]:
    """Return the incident after the press, and the reply in its thread."""
    if press.action is Action.TAKE:
        kind, changed = EventKind.TAKEN, replace(incident, acknowledged_by=press.name)
    elif press.action is Action.SNOOZE:
        kind, changed = EventKind.SILENCED, replace(incident, snoozed_until=now + SNOOZE)
    elif press.action is Action.MUTE:
        kind, changed = EventKind.SILENCED, replace(incident, muted=True)
    else:
        label = LABELS[press.action]
        expected = label in (Label.FALSE_ALARM, Label.EXPECTED)  # then nobody needs a reminder
        muted = incident.muted or (expected and incident.open)
        kind, changed = EventKind.LABELLED, replace(incident, label=label, labelled_by=press.name, muted=muted)
    return changed, confirmation(changed, kind, press.name, now, ctx.audience(now))
