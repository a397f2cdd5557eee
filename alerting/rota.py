"""The rota: who is on call when, from a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path

from alerting.model.clock import Shift, parse_local

COLUMNS = ["from", "until", "mention"]


def read_rota(path: Path, zone: str) -> tuple[tuple[Shift, ...], list[str]]:
    """Return the shifts of the file, and a note for each invalid line; nothing if there is no file.

    `zone`: the time zone of times without an offset. A date is a whole day, so `until` includes it.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines() if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        return (), [f"rota {path}: it cannot be read ({type(error).__name__}): save it as UTF-8 text"]
    shifts, notes = [], []
    for number, line in enumerate(lines, 1):
        row = [cell.strip() for cell in next(csv.reader([line]), [])]
        if not any(row) or row[0].startswith("#") or row == COLUMNS:
            continue
        try:
            shifts.append(_shift(row, zone))
        except ValueError as error:
            notes.append(f"rota {path.name}, line {number}: {error}")
    return tuple(shifts), notes


def _shift(row: list[str], zone: str) -> Shift:
    """Return the shift of one line. Raises ValueError."""
    if len(row) != len(COLUMNS) or not row[2]:
        raise ValueError(f"it takes three columns: {','.join(COLUMNS)}")
    start, end = parse_local(row[0], zone)[0], parse_local(row[1], zone)[1]
    if end <= start:
        raise ValueError(f"its end {row[1]} is not after its start {row[0]}")
    return Shift(start, end, row[2])
