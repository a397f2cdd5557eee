"""What people answered in the chat, applied to the incidents it is about; and the beginning of a run in the memory."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from html import unescape

from alerting import messages
from alerting.model import Action, Answer, Incident, Label, Memory, Message, NotifyError, Run
from alerting.pipeline.composing import reader
from alerting.pipeline.timing import Connections

SNOOZE = timedelta(hours=1)
KNOWN = timedelta(days=30)  # buttons of older incidents are too late
LABELS = {
    Action.REAL: Label.REAL,
    Action.FALSE_ALARM: Label.FALSE_ALARM,
    Action.EXPECTED: Label.EXPECTED,
    Action.NEW_TREND: Label.NEW_TREND,
}


@dataclass(frozen=True)
class Heard:
    """One answer and what became of it. `said`: what the person is shown."""

    answer: Answer
    incident: str
    said: str


def begin(to: Connections, now: datetime) -> None:
    """Write into the memory that a run has begun: one that never ends is seen by the next. Raises StoreError."""
    to.store.begin(Run(to.started or now, now))


def hear(to: Connections, now: datetime) -> tuple[list[Heard], str]:
    """The buttons pressed since the last time, applied and confirmed; and what kept them from being read, "" if nothing did.

    Remembered in one transaction before anything is confirmed, so that a press counts once. Raises StoreError.
    """
    try:
        answers = to.notifier.answers(to.store.heard())
    except NotifyError as error:
        return [], f"answers in the chat could not be read: {error}"
    if not answers:
        return [], ""
    incidents = {incident.ref: incident for incident in to.store.incidents(now - KNOWN)}
    heard, replies, changed = list[Heard](), list[Message](), dict[str, Incident]()
    for answer in answers:
        incident = changed.get(answer.ref) or incidents.get(answer.ref)
        if answer.refused or incident is None:
            heard.append(Heard(answer, "", answer.refused or "this incident is not known any more"))
            continue
        changed[answer.ref], reply = _applied(to, incident, answer, now)
        replies.append(replace(reply, key=f"{incident.id}/answer/{answer.update}/text"))  # two people may press at once
        heard.append(Heard(answer, incident.id, unescape(re.sub(r"<[^>]*>", "", reply.text.splitlines()[0]))))
    following = answers[-1].update + 1  # not the highest: after a quiet week the numbers begin anew
    to.store.commit(Memory(messages=replies, incidents=list(changed.values()), heard=following), now)
    for item in heard:
        to.notifier.confirm(item.answer, item.said)
    return heard, ""


def _applied(to: Connections, incident: Incident, answer: Answer, now: datetime) -> tuple[Incident, Message]:
    """The incident after the answer, and what is said of it in its thread."""
    who, to_whom = answer.who, reader(to, now)
    if answer.action is Action.TAKE:
        return replace(incident, taken=who), messages.taken(incident, who, now, to_whom)
    if answer.action is Action.SNOOZE:
        changed = replace(incident, snoozed=now + SNOOZE)
        return changed, messages.silenced(changed, who, now, to_whom)
    if answer.action is Action.MUTE:
        changed = replace(incident, muted=True)
        return changed, messages.silenced(changed, who, now, to_whom)
    label = LABELS[answer.action]
    known = label in (Label.FALSE_ALARM, Label.EXPECTED)  # nobody needs to be reminded of it
    changed = replace(incident, label=label, labelled=who, muted=incident.muted or (known and incident.open))
    return changed, messages.labelled(changed, who, now, to_whom)
