"""Delete or compress old records.

Runs that failed or sent a message are kept as long as the database keeps incidents (DAYS_ALERTS). Of runs during an open incident
that sent nothing, one per hour is kept as long. Of runs without an alert, all of the last week are kept, then one per hour, after
a month one per day, and none after `keep_days`. Rehearsals are deleted after a week.
"""

import gzip
import json
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from html import escape
from itertools import count
from pathlib import Path
from typing import Any

from alerting.model.errors import SettingsError
from alerting.reporting.publish import CALENDAR_FOLDERS, write_index, write_missing_page
from alerting.reporting.record import LIST, day_entries, day_folders, day_lines, folder_size, format_size, os_error, write_file
from alerting.reporting.run_page import RunRecord
from alerting.reporting.sanitize import PNG, png_data
from alerting.settings import Settings

SECONDS_PER_DAY = 24 * 3600
DAYS_WHOLE, DAYS_HOURLY = 7, 30
DAYS_ALERTS = 400  # the database keeps incidents for the same time
_PICTURE_SOURCE = re.compile(rf'src="{re.escape(PNG)}([A-Za-z0-9+/=\s]*)"')


@dataclass(frozen=True)
class PrunePlan:
    """The records of one day to delete (`deleted`) and to compress (`packed`). `whole`: delete the folder with its list."""

    day: Path
    age: int  # days
    deleted: tuple[RunRecord, ...] = ()
    packed: tuple[RunRecord, ...] = ()
    whole: bool = False


def prune_records(settings: Settings, keep_days: int, dry_run: bool = False, now: datetime | None = None) -> str:
    """Delete and compress the records that are old at `now` (None: the present moment), and rebuild the index.

    Return a line with the number of runs and the disk space before and after. `dry_run`: only count. Raises AlertingError.
    """
    if keep_days < 0:
        raise SettingsError(f"--keep-days {keep_days}: it takes 0 (today's runs) or more")
    now = now or datetime.now(UTC)
    plans = [_plan(day, (now.date() - date.fromisoformat(day.name)).days, keep_days) for day in day_folders(settings.reports)]
    deleted, packed = sum(len(plan.deleted) for plan in plans), sum(len(plan.packed) for plan in plans)
    before = folder_size(settings.reports)
    if dry_run:
        return f"{deleted} runs would go, {packed} would be packed; reports take {format_size(before)}"
    with os_error("old runs could not be pruned"):
        for plan in plans:
            _carry_out(settings, plan)
        for path in (settings.reports / ".running").glob("rehearsal-*.ipynb"):  # notebooks of killed rehearsals
            if time.time() - path.stat().st_mtime > SECONDS_PER_DAY:
                path.unlink()
    write_index(settings, fresh=True, now=now)
    after = folder_size(settings.reports)
    return f"{deleted} runs deleted, {packed} packed; reports take {format_size(after)} (before: {format_size(before)})"


def _plan(day: Path, age: int, keep_days: int) -> PrunePlan:
    found = [run for run in day_entries(day) if run.href]
    if age > max(DAYS_ALERTS, keep_days):
        return PrunePlan(day, age, tuple(found), whole=True)
    if age <= min(DAYS_WHOLE, keep_days):
        return PrunePlan(day, age)
    live = [run for run in found if not run.rehearsal]  # newest first: of several in an hour, the oldest is kept
    no_alert = [run for run in live if run.state == "ok"]
    incident_goes_on = [run for run in live if run.state == "alert" and not run.sent]
    kept = {run.name for run in live if run.sent or run.state in ("failed", "unknown")}
    kept |= {*{run.started.hour: run.name for run in incident_goes_on}.values()}
    if age <= keep_days:
        kept |= {*{run.started.hour if age <= DAYS_HOURLY else 0: run.name for run in no_alert}.values()}
    return PrunePlan(
        day,
        age,
        deleted=tuple(run for run in found if run.name not in kept),
        packed=tuple(run for run in found if run.name in kept and run.notebook == ".ipynb"),
        whole=not kept and age > CALENDAR_FOLDERS,
    )


def _carry_out(settings: Settings, plan: PrunePlan) -> None:
    if plan.whole:
        shutil.rmtree(plan.day)
        return
    for run in plan.packed:
        if not run.has_page:
            write_missing_page(settings, plan.day, run)
        _pack(plan.day, run.name)
    for run in plan.deleted:
        for path in list(plan.day.glob(f"{run.name}.*")):
            path.unlink()
    if plan.age > CALENDAR_FOLDERS and plan.deleted:  # the calendar shows younger days
        deleted = {run.name for run in plan.deleted}
        lines = [json.dumps(line, ensure_ascii=False) + "\n" for name, line in day_lines(plan.day).items() if name not in deleted]
        write_file(plan.day / LIST, "".join(lines))


def _pack(day: Path, name: str) -> None:
    """Compress a notebook, with links in place of pictures that are also files. A damaged notebook is compressed unchanged."""
    path, page = day / f"{name}.ipynb", day / f"{name}.html"
    content = path.read_bytes()
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        content = json.dumps(_link_pictures(json.loads(content), day, name), ensure_ascii=False, indent=1).encode()
    write_file(day / f"{name}.ipynb.gz", gzip.compress(content, mtime=0))
    path.unlink()
    with suppress(FileNotFoundError):
        write_file(page, page.read_bytes().replace(f'href="{name}.ipynb"'.encode(), f'href="{name}.ipynb.gz"'.encode()))


def _link_pictures(notebook: dict[str, Any], day: Path, name: str) -> dict[str, Any]:
    """Return the notebook with a link in place of each picture that equals its file. `run_page` numbers the files."""
    numbers = count(1)

    def file_of(encoded: str) -> str:
        png = png_data(encoded)
        file = f"{name}.{next(numbers)}.png" if png else ""
        return escape(file) if file and (day / file).is_file() and (day / file).read_bytes() == png else ""

    for output in (output for cell in notebook["cells"] for output in cell.get("outputs", ())):
        data = output.get("data", {})
        if "image/png" in data:
            if file := file_of("".join(data["image/png"])):
                del data["image/png"]
                data["text/html"] = f'<img src="{file}">'
        elif "text/html" in data:
            html = "".join(data["text/html"])
            data["text/html"] = _PICTURE_SOURCE.sub(lambda it: f'src="{file}"' if (file := file_of(it[1])) else it[0], html)
    return notebook
