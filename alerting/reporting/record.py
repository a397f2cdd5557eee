"""The record of a run: reports/.running/NAME while it goes on, reports/runs/DATE/NAME as soon as it is over, whole.

Beside each lies a page that people read; and beside a day's records their list, one line of JSON each, so that nobody has to
open the notebooks for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alerting.redaction import MARK, redact
from alerting.reporting.archive import LIST, STAMP
from alerting.reporting.failure import EMPTY, Failure, Notebook, both, one_line, outcome, said, shown
from alerting.settings import ROOT, Settings


class Record:
    """Where one run is written down. `kind`: alert or rehearsal."""

    def __init__(self, settings: Settings, started: datetime, kind: str, running: Path | None = None) -> None:
        self.settings, self.started, self.kind = settings, started, kind
        name = running.name if running else _free(settings.reports, started, kind)
        self.saved = False
        self.trouble = ""  # why there is no page of it
        self.running = settings.reports / ".running" / name
        self.path = settings.reports / "runs" / f"{started:%Y-%m-%d}" / name

    @property
    def link(self) -> str:
        """What a message may point at: the URL of its page where reports/ is served, the notebook's path otherwise."""
        if self.settings.runs_url:
            page = self.path.with_suffix(".html").relative_to(self.settings.reports)
            return f"{self.settings.runs_url}/{quote(page.as_posix())}"
        return str(self.path.relative_to(ROOT) if self.path.is_relative_to(ROOT) else self.path)

    def keep(self, notebook: Notebook) -> None:
        """Save how far the run came: the evidence if this process is killed. Best effort."""
        with suppress(OSError, RuntimeError, ValueError):  # no room; or the notebook changed under our hands: next time
            self._write(json.dumps(notebook, ensure_ascii=False))

    def publish(self, notebook: Notebook, failure: Failure | None) -> Failure | None:
        """Put the notebook in its place, whole, and on the list; gives `failure`, and what else went wrong here."""
        failure = both(failure, _leak(redact(_text(notebook, failure), self.settings)[1]))
        try:
            self._write(_text(notebook, failure))
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.running.replace(self.path)
            self.saved = True
            self._enter(notebook, failure)
        except OSError as error:
            why = one_line(f"{error.strerror or error}: {error.filename or self.path}", 300)
            advice = "Make room, or let this user write there: make doctor tells which."
            failure = both(failure, Failure(f"the record could not be saved: {why}", advice))
            with suppress(OSError):
                self.running.unlink(missing_ok=True)  # half of it must not be taken for a run that was killed
        return failure

    def _write(self, text: str) -> None:
        self.running.parent.mkdir(parents=True, exist_ok=True)
        self.running.write_bytes(redact(text, self.settings)[0].encode("utf-8", "backslashreplace"))

    def _enter(self, notebook: Notebook, failure: Failure | None) -> None:
        entry = {
            "name": self.path.name,
            "kind": self.kind,
            "started": self.started.isoformat(),
            "seconds": notebook["metadata"].get("papermill", {}).get("duration"),
            "ok": failure is None,
            "said": redact(failure.reason if failure else said(notebook), self.settings)[0],
        }
        sent = outcome(notebook).get("sent")
        entry |= {"sent": sent} if isinstance(sent, int) else {}
        entry = self._page(notebook, failure, entry)
        with (self.path.parent / LIST).open("a", encoding="utf-8", errors="backslashreplace") as lines:
            lines.write(json.dumps(entry, ensure_ascii=False) + "\n")

    def _page(self, notebook: Notebook, failure: Failure | None, entry: dict[str, Any]) -> dict[str, Any]:
        """Write the page that people read; gives the entry and what else is known of the run."""
        from alerting.reporting.publish import write_run_page  # late: the kernel has run by now

        try:
            return write_run_page(self.settings, shown(notebook, failure) if failure else notebook, self.path, entry)
        except Exception as error:  # noqa: BLE001 - the record is what counts, and its page can be made later: make index
            self.trouble = f"the page of the run could not be written: {type(error).__name__}: {error}; make index tries again"
            return entry


def rescue(settings: Settings) -> Failure | None:
    """Publish what killed runs left behind, as the failures they were; gives the newest.

    Only who holds the lock may do this: nobody else is running then.
    """
    failure = None
    for running in _left(settings.reports / ".running"):
        failure = Failure(
            f"the run {running.stem} was killed before it could end",
            "Look for a restart or too little memory at that time. The next run judges the buckets it left out.",
        )
        try:
            notebook = json.loads(running.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            notebook = EMPTY
        started = datetime.strptime(running.stem.split("-")[1], STAMP).replace(tzinfo=UTC)
        failure = Record(settings, started, "alert", running).publish(notebook, failure)
    return failure


def _left(folder: Path) -> Iterator[Path]:
    with suppress(OSError):
        yield from sorted(folder.glob("alert-[0-9]*T[0-9]*Z*.ipynb"))


def _free(reports: Path, started: datetime, kind: str) -> str:
    """A name that no earlier run has."""
    stem = f"{kind}-{started.strftime(STAMP)}"
    for ending in ("", *(f"-{number}" for number in range(2, 100))):
        name = f"{stem}{ending}.ipynb"
        places = (reports / ".running" / name, reports / "runs" / f"{started:%Y-%m-%d}" / name)
        if not any(_exists(place) for place in places):
            break
    return name


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def _text(notebook: Notebook, failure: Failure | None) -> str:
    notebook = shown(notebook, failure) if failure else notebook
    return json.dumps(notebook, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _leak(count: int) -> Failure | None:
    if not count:
        return None
    times = "once" if count == 1 else f"{count} times"
    return Failure(
        f"the notebook showed a secret {times}; {MARK} stands there now",
        "Find the cell that shows it. Whoever could read this folder during the run may have seen it: consider a new one.",
    )
