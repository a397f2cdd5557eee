"""A line a day: how the checks went, so that silence can be told from a dead cron. Pure but for the memory it reads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from alerting.messages.system import DailySummary, daily_message
from alerting.model.incident import Incident
from alerting.model.message import Message
from alerting.model.metric import STEP
from alerting.model.run import Run
from alerting.model.verdict import Status, Verdict
from alerting.pipeline.compose import audience
from alerting.pipeline.context import RunContext
from alerting.pipeline.segment_watch import stand_in_names

DAY = timedelta(days=1)


def daily_summary(ctx: RunContext, now: datetime) -> list[Message]:
    """The daily line, if it is due and was not made yet. Raises StoreError."""
    end = _due(ctx, now)
    if end is None or ctx.store.text(_key(end)):
        return []
    runs = [run for run in ctx.store.runs(end - DAY) if run.at <= end]
    if not runs:
        return []
    incidents = [i for i in ctx.store.incidents(end - DAY) if i.opened < end and i.last_notified]
    judged = [v for v in ctx.store.judged(since=end - DAY) if v.bucket < end]
    return [daily_message(_summary(ctx, end, runs, incidents, judged), audience(ctx, now))]


def _due(ctx: RunContext, now: datetime) -> datetime | None:
    """The newest instant at which the line was due."""
    if not ctx.daily:
        return None
    hour, minute = map(int, ctx.daily.split(":"))
    local = now.astimezone(ZoneInfo(ctx.zone))
    today = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return (today if today <= local else today - DAY).astimezone(UTC)


def _key(end: datetime) -> str:
    return f"run/daily/{end:%Y%m%dT%H%MZ}/text"


def _summary(
    ctx: RunContext, end: datetime, runs: Sequence[Run], incidents: Sequence[Incident], judged: Sequence[Verdict]
) -> DailySummary:
    first = min(run.at for run in ctx.store.runs(end - 2 * DAY))  # a new installation has not missed what was before it
    due = DAY // STEP if first <= end - DAY else (end - first) // STEP + 1
    told = {member.metric for incident in incidents for member in incident.members}
    quietest, closest = _calls(judged, told | stand_in_names(verdict.metric for verdict in judged))
    title = {metric.name: metric.title.get(ctx.language, metric.name) for metric in ctx.metrics}
    return DailySummary(
        runs=len(runs),
        due=max(due, len(runs)),
        failed=sum(not run.ok for run in runs),
        unseen=sum(verdict.status is Status.MISSING for verdict in judged),
        incidents=tuple((title.get(incident.root.metric, incident.root.metric), incident.label) for incident in incidents),
        open=sum(incident.open for incident in incidents),
        quietest=title.get(quietest, ""),
        closest=(title.get(closest.metric, closest.metric), closest.score, closest.bucket) if closest else None,
        at=end,
        slices=_odd_slices(ctx, judged),
    )


def _odd_slices(ctx: RunContext, judged: Sequence[Verdict]) -> tuple[tuple[str, str, float, int], ...]:
    """Of each watched metric the slices that were odd, with their largest change and how many buckets, most buckets first."""
    title = {
        metric.name: ctx.metric(metric.segments_of).title.get(ctx.language, metric.segments_of) for metric in ctx.segment_metrics
    }
    found: dict[tuple[str, str], list[float]] = {}
    for verdict in judged:
        if verdict.metric in title and verdict.status is Status.ANOMALOUS:
            found.setdefault((title[verdict.metric], verdict.reason), []).append(verdict.change)
    rows = [(name, part, max(changes, key=abs), len(changes)) for (name, part), changes in found.items()]
    return tuple(sorted(rows, key=lambda row: -row[3]))


def _calls(judged: Sequence[Verdict], without: set[str]) -> tuple[str, Verdict | None]:
    """The metric that stayed nearest to what was expected, and the normal verdict that came nearest to an edge."""
    calm = [verdict for verdict in judged if verdict.status is Status.NORMAL and verdict.metric not in without]
    farthest: dict[str, Verdict] = {}
    for verdict in calm:
        before = farthest.get(verdict.metric)
        if before is None or abs(verdict.score) > abs(before.score):
            farthest[verdict.metric] = verdict
    ordered = sorted(farthest.values(), key=lambda verdict: abs(verdict.score))
    return (ordered[0].metric, ordered[-1]) if len(ordered) > 1 else ("", ordered[0] if ordered else None)
