"""What a run's cells show: small frames to read, times in the reporting zone. Pure."""

from __future__ import annotations

import base64
from datetime import datetime
from html import escape
from typing import Any

import pandas as pd

from alerting.model import Episode, Event, Message, Metric, Reading, Receipt, Status
from alerting.model.why import spell_segment
from alerting.pipeline.explaining import Explained
from alerting.pipeline.hearing import Heard
from alerting.pipeline.judged import Judged
from alerting.pipeline.judging import Advance
from alerting.pipeline.slow import Slow
from alerting.pipeline.timing import Connections, Due

PLAIN = ["value", "low", "expected", "high", "score"]
MANY, ODD = 24, 100  # rows and columns that can still be read


def show_due(to: Connections, todo: list[Due]) -> pd.DataFrame:
    """One row per metric, or per group of very many: the buckets that are judged now."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for item in todo:
        row = (_local(to, item.first), _local(to, item.last), str(len(item)), _note(item))
        rows.setdefault(row if len(todo) > MANY else (*row, item.metric.name), []).append(item.metric.name)
    names = [name[0] if len(name) == 1 else f"{len(name)} metrics" for name in rows.values()]
    columns = ["first bucket", "last bucket", "buckets", "note"]
    return pd.DataFrame([row[:4] for row in rows], index=names, columns=columns)


def _note(item: Due) -> str:
    if item.again:
        return f"late rows: judged again from {item.again:%Y-%m-%dT%H:%MZ}"
    return "first look" if item.fresh else "" if len(item) else "nothing new: judged already"


def show_heard(heard: tuple[list[Heard], str]) -> pd.DataFrame:
    """One row per button that was pressed since the last run."""
    answers, trouble = heard
    rows = [[item.answer.who, item.answer.action.value, item.incident, item.said] for item in answers]
    rows += [["", "", "", trouble]] if trouble else []
    return pd.DataFrame(rows, columns=["who", "pressed", "incident", "answered"])


def show_read(to: Connections, reading: Reading) -> pd.DataFrame:
    """The last values that were read, one column per metric; NaN is a gap."""
    frame = pd.DataFrame({name: reading.series[name].tail(6) for name in list(reading.series)[:MANY]}).tail(6)
    frame.index = pd.Index([_local(to, bucket) for bucket in frame.index], name="bucket")
    frame = frame.map(_short)
    return frame.assign(**{"...": f"{len(reading.series) - MANY} more"}) if len(reading.series) > MANY else frame


def show_slow(to: Connections, late: Slow) -> pd.DataFrame:
    """As `show_verdicts`, of the metrics whose tables were late; empty where none was."""
    rows = {name: _verdict_row(to, name, late.judged.newest(name), late.judged, late.reading) for name in late.judged}
    return pd.DataFrame.from_dict(rows, orient="index")


def show_verdicts(to: Connections, judged: Judged, reading: Reading) -> pd.DataFrame:
    """One row per metric: its newest bucket and the seconds that reading its table and judging it took, or why it was not
    seen. Of very many those that are not normal, and some others."""
    newest = {name: judged.newest(name) for name in judged}
    rows = {name: _verdict_row(to, name, row, judged, reading) for name, row in newest.items()}
    rows |= {name: {"status": "missing", "why": reason} for name, reason in reading.troubles.items()}
    rows |= {item.name: {"status": "", "why": "its table is slow: see below"} for item in to.metrics if item.name not in rows}
    known = [metric.name for metric in to.metrics]
    if len(known) > MANY:
        calm = [name for name in known if rows[name]["status"] == Status.NORMAL.value]
        known = [name for name in known if rows[name]["status"] != Status.NORMAL.value][:ODD] + calm[:MANY]
    frame = pd.DataFrame.from_dict({name: rows[name] for name in known}, orient="index").fillna("")
    return frame.rename_axis(index=f"{len(to.metrics)} metrics") if len(to.metrics) > MANY else frame


def foremost(to: Connections, judged: Judged) -> list[Metric]:
    """The catalogue; of very many metrics first those that are not normal."""
    if len(to.metrics) <= MANY:
        return to.metrics
    odd = {name for name in judged if judged.newest(name)["status"] != Status.NORMAL.value}
    return sorted(to.metrics, key=lambda metric: metric.name not in odd)


def _verdict_row(to: Connections, name: str, row: dict[str, Any], judged: Judged, reading: Reading) -> dict[str, Any]:
    seconds = reading.seconds.get(to.metric(name).scan, 0.0)
    told = {"bucket": _local(to, row["bucket"]), "status": row["status"], **{column: _short(row[column]) for column in PLAIN}}
    return {**told, "read s": f"{seconds:.2f}", "judged s": f"{judged.tails[name].seconds:.4f}"}


def show_changes(to: Connections, changes: Advance) -> pd.DataFrame:
    """One row per event, then one per metric that is not quite well."""
    rows = [[_names(e), f"event: {e.kind.value}", _local(to, e.bucket), _since(to, e.episode)] for e in changes.events]
    rows += [[e.metric, e.state.value, "", _since(to, e)] for e in changes.episodes.values() if e.since or e.gap]
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


def _local(to: Connections, at: datetime) -> str:
    return f"{pd.Timestamp(at).tz_convert(to.zone):%a %Y-%m-%d %H:%M}"


def _names(event: Event) -> str:
    return ", ".join([event.metric, *(other.metric for other in event.also)])


def _since(to: Connections, episode: Episode) -> str:
    since = episode.since or episode.gap
    return _local(to, since) if since else ""


def _short(value: float) -> str:
    """Four significant digits, and whole numbers whole."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def show_causes(explained: Explained) -> pd.DataFrame:
    """One row per incident that was explained, or was to be."""
    causes = explained.causes.items()
    rows = [[name, c.answer, spell_segment(c.slice.elements if c.slice else ()), c.share] for name, c in causes]
    rows += [[name, "failed", why, float("nan")] for name, why in explained.troubles.items()]
    rows += [[name, "still asked", "it follows as a reply", float("nan")] for name in explained.pending]
    return pd.DataFrame(rows, columns=["incident", "answer", "slice", "share"])
