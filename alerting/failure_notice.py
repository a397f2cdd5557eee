"""Tell the chat that a run failed, or that runs work again: through the outbox, or directly if the state cannot be used."""

import os
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial

from alerting.event_calendar import read_rota
from alerting.messages import Audience
from alerting.messages.compose import failure_id, run_failed, run_recovered
from alerting.model.clock import on_call
from alerting.model.errors import NotifyError, SettingsError, StoreError
from alerting.model.message import Message, Receipt
from alerting.model.protocols import Commit, Notifier
from alerting.model.routing import addressed_to
from alerting.model.verdict import OPENING_KINDS, EventKind
from alerting.settings import Settings
from alerting.store.state import ReadOnlyState, StateStore

MIN_INTERVAL = timedelta(hours=1)  # between two notices of the same failure, even if every run fails
MARK = "failure-told"  # start of the names of files whose time shows when a notice was sent without the state database


def notify_failure(settings: Settings, at: datetime, reason: str, run: str, killed: datetime | None = None) -> str:
    """Send a notice that the run failed, at most once an hour per failure, and all waiting messages. Return one log line.

    `killed`: the start of an earlier run that was killed, if the notice is about that run; the run of `at` has then judged what
    it left out. If the state database cannot be read or written, the notice is sent directly. Raises NotifyError.
    """
    from alerting.connections import open_notifier, open_store  # late: it loads pandas, which most runs do without
    from alerting.pipeline.deliver import send_waiting

    notifier, _ = open_notifier(settings)
    try:
        store = open_store(settings)
        if not store.sent_recently(EventKind.RUN_FAILED, at - MIN_INTERVAL, at, failure_id(reason)):
            notice = _notice(settings, at, reason, run, None if killed else _judged_until(settings, store), killed)
            store.commit(Commit(messages=[notice]), at)
        receipts = send_waiting(store, notifier, at, time.sleep, time.monotonic, settings.quiet_hours)
    except StoreError as error:
        return _send_without_store(settings, notifier, _notice(settings, at, f"{reason}; {error}", run, None, killed), at)
    return _outcome(settings, receipts) or "told within the hour already"


def reported_since(settings: Settings, started: datetime) -> datetime | None:
    """Return when the first failure notice since the last good run before `started` was sent; None if there was none.

    The state database is only read. This is fast, because every good run calls it. Raises StoreError.
    """
    marks = [datetime.fromtimestamp(mark.stat().st_mtime, UTC) for mark in settings.data.glob(f"{MARK}*") if mark.is_file()]
    with closing(ReadOnlyState(settings.state_file)) as state:
        return min([*state.failure_notices(started), *(at for at in marks if at <= started)], default=None)


def notify_recovery(settings: Settings, at: datetime, since: datetime, run: str) -> str:
    """Send a message that runs work again after failures since `since`. Return one log line. Raises StoreError, NotifyError."""
    from alerting.connections import open_notifier, open_store
    from alerting.pipeline.deliver import send_waiting

    notifier, store = open_notifier(settings)[0], open_store(settings)
    told = store.incidents_of_messages(OPENING_KINDS, since)  # its first bucket may be an earlier one
    recent = [incident for incident in store.all_incidents(since - MIN_INTERVAL, at) if not incident.corrected]
    found = sum(incident.opened >= since or incident.id in told for incident in recent)
    store.commit(Commit(messages=[run_recovered(at, since, found, _reader(settings, at, run))]), at)
    for mark in settings.data.glob(f"{MARK}*"):
        with suppress(OSError):
            mark.unlink()
    return _outcome(settings, send_waiting(store, notifier, at, time.sleep, time.monotonic, settings.quiet_hours))


def _outcome(settings: Settings, receipts: Iterable[Receipt]) -> str:
    """Return one line with the result for each message. Without a chat it says that accepted messages were printed."""
    from alerting.connections import PRINTED

    sent = "sent" if settings.destinations else PRINTED
    return "; ".join(f"{r.key} {sent if r.state == 'sent' else r.state}" for r in receipts)


def _send_without_store(settings: Settings, notifier: Notifier, notice: Message, at: datetime) -> str:
    """Send the notice to its destinations, unless one about the same failure was sent within the hour. Return one log line.

    The time of the last notice is the modification time of an empty file, which can be written on a full disk too. Raises
    NotifyError if no destination accepts it.
    """
    from alerting.pipeline.deliver import side_by_side

    mark = settings.data / f"{MARK}-{notice.key.split('/')[2].partition('-')[2]}"
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
    """Return until when all metrics of the shortest step were judged; None if none was, or for a table file, which may end."""
    if not settings.has_catalogue:
        return None
    from alerting.connections import load_catalogue

    try:
        metrics = load_catalogue(settings)
    except SettingsError:  # the settings may be the reason why the run failed
        return None
    judged, finest = store.last_judged(), min(metric.step for metric in metrics)
    ends = [judged[metric.name] + finest for metric in metrics if metric.step == finest and metric.name in judged]
    return min(ends, default=None)


def _notice(settings: Settings, at: datetime, reason: str, run: str, judged: datetime | None, killed: datetime | None) -> Message:
    reader = _reader(settings, at, run)
    if killed:
        return run_failed(killed, reason, None, None, reader, made_up=at)
    return run_failed(at, reason, judged, settings.next_cron_run(at), reader)


def _reader(settings: Settings, at: datetime, run: str) -> Audience:
    duty = on_call(read_rota(settings.oncall, settings.zone)[0], at)
    return Audience(settings.language, settings.zone, at, run, owner=settings.owner, duty=duty)
