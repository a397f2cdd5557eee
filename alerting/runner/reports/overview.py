"""reports/index.html, at the end of every run: days of runs from their lists, incidents from the memory."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from alerting.runner.reports import files, stories, titles, writing
from alerting.runner.reports.days import days, entries, lines
from alerting.runner.scrub import scrubbed
from alerting.settings import Settings

if TYPE_CHECKING:
    from alerting.pages.nouns import Entry

LISTED = 3000  # runs on the page: a month of them, or three months that were thinned out
READ = 33  # days that are read for the calendar, whatever is on them


def index(settings: Settings, fresh: bool = False) -> Path:
    """Write the page and those of the incidents; gives its path. Raises AlertingError.

    `fresh`: nothing that was kept is believed, and runs that have no page get one.
    """
    from alerting.pages.index import index as page

    with files.told("the list of runs could not be written"):
        if fresh:
            _late(settings)
        found = listed(settings)
        reader = titles.reader(settings, datetime.now(UTC))
        cards, opened, note = stories.write(settings, found, reader, fresh)
        path = settings.reports / "index.html"
        files.write(path, page(found, cards, reader, opened, scrubbed(note, settings)[0]))
    return path


def listed(settings: Settings) -> list[Entry]:
    """Newest first, and no more than the page shows."""
    found: list[Entry] = []
    kept = 0
    for n, day in enumerate(days(settings.reports)):
        if kept >= LISTED and n >= READ:
            break
        some = entries(day)
        found += some
        kept += sum(bool(entry.href) for entry in some)
    return found


def _late(settings: Settings) -> None:
    for day in days(settings.reports):
        told = {str(line.get("name", "")).removesuffix(".ipynb"): line for line in lines(day)}
        for entry in entries(day):
            if not entry.page and entry.notebook:
                writing.late(settings, day, entry.name, told.get(entry.name, {}))
