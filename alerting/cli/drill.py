"""`make drill`: a fake incident on its way from the source to the chat, marked as a drill, and a check that it arrived."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import pandas as pd

from alerting import connections, pipeline
from alerting.connections import open_notifier, open_store
from alerting.messages.system import as_drill
from alerting.model.errors import AlertingError, SettingsError
from alerting.model.incident import Event
from alerting.model.message import Message, Receipt
from alerting.model.metric import Query
from alerting.model.protocols import Commit, Source
from alerting.model.routing import destination_of
from alerting.model.verdict import EventKind
from alerting.pipeline.advance import PreviousState, advance_state
from alerting.pipeline.context import RunContext
from alerting.pipeline.deliver import send_waiting
from alerting.settings import effective_routes, load_settings
from alerting.sources.base import BaseSource

LEFT = 0.2  # share of its rows that the newest bucket of the drilled table keeps
DrillStep = tuple[bool, str, str]


@dataclass(frozen=True)
class DrillSource(BaseSource):
    """The source, but for the newest bucket of one query, which has lost most of its rows."""

    source: Source
    query: str

    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        frame = self.source.fetch(query, start, end)
        if query.name != self.query or not len(frame):
            return frame
        counted = [name for name in frame.columns if name != "newest"]
        frame = frame.astype(dict.fromkeys(counted, float))
        frame.loc[frame.index[-1], counted] = (frame[counted].iloc[-1] * LEFT).round()
        return frame

    def close(self) -> None:
        self.source.close()


def drill(metric: str = "") -> int:
    """Read, judge, tell by the default route and check; prints a line a step. Nothing of it reaches the real memory.

    Exit code 1 when it did not arrive. Raises SettingsError for a metric that is not watched.
    """
    given = load_settings()
    rehearsal = connections.connect(dry_run=True, settings=given)
    known = {m.name: m.query for m in rehearsal.metrics}
    if metric and metric not in known:
        raise SettingsError(f"no metric {metric!r}: there are {', '.join(known)}")
    query = known[metric] if metric else rehearsal.metrics[0].query
    ctx = replace(
        rehearsal,
        metrics=[m for m in rehearsal.metrics if m.query == query],
        source=DrillSource(rehearsal.source, query),
        store=open_store(given, dry_run=True, routes=effective_routes(vars(given)).plain),
        notifier=open_notifier(given)[0],
        run_link="",
        daily="",
    )
    well = True
    try:
        for passed, what, said in _steps(ctx):
            well = well and passed
            sys.stdout.write(f"{'ok ' if passed else 'BAD'} {what}: {said}\n")
    finally:
        ctx.source.close()
    sys.stdout.write("the drill arrived\n" if well else "THE DRILL DID NOT ARRIVE\n")
    return 0 if well else 1


def _steps(ctx: RunContext) -> Iterator[DrillStep]:
    now = pipeline.clock()
    due = pipeline.due(ctx, now)
    reading = pipeline.read(ctx, due)
    troubles = "; ".join(dict.fromkeys(reading.errors.values()))
    yield not troubles, "source", troubles or f"{len(reading.series)} metrics read, the newest bucket cut to {LEFT:.0%}"
    judged = pipeline.judge(ctx, due, reading)
    last = max((verdict.bucket for verdict in judged.verdicts), default=now)  # what really goes on is not the drill's
    drilled = [verdict for verdict in judged.verdicts if verdict.bucket == last]
    changes = advance_state(due, drilled, PreviousState(ctx.metrics))
    events = [event for event in changes.events if event.kind is EventKind.OPENED]
    names = ", ".join(name for event in events for name in _names(event))
    yield bool(events), "judged", f"anomalous: {names}" if events else "nothing was found anomalous: is the newest bucket empty?"
    made = pipeline.compose(ctx, replace(changes, events=events[:1]), judged, now)
    told = [_marked(message, ctx.language) for message in made if message.kind is not EventKind.CAUGHT_UP]
    ctx.store.commit(Commit(messages=told), now)
    try:
        receipts = send_waiting(ctx.store, ctx.notifier, now, ctx.wait)
    except AlertingError as error:
        yield False, "told", str(error)
        return
    for receipt in receipts:
        arrived = receipt.state == "sent" and bool(receipt.message_id)
        yield (
            arrived,
            receipt.key,
            f"accepted as message {receipt.message_id}" if arrived else f"{receipt.state}: {receipt.reason}",
        )
    yield from _arrived(receipts, len(told))


def _arrived(receipts: Sequence[Receipt], told: int) -> Iterator[DrillStep]:
    """What each destination has accepted."""
    states: dict[str, list[str]] = {}
    for receipt in receipts:
        states.setdefault(destination_of(receipt.key), []).append(receipt.state)
    for place, all_sent in states.items():
        sent = all_sent.count("sent")
        yield sent == told, "arrived", f"{sent} of {told} messages at {place}"
    if not states:
        yield False, "arrived", "nothing was told"


def _marked(message: Message, language: str) -> Message:
    return replace(as_drill(message, language), buttons=(), incident="")


def _names(event: Event) -> list[str]:
    return [event.metric, *(other.metric for other in event.also)]
