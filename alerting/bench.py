"""`make bench`: speed and memory of this repository, as ratios of two things timed in one run on one machine."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from threading import Event, Thread

import numpy as np
import pandas as pd

from alerting.detectors import IQR, SameSlot
from alerting.model import Query, Status, Verdict
from alerting.settings import ROOT, Settings

BUCKETS = 400_000
EVENTS = 10_000_000
DIMENSION_PAIRS = 21  # of seven attributes
PLAIN = """WITH 0 AS since, 0 AS until, 900 AS step
SELECT intDiv(until - 1 - toUInt32(time), 86400) AS days_ago, uniqExact(user_id) AS users, countIf(action = 'view') AS views
FROM feed_actions
WHERE time >= toDateTime(since) AND time < toDateTime(until)
  AND (until - 1 - toUInt32(time)) % 86400 < (until - since) % 86400
GROUP BY days_ago"""
EMPTY = {"cells": [], "metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}


@dataclass(frozen=True)
class Figure:
    """One line of the table. `asked` in words; `holds`: whether `value` is within it."""

    name: str
    value: float
    unit: str
    asked: str
    holds: bool


def main(settings: Settings, runs: int) -> int:
    """Measure, print the table, write reports/bench/speed.json; exit code 1 when a figure is not held."""
    figures = [*_quiet_run(runs), _bands(), *_slices(runs)]
    sys.stdout.write(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}\n")
    for f in figures:
        sys.stdout.write(f"{'ok ' if f.holds else 'BAD'} {f.name:<62} {f.value:>12.4g} {f.unit:<10} asked {f.asked}\n")
    out = settings.reports / "bench" / "speed.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps([asdict(f) for f in figures], indent=1) + "\n", encoding="utf-8")
    return 0 if all(f.holds for f in figures) else 1


def _quiet_run(runs: int) -> list[Figure]:
    """`make run-alerts` over the embedded app, a new bucket each time, in turn with papermill on an empty notebook."""
    with tempfile.TemporaryDirectory() as folder:
        app = _App(Path(folder))
        app.quiet()  # not counted: fonts, caches
        app.empty()
        pairs = [(_timed(app.quiet), _timed(app.empty)) for _ in range(runs)]
        largest, own = _peaks(app.quiet)
    ratio = median(quiet / empty for quiet, empty in pairs)
    return [
        Figure("a quiet `make run-alerts` / papermill on an empty notebook", ratio, "times", "<= 2.0", ratio <= 2.0),
        Figure("the same in seconds, median", median(q for q, _ in pairs), "s", "-", True),
        Figure("peak resident memory of the largest process of a run", largest, "MB", "<= 400", largest <= 400),
        Figure("own (anonymous) memory of all its processes at once, peak", own, "MB", "-", True),
    ]


class _App:
    """The two commands, and a clock that goes on by a bucket with every quiet run."""

    def __init__(self, folder: Path) -> None:
        from alerting.simulate import simulate

        self.folder, self.at = folder, datetime.now(UTC) - timedelta(days=2)
        (folder / "empty.ipynb").write_text(json.dumps(EMPTY), encoding="utf-8")
        simulate(folder / "data" / "app", datetime.now(UTC), incidents="none")
        given = {
            "ALERTING_DATA": str(folder / "data"),
            "ALERTING_REPORTS": str(folder / "reports"),
            "ALERTING_SOURCE": "embedded",
        }
        self.environ = {**{k: v for k, v in os.environ.items() if not k.startswith("ALERTING_")}, **given}

    def quiet(self) -> None:
        self.at += timedelta(minutes=15)
        venv = f"VENV={Path(sys.prefix).name}"
        at = f"ARGS=--at {self.at:%Y-%m-%dT%H:%MZ}"
        self._call(["make", "--no-print-directory", "-C", str(ROOT), "run-alerts", at, venv])

    def empty(self) -> None:
        self._call([sys.executable, "-m", "papermill", "--no-progress-bar", "--kernel", "python3", "empty.ipynb", "out.ipynb"])

    def _call(self, command: list[str]) -> None:
        subprocess.run(command, cwd=self.folder, env=self.environ, check=True, capture_output=True)


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _peaks(action: Callable[[], None]) -> tuple[float, float]:
    """MB of the largest process that `action` starts, and of all of them at once without what they only map from files.

    Looked at every 10 ms. The system itself keeps the peak of each process.
    """
    done, seen = Event(), []

    def watch() -> None:
        while not done.wait(0.01):
            seen.append(_memory(os.getpid()))

    watcher = Thread(target=watch)
    watcher.start()
    try:
        action()
    finally:
        done.set()
        watcher.join()
    return max(largest for largest, _ in seen), max(own for _, own in seen)


def _memory(root: int) -> tuple[float, float]:
    """Of the descendants of a process, in MB: the highest peak of one, and what is their own now, summed up.

    Without its children: they are `make`, and before that, for a moment, a second name of the memory of the process itself.
    """
    parents: dict[int, int] = {}
    peaks: dict[int, float] = {}
    own: dict[int, float] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except (OSError, ValueError):
            continue  # it ended while we looked
        pid = int(status.parent.name)
        parents[pid] = int(lines["PPid"])
        peaks[pid], own[pid] = (int(lines.get(name, "0").split()[0]) * 1024 / 1e6 for name in ("VmHWM", "RssAnon"))
    family = [pid for pid in peaks if root not in (pid, parents[pid]) and _descends(pid, root, parents)]
    return max((peaks[pid] for pid in family), default=0.0), sum(own[pid] for pid in family)


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid in parents and pid != root:
        pid = parents[pid]
    return pid == root


def _bands() -> Figure:
    """Bands over 84 values of the past, some of them NaN, on one core."""
    values = np.random.default_rng(0).gamma(50, 10, BUCKETS)
    values[::17] = np.nan
    series = pd.Series(values, pd.date_range("2000-01-01", periods=BUCKETS, freq="15min", tz="UTC"))
    rule = IQR(over=SameSlot(days=28, near=1))
    rate = _rate(rule, series)
    return Figure("bands over 84 lags with NaN", rate, "buckets/s", ">= 1000000", rate >= 1e6)


def _slices(runs: int) -> list[Figure]:
    """What explains one incident, on the embedded engine: the query and the search, beside the plain sums of the same window."""
    from alerting import metrics, wiring
    from alerting.pipeline.causes import DAYS, caused
    from alerting.simulate import simulate
    from alerting.sources.embedded import Embedded

    now = datetime.now(UTC).replace(hour=18, minute=0, second=0, microsecond=0) - timedelta(days=1)
    views = next(metric for metric in metrics.METRICS if metric.name == "views")
    query = wiring.queries(wiring.SQL / "slices")[views.query]
    sums = Query(views.query, PLAIN)
    start, total = now - timedelta(days=DAYS, minutes=15), Verdict("views", now, Status.ANOMALOUS, 80.0, 90.0, 100.0, 110.0, -2.0)
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder) / "app", now, days=DAYS + 1, events_per_day=EVENTS // DAYS, incidents="none")
        source = Embedded(Path(folder) / "app")
        try:
            pairs = [
                (
                    _timed(lambda: caused(views, source.rows(query, start, now), total)),
                    _timed(lambda: source.rows(sums, start, now)),
                )
                for _ in range(runs + 1)
            ][1:]  # the first reads the files from disk
        finally:
            source.close()
    seconds = median(whole for whole, _ in pairs)
    ratio = median(whole / plain for whole, plain in pairs) / DIMENSION_PAIRS
    return [
        Figure(f"what explains one incident, {EVENTS:,} events in 28 days", seconds, "s", "<= 3", seconds <= 3),
        Figure("the same / the plain sums of the window, per pair of dimensions", ratio, "times", "<= 1.5", ratio <= 1.5),
    ]


def _rate(rule: IQR, series: pd.Series) -> float:
    seconds = []
    for _ in range(3):
        start = time.process_time()
        rule.band(series)
        seconds.append(time.process_time() - start)
    return len(series) / median(seconds)
