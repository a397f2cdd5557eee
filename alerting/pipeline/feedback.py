"""What people answered in the chat, applied to the incidents it is about; and the beginning of a run in the memory."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from html import unescape

from alerting.messages.system import acknowledged_reply, labelled_reply, silenced_reply
from alerting.model.errors import NotifyError
from alerting.model.incident import Incident
from alerting.model.message import Action, ButtonPress, Message
from alerting.model.protocols import Commit
from alerting.model.run import Run
from alerting.model.verdict import Label
from alerting.pipeline.compose import audience
from alerting.pipeline.context import RunContext

SNOOZE = timedelta(hours=1)
PRESSABLE_FOR = timedelta(days=30)  # buttons of older incidents are too late
LABELS = {
    Action.REAL: Label.REAL,
    Action.FALSE_ALARM: Label.FALSE_ALARM,
    Action.EXPECTED: Label.EXPECTED,
    Action.NEW_TREND: Label.NEW_TREND,
}


@dataclass(frozen=True)
class Feedback:
    """One answer and what became of it. `said`: what the person is shown."""

    answer: ButtonPress
    incident: str
    said: str


def begin_run(ctx: RunContext, now: datetime) -> None:
    """Write into the memory that a run has begun: one that never ends is seen by the next. Raises StoreError."""
    ctx.store.begin_run(Run(ctx.started or now, now))


def read_feedback(ctx: RunContext, now: datetime) -> tuple[list[Feedback], str]:
    """The buttons pressed since the last time, applied and confirmed; and what kept them from being read, "" if nothing did.

    Remembered in one transaction before anything is confirmed, so that a press counts once. Raises StoreError.
    """
    try:
        answers = ctx.notifier.button_presses(ctx.store.next_update())
    except NotifyError as error:
        return [], f"answers in the chat could not be read: {error}"
    if not answers:
        return [], ""
    incidents = {incident.ref: incident for incident in ctx.store.incidents(now - PRESSABLE_FOR)}
    heard, replies, changed = list[Feedback](), list[Message](), dict[str, Incident]()
    for answer in answers:
        incident = changed.get(answer.ref) or incidents.get(answer.ref)
        if answer.refused or incident is None:
            heard.append(Feedback(answer, "", answer.refused or "this incident is not known any more"))
            continue
        changed[answer.ref], reply = _applied(ctx, incident, answer, now)
        replies.append(replace(reply, key=f"{incident.id}/answer/{answer.update_id}/text"))  # two people may press at once
        heard.append(Feedback(answer, incident.id, unescape(re.sub(r"<[^>]*>", "", reply.text.splitlines()[0]))))
    following = answers[-1].update_id + 1  # not the highest: after a quiet week the numbers begin anew
    ctx.store.commit(Commit(messages=replies, incidents=list(changed.values()), next_update=following), now)
    for item in heard:
        ctx.notifier.confirm(item.answer, item.said)
    return heard, ""


def _applied(ctx: RunContext, incident: Incident, answer: ButtonPress, now: datetime) -> tuple[Incident, Message]:
    """The incident after the answer, and what is said of it in its thread."""
    who, to_whom = answer.name, audience(ctx, now)
    if answer.action is Action.TAKE:
        return replace(incident, acknowledged_by=who), acknowledged_reply(incident, who, now, to_whom)
    if answer.action is Action.SNOOZE:
        changed = replace(incident, snoozed_until=now + SNOOZE)
        return changed, silenced_reply(changed, who, now, to_whom)
    if answer.action is Action.MUTE:
        changed = replace(incident, muted=True)
        return changed, silenced_reply(changed, who, now, to_whom)
    label = LABELS[answer.action]
    known = label in (Label.FALSE_ALARM, Label.EXPECTED)  # nobody needs to be reminded of it
    changed = replace(incident, label=label, labelled_by=who, muted=incident.muted or (known and incident.open))
    return changed, labelled_reply(changed, who, now, to_whom)
