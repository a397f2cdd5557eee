"""The buttons, and the short answers that confirm them in the thread. None makes a sound."""

from __future__ import annotations

from datetime import UTC, datetime

from alerting.messages.context import Reader
from alerting.messages.pieces import TITLE, plain
from alerting.messages.standing import LABELS
from alerting.model import Action, Button, Event, Incident, Kind, Label, Message

OPENING = ((Action.TAKE, Action.SNOOZE), (Action.MUTE, Action.FALSE_ALARM, Action.EXPECTED))
ENDING = ((Action.REAL, Action.FALSE_ALARM), (Action.EXPECTED, Action.NEW_TREND))


def buttons(event: Event, reader: Reader) -> tuple[tuple[Button, ...], ...]:
    """What may be pressed under the event's text."""
    incident = event.incident
    if incident is None:
        return ()
    if event.kind in (Kind.OPENED, Kind.NO_DATA):
        return _rows(OPENING, reader) if incident.open else ()
    odd = event.kind is Kind.RESOLVED or (event.kind is Kind.DATA_BACK and not incident.root.gap)
    return _rows(ENDING, reader) if odd else ()


def taken(incident: Incident, who: str, at: datetime, reader: Reader) -> Message:
    """👀 Anna is on it"""
    return _reply(incident, Kind.TAKEN, "taken", at, reader.say("answer taken", who=_name(who)))


def silenced(incident: Incident, who: str, at: datetime, reader: Reader) -> Message:
    """🔕 Anna: silent until 15:35, as the incident says."""
    if incident.muted or incident.snoozed is None:
        what = reader.say("until resolved")
    else:
        what = reader.say("until", until=reader.clock.at(incident.snoozed, near=reader.now))
    return _reply(incident, Kind.SILENCED, "silenced", at, reader.say("answer silence", who=_name(who), what=what))


def unsilenced(incident: Incident, who: str, at: datetime, reader: Reader) -> Message:
    """🔔 Anna: no longer silent"""
    text = reader.say("answer loud", who=_name(who), what=reader.say("loud again"))
    return _reply(incident, Kind.SILENCED, "unsilenced", at, text)


def labelled(incident: Incident, who: str, at: datetime, reader: Reader) -> Message:
    """🏷 Anna: false alarm, and what that does."""
    label = incident.label or Label.REAL
    said = reader.say("answer label", who=_name(who), label=reader.say(LABELS[label]))
    return _reply(incident, Kind.LABELLED, "labelled", at, f"{said}\n{reader.say(f'effect {label.value}')}")


def _reply(incident: Incident, kind: Kind, what: str, at: datetime, text: str) -> Message:
    key = f"{incident.id}/{what}/{at.astimezone(UTC):%Y%m%dT%H%M%SZ}/text"
    return Message(key, kind, incident.root.metric, at, text, reply_to=incident.key, incident=incident.id, quiet=True)


def _name(who: str) -> str:
    return plain(who, TITLE) or "?"


def _rows(rows: tuple[tuple[Action, ...], ...], reader: Reader) -> tuple[tuple[Button, ...], ...]:
    return tuple(tuple(Button(reader.say(f"button {action.value}"), action) for action in row) for row in rows)
