"""The geometry of the charts on pages: the paths of a value, its band and its anomalous buckets, in the syntax of SVG. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from alerting.model.verdict import JudgedPoint

MARGIN = 0.06  # of the height, above the highest and below the lowest value
BAND_ROOM = 1.0  # the band is drawn so far beyond the values, as a share of their range
TICKS = (1, 2, 5, 10)


@dataclass(frozen=True)
class BandChart:
    """The paths of a chart that is `width` x `height`, and the values at its lower and upper edge."""

    width: int
    height: int
    value: str
    band: str
    dots: str  # anomalous buckets, one zero-length stroke each
    low: float
    high: float

    def share(self, value: float) -> float:
        """Return how far below the upper edge a value is drawn, from 0 to 1."""
        return (self.high - value) / (self.high - self.low)


def band_chart(points: Sequence[JudgedPoint], start: int, end: int, width: int, height: int, bins: int) -> BandChart:
    """Return the chart of the buckets from `start` to `end` (seconds since 1970), ordered by time.

    Where there are more than `bins`, several are drawn as one: their lowest and highest value, and the widest of their bands.
    """
    size = max(1, -(-len(points) // bins))
    groups = [points[n : n + size] for n in range(0, len(points), size)]
    low, high = _range(points)
    scale_x, scale_y = width / max(1, end - start), height / (high - low)

    def x(at: float) -> int:
        return round((at - start) * scale_x)

    def y(value: float) -> int:
        return round((high - min(max(value, low), high)) * scale_y)

    value, band, edge, is_drawn = list[str](), list[str](), list[tuple[int, int, int]](), False
    for group in groups:
        seen = [(it.value, it.at) for it in group if it.value is not None]
        for number, at in sorted({min(seen), max(seen)}, key=lambda one: one[1]) if seen else ():
            value.append(f"{'L' if is_drawn else 'M'}{x(at)} {y(number)}")
            is_drawn = True
        is_drawn = bool(seen)
        lows, highs = [it.low for it in group if it.low is not None], [it.high for it in group if it.high is not None]
        if lows and highs:
            edge.append((x(group[0].at), y(max(highs)), y(min(lows))))
        else:
            band += _area(edge)
            edge = []
    dots = [f"M{x(it.at)} {y(it.value)}h0" for it in points if it.status == "anomalous" and it.value is not None]
    return BandChart(width, height, "".join(value), "".join([*band, *_area(edge)]), "".join(dots), low, high)


def ticks(low: float, high: float, count: int = 3) -> list[float]:
    """Return about `count` round values between two others."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = power * next(tick for tick in TICKS if tick * power >= raw)
    return [n * step for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _area(edge: Sequence[tuple[int, int, int]]) -> Iterator[str]:
    """Yield the outline of a band: forward along its upper edge, back along the lower one."""
    if edge:
        upper, lower = (f"{x} {y}" for x, y, _ in edge), (f"{x} {y}" for x, _, y in reversed(edge))
        yield f"M{'L'.join([*upper, *lower])}Z"


def _range(points: Sequence[JudgedPoint]) -> tuple[float, float]:
    """Return the values at the edges of the chart: those of the buckets, and their bands as far as these are near."""
    values, lows, highs = (
        [number for number in column if number is not None and math.isfinite(number)]
        for column in zip(*((it.value, it.low, it.high) for it in points), strict=True)
    )
    least, most = min(values, default=0.0), max(values, default=0.0)
    room = BAND_ROOM * ((most - least) or abs(most) or 1.0)
    low = min(least, max(min(lows, default=least), least - room))
    high = max(most, min(max(highs, default=most), most + room))
    margin = MARGIN * ((high - low) or abs(high) or 1.0)
    return low - margin, high + margin
