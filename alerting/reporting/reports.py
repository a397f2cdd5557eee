"""The folder of records: days of runs, the pages that make them readable, the end of old ones.

What is slow to load is loaded late: nothing may come before a run's kernel has been started, and `ahead` is for the time in which
the runner waits for it.
"""

from __future__ import annotations

from datetime import datetime
from importlib import import_module
from pathlib import Path

from alerting.settings import Settings


def index(settings: Settings, fresh: bool = False, now: datetime | None = None) -> Path:
    """Write reports/index.html and the pages of incidents; gives the path. Raises AlertingError.

    `fresh`: all of them, and those of runs that have none. `now`: the moment that they are written for; none: the clock's.
    """
    from alerting.reporting.publish import write_index

    return write_index(settings, fresh, now)


def prune(settings: Settings, keep_days: int, dry_run: bool = False, now: datetime | None = None) -> str:
    """Thin out and pack records that are old at `now` (none: the clock's); gives one line about what went, or would.

    Raises AlertingError.
    """
    from alerting.reporting.prune import prune_records

    return prune_records(settings, keep_days, dry_run, now)


def sizes(settings: Settings) -> dict[str, int]:
    """Bytes on the disk: reports, memory."""
    from alerting.reporting.archive import disk_sizes

    return disk_sizes(settings)


def preload() -> None:
    """Load what the end of a run needs."""
    for name in ("reporting.incident_page", "reporting.index_page", "reporting.run_page", "reporting.publish", "store.readonly"):
        import_module(f"alerting.{name}")
