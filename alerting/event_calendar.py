"""The calendar: releases, pushes, campaigns, experiments from a CSV file, and public holidays."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from alerting.model.metric import CalendarEvent

COLUMNS = ["start", "end", "kind", "title", "metrics"]
DAY = timedelta(days=1)


def load_calendar(
    path: Path, zone: str, metrics: Collection[str], countries: str, around: datetime
) -> tuple[tuple[CalendarEvent, ...], list[str]]:
    """What the file and the countries' calendars hold, oldest first, and what was odd about them."""
    written, odd = read_calendar(path, zone, metrics)
    days, strange = public_holidays(countries, zone, around)
    return tuple(sorted([*written, *days], key=lambda occasion: occasion.start)), [*odd, *strange]


def read_calendar(path: Path, zone: str, metrics: Collection[str]) -> tuple[list[CalendarEvent], list[str]]:
    """The file's occasions, and a note for each line that is not one. No file: no occasions.

    `metrics`: names that the last column may hold.
    """
    if not path.exists():
        return [], []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return [], [f"calendar {path}: it cannot be read ({type(error).__name__}): save it as UTF-8 text"]
    numbered = [(n, line) for n, line in enumerate(lines, 1) if line.strip() and not line.lstrip().startswith("#")]
    out, notes = [], []
    for number, line in numbered:
        row = next(csv.reader([line]))
        if [cell.strip() for cell in row[:4]] == COLUMNS[:4]:
            continue
        try:
            out.append(_occasion(row, ZoneInfo(zone), metrics))
        except ValueError as error:
            notes.append(f"calendar {path.name}, line {number}: {error}")
    return out, notes


def _occasion(row: list[str], zone: ZoneInfo, metrics: Collection[str]) -> CalendarEvent:
    if len(row) < 4:
        raise ValueError(f"it has {len(row)} columns: {','.join(COLUMNS)}")
    start, end, kind, title = (cell.strip() for cell in row[:4])
    if not title:
        raise ValueError("it has no title")
    begins, _ = _span(start, zone)
    ends = _span(end, zone)[1] if end else _span(start, zone)[1]
    if ends < begins:
        raise ValueError(f"its end {end} lies before its start {start}")
    names = tuple(row[4].split()) if len(row) > 4 else ()
    absent = [name for name in names if name not in metrics]
    if absent:
        raise ValueError(f"no metric {', '.join(absent)}: there are {', '.join(metrics)}")
    return CalendarEvent(begins, ends, kind, title, names)


def _span(text: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """First instant and end of a written time: the same for a time, a day apart for a date. Raises ValueError."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a time: write it as 2026-11-20 14:05, or 2026-11-20 for the whole day") from None
    local = at if at.tzinfo else at.replace(tzinfo=zone)
    whole = len(text) == len("2026-11-20")
    end = datetime.combine(local.date() + DAY, time(), local.tzinfo) if whole else local
    return local.astimezone(UTC), end.astimezone(UTC)


def public_holidays(countries: str, zone: str, around: datetime) -> tuple[list[CalendarEvent], list[str]]:
    """Public holidays of the countries ("RU,DE-BY") in the year around an instant; notes where the library does not know one.

    The names are those that the package `holidays` has, in the country's own language.
    """
    if not countries:
        return [], []
    import holidays  # only where somebody asks for them

    out, notes = [], []
    years = {(around - 100 * DAY).year, (around + 30 * DAY).year}
    for code in countries.split(","):
        country, _, part = code.partition("-")
        try:
            days = holidays.country_holidays(country, subdiv=part or None, years=years)
        except NotImplementedError:
            notes.append(f"ALERTING_HOLIDAYS={code}: the package holidays does not know it")
            continue
        out += list(_days(days, ZoneInfo(zone)))
    return out, notes


def _days(days: dict, zone: ZoneInfo) -> Iterator[CalendarEvent]:
    for day, name in sorted(days.items()):
        start = datetime.combine(day, time(), zone)
        yield CalendarEvent(start.astimezone(UTC), (start + DAY).astimezone(UTC), "holiday", name)
