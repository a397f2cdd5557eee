"""Events -> messages: what is said, with what picture, and how the opening message of an incident changes as it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pandas as pd

from alerting import incidents, messages
from alerting.incidents.episodes import against_level_before
from alerting.incidents.grouping import opening_event
from alerting.messages.system import caught_up
from alerting.model.incident import Event, Member, Rarity, spell_segment
from alerting.model.message import Message
from alerting.model.metric import CalendarEvent, Metric
from alerting.model.run import Reading
from alerting.model.verdict import EventKind, Status, Verdict
from alerting.pipeline.completeness import usual_delay
from alerting.pipeline.context import DueBuckets, RunContext
from alerting.pipeline.judge import NUMBERS, JudgedMetrics, StateChange, whole_frame
from alerting.pipeline.read import ARRIVALS_FOR
from alerting.pipeline.segment_watch import stand_in_names
from alerting.rootcause import rarity

TOLERATED_MISSES = 1  # buckets that may wait for a run without a word: cron is sometimes a little late
CALENDAR_BEFORE = timedelta(hours=3)  # before a trouble in which the calendar may say why


def compose(
    ctx: RunContext, changes: StateChange, judged: Mapping[str, pd.DataFrame], reading: Reading, now: datetime
) -> list[Message]:
    """A text for each event, and a picture that answers what is opened or worse; before them, that runs were missed; after
    them the opening messages of incidents that have changed, to be edited in place."""
    out = _caught_up(ctx, changes, now)
    for event in changes.events:
        if event.kind is EventKind.CORRECTED and not _was_sent(ctx, event):
            continue
        context = _context(ctx, event, changes, judged, reading, now)
        out.append(messages.compose(event, context))
        if (
            event.kind in (EventKind.OPENED, EventKind.WORSENED)
            and event.metric in judged
            and event.verdict.status is not Status.MISSING
        ):
            out.append(messages.picture_message(event, _png(ctx, event, judged[event.metric], context.calendar), context))
    return [*out, *edit_openings(ctx, changes, judged, reading, now)]


def withdrawn_keys(ctx: RunContext, changes: StateChange) -> list[str]:
    """Messages that wait to be sent of what late rows have taken back meanwhile. Raises StoreError."""
    gone = {e.incident.id for e in changes.events if e.kind is EventKind.CORRECTED and e.incident and e.incident.corrected}
    return [key for incident in sorted(gone) for key in ctx.store.unsent(incident)]


def _was_sent(ctx: RunContext, event: Event) -> bool:
    return event.incident is not None and ctx.store.was_sent(event.incident.key)


def edit_openings(
    ctx: RunContext, changes: StateChange, judged: Mapping[str, pd.DataFrame], reading: Reading, now: datetime
) -> Iterator[Message]:
    """The opening messages that would be written differently now."""
    opened, stand_ins = {e.key for e in changes.events}, stand_in_names(metric.name for metric in ctx.metrics)
    for incident in changes.incidents:
        before = ctx.store.text(incident.key)
        if not before or incident.corrected or incident.key.removesuffix("/text") in opened:
            continue
        if incident.root.metric not in judged and incident.root.metric not in stand_ins:
            continue  # what could not be seen now takes nothing away from what was said
        event = opening_event(incident, changes.episodes)
        then = replace(ctx, run_link=incident.run)  # the link leads to the run that told of it first
        message = messages.compose(event, _context(then, event, changes, judged, reading, now, edited=True))
        if message.text != before:
            yield replace(message, key=f"{incident.id}/edit/{now:%Y%m%dT%H%M%SZ}", edits=incident.key, reply_to="")


def _caught_up(ctx: RunContext, changes: StateChange, now: datetime) -> list[Message]:
    """Said when more than MISSED buckets had waited for a run, unless failed checks have told of that already."""
    waited = [item for item in changes.due if not item.first_look and len(item) > 1 + TOLERATED_MISSES]
    if not waited or ctx.store.sent_recently(EventKind.RUN_FAILED.value, waited[0].first):
        return []
    first, last = waited[0].first + waited[0].metric.step, waited[0].last
    begun = [e for e in changes.events if e.incident and e.incident.opened >= waited[0].first]
    names = dict.fromkeys(name for e in begun for name in (e.metric, *(other.metric for other in e.also)))
    titles = tuple(ctx.metric(name).title.get(ctx.language, name) for name in names)
    return [caught_up(first, last, titles, audience(ctx, now))]


def _png(ctx: RunContext, event: Event, judged: pd.DataFrame, occasions: tuple[CalendarEvent, ...]) -> bytes:
    from alerting import charts  # drawing libraries cost half a second: only when there is something to draw

    metric = ctx.metric(event.metric)
    cause = event.incident.cause if event.incident and event.incident.root.metric == event.metric else None
    return charts.to_png(charts.alert_chart(metric, judged, event.bucket, ctx.zone, ctx.language, occasions, cause))


def _context(
    ctx: RunContext,
    event: Event,
    changes: StateChange,
    judged: Mapping[str, pd.DataFrame],
    reading: Reading,
    now: datetime,
    edited: bool = False,
) -> messages.MessageContext:
    metric, values = ctx.metric(event.metric), judged[event.metric].value if event.metric in judged else pd.Series(dtype=float)
    members = event.incident.members if event.incident else ()
    names = {member.metric for member in members} | {event.metric}
    statuses = _statuses(judged, event.bucket)
    normal = [m for m in ctx.metrics if statuses.get(m.name) == Status.NORMAL.value]
    latest = _latest(event.metric, changes, judged) if edited and event.incident and event.incident.open else None
    gap = event.kind in (EventKind.NO_DATA, EventKind.DATA_BACK) or event.verdict.status is Status.MISSING
    return messages.MessageContext(
        _titled(metric, event),
        audience(ctx, now),
        yesterday=_days_before(values, event.bucket, 1, ctx.zone),
        week_ago=_days_before(values, event.bucket, 7, ctx.zone),
        dashboard=_dashboard(ctx, metric, event),
        table=metric.table,
        newest=_newest(reading.counts.get(metric.scan), event.bucket),
        normal=tuple(m.title.get(ctx.language, m.name) for m in normal if m.name not in names),
        members=tuple(messages.MemberContext(ctx.metric(m.metric), m, _latest(m.metric, changes, judged)) for m in _parts(event)),
        latest=latest if latest and latest.bucket > event.bucket else None,
        is_platform=incidents.MetricTree(ctx.metrics).is_platform(names),
        calendar=_occasions(ctx, event),
        usual_delay=usual_delay(metric.scan, ctx.store.arrivals(now - ARRIVALS_FOR)) if gap else None,
        complete_tables=_complete(changes.due, metric.table, reading) if gap else (),
        rarity=_rarity(ctx, event, judged),
        similar=event.incident.similar if event.incident and event.kind is EventKind.OPENED else None,
    )


def _titled(metric: Metric, event: Event) -> Metric:
    """A stand-in for slices is called after the slice that it is about."""
    cause = event.incident.cause if event.incident else None
    if not metric.segments_of or cause is None or cause.slice is None:
        return metric
    part = spell_segment(cause.slice.elements, equals=" ")
    return replace(metric, title={language: f"{title}, {part}" for language, title in metric.title.items()})


def _rarity(ctx: RunContext, event: Event, judged: Mapping[str, pd.DataFrame]) -> Rarity | None:
    """As it was when the incident opened; of what is worse, as it is now."""
    if event.kind is EventKind.WORSENED and event.metric in judged and event.verdict.status is Status.ANOMALOUS:
        return rarity.rarity(whole_frame(judged, event.metric), event, ctx.zone)
    return event.incident.rarity if event.incident and event.kind is EventKind.OPENED else None


def _parts(event: Event) -> list[Member]:
    """The incident's other members, and those that a correction takes back."""
    known = [member for member in (event.incident.members if event.incident else ()) if member.metric != event.metric]
    gone = [
        e for e in (event, *event.also) if e.kind is EventKind.CORRECTED and e.metric not in {member.metric for member in known}
    ]
    taken_back = [
        Member(
            e.metric,
            e.episode.since or e.bucket,
            e.bucket,
            e.episode.last_notified_verdict or e.verdict,
            e.episode.gap_since is not None,
        )
        for e in gone
    ]
    return [*known, *taken_back]


def _latest(name: str, changes: StateChange, judged: Mapping[str, pd.DataFrame]) -> Verdict | None:
    """The metric's newest verdict, against what was expected before its trouble."""
    verdict = changes.newest.get(name)
    if verdict is None and name in judged and len(judged[name]):
        last = judged[name].iloc[-1]
        value, low, expected, high, score, usual = (float(last[column]) for column in NUMBERS)
        bucket, status = judged[name].index[-1].to_pydatetime(), Status(last.status)
        verdict = Verdict(name, bucket, status, value, low, expected, high, score, usual=usual)
    return against_level_before(changes.episodes[name], verdict) if verdict and name in changes.episodes else verdict


def _complete(due: list[DueBuckets], table: str, reading: Reading) -> tuple[str, ...]:
    """The other tables, as far as they have rows of the newest due bucket."""
    last = {item.metric.scan: (item.metric.table, item.last) for item in due}
    full = [
        last[scan][0]
        for scan, counts in reading.counts.items()
        if scan in last
        and last[scan][0] != table
        and scan not in reading.incomplete
        and counts.loc[last[scan][1] : last[scan][1]].notna().any(axis=None)
    ]
    return tuple(dict.fromkeys(full))


def _occasions(ctx: RunContext, event: Event) -> tuple[CalendarEvent, ...]:
    """What the calendar knows of the time in which it began."""
    since = event.episode.since or event.episode.gap_since or event.bucket
    end = event.bucket + ctx.metric(event.metric).step
    near = [o for o in ctx.calendar if o.start < end and o.end > since - CALENDAR_BEFORE]
    return tuple(o for o in near if not o.metrics or event.metric in o.metrics)


def _newest(counts: pd.DataFrame | None, bucket: datetime) -> datetime | None:
    """Instant of the newest row there was when `bucket` was over, where the query tells."""
    newest = float("nan") if counts is None or "newest" not in counts else counts["newest"].loc[:bucket].max()
    return datetime.fromtimestamp(newest, UTC) if newest == newest else None


def audience(ctx: RunContext, now: datetime) -> messages.Audience:
    return messages.Audience(ctx.language, ctx.zone, now, ctx.run_link, ctx.owner)


def _statuses(judged: Mapping[str, pd.DataFrame], bucket: datetime) -> dict[str, str]:
    """metric -> how its bucket was answered."""
    if isinstance(judged, JudgedMetrics):
        return judged.statuses(bucket)
    return {name: frame.status.get(bucket, "") for name, frame in judged.items()}


def _days_before(values: pd.Series, bucket: datetime, days: int, zone: str) -> float:
    """The value at the same local time `days` before; NaN where there is none."""
    then = (bucket.astimezone(ZoneInfo(zone)) - timedelta(days=days)).astimezone(UTC)
    return float(values.get(then, float("nan")))


def _dashboard(ctx: RunContext, metric: Metric, event: Event) -> str:
    """The template with the day up to the event filled in, and the slice that carries it: os=iOS&source=ads;os=web."""
    start, end = event.bucket - timedelta(days=1), event.bucket + metric.step
    cause = event.incident.cause if event.incident else None
    elements = cause.slice.elements if cause and cause.slice else ()
    part = spell_segment(elements, space="")
    span = {name: quote(f"{at:%Y-%m-%dT%H:%M:%SZ}") for name, at in (("start", start), ("end", end))}
    return (metric.dashboard or ctx.dashboard).format(metric=quote(metric.name), slice=quote(part, safe=""), **span)
