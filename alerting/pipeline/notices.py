"""Compose what is said besides events: missed runs, metrics that are not checked any more, escalations, and the day."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from alerting.incidents.grouping import is_silent
from alerting.messages.answers import silence_text
from alerting.messages.compose import DailySummary, caught_up, daily_message, escalation, unchecked
from alerting.messages.format import metric_title
from alerting.model.incident import Incident, MetricTree, is_critical
from alerting.model.message import Message
from alerting.model.metric import STEP
from alerting.model.verdict import EventKind, Status, Verdict
from alerting.pipeline.advance import PreviousState, StateChange
from alerting.pipeline.context import RunContext
from alerting.pipeline.segment_watch import stand_in_names

DAY = timedelta(days=1)
TOLERATED_MISSES = 1  # buckets that may wait for a run without a message: cron is sometimes a little late


def missed_runs(ctx: RunContext, changes: StateChange, now: datetime) -> list[Message]:
    """Return the message that runs were missed, unless messages about failed runs were sent already."""
    waited = [item for item in changes.due if not item.first_look and len(item) > 1 + TOLERATED_MISSES]
    if not waited or ctx.store.sent_recently(EventKind.RUN_FAILED.value, waited[0].first, max(now, ctx.started or now)):
        return []
    first, last = waited[0].first + waited[0].metric.step, waited[0].last
    begun = [e for e in changes.events if e.incident and e.incident.opened >= waited[0].first]
    events = {event.metric: event for e in begun for event in (e, *e.also)}
    titles = tuple(metric_title(ctx.metric(name), event.segment, ctx.language) for name, event in events.items())
    return [caught_up(first, last, titles, ctx.audience(now))]


def unchecked_metrics(ctx: RunContext, changes: StateChange, now: datetime) -> Iterator[Message]:
    """Yield the ends of incidents that were reported, and none of whose metrics is checked any more."""
    for incident in changes.unchecked:
        if incident.last_notified:
            gone = [member.metric for member in incident.members if not ctx.has_metric(member.metric)]
            yield unchecked(incident, gone, ctx.audience(now))


def escalations(
    ctx: RunContext, changes: StateChange, newest: Mapping[str, Mapping[str, Verdict]], messages: Sequence[Message], now: datetime
) -> Iterator[Message]:
    """Yield the calls to the next person for critical incidents that nobody has taken in time, once each time one opens.

    `newest`: incident -> metric that is affected -> its newest verdict. `messages`: of this run; they hold the newest text of the
    incident's entry. Raises StoreError.
    """
    if not ctx.escalate_after:
        return
    metrics, reader = [*ctx.metrics, *ctx.segment_metrics], ctx.audience(now)
    roots, silences = MetricTree(metrics).roots, PreviousState(metrics, silences=ctx.store.silences(now))
    for incident in changes.incidents:
        # Who took it before it was opened again, took what was over then
        again = min((max(it.since, it.ended or it.since) for it in incident.affected), default=incident.opened)
        told = ctx.store.critical_since(incident.id, again if incident.reopened else incident.opened)
        verdicts = newest.get(incident.id, {})
        if not verdicts or told is None:
            continue
        told = max(told, incident.snoozed_until or told)  # a snooze puts it off
        if not is_escalation_due(incident, told, ctx.escalate_after, now):
            continue
        if all(is_silent(incident, verdict, silences.silenced) for verdict in verdicts.values()):
            continue
        if is_critical([(ctx.metric(name), verdict) for name, verdict in verdicts.items()], roots, incident.cause):
            entry = next((m.text for m in messages if m.edits == incident.key), "") or ctx.store.text(incident.key)
            mention = reader.duty or reader.mention(ctx.metric(incident.root.metric).owner)
            message = escalation(incident, entry, now - told, reader, mention)
            if not ctx.store.text(message.key):  # it was composed by an earlier run
                yield message


def is_escalation_due(incident: Incident, told: datetime, after: timedelta, now: datetime) -> bool:
    """Return whether nobody has reacted to an open incident for `after`, since it was first told as critical at `told`."""
    reacted = incident.acknowledged_by or incident.label or incident.muted
    return incident.open and incident.last_notified is not None and not reacted and now - told >= after


def daily_summary(ctx: RunContext, now: datetime) -> list[Message]:
    """Return the daily message, when it is due and was not composed yet: a dead cron is not taken for a quiet day.

    Raises StoreError.
    """
    if not ctx.daily:
        return []
    hour, minute = map(int, ctx.daily.split(":"))
    local = now.astimezone(ZoneInfo(ctx.zone))
    today = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
    end = (today if today <= local else today - DAY).astimezone(UTC)
    if ctx.store.text(f"run/daily/{end:%Y%m%dT%H%MZ}/text") or not any(run.at <= end for run in ctx.store.runs(end - DAY)):
        return []
    return [daily_message(_summary(ctx, end), ctx.audience(now))]


def _summary(ctx: RunContext, end: datetime) -> DailySummary:
    """Return the day that ends at `end`."""
    runs = [run for run in ctx.store.runs(end - DAY) if run.at <= end]
    incidents = [i for i in ctx.store.incidents(end - DAY) if i.opened < end and i.last_notified]
    verdicts = [v for v in ctx.store.judged(since=end - DAY) if v.bucket < end]
    first = min(run.at for run in ctx.store.runs(end - 2 * DAY))  # nothing was due before the first run of an installation
    due = DAY // STEP if first <= end - DAY else (end - first) // STEP + 1
    left_out = {member.metric for incident in incidents for member in incident.members}
    left_out |= stand_in_names(verdict.metric for verdict in verdicts)
    calm = [verdict for verdict in verdicts if verdict.status is Status.NORMAL and verdict.metric not in left_out]
    closest = max((verdict for verdict in calm if verdict.score == verdict.score), key=lambda it: abs(it.score), default=None)
    title = {metric.name: metric.title_in(ctx.language) for metric in ctx.metrics}
    told = [
        metric_title(ctx.metric(root.metric), root.segment, ctx.language) if ctx.has_metric(root.metric) else root.name
        for root in (incident.root for incident in incidents)
    ]
    return DailySummary(
        runs=len(runs),
        due=max(due, len(runs)),
        failed=sum(not run.ok for run in runs),
        unseen=sum(verdict.status is Status.MISSING for verdict in verdicts),
        incidents=tuple((name, incident.label) for name, incident in zip(told, incidents, strict=True)),
        open=sum(incident.open for incident in incidents),
        closest=(title.get(closest.metric, closest.metric), closest.score, closest.bucket) if closest else None,
        at=end,
        silences=tuple(silence_text(silence, title, ctx.audience(end)) for silence in ctx.store.silences(end)),
        slices=_anomalous_segments(ctx, verdicts),
    )


def _anomalous_segments(ctx: RunContext, verdicts: Sequence[Verdict]) -> tuple[tuple[str, str, float, int], ...]:
    """Return title, segment, largest change and number of buckets of each anomalous segment, most buckets first."""
    title = {metric.name: ctx.metric(metric.segments_of).title_in(ctx.language) for metric in ctx.segment_metrics}
    found: dict[tuple[str, str], list[float]] = {}
    for verdict in verdicts:
        if verdict.metric in title and verdict.status is Status.ANOMALOUS:
            found.setdefault((title[verdict.metric], verdict.reason), []).append(verdict.change)
    rows = [(name, segment, max(changes, key=abs), len(changes)) for (name, segment), changes in found.items()]
    return tuple(sorted(rows, key=lambda row: -row[3]))
