"""Display what a cell has done: small tables, times in the reporting zone. Pure."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any, ClassVar

import pandas as pd

from alerting.incidents.episodes import against_level_before
from alerting.messages.format import NumberFormat, VerdictFacts
from alerting.model.incident import MetricTree, is_critical
from alerting.model.message import Message, Receipt
from alerting.model.metric import STEP, Metric, metric_with_segment, spell_segment
from alerting.model.run import VERDICTS, Reading
from alerting.model.tables import bucket_text, cell_text, percent_change
from alerting.model.verdict import OPENING_KINDS, Status, Verdict
from alerting.pipeline.advance import StateChange
from alerting.pipeline.compose import member_verdicts
from alerting.pipeline.context import DueBuckets, RunContext
from alerting.pipeline.explain import Explanations
from alerting.pipeline.feedback import Feedback
from alerting.pipeline.finish import SlowTables
from alerting.pipeline.judged import JudgedMetrics

VERDICT_NUMBERS = ["value", "low", "expected", "high", "score"]
MAX_METRICS = 24  # metrics that a table or a chart can show one by one
MAX_ANOMALOUS = 100  # rows of metrics that are not normal


def show_feedback(feedback: tuple[list[Feedback], str]) -> pd.DataFrame:
    """Return one row per button that was pressed since the last run."""
    pressed, error = feedback
    rows = [[item.press.name, item.what, item.times, item.incident, item.reply] for item in pressed]
    rows += [["", "", "", "", error]] if error else []
    return pd.DataFrame(rows, columns=["who", "pressed", "times", "incident", "answered"])


def show_readings(ctx: RunContext, reading: Reading) -> pd.DataFrame:
    """Return the last values that were read, one column per metric; NaN is a gap."""
    frame = pd.DataFrame({name: reading.series[name].tail(6) for name in list(reading.series)[:MAX_METRICS]}).tail(6)
    frame.index = pd.Index([cell_text(bucket, ctx.zone) for bucket in frame.index], name="bucket")
    frame = frame.map(lambda value: cell_text(value) or "nan")
    return frame.assign(**{"...": f"{len(reading.series) - MAX_METRICS} more"}) if len(reading.series) > MAX_METRICS else frame


def show_due(ctx: RunContext, due: Sequence[DueBuckets]) -> pd.DataFrame:
    """Return one row per metric, or per group of many metrics: the buckets that are judged now."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for item in due:
        note = "first look" if item.first_look else "" if len(item) else "nothing new: judged already"
        if item.changed_from:
            note = f"late rows: judged again from {bucket_text(item.changed_from, item.metric.step, ctx.zone)}"
        first, last = (bucket_text(bucket, item.metric.step, ctx.zone) for bucket in (item.first, item.last))
        row = (first, last, str(len(item)), note)
        rows.setdefault(row if len(due) > MAX_METRICS else (*row, item.metric.name), []).append(item.metric.name)
    names = [group[0] if len(group) == 1 else f"{len(group)} metrics" for group in rows.values()]
    return pd.DataFrame([row[:4] for row in rows], index=names, columns=["first bucket", "last bucket", "buckets", "note"])


def show_open(ctx: RunContext, changes: StateChange, judged: JudgedMetrics) -> pd.DataFrame:
    """Return one row per open incident: the metric that leads, its bucket and deviation now, severity, start, other metrics."""
    tree, rows = MetricTree([*ctx.metrics, *ctx.segment_metrics]), {}
    for incident in changes.incidents:
        if incident.open and incident.affected:
            newest = member_verdicts(ctx, incident.affected, changes, judged)
            lead = tree.lead(newest, incident.root.metric)
            critical = is_critical([(ctx.metric(name), verdict) for name, verdict in newest.items()], tree.roots, incident.cause)
            names = {m.metric: metric_with_segment(m.metric, newest[m.metric].segment or m.segment) for m in incident.affected}
            rows[names[lead]] = {
                "now": deviation(newest[lead]),
                "bucket": cell_text(newest[lead].bucket, ctx.zone),
                "severity": "critical" if critical else "warning",
                "since": cell_text(min(member.since for member in incident.affected), ctx.zone),
                "also": ", ".join(f"{names[name]} {deviation(verdict)}" for name, verdict in newest.items() if name != lead),
            }
    return pd.DataFrame.from_dict(rows, orient="index", columns=["now", "bucket", "severity", "since", "also"])


def deviation(verdict: Verdict) -> str:
    """Return a verdict in short: its change (-39 %); without one, its value or its status."""
    shown = percent_change(verdict.change) if verdict.status is Status.ANOMALOUS else ""
    return shown or {Status.MISSING: "no data", Status.ANOMALOUS: cell_text(verdict.value)}.get(
        verdict.status, verdict.status.value
    )


def message_buckets(changes: StateChange) -> dict[str, datetime]:
    """Return metric -> the bucket that its message is about."""
    events = [each for event in changes.events for each in (event, *event.also)]
    entries = {each.metric for event in changes.events if event.kind in OPENING_KINDS for each in (event, *event.also)}
    sent = [incident for incident in changes.incidents if incident.open and incident.last_notified]
    entries |= {member.metric for incident in sent for member in (incident.root, *incident.affected)}  # an entry shows the newest
    newest = {name: verdict.bucket for name, verdict in changes.newest.items() if name in entries}
    return {event.metric: event.bucket for event in events} | newest


class VerdictTable(pd.DataFrame):
    """Verdicts as a table; a cell stores them also as `lines`, which the runner prints."""

    _metadata: ClassVar = ["lines"]  # no column
    lines: Mapping[str, Any]

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {VERDICTS: self.lines}


def show_verdicts(ctx: RunContext, judged: JudgedMetrics, reading: Reading, changes: StateChange | None = None) -> VerdictTable:
    """Return one row per metric: its newest bucket, and the seconds to read its table and to judge it; or why it was not judged.

    If there are more than MAX_METRICS metrics, all that are not normal are shown, and some others. With `changes`, a column gives
    the bucket that a message is about.
    """
    unjudged = reading.errors | ctx.faults["judged"]
    marked = message_buckets(changes) if changes else None
    rows = {name: _verdict_row(ctx, _newest(name, judged, changes), judged, reading, marked) for name in judged}
    rows |= {name: {"status": "missing", "why": reason} for name, reason in unjudged.items()}
    rows |= {item.name: {"status": "", "why": "its table is slow: see below"} for item in ctx.metrics if item.name not in rows}
    shown = [metric.name for metric in ctx.metrics]
    if len(shown) > MAX_METRICS:
        normal = [name for name in shown if rows[name]["status"] == Status.NORMAL.value]
        shown = [name for name in shown if rows[name]["status"] != Status.NORMAL.value][:MAX_ANOMALOUS] + normal[:MAX_METRICS]
    frame = pd.DataFrame.from_dict({name: rows[name] for name in shown}, orient="index").fillna("")
    frame = frame.rename_axis(index=f"{len(ctx.metrics)} metrics") if len(ctx.metrics) > MAX_METRICS else frame
    table = VerdictTable(frame)
    table.lines = verdict_lines(ctx, judged, unjudged, changes)
    return table


def verdict_lines(
    ctx: RunContext, judged: JudgedMetrics, unjudged: Mapping[str, str], changes: StateChange | None = None
) -> dict[str, Any]:
    """Return a title and texts for a terminal: per metric its name, status, value, expected value, change and score.

    If there are more than MAX_METRICS metrics, only those that are not normal. `unjudged`: metric -> why it was not judged.
    """
    rows = {name: _verdict_texts(ctx, _newest(name, judged, changes)) for name in judged if name not in unjudged}
    rows |= {name: [name, "not judged", "", reason, "", ""] for name, reason in unjudged.items()}
    rows = {metric.name: rows[metric.name] for metric in ctx.metrics if metric.name in rows}
    statuses = Counter(row[1] for row in rows.values())
    counts = ", ".join(f"{count:,} {status}" for status, count in statuses.most_common())
    shown = [row for row in rows.values() if len(rows) <= MAX_METRICS or row[1] != Status.NORMAL]
    number = f"{len(rows):,} metric{'' if len(rows) == 1 else 's'}"
    return {"title": f"{number}{_judged_span(ctx, judged)}: {counts}", "rows": shown[:MAX_ANOMALOUS]}


def _newest(name: str, judged: JudgedMetrics, changes: StateChange | None) -> Verdict:
    """Return a metric's newest verdict; with `changes` compared with the level before its episode, as in its messages."""
    if changes and name in changes.newest:
        return changes.newest[name]
    return against_level_before(changes.episodes.get(name) if changes else None, judged.newest(name))


def _judged_span(ctx: RunContext, judged: JudgedMetrics) -> str:
    due = [item for item in judged.due if len(item)]
    if not due:
        judged_at = max((judged.newest(name).bucket for name in judged), default=None)
        return f", nothing new since {cell_text(judged_at, ctx.zone)} ({ctx.zone})" if judged_at else ""
    first, last = (min(due, key=lambda item: item.begin), max(due, key=lambda item: item.last))
    start, end = bucket_text(first.begin, first.metric.step, ctx.zone), bucket_text(last.last, last.metric.step, ctx.zone)
    return f" judged {f'at {end}' if start == end else f'from {start} to {end}'} ({ctx.zone})"


def _verdict_texts(ctx: RunContext, verdict: Verdict) -> list[str]:
    """Return the name, the status, and the value, expected, change and score as in messages."""
    facts = VerdictFacts.of(verdict, ctx.metric(verdict.metric).form, "en")
    names = [verdict.metric, facts.status, facts.value]
    if verdict.status in (Status.MISSING, Status.UNKNOWN):
        return [*names, {Status.MISSING: "no value", Status.UNKNOWN: "too little history"}[verdict.status], "", ""]
    score = f"score {NumberFormat('number', 'en', 1).value(verdict.score)}" if verdict.score == verdict.score else ""
    band = f"expected {facts.expected} ({facts.range})" if verdict.expected == verdict.expected else f"normal {facts.range}"
    return [*names, band, facts.change, score]


class Html(str):
    """HTML that a notebook shows. `lines`: of verdicts, which the runner prints."""

    lines: Mapping[str, Any] = {}

    def _repr_html_(self) -> str:
        return self

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {VERDICTS: self.lines} if self.lines else {}


def show_slow_tables(ctx: RunContext, late: SlowTables) -> Html | None:
    """Return the verdicts and messages of the metrics of slow tables as HTML; None where no table was slow."""
    rows = {name: _verdict_row(ctx, _newest(name, late.judged, None), late.judged, late.reading) for name in late.judged}
    if not rows:
        return None
    shown = Html(pd.DataFrame.from_dict(rows, orient="index").to_html() + "\n" + show_messages(late.messages))
    shown.lines = verdict_lines(ctx, late.judged, {})
    return shown


def _verdict_row(
    ctx: RunContext, newest: Verdict, judged: JudgedMetrics, reading: Reading, marked: Mapping[str, datetime] | None = None
) -> dict[str, Any]:
    """Return the row of a metric's newest verdict. `marked`: metric -> the bucket that a message is about."""
    metric = ctx.metric(newest.metric)
    about = {} if marked is None else {"message about": cell_text(marked.get(metric.name), ctx.zone)}
    return {
        "status": newest.status.value,  # first: it is to be seen on a phone, too
        "bucket": bucket_text(newest.bucket, metric.step, ctx.zone),
        **{column: cell_text(newest.numbers[column]) or "nan" for column in VERDICT_NUMBERS},
        **about,
        "read s": f"{reading.seconds.get(metric.scan, 0.0):.2f}",
        "judged s": f"{judged.tails[metric.name].seconds:.4f}",
    }


def by_urgency(ctx: RunContext, judged: JudgedMetrics, changes: StateChange | None = None) -> list[Metric]:
    """Return the metrics of the catalogue, most urgent first: metrics of this run's messages, then members of open incidents.

    If there are more than MAX_METRICS metrics, those that are not normal come next.
    """
    told = [*message_buckets(changes)] if changes else []
    told += [m.metric for incident in (changes.incidents if changes else ()) if incident.open for m in incident.affected]
    order = {name: number for number, name in reversed([*enumerate(told)])}
    many = len(ctx.metrics) > MAX_METRICS
    urgent = {name for name in judged if many and judged.newest(name).status is not Status.NORMAL}
    return sorted(ctx.metrics, key=lambda metric: (order.get(metric.name, len(told)), metric.name not in urgent))


def show_changes(ctx: RunContext, changes: StateChange) -> pd.DataFrame:
    """Return one row per event, then one row per metric with an episode or a gap."""
    found: list[tuple[str, str, str, datetime | None, datetime | None]] = []
    for event in changes.events:
        who, episode = ", ".join([event.name, *(other.name for other in event.also)]), event.episode
        found.append((event.metric, who, f"event: {event.kind.value}", event.bucket, episode.since or episode.gap_since))
    for each in changes.episodes.values():
        if each.since or each.gap_since:
            name = metric_with_segment(each.metric, each.worst.segment if each.worst else "")
            found.append((each.metric, name, each.state.value, None, each.since or each.gap_since))
    steps = {metric.name: metric.step for metric in (*ctx.metrics, *ctx.segment_metrics)}
    rows = []
    for metric, names, what, *times in found:
        step = steps.get(metric, STEP)  # an episode may be of a former metric
        rows.append([names, what, *(bucket_text(at, step, ctx.zone) if at else "" for at in times)])
    return pd.DataFrame(rows, columns=["metric", "what", "bucket", "since"])


def show_root_causes(explained: Explanations) -> pd.DataFrame:
    """Return one row per incident whose root cause was found, has failed or is pending."""
    causes = explained.causes.items()
    rows = [[name, c.answer, spell_segment(c.slice.elements if c.slice else ()), c.share] for name, c in causes]
    rows += [[name, "failed", why, float("nan")] for name, why in explained.errors.items()]
    rows += [[name, "still asked", "it follows as an edit", float("nan")] for name in explained.pending]
    return pd.DataFrame(rows, columns=["incident", "answer", "slice", "share"])


def show_messages(messages: Sequence[Message], pending: Iterable[str] = ()) -> str:
    """Return the messages as the chat will show them, as HTML for a cell. `pending`: tables that are still being read."""
    shown = []
    for message in messages:
        edit = "<i>edits the opening message:</i>\n" if message.edits else ""
        rows = [" ".join(f"[ {escape(button.text)} ]" for button in row) for row in message.buttons]
        text = "\n".join([f"{edit}{message.text}", *rows])
        shown.append(f'<div style="white-space:pre-wrap;max-width:44em;margin:1em 0">{text}</div>')
        if message.photo and not message.edits:  # an edit has the picture of a reply
            picture = base64.b64encode(message.photo).decode()
            shown.append(f'<img style="max-width:480px" alt="picture" src="data:image/png;base64,{picture}">')
    if names := ", ".join(sorted(pending)):
        shown.append(f"<i>Still being read: {escape(names)}. Their verdicts and messages follow in Slow tables.</i>")
    return "\n".join(shown) or "<i>Nothing to say: silence means health.</i>"


def show_receipts(ctx: RunContext, receipts: Sequence[Receipt]) -> pd.DataFrame:
    """Return one row per message that was tried."""
    rows = [[r.key, ctx.sent_as if r.state == "sent" else r.state, r.reason] for r in receipts]
    return pd.DataFrame(rows, columns=["message", "state", "why"])
