"""`make bench`: measure all figures of docs/performance.md, or some of them. The exit code is 1 if one misses its target.

make bench ARGS="--only floor,course --runs 9"
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

from benchmarks import engines, runs
from benchmarks.figures import Figure
from benchmarks.shape import shape
from benchmarks.world import ROOT

SERVER = ("first_fill", "rows_read", "slices")  # parts that need a ClickHouse server on this machine


def parts(times: int) -> dict[str, Callable[[], Iterator[Figure]]]:
    """Return the parts of the benchmark: name -> function that measures. `times`: pairs of runs for each ratio."""
    whole = {make.__name__: partial(make, times) for make in (runs.floor, runs.course, runs.history, runs.many)}
    return {**whole, **{name: getattr(engines, name) for name in ("bands", "chosen", *SERVER)}, "shape": shape}


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help=f"parts with commas between: {', '.join(parts(1))}")
    parser.add_argument("--runs", type=int, default=7, help="pairs of runs for each ratio (default 7)")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "bench", help="folder for speed.json")
    args = parser.parse_args()
    known = parts(args.runs)
    chosen = [name.strip() for name in args.only.split(",") if name.strip()] or list(known)
    if absent := [name for name in chosen if name not in known]:
        parser.error(f"no part {', '.join(absent)}: there are {', '.join(known)}")
    sys.stdout.write(f"{machine()}\n")
    figures = [figure for name in chosen for figure in _measured(name, known[name])]
    out = args.out / "speed.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"machine": machine(), "figures": [asdict(f) for f in figures]}, indent=1) + "\n", encoding="utf-8")
    return 0 if all(figure.holds for figure in figures) else 1


def machine() -> str:
    """Return processor, cores and Python version in one line."""
    lines = open("/proc/cpuinfo", encoding="utf-8").read().splitlines()  # noqa: SIM115
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def _measured(name: str, make: Callable[[], Iterator[Figure]]) -> Iterator[Figure]:
    """Print and yield each figure as soon as it is measured."""
    if name in SERVER and not (shutil.which("clickhouse-server") or shutil.which("/usr/sbin/clickhouse-server")):
        sys.stdout.write(f"--  {name}: not measured, as there is no clickhouse-server here\n")
        return
    for figure in make():
        sys.stdout.write(figure.line() + "\n")
        sys.stdout.flush()
        yield figure


if __name__ == "__main__":
    sys.exit(main())
