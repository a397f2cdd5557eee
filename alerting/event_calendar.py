"""The calendar: releases, push notifications, campaigns and experiments from a CSV file, and public holidays."""

from __future__ import annotations

import csv
from collections.abc import Collection
from datetime import UTC, datetime, time
from pathlib import Path
from zoneinfo import ZoneInfo

from alerting.model.clock import DAY, parse_local
from alerting.model.errors import SettingsError
from alerting.model.metric import CalendarEvent, unknown_metrics

COLUMNS = ["start", "end", "kind", "title", "metrics"]


def load_calendar(
    path: Path, zone: str, metrics: Collection[str], countries: str, around: datetime
) -> tuple[tuple[CalendarEvent, ...], list[str]]:
    """Return calendar events (the file's and public holidays, oldest first), and a note for each error in file or countries."""
    events, notes = read_calendar(path, zone, metrics)
    holidays, holiday_notes = public_holidays(countries, zone, around)
    return tuple(sorted([*events, *holidays], key=lambda event: event.start)), [*notes, *holiday_notes]


def check_calendar(path: Path, countries: str, optional: bool) -> None:
    """Raise SettingsError when the file cannot be read, or a country is not known. `optional`: there need not be a file.

    A line that is wrong is no error: it is left out, with a note in the run.
    """
    try:
        if path.exists() or not optional:
            path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"ALERTING_CALENDAR={str(path)!r} cannot be read ({type(error).__name__}): give the path of a UTF-8 text file"
        ) from None
    if notes := public_holidays(countries, "UTC", datetime.now(UTC))[1]:
        raise SettingsError("; ".join(notes))


def read_calendar(path: Path, zone: str, metrics: Collection[str]) -> tuple[list[CalendarEvent], list[str]]:
    """Return the events of the file, and a note for each invalid line; two empty lists if there is no file.

    `zone`: the time zone of times without an offset. `metrics`: the names that are valid in the last column.
    """
    if not path.exists():
        return [], []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        return [], [f"calendar {path}: it cannot be read ({type(error).__name__}): save it as UTF-8 text"]
    events, notes = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        row = [cell.strip() for cell in next(csv.reader([line]))]
        if row[:4] == COLUMNS[:4]:
            continue
        try:
            events.append(_event(row, zone, metrics))
        except ValueError as error:
            notes.append(f"calendar {path.name}, line {number}: {error}")
    return events, notes


def _event(row: list[str], zone: str, metrics: Collection[str]) -> CalendarEvent:
    """Return the event of one line. Raises ValueError."""
    if len(row) < 4:
        raise ValueError(f"it has {len(row)} columns: {','.join(COLUMNS)}")
    start, end, kind, title, *rest = row
    if not title:
        raise ValueError("it has no title")
    (begins, ends), names = parse_local(start, zone), tuple(rest[0].split()) if rest else ()
    if end:
        ends = parse_local(end, zone)[1]
    if ends < begins:
        raise ValueError(f"its end {end} lies before its start {start}")
    if error := unknown_metrics(names, metrics):
        raise ValueError(error)
    return CalendarEvent(begins, ends, kind, title, names)


def public_holidays(countries: str, zone: str, around: datetime) -> tuple[list[CalendarEvent], list[str]]:
    """Return the public holidays of countries ("RU,DE-BY") in the years around a time, and a note for each unknown country.

    A holiday lasts from midnight to midnight in `zone`. The package `holidays` names it in the country's language.
    """
    if not countries:
        return [], []
    import holidays  # late: it is slow to load, and most installations have no holidays

    events, notes = [], []
    years = {(around - 100 * DAY).year, (around + 30 * DAY).year}
    for code in countries.split(","):
        country, _, subdivision = code.partition("-")
        try:
            days = holidays.country_holidays(country, subdiv=subdivision or None, years=years)
        except NotImplementedError:
            notes.append(f"ALERTING_HOLIDAYS={code}: the package holidays does not know it")
            continue
        for day, name in sorted(days.items()):
            start = datetime.combine(day, time(), ZoneInfo(zone))
            events.append(CalendarEvent(start.astimezone(UTC), (start + DAY).astimezone(UTC), "holiday", name))
    return events, notes
