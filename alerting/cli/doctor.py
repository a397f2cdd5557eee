"""`python -m alerting doctor`: is everything there that a run needs, and what to do about each thing that is not."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from alerting.connections import load_queries, open_notifier, open_source, open_store
from alerting.model.errors import AlertingError
from alerting.model.metric import Metric, Query
from alerting.model.protocols import Source
from alerting.model.routing import DEFAULT_DESTINATION
from alerting.notifiers.routing import open_destinations
from alerting.settings import Settings, configured_destinations, effective_routes

SPACE = 200  # MB a week of runs may need
DRIFT = timedelta(minutes=1)
NEEDED = {  # columns that the queries and the slices use
    "feed_actions": ["user_id", "post_id", "action", "time", "gender", "age", "country", "city", "os", "source", "exp_group"],
    "message_actions": ["user_id", "reciever_id", "time", "source", "exp_group", "gender", "age", "country", "city", "os"],
}


@dataclass(frozen=True)
class CheckResult:
    """One line of the doctor's answer."""

    what: str
    well: bool
    said: str


def examine(settings: Settings) -> Iterator[CheckResult]:
    """The checks, one after the other; none keeps the next from being made."""
    yield from _folders(settings)
    yield _check("memory", lambda: _memory(settings))
    yield from _source(settings)
    yield from _destinations(settings)


def _check(what: str, ask: Callable[[], str]) -> CheckResult:
    try:
        return CheckResult(what, True, ask())
    except AlertingError as error:
        return CheckResult(what, False, str(error))


def _folders(settings: Settings) -> Iterator[CheckResult]:
    for name, folder in (("data", settings.data), ("reports", settings.reports)):
        yield _check(f"folder {name}", partial(_writable, folder, name))


def _writable(folder: Path, name: str) -> str:
    advice = f"let user {os.getuid()} write there, or set ALERTING_{name.upper()} to another folder"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free / 1e6
    except OSError as error:
        raise AlertingError(f"{folder} cannot be written ({error.strerror}): {advice}") from None
    if free < SPACE:
        raise AlertingError(f"{folder} has {free:.0f} MB left: free at least {SPACE} MB, or run `make prune`")
    return f"{folder} is writable, {free / 1000:.1f} GB free"


def _memory(settings: Settings) -> str:
    store = open_store(settings)
    if store.notes:
        raise AlertingError("; ".join(store.notes))
    return f"{settings.data / 'alerts.sqlite'} is in order"


def _source(settings: Settings) -> Iterator[CheckResult]:
    try:
        source, metrics = open_source(settings)
    except AlertingError as error:
        yield CheckResult("source", False, str(error))
        return
    yield CheckResult("source", True, settings.source)
    if settings.source.startswith("http"):  # any other source is on this machine
        yield _check("clock", lambda: _clock(source.now()))
    for query in dict.fromkeys(metric.table for metric in metrics if metric.table in NEEDED and source.runs_sql):
        yield _check(f"table {query}", partial(_columns, source, query))
    yield _check("newest rows", lambda: _newest(source, metrics))


def _clock(server: datetime) -> str:
    off = abs(server - datetime.now(UTC))
    if off > DRIFT:
        raise AlertingError(f"the server's clock and this machine's differ by {off}: set both, or buckets are judged too early")
    return "the server's clock and this machine's agree"


def _columns(source: Source, query: str) -> str:
    found = source.columns(query)
    absent = [name for name in NEEDED[query] if name not in found]
    if absent:
        raise AlertingError(f"columns {', '.join(absent)} are not in the table of {query}: it has {', '.join(found)}")
    return f"{len(NEEDED[query])} columns are there"


def _newest(source: Source, metrics: list[Metric]) -> str:
    """Whether each query gives rows of the last day; an empty table is said, since nothing else would."""
    now, sql, said = datetime.now(UTC).replace(minute=0, second=0, microsecond=0), load_queries(), []
    for query, step in dict.fromkeys((metric.query, metric.step) for metric in metrics):
        text = sql[query].sql if query in sql else ""
        rows = source.fetch(Query(query, text, step), now - max(timedelta(days=1), 2 * step), now + timedelta(hours=1))
        said.append(f"{query}: {rows.index[-1]:%Y-%m-%d %H:%MZ}" if len(rows) else f"{query}: none within a day")
    return ", ".join(said[:8]) + (f" and {len(said) - 8} more" if len(said) > 8 else "")


def _destinations(settings: Settings) -> Iterator[CheckResult]:
    """Each that is set up, without sending anything; and whether a route leads there."""
    _, note = open_notifier(settings)
    if note:
        yield CheckResult("chat", True, note)
    places, given = open_destinations(settings), vars(settings)
    for place in configured_destinations(given):
        yield _check("chat" if place == DEFAULT_DESTINATION else place, places[place].check)
        if place not in effective_routes(given).places:
            yield CheckResult(place, False, f"no route leads there: name {place} in ALERTING_ROUTES")
