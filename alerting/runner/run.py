"""One run: lock, notebook, record, word to the log and to the chat; and the line for the crontab."""

from __future__ import annotations

import math
import os
import shlex
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alerting.model.errors import AlertingError
from alerting.redaction import redact
from alerting.reporting.failure import printed_messages, run_summary
from alerting.reporting.record import Record, rescue
from alerting.runner.lock import HeldError, locked
from alerting.settings import ROOT, Settings

ALERT = ROOT / "notebooks" / "alert.ipynb"
OK, RED, BUSY, INTERRUPTED = 0, 1, 75, 130
GRACE = timedelta(minutes=1)  # a run that holds the lock this long beyond its limit hangs

Notify = Callable[[Settings, datetime, str, str], str]


def _notify(settings: Settings, at: datetime, reason: str, run: str) -> str:
    from alerting.failure_notice import notify_failure  # late: only a failed run needs it here, the others inside the notebook

    return notify_failure(settings, at, reason, run)


def run_alerts(
    settings: Settings,
    at: str = "",
    days: int | None = None,
    dry_run: bool = False,
    notebook: Path = ALERT,
    notify: Notify = _notify,
) -> int:
    """Execute the notebook, keep it as the record, and give the exit code: 0 only when every cell was executed.

    1: it was not, the record says why, and `notify` was asked to tell. 75: another run is going on. A dry run tells nobody.
    """
    started = datetime.now(UTC)
    tell = (lambda *_: "") if dry_run else notify
    with ExitStack() as stack:
        if not dry_run:  # a rehearsal remembers nothing: it may go on beside a run
            try:
                stack.enter_context(locked(settings.data / "run.lock", started))
            except HeldError as held:
                return _busy(settings, started, held, tell)
            except OSError as error:
                return _lockless(settings, started, error, tell)
        given = {name: value for name, value in (("at", at), ("days", days), ("dry_run", dry_run)) if value}
        try:
            return _run(settings, started, notebook, given, tell)
        except Exception as error:
            _tell(settings, started, f"the runner itself failed: {type(error).__name__}: {error}", "", tell)
            raise


def _busy(settings: Settings, started: datetime, held: HeldError, tell: Notify) -> int:
    _log(started, str(held), settings)
    if held.age > timedelta(seconds=settings.run_timeout) + GRACE:
        _tell(settings, started, f"the check hangs: {held}", "", tell)
    return BUSY


def _lockless(settings: Settings, started: datetime, error: OSError, tell: Notify) -> int:
    reason = f"no check without its lock: {error.strerror}: {error.filename}"
    _log(started, f"FAILED: {reason}; let this user write there", settings)
    _tell(settings, started, reason, "", tell)
    return RED


def _run(settings: Settings, started: datetime, notebook: Path, given: dict[str, Any], tell: Notify) -> int:
    began = time.monotonic()
    from alerting.runner.execute import execute, sweep  # late: no other command needs jupyter_client

    rehearsal = "dry_run" in given
    record = Record(settings, started, "rehearsal" if rehearsal else "alert")
    earlier = None if rehearsal else rescue(settings)
    if earlier:
        sweep()
    done, failure = execute(settings, record, notebook, given)
    failure = record.publish(done, failure)
    _list(settings, started, record.trouble)
    link = record.link if record.saved else ""
    sys.stdout.write(redact(printed_messages(done), settings)[0])
    word = f"FAILED: {failure.reason}" if failure else f"ok: {run_summary(done)}"
    _log(started, "; ".join(filter(None, [word, f"{time.monotonic() - began:.1f} s", link])), settings)
    if failure and failure.stopped:
        return INTERRUPTED
    if not failure and not rehearsal:
        _beat(settings, started)
    if (worst := failure or earlier) and worst.told:
        _tell(settings, started, worst.reason, link, tell)
    return RED if failure else OK


def _list(settings: Settings, started: datetime, trouble: str) -> None:
    """Write the list of runs. Whatever is wrong with the pages is logged, and costs no run."""
    try:
        from alerting.reporting.publish import write_index  # late: loaded while the kernel started

        write_index(settings)
    except AlertingError as error:
        trouble = trouble or str(error)
    except Exception as error:  # noqa: BLE001 - as above
        trouble = trouble or f"the list of runs could not be written: {type(error).__name__}: {error}"
    if trouble:
        _log(started, trouble, settings)


def _beat(settings: Settings, started: datetime) -> None:
    """Ping a monitor outside after a green run; it raises the alarm when none comes."""
    if settings.heartbeat_url:
        from alerting.notifiers.heartbeat import ping

        if trouble := ping(settings.heartbeat_url):
            _log(started, f"heartbeat: {trouble}", settings)


def _tell(settings: Settings, at: datetime, reason: str, run: str, tell: Notify) -> None:
    """Say in the chat that the run failed. When this fails too, the exit code stays: cron sees it."""
    try:
        word = tell(settings, at, redact(reason, settings)[0], run)
    except AlertingError as error:
        word = f"the failure could not be told: {error}"
    if word:
        _log(at, word, settings)


def _log(at: datetime, text: str, settings: Settings) -> None:
    sys.stdout.write(f"{at:%Y-%m-%dT%H:%MZ} {redact(text, settings)[0]}\n")
    sys.stdout.flush()


def crontab_line(settings: Settings) -> str:
    """Return the line that runs the check every 15 minutes, as soon as a closed bucket had its delay to fill.

    In a crontab a % ends the command unless it is escaped.
    """
    minute = math.ceil(settings.delay) % 15
    every = f"{minute}-59/15" if minute else "*/15"
    python = os.environ.get("PYTHON", "")
    chosen = f" {shlex.quote(f'PYTHON={python}')}" if python not in ("", "python3") else ""
    with suppress(OSError):  # the shell opens the log before make is there to create the folder
        settings.reports.mkdir(parents=True, exist_ok=True)
    log = shlex.quote(str(settings.reports / "cron.log"))
    command = f"make -s -C {shlex.quote(str(ROOT))} run-alerts{chosen} >> {log} 2>&1"
    return f"{every} * * * * {command}".replace("%", r"\%")
