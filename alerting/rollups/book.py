"""What is known of the rollups: from when they count live, which days are filled in, and where rows came late after that.

Two small tables beside the rollups, a partition for each of them. A day that got rows after it was filled in is not served
before it is filled in again: nothing that comes late is lost, it is only read from the raw table for a while.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

import pandas as pd

from alerting.model import SourceError

DAY = 86_400
CUT, CHECKED = 0, 1  # in place of a day: epoch seconds from which rows count live; that the answers were compared
DAYS, LATE = "alerting_rollup_days", "alerting_rollup_late_rows"
TABLES = {
    DAYS: "(name String, day UInt32, value UInt64, turn UInt64) ENGINE = MergeTree PARTITION BY name ORDER BY day",
    LATE: "(name String, day UInt32, came UInt64) ENGINE = SummingMergeTree PARTITION BY name ORDER BY day",
}


def question(database: str, names: Iterable[str]) -> str:
    """The one small query that tells all of it."""
    among = ", ".join(f"'{name}'" for name in names)
    parts = [
        f"SELECT name, day, argMax(value, turn) AS number, toUInt8(0) AS late FROM {database}.{DAYS}",
        f"SELECT name, day, sum(came) AS number, toUInt8(1) AS late FROM {database}.{LATE}",
    ]
    return " UNION ALL ".join(f"{part} WHERE name IN ({among}) GROUP BY name, day" for part in parts)


@dataclass(frozen=True)
class Page:
    """Of one rollup. `done`: day (since 1970) -> how many late rows it had when it was filled in; `late`: how many it has."""

    cut: int | None = None
    checked: bool = False
    done: dict[int, int] = field(default_factory=dict)
    late: dict[int, int] = field(default_factory=dict)

    def whole(self, day: int) -> bool:
        """Whether the rollup holds all rows of that day."""
        if self.cut is None:
            return False
        return day > self.last or (day in self.done and self.done[day] == self.late.get(day, 0))

    @property
    def last(self) -> int:
        """The last day of which rows are filled in."""
        return ((self.cut or 1) - 1) // DAY

    @property
    def first(self) -> int:
        """The first day from which on all are whole."""
        day = self.last + 1
        while self.whole(day - 1):
            day -= 1
        return day

    def serves(self, start: datetime, end: datetime) -> bool:
        """Whether all days from `start` to before `end` are whole."""
        first, last = int(start.timestamp()) // DAY, int(end.timestamp() - 1) // DAY
        return self.checked and self.cut is not None and all(self.whole(day) for day in range(first, last + 1))


def pages(rows: pd.DataFrame) -> dict[str, Page]:
    """By rollup, of what `question` is answered with."""
    found = {}
    for name, part in rows.groupby("name"):
        days = part[part["late"] == 0].set_index("day")["number"].astype(int).to_dict()
        late = part[part["late"] == 1].set_index("day")["number"].astype(int).to_dict()
        cut, checked = days.pop(CUT, None), bool(days.pop(CHECKED, 0))
        found[str(name)] = Page(cut, checked, days, late)
    return found


def absent(error: SourceError) -> bool:
    """Whether the question failed as there is no book."""
    return "(code 60)" in str(error) or "(code 81)" in str(error)
