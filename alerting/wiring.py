"""Opens the doors: settings -> the connections a run is handed. The only place that knows which adapter is which."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from alerting import catalogue as written
from alerting import destinations, occasions
from alerting import settings as environment
from alerting.model import (
    STEP,
    History,
    Kind,
    Memory,
    Message,
    Metric,
    Notifier,
    NotifyError,
    Query,
    Routes,
    SettingsError,
    Source,
    SourceError,
    StoreError,
    route,
)  # fmt: skip
from alerting.pipeline import Connections, last_closed_bucket, send_waiting, stand_ins
from alerting.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from alerting.rollups.building import Builder
    from alerting.rollups.recipes import Recipe
    from alerting.store import Store

SQL = Path(__file__).parent / "sql"
MEMORY = "alerts.sqlite"
MINUTE = 60.0
HUSH = timedelta(hours=1)  # a failing check is told once in this time


def connect(dry_run: bool = False, settings: Settings | None = None) -> Connections:
    """Everything a run needs. A dry run reads the same source, and neither remembers anything nor tells anybody.

    Raises SettingsError, SourceError or StoreError.
    """
    settings, now = settings or environment.load(), datetime.now(UTC)
    source, metrics = open_source(settings)
    store = open_store(settings, dry_run)
    store.forget(now)
    source = _remembering(source, settings, store, dry_run)
    notifier, note = open_notifier(settings, dry_run)
    names = [metric.name for metric in metrics]
    known, odd = occasions.known(settings.calendar, settings.zone, names, settings.holidays, now)
    return Connections(
        metrics=metrics,
        queries=queries(),
        source=source,
        store=store,
        notifier=notifier,
        zone=settings.zone,
        language=settings.language,
        delay=timedelta(minutes=settings.delay),
        dashboard=settings.dashboard,
        owner=settings.owner,
        run=settings.run,
        wait=time.sleep,
        timer=time.perf_counter,
        notes=tuple(filter(None, [_source_note(settings), note, *odd])),
        mutable=timedelta(hours=settings.mutable),
        occasions=known,
        started=now,
        daily=settings.daily,
        slices=queries(SQL / "slices"),
        stand_ins=stand_ins(metrics),
    )


def _remembering(source: Source, settings: Settings, store: Store, dry_run: bool) -> Source:
    """The source, of which is read once what does not change any more; a dry run only looks at what runs have read.

    A file is read whole each time.
    """
    if not hasattr(source, "rows"):
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


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def connect_chat(settings: Settings) -> Connections:
    """Memory and chat only, for who does not read metrics. Raises SettingsError, StoreError."""
    return Connections(
        metrics=catalogue(settings),
        queries={},
        source=_NoSource(),
        store=open_store(settings),
        notifier=open_notifier(settings)[0],
        zone=settings.zone,
        language=settings.language,
        owner=settings.owner,
        wait=time.sleep,
    )


class _NoSource:
    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        raise SourceError("no source was opened")


def queries(folder: Path = SQL) -> dict[str, Query]:
    """The SQL files by name."""
    return {path.stem: Query(path.stem, path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.sql"))}


def tables(settings: Settings) -> dict[str, str]:
    """Query name -> the source's table."""
    named = {"feed_actions": settings.feed_table, "message_actions": settings.message_table}
    return named | {name: named.get(query.table, query.table) for name, query in queries().items()}


def open_source(settings: Settings) -> tuple[Source, list[Metric]]:
    """The configured source, and the metrics to watch there. Raises SourceError or SettingsError."""
    if settings.source == "embedded" or settings.source.startswith(("http://", "https://")):
        metrics = catalogue(settings)
        return (_embedded if settings.source == "embedded" else _clickhouse)(settings), metrics
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


def _embedded(settings: Settings) -> Source:
    from alerting.sources.embedded import Embedded

    source = Embedded(settings.data / "app", tables(settings))  # its engine starts while the app lives on to now
    if not _just_extended(settings.data / "app"):
        from alerting.simulate import extend

        extend(settings.data / "app", datetime.now(UTC))
    return source


def _just_extended(app: Path) -> bool:
    """Rows come to the sample app once a minute."""
    with suppress(OSError):
        return 0 <= time.time() - (app / "state.json").stat().st_mtime < MINUTE
    return False


def _clickhouse(settings: Settings) -> Source:
    from alerting.sources.clickhouse import ClickHouse

    raw = ClickHouse(
        settings.source,
        user=settings.clickhouse_user,
        password=settings.clickhouse_password,
        database=settings.clickhouse_database,
        tables=tables(settings),
        timeout=settings.clickhouse_timeout,
        memory=settings.clickhouse_memory,
        ca=settings.clickhouse_ca,
    )
    if settings.rollups == "off":
        return raw
    from alerting.rollups.serving import RolledUp

    return RolledUp(raw, _recipes(settings)[0])


def open_rollups(settings: Settings, say: Callable[[str], object]) -> tuple[Builder, list[Recipe], list[str]]:
    """What makes rollups, which there can be, and why there can be none of the other queries. Raises SettingsError."""
    if not settings.source.startswith("http"):
        raise SettingsError(
            f"rollups are kept by a ClickHouse server, and ALERTING_SOURCE is {settings.source}: set it to its URL"
        )
    from alerting.rollups.building import Builder
    from alerting.rollups.writing import PATIENCE, Writer

    own = bool(settings.rollup_user)
    writer = Writer(
        settings.source,
        user=settings.rollup_user if own else settings.clickhouse_user,
        password=settings.rollup_password if own else settings.clickhouse_password,
        database=settings.clickhouse_database,
        timeout=PATIENCE,
        memory=settings.clickhouse_memory,
        ca=settings.clickhouse_ca,
    )
    return Builder(writer, tables(settings), say), *_recipes(settings)


def _recipes(settings: Settings) -> tuple[list[Recipe], list[str]]:
    """Of every query, exact before estimated; and what was said of those that cannot be rolled up."""
    from alerting.rollups.recipes import COMBINED, EXACT, recipe

    found, left_out, raw = [], [], tables(settings)
    for users in (EXACT, COMBINED):
        for kind, folder in (("totals", SQL), ("slices", SQL / "slices")):
            for query in queries(folder).values():
                try:
                    table = f"{settings.clickhouse_database}.{raw.get(query.name, query.name)}"
                    made = recipe(query, kind, table, users)
                    if users == EXACT or made.inexact:
                        found.append(made)
                except SourceError as error:
                    left_out.append(str(error))
    return found, list(dict.fromkeys(left_out))


def _source_note(settings: Settings) -> str:
    if settings.source != "embedded":
        return ""
    return "No source is configured: this is the embedded sample app. Set ALERTING_SOURCE to your ClickHouse."


def open_store(settings: Settings, dry_run: bool = False, routes: Routes | None = None) -> Store:
    """The memory; for a dry run an empty one that is gone afterwards, and keeps what is told for the console (or for where
    `routes` lead). Raises StoreError."""
    from alerting.store import Routed

    if dry_run:
        return Routed(":memory:", routes)
    return Routed(settings.data / MEMORY, destinations.routed(vars(settings)))


def open_notifier(settings: Settings, dry_run: bool = False) -> tuple[Notifier, str]:
    """Where messages go, and a note when nobody is there."""
    from alerting.notifiers import Console, Routed, opened

    if dry_run:
        return Console(), "Dry run: nothing is remembered, and nobody is told."
    note = "No chat is configured: messages are printed. Set ALERTING_TELEGRAM_TOKEN and ALERTING_TELEGRAM_CHAT."
    places = opened(settings)
    notifier = Routed(places) if len(places) > 1 else places[route.HOME]
    return notifier, "" if destinations.set_up(vars(settings)) else note


def notify_failure(settings: Settings, at: datetime, reason: str, run: str) -> str:
    """Say in the chat that a check failed, at most once an hour; gives one line about what became of it.

    Whatever else waits in the outbox is tried with it. Without a memory, or with one that cannot be written, the notice goes
    straight to the chat. Raises NotifyError.
    """
    notifier, _ = open_notifier(settings)
    try:
        store = open_store(settings)
        if not store.told_recently(Kind.RUN_FAILED, at - HUSH):
            notice = _notice(settings, at, reason, run, _judged_until(settings, store))
            store.commit(Memory(messages=[notice]), at)
        receipts = send_waiting(store, notifier, at, time.sleep)
    except StoreError as error:
        return _told_without_memory(settings, notifier, _notice(settings, at, f"{reason}; {error}", run, None), at)
    return "; ".join(f"{r.key} {r.state}" for r in receipts) or "told within the hour already"


def _told_without_memory(settings: Settings, notifier: Notifier, notice: Message, at: datetime) -> str:
    """Straight to where it goes; that it was is kept as the time of an empty file, which a full disk can still change."""
    mark = settings.data / "failure-told"
    with suppress(OSError):
        if timedelta() <= at - datetime.fromtimestamp(mark.stat().st_mtime, UTC) < HUSH:
            return "told within the hour already"
    faults, places = [], destinations.routed(vars(settings)).of(notice)
    for place in places:
        try:
            notifier.send(route.copied(notice, place))
        except NotifyError as error:
            faults.append(error)
    if len(faults) == len(places):
        raise faults[0]
    with suppress(OSError):
        mark.touch()
        os.utime(mark, (at.timestamp(), at.timestamp()))
    return "; ".join(["told, without a memory", *map(str, faults)])


def _judged_until(settings: Settings, store: Store) -> datetime | None:
    """End of the newest bucket of which every metric has been judged, of those of the finest step; None for a table."""
    if settings.source != "embedded" and not settings.source.startswith("http"):
        return None
    try:
        metrics = catalogue(settings)
    except SettingsError:  # which may be why it failed
        return None
    judged, finest = store.last_judged(), min(metric.step for metric in metrics)
    ends = [judged[metric.name] + finest for metric in metrics if metric.step == finest and metric.name in judged]
    return min(ends, default=None)


def _notice(settings: Settings, at: datetime, reason: str, run: str, judged: datetime | None) -> Message:
    from alerting import messages

    reader = messages.Reader(settings.language, settings.zone, at, run, settings.owner)
    following = last_closed_bucket(at, timedelta()) + 2 * STEP  # cron's next quarter of an hour
    return messages.run_failed(at, reason, judged, following, reader)
