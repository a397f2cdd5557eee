"""The record of a run: reports/.running/NAME while it runs, and reports/runs/DATE/NAME when it has ended.

Beside it are the page for people and the list of the day's runs, so that programs need not read the notebooks.
"""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from urllib.parse import quote

from alerting.redaction import MARK, redact
from alerting.reporting.archive import LIST, RUN_NAME, TIME_IN_NAME
from alerting.reporting.failure import EMPTY, Failure, Notebook, combine, one_line, outcome, run_summary, with_banner
from alerting.settings import ROOT, Settings


class Record:
    """The files of one run. `kind`: alert or rehearsal. `running`: the unfinished record, if the run was killed."""

    def __init__(self, settings: Settings, started: datetime, kind: str, running: Path | None = None) -> None:
        self.settings, self.started, self.kind = settings, started, kind
        name = running.name if running else _unused_name(settings.reports, started, kind)
        self.saved = False
        self.trouble = ""  # the reason why there is no page
        self.running = settings.reports / ".running" / name
        self.path = settings.reports / "runs" / f"{started:%Y-%m-%d}" / name

    @property
    def link(self) -> str:
        """The link for messages: the URL of the page if reports/ is served, otherwise the path of the notebook."""
        if self.settings.runs_url:
            page = self.path.with_suffix(".html").relative_to(self.settings.reports)
            return f"{self.settings.runs_url}/{quote(page.as_posix())}"
        return str(self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path)

    def keep(self, notebook: Notebook) -> None:
        """Save the notebook as far as it was executed, as evidence in case this process is killed. Errors are ignored."""
        with suppress(OSError, RuntimeError, ValueError):  # disk full, or the notebook changed meanwhile: the next call saves it
            self._write(json.dumps(notebook, ensure_ascii=False))

    def publish(self, notebook: Notebook, failure: Failure | None) -> Failure | None:
        """Move the finished notebook to its day and add it to the list. Return `failure`, combined with any error in here."""
        text, secrets = redact(_notebook_text(notebook, failure), self.settings)
        if secrets:
            times = "once" if secrets == 1 else f"{secrets} times"
            what = f"the notebook showed a secret {times}; {MARK} stands there now"
            advice = (
                "Find the cell that shows it. Whoever could read this folder during the run may have seen it: consider a new one."
            )
            failure = combine(failure, Failure(what, advice))
            text = _notebook_text(notebook, failure)
        try:
            self._write(text)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.running.replace(self.path)
            self.saved = True
            self._add_to_list(notebook, failure)
        except OSError as error:
            why = one_line(f"{error.strerror or error}: {error.filename or self.path}", 300)
            advice = "Make room, or let this user write there: make doctor tells which."
            failure = combine(failure, Failure(f"the record could not be saved: {why}", advice))
            with suppress(OSError):
                self.running.unlink(missing_ok=True)  # a partial file must not look like the record of a killed run
        return failure

    def _write(self, text: str) -> None:
        self.running.parent.mkdir(parents=True, exist_ok=True)
        self.running.write_bytes(redact(text, self.settings)[0].encode("utf-8", "backslashreplace"))

    def _add_to_list(self, notebook: Notebook, failure: Failure | None) -> None:
        """Write the page, then the run's line on the list, with facts from the page. Older versions use the same field names."""
        line = {
            "name": self.path.name,
            "kind": self.kind,
            "started": self.started.isoformat(),
            "seconds": notebook["metadata"].get("papermill", {}).get("duration"),
            "ok": failure is None,
            "said": redact(failure.reason if failure else run_summary(notebook), self.settings)[0],
        }
        sent = outcome(notebook).get("sent")
        line |= {"sent": sent} if isinstance(sent, int) else {}
        try:
            from alerting.reporting.publish import write_run_page  # late: the runner imports it while the kernel starts

            line = write_run_page(self.settings, with_banner(notebook, failure) if failure else notebook, self.path, line)
        except Exception as error:  # noqa: BLE001 - no reason for a run to fail: `make index` can write the page later
            self.trouble = f"the page of the run could not be written: {type(error).__name__}: {error}; make index tries again"
        with (self.path.parent / LIST).open("a", encoding="utf-8", errors="backslashreplace") as lines:
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")


def rescue(settings: Settings) -> tuple[Failure, Record] | None:
    """Publish the records of killed runs as failures. Return the newest failure with its record, or None.

    The caller must hold the lock of runs; otherwise a record may belong to a run in progress.
    """
    newest, left = None, list[Path]()
    with suppress(OSError):
        found = sorted((settings.reports / ".running").glob("alert-*.ipynb"))
        left = [path for path in found if RUN_NAME.fullmatch(path.stem) and path.is_file() and not path.is_symlink()]
    for running in left:
        try:
            started = datetime.strptime(running.stem.split("-")[1], TIME_IN_NAME).replace(tzinfo=UTC)
        except ValueError:
            continue  # no time: not a name of ours
        killed = Failure(
            f"the run {running.stem} was killed before it could end",
            "Look for a restart or too little memory at that time. The next run judges the buckets it left out.",
        )
        record = Record(settings, started, "alert", running)
        try:
            failure = record.publish(json.loads(running.read_text(encoding="utf-8")), killed)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # not the JSON of a notebook
            failure = record.publish(EMPTY, killed)
        newest = (failure or killed, record)
    return newest


def _unused_name(reports: Path, started: datetime, kind: str) -> str:
    """Return an unused file name, such as alert-20261125T071048Z.ipynb, or ...Z-2.ipynb"""
    stem = f"{kind}-{started.strftime(TIME_IN_NAME)}"
    folders = (reports / ".running", reports / "runs" / f"{started:%Y-%m-%d}")
    taken = {path.name for folder in folders for path in folder.glob(f"{stem}*.ipynb")}
    names = (f"{stem}{suffix}.ipynb" for suffix in chain([""], (f"-{number}" for number in count(2))))
    return next(name for name in names if name not in taken)


def _notebook_text(notebook: Notebook, failure: Failure | None) -> str:
    notebook = with_banner(notebook, failure) if failure else notebook
    return json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"
