"""A scenario, and its row in the table of results."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

HEAD = ("scenario", "runs", "lost", "repeated", "bound", "secrets", "ok")


@dataclass
class Row:
    """`lost`: incidents of which the beginning or the end was not told; `bound`: how many repeats the faults allow; `wrong`: why
    it is not ok."""

    scenario: str
    runs: int = 0
    lost: int = 0
    repeated: int = 0
    bound: int = 0
    secrets: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not (self.wrong or self.lost or self.secrets or self.repeated > self.bound)

    @property
    def cells(self) -> tuple[str, ...]:
        numbers = (self.runs, self.lost, self.repeated, self.bound, self.secrets)
        return (self.scenario, *map(str, numbers), "ok" if self.ok else "NOT OK")


@dataclass(frozen=True)
class Task:
    """The input of a scenario: a folder of its own, a seed, and the moment (monotonic) by which it must end."""

    folder: Path
    seed: int
    until: float

    @property
    def in_time(self) -> bool:
        return time.monotonic() < self.until


@dataclass(frozen=True)
class Scenario:
    """`play` fills the row."""

    name: str
    play: Callable[[Row, Task], object]

    def row(self, task: Task) -> Row:
        """Play the scenario. An error in it is noted in this row, and other scenarios go on."""
        row = Row(self.name)
        if not task.in_time:
            row.wrong.append("not tried: time was up")
            return row
        try:
            self.play(row, task)
        except Exception as error:  # noqa: BLE001  whatever it is, the others go on
            row.wrong.append(f"{type(error).__name__}: {error}")
        return row


def drawn(rows: Sequence[Row]) -> str:
    """The table, and below it what was wrong."""
    cells = [HEAD, *(row.cells for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
    lines = ["  ".join(map(_padded, range(len(HEAD)), line, widths)).rstrip() for line in cells]
    wrong = [f"{row.scenario}: {why}" for row in rows for why in row.wrong[:20]]
    return "\n".join(["", lines[0], "-" * len(lines[0]), *lines[1:], "", *wrong])


def _padded(column: int, text: str, width: int) -> str:
    return text.ljust(width) if column in (0, len(HEAD) - 1) else text.rjust(width)
