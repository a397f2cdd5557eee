"""Open the connections that the settings name: source, metrics, state database, notifier and calendar."""

import re
import sys
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path

import pandas as pd

from alerting.catalogue import load_metrics
from alerting.event_calendar import check_calendar, public_holidays, read_calendar, read_rota
from alerting.model.clock import parse_length
from alerting.model.errors import SettingsError, SourceError, StoreError
from alerting.model.metric import Metric, Query, of_local_days, table_name
from alerting.model.protocols import HistoryCache, Notifier, Source
from alerting.model.routing import DEFAULT_DESTINATION, ROUTE_WORDS, Routes
from alerting.model.run import Progress
from alerting.notifiers.base import Console, RoutingNotifier
from alerting.pipeline.context import RunContext
from alerting.pipeline.segment_watch import segment_metrics
from alerting.settings import DEFAULT_CALENDAR, ROOT, Settings, load_settings, retired
from alerting.sources.base import BaseSource
from alerting.sources.cache import CachedSource
from alerting.store.history import HistoryReader
from alerting.store.state import StateStore

SQL = Path(__file__).parent / "sql"
JUDGE_SHARE = 0.6  # share of a cell's time limit that judging may take; thousands of new metrics are judged in several runs
WOULD_BE_SENT, PRINTED = "would have been sent", "printed, no chat is configured"
SAMPLE_APP_PERIOD = 60.0  # seconds between two additions of rows to the sample app


def connect(dry_run: bool = False, settings: Settings | None = None, now: datetime | None = None) -> RunContext:
    """Open everything that a run needs. A dry run reads the same source, keeps its state in memory and prints its messages.

    `settings`: None means those of the process. `now` (aware UTC): time at which the run starts and the rows of the sample app
    end; None means the present time. Raises SettingsError, SourceError or StoreError.
    """
    retired_note = "" if settings else retired()
    settings, now = settings or load_settings(), now or datetime.now(UTC)
    store = open_store(settings, dry_run)
    store.forget(now)
    source, metrics = open_source(settings, now, store)
    notifier, notifier_note = open_notifier(settings, dry_run)
    names = [metric.name for metric in metrics]
    events, calendar_notes = read_calendar(settings.calendar, settings.zone, names)
    holidays, holiday_notes = public_holidays(settings.holidays, settings.zone, now)
    shifts, rota_notes = read_rota(settings.oncall, settings.zone)
    source_note = "No source is configured: this is the embedded sample app. Set ALERTING_SOURCE to your ClickHouse."
    notes = [source_note if settings.source == "embedded" else "", notifier_note, retired_note]
    notes += [*calendar_notes, *holiday_notes, *rota_notes]
    chat = _context(settings, metrics, with_history_cache(source, settings, store, dry_run), store, notifier)
    return replace(
        chat,
        queries=load_queries(),
        slices=load_queries(SQL / "slices"),
        segment_metrics=segment_metrics(metrics),
        delay=timedelta(minutes=settings.delay),
        late_rows=timedelta(hours=settings.mutable),
        judge_limit=JUDGE_SHARE * settings.cell_timeout,
        started=now,
        notes=tuple(filter(None, notes)),
        calendar=tuple(sorted([*events, *holidays], key=lambda event: event.start)),
        shifts=shifts,
        escalate_after=parse_length(settings.escalate) if settings.escalate else None,
        daily=settings.daily,
        dashboard=settings.dashboard,
        run_link=settings.run,
        sent_as=WOULD_BE_SENT if dry_run else chat.sent_as,
    )


def connect_chat(settings: Settings, store: StateStore | None = None) -> RunContext:
    """Open only the state database (or take `store`) and the chat: no metrics are read. Raises SettingsError or StoreError."""
    store = store or open_store(settings)
    return _context(settings, load_catalogue(settings, store), _NoSource(), store, open_notifier(settings)[0])


def _context(settings: Settings, metrics: list[Metric], source: Source, store: StateStore, notifier: Notifier) -> RunContext:
    """Return a context with these connections and the settings that affect messages: zone, language, owner, quiet hours."""
    return RunContext(
        metrics=metrics,
        queries={},
        source=source,
        store=store,
        notifier=notifier,
        zone=settings.zone,
        language=settings.language,
        owner=settings.owner,
        pages=settings.runs_url,
        wait=time.sleep,
        timer=time.perf_counter,
        quiet=replace(settings.quiet_hours, modes={m.name: m.policy.quiet_hours for m in metrics if m.policy.quiet_hours}),
        sent_as="sent" if settings.destinations else PRINTED,
    )


class _NoSource(BaseSource):
    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        raise SourceError("no source was opened")


# The source and its metrics. Only `open_source` chooses the kind of source.


def open_source(settings: Settings, now: datetime | None = None, store: StateStore | None = None) -> tuple[Source, list[Metric]]:
    """Open the configured source. Return it and the metrics to watch in it.

    `now` (aware UTC): the time at which the rows of the sample app end; None means the present time. `store`: for a table file
    it knows the series that earlier runs saw; these are watched until they are retired. Raises SourceError, SettingsError or
    StoreError.
    """
    if not settings.has_catalogue:
        from alerting.metrics import metrics_of_table
        from alerting.sources.table import TableSource

        table = TableSource(ROOT / Path(settings.source).expanduser(), settings.zone, settings.columns, settings.file_zone)
        seen = store.watched_series(settings.watched_table) if store else ({}, {})
        table.seen = frozenset(seen[0])
        steps, phases = seen[0] | table.steps(), seen[1] | table.phases()
        if not steps:
            raise SourceError(f"{table.path} has no series: is it empty, or still being written?")
        if store and (steps, phases) != seen:
            store.watch_series(settings.watched_table, steps, phases)
        return table, _selected(metrics_of_table(steps, phases), settings)

    metrics = load_catalogue(settings)
    if settings.source == "embedded":
        return _open_sample_app(settings, now or datetime.now(UTC)), metrics

    from alerting.sources.clickhouse import ClickHouseSource

    clickhouse = ClickHouseSource(
        settings.source,
        user=settings.clickhouse_user,
        password=settings.clickhouse_password,
        database=settings.clickhouse_database,
        tables=source_tables(settings),
        timeout=settings.clickhouse_timeout,
        memory=settings.clickhouse_memory,
        ca=settings.clickhouse_ca,
    )
    return clickhouse, metrics


def _open_sample_app(settings: Settings, now: datetime) -> Source:
    """Open the sample app over <data>/app, with rows up to `now`. Raises SourceError."""
    from alerting.sources.embedded import EmbeddedSource

    app = settings.data / "app"
    source = EmbeddedSource(app, source_tables(settings))  # chDB starts while the rows are written
    just_extended = False
    with suppress(OSError):
        just_extended = 0 <= time.time() - (app / "state.json").stat().st_mtime < SAMPLE_APP_PERIOD
    if not just_extended:
        from alerting.sample.folder import extend_app

        extend_app(app, now)
    return source


def load_catalogue(settings: Settings, store: StateStore | None = None) -> list[Metric]:
    """Return the metrics to watch (`store`: see `open_source`). Raises SettingsError, and SourceError for a table file."""
    if not settings.has_catalogue:
        return open_source(settings, store=store)[1]
    metrics = load_metrics(settings.language, load_queries(), load_queries(SQL / "slices"))
    return _selected([of_local_days(metric, settings.zone) for metric in metrics], settings)


def _selected(metrics: list[Metric], settings: Settings) -> list[Metric]:
    """Return the metrics that ALERTING_METRICS names; all if it is empty. Raises SettingsError for an unknown name."""
    known = [metric.name for metric in metrics]
    words = [word for route in settings.effective_routes.routes for word in route.words]
    if unknown := [word for word in words if word not in {*ROUTE_WORDS, *known}]:
        raise SettingsError(f"ALERTING_ROUTES names {', '.join(unknown)}: there are {', '.join([*ROUTE_WORDS, *known])}")
    names = [name.strip() for name in settings.metrics.split(",") if name.strip()]
    if absent := [name for name in names if name not in known]:
        raise SettingsError(f"ALERTING_METRICS names {', '.join(absent)}: there are {', '.join(known)}")
    return [metric for metric in metrics if not names or metric.name in names]


def check_settings(settings: Settings) -> None:
    """Check the catalogue and its queries (unless the source is a table file) and the calendar. Raises SettingsError."""
    if settings.has_catalogue:
        load_catalogue(settings)
    check_calendar(settings.calendar, settings.holidays, optional=settings.calendar == DEFAULT_CALENDAR)


def load_queries(folder: Path = SQL) -> dict[str, Query]:
    """Return name of the file without .sql -> query, for each SQL file of a folder that is not hidden. Raises SettingsError."""
    queries = dict[str, Query]()
    for path in sorted(folder.glob("[!.]*.sql")):
        try:
            queries[path.stem] = Query(path.stem, path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"{path} cannot be read ({type(error).__name__}): save it as UTF-8 or move it away") from None
    return queries


def source_tables(settings: Settings) -> dict[str, str]:
    """Return name of the query -> name of the table in the source."""
    configured = {"feed_actions": settings.feed_table, "message_actions": settings.message_table}
    tables = {name: table_name(name) for name in load_queries()}
    return configured | {name: configured.get(table, table) for name, table in tables.items()}


def with_history_cache(source: Source, settings: Settings, store: StateStore, dry_run: bool) -> Source:
    """Return the source behind a cache of closed buckets, which a dry run only reads. A table file needs no cache."""
    if not source.runs_sql:
        return source
    history: HistoryCache = store
    if dry_run:
        with suppress(StoreError):  # the cache does not exist or cannot be read: read everything from the source
            history = HistoryReader(settings.state_file)
    tables = source_tables(settings)
    is_sample = settings.source == "embedded"
    place = [str(settings.data.resolve())] if is_sample else [settings.clickhouse_database, settings.clickhouse_user]
    return CachedSource(
        source,
        history,
        identity=lambda name: "|".join([settings.source, *place, tables.get(name, name)]),
        mutable=timedelta(hours=settings.mutable),
        zone=settings.zone,
        report=_print_progress,
    )


def _print_progress(line: str | Progress) -> None:
    """Print a line. In a notebook, display a Progress as an output of its own, which the runner finds by its MIME type."""
    if isinstance(line, Progress) and "ipykernel" in sys.modules:
        from IPython.display import display

        display(line)
        return
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def open_store(settings: Settings, dry_run: bool = False, routes: Routes | None = None) -> StateStore:
    """Open the state database; for a dry run one in memory, with `routes` (None: all to the console). Raises StoreError."""
    if dry_run:
        return StateStore(":memory:", routes=routes or Routes())
    store = StateStore(settings.state_file, routes=settings.effective_routes)
    if store.is_new and (day := _last_day_with_state(settings.reports)):
        store.notes.append(
            f"The state database {settings.state_file} is new, though there is a run of {day} and no backup: open "
            "incidents are not known any more and may be reported again. If it was moved, put it back."
        )
    return store


def _last_day_with_state(reports: Path) -> str:
    """Return the last day with a run that used a state database; "" if there is none.

    Failed runs that sent nothing do not count, because they may have ended before they opened it.
    """
    for runs in sorted(reports.glob("runs/*/runs.jsonl"), reverse=True):
        lines = runs.read_text(encoding="utf-8", errors="replace").splitlines()
        if any(re.search(r'"ok": (true|null)|"sent": [1-9]', line) for line in lines if "rehearsal-" not in line):
            return runs.parent.name
    return ""


def open_notifier(settings: Settings, dry_run: bool = False) -> tuple[Notifier, str]:
    """Open the destinations. Return them as one notifier, and a note if messages are only printed, else ""."""
    if dry_run:
        return Console(), "Dry run: nothing is remembered, and nobody is told."
    destinations = open_destinations(settings)
    if not settings.destinations:
        return destinations[DEFAULT_DESTINATION], destinations[DEFAULT_DESTINATION].check()
    return RoutingNotifier(destinations) if len(destinations) > 1 else destinations[DEFAULT_DESTINATION], ""


def open_destinations(settings: Settings) -> dict[str, Notifier]:
    """Return name -> notifier of each destination that is set up; only these are imported. Without a chat it has the console."""
    opened: dict[str, Notifier] = {DEFAULT_DESTINATION: Console()}
    for name in settings.destinations:
        opened[name] = import_module(f"alerting.notifiers.{name}").from_settings(settings)
    return opened
