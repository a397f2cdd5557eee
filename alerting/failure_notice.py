"""A failed check is told: by the memory's outbox, or without a memory."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from alerting.connections import load_catalogue, open_notifier, open_store
from alerting.model.errors import NotifyError, SettingsError, StoreError
from alerting.model.message import Message
from alerting.model.metric import STEP
from alerting.model.protocols import Commit, Notifier
from alerting.model.routing import addressed_to
from alerting.model.verdict import EventKind
from alerting.pipeline.context import last_closed_bucket
from alerting.pipeline.deliver import send_waiting
from alerting.settings import Settings, effective_routes

if TYPE_CHECKING:
    from alerting.store.state import StateStore

HUSH = timedelta(hours=1)  # a failing check is told once in this time


def notify_failure(settings: Settings, at: datetime, reason: str, run: str) -> str:
    """Say in the chat that a check failed, at most once an hour; gives one line about what became of it.

    Whatever else waits in the outbox is tried with it. Without a memory, or with one that cannot be written, the notice goes
    straight to the chat. Raises NotifyError.
    """
    notifier, _ = open_notifier(settings)
    try:
        store = open_store(settings)
        if not store.sent_recently(EventKind.RUN_FAILED, at - HUSH):
            notice = _notice(settings, at, reason, run, _judged_until(settings, store))
            store.commit(Commit(messages=[notice]), at)
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
    faults, places = [], effective_routes(vars(settings)).of(notice)
    for place in places:
        try:
            notifier.send(addressed_to(notice, place))
        except NotifyError as error:
            faults.append(error)
    if len(faults) == len(places):
        raise faults[0]
    with suppress(OSError):
        mark.touch()
        os.utime(mark, (at.timestamp(), at.timestamp()))
    return "; ".join(["told, without a memory", *map(str, faults)])


def _judged_until(settings: Settings, store: StateStore) -> datetime | None:
    """End of the newest bucket of which every metric has been judged, of those of the finest step; None for a table."""
    if settings.source != "embedded" and not settings.source.startswith("http"):
        return None
    try:
        metrics = load_catalogue(settings)
    except SettingsError:  # which may be why it failed
        return None
    judged, finest = store.last_judged(), min(metric.step for metric in metrics)
    ends = [judged[metric.name] + finest for metric in metrics if metric.step == finest and metric.name in judged]
    return min(ends, default=None)


def _notice(settings: Settings, at: datetime, reason: str, run: str, judged: datetime | None) -> Message:
    from alerting import messages
    from alerting.messages.system import run_failed

    reader = messages.Audience(settings.language, settings.zone, at, run, settings.owner)
    following = last_closed_bucket(at, timedelta()) + 2 * STEP  # cron's next quarter of an hour
    return run_failed(at, reason, judged, following, reader)
