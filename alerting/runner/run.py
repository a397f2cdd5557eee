"""One run: lock, notebook, record, log line, failure notice, incident notebooks. Also the crontab line that starts runs."""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from alerting.deadline import Deadline
from alerting.model.errors import AlertingError, NotifyError, StoreError
from alerting.model.run import VERDICTS
from alerting.model.verdict import EventKind
from alerting.redaction import redact
from alerting.reporting.failure import Notebook, run_summary
from alerting.reporting.record import Record, rescue
from alerting.settings import ROOT, Settings, usable_settings

ALERT = ROOT / "notebooks" / "alert.ipynb"
OK, RED, WRONG, BUSY, INTERRUPTED = 0, 1, 2, 75, 130  # exit codes; WRONG: a setting, the catalogue or the calendar is wrong
HANG_TOLERANCE = timedelta(minutes=1)  # a run that holds the lock this long after its time limit is reported as hanging
KILLED_AFTER = 55.0  # seconds after its time limit at which the system kills a run that has not ended
NOTICE_LIMIT = 40.0  # seconds for the notice that runs fail or work again; a longer attempt is given up
LAB = Path(f"{sys.prefix}-lab") / "bin" / "python"  # Python of the environment of `make notebooks`, next to the run's environment
TURNS = (EventKind.OPENED, EventKind.WORSENED, EventKind.RESOLVED)  # kinds of messages after which the notebook is executed
MAX_INCIDENT_NOTEBOOKS = 5  # per run

COLOURS = {"anomalous": 31, "not judged": 31, "missing": 33, "unknown": 90}  # ANSI: red, yellow, grey
MAX_NAME = 50  # characters of a metric's name in a printed line
RIGHT_ALIGNED = {2, 4}  # indices of the columns with the value and the change

Notify = Callable[[Settings, datetime, str, str], str]  # settings, time, reason, link of the run -> line for the log


class AlreadyRunningError(Exception):
    """Another run is in progress. The text names its process. `age`: how long that run has lasted; 0 if unknown."""

    def __init__(self, pid: str, since: str, now: datetime) -> None:
        text, self.age = "another run is going on", timedelta()
        with suppress(ValueError):
            start = datetime.fromisoformat(since).astimezone(UTC)
            text, self.age = f"another run is going on: process {pid}, since {start:%Y-%m-%dT%H:%M:%SZ}", now - start
        super().__init__(text)


@contextmanager
def locked(path: Path, started: datetime) -> Iterator[None]:
    """Hold the lock on a file inside the block, and write the process id and `started` into it.

    Only the owner may open the file, because any process that opens it can hold the lock. If the path is not a file, it is
    renamed first. The system releases the lock when the process ends or is killed. Raises AlreadyRunningError if another run
    holds the lock, OSError if the file cannot be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.replace(path.with_name(f"{path.name}.aside-{started:%Y%m%dT%H%M%SZ}"))
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with suppress(OSError):  # the file belongs to another user
            os.fchmod(handle, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid, _, since = os.pread(handle, 100, 0).decode("ascii", "replace").partition(" ")
            raise AlreadyRunningError(pid, since, started) from None
        with suppress(OSError):  # the disk is full: the lock works without this text
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"{os.getpid()} {started.isoformat()}".encode(), 0)
        yield
    finally:
        os.close(handle)


@contextmanager
def killed_after(seconds: float) -> Iterator[None]:
    """Let the system kill this process (SIGALRM) if the block takes longer. This works for any code that hangs."""
    before = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *before)


def run_alerts(
    settings: Settings,
    at: str = "",
    days: int | None = None,
    dry_run: bool = False,
    notebook: Path = ALERT,
    notify: Notify | None = None,
) -> int:
    """Execute the notebook, publish it as the record of the run, and return the exit code.

    0: every cell was executed. 1: the run failed; the record has the reason, and `notify` was called (default: a message to the
    chat). 2: the run failed because a setting, the catalogue or the calendar is wrong. 75: another run is in progress. 130:
    Ctrl-C interrupted the run.

    `at`: the time to judge, ISO 8601 with a time zone; "": now. `days`: days of history before the due buckets; None: as many as
    the detectors need. A dry run sends nothing, saves no state and needs no lock. A run that hangs is killed within a minute
    after its time limit.
    """
    started = datetime.now(UTC)
    run = _Run(settings, started, (lambda *_: "") if dry_run else notify)
    with killed_after(settings.run_timeout + KILLED_AFTER), ExitStack() as stack:
        if not dry_run:
            try:
                stack.enter_context(locked(settings.lock_file, started))
            except AlreadyRunningError as other:
                run.log(str(other))
                if other.age > timedelta(seconds=settings.run_timeout) + HANG_TOLERANCE:
                    run.notify(f"the check hangs: {other}")
                return BUSY
            except OSError as error:
                reason = f"no check without its lock: {error.strerror}: {error.filename}"
                run.log(f"FAILED: {reason}; let this user write there")
                run.notify(reason)
                return RED
        parameters = {name: value for name, value in (("at", at), ("days", days), ("dry_run", dry_run)) if value}
        try:
            code = run.execute(notebook, parameters)
        except Exception as error:
            run.notify(f"the runner itself failed: {type(error).__name__}: {error}")
            raise
    if not dry_run:
        start_notebooks(settings, started)
    return code


def start_notebooks(settings: Settings, started: datetime, lab: Path = LAB) -> subprocess.Popen[bytes] | None:
    """Start one process that executes the notebooks of the incidents that the run sent messages about. Return the process.

    Return None if there is nothing to do. The process has the time limit of a run, a low priority, and a log in
    reports/incidents. An error in it does not make the run fail.
    """
    if settings.incident_notebook == "off" or not lab.exists():
        return None
    from alerting.store.state import ReadOnlyState  # late: only runs with that environment need it

    try:
        with closing(ReadOnlyState(settings.state_file)) as state:
            ids = state.incidents_of_messages(TURNS, started)[:MAX_INCIDENT_NOTEBOOKS]
        if not ids:
            return None
        folder = settings.reports / "incidents"
        folder.mkdir(parents=True, exist_ok=True)
        command = [str(lab), "-m", "alerting", "incident", "--seconds", f"{settings.run_timeout:g}", *ids]
        with (folder / "notebooks.log").open("wb") as log:
            return subprocess.Popen(
                ["nice", *command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
    except (OSError, StoreError):
        return None


def report_settings_error(reason: str) -> None:
    """Send a notice that no run is possible, if enough settings are right for that. Print a line only if it fails."""
    settings, now = usable_settings(), datetime.now(UTC)
    if settings is None:
        return
    try:
        with killed_after(KILLED_AFTER), locked(settings.lock_file, now):
            from alerting.failure_notice import notify_failure

            _limited(partial(notify_failure, settings, now, redact(reason, settings)[0], ""))
    except (AlertingError, OSError) as error:
        _Run(settings, now, None).log(f"the failure could not be reported: {error}")
    except AlreadyRunningError:
        pass  # the next start sends the notice


def _limited(send: Callable[[], str]) -> str:
    """Call `send` and return its result, or raise its error. Raises NotifyError if it takes longer than NOTICE_LIMIT seconds."""
    try:
        with Deadline(NOTICE_LIMIT) as deadline:
            return deadline.call(send)
    except TimeoutError:
        raise NotifyError(f"a destination did not take the message within {NOTICE_LIMIT:g} s") from None


@dataclass
class _Run:
    """A run: it executes the notebook, logs the result, and sends failure notices."""

    settings: Settings
    started: datetime  # aware UTC
    notifier: Notify | None

    def execute(self, notebook: Path, parameters: dict[str, Any]) -> int:
        """Execute the notebook, publish the record and the pages, log the result, and return the exit code."""
        start = time.monotonic()
        from alerting.runner.execute import execute, remove_stale_folders  # late: only this command needs subprocesses

        rehearsal = "dry_run" in parameters
        record = Record(self.settings, self.started, "rehearsal" if rehearsal else "alert")
        killed = None if rehearsal else rescue(self.settings)  # an earlier run that was killed
        if killed:
            remove_stale_folders()
        executed, failure = execute(self.settings, record, notebook, parameters)
        failure = record.publish(executed, failure)
        self._update_index(record.trouble)

        link = record.link if record.saved else ""
        coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        printed = f"{printed_verdicts(executed, coloured)}\n{printed_messages(executed)}".lstrip("\n")
        sys.stdout.write(redact(printed, self.settings)[0])
        result = f"FAILED: {failure.reason}" if failure else f"ok: {run_summary(executed)}"
        self.log("; ".join(filter(None, [result, f"{time.monotonic() - start:.1f} s", link])))
        if failure and failure.stopped:
            return INTERRUPTED
        if failure and failure.told:
            if self.settings.destinations or not failure.settings:
                self.notify(failure.reason, link)
        elif killed:  # this run has judged what the killed run left out
            self.notify(killed[0].reason, killed[1].link if killed[1].saved else link, killed[1].started)
        recovered = not failure and not rehearsal and self.notifier is None and self._report_recovery(link)
        if failure:
            return WRONG if failure.settings else RED
        if (killed or recovered) and self._has_unsent():
            return RED
        if not rehearsal and self.settings.heartbeat_url:
            from alerting.notifiers.base import ping

            if trouble := ping(self.settings.heartbeat_url):  # an external monitor raises an alarm when requests stop
                self.log(f"heartbeat: {trouble}")
        return OK

    def _has_unsent(self) -> bool:
        """Return whether a message still waits, such as the notice about a killed run. The exit code is not 0 then.

        Also return True, and log the error, if the state database cannot be read.
        """
        from alerting.connections import open_store

        try:
            with closing(open_store(self.settings)) as store:
                return any(not message.edits for message in store.waiting())
        except AlertingError as error:
            self.log(str(error))
            return True

    def _update_index(self, trouble: str) -> None:
        """Write the index of runs. Log an error of it, or `trouble` with the run's own page; neither makes the run fail."""
        try:
            from alerting.reporting.publish import write_index  # late: it was imported while the kernel started

            write_index(self.settings)
        except AlertingError as error:
            trouble = trouble or str(error)
        except Exception as error:  # noqa: BLE001 - as above
            trouble = trouble or f"the list of runs could not be written: {type(error).__name__}: {error}"
        if trouble:
            self.log(trouble)

    def notify(self, reason: str, link: str = "", killed: datetime | None = None) -> None:
        """Send a failure notice, by default to the chat. If that fails, log the error.

        `killed`: the start of an earlier run that was killed, if the notice is about that one.
        """
        notifier = self.notifier
        if notifier is None:
            from alerting.failure_notice import notify_failure  # late: only a failed run needs it

            notifier = partial(notify_failure, killed=killed)
        try:
            line = _limited(partial(notifier, self.settings, self.started, redact(reason, self.settings)[0], link))
        except AlertingError as error:
            line = f"the failure could not be reported: {error}"
        if line:
            self.log(line)

    def _report_recovery(self, link: str) -> bool:
        """If the chat was told that checks fail, send a message that they work again. Return whether that was needed."""
        from alerting.failure_notice import notify_recovery, reported_since  # late: it is imported with the index

        try:
            if (since := reported_since(self.settings, self.started)) is None:
                return False
            line = _limited(partial(notify_recovery, self.settings, self.started, since, link))
        except AlertingError as error:
            line = f"the recovery could not be reported: {error}"
        self.log(line)
        return True

    def log(self, text: str) -> None:
        """Print a line with the time at which the run started."""
        sys.stdout.write(f"{self.started:%Y-%m-%dT%H:%MZ} {redact(text, self.settings)[0]}\n")
        sys.stdout.flush()


def crontab_line(settings: Settings) -> str:
    """Return the crontab line that starts a run every 15 minutes, ALERTING_DELAY minutes after a bucket has closed.

    The line sets the variable PYTHON if it is set now. Each % is escaped, because an unescaped % ends a command in a crontab.
    """
    minute = settings.cron_minute
    every = f"{minute}-59/15" if minute else "*/15"
    python = os.environ.get("PYTHON", "")
    variable = f" {shlex.quote(f'PYTHON={python}')}" if python not in ("", "python3") else ""
    with suppress(OSError):  # create the folder now: the shell opens the log before make runs
        settings.reports.mkdir(parents=True, exist_ok=True)
    log = shlex.quote(str(settings.reports / "cron.log"))
    command = f"make -s -C {shlex.quote(str(ROOT))} run-alerts{variable} >> {log} 2>&1"
    return f"{every} * * * * {command}".replace("%", r"\%")


# The lines that a run prints; they come from the outputs of its notebook.


def printed_verdicts(notebook: Notebook, coloured: bool) -> str:
    """Return the verdicts as aligned lines, below a title line with their number and the time; "" if there are none."""
    outputs = [output.get("data", {}) for cell in notebook["cells"] for output in cell.get("outputs", [])]
    lines = list[str]()
    for found in (data[VERDICTS] for data in outputs if VERDICTS in data):
        names = [name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 13]}…{name[-12:]}" for name, *_ in found["rows"]]
        rows = [[name, *others] for name, (_, *others) in zip(names, found["rows"], strict=True)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines.append(found["title"])
        for row in rows:
            cells = [text.ljust(width) for text, width in zip(row, widths, strict=True)]
            for number in RIGHT_ALIGNED:
                cells[number] = row[number].rjust(widths[number])
            line, colour = "  ".join(cells).rstrip(), COLOURS.get(row[1]) if coloured else None
            lines.append(f"  \033[{colour}m{line}\033[0m" if colour else f"  {line}")
    return "".join(f"{line}\n" for line in lines)


def printed_messages(notebook: Notebook) -> str:
    """Return the text that the cell tagged "said" printed: the messages, if no chat is configured."""
    cells = [cell for cell in notebook["cells"] if "said" in cell["metadata"].get("tags", [])]
    outputs = [output for cell in cells for output in cell.get("outputs", []) if output.get("name") == "stdout"]
    return "".join("".join(output["text"]) for output in outputs)
