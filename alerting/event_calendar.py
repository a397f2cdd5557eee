"""Read the calendar (releases, campaigns, experiments) and the rota (who is on call when) from CSV files; public holidays."""

import csv
from collections.abc import Callable, Collection
from datetime import UTC, datetime, time
from functools import partial
from pathlib import Path
from typing import TypeVar
from zoneinfo import ZoneInfo

from alerting.model.clock import DAY, Shift, parse_local
from alerting.model.errors import SettingsError
from alerting.model.metric import CalendarEvent, unknown_metrics

CALENDAR_COLUMNS = ["start", "end", "kind", "title"]  # a fifth column, "metrics", is optional
ROTA_COLUMNS = ["from", "until", "mention"]
UNLEARNED = "this holiday is shown, but not learned: that takes whole days (dates without a time) and no metrics"
T = TypeVar("T", CalendarEvent, Shift)


def check_calendar(path: Path, countries: str, optional: bool) -> None:
    """Raise SettingsError if the file (absent only if `optional`) cannot be read or a country is unknown. No line is checked."""
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
    """Return the events of the file, and a note for each line that is invalid or a holiday that is only shown, not learned.

    `zone`: the time zone of times without an offset. `metrics`: the names that are valid in the last column.
    """
    return _read(path, "calendar", CALENDAR_COLUMNS, partial(_event, zone=zone, metrics=metrics))


def read_rota(path: Path, zone: str) -> tuple[tuple[Shift, ...], list[str]]:
    """Return the shifts of the file, and a note for each invalid line. `zone`: that of times; a date is a whole day."""
    shifts, notes = _read(path, "rota", ROTA_COLUMNS, partial(_shift, zone=zone))
    return tuple(shifts), notes


def _read(path: Path, name: str, columns: list[str], parse: Callable[[list[str]], tuple[T, str]]) -> tuple[list[T], list[str]]:
    """Return what `parse` makes of each line with content, and notes: its errors, and its remarks about valid lines."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines() if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        return [], [f"{name} {path}: it cannot be read ({type(error).__name__}): save it as UTF-8 text"]
    found, notes = list[T](), []
    for number, line in enumerate(lines, 1):
        row = [cell.strip() for cell in next(csv.reader([line]), [])]
        if not any(row) or row[0].startswith("#") or row[: len(columns)] == columns:
            continue
        try:
            item, remark = parse(row)
            found.append(item)
        except ValueError as error:
            remark = str(error)
        if remark:
            notes.append(f"{name} {path.name}, line {number}: {remark}")
    return found, notes


def _event(row: list[str], zone: str, metrics: Collection[str]) -> tuple[CalendarEvent, str]:
    """Return the event of one line, and a remark if it is a holiday that is only shown. Raises ValueError."""
    if len(row) < 4:
        raise ValueError(f"it has {len(row)} columns: {','.join(CALENDAR_COLUMNS)},metrics")
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
    event = CalendarEvent(begins, ends, kind, title, names)
    return event, UNLEARNED if event.is_holiday and not event.holidays(zone) else ""


def _shift(row: list[str], zone: str) -> tuple[Shift, str]:
    """Return the shift of one line. Raises ValueError."""
    if len(row) != len(ROTA_COLUMNS) or not row[2]:
        raise ValueError(f"it takes three columns: {','.join(ROTA_COLUMNS)}")
    start, end = parse_local(row[0], zone)[0], parse_local(row[1], zone)[1]
    if end <= start:
        raise ValueError(f"its end {row[1]} is not after its start {row[0]}")
    return Shift(start, end, row[2]), ""


def public_holidays(countries: str, zone: str, around: datetime) -> tuple[list[CalendarEvent], list[str]]:
    """Return the public holidays of countries ("RU,DE-BY") near a time, and a note for each unknown country.

    A holiday lasts from midnight to midnight in `zone`. The package `holidays` has its name in the country's language.
    """
    if not countries:
        return [], []
    import holidays  # late: it is slow to load, and most installations have no holidays

    events, notes = [], []
    years = range((around - 400 * DAY).year, (around + 30 * DAY).year + 1)  # a detector looks 62 days back, also of a long replay
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
