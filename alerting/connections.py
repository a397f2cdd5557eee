"""Everything a run is handed, and the parts of it that others ask for."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from alerting import settings as settings_module
from alerting.catalogue import load_metrics
from alerting.event_calendar import load_calendar
from alerting.model.errors import SettingsError, SourceError, StoreError
from alerting.model.metric import Metric, Query
from alerting.model.protocols import HistoryCache, Notifier, Source
from alerting.model.routing import DEFAULT_DESTINATION, ROUTE_WORDS, Routes, unknown_words
from alerting.model.run import Progress
from alerting.pipeline.context import RunContext
from alerting.pipeline.segment_watch import segment_metrics
from alerting.settings import ROOT, Settings, configured_destinations, effective_routes, load_settings
from alerting.sources.base import BaseSource

if TYPE_CHECKING:
    import pandas as pd

    from alerting.store.state import StateStore


def connect(dry_run: bool = False, settings: Settings | None = None, now: datetime | None = None) -> RunContext:
    """Everything a run needs. A dry run reads the same source, and neither remembers anything nor tells anybody.

    `now`: the moment until which the sample app lives on, and that the run is said to have started at; none: the clock's.
    Raises SettingsError, SourceError or StoreError.
    """
    ignored = "" if settings else settings_module.retired()
    settings, now = settings or load_settings(), now or datetime.now(UTC)
    source, metrics = open_source(settings, now)
    store = open_store(settings, dry_run)
    store.forget(now)
    source = with_history_cache(source, settings, store, dry_run)
    notifier, note = open_notifier(settings, dry_run)
    names = [metric.name for metric in metrics]
    known, odd = load_calendar(settings.calendar, settings.zone, names, settings.holidays, now)
    return RunContext(
        metrics=metrics,
        queries=load_queries(),
        source=source,
        store=store,
        notifier=notifier,
        zone=settings.zone,
        language=settings.language,
        delay=timedelta(minutes=settings.delay),
        dashboard=settings.dashboard,
        owner=settings.owner,
        run_link=settings.run,
        wait=time.sleep,
        timer=time.perf_counter,
        notes=tuple(filter(None, [source_note(settings), note, ignored, *odd])),
        late_rows=timedelta(hours=settings.mutable),
        calendar=known,
        started=now,
        daily=settings.daily,
        slices=load_queries(SQL / "slices"),
        segment_metrics=segment_metrics(metrics),
    )


def connect_chat(settings: Settings) -> RunContext:
    """Memory and chat only, for who does not read metrics. Raises SettingsError, StoreError."""
    return RunContext(
        metrics=load_catalogue(settings),
        queries={},
        source=_NoSource(),
        store=open_store(settings),
        notifier=open_notifier(settings)[0],
        zone=settings.zone,
        language=settings.language,
        owner=settings.owner,
        wait=time.sleep,
    )


class _NoSource(BaseSource):
    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        raise SourceError("no source was opened")


def open_store(settings: Settings, dry_run: bool = False, routes: Routes | None = None) -> StateStore:
    """The memory; for a dry run an empty one that is gone afterwards, and keeps what is told for the console (or for where
    `routes` lead). Raises StoreError."""
    from alerting.store.per_destination import PerDestinationStore

    if dry_run:
        return PerDestinationStore(":memory:", routes)
    return PerDestinationStore(settings.data / STATE_FILE, effective_routes(vars(settings)))


def open_notifier(settings: Settings, dry_run: bool = False) -> tuple[Notifier, str]:
    """Where messages go, and a note when nobody is there."""
    from alerting.notifiers.console import Console
    from alerting.notifiers.routing import RoutingNotifier, open_destinations

    if dry_run:
        return Console(), "Dry run: nothing is remembered, and nobody is told."
    note = "No chat is configured: messages are printed. Set ALERTING_TELEGRAM_TOKEN and ALERTING_TELEGRAM_CHAT."
    places = open_destinations(settings)
    notifier = RoutingNotifier(places) if len(places) > 1 else places[DEFAULT_DESTINATION]
    return notifier, "" if configured_destinations(vars(settings)) else note


# Where counts come from: settings -> the source, its catalogue, and what is kept beside it.

SQL = Path(__file__).parent / "sql"
STATE_FILE = "alerts.sqlite"
MINUTE = 60.0


def load_queries(folder: Path = SQL) -> dict[str, Query]:
    """The SQL files by name."""
    return {path.stem: Query(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.sql"))}


def source_tables(settings: Settings) -> dict[str, str]:
    """Query name -> the source's table."""
    named = {"feed_actions": settings.feed_table, "message_actions": settings.message_table}
    return named | {name: named.get(query.table, query.table) for name, query in load_queries().items()}


def open_source(settings: Settings, now: datetime | None = None) -> tuple[Source, list[Metric]]:
    """The configured source, and the metrics to watch there; the sample app lives on to `now` (none: the clock's).

    Raises SourceError or SettingsError.
    """
    if settings.source == "embedded" or settings.source.startswith(("http://", "https://")):
        metrics = load_catalogue(settings)
        return _embedded(settings, now) if settings.source == "embedded" else _clickhouse(settings), metrics
    from alerting.metrics import metrics_of_table
    from alerting.sources.table import TableSource

    table = TableSource(ROOT / Path(settings.source).expanduser())
    return table, _chosen(metrics_of_table(table.steps()), settings)


def _chosen(metrics: list[Metric], settings: Settings) -> list[Metric]:
    if odd := unknown_words(effective_routes(vars(settings)), [metric.name for metric in metrics]):
        known = ", ".join([*ROUTE_WORDS, *(metric.name for metric in metrics)])
        raise SettingsError(f"ALERTING_ROUTES names {', '.join(odd)}: there are {known}")
    names = [name.strip() for name in settings.metrics.split(",") if name.strip()]
    absent = [name for name in names if name not in {metric.name for metric in metrics}]
    if absent:
        raise SettingsError(f"ALERTING_METRICS names {', '.join(absent)}: there are {', '.join(m.name for m in metrics)}")
    return [metric for metric in metrics if not names or metric.name in names]


def load_catalogue(settings: Settings) -> list[Metric]:
    """The metrics that this source has. Raises SourceError when a table cannot be read."""
    if settings.source == "embedded" or settings.source.startswith("http"):
        return _chosen(load_metrics(settings.language, load_queries(), load_queries(SQL / "slices")), settings)
    return open_source(settings)[1]


def _embedded(settings: Settings, now: datetime | None) -> Source:
    from alerting.sources.embedded import EmbeddedSource

    source = EmbeddedSource(settings.data / "app", source_tables(settings))  # its engine starts while the app lives on to now
    if not _just_extended(settings.data / "app"):
        from alerting.sample.folder import extend_app

        extend_app(settings.data / "app", now or datetime.now(UTC))
    return source


def _just_extended(app: Path) -> bool:
    """Rows come to the sample app once a minute."""
    with suppress(OSError):
        return 0 <= time.time() - (app / "state.json").stat().st_mtime < MINUTE
    return False


def _clickhouse(settings: Settings) -> Source:
    from alerting.sources.clickhouse import ClickHouseSource

    return ClickHouseSource(
        settings.source,
        user=settings.clickhouse_user,
        password=settings.clickhouse_password,
        database=settings.clickhouse_database,
        tables=source_tables(settings),
        timeout=settings.clickhouse_timeout,
        memory=settings.clickhouse_memory,
        ca=settings.clickhouse_ca,
    )


def with_history_cache(source: Source, settings: Settings, store: StateStore, dry_run: bool) -> Source:
    """The source, of which is read once what does not change any more; a dry run only looks at what runs have read.

    A file is read whole each time.
    """
    if not source.runs_sql:
        return source
    from alerting.sources.cache import CachedSource, ReadOnlyHistory
    from alerting.store.history import HistoryReader

    history: HistoryCache = store
    if dry_run:
        with suppress(StoreError):  # none yet, or none that can be read: then the source is read
            history = HistoryReader(settings.data / STATE_FILE)
        history = ReadOnlyHistory(history)
    names = source_tables(settings)
    place = [settings.source, settings.clickhouse_database, settings.clickhouse_user]
    if settings.source == "embedded":
        place = [settings.source, str(settings.data.resolve())]
    return CachedSource(
        source, history, lambda name: "|".join([*place, names.get(name, name)]), timedelta(hours=settings.mutable), tell=_say
    )


def _say(said: str | Progress) -> None:
    """Print a line. In a notebook a Progress is displayed, so that the runner need not look for it among words."""
    if isinstance(said, Progress) and "ipykernel" in sys.modules:
        from IPython.display import display

        display(said)
        return
    sys.stdout.write(f"{said}\n")
    sys.stdout.flush()


def source_note(settings: Settings) -> str:
    if settings.source != "embedded":
        return ""
    return "No source is configured: this is the embedded sample app. Set ALERTING_SOURCE to your ClickHouse."
