"""`make drill`: send a fake incident from the source by the default route, marked as a drill, and check that it arrived.

The state database is not changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import click
import pandas as pd

from alerting import connections, pipeline
from alerting.cli.doctor import CheckResult, print_results
from alerting.messages.compose import as_drill
from alerting.model.errors import AlertingError, SettingsError
from alerting.model.message import Receipt
from alerting.model.metric import Query, unknown_metrics
from alerting.model.protocols import Commit, Source
from alerting.model.routing import destination_of
from alerting.model.verdict import EventKind
from alerting.pipeline.advance import PreviousState, advance_state
from alerting.pipeline.context import RunContext
from alerting.pipeline.deliver import send_waiting
from alerting.settings import load_settings
from alerting.sources.base import BaseSource

REMAINING_ROWS = 0.2  # share of rows that the newest bucket of the drilled table keeps


@dataclass(frozen=True)
class DrillSource(BaseSource):
    """The source, with most rows removed from the newest bucket of one query."""

    source: Source
    query: str

    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        frame = self.source.fetch(query, start, end)
        if query.name != self.query or not len(frame):
            return frame
        counted = [name for name in frame.columns if name != "newest"]
        frame = frame.astype(dict.fromkeys(counted, float))
        frame.loc[frame.index[-1], counted] = (frame[counted].iloc[-1] * REMAINING_ROWS).round()
        return frame

    def close(self) -> None:
        self.source.close()


@click.command()
@click.option("--metric", default="", metavar="NAME", help="Use the table of this metric (default: the first metric).")
def drill(metric: str) -> int:
    """Send a fake incident as a drill; check that it arrives."""
    settings = load_settings()
    rehearsal = connections.connect(dry_run=True, settings=settings)
    queries = {m.name: m.query for m in rehearsal.metrics}
    if metric and (error := unknown_metrics([metric], queries)):
        raise SettingsError(error)
    query = queries[metric] if metric else rehearsal.metrics[0].query
    ctx = replace(
        rehearsal,
        metrics=[m for m in rehearsal.metrics if m.query == query],
        source=DrillSource(rehearsal.source, query),
        store=connections.open_store(settings, dry_run=True, routes=settings.effective_routes.plain),
        notifier=connections.open_notifier(settings)[0],
        run_link="",
        daily="",
        sent_as="sent" if settings.destinations else connections.PRINTED,
    )
    try:
        arrived = print_results(_steps(ctx))
    finally:
        ctx.source.close()
    if arrived and not settings.destinations:
        click.echo("NOTHING WAS SENT: no chat is configured, the messages are only printed. `make doctor` says what to set")
        return 0
    click.echo("the drill arrived" if arrived else "THE DRILL DID NOT ARRIVE")
    return 0 if arrived else 1


def _steps(ctx: RunContext) -> Iterator[CheckResult]:
    """Run the steps of the alert notebook on the DrillSource, and yield the result of each."""
    now = pipeline.clock()
    due = pipeline.due(ctx, now)
    reading = pipeline.read(ctx, due)
    errors = "; ".join(dict.fromkeys(reading.errors.values()))
    read = f"{len(reading.series)} metrics read, the newest bucket cut to {REMAINING_ROWS:.0%}"
    yield CheckResult("source", not errors, errors or read)

    # Use only the newest bucket: a real incident in earlier buckets must not become part of the drill.
    judged = pipeline.judge(ctx, due, reading)
    last = max((verdict.bucket for verdict in judged.verdicts), default=now)
    changes = advance_state(due, [v for v in judged.verdicts if v.bucket == last], PreviousState(ctx.metrics))
    events = [event for event in changes.events if event.kind is EventKind.OPENED]
    names = ", ".join(member.metric for event in events for member in (event, *event.also))
    found = f"anomalous: {names}" if events else "nothing was found anomalous: is the newest bucket empty?"
    yield CheckResult("judged", bool(events), found)

    messages = [
        replace(as_drill(message, ctx.language), buttons=(), incident="")
        for message in pipeline.compose(ctx, replace(changes, events=events[:1]), judged, now)
        if message.kind is not EventKind.CAUGHT_UP
    ]
    ctx.store.commit(Commit(messages=messages), now)
    try:
        receipts = send_waiting(ctx.store, ctx.notifier, now, ctx.wait, ctx.timer)
    except AlertingError as error:
        yield CheckResult("sent", False, str(error))
        return
    yield from _arrivals(receipts, len(messages), ctx.sent_as)


def _arrivals(receipts: list[Receipt], count: int, sent_as: str) -> Iterator[CheckResult]:
    """Yield a step for each receipt, then a step for each destination with the number of messages, of `count`, it accepted."""
    for receipt in receipts:
        ok = receipt.state == "sent" and bool(receipt.message_id)
        accepted = f"accepted as message {receipt.message_id}" if sent_as == "sent" else sent_as
        yield CheckResult(receipt.key, ok, accepted if ok else f"{receipt.state}: {receipt.reason}")
    if sent_as != "sent":
        yield CheckResult("printed", bool(receipts), f"{len(receipts)} messages {sent_as}")
        return
    sent = Counter(destination_of(receipt.key) for receipt in receipts if receipt.state == "sent")
    for destination in dict.fromkeys(destination_of(receipt.key) for receipt in receipts):
        details = f"{sent[destination]} of {count} messages at {destination}"
        yield CheckResult("arrived", sent[destination] == count, details)
    if not receipts:
        yield CheckResult("arrived", False, "nothing was sent")
