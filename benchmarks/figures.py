"""Figures of `make bench`, and the measurement of a ratio: two actions timed alternately, so that load affects both."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    """One line of the table. `most`, `least`: the target; None for both: no target. `told`: details of the measurement."""

    name: str
    value: float
    most: float | None = None
    unit: str = "times"
    least: float | None = None
    told: str = ""
    curve: tuple[tuple[float, float], ...] = ()  # points of a growth curve: size, seconds

    @property
    def holds(self) -> bool:
        return (self.most is None or self.value <= self.most) and (self.least is None or self.value >= self.least)

    def line(self) -> str:
        asked = f"<= {self.most:g}" if self.most is not None else f">= {self.least:,.0f}" if self.least is not None else "-"
        word = "ok " if self.holds else "BAD"
        value = f"{self.value:,.0f}" if abs(self.value) >= 1000 else f"{self.value:.4g}"
        return f"{word} {self.name:<70} {value:>12} {self.unit:<10} asked {asked:<12} {self.told}".rstrip()


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def in_turn(one: Callable[[], object], other: Callable[[], object], runs: int) -> tuple[float, float, float]:
    """Time both actions alternately. Return the median of the ratios one / other, and both medians in seconds."""
    pairs = [(timed(one), timed(other)) for _ in range(runs)]
    first, second = (median(column) for column in zip(*pairs, strict=True))
    return median(a / b for a, b in pairs), first, second


def ratio(name: str, one: Callable[[], object], other: Callable[[], object], runs: int, most: float | None = None) -> Figure:
    value, first, second = in_turn(one, other, runs)
    return Figure(name, value, most, told=f"({first:.2f} s / {second:.2f} s)")


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the slope of log time against log size (least squares)."""
    xs, ys = [math.log(size) for size in sizes], [math.log(second) for second in seconds]
    x, y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / sum((a - x) ** 2 for a in xs)
