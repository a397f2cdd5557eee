"""The records of runs: reports/.running/NAME during a run, then reports/runs/DAY/NAME (UTC), and the list of a day's runs."""

import fnmatch
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from alerting.model.errors import AlertingError
from alerting.redaction import MARK, redact
from alerting.reporting.failure import EMPTY, Failure, Notebook, combine, one_line, outcome, run_summary, with_banner
from alerting.settings import ROOT, Settings

if TYPE_CHECKING:
    from alerting.reporting.run_page import RunRecord

LIST = "runs.jsonl"
TIME_IN_NAME = "%Y%m%dT%H%M%SZ"
NOTEBOOK_SUFFIXES = (".ipynb", ".ipynb.gz")
BLOCK_SIZE = 512  # bytes, the unit of st_blocks
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
RUN_NAME = re.compile(r"(alert|rehearsal)-(\d{8}T\d{6}Z)(-\d+)?")
_SENT_IN_SUMMARY = re.compile(r"\b([1-9]\d*) messages? sent")  # lists of older versions have no field with the number


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
    """Publish the records of killed runs as failures. Return the newest and its record, or None. The caller holds the lock."""
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


def day_folders(reports: Path) -> list[Path]:
    """Return the folders of days, newest first. Anything else in reports/runs is ignored."""
    with suppress(OSError):
        found = [day for day in (reports / "runs").iterdir() if _DAY.fullmatch(day.name)]
        return sorted((day for day in found if day.is_dir() and not day.is_symlink()), reverse=True)
    return []


def day_lines(day: Path) -> dict[str, dict[str, Any]]:
    """Return the list of a day, in the order of writing: name of the run -> its line. Damaged lines are left out."""
    lines: dict[str, dict[str, Any]] = {}
    with suppress(OSError):
        for text in (day / LIST).read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                line = json.loads(text)
                if isinstance(line, dict):
                    lines[str(line.get("name", "")).removesuffix(".ipynb")] = line
    return lines


def day_entries(day: Path) -> "list[RunRecord]":
    """Return the runs of a day, newest first: those on its list, and those with a notebook but no line on the list."""
    files = set[str]()
    with suppress(OSError):
        files = set(os.listdir(day))
    lines = {name: line for name, line in day_lines(day).items() if RUN_NAME.fullmatch(name)}
    for file in files:
        name, dot, suffix = file.partition(".")
        if dot + suffix in NOTEBOOK_SUFFIXES and RUN_NAME.fullmatch(name):
            lines.setdefault(name, {})
    runs = [run_record(day.name, name, line, files) for name, line in lines.items()]
    return sorted(runs, key=lambda run: (run.started, run.name.partition("-")[2]), reverse=True)


def run_record(day: str, name: str, line: dict[str, Any], files: Iterable[str]) -> "RunRecord":
    """Return a run from its line on the list, which may be of an older version. `files`: names in its folder."""
    from alerting.reporting.run_page import RunRecord

    summary = line.get("said", "")
    in_summary = _SENT_IN_SUMMARY.search(summary)
    return RunRecord(
        name,
        day,
        _started(line.get("started"), name),
        line.get("ok"),
        summary,
        tuple(line.get("off", ())),
        line["sent"] if "sent" in line else int(in_summary[1]) if in_summary else 0,
        tuple(line.get("messages", ())),
        line.get("open", {}),
        line.get("seconds"),
        {key: file for key, file in line.get("pictures", {}).items() if file in files},
        has_page=f"{name}.html" in files,
        notebook=next((suffix for suffix in NOTEBOOK_SUFFIXES if name + suffix in files), ""),
    )


def _started(listed: Any, name: str) -> datetime:
    """Return the start of a run (aware UTC): from the list, otherwise from its name, otherwise 1970."""
    with suppress(ValueError, TypeError):
        return datetime.fromisoformat(listed)
    with suppress(ValueError):
        return datetime.strptime(name.split("-")[1], TIME_IN_NAME).replace(tzinfo=UTC)
    return datetime(1970, 1, 1, tzinfo=UTC)


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file atomically: other processes see the old content or the new one. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")  # a rehearsal may write beside a run
    part.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace"))
    part.replace(path)


@contextmanager
def os_error(what: str) -> Iterator[None]:
    """Turn an OSError inside the block into an AlertingError whose text begins with `what`."""
    try:
        yield
    except OSError as error:
        raise AlertingError(f"{what}: {error.strerror}: {error.filename}; let this user write there, or make room") from None


def folder_size(path: Path, pattern: str = "*") -> int:
    """Return the bytes on disk of the files below `path` whose names match."""
    total = 0
    for top, _, names in os.walk(path):
        for name in fnmatch.filter(names, pattern):
            with suppress(OSError):
                total += os.lstat(os.path.join(top, name)).st_blocks * BLOCK_SIZE
    return total


def format_size(size: int) -> str:
    """Return a number of bytes as text, such as 12.3 MB."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
