"""Compose the daily message: how the runs of a day went, so that a dead cron is not taken for a quiet day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from alerting.messages.answers import silence_text
from alerting.messages.compose import DailySummary, daily_message
from alerting.messages.format import metric_title
from alerting.model.incident import Incident
from alerting.model.message import Message
from alerting.model.metric import STEP
from alerting.model.run import Run
from alerting.model.verdict import Status, Verdict
from alerting.pipeline.context import RunContext
from alerting.pipeline.segment_watch import stand_in_names

DAY = timedelta(days=1)


def daily_summary(ctx: RunContext, now: datetime) -> list[Message]:
    """Return the daily message when it is due and was not composed yet. Raises StoreError."""
    if not ctx.daily:
        return []
    hour, minute = map(int, ctx.daily.split(":"))
    local = now.astimezone(ZoneInfo(ctx.zone))
    today = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
    end = (today if today <= local else today - DAY).astimezone(UTC)
    if ctx.store.text(f"run/daily/{end:%Y%m%dT%H%MZ}/text"):
        return []
    runs = [run for run in ctx.store.runs(end - DAY) if run.at <= end]
    if not runs:
        return []
    incidents = [i for i in ctx.store.incidents(end - DAY) if i.opened < end and i.last_notified]
    verdicts = [v for v in ctx.store.judged(since=end - DAY) if v.bucket < end]
    return [daily_message(_summarize(ctx, end, runs, incidents, verdicts), ctx.audience(now))]


def _summarize(
    ctx: RunContext, end: datetime, runs: Sequence[Run], incidents: Sequence[Incident], verdicts: Sequence[Verdict]
) -> DailySummary:
    first = min(run.at for run in ctx.store.runs(end - 2 * DAY))  # nothing was due before the first run of an installation
    due = DAY // STEP if first <= end - DAY else (end - first) // STEP + 1
    left_out = {member.metric for incident in incidents for member in incident.members}
    left_out |= stand_in_names(verdict.metric for verdict in verdicts)
    calm = [verdict for verdict in verdicts if verdict.status is Status.NORMAL and verdict.metric not in left_out]
    closest = max((verdict for verdict in calm if verdict.score == verdict.score), key=lambda it: abs(it.score), default=None)
    title = {metric.name: metric.title_in(ctx.language) for metric in ctx.metrics}
    return DailySummary(
        runs=len(runs),
        due=max(due, len(runs)),
        failed=sum(not run.ok for run in runs),
        unseen=sum(verdict.status is Status.MISSING for verdict in verdicts),
        incidents=tuple((_root_title(ctx, incident), incident.label) for incident in incidents),
        open=sum(incident.open for incident in incidents),
        closest=(title.get(closest.metric, closest.metric), closest.score, closest.bucket) if closest else None,
        at=end,
        silences=tuple(silence_text(silence, title, ctx.audience(end)) for silence in ctx.store.silences(end)),
        slices=_anomalous_segments(ctx, verdicts),
    )


def _root_title(ctx: RunContext, incident: Incident) -> str:
    """Return the title of the incident's root; its name where the catalogue does not have it any more."""
    root = incident.root
    return metric_title(ctx.metric(root.metric), root.segment, ctx.language) if ctx.has_metric(root.metric) else root.name


def _anomalous_segments(ctx: RunContext, verdicts: Sequence[Verdict]) -> tuple[tuple[str, str, float, int], ...]:
    """Return title, segment, largest change and number of buckets of each anomalous segment, most buckets first."""
    watched = ctx.segment_metrics
    title = {metric.name: ctx.metric(metric.segments_of).title_in(ctx.language) for metric in watched}
    found: dict[tuple[str, str], list[float]] = {}
    for verdict in verdicts:
        if verdict.metric in title and verdict.status is Status.ANOMALOUS:
            found.setdefault((title[verdict.metric], verdict.reason), []).append(verdict.change)
    rows = [(name, segment, max(changes, key=abs), len(changes)) for (name, segment), changes in found.items()]
    return tuple(sorted(rows, key=lambda row: -row[3]))
