"""Escalate a critical incident that nobody has acknowledged in time: once each time that it opens, by the next route."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from alerting.incidents.grouping import is_silent
from alerting.messages.compose import escalation
from alerting.model.incident import Incident, MetricTree, is_critical
from alerting.model.message import Message
from alerting.model.verdict import Verdict
from alerting.pipeline.advance import PreviousState, StateChange
from alerting.pipeline.context import RunContext


def escalations(
    ctx: RunContext, changes: StateChange, newest: dict[str, dict[str, Verdict]], messages: Sequence[Message], now: datetime
) -> Iterator[Message]:
    """Yield the escalations that are due. `newest`: incident -> metric that is affected -> its newest verdict.

    `messages`: of this run; they hold the newest text of the incident's entry. Raises StoreError.
    """
    if not ctx.escalate_after:
        return
    metrics = [*ctx.metrics, *ctx.segment_metrics]
    roots, silences = MetricTree(metrics).roots, PreviousState(metrics, silences=ctx.store.silences(now))
    for incident in changes.incidents:
        verdicts = newest.get(incident.id, {})
        told = ctx.store.critical_since(incident.id, _began(incident))
        if not verdicts or told is None:
            continue
        told = max(told, incident.snoozed_until or told)  # a snooze puts it off
        if not is_escalation_due(incident, told, ctx.escalate_after, now):
            continue
        if all(is_silent(incident, verdict, silences.silenced) for verdict in verdicts.values()):
            continue
        if is_critical([(ctx.metric(name), verdict) for name, verdict in verdicts.items()], roots, incident.cause):
            entry = next((m.text for m in messages if m.edits == incident.key), "") or ctx.store.text(incident.key)
            reader = ctx.audience(now)
            mention = reader.duty or reader.mention(ctx.metric(incident.root.metric).owner)
            message = escalation(incident, entry, now - told, reader, mention)
            if not ctx.store.text(message.key):  # it was composed by an earlier run
                yield message


def _began(incident: Incident) -> datetime:
    """Return when the incident began, or was opened again: who took it, took what was over then."""
    again = min((max(it.since, it.ended or it.since) for it in incident.affected), default=incident.opened)
    return again if incident.reopened else incident.opened


def is_escalation_due(incident: Incident, told: datetime, after: timedelta, now: datetime) -> bool:
    """Return whether nobody has reacted to an open incident for `after`, since it was first told as critical at `told`."""
    reacted = incident.acknowledged_by or incident.label or incident.muted
    return incident.open and incident.last_notified is not None and not reacted and now - told >= after
