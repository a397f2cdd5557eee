"""Lists that show themselves in a notebook's cell. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar


class Row(Protocol):
    """What can be a line of a table."""

    def cells(self) -> Mapping[str, Any]: ...


T = TypeVar("T", bound=Row)


class Listed(list[T]):
    """A list as any other; in a cell a table, its times by the clock of `zone`."""

    def __init__(self, items: Iterable[T] = (), noun: str = "rows", zone: str = "UTC") -> None:
        super().__init__(items)
        self.noun, self.zone = noun, zone

    def _repr_html_(self) -> str:
        from alerting.model import cells

        return cells.table(*self._shown())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        from alerting.model import cells

        printer.text(cells.lines(*self._shown()))

    def _shown(self) -> tuple[list[Mapping[str, Any]], str, str]:
        rows = [item.cells() for item in self]
        counted = Counter(str(row["status"]) for row in rows if "status" in row)
        said = ", ".join(f"{count:,} {status}" for status, count in counted.most_common())
        return rows, f"{self.noun.capitalize()}: {said or f'{len(rows):,}'} ({self.zone})", self.zone
