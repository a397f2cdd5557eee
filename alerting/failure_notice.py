"""Notify the chat that a run failed: through the outbox or, if the state database cannot be used, directly."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from alerting.connections import load_catalogue, open_notifier, open_store
from alerting.model.errors import NotifyError, SettingsError, StoreError
from alerting.model.message import Message
from alerting.model.metric import STEP
from alerting.model.protocols import Commit, Notifier
from alerting.model.routing import addressed_to
from alerting.model.verdict import EventKind
from alerting.pipeline.context import last_closed_bucket
from alerting.pipeline.deliver import send_waiting, side_by_side
from alerting.settings import Settings

if TYPE_CHECKING:
    from alerting.store.state import StateStore

MIN_INTERVAL = timedelta(hours=1)  # between two notices, even if every run fails


def notify_failure(settings: Settings, at: datetime, reason: str, run: str) -> str:
    """Send a notice that the run failed (at most once an hour) and the waiting messages. Return the result as one log line.

    If the state database cannot be read or written, the notice is sent directly. Raises NotifyError.
    """
    notifier, _ = open_notifier(settings)
    try:
        store = open_store(settings)
        if not store.sent_recently(EventKind.RUN_FAILED, at - MIN_INTERVAL):
            notice = _notice(settings, at, reason, run, _judged_until(settings, store))
            store.commit(Commit(messages=[notice]), at)
        receipts = send_waiting(store, notifier, at, time.sleep, time.monotonic)
    except StoreError as error:
        return _send_without_store(settings, notifier, _notice(settings, at, f"{reason}; {error}", run, None), at)
    return "; ".join(f"{r.key} {r.state}" for r in receipts) or "told within the hour already"


def _send_without_store(settings: Settings, notifier: Notifier, notice: Message, at: datetime) -> str:
    """Send the notice to its destinations, unless one was sent within the hour.

    The time of the last notice is the modification time of an empty file, because that works on a full disk too.
    """
    mark = settings.data / "failure-told"
    with suppress(OSError):
        if timedelta() <= at - datetime.fromtimestamp(mark.stat().st_mtime, UTC) < MIN_INTERVAL:
            return "told within the hour already"

    def send(destination: str) -> NotifyError | None:
        try:
            notifier.send(addressed_to(notice, destination))
        except NotifyError as error:
            return error
        with suppress(OSError):
            mark.touch()
            os.utime(mark, (at.timestamp(), at.timestamp()))
        return None

    outcomes = side_by_side([partial(send, destination) for destination in settings.effective_routes.of(notice)])
    faults = [error for error in outcomes if error]
    if len(faults) == len(outcomes):
        raise faults[0]
    return "; ".join(["told, without a memory", *map(str, faults)])


def _judged_until(settings: Settings, store: StateStore) -> datetime | None:
    """Return the time until which all metrics of the shortest step were judged; None for a table, which may end in the past."""
    if not settings.has_catalogue:
        return None
    try:
        metrics = load_catalogue(settings)
    except SettingsError:  # the settings may be the reason why the run failed
        return None
    judged, finest = store.last_judged(), min(metric.step for metric in metrics)
    ends = [judged[metric.name] + finest for metric in metrics if metric.step == finest and metric.name in judged]
    return min(ends, default=None)


def _notice(settings: Settings, at: datetime, reason: str, run: str, judged: datetime | None) -> Message:
    from alerting import messages
    from alerting.messages.compose import run_failed

    reader = messages.Audience(settings.language, settings.zone, at, run, settings.owner)
    next_run = last_closed_bucket(at, timedelta()) + 2 * STEP  # the next start by cron, 15 minutes later
    return run_failed(at, reason, judged, next_run, reader)
