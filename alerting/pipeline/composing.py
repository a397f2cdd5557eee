"""Events -> messages: what is said, with what picture, and how the opening message of an incident changes as it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from zoneinfo import ZoneInfo

import pandas as pd

from alerting import episodes, messages
from alerting import incidents as stories
from alerting.model import Event, Kind, Member, Message, Metric, Occasion, Rarity, Reading, Status, Verdict
from alerting.model.why import spell_segment
from alerting.pipeline import completeness, unusual
from alerting.pipeline.judged import NUMBERS, Judged, whole
from alerting.pipeline.judging import Advance
from alerting.pipeline.reading import ARRIVALS
from alerting.pipeline.timing import Connections, Due
from alerting.pipeline.watching import stand_in_names

MISSED = 1  # buckets that may wait for a run without a word: cron is sometimes a little late
AROUND = timedelta(hours=3)  # before a trouble in which the calendar may say why


def compose(
    to: Connections, changes: Advance, judged: Mapping[str, pd.DataFrame], reading: Reading, now: datetime
) -> list[Message]:
    """A text for each event, and a picture that answers what is opened or worse; before them, that runs were missed; after
    them the opening messages of incidents that have changed, to be edited in place."""
    out = _caught_up(to, changes, now)
    for event in changes.events:
        if event.kind is Kind.CORRECTED and not _was_sent(to, event):
            continue
        context = _context(to, event, changes, judged, reading, now)
        out.append(messages.compose(event, context))
        if event.kind in (Kind.OPENED, Kind.WORSENED) and event.metric in judged and event.verdict.status is not Status.MISSING:
            out.append(messages.picture(event, _png(to, event, judged[event.metric], context.occasions), context))
    return [*out, *edits(to, changes, judged, reading, now)]


def withdrawn(to: Connections, changes: Advance) -> list[str]:
    """Messages that wait to be sent of what late rows have taken back meanwhile. Raises StoreError."""
    gone = {e.incident.id for e in changes.events if e.kind is Kind.CORRECTED and e.incident and e.incident.corrected}
    return [key for incident in sorted(gone) for key in to.store.unsent(incident)]


def _was_sent(to: Connections, event: Event) -> bool:
    return event.incident is not None and to.store.told(event.incident.key)


def edits(
    to: Connections, changes: Advance, judged: Mapping[str, pd.DataFrame], reading: Reading, now: datetime
) -> Iterator[Message]:
    """The opening messages that would be written differently now."""
    opened, stand_ins = {e.key for e in changes.events}, stand_in_names(metric.name for metric in to.metrics)
    for incident in changes.incidents:
        before = to.store.text(incident.key)
        if not before or incident.corrected or incident.key.removesuffix("/text") in opened:
            continue
        if incident.root.metric not in judged and incident.root.metric not in stand_ins:
            continue  # what could not be seen now takes nothing away from what was said
        event = stories.opening(incident, changes.episodes)
        then = replace(to, run=incident.run)  # the link leads to the run that told of it first
        message = messages.compose(event, _context(then, event, changes, judged, reading, now, edited=True))
        if message.text != before:
            yield replace(message, key=f"{incident.id}/edit/{now:%Y%m%dT%H%M%SZ}", edits=incident.key, reply_to="")


def _caught_up(to: Connections, changes: Advance, now: datetime) -> list[Message]:
    """Said when more than MISSED buckets had waited for a run, unless failed checks have told of that already."""
    waited = [item for item in changes.todo if not item.fresh and len(item) > 1 + MISSED]
    if not waited or to.store.told_recently(Kind.RUN_FAILED.value, waited[0].first):
        return []
    first, last = waited[0].first + waited[0].metric.step, waited[0].last
    begun = [e for e in changes.events if e.incident and e.incident.opened >= waited[0].first]
    names = dict.fromkeys(name for e in begun for name in (e.metric, *(other.metric for other in e.also)))
    titles = tuple(to.metric(name).title.get(to.language, name) for name in names)
    return [messages.caught_up(first, last, titles, reader(to, now))]


def _png(to: Connections, event: Event, judged: pd.DataFrame, occasions: tuple[Occasion, ...]) -> bytes:
    from alerting import plots  # drawing libraries cost half a second: only when there is something to draw

    metric = to.metric(event.metric)
    cause = event.incident.cause if event.incident and event.incident.root.metric == event.metric else None
    return plots.png(plots.alert(metric, judged, event.bucket, to.zone, to.language, occasions, cause))


def _context(
    to: Connections,
    event: Event,
    changes: Advance,
    judged: Mapping[str, pd.DataFrame],
    reading: Reading,
    now: datetime,
    edited: bool = False,
) -> messages.Context:
    metric, values = to.metric(event.metric), judged[event.metric].value if event.metric in judged else pd.Series(dtype=float)
    members = event.incident.members if event.incident else ()
    names = {member.metric for member in members} | {event.metric}
    statuses = _statuses(judged, event.bucket)
    normal = [m for m in to.metrics if statuses.get(m.name) == Status.NORMAL.value]
    latest = _latest(event.metric, changes, judged) if edited and event.incident and event.incident.open else None
    gap = event.kind in (Kind.NO_DATA, Kind.DATA_BACK) or event.verdict.status is Status.MISSING
    return messages.Context(
        _titled(metric, event),
        reader(to, now),
        yesterday=_days_before(values, event.bucket, 1, to.zone),
        week_ago=_days_before(values, event.bucket, 7, to.zone),
        dashboard=_dashboard(to, metric, event),
        table=metric.table,
        newest=_newest(reading.counts.get(metric.scan), event.bucket),
        others=tuple(m.title.get(to.language, m.name) for m in normal if m.name not in names),
        parts=tuple(messages.Part(to.metric(m.metric), m, _latest(m.metric, changes, judged)) for m in _parts(event)),
        latest=latest if latest and latest.bucket > event.bucket else None,
        platform=stories.Tree(to.metrics).is_platform(names),
        occasions=_occasions(to, event),
        usual_delay=completeness.usual_delay(metric.scan, to.store.arrivals(now - ARRIVALS)) if gap else None,
        complete=_complete(changes.todo, metric.table, reading) if gap else (),
        rarity=_rarity(to, event, judged),
        similar=event.incident.similar if event.incident and event.kind is Kind.OPENED else None,
    )


def _titled(metric: Metric, event: Event) -> Metric:
    """A stand-in for slices is called after the slice that it is about."""
    cause = event.incident.cause if event.incident else None
    if not metric.watches or cause is None or cause.slice is None:
        return metric
    part = spell_segment(cause.slice.elements, equals=" ")
    return replace(metric, title={language: f"{title}, {part}" for language, title in metric.title.items()})


def _rarity(to: Connections, event: Event, judged: Mapping[str, pd.DataFrame]) -> Rarity | None:
    """As it was when the incident opened; of what is worse, as it is now."""
    if event.kind is Kind.WORSENED and event.metric in judged and event.verdict.status is Status.ANOMALOUS:
        return unusual.rarity(whole(judged, event.metric), event, to.zone)
    return event.incident.rarity if event.incident and event.kind is Kind.OPENED else None


def _parts(event: Event) -> list[Member]:
    """The incident's other members, and those that a correction takes back."""
    known = [member for member in (event.incident.members if event.incident else ()) if member.metric != event.metric]
    gone = [e for e in (event, *event.also) if e.kind is Kind.CORRECTED and e.metric not in {member.metric for member in known}]
    taken_back = [
        Member(e.metric, e.episode.since or e.bucket, e.bucket, e.episode.said or e.verdict, e.episode.gap is not None)
        for e in gone
    ]
    return [*known, *taken_back]


def _latest(name: str, changes: Advance, judged: Mapping[str, pd.DataFrame]) -> Verdict | None:
    """The metric's newest verdict, against what was expected before its trouble."""
    verdict = changes.newest.get(name)
    if verdict is None and name in judged and len(judged[name]):
        last = judged[name].iloc[-1]
        value, low, expected, high, score, usual = (float(last[column]) for column in NUMBERS)
        bucket, status = judged[name].index[-1].to_pydatetime(), Status(last.status)
        verdict = Verdict(name, bucket, status, value, low, expected, high, score, usual=usual)
    return episodes.as_before(changes.episodes[name], verdict) if verdict and name in changes.episodes else verdict


def _complete(todo: list[Due], table: str, reading: Reading) -> tuple[str, ...]:
    """The other tables, as far as they have rows of the newest due bucket."""
    last = {item.metric.scan: (item.metric.table, item.last) for item in todo}
    full = [
        last[scan][0]
        for scan, counts in reading.counts.items()
        if scan in last
        and last[scan][0] != table
        and scan not in reading.waiting
        and counts.loc[last[scan][1] : last[scan][1]].notna().any(axis=None)
    ]
    return tuple(dict.fromkeys(full))


def _occasions(to: Connections, event: Event) -> tuple[Occasion, ...]:
    """What the calendar knows of the time in which it began."""
    since = event.episode.since or event.episode.gap or event.bucket
    end = event.bucket + to.metric(event.metric).step
    near = [o for o in to.occasions if o.start < end and o.end > since - AROUND]
    return tuple(o for o in near if not o.metrics or event.metric in o.metrics)


def _newest(counts: pd.DataFrame | None, bucket: datetime) -> datetime | None:
    """Instant of the newest row there was when `bucket` was over, where the query tells."""
    newest = float("nan") if counts is None or "newest" not in counts else counts["newest"].loc[:bucket].max()
    return datetime.fromtimestamp(newest, UTC) if newest == newest else None


def reader(to: Connections, now: datetime) -> messages.Reader:
    return messages.Reader(to.language, to.zone, now, to.run, to.owner)


def _statuses(judged: Mapping[str, pd.DataFrame], bucket: datetime) -> dict[str, str]:
    """metric -> how its bucket was answered."""
    if isinstance(judged, Judged):
        return judged.statuses(bucket)
    return {name: frame.status.get(bucket, "") for name, frame in judged.items()}


def _days_before(values: pd.Series, bucket: datetime, days: int, zone: str) -> float:
    """The value at the same local time `days` before; NaN where there is none."""
    then = (bucket.astimezone(ZoneInfo(zone)) - timedelta(days=days)).astimezone(UTC)
    return float(values.get(then, float("nan")))


def _dashboard(to: Connections, metric: Metric, event: Event) -> str:
    """The template with the day up to the event filled in, and the slice that carries it: os=iOS&source=ads;os=web."""
    start, end = event.bucket - timedelta(days=1), event.bucket + metric.step
    cause = event.incident.cause if event.incident else None
    elements = cause.slice.elements if cause and cause.slice else ()
    part = spell_segment(elements, space="")
    span = {name: quote(f"{at:%Y-%m-%dT%H:%M:%SZ}") for name, at in (("start", start), ("end", end))}
    return (metric.dashboard or to.dashboard).format(metric=quote(metric.name), slice=quote(part, safe=""), **span)
