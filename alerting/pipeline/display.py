"""Display what a cell has done: small tables, times in the reporting zone. Pure."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

import pandas as pd

from alerting.model.incident import metric_with_segment, spell_segment
from alerting.model.message import Message, Receipt
from alerting.model.metric import Metric
from alerting.model.run import Reading
from alerting.model.tables import cell_text
from alerting.model.verdict import Status
from alerting.pipeline.advance import StateChange
from alerting.pipeline.context import DueBuckets, RunContext
from alerting.pipeline.explain import Explanations
from alerting.pipeline.feedback import Feedback
from alerting.pipeline.finish import SlowTables
from alerting.pipeline.judge import JudgedMetrics

VERDICT_NUMBERS = ["value", "low", "expected", "high", "score"]
MAX_METRICS = 24  # metrics that a table or a chart can show one by one
MAX_ANOMALOUS = 100  # rows of metrics that are not normal


def show_feedback(feedback: tuple[list[Feedback], str]) -> pd.DataFrame:
    """Return one row per button that was pressed since the last run."""
    pressed, error = feedback
    rows = [[item.press.name, item.press.action.value, item.incident, item.reply] for item in pressed]
    rows += [["", "", "", error]] if error else []
    return pd.DataFrame(rows, columns=["who", "pressed", "incident", "answered"])


def show_readings(ctx: RunContext, reading: Reading) -> pd.DataFrame:
    """Return the last values that were read, one column per metric; NaN is a gap."""
    frame = pd.DataFrame({name: reading.series[name].tail(6) for name in list(reading.series)[:MAX_METRICS]}).tail(6)
    frame.index = pd.Index([cell_text(bucket, ctx.zone) for bucket in frame.index], name="bucket")
    frame = frame.map(_short)
    return frame.assign(**{"...": f"{len(reading.series) - MAX_METRICS} more"}) if len(reading.series) > MAX_METRICS else frame


def show_due(ctx: RunContext, due: Sequence[DueBuckets]) -> pd.DataFrame:
    """Return one row per metric, or per group of many metrics: the buckets that are judged now."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for item in due:
        note = "first look" if item.first_look else "" if len(item) else "nothing new: judged already"
        if item.changed_from:
            note = f"late rows: judged again from {item.changed_from:%Y-%m-%dT%H:%MZ}"
        row = (cell_text(item.first, ctx.zone), cell_text(item.last, ctx.zone), str(len(item)), note)
        rows.setdefault(row if len(due) > MAX_METRICS else (*row, item.metric.name), []).append(item.metric.name)
    names = [group[0] if len(group) == 1 else f"{len(group)} metrics" for group in rows.values()]
    return pd.DataFrame([row[:4] for row in rows], index=names, columns=["first bucket", "last bucket", "buckets", "note"])


def show_verdicts(ctx: RunContext, judged: JudgedMetrics, reading: Reading) -> pd.DataFrame:
    """Return one row per metric: its newest bucket, and the seconds that reading its table and judging it took; or why it was
    not judged. Of many metrics those that are not normal, and some others."""
    rows = {name: _verdict_row(ctx, name, judged, reading) for name in judged}
    rows |= {name: {"status": "missing", "why": reason} for name, reason in reading.errors.items()}
    rows |= {item.name: {"status": "", "why": "its table is slow: see below"} for item in ctx.metrics if item.name not in rows}
    shown = [metric.name for metric in ctx.metrics]
    if len(shown) > MAX_METRICS:
        normal = [name for name in shown if rows[name]["status"] == Status.NORMAL.value]
        shown = [name for name in shown if rows[name]["status"] != Status.NORMAL.value][:MAX_ANOMALOUS] + normal[:MAX_METRICS]
    frame = pd.DataFrame.from_dict({name: rows[name] for name in shown}, orient="index").fillna("")
    return frame.rename_axis(index=f"{len(ctx.metrics)} metrics") if len(ctx.metrics) > MAX_METRICS else frame


def show_slow_tables(ctx: RunContext, late: SlowTables) -> pd.DataFrame:
    """Return the rows of `show_verdicts` for the metrics of slow tables; empty where no table was slow."""
    rows = {name: _verdict_row(ctx, name, late.judged, late.reading) for name in late.judged}
    return pd.DataFrame.from_dict(rows, orient="index")


def _verdict_row(ctx: RunContext, name: str, judged: JudgedMetrics, reading: Reading) -> dict[str, Any]:
    newest, read_seconds = judged.newest(name), reading.seconds.get(ctx.metric(name).scan, 0.0)
    return {
        "bucket": cell_text(newest["bucket"], ctx.zone),
        "status": newest["status"],
        **{column: _short(newest[column]) for column in VERDICT_NUMBERS},
        "read s": f"{read_seconds:.2f}",
        "judged s": f"{judged.tails[name].seconds:.4f}",
    }


def by_urgency(ctx: RunContext, judged: JudgedMetrics) -> list[Metric]:
    """Return the catalogue; of many metrics first those that are not normal."""
    if len(ctx.metrics) <= MAX_METRICS:
        return ctx.metrics
    urgent = {name for name in judged if judged.newest(name)["status"] != Status.NORMAL.value}
    return sorted(ctx.metrics, key=lambda metric: metric.name not in urgent)


def show_changes(ctx: RunContext, changes: StateChange) -> pd.DataFrame:
    """Return one row per event, then one per metric with an episode or a gap."""
    rows: list[list[Any]] = []
    for event in changes.events:
        who, episode = ", ".join([event.name, *(other.name for other in event.also)]), event.episode
        rows.append([who, f"event: {event.kind.value}", event.bucket, episode.since or episode.gap_since])
    open_now = [episode for episode in changes.episodes.values() if episode.since or episode.gap_since]
    names = {e.metric: metric_with_segment(e.metric, e.worst.segment if e.worst else "") for e in open_now}
    rows += [[names[e.metric], e.state.value, "", e.since or e.gap_since] for e in open_now]
    texts = [[cell_text(cell, ctx.zone) for cell in row] for row in rows]
    return pd.DataFrame(texts, columns=["metric", "what", "bucket", "since"])


def show_root_causes(explained: Explanations) -> pd.DataFrame:
    """Return one row per incident whose root cause was found, has failed or is pending."""
    causes = explained.causes.items()
    rows = [[name, c.answer, spell_segment(c.slice.elements if c.slice else ()), c.share] for name, c in causes]
    rows += [[name, "failed", why, float("nan")] for name, why in explained.errors.items()]
    rows += [[name, "still asked", "it follows as a reply", float("nan")] for name in explained.pending]
    return pd.DataFrame(rows, columns=["incident", "answer", "slice", "share"])


def show_messages(messages: Sequence[Message]) -> str:
    """Return the messages as the chat will show them, as HTML for a cell."""
    shown = []
    for message in messages:
        if message.photo:
            picture = base64.b64encode(message.photo).decode()
            shown.append(f'<img style="max-width:480px" alt="picture" src="data:image/png;base64,{picture}">')
            continue
        edit = "<i>edits the opening message:</i>\n" if message.edits else ""
        rows = [" ".join(f"[ {escape(button.text)} ]" for button in row) for row in message.buttons]
        text = "\n".join([f"{edit}{message.text}", *rows])
        shown.append(f'<div style="white-space:pre-wrap;max-width:44em;margin:1em 0">{text}</div>')
    return "\n".join(shown) or "<i>Nothing to say: silence means health.</i>"


def show_receipts(receipts: Sequence[Receipt]) -> pd.DataFrame:
    """Return one row per message that was tried."""
    return pd.DataFrame([[r.key, r.state, r.reason] for r in receipts], columns=["message", "state", "why"])


def _short(value: float) -> str:
    """Format with four significant digits, and from 1000 on without decimals."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
