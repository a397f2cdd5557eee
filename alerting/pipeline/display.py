"""What a run's cells show: small frames to read, times in the reporting zone. Pure."""

from __future__ import annotations

import base64
from datetime import datetime
from html import escape
from typing import Any

import pandas as pd

from alerting.model.incident import Event, spell_segment
from alerting.model.message import Message, Receipt
from alerting.model.metric import Metric
from alerting.model.run import Reading
from alerting.model.verdict import Episode, Status
from alerting.pipeline.context import DueBuckets, RunContext
from alerting.pipeline.explain import Explanations
from alerting.pipeline.feedback import Feedback
from alerting.pipeline.judge import JudgedMetrics, StateChange
from alerting.pipeline.slow_tables import SlowTables

PLAIN = ["value", "low", "expected", "high", "score"]
MAX_SHOWN, MAX_SHOWN_ANOMALOUS = 24, 100  # rows and columns that can still be read


def show_due(ctx: RunContext, due: list[DueBuckets]) -> pd.DataFrame:
    """One row per metric, or per group of very many: the buckets that are judged now."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for item in due:
        row = (_local(ctx, item.first), _local(ctx, item.last), str(len(item)), _note(item))
        rows.setdefault(row if len(due) > MAX_SHOWN else (*row, item.metric.name), []).append(item.metric.name)
    names = [name[0] if len(name) == 1 else f"{len(name)} metrics" for name in rows.values()]
    columns = ["first bucket", "last bucket", "buckets", "note"]
    return pd.DataFrame([row[:4] for row in rows], index=names, columns=columns)


def _note(item: DueBuckets) -> str:
    if item.changed_from:
        return f"late rows: judged again from {item.changed_from:%Y-%m-%dT%H:%MZ}"
    return "first look" if item.first_look else "" if len(item) else "nothing new: judged already"


def show_feedback(heard: tuple[list[Feedback], str]) -> pd.DataFrame:
    """One row per button that was pressed since the last run."""
    answers, trouble = heard
    rows = [[item.answer.name, item.answer.action.value, item.incident, item.said] for item in answers]
    rows += [["", "", "", trouble]] if trouble else []
    return pd.DataFrame(rows, columns=["who", "pressed", "incident", "answered"])


def show_readings(ctx: RunContext, reading: Reading) -> pd.DataFrame:
    """The last values that were read, one column per metric; NaN is a gap."""
    frame = pd.DataFrame({name: reading.series[name].tail(6) for name in list(reading.series)[:MAX_SHOWN]}).tail(6)
    frame.index = pd.Index([_local(ctx, bucket) for bucket in frame.index], name="bucket")
    frame = frame.map(_short)
    return frame.assign(**{"...": f"{len(reading.series) - MAX_SHOWN} more"}) if len(reading.series) > MAX_SHOWN else frame


def show_slow_tables(ctx: RunContext, late: SlowTables) -> pd.DataFrame:
    """As `show_verdicts`, of the metrics whose tables were late; empty where none was."""
    rows = {name: _verdict_row(ctx, name, late.judged.newest(name), late.judged, late.reading) for name in late.judged}
    return pd.DataFrame.from_dict(rows, orient="index")


def show_verdicts(ctx: RunContext, judged: JudgedMetrics, reading: Reading) -> pd.DataFrame:
    """One row per metric: its newest bucket and the seconds that reading its table and judging it took, or why it was not
    seen. Of very many those that are not normal, and some others."""
    newest = {name: judged.newest(name) for name in judged}
    rows = {name: _verdict_row(ctx, name, row, judged, reading) for name, row in newest.items()}
    rows |= {name: {"status": "missing", "why": reason} for name, reason in reading.errors.items()}
    rows |= {item.name: {"status": "", "why": "its table is slow: see below"} for item in ctx.metrics if item.name not in rows}
    known = [metric.name for metric in ctx.metrics]
    if len(known) > MAX_SHOWN:
        calm = [name for name in known if rows[name]["status"] == Status.NORMAL.value]
        known = [name for name in known if rows[name]["status"] != Status.NORMAL.value][:MAX_SHOWN_ANOMALOUS] + calm[:MAX_SHOWN]
    frame = pd.DataFrame.from_dict({name: rows[name] for name in known}, orient="index").fillna("")
    return frame.rename_axis(index=f"{len(ctx.metrics)} metrics") if len(ctx.metrics) > MAX_SHOWN else frame


def by_urgency(ctx: RunContext, judged: JudgedMetrics) -> list[Metric]:
    """The catalogue; of very many metrics first those that are not normal."""
    if len(ctx.metrics) <= MAX_SHOWN:
        return ctx.metrics
    odd = {name for name in judged if judged.newest(name)["status"] != Status.NORMAL.value}
    return sorted(ctx.metrics, key=lambda metric: metric.name not in odd)


def _verdict_row(ctx: RunContext, name: str, row: dict[str, Any], judged: JudgedMetrics, reading: Reading) -> dict[str, Any]:
    seconds = reading.seconds.get(ctx.metric(name).scan, 0.0)
    told = {"bucket": _local(ctx, row["bucket"]), "status": row["status"], **{column: _short(row[column]) for column in PLAIN}}
    return {**told, "read s": f"{seconds:.2f}", "judged s": f"{judged.tails[name].seconds:.4f}"}


def show_changes(ctx: RunContext, changes: StateChange) -> pd.DataFrame:
    """One row per event, then one per metric that is not quite well."""
    rows = [[_names(e), f"event: {e.kind.value}", _local(ctx, e.bucket), _since(ctx, e.episode)] for e in changes.events]
    rows += [[e.metric, e.state.value, "", _since(ctx, e)] for e in changes.episodes.values() if e.since or e.gap_since]
    return pd.DataFrame(rows, columns=["metric", "what", "bucket", "since"])


def show_messages(messages: list[Message]) -> str:
    """The chat as it will look, as HTML for a notebook."""
    return "\n".join(map(_shown, messages)) or "<i>Nothing to say: silence means health.</i>"


def _shown(message: Message) -> str:
    if message.photo:
        picture = base64.b64encode(message.photo).decode()
        return f'<img style="max-width:480px" alt="picture" src="data:image/png;base64,{picture}">'
    edit = "<i>edits the opening message:</i>\n" if message.edits else ""
    buttons = "\n".join(" ".join(f"[ {escape(button.text)} ]" for button in row) for row in message.buttons)
    text = f"{edit}{message.text}" + (f"\n{buttons}" if buttons else "")
    return f'<div style="white-space:pre-wrap;max-width:44em;margin:1em 0">{text}</div>'


def show_receipts(receipts: list[Receipt]) -> pd.DataFrame:
    """One row per message that was tried."""
    return pd.DataFrame([[r.key, r.state, r.reason] for r in receipts], columns=["message", "state", "why"])


def _local(ctx: RunContext, at: datetime) -> str:
    return f"{pd.Timestamp(at).tz_convert(ctx.zone):%a %Y-%m-%d %H:%M}"


def _names(event: Event) -> str:
    return ", ".join([event.metric, *(other.metric for other in event.also)])


def _since(ctx: RunContext, episode: Episode) -> str:
    since = episode.since or episode.gap_since
    return _local(ctx, since) if since else ""


def _short(value: float) -> str:
    """Four significant digits, and whole numbers whole."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def show_root_causes(explained: Explanations) -> pd.DataFrame:
    """One row per incident that was explained, or was to be."""
    causes = explained.causes.items()
    rows = [[name, c.answer, spell_segment(c.slice.elements if c.slice else ()), c.share] for name, c in causes]
    rows += [[name, "failed", why, float("nan")] for name, why in explained.errors.items()]
    rows += [[name, "still asked", "it follows as a reply", float("nan")] for name in explained.pending]
    return pd.DataFrame(rows, columns=["incident", "answer", "slice", "share"])
