"""reports/index.html, at the end of every run: days of runs from their lists, incidents from the memory.

What the page says of a day is kept beside it, and made anew only when the day's folder has changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alerting.redaction import redact
from alerting.runner.reports import files, stories, titles, writing
from alerting.runner.reports.days import LIST, days, entries, lines
from alerting.settings import Settings

if TYPE_CHECKING:
    from alerting.pages.nouns import Entry, Line, Reader

LISTED = 3000  # runs on the page: a month of them, or three months that were thinned out
READ = 33  # days that are read for the calendar, whatever is on them


def index(settings: Settings, fresh: bool = False, now: datetime | None = None) -> Path:
    """Write the page and those of the incidents; gives its path. Raises AlertingError.

    `fresh`: nothing that was kept is believed, and runs that have no page get one. `now`: the moment of writing, by default now.
    """
    from alerting.pages.index import Overview
    from alerting.pages.index import index as page

    with files.told("the list of runs could not be written"):
        found = days(settings.reports)
        if fresh:
            _late(settings, found)
        reader = titles.reader(settings, now or datetime.now(UTC))
        listed, seen = _lines(settings, found, reader, fresh)
        cards, opened, note = stories.write(settings, reader, fresh)
        told = Overview(listed, _newest(settings, found), cards, opened, seen, redact(note, settings)[0])
        path = settings.reports / "index.html"
        files.write(path, page(told, reader))
    return path


def _newest(settings: Settings, found: Sequence[Path]) -> Entry | None:
    live = (entry for day in found[:2] for entry in entries(day) if not entry.rehearsal)
    return next(live, None)


def _lines(settings: Settings, found: Sequence[Path], reader: Reader, fresh: bool) -> tuple[list[Line], list[str]]:
    """Newest first, and no more than the page shows; and the metrics that were off in them."""
    from alerting.pages.nouns import Line

    listed, seen, shown = list[Line](), dict[str, None](), 0
    key = files.code(reader)
    for n, day in enumerate(found):
        if shown >= LISTED and n >= READ:
            break
        kept = _day(settings, day, reader, key, fresh)
        some = [Line(*line) for line in kept["lines"]]
        listed += some
        shown += sum(line.row != "" for line in some)
        seen |= dict.fromkeys(kept["off"])
    return listed, list(seen)


def _day(settings: Settings, day: Path, reader: Reader, key: str, fresh: bool) -> dict[str, Any]:
    from alerting.pages.listing import line

    name, key = f"{day.name}.json", f"{key} {files.stamp(day, day / LIST)}"
    kept = files.recall(settings.reports, name)
    if fresh or kept.get("key") != key:
        some = [_clean(entry, settings) for entry in entries(day)]
        off = sorted({name for entry in some for name in entry.off})
        kept = {"key": key, "off": off, "lines": [line(entry, reader) for entry in some]}
        files.keep(settings.reports, name, kept)
    return kept


def _clean(entry: Entry, settings: Settings) -> Entry:
    from dataclasses import replace

    return replace(entry, said=redact(entry.said, settings)[0])


def _late(settings: Settings, found: Sequence[Path]) -> None:
    for day in found:
        told = {str(line.get("name", "")).removesuffix(".ipynb"): line for line in lines(day)}
        for entry in entries(day):
            if not entry.page and entry.notebook:
                writing.late(settings, day, entry.name, told.get(entry.name, {}))
