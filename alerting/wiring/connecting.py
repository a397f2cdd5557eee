"""Everything a run is handed, and the parts of it that others ask for."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from alerting import destinations, occasions
from alerting import settings as environment
from alerting.model import Notifier, Query, Routes, SourceError, route
from alerting.pipeline import Connections, stand_ins
from alerting.settings import Settings
from alerting.sources.base import BaseSource
from alerting.wiring.tables import MEMORY, SQL, catalogue, open_source, queries, remembering, source_note

if TYPE_CHECKING:
    import pandas as pd

    from alerting.store import Store


def connect(dry_run: bool = False, settings: Settings | None = None, now: datetime | None = None) -> Connections:
    """Everything a run needs. A dry run reads the same source, and neither remembers anything nor tells anybody.

    `now`: the moment until which the sample app lives on, and that the run is said to have started at; none: the clock's.
    Raises SettingsError, SourceError or StoreError.
    """
    ignored = "" if settings else environment.retired()
    settings, now = settings or environment.load(), now or datetime.now(UTC)
    source, metrics = open_source(settings, now)
    store = open_store(settings, dry_run)
    store.forget(now)
    source = remembering(source, settings, store, dry_run)
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
        notes=tuple(filter(None, [source_note(settings), note, ignored, *odd])),
        mutable=timedelta(hours=settings.mutable),
        occasions=known,
        started=now,
        daily=settings.daily,
        slices=queries(SQL / "slices"),
        stand_ins=stand_ins(metrics),
    )


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


class _NoSource(BaseSource):
    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        raise SourceError("no source was opened")


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
