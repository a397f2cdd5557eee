"""What a run's cells show: small frames to read, times in the reporting zone. Pure."""

from __future__ import annotations

import base64
from datetime import datetime
from html import escape

import pandas as pd

from alerting.model import Cause, Episode, Event, Message, Reading, Receipt
from alerting.pipeline.explaining import Explained
from alerting.pipeline.hearing import Heard
from alerting.pipeline.judging import Advance
from alerting.pipeline.timing import Connections, Due

PLAIN = ["value", "low", "expected", "high", "score"]


def show_due(to: Connections, todo: list[Due]) -> pd.DataFrame:
    """One row per metric: the buckets that are judged now."""
    rows = {i.metric.name: [_local(to, i.first), _local(to, i.last), len(i), _note(i)] for i in todo}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["first bucket", "last bucket", "buckets", "note"])


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
    frame = pd.DataFrame(reading.series).tail(6)
    frame.index = pd.Index([_local(to, bucket) for bucket in frame.index], name="bucket")
    return frame.map(_short)


def show_verdicts(to: Connections, judged: dict[str, pd.DataFrame], reading: Reading) -> pd.DataFrame:
    """One row per metric: its newest bucket, or why it was not seen."""
    newest = {name: frame.iloc[-1] for name, frame in judged.items() if len(frame)}
    rows = {
        name: {"bucket": _local(to, row.name), "status": row.status, **row[PLAIN].map(_short)} for name, row in newest.items()
    }
    rows |= {name: {"status": "missing", "why": reason} for name, reason in reading.troubles.items()}
    known = {metric.name: rows[metric.name] for metric in to.metrics if metric.name in rows}
    return pd.DataFrame.from_dict(known, orient="index").fillna("")


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
    rows = [[name, cause.answer, _written(cause), cause.share] for name, cause in explained.causes.items()]
    rows += [[name, "failed", why, float("nan")] for name, why in explained.troubles.items()]
    rows += [[name, "still asked", "it follows as a reply", float("nan")] for name in explained.pending]
    return pd.DataFrame(rows, columns=["incident", "answer", "slice", "share"])


def _written(cause: Cause) -> str:
    elements = cause.slice.elements if cause.slice else ()
    return "; ".join(" & ".join(f"{name}={value}" for name, value in element) for element in elements)
