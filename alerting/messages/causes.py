"""What explains an incident: a line in its opening, a reply where it is found later, a word at the end."""

from __future__ import annotations

from datetime import datetime

from alerting.messages.context import Reader
from alerting.messages.phrases import Phrases
from alerting.messages.pieces import capital, joined, title_of
from alerting.messages.slices import named
from alerting.messages.why import Why
from alerting.model import Incident, Kind, Message, Metric


def causes(p: Phrases) -> list[str]:
    """The cause in a line, then what else stands out, a line each. Nothing where it was taken back, or the root is not known."""
    incident = p.incident
    metric = next((part.metric for part in p.others if incident and part.metric.name == incident.root.metric), p.context.metric)
    if incident is None or incident.cause is None or incident.corrected or metric.name != incident.root.metric:
        return []
    why = Why.of(incident, metric, p.context.reader)
    return [*([why.line()] if why.head() else []), *why.beside()]


def briefly(p: Phrases) -> str:
    """Cause: exp_group 3"""
    cause = p.incident.cause if p.incident and not p.incident.corrected else None
    if cause is None or cause.answer != "carried" or cause.slice is None:
        return ""
    where = named(cause.slice, p.language)
    return p.say("cause", cause=p.say("mix, short", slice=where) if cause.effect == "mix" else where)


def cause(incident: Incident, at: datetime, reader: Reader, metric: Metric) -> Message:
    """The reply that says what explains it, where that was found after the alert had gone. `metric`: the incident's root."""
    why = Why.of(incident, metric, reader)
    first = reader.say("cause found", title=title_of(metric, reader.language), cause=why.head() or reader.say("no cause"))
    text = joined([first, capital(why.around()), *why.beside()])
    key = f"{incident.id}/cause/text"
    return Message(key, Kind.CAUSE, metric.name, at, text, reply_to=incident.key, incident=incident.id, quiet=True)
