"""The folder of records: reports/runs/DAY (UTC) has the records of the day's runs, and their list in JSON lines."""

from __future__ import annotations

import fnmatch
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alerting.model.errors import AlertingError

if TYPE_CHECKING:
    from alerting.reporting.run_page import RunRecord

LIST = "runs.jsonl"
TIME_IN_NAME = "%Y%m%dT%H%M%SZ"
NOTEBOOK_SUFFIXES = (".ipynb", ".ipynb.gz")
BLOCK_SIZE = 512  # bytes, the unit of st_blocks
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
RUN_NAME = re.compile(r"(alert|rehearsal)-(\d{8}T\d{6}Z)(-\d+)?")
_SENT_IN_SUMMARY = re.compile(r"\b([1-9]\d*) messages? sent")  # lists of older versions have no field with the number


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


def day_entries(day: Path) -> list[RunRecord]:
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


def run_record(day: str, name: str, line: dict[str, Any], files: Iterable[str]) -> RunRecord:
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
