"""Compose the messages of a run: one for each event, edits of entries, and messages without an event (such as missed runs).

An entry is the opening message of an incident in the chat. It is edited to show the incident as it is now.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pandas as pd

from alerting import messages
from alerting.incidents.episodes import against_level_before
from alerting.incidents.grouping import is_silent, opening_event
from alerting.messages.answers import silence_text
from alerting.messages.compose import DailySummary, caught_up, daily_message, escalation, unchecked
from alerting.messages.context import Subject
from alerting.messages.format import metric_title
from alerting.model.clock import DAY
from alerting.model.incident import Event, Incident, Member, MetricTree, Rarity, SimilarIncident, is_critical
from alerting.model.message import Message
from alerting.model.metric import STEP, Metric, dashboard_link, parse_segment
from alerting.model.run import caught
from alerting.model.verdict import OPENING_KINDS, Episode, EpisodeState, EventKind, Status, Verdict
from alerting.pipeline.advance import PreviousState, StateChange, compare_frame
from alerting.pipeline.context import DueBuckets, RunContext, last_closed_bucket
from alerting.pipeline.explain import rarity, same_time_before
from alerting.pipeline.judged import JudgedMetrics
from alerting.pipeline.read import complete_tables, table_newest_row, table_usual_delay
from alerting.pipeline.segment_watch import stand_in_names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CALENDAR_BEFORE = timedelta(hours=3)  # a calendar event that ended within this time before an episode may be its cause
TOLERATED_PERIODS = 2  # of the run or, if that is longer, of the metric: cron is sometimes a little late


def compose(ctx: RunContext, changes: StateChange, judged: JudgedMetrics, now: datetime) -> list[Message]:
    """Return the messages of a run: missed runs, events, metrics not checked any more, edits of entries, escalations, the day.

    The message of an event has a picture if an incident opens, worsens or ends. A correction is written only if the opening was
    sent. A text or a picture that fails is a fault of its metric (`ctx.faults`): a plain text is sent in its place, or the text
    without the picture. Raises StoreError.
    """
    out, pictures = missed_runs(ctx, changes, judged, now), dict[tuple[str, str], bytes]()
    for event in changes.events:
        incident, metric = event.incident, ctx.metric(event.metric)
        if event.kind is EventKind.CORRECTED and not (incident and ctx.store.was_sent(incident.key)):
            continue
        message = None
        with caught(ctx.faults["told in full"], event.metric):
            if event.kind in OPENING_KINDS and incident and incident.open:
                event = entry_event(ctx, event, changes, judged)
            context = event_context(ctx, event, changes, judged, now)
            message = messages.compose(event, context)
            with caught(ctx.faults["drawn"], event.metric):
                if figure := alert_figure(ctx, event, context, judged):
                    from alerting import charts  # matplotlib takes half a second to import: only when there is something to draw

                    png, about = charts.to_png(figure), incident.root.metric if incident and incident.closed else event.metric
                    message, pictures[message.incident, about] = replace(message, photo=png), png
        out.append(message or messages.plain_text(event, metric, ctx.audience(now, metric)))
    out += unchecked_metrics(ctx, changes, now)
    out += edit_openings(ctx, changes, judged, now, pictures)
    with caught(ctx.faults["told"], "an escalation"):
        newest = {i.id: member_verdicts(ctx, i.affected, changes, judged) for i in changes.incidents if i.open}
        out += escalations(ctx, changes, newest, out, now)
    with caught(ctx.faults["told"], "the day"):
        out += daily_summary(ctx, now)
    return out


def alert_figure(ctx: RunContext, event: Event, context: messages.MessageContext, judged: JudgedMetrics) -> Figure | None:
    """Return the chart for the text of an event. It shows the same metric, bucket and numbers as the text.

    At the end of an incident it shows the whole incident, with its worst bucket marked. None if there is nothing to draw.
    """
    if event.kind not in (EventKind.OPENED, EventKind.WORSENED, EventKind.RESOLVED):
        return None
    subject = Subject.of(event, context)
    event, is_end = subject.event, event.kind is EventKind.RESOLVED
    shown = subject.worst if is_end else subject.shown
    if shown is None or event.metric not in judged or shown.status is Status.MISSING:
        return None
    from alerting import charts  # matplotlib takes half a second to import: only when there is something to draw

    frame = compare_frame(judged[event.metric], event.metric, event.episode, shown)
    cause = event.cause if shown.bucket == event.bucket else None
    span = (subject.since or shown.bucket, subject.over if is_end else None)
    about = (ctx.metric(event.metric), frame, shown.bucket, ctx.zone, ctx.language)
    return charts.alert_chart(*about, context.calendar, cause, span)


def entry_event(ctx: RunContext, event: Event, changes: StateChange, judged: JudgedMetrics) -> Event:
    """Return the opening event of an open incident, brought up to date for its entry in the chat.

    It is about the affected metric that leads now (`MetricTree.lead`). Its kind is "no data" while that metric has no value.
    """
    incident = event.incident
    if incident is None:
        return event
    newest = member_verdicts(ctx, incident.affected or incident.members, changes, judged)
    lead = MetricTree([*ctx.metrics, *ctx.segment_metrics]).lead(newest, event.metric)
    if lead != event.metric:
        event = replace(opening_event(incident, changes.episodes, lead), quiet=event.quiet, again=event.again)
    elif (episode := changes.episodes.get(lead)) and episode.since and episode.since > (event.episode.since or episode.since):
        event = replace(event, episode=episode)  # the one that it opened is over, and another has begun
    if newest[lead].status is not Status.MISSING:
        return replace(event, kind=EventKind.OPENED, episode=replace(event.episode, gap_since=None))
    episode = changes.episodes.get(lead, event.episode)
    gap = episode.gap_since or newest[lead].bucket
    event = event if event.verdict.status is Status.MISSING else replace(event, verdict=newest[lead], bucket=newest[lead].bucket)
    return replace(event, kind=EventKind.NO_DATA, episode=replace(event.episode, gap_since=gap, last=episode.last))


def member_verdicts(
    ctx: RunContext, members: Sequence[Member], changes: StateChange, judged: JudgedMetrics
) -> dict[str, Verdict]:
    """Return metric -> newest verdict of members of an incident, as its messages show it."""
    return {it.metric: _latest(ctx, it.metric, changes, judged) or it.worst or it.first for it in members}


def edit_openings(
    ctx: RunContext,
    changes: StateChange,
    judged: JudgedMetrics,
    now: datetime,
    pictures: Mapping[tuple[str, str], bytes] | None = None,
) -> Iterator[Message]:
    """Yield an edit for each entry whose text has changed. `pictures`: (incident id, metric) -> new PNG. Raises StoreError."""
    opened, stand_ins = {event.key for event in changes.events}, stand_in_names(metric.name for metric in ctx.metrics)
    for incident in changes.incidents:
        before = ctx.store.text(incident.key)
        if not before or incident.corrected or incident.unchecked or incident.key.removesuffix("/text") in opened:
            continue
        if incident.root.metric not in judged and incident.root.metric not in stand_ins:
            continue  # without a reading of the metric the text would lose facts
        message = None
        with caught(ctx.faults["told in full"], incident.root.metric):
            event = opening_event(incident, changes.episodes)
            if incident.open:
                event = entry_event(ctx, event, changes, judged)
            elif incident.root.worst and not incident.root.gap:  # it was more than a gap
                root = incident.root
                whole = Episode(root.metric, since=root.since, worst=root.worst, lost=root.lost)
                event = replace(event, kind=EventKind.OPENED, episode=whole)
            then = replace(ctx, run_link=incident.run)  # the link leads to the run that reported it first
            message = messages.compose(event, event_context(then, event, changes, judged, now))
        if message and message.text != before:
            key, photo = f"{incident.id}/edit/{now:%Y%m%dT%H%M%SZ}", (pictures or {}).get((incident.id, event.metric))
            yield replace(message, key=key, edits=incident.key, reply_to="", photo=photo)


def event_context(
    ctx: RunContext, event: Event, changes: StateChange, judged: JudgedMetrics, now: datetime
) -> messages.MessageContext:
    """Return what the event's text needs beyond the event."""
    metric, reading, incident = ctx.metric(event.metric), judged.reading, event.incident
    values = judged[event.metric].value if event.metric in judged else pd.Series(dtype=float)
    is_entry = event.kind in OPENING_KINDS and incident is not None and incident.open
    latest = _latest(ctx, event.metric, changes, judged) if is_entry else None
    latest = latest if latest and latest.bucket > event.bucket else None
    shown = latest or event.verdict
    stopped = _newest(ctx, event.metric, changes, judged) if is_entry and shown.status is not Status.MISSING else None
    stopped = stopped if stopped and stopped.status is Status.MISSING else None
    members = (incident.affected if is_entry else incident.members) if incident else ()  # an entry says how it is now
    tree = MetricTree([*ctx.metrics, *ctx.segment_metrics])
    rare, similar = _past(ctx, event, judged)
    gap = event.kind in (EventKind.NO_DATA, EventKind.DATA_BACK) or event.verdict.status is Status.MISSING
    since = event.episode.since or event.episode.gap_since or event.bucket
    near = [it for it in ctx.calendar if it.start < event.bucket + metric.step and it.end > since - CALENDAR_BEFORE]
    return messages.MessageContext(
        metric,
        ctx.audience(now, metric),
        yesterday=same_time_before(values, shown.bucket, 1, ctx.zone),
        week_ago=same_time_before(values, shown.bucket, 7, ctx.zone),
        dashboard=_dashboard(ctx, metric, event),
        table=metric.table,
        is_gone=gap and metric.name in reading.gone,
        newest=table_newest_row(ctx, metric, shown.bucket, reading, now),
        normal=tuple(m.title_in(ctx.language) for m in _normal_metrics(ctx, event, shown, changes, judged)),
        members=tuple(_members(ctx, event, changes, judged)),
        latest=latest,
        stopped=stopped.bucket if stopped else None,
        is_platform=tree.is_platform({event.metric, *(member.metric for member in members)}),
        roots=tree.roots,
        calendar=tuple(it for it in near if it.concerns(event.metric)),
        usual_delay=table_usual_delay(ctx, metric.table, now) if gap else None,
        complete_tables=complete_tables(changes.due, metric.table, reading) if gap else (),
        rarity=rare,
        similar=similar,
        late=_late_spans(event, changes.due) if event.kind is EventKind.CORRECTED else (),
    )


def _past(ctx: RunContext, event: Event, judged: JudgedMetrics) -> tuple[Rarity | None, SimilarIncident | None]:
    """Return the rarity and the similar incident for the text of an event.

    For an opening they are those that were stored with the incident. For an incident that worsened or was reopened, the rarity is
    computed now.
    """
    incident, is_changed = event.incident, event.again or event.kind is EventKind.WORSENED
    rare, similar = None, None
    if incident and event.kind is EventKind.OPENED and not event.again:
        rare, similar = incident.rarity if event.metric == incident.root.metric else None, incident.similar
    elif is_changed and event.metric in judged and event.verdict.status is Status.ANOMALOUS:
        rare = rarity(judged.whole(event.metric), event, ctx.zone)
    if similar and similar.off and similar.off.metric != event.metric:
        similar = None
    return rare, similar


def _late_spans(event: Event, due: Sequence[DueBuckets]) -> tuple[tuple[datetime, datetime], ...]:
    """Return the spans (start, end) of the buckets of the event's metrics that late rows have changed."""
    names, spans = {event.metric, *(other.metric for other in event.also)}, list[tuple[datetime, datetime]]()
    changed = {(bucket, bucket + item.metric.step) for item in due if item.metric.name in names for bucket in item.changed}
    for start, end in sorted(changed):
        if spans and start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        else:
            spans.append((start, end))
    return tuple(spans)


def _normal_metrics(
    ctx: RunContext, event: Event, shown: Verdict, changes: StateChange, judged: JudgedMetrics
) -> Iterator[Metric]:
    """Yield the metrics that the text may call normal at the bucket of `shown`.

    Left out are members of the incident, metrics that have an open episode (or whose segments have one), and metrics that moved
    in the same way within their bands (`Verdict.moved_with`).
    """
    statuses, members = judged.statuses(shown.bucket), event.incident.members if event.incident else ()
    left_out = {event.metric, *(member.metric for member in members)}
    left_out |= {name for name, episode in changes.episodes.items() if episode.state is not EpisodeState.OK or episode.gap_since}
    left_out |= {metric.segments_of for metric in ctx.segment_metrics if metric.name in left_out}
    for metric in ctx.metrics:
        is_normal = statuses.get(metric.name) == Status.NORMAL.value and metric.name not in left_out
        if is_normal and not judged.verdict(metric.name, shown.bucket).moved_with(shown):
            yield metric


def _dashboard(ctx: RunContext, metric: Metric, event: Event) -> str:
    """Return the dashboard link for the day up to the event, and for the segment of its root cause or of the event."""
    elements = event.cause.slice.elements if event.cause and event.cause.slice else parse_segment(event.segment)
    start, end = event.bucket - DAY, event.bucket + metric.step
    return dashboard_link(metric.dashboard or ctx.dashboard, metric.segments_of or metric.name, start, end, elements)


def _members(ctx: RunContext, event: Event, changes: StateChange, judged: JudgedMetrics) -> Iterator[messages.MemberContext]:
    """Yield the incident's other members with their newest verdicts, and the members that a correction withdraws.

    A watched segment that is not judged, because its total is anomalous, is left out.
    """
    members = {member.metric: member for member in (event.incident.members if event.incident else ())}
    members.pop(event.metric, None)
    for it in (event, *event.also):
        if it.kind is EventKind.CORRECTED and it.metric not in members:
            first, gap = it.episode.last_notified_verdict or it.verdict, it.episode.gap_since is not None
            members[it.metric] = Member(it.metric, it.episode.since or it.bucket, it.bucket, first, gap)
    for name, member in members.items():
        newest = _latest(ctx, name, changes, judged)
        if name in ctx.by_name and (newest or member.until or not ctx.metric(name).segments_of):
            yield messages.MemberContext(ctx.metric(name), member, newest)


def _latest(ctx: RunContext, name: str, changes: StateChange, judged: JudgedMetrics) -> Verdict | None:
    """Return the metric's newest verdict, compared with the level before its episode; None if there is none.

    In a gap that is too short to be reported, it is the verdict before the gap.
    """
    verdict, episode = _newest(ctx, name, changes, judged), changes.episodes.get(name)
    if verdict and verdict.status is Status.UNKNOWN and name not in judged:
        return None  # a segment that is not judged, as its total is off
    if verdict and verdict.status is Status.MISSING and episode and not episode.gap_notified and episode.last:
        verdict = episode.last
    return against_level_before(episode, verdict) if verdict else None


def _newest(ctx: RunContext, name: str, changes: StateChange, judged: JudgedMetrics) -> Verdict | None:
    """Return the verdict of the metric's newest bucket. If this run judged none, it is from an earlier run."""
    if name not in changes.newest and name in judged and len(judged.reading.series[name]):
        verdict = judged.newest(name)
        later = ctx.store.judged(name, verdict.bucket)[-1:]  # judged as missing before this run began to wait for their rows
        return later[0] if later and later[0].bucket > verdict.bucket else verdict
    return changes.newest.get(name)


def missed_runs(ctx: RunContext, changes: StateChange, judged: JudgedMetrics, now: datetime) -> list[Message]:
    """Return the message that runs were missed, in a list; [] if none was, or if messages about failed runs were sent already.

    Buckets that were due at an earlier run do not count: they waited for rows, such as those that are delivered at night.
    """
    known = [_since_last_run(ctx, item, now) for item in changes.due if not item.first_look and _is_late(item)]
    waited = [item for item in known if _is_late(item)]
    if not waited or ctx.store.sent_recently(EventKind.RUN_FAILED.value, waited[0].first, max(now, ctx.started or now)):
        return []
    first, last = waited[0].first + waited[0].metric.step, waited[0].last
    begun = [e for e in changes.events if e.incident and e.incident.opened >= waited[0].first]
    segments = {event.metric: event.segment for e in begun for event in (e, *e.also)}
    off = [member for incident in changes.incidents if incident.open and incident.last_notified for member in incident.affected]
    going_on = {it.metric: it.segment for it in off if it.metric in ctx.by_name and it.metric not in segments}
    segments |= dict.fromkeys((name for name in _unusual_metrics(ctx, changes, judged, first) if name not in going_on), "")
    unusual, still = (
        tuple(dict.fromkeys(metric_title(ctx.metric(name), segment, ctx.language) for name, segment in found.items()))
        for found in (segments, going_on)
    )
    return [caught_up(first, last, unusual, ctx.audience(now), still)]


def _unusual_metrics(ctx: RunContext, changes: StateChange, judged: JudgedMetrics, first: datetime) -> Iterator[str]:
    """Yield the metrics of the verdicts due from `first` on that are anomalous, or missing in a gap that is not usual.

    The verdicts are compared with the level before their episode, as in messages. The newest bucket may only be late: missing, it
    counts where "no data" is due. A metric can be yielded more than once.
    """
    episodes = dict(changes.before)
    for verdict, (_, after) in zip(judged.verdicts, changes.trail, strict=False):  # the trail goes on with the segments
        shown, name = against_level_before(episodes.get(verdict.metric), verdict), verdict.metric
        episodes[name] = after
        is_lost = not shown.reason and shown.bucket < changes.newest[name].bucket
        is_gap = shown.status is Status.MISSING and (shown.is_new or is_lost)
        if (is_gap or shown.status is Status.ANOMALOUS) and shown.bucket + ctx.metric(name).step >= first:
            yield name


def _is_late(item: DueBuckets) -> bool:
    """Return whether the first due bucket has waited too long. It goes by time: a run in time judges several short buckets."""
    return item.last - item.first >= TOLERATED_PERIODS * max(STEP, item.metric.step)


def _since_last_run(ctx: RunContext, item: DueBuckets, now: datetime) -> DueBuckets:
    """Return the due buckets that were not due yet at the last completed run before `now`."""
    last = max((run.at for run in ctx.store.runs(item.first) if run.ended and run.at < now), default=None)
    if last is None:
        return item
    step, phase = item.metric.step, item.metric.phase
    return replace(item, first=max(item.first, last_closed_bucket(last, ctx.delay, step, phase) + step))


def unchecked_metrics(ctx: RunContext, changes: StateChange, now: datetime) -> Iterator[Message]:
    """Yield the end of each reported incident that was closed because its metrics are not checked any more."""
    for incident in changes.unchecked:
        if incident.last_notified:
            gone = [member.metric for member in incident.members if member.metric not in ctx.by_name]
            yield unchecked(incident, gone, ctx.audience(now))


def escalations(
    ctx: RunContext, changes: StateChange, newest: Mapping[str, Mapping[str, Verdict]], messages: Sequence[Message], now: datetime
) -> Iterator[Message]:
    """Yield the call to the next person for each critical incident that nobody has taken in time.

    An incident has one call, and one more each time it is reopened. `newest`: incident id -> affected metric -> newest verdict.
    `messages`: the messages of this run, which have the newest texts of the entries. Raises StoreError.
    """
    if not ctx.escalate_after:
        return
    metrics, reader = [*ctx.metrics, *ctx.segment_metrics], ctx.audience(now)
    roots, silences = MetricTree(metrics).roots, PreviousState(metrics, silences=ctx.store.silences(now))
    for incident in changes.incidents:
        # A person who took the incident before it was reopened took the part that is over
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
    """Return whether nobody has reacted to an open incident for `after`. `told`: when it was first sent as critical."""
    reacted = incident.acknowledged_by or incident.label or incident.muted
    return incident.open and incident.last_notified is not None and not reacted and now - told >= after


def daily_summary(ctx: RunContext, now: datetime) -> list[Message]:
    """Return the daily message in a list; [] if it is not due, was composed before, or no run took place in its day.

    The day begins at the same local time of the day before: it has 23 or 25 hours when the clocks change. A stopped cron must
    not look like a quiet day. Raises StoreError.
    """
    if not ctx.daily:
        return []
    hour, minute = map(int, ctx.daily.split(":"))
    local = now.astimezone(ZoneInfo(ctx.zone))
    today = local.replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)  # once in a night of two such hours
    today = today if today <= local else today - DAY
    begin, end = (today - DAY).astimezone(UTC), today.astimezone(UTC)
    if ctx.store.text(f"run/daily/{end:%Y%m%dT%H%MZ}/text") or not any(run.at <= end for run in ctx.store.runs(begin)):
        return []
    return [daily_message(_summary(ctx, begin, end), ctx.audience(now))]


def _summary(ctx: RunContext, begin: datetime, end: datetime) -> DailySummary:
    """Return the summary of the day from `begin` to `end`."""
    runs = [run for run in ctx.store.runs(begin) if run.at <= end]
    incidents = [i for i in ctx.store.incidents(begin) if i.opened < end and i.last_notified]
    steps = {metric.name: metric.step for metric in (*ctx.metrics, *ctx.segment_metrics)}
    judged = [(v, v.bucket + steps.get(v.metric, STEP)) for v in ctx.store.judged(since=begin - DAY)]
    verdicts = [verdict for verdict, over in judged if begin < over <= end]  # a bucket of a day may have begun before it
    first = min(run.at for run in ctx.store.runs(begin - DAY))  # nothing was due before the first run of an installation
    due = (end - begin) // STEP if first <= begin else (end - first) // STEP + 1
    left_out = {member.metric for incident in incidents for member in incident.members}
    left_out |= stand_in_names(verdict.metric for verdict in verdicts)
    calm = [verdict for verdict in verdicts if verdict.status is Status.NORMAL and verdict.metric not in left_out]
    closest = max((verdict for verdict in calm if verdict.score == verdict.score), key=lambda it: abs(it.score), default=None)
    title = {metric.name: metric.title_in(ctx.language) for metric in ctx.metrics}
    told = [
        metric_title(ctx.metric(root.metric), root.segment, ctx.language) if root.metric in ctx.by_name else root.name
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
