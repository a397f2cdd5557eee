"""The folder of records: the page that lists them, and the end of old ones."""

from __future__ import annotations

import html
import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from alerting.model import AlertingError, SettingsError
from alerting.runner.record import LIST
from alerting.settings import Settings

DAY = 24 * 3600
LISTED = 3000  # runs on the page: a month of them
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Metric checks</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 1em auto; max-width: 60em; padding: 0 1em; color-scheme: light dark }}
table {{ border-collapse: collapse; width: 100% }}
td {{ border-top: 1px solid #8884; padding: .3em .6em .3em 0; vertical-align: top; overflow-wrap: anywhere }}
td:nth-child(-n+2) {{ white-space: nowrap }}
.failed td:nth-child(2) {{ color: #d32f2f; font-weight: bold }}
</style>
<h1>Metric checks</h1>
<p>{count} runs, newest first. Times are UTC.</p>
<table>
{rows}
</table>
</html>
"""


def index(settings: Settings) -> Path:
    """Write reports/index.html from the days' lists; gives its path. Raises AlertingError."""
    rows = []
    for day in _days(settings.reports):
        rows += [_row(day, name, entry) for name, entry in _runs(day)]
        if len(rows) >= LISTED:
            break
    page = settings.reports / "index.html"
    part = page.with_name(".index.html")
    with _told("the list of runs could not be written"):
        part.write_text(PAGE.format(count=len(rows), rows="\n".join(rows)), encoding="utf-8", errors="backslashreplace")
        part.replace(page)
    return page


def last_runs(settings: Settings, count: int) -> list[tuple[str, bool | None, str]]:
    """The newest runs: name, whether it was well (None: not known), what it said of itself."""
    runs = [run for day in _days(settings.reports)[:3] for run in _runs(day) if run[0].startswith("alert-")]
    return [(name, entry.get("ok"), str(entry.get("said", ""))) for name, entry in runs[:count]]


def prune(settings: Settings, keep_days: int, dry_run: bool = False) -> str:
    """Delete the records of days more than `keep_days` ago; gives one line about what went, or would. Raises AlertingError."""
    if keep_days < 0:
        raise SettingsError(f"--keep-days {keep_days}: it takes 0 (today's runs) or more")
    oldest = datetime.now(UTC).date() - timedelta(days=keep_days)
    gone = [day for day in _days(settings.reports) if date.fromisoformat(day.name) < oldest]
    runs = sum(len(list(day.glob("*.ipynb"))) for day in gone)
    if not dry_run:
        with _told("old runs could not be deleted"):
            for day in gone:
                shutil.rmtree(day)
            _sweep(settings.reports / ".running")
        index(settings)
    return f"{runs} runs of {len(gone)} days before {oldest} {'would go' if dry_run else 'deleted'}"


def _sweep(running: Path) -> None:
    """What killed rehearsals left behind; a killed run's record is published by the next run."""
    for path in running.glob("rehearsal-*.ipynb"):
        if time.time() - path.stat().st_mtime > DAY:
            path.unlink()


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AlertingError(f"{what}: {error.strerror}: {error.filename}; let this user write there, or make room") from None


def _days(reports: Path) -> list[Path]:
    """Folders of days, newest first; nothing else is ours."""
    with suppress(OSError):
        found = [day for day in (reports / "runs").iterdir() if re.fullmatch(r"\d{4}-\d\d-\d\d", day.name)]
        return sorted((day for day in found if day.is_dir() and not day.is_symlink()), reverse=True)
    return []


def _runs(day: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The day's notebooks as they lie there, newest first, with what the list says about each."""
    entries: dict[str, dict[str, Any]] = {}
    with suppress(OSError):
        for line in (day / LIST).read_text(encoding="utf-8", errors="replace").splitlines():
            entry = _entry(line)
            entries[str(entry.get("name"))] = entry
    for path in sorted(day.glob("*.ipynb"), key=lambda path: path.stem.partition("-")[2], reverse=True):
        yield path.name, entries.get(path.name, {})


def _entry(line: str) -> dict[str, Any]:
    """One line of a list; nothing when it is damaged."""
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _row(day: Path, name: str, entry: dict[str, Any]) -> str:
    ok = entry.get("ok")
    status = "unknown" if ok is None else "ok" if ok else "failed"
    kind = " (rehearsal)" if name.startswith("rehearsal-") else ""
    stamp = name.partition("-")[2]
    time = f"{day.name} {stamp[9:11]}:{stamp[11:13]}"
    link = f'<a href="{html.escape(quote(f"runs/{day.name}/{name}"))}">{html.escape(time)}</a>'
    cells = (link, status + kind, html.escape(str(entry.get("said", ""))))
    return f'<tr class="{status}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
