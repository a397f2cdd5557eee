"""Draw the growth curves of docs/performance.md from the last results of `make bench`: reports/bench/growth.png.

.venv-test/bin/python -m benchmarks.drawing
"""

from __future__ import annotations

import json
import sys

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.world import ROOT

BENCH = ROOT / "reports" / "bench"


def main() -> int:
    """Draw every measured curve, time against size, both on logarithmic scales."""
    figures = json.loads((BENCH / "speed.json").read_text(encoding="utf-8"))["figures"]
    curves = {figure["name"]: figure["curve"] for figure in figures if figure["curve"]}
    picture = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    axes = picture.add_subplot()
    for name, points in curves.items():
        sizes, seconds = zip(*points, strict=True)
        axes.loglog(sizes, seconds, marker="o", label=name.partition(":")[0])
    axes.set_xlabel("events")
    axes.set_ylabel("seconds")
    axes.grid(alpha=0.3, which="both")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:g}")
    axes.legend(frameon=False)
    FigureCanvasAgg(picture).print_png(str(BENCH / "growth.png"))
    sys.stdout.write(f"{BENCH / 'growth.png'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
