"""Records that tests of the store write."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alerting.model.incident import Incident, Member
from alerting.model.message import Message, Receipt
from alerting.model.protocols import Commit
from alerting.model.verdict import Episode, EventKind, Status, Verdict

ROOT = Path(__file__).resolve().parent.parent
AT = datetime(2026, 11, 20, 12, 15, tzinfo=UTC)
STEP, HOUR, DAY = timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)
EVER = datetime(1, 1, 1, tzinfo=UTC)
PNG = b"\x89PNG picture"


def verdict(metric="views", bucket=AT, value=40.0):
    return Verdict(metric, bucket, Status.ANOMALOUS, value, 90.0, 100.0, 110.0, -6.0, usual=98.0)


def text(key, kind=EventKind.OPENED, bucket=AT):
    return Message(key, kind, "views", bucket, f"text of {key}")


def picture(key, reply_to):
    return Message(key, EventKind.OPENED, "views", AT, "caption", PNG, reply_to)


def edit(key, target, said="changed", **rest):
    return Message(key, EventKind.WORSENED, "views", AT, said, edits=target, **rest)


def reply(key, to):
    return replace(text(key), reply_to=to)


def incident(id="i", opened=AT, **rest):
    return Incident(id, opened, (Member("views", opened, opened, verdict()), Member("ctr", opened, AT, verdict("ctr"))), **rest)


def remember(store, *messages, at=None, **rest):
    store.commit(Commit(messages=messages, **rest), at)


def fill(store, buckets=300):
    """Enough for a file of many pages."""
    remember(
        store,
        text("a"),
        picture("b", "a"),
        verdicts=[verdict(bucket=AT + i * STEP) for i in range(buckets)],
        episodes=[Episode("views")],
    )


def keys(store, at=None):
    return [message.key for message in store.waiting(at)]


def send(store, *names, at=AT):
    for name in names:
        store.record(Receipt(name, "sent", message_id=f"id of {name}"), at)


def refuse(store, *names):
    for name in names:
        store.record(Receipt(name, "refused", "why not"), AT)
