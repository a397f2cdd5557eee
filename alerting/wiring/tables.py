"""Where counts come from: settings -> the source, its catalogue, and what is kept beside it."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from alerting import catalogue as written
from alerting import destinations
from alerting import settings as environment
from alerting.model import History, Metric, Progress, Query, SettingsError, Source, StoreError, route
from alerting.settings import Settings

if TYPE_CHECKING:
    from alerting.store import Store

SQL = Path(__file__).parent.parent / "sql"
MEMORY = "alerts.sqlite"
MINUTE = 60.0


def queries(folder: Path = SQL) -> dict[str, Query]:
    """The SQL files by name."""
    return {path.stem: Query(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.sql"))}


def tables(settings: Settings) -> dict[str, str]:
    """Query name -> the source's table."""
    named = {"feed_actions": settings.feed_table, "message_actions": settings.message_table}
    return named | {name: named.get(query.table, query.table) for name, query in queries().items()}


def open_source(settings: Settings, now: datetime | None = None) -> tuple[Source, list[Metric]]:
    """The configured source, and the metrics to watch there; the sample app lives on to `now` (none: the clock's).

    Raises SourceError or SettingsError.
    """
    if settings.source == "embedded" or settings.source.startswith(("http://", "https://")):
        metrics = catalogue(settings)
        return _embedded(settings, now) if settings.source == "embedded" else _clickhouse(settings), metrics
    from alerting.metrics import of_table
    from alerting.sources.table import Table

    table = Table(environment.ROOT / Path(settings.source).expanduser())
    return table, _chosen(of_table(table.steps()), settings)


def _chosen(metrics: list[Metric], settings: Settings) -> list[Metric]:
    if odd := route.unknown(destinations.routed(vars(settings)), [metric.name for metric in metrics]):
        known = ", ".join([*route.WORDS, *(metric.name for metric in metrics)])
        raise SettingsError(f"ALERTING_ROUTES names {', '.join(odd)}: there are {known}")
    names = [name.strip() for name in settings.metrics.split(",") if name.strip()]
    absent = [name for name in names if name not in {metric.name for metric in metrics}]
    if absent:
        raise SettingsError(f"ALERTING_METRICS names {', '.join(absent)}: there are {', '.join(m.name for m in metrics)}")
    return [metric for metric in metrics if not names or metric.name in names]


def catalogue(settings: Settings) -> list[Metric]:
    """The metrics that this source has. Raises SourceError when a table cannot be read."""
    if settings.source == "embedded" or settings.source.startswith("http"):
        return _chosen(written.metrics(settings.language, queries(), queries(SQL / "slices")), settings)
    return open_source(settings)[1]


def _embedded(settings: Settings, now: datetime | None) -> Source:
    from alerting.sources.embedded import Embedded

    source = Embedded(settings.data / "app", tables(settings))  # its engine starts while the app lives on to now
    if not _just_extended(settings.data / "app"):
        from alerting.simulate import extend

        extend(settings.data / "app", now or datetime.now(UTC))
    return source


def _just_extended(app: Path) -> bool:
    """Rows come to the sample app once a minute."""
    with suppress(OSError):
        return 0 <= time.time() - (app / "state.json").stat().st_mtime < MINUTE
    return False


def _clickhouse(settings: Settings) -> Source:
    from alerting.sources.clickhouse import ClickHouse

    return ClickHouse(
        settings.source,
        user=settings.clickhouse_user,
        password=settings.clickhouse_password,
        database=settings.clickhouse_database,
        tables=tables(settings),
        timeout=settings.clickhouse_timeout,
        memory=settings.clickhouse_memory,
        ca=settings.clickhouse_ca,
    )


def remembering(source: Source, settings: Settings, store: Store, dry_run: bool) -> Source:
    """The source, of which is read once what does not change any more; a dry run only looks at what runs have read.

    A file is read whole each time.
    """
    if not source.runs_sql:
        return source
    from alerting.sources.cached import Cached, Looking
    from alerting.store import Held

    history: History = store
    if dry_run:
        with suppress(StoreError):  # none yet, or none that can be read: then the source is read
            history = Held(settings.data / MEMORY)
        history = Looking(history)
    names = tables(settings)
    place = [settings.source, settings.clickhouse_database, settings.clickhouse_user]
    if settings.source == "embedded":
        place = [settings.source, str(settings.data.resolve())]
    return Cached(
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
