"""The end of old records. What told of something stays; quiet runs are thinned out; what stays is packed.

Whole for a week; then one quiet run an hour, after a month one a day, and none after `keep_days`. Runs that were red or sent
something stay for as long as the memory knows their incidents; of those that only saw an incident go on, one an hour does.
Rehearsals go after a week.
"""

from __future__ import annotations

import gzip
import json
import shutil
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alerting.model.errors import SettingsError
from alerting.reporting.archive import LIST, day_entries, day_folders, day_lines, folder_size, format_size, os_error, write_file
from alerting.reporting.publish import READ, write_index, write_missing_page
from alerting.settings import Settings

if TYPE_CHECKING:
    from alerting.reporting.types import RunRecord

DAY = 24 * 3600
WHOLE, HOURLY, ALERTS = 7, 30, 400  # days; the memory keeps incidents as long as the last


@dataclass(frozen=True)
class PrunePlan:
    """What is to go and to be packed of one day."""

    day: Path
    gone: tuple[RunRecord, ...]
    packed: tuple[RunRecord, ...]
    whole: bool  # nothing of the day stays, its list neither


def prune_records(settings: Settings, keep_days: int, dry_run: bool = False, now: datetime | None = None) -> str:
    """Thin out and pack old records; gives one line about what went, or would. Raises AlertingError."""
    if keep_days < 0:
        raise SettingsError(f"--keep-days {keep_days}: it takes 0 (today's runs) or more")
    now = now or datetime.now(UTC)
    today = now.date()
    plans = [_plan(day, (today - date.fromisoformat(day.name)).days, keep_days) for day in day_folders(settings.reports)]
    before = folder_size(settings.reports)
    if not dry_run:
        with os_error("old runs could not be pruned"):
            for plan in plans:
                _carry_out(settings, plan, (today - date.fromisoformat(plan.day.name)).days)
            _sweep(settings.reports / ".running")
        write_index(settings, fresh=True, now=now)
    return _written(plans, before, folder_size(settings.reports), dry_run)


def _plan(day: Path, age: int, keep_days: int) -> PrunePlan:
    found = [entry for entry in day_entries(day) if entry.href]
    quiet = [entry for entry in reversed(found) if entry.rehearsal or entry.state == "ok"]  # oldest first
    if age > max(ALERTS, keep_days):
        return PrunePlan(day, tuple(found), (), whole=True)
    if age <= min(WHOLE, keep_days):
        return PrunePlan(day, (), (), whole=False)
    watched = [entry for entry in reversed(found) if entry.state == "alert" and not entry.sent and not entry.rehearsal]
    stays = {entry.name for entry in found} - {entry.name for entry in (*quiet, *watched)}
    stays |= _first(watched, lambda entry: entry.started.hour)
    if age <= keep_days:
        live = [entry for entry in quiet if not entry.rehearsal]
        stays |= _first(live, lambda entry: entry.started.hour if age <= HOURLY else 0)
    gone = tuple(entry for entry in found if entry.name not in stays)
    packed = tuple(entry for entry in found if entry.name in stays and entry.notebook == ".ipynb")
    return PrunePlan(day, gone, packed, whole=not stays and age > READ)


def _first(some: Iterable[RunRecord], of: Callable[[RunRecord], int]) -> set[str]:
    """The first of each hour, or of whatever `of` says."""
    found: dict[int, str] = {}
    for entry in some:
        found.setdefault(of(entry), entry.name)
    return set(found.values())


def _carry_out(settings: Settings, plan: PrunePlan, age: int) -> None:
    if plan.whole:
        shutil.rmtree(plan.day)
        return
    told = {str(line.get("name", "")).removesuffix(".ipynb"): line for line in day_lines(plan.day)}
    for entry in plan.packed:
        if not entry.page:
            write_missing_page(settings, plan.day, entry.name, told.get(entry.name, {}))
        _pack(plan.day, entry.name)
    for entry in plan.gone:
        for path in list(plan.day.glob(f"{entry.name}.*")):
            path.unlink()
    if age > READ and plan.gone:  # until then the calendar shows them
        gone = {entry.name for entry in plan.gone}
        kept = [json.dumps(line, ensure_ascii=False) + "\n" for name, line in told.items() if name not in gone]
        write_file(plan.day / LIST, "".join(kept))


def _pack(day: Path, name: str) -> None:
    """The notebook as .gz; pictures that lie beside it are shown from there. What cannot be read is packed as it is."""
    path = day / f"{name}.ipynb"
    content = path.read_bytes()
    with suppress(ValueError, KeyError, TypeError, AttributeError):
        content = json.dumps(_without_pictures(json.loads(content), day, name), ensure_ascii=False, indent=1).encode()
    write_file(day / f"{name}.ipynb.gz", gzip.compress(content, mtime=0))
    path.unlink()
    page = day / f"{name}.html"
    with suppress(FileNotFoundError):
        write_file(page, page.read_bytes().replace(f'href="{name}.ipynb"'.encode(), f'href="{name}.ipynb.gz"'.encode()))


def _without_pictures(notebook: dict[str, Any], day: Path, name: str) -> dict[str, Any]:
    """Pictures are numbered in the order of the notebook, as the page numbers them."""
    from alerting.reporting.sanitize import move_pictures

    return move_pictures(notebook, name, lambda file, data: (day / file).is_file() and (day / file).read_bytes() == data)


def _sweep(running: Path) -> None:
    """What killed rehearsals left behind; a killed run's record is published by the next run."""
    for path in running.glob("rehearsal-*.ipynb"):
        if time.time() - path.stat().st_mtime > DAY:
            path.unlink()


def _written(plans: list[PrunePlan], before: int, after: int, dry_run: bool) -> str:
    gone, packed = sum(len(plan.gone) for plan in plans), sum(len(plan.packed) for plan in plans)
    if dry_run:
        return f"{gone} runs would go, {packed} would be packed; reports take {format_size(before)}"
    return f"{gone} runs deleted, {packed} packed; reports take {format_size(after)} (before: {format_size(before)})"
