"""Commands that check the setup and leave the state as it is: `doctor` finds what a run lacks, `drill` sends a fake incident."""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import click
import pandas as pd

from alerting import connections, pipeline
from alerting.connections import SQL, load_queries, open_destinations, open_source, open_store
from alerting.messages.compose import as_drill
from alerting.model.clock import DAY
from alerting.model.errors import AlertingError, SettingsError, SourceError
from alerting.model.message import Receipt
from alerting.model.metric import Metric, Query, unknown_metrics
from alerting.model.protocols import Commit, Source
from alerting.model.routing import DEFAULT_DESTINATION, destination_of
from alerting.model.tables import bucket_text
from alerting.model.verdict import EventKind
from alerting.pipeline.advance import PreviousState, advance_state
from alerting.pipeline.context import RunContext
from alerting.pipeline.deliver import send_waiting
from alerting.settings import Settings, load_settings
from alerting.sources.base import BaseSource

MIN_FREE_SPACE = 200  # MB: as much as a week of runs may need
MAX_CLOCK_DIFFERENCE = timedelta(minutes=1)
MAX_QUERIES_LISTED = 8
REMAINING_ROWS = 0.2  # share of rows that is left in the newest bucket for the fake incident


@dataclass(frozen=True)
class CheckResult:
    """The result of one check. `details`: the finding and, if the check failed, how to fix it."""

    name: str
    ok: bool
    details: str


@click.command()
def doctor() -> int:
    """Check the setup and say how to fix what is wrong. Checks database, tables, columns, chat, disk, clock and folders."""
    return 0 if print_results(examine(load_settings())) else 1


def print_results(results: Iterable[CheckResult]) -> bool:
    """Print a line for each result when it comes. Return whether all checks passed."""
    passed = True
    for result in results:
        click.echo(f"{'ok ' if result.ok else 'BAD'} {result.name}: {result.details}")
        passed = passed and result.ok
    return passed


def examine(settings: Settings) -> Iterator[CheckResult]:
    """Run the checks one after the other and yield their results. The next check runs even if one fails."""
    for name, folder in (("data", settings.data), ("reports", settings.reports)):
        yield _check(f"folder {name}", partial(_check_folder, folder, name))
    yield _check("memory", partial(_check_state, settings))
    yield from _check_source(settings)
    yield from _check_destinations(settings)


def _check(name: str, function: Callable[[], str]) -> CheckResult:
    """Run a check and return its result. `function`: returns the finding, or raises AlertingError if the check fails."""
    try:
        return CheckResult(name, True, function())
    except AlertingError as error:
        return CheckResult(name, False, str(error))


def _check_folder(folder: Path, name: str) -> str:
    advice = f"let user {os.getuid()} write there, or set ALERTING_{name.upper()} to another folder"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free / 1e6
    except OSError as error:
        raise AlertingError(f"{folder} cannot be written ({error.strerror}): {advice}") from None
    if free < MIN_FREE_SPACE:
        raise AlertingError(f"{folder} has {free:.0f} MB left: free at least {MIN_FREE_SPACE} MB, or run `make prune`")
    return f"{folder} is writable, {free / 1000:.1f} GB free"


def _check_state(settings: Settings) -> str:
    store = open_store(settings)
    if store.notes:
        raise AlertingError("; ".join(store.notes))
    return f"{settings.state_file} is in order"


def _check_source(settings: Settings) -> Iterator[CheckResult]:
    try:
        source, metrics = open_source(settings)
        now = source.now()
    except AlertingError as error:  # no other check could pass
        yield CheckResult("source", False, str(error))
        return
    yield CheckResult("source", True, "\n    ".join([settings.source, *source.notes]))
    if settings.source.startswith("http"):  # any other source is on this machine and uses the same clock
        yield _check("clock", lambda: _check_clock(now))
    if source.runs_sql:
        queries, slices = load_queries(), load_queries(SQL / "slices")
        for table in dict.fromkeys(metric.table for metric in metrics):
            used = {metric.query: metric for metric in metrics if metric.table == table}
            checked = [
                metric.scan_query(found[name].sql, settings.zone)
                for name, metric in used.items()
                for found in (queries, slices)
                if name in found
            ]
            yield _check(f"table {table}", partial(_check_queries, source, checked))
    yield _check("newest rows", partial(_check_newest_rows, source, metrics, settings.zone))


def _check_clock(server: datetime) -> str:
    apart = abs(server - datetime.now(UTC))
    if apart > MAX_CLOCK_DIFFERENCE:
        raise AlertingError(f"the server's clock and this machine's differ by {apart}: set both, or buckets are judged too early")
    return "the server's clock and this machine's agree"


def _check_queries(source: Source, queries: list[Query]) -> str:
    """Run the queries of a table and of its segments for one bucket, which shows absent columns. Return how many they are."""
    now = datetime.now(UTC)
    for query in queries:
        try:
            source.rows(query, now - query.step, now)
        except SourceError as error:
            advice = "" if error.passing else "; `python -m alerting init` proposes settings and queries for other tables"
            raise AlertingError(f"{error}{advice}") from None
    return f"{len(queries)} {'query runs' if len(queries) == 1 else 'queries run'}"


def _check_newest_rows(source: Source, metrics: list[Metric], zone: str) -> str:
    """Return the newest bucket of each query, in local time of `zone`. No rows are no failure: the table may be new."""
    now, queries, newest = datetime.now(UTC).replace(minute=0, second=0, microsecond=0), load_queries(), []
    ends = source.ends()
    for metric in {metric.scan: metric for metric in metrics}.values():
        name, step = metric.query, metric.step
        query = metric.scan_query(queries[name].sql if name in queries else "", zone)
        rows = source.fetch(query, now - max(DAY, 2 * step), now + timedelta(hours=1))
        last = f"{bucket_text(ends[name] - step, step, zone)}, " if name in ends else ""
        newest.append(f"{name}: {bucket_text(rows.index[-1], step, zone)}" if len(rows) else f"{name}: {last}none within a day")
    more = len(newest) - MAX_QUERIES_LISTED
    return ", ".join(newest[:MAX_QUERIES_LISTED]) + (f" and {more} more" if more > 0 else "") + f" ({zone})"


def _check_destinations(settings: Settings) -> Iterator[CheckResult]:
    """Check each configured destination without sending anything, and check that a route leads to it."""
    destinations, routes = open_destinations(settings), settings.effective_routes
    for name in settings.destinations or (DEFAULT_DESTINATION,):  # the default one is the console then
        yield _check("chat" if name == DEFAULT_DESTINATION else name, destinations[name].check)
        if name not in routes.places:
            yield CheckResult(name, False, f"no route leads there: name {name} in ALERTING_ROUTES")


@dataclass(frozen=True)
class DrillSource(BaseSource):
    """A source like `source`, but with most rows removed from the newest bucket of `query`."""

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
    with closing(rehearsal.source):
        arrived = print_results(_steps(ctx))
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
    metrics = f"{len(reading.series)} metric{'' if len(reading.series) == 1 else 's'}"
    read = f"{metrics} read, the newest bucket cut to {REMAINING_ROWS:.0%}"
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
    """Yield a result for each receipt, then one for each destination: how many of the `count` messages it accepted."""
    for receipt in receipts:
        ok = receipt.state == "sent" and bool(receipt.message_id)
        accepted = f"accepted as message {receipt.message_id}" if sent_as == "sent" else sent_as
        yield CheckResult(receipt.key, ok, accepted if ok else f"{receipt.state}: {receipt.reason}")
    if sent_as != "sent":
        yield CheckResult("printed", bool(receipts), f"{len(receipts)} message{'' if len(receipts) == 1 else 's'} {sent_as}")
        return
    sent = Counter(destination_of(receipt.key) for receipt in receipts if receipt.state == "sent")
    for destination in dict.fromkeys(destination_of(receipt.key) for receipt in receipts):
        details = f"{sent[destination]} of {count} messages at {destination}"
        yield CheckResult("arrived", sent[destination] == count, details)
    if not receipts:
        yield CheckResult("arrived", False, "nothing was sent")
