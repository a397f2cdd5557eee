"""The facts of an event as its template shows them: numbers and times are formatted, texts from data are escaped and cut.

An unknown fact is "" (a text) or None (an object), and the template leaves it out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from markupsafe import Markup

from alerting.messages.context import (
    NO_OTHERS,
    Audience,
    Subject,
    loss_facts,
    members_of_gap,
    other_metrics,
)
from alerting.messages.format import (
    MAX_REASON,
    MAX_SHORT_TITLE,
    MAX_TITLE,
    NumberFormat,
    VerdictFacts,
    attribute_name,
    duration,
    enumerate_words,
    inside_sentence,
    is_web,
    metric_title,
    percent,
    plain_line,
    plural,
    roughly,
    segment_attributes,
    segment_name,
    signed_percent,
)
from alerting.messages.words import LABEL_WORDS, WORDS
from alerting.model.clock import day_of
from alerting.model.incident import Incident, RootCause, Segment, SimilarIncident
from alerting.model.metric import Metric
from alerting.model.verdict import END_KINDS, NORMAL_CHANGE, EventKind, Status, Verdict

DETECTORS = ("sudden", "sustained", "level", "limit")  # `Verdict.reason` of an anomalous verdict that a text explains

CRITICAL_ICON, WARNING_ICON, NO_DATA_ICON = "🔴", "🟡", "⚫"
MIN_WEEKS = 2  # least history, in weeks, for a statement about rarity

# root causes
NO_CAUSE: dict[str, Any] = {"findings": ()}
MAX_ATTRIBUTES = 8  # attributes to list if all segments changed alike
MAX_UNAFFECTED = 4  # unaffected segments to list
MAX_LISTED = 3  # segments to list that are out of balance, new or gone

NORMAL_PART = 0.1  # a segment with less than this part of the cause's change is normal (see also NORMAL_CHANGE)
MIN_SHARE, ALL, MORE_THAN_ALL = 0.05, 0.995, 1.05  # share of the change: least to mention, counts as all, clearly more than all
MIX_ONLY = (0.8, 1.25)  # a mix effect with this share of a ratio's change: the ratios of the segments are about as usual


@dataclass(frozen=True)
class IncidentFacts:
    """The present state of an incident."""

    exists: bool = False
    is_over: bool = False
    is_corrected: bool = False  # late rows made it normal
    is_unsent: bool = False  # no message about it was sent before
    acknowledged_by: Markup = Markup("")
    is_muted: bool = False
    silent_until: str = ""
    label: str = ""
    labelled_by: Markup = Markup("")


@dataclass(frozen=True)
class RarityFacts:
    """How often such a change happens."""

    is_lower: bool  # than expected
    never_in: str = ""  # 9 weeks
    once_in: str = ""  # 9 weeks
    times_a_week: str = ""  # 3 times; if all three are empty: once a week


def event_facts(subject: Subject) -> dict[str, Any]:
    """Return all facts that the template of an event may show, except those of the footer."""
    event, context, metric, reader = subject.event, subject.context, subject.context.metric, subject.context.reader
    verdict, before, incident = subject.shown, subject.before, event.incident
    title = metric.title_in(reader.language)
    if metric.segments_of:  # a stand-in
        title = metric_title(metric, verdict.segment or event.segment, reader.language)
    icon = CRITICAL_ICON if subject.is_critical else NO_DATA_ICON if verdict.status is Status.MISSING else WARNING_ICON
    if incident and incident.closed:
        icon = "🟢"
    if incident and incident.corrected:
        icon = "↩️"
    return {
        "icon": icon,
        "is_critical": subject.is_critical,
        "title": plain_line(title, MAX_TITLE),
        "when": reader.span(verdict.bucket, verdict.bucket + metric.step),
        "stopped": reader.span(gap, gap + metric.step, near=verdict.bucket) if (gap := context.stopped) else "",  # no value
        "late_when": [reader.span(start, end) for start, end in context.late],  # the times for which late rows came
        "verdict": VerdictFacts.of(verdict, metric.form, reader.language),
        # The verdict in the last notification
        "before": VerdictFacts.of(before, metric.form, reader.language) if before else None,
        "detector": verdict.reason if verdict.reason in DETECTORS else "",  # why it is anomalous
        "is_detector_new": before is None or before.reason != verdict.reason,
        "is_again": event.again,  # the incident was reopened
        "is_platform": context.is_platform,
        "is_known_member": subject.member is not None and subject.member.joined < event.bucket,  # it was a member before
        "normal": tuple(plain_line(title, MAX_TITLE) for title in context.normal),  # titles of the metrics that are normal
        **_course_facts(subject),
        "incident": incident_facts(incident, reader, event.again),
        "others": other_metrics(subject) if subject.others or event.also else NO_OTHERS,
        "cause": _cause_facts(subject, incident, incident.cause) if incident and incident.cause else NO_CAUSE,
        "similar": _similar_facts(context.similar, event.bucket, reader) if context.similar else None,
        "calendar": _calendar(subject) if context.calendar else (),
        "gap": _gap_facts(subject) if subject.is_gap else None,
        "end": _end_facts(subject) if event.kind in END_KINDS else None,
    }


def _course_facts(subject: Subject) -> dict[str, Any]:
    """Return the facts about the metric over time: since when it is anomalous, its worst value, and values of earlier days."""
    event, context, shown, incident = subject.event, subject.context, subject.shown, subject.event.incident
    reader, form, bucket = context.reader, context.metric.form, shown.bucket
    language, numbers, start = reader.language, NumberFormat.of(form, reader.language, shown), subject.since or event.bucket
    end = event.episode.normal_since if shown.status is Status.NORMAL else event.episode.back_since  # `back_since` is for a gap
    if incident and incident.closed:
        end = None if incident.corrected else subject.over
    worst = subject.worst if subject.worst and subject.worst.bucket != bucket else None
    rarity, past = None, context.rarity if bucket == event.bucket else None
    if past and past.weeks >= MIN_WEEKS and shown.value != shown.reference:
        is_lower, a_week = shown.value < shown.reference, past.times / past.weeks
        if not a_week:
            rarity = RarityFacts(is_lower, never_in=plural(int(past.weeks), "week", language))
        elif round(1 / a_week) > 1:
            rarity = RarityFacts(is_lower, once_in=plural(round(1 / a_week), "week", language))
        else:
            often = round(a_week)
            rarity = RarityFacts(is_lower, times_a_week=plural(often, "occurrence", language) if often > 1 else "")
    return {
        "since": reader.at(start, near=bucket),
        "is_since_known": subject.since is not None,
        "is_first_bucket": start == bucket,
        "lasted": duration(subject.until - start, language) if event.kind is EventKind.REMINDER else "",  # until now
        "off": reader.span(start, end) if end else "",  # the time in which it was anomalous, if that is over
        "worst": VerdictFacts.of(worst, form, language) if worst else None,  # unless `verdict` is the worst
        "worst_at": reader.at(worst.bucket, near=bucket) if worst else "",
        # "Yesterday" is the day before `now`: of a bucket of another day, such as a day that is over, it is "the day before"
        "is_today": day_of(bucket, context.metric.step, reader.zone) == day_of(reader.now, timedelta(), reader.zone),
        "yesterday": numbers.value(context.yesterday),
        "week_ago": numbers.value(context.week_ago),
        "rarity": rarity,
    }


def incident_facts(incident: Incident | None, reader: Audience, is_again: bool = False) -> IncidentFacts:
    """Return the present state of the incident. `is_again`: it was reopened; its label is about the time before, and left out."""
    if incident is None:
        return IncidentFacts()
    is_over, until = incident.closed is not None, incident.snoozed_until
    return IncidentFacts(
        exists=True,
        is_over=is_over,
        is_corrected=incident.corrected,
        is_unsent=incident.last_notified is None,
        acknowledged_by=plain_line(incident.acknowledged_by, MAX_SHORT_TITLE),
        is_muted=incident.muted,
        silent_until=reader.at(until, near=reader.now) if until and until > reader.now and not is_over else "",
        label=WORDS[reader.language][LABEL_WORDS[incident.label]] if incident.label and not is_again else "",
        labelled_by=plain_line(incident.labelled_by, MAX_SHORT_TITLE),
    )


def _similar_facts(past: SimilarIncident, bucket: datetime, reader: Audience) -> dict[str, Any]:
    """Return the time of a similar past incident, its page, its label and the change of its metric."""
    day, today = (instant.astimezone(ZoneInfo(reader.zone)).date() for instant in (past.at, bucket))
    label = WORDS[reader.language][LABEL_WORDS[past.label]] if past.label else ""
    off = signed_percent(past.off.value, past.off.expected, reader.language) if past.off else ""
    return {
        "when": reader.at(past.at, near=bucket) if day == today else reader.day(day),
        "url": past.url if is_web(past.url) else "",
        "details": tuple(filter(None, [label, off])),
    }


def _cause_facts(subject: Subject, incident: Incident, cause: RootCause) -> dict[str, Any]:
    """Return the root cause for the metric and the bucket of the text; in an edit the metric's newest cause, with its time."""
    event, context, shown = subject.event, subject.context, subject.shown
    if incident.corrected or (cause.metric or incident.root.metric) != event.metric:
        return NO_CAUSE
    at = cause.at or incident.root.joined
    if at == shown.bucket:
        return root_cause_facts(cause.claim, context.metric, context.reader, shown)
    if event.kind is not EventKind.OPENED or not (context.latest or incident.closed):
        return NO_CAUSE
    known = (event.verdict, subject.worst, shown if shown.status is Status.ANOMALOUS else None)
    explained = next((verdict for verdict in known if verdict and verdict.bucket == at), known[-1] or event.verdict)
    facts = root_cause_facts(cause.claim, context.metric, context.reader, explained)
    return facts | {"at": context.reader.at(at, near=shown.bucket)}


def root_cause_facts(cause: RootCause, metric: Metric, reader: Audience, verdict: Verdict) -> dict[str, Any]:
    """Return the facts of the root cause of a metric's verdict. A text with nothing to show is ""."""
    language, change, effect, where = reader.language, verdict.residual, "", cause.slice
    if math.isnan(change) and where:
        change = where.change * (1 if cause.share >= 0 else -1)
    most = cause.others[0] if cause.answer == "alike" and cause.others else None
    if cause.answer == "alike":
        effect = "alike" if cause.attributes or most else ""
    elif cause.answer == "carried" and where is not None and not math.isnan(where.change):
        effect = "experiment" if cause.experiment and cause.effect != "mix" else cause.effect

    findings = {"cause": effect, "imbalance": cause.imbalance, "new": cause.new, "gone": cause.gone}
    names = list(dict.fromkeys(attribute_name(name, language) for name in cause.attributes))  # age, age_band: one name
    facts = {
        "findings": tuple(name for name, found in findings.items() if found),  # each has a line; the most important first
        "effect": effect,  # alike | mix | rate | experiment | count; "" if nothing explains the change
        "at": "",  # its time, if that differs from the time of the text
        "is_drop": change < 0,  # the metric fell
        "title": inside_sentence(plain_line(metric.title_in(language), MAX_SHORT_TITLE)),
        "attributes": Markup(enumerate_words(names[:MAX_ATTRIBUTES], language, hidden=max(0, len(names) - MAX_ATTRIBUTES))),
        "most": Markup(segment_name(most, language)) if most else Markup(""),  # with `alike`: it changed more than the rest
        "most_change": signed_percent(most.value, most.expected, language) if most else "",
        "rest_change": signed_percent(cause.rest.value, cause.rest.expected, language) if most and cause.rest else "",
        "imbalance": _segment_list(cause.imbalance, language, with_attributes=False),
        "new": _segment_list(cause.new, language),
        "gone": _segment_list(cause.gone, language),
    }
    if where is None or effect in ("", "alike"):
        return facts
    return facts | _segment_facts(cause, where, metric, change < 0, language)


def _segment_list(segments: tuple[Segment, ...], language: str, with_attributes: bool = True) -> dict[str, Any]:
    """Return the first segments (their first element) with their shares of all now and usually, and how many more there are."""
    shown = [
        {
            "name": Markup(segment_name(where, language, most=1, with_attributes=with_attributes)),
            "share": percent(where.value, language),  # now
            "usual": percent(where.expected, language),
        }
        for where in segments[:MAX_LISTED]
    ]
    return {"shown": shown, "more": len(segments) - len(shown)}


def _segment_facts(cause: RootCause, where: Segment, metric: Metric, is_drop: bool, language: str) -> dict[str, Any]:
    """Return the facts of the segment that explains the change, of the rest, and of segments that are not affected."""
    numbers = NumberFormat.of(metric.form, language, (where.value, where.expected))
    limit = max(NORMAL_CHANGE, NORMAL_PART * min(abs(where.change), 1.0))
    attributes, others, rest = segment_attributes(where), (*cause.others, *filter(None, [cause.rest])), cause.rest
    normal = [] if cause.experiment else [other for other in cause.others if abs(other.change) < limit]
    is_known = rest is not None and math.isfinite(rest.change)
    change = rest.change if rest is not None and is_known else 0.0
    is_opposite = is_known and cause.share > MORE_THAN_ALL and (change > 0) == is_drop
    shown = roughly(abs(change) if is_opposite else change, language)
    unaffected = []
    for other in normal[:MAX_UNAFFECTED]:
        is_other_kind = len(attributes) > 1 or segment_attributes(other) != attributes  # if False, the value alone is enough
        unaffected.append(Markup(segment_name(other, language, most=1, with_attributes=is_other_kind)))
    return {
        "segment": Markup(segment_name(where, language)),
        "is_several": len(where.elements) > 1,
        "change": signed_percent(where.value, where.expected, language),
        "value": numbers.value(where.value),
        "expected": numbers.value(where.expected),
        # Share of the metric's change that the segment explains
        "share": percent(cause.share, language) if cause.share >= MIN_SHARE else "",
        "is_all": cause.share >= ALL,  # above 1 the rest changed the other way
        "is_mix_only": MIX_ONLY[0] <= cause.share <= MIX_ONLY[1],
        "current_share": percent(where.value, language),  # for a mix effect: the segment's share of the total
        "usual_share": percent(where.expected, language),
        "rest": shown.removeprefix("+") if is_opposite else shown,
        "is_rest_usual": is_known and not shown,
        "is_rest_opposite": is_opposite,  # the rest changed the other way: `rest` has no sign
        "is_rest_up": change > 0,
        "are_others_normal": bool(others) and all(abs(other.change) < limit for other in others),
        "unaffected": tuple(unaffected),
        "is_overlap": cause.overlap,
    }


def _calendar(subject: Subject) -> tuple[tuple[Markup, str], ...]:
    """Return title and time of the calendar events, the nearest first.

    The time is 14:05, 14:00–18:00 or Sun; "" for the whole day of the event.
    """
    reader, bucket, step = subject.context.reader, subject.event.bucket, subject.context.metric.step
    zone, calendar = ZoneInfo(reader.zone), []
    for it in sorted(subject.context.calendar, key=lambda it: abs(it.start - bucket)):
        start, end = it.start, max(it.start, it.end)
        day, days = start.astimezone(zone).date(), reader.days(start, end)
        if days > 1:
            when = f"{reader.day(day)}–{reader.day(day + timedelta(days=days - 1))}"
        elif days:
            when = "" if day == bucket.astimezone(zone).date() else reader.day(day)
        else:
            until = f"–{reader.at(end, near=start)}" if end - start >= step else ""
            when = f"{reader.at(start, near=bucket)}{until}"
        calendar.append((plain_line(it.title or it.kind, MAX_TITLE), when))
    return tuple(calendar)


def _gap_facts(subject: Subject) -> dict[str, Any]:
    """Return the facts about the time without data, and about the metric's table."""
    event, context, reader, language = subject.event, subject.context, subject.context.reader, subject.context.reader.language
    start, end, now = subject.gap or event.bucket, _end_of_gap(subject), reader.now
    newest, last, form = context.newest, event.episode.last, context.metric.form
    return {
        "is_start_known": subject.gap is not None,
        "since": reader.at(start, near=now),
        "back": reader.at(end, near=now),  # the first bucket with data again
        "when": reader.span(start, end),
        "lasted": duration(end - start, language),
        "reason": plain_line(event.verdict.reason, MAX_REASON),
        "has_rows": newest is not None and start <= newest < subject.until,  # rows of that time exist, but give no value
        "is_ratio": form == "ratio",
        "is_back": newest is not None and newest >= subject.until,  # rows of a bucket that is not over have come
        "table": plain_line(context.table, MAX_TITLE),
        "retire": context.metric.name if context.is_gone else "",  # the metric to retire: it is gone from the source
        "newest": reader.at(newest, near=now) if newest else "",  # the table's newest row
        "newest_age": duration(now - newest, language) if newest and newest <= now else "",
        "usual_age": duration(context.usual_delay, language) if context.usual_delay is not None else "",
        "complete_tables": tuple(plain_line(table, MAX_TITLE) for table in context.complete_tables),
        "last": VerdictFacts.of(last, form, language) if last else None,  # the last value before it
        "last_at": reader.at(last.bucket, near=now) if last else "",
        "is_all_normal": event.verdict.status is Status.NORMAL and all(p.member.until for p in members_of_gap(subject)[1]),
    }


def _end_of_gap(subject: Subject) -> datetime:
    """Return the end of the gap, or the end of its newest bucket while it is open."""
    event = subject.event
    if event.kind in END_KINDS:
        return (subject.member.until if subject.member else None) or event.bucket
    if event.kind is not EventKind.NO_DATA:
        return event.bucket + subject.context.metric.step
    if subject.over and event.incident and event.incident.closed:
        return subject.over
    return subject.until


def _end_facts(subject: Subject) -> dict[str, Any]:
    """Return the facts about the end of the incident, or of the metric's episode."""
    event, incident, metric, reader = subject.event, subject.event.incident, subject.context.metric, subject.context.reader
    language, now = reader.language, reader.now
    normal = (subject.member.until if subject.member else None) or event.episode.normal_since or event.bucket
    last, over = subject.over or normal, subject.over or event.bucket
    began = subject.since or subject.gap or event.bucket
    is_whole = incident is not None and not incident.reopened and subject.since is not None and subject.context.is_platform
    since = min(member.since for member in incident.members) if is_whole and incident else subject.since
    lost, worst = (subject.member.lost if subject.member else 0.0) or event.episode.lost, subject.worst or event.verdict
    cause = incident.cause.claim if incident and incident.cause and not incident.corrected else None
    is_own = incident is not None and cause is not None and (cause.metric or incident.root.metric) == event.metric
    where = cause.slice if cause and is_own and cause.answer == "carried" else None
    return {
        "since": reader.at(last if is_whole else normal, near=now),  # normal again since
        "all_since": reader.at(last, near=normal) if last > normal and not is_whole else "",  # if that is later
        "is_of_platform": is_whole,
        "lasted": duration(last - since, language) if since else "",
        "noun": inside_sentence(plain_line(metric.title_in(language), MAX_SHORT_TITLE)),  # 7,900 likes
        "worst": VerdictFacts.of(subject.worst, metric.form, language) if subject.worst else None,
        "loss": loss_facts(metric, lost, worst, language),
        "cause": Markup(segment_name(where, language)) if where else Markup(""),  # the segment that explains it
        "cause_at": reader.at(cause.at or incident.root.joined, near=normal) if incident and cause and where else "",
        "is_mix": cause is not None and cause.effect == "mix",
        "unsent_since": reader.at(over, near=now),  # for an incident that was not sent before: normal again since
        "unsent_lasted": duration(over - began, language),
        "unsent_began": reader.at(began, near=now),
    }
