"""What lies in reports/runs: a folder a day, in it the records and their list, one line of JSON each."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alerting.settings import Settings

if TYPE_CHECKING:  # nothing of the pages is loaded before the kernel runs
    from alerting.pages.nouns import Entry

LIST = "runs.jsonl"
STAMP = "%Y%m%dT%H%M%SZ"
NOTEBOOKS = (".ipynb", ".ipynb.gz")
SENT = re.compile(r"\b([1-9]\d*) messages? sent")  # in the words of runs from before their entries counted them
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_NAME = re.compile(r"(alert|rehearsal)-(\d{8}T\d{6}Z)(-\d+)?")


def days(reports: Path) -> list[Path]:
    """Folders of days, newest first; nothing else is ours."""
    with suppress(OSError):
        found = [day for day in (reports / "runs").iterdir() if _DAY.fullmatch(day.name)]
        return sorted((day for day in found if day.is_dir() and not day.is_symlink()), reverse=True)
    return []


def entries(day: Path) -> list[Entry]:
    """The day's runs, newest first: those on its list, kept or not, and those that lie there and are on no list."""
    files = _files(day)
    told = {str(line.get("name", "")).removesuffix(".ipynb"): line for line in lines(day)}
    names = [name for name in told if _NAME.fullmatch(name)]
    names += [name for name in _records(files) if name not in told]
    made = [_entry(day.name, name, told.get(name, {}), files) for name in names]
    return sorted(made, key=lambda entry: (entry.started, entry.name.partition("-")[2]), reverse=True)


def lines(day: Path) -> Iterator[dict[str, Any]]:
    """The day's list; a damaged line is left out."""
    with suppress(OSError):
        for line in (day / LIST).read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    yield entry


def last_runs(settings: Settings, count: int) -> list[tuple[str, bool | None, str]]:
    """The newest runs: name, whether it was well (None: not known), what it said of itself."""
    runs = [run for day in days(settings.reports)[:3] for run in entries(day) if not run.rehearsal]
    return [(f"{run.name}.ipynb", run.ok, run.said) for run in runs[:count]]


def started(name: str) -> datetime:
    """As the name of a record has it."""
    found = _NAME.fullmatch(name)
    with suppress(ValueError):
        return datetime.strptime(found[2] if found else "", STAMP).replace(tzinfo=UTC)
    return datetime(1970, 1, 1, tzinfo=UTC)


def _files(day: Path) -> set[str]:
    with suppress(OSError):
        return set(os.listdir(day))
    return set()


def _records(files: set[str]) -> Iterator[str]:
    for name in files:
        stem, dot, ending = name.partition(".")
        twice = dot + ending == NOTEBOOKS[1] and stem + NOTEBOOKS[0] in files
        if dot + ending in NOTEBOOKS and _NAME.fullmatch(stem) and not twice:
            yield stem


def _entry(day: str, name: str, told: dict[str, Any], files: set[str]) -> Entry:
    from alerting.pages.nouns import Entry

    ok, off, sent, said = told.get("ok"), told.get("off"), told.get("sent"), str(told.get("said", ""))
    if not isinstance(sent, int):
        found = SENT.search(said)
        sent = int(found[1]) if found else 0
    seconds, pictures = told.get("seconds"), told.get("pictures")
    return Entry(
        name,
        day,
        _began(told.get("started"), name),
        ok if isinstance(ok, bool) else None,
        said,
        tuple(map(str, off)) if isinstance(off, list) else (),
        sent,
        seconds if isinstance(seconds, float) else None,
        {str(key): str(file) for key, file in pictures.items() if file in files} if isinstance(pictures, dict) else {},
        page=f"{name}.html" in files,
        notebook=next((ending for ending in NOTEBOOKS if name + ending in files), ""),
    )


def _began(told: Any, name: str) -> datetime:
    with suppress(ValueError, TypeError):
        at = datetime.fromisoformat(told)
        if at.tzinfo:
            return at
    return started(name)
