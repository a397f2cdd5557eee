"""What lies in reports/runs: a folder a day, in it the records and their list, one line of JSON each."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alerting.model.errors import AlertingError
from alerting.settings import ROOT, Settings

if TYPE_CHECKING:
    from alerting.reporting.types import PageContext, RunRecord

LIST = "runs.jsonl"
STAMP = "%Y%m%dT%H%M%SZ"
NOTEBOOKS = (".ipynb", ".ipynb.gz")
SENT = re.compile(r"\b([1-9]\d*) messages? sent")  # in the words of runs from before their entries counted them
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_NAME = re.compile(r"(alert|rehearsal)-(\d{8}T\d{6}Z)(-\d+)?")


def day_folders(reports: Path) -> list[Path]:
    """Folders of days, newest first; nothing else is ours."""
    with suppress(OSError):
        found = [day for day in (reports / "runs").iterdir() if _DAY.fullmatch(day.name)]
        return sorted((day for day in found if day.is_dir() and not day.is_symlink()), reverse=True)
    return []


def day_entries(day: Path) -> list[RunRecord]:
    """The day's runs, newest first: those on its list, kept or not, and those that lie there and are on no list."""
    files = _files(day)
    told = {str(line.get("name", "")).removesuffix(".ipynb"): line for line in day_lines(day)}
    names = [name for name in told if _NAME.fullmatch(name)]
    names += [name for name in _records(files) if name not in told]
    made = [_entry(day.name, name, told.get(name, {}), files) for name in names]
    return sorted(made, key=lambda entry: (entry.started, entry.name.partition("-")[2]), reverse=True)


def day_lines(day: Path) -> Iterator[dict[str, Any]]:
    """The day's list; a damaged line is left out."""
    with suppress(OSError):
        for line in (day / LIST).read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict):
                    yield entry


def last_runs(settings: Settings, count: int) -> list[tuple[str, bool | None, str]]:
    """The newest runs: name, whether it was well (None: not known), what it said of itself."""
    runs = [run for day in day_folders(settings.reports)[:3] for run in day_entries(day) if not run.rehearsal]
    return [(f"{run.name}.ipynb", run.ok, run.said) for run in runs[:count]]


def started_at(name: str) -> datetime:
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


def _entry(day: str, name: str, told: dict[str, Any], files: set[str]) -> RunRecord:
    from alerting.reporting.types import RunRecord

    ok, off, sent, said = told.get("ok"), told.get("off"), told.get("sent"), str(told.get("said", ""))
    if not isinstance(sent, int):
        found = SENT.search(said)
        sent = int(found[1]) if found else 0
    seconds, pictures = told.get("seconds"), told.get("pictures")
    return RunRecord(
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
    return started_at(name)


# Files of ours: written whole or not at all, without any secret; what goes wrong is told with what to do.

KEPT = ".pages"  # folder of what need not be made anew for every run


def write_file(path: Path, content: str | bytes) -> None:
    """Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")  # a rehearsal may write beside a run
    part.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace"))
    part.replace(path)


def load_cached(reports: Path, name: str) -> dict[str, Any]:
    """What `keep` has kept, if it is still whole."""
    with suppress(OSError, ValueError):
        found = json.loads((reports / KEPT / name).read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def keep_cached(reports: Path, name: str, content: dict[str, Any]) -> None:
    """Best effort: without it the next run only takes longer."""
    with suppress(OSError):
        write_file(reports / KEPT / name, json.dumps(content, ensure_ascii=False))


@contextmanager
def os_error(what: str) -> Iterator[None]:
    """OSError as AlertingError."""
    try:
        yield
    except OSError as error:
        raise AlertingError(f"{what}: {error.strerror}: {error.filename}; let this user write there, or make room") from None


def code_stamp(reader: PageContext) -> str:
    """Changes whenever something does that is in all the pages: their code, words, titles."""
    made = files_stamp(*sorted((ROOT / "alerting" / "reporting").glob("*.py")))
    about = f"{made} {reader.language} {reader.zone} {reader.titles}"
    return blake2b(about.encode("utf-8", "replace"), digest_size=12).hexdigest()


def files_stamp(*paths: Path) -> str:
    """Changes whenever one of the files does."""
    found = []
    for path in paths:
        with suppress(OSError):
            found.append(str(os.stat(path).st_mtime_ns))
    return " ".join(found)


# How much room records and memory take on the disk.

BLOCK = 512  # bytes, as the system counts them


def disk_sizes(settings: Settings) -> dict[str, int]:
    """Bytes on the disk: reports, memory."""
    memory = settings.data.glob("alerts.sqlite*") if settings.data.is_dir() else ()
    return {"reports": folder_size(settings.reports), "memory": size_of(memory)}


def folder_size(path: Path) -> int:
    return size_of(Path(top) / name for top, _, names in os.walk(path) for name in names)


def size_of(paths: Iterable[Path]) -> int:
    total = 0
    for path in paths:
        with suppress(OSError):
            total += path.lstat().st_blocks * BLOCK
    return total


def format_size(size: int) -> str:
    """12.3 MB"""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
