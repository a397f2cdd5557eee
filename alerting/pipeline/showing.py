"""What a run's cells show: small frames to read. Pure."""

from __future__ import annotations

import pandas as pd

from alerting.model import Message, Reading, Receipt
from alerting.pipeline.judging import Advance
from alerting.pipeline.timing import Connections, Due

PLAIN = ["value", "low", "expected", "high", "score"]


def show_due(todo: list[Due]) -> pd.DataFrame:
    """One row per metric: the buckets that are judged now."""
    rows = {i.metric.name: [i.first, i.last, len(i), "first look" if i.fresh else ""] for i in todo}
    return pd.DataFrame.from_dict(rows, orient="index", columns=["first", "last", "buckets", "note"])


def show_read(reading: Reading) -> pd.DataFrame:
    """The last values that were read, one column per metric."""
    return pd.DataFrame(reading.series).tail(6) if reading.series else pd.DataFrame(columns=["nothing could be read"])


def show_verdicts(to: Connections, judged: dict[str, pd.DataFrame], reading: Reading) -> pd.DataFrame:
    """One row per metric: its newest bucket, or why it was not seen."""
    newest = {name: frame.iloc[-1] for name, frame in judged.items()}
    rows = {name: {"bucket": row.name, "status": row.status, **row[PLAIN]} for name, row in newest.items()}
    rows |= {name: {"status": "missing", "why": reason} for name, reason in reading.troubles.items()}
    order = [metric.name for metric in to.metrics if metric.name in rows]
    return pd.DataFrame.from_dict({name: rows[name] for name in order}, orient="index").round(4)


def show_changes(changes: Advance) -> pd.DataFrame:
    """One row per event, then one per metric that is not quite well."""
    rows = [[e.metric, f"event: {e.kind.value}", e.bucket, e.verdict.score, e.episode.since] for e in changes.events]
    rows += [[e.metric, e.state.value, None, None, e.since or e.gap] for e in changes.episodes.values() if e.since or e.gap]
    return pd.DataFrame(rows, columns=["metric", "what", "bucket", "score", "since"])


def show_messages(messages: list[Message]) -> str:
    """The chat as it will look, as HTML for a notebook."""
    import base64

    parts = []
    for message in messages:
        if message.photo:
            picture = base64.b64encode(message.photo).decode()
            parts.append(f'<img style="max-width:360px" alt="picture" src="data:image/png;base64,{picture}">')
        else:
            parts.append(f'<div style="white-space:pre-wrap;max-width:44em;margin:1em 0">{message.text}</div>')
    return "\n".join(parts) or "<i>Nothing to say: silence means health.</i>"


def show_receipts(receipts: list[Receipt]) -> pd.DataFrame:
    """One row per message that was tried."""
    return pd.DataFrame([[r.key, r.state, r.reason] for r in receipts], columns=["message", "state", "why"])
