"""Parts of `make bench`: bands, the default detector, the first fill, the rows a run reads, and the search for a root cause."""

from __future__ import annotations

import json
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import requests

from alerting.connections import SQL, load_queries
from alerting.detectors.bands import IQR
from alerting.detectors.baselines import SameSlot
from alerting.model.metric import Query
from alerting.model.protocols import Source
from alerting.sources.base import bind
from alerting.sources.cache import CachedSource
from alerting.sources.clickhouse import ClickHouseSource
from alerting.sources.embedded import EmbeddedSource
from alerting.store.state import StateStore
from benchmarks.figures import Figure, exponent, timed
from benchmarks.slices import NOW

STEP, MONTH = timedelta(minutes=15), timedelta(days=28)
BUCKETS = 400_000
SIZES = (1_000_000, 2_000_000, 4_000_000, 8_000_000, 16_000_000)
LARGE = 3  # the growth is fitted on this many of the largest; fixed costs dominate the smaller ones


def bands() -> Iterator[Figure]:
    """Measure bands over 84 past values, some of them NaN, on one core."""
    values = np.random.default_rng(0).gamma(50, 10, BUCKETS)
    values[::17] = np.nan
    series = pd.Series(values, pd.date_range("2000-01-01", periods=BUCKETS, freq="15min", tz="UTC"))
    rule, seconds = IQR(over=SameSlot(days=28, near=1)), []
    for _ in range(3):
        start = time.process_time()
        rule.band(series)
        seconds.append(time.process_time() - start)
    yield Figure("bands over 84 lags with NaN, judged buckets on one core", len(series) / median(seconds), None, "a second", 2e6)
    tracemalloc.start()
    rule.band(series)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    yield Figure("the same, memory for a million buckets", peak / len(series) * 1e6 / 2**20, 120, "MiB")


def chosen() -> Iterator[Figure]:
    """Measure the default detector on the newest bucket of a series with all of its history."""
    from alerting.detectors.auto import AutoDetector
    from alerting.detectors.series_grid import SeriesGrid

    rng, n = np.random.default_rng(1), 91 * 96
    index = pd.date_range("2026-01-05", periods=n, freq="15min", tz="UTC")
    rhythm = 1000 * (1 + 0.5 * np.sin(2 * np.pi * np.arange(n) / 96))
    values = (rhythm * rng.lognormal(0, 0.03, (64, n))).round()
    rule, known = AutoDetector(), dict[bytes, np.ndarray]()

    def newest() -> None:
        rule.bands(SeriesGrid.at(index, values, "UTC", n - 1, known))

    night = timed(newest) / len(values)
    each = median(timed(newest) for _ in range(5)) / len(values)
    whole = median(timed(lambda: rule.bands(SeriesGrid.at(index, values[:1], "UTC"))) for _ in range(3))
    told = f"({each * 1e3:.2f} ms / {whole * 1e3:.1f} ms)"
    yield Figure("the default rule, its newest bucket / all of its 91 days", each / whole, told=told)
    yield Figure("the same in the first run after midnight, a series", night * 1e3, None, "ms")


def first_fill() -> Iterator[Figure]:
    """Measure the first read of 28 days for a growing number of events, on both engines."""
    from benchmarks.slices import made, served

    seconds: dict[str, list[float]] = {"embedded": [], "ClickHouse server": []}
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            app = made(Path(folder), size)
            with served(app) as server, closing(EmbeddedSource(app)) as embedded:
                for name, source in (("embedded", embedded), ("ClickHouse server", server)):
                    fill(source)  # read the files from disk once before timing
                    seconds[name].append(median(fill(source) for _ in range(3)))
    for name, taken in seconds.items():
        told = " ".join(f"{size / 1e6:g}M {second:.2f}s" for size, second in zip(SIZES, taken, strict=True))
        curve = tuple(zip(SIZES, taken, strict=True))
        words = f"first fill, {name}: exponent of time against events"
        yield Figure(words, exponent(SIZES[-LARGE:], taken[-LARGE:]), 1.1, "", told=f"({told})", curve=curve)


def fill(source: Source) -> float:
    """Return the seconds of a first fetch of 28 days through an empty history cache."""
    with tempfile.TemporaryDirectory() as folder:
        cached = CachedSource(source, StateStore(Path(folder) / "alerts.sqlite"), lambda name: name, clock=lambda: NOW)
        return timed(lambda: cached.fetch(load_queries()["feed_actions"], NOW - MONTH, NOW))


def rows_read(events: int = 8_000_000) -> Iterator[Figure]:
    """Measure the rows that a later run reads from a ClickHouse server, as a share of the rows of 28 days."""
    from benchmarks.slices import made, served

    with tempfile.TemporaryDirectory() as folder:
        app = made(Path(folder), events)
        with served(app) as server:
            counted = Counted(server)
            cached = CachedSource(
                counted, StateStore(Path(folder) / "alerts.sqlite"), lambda name: name, clock=lambda: counted.now
            )
            query, slices = load_queries()["feed_actions"], load_queries(SQL / "slices")["feed_actions"]
            cached.fetch(query, NOW - MONTH, NOW - STEP)
            first, counted.rows = counted.rows, 0
            counted.now = NOW
            cached.fetch(query, NOW - MONTH, NOW)
            again, counted.rows = counted.rows, 0
            counted.count(slices, NOW - MONTH - STEP, NOW)
            yield Figure("rows read by a run after the first / 28 days", again / first, 0.02, "", told=f"({again:,} / {first:,})")
            yield Figure("the same with the slices that are watched", (again + counted.rows) / first, None, "")


class Counted:
    """A ClickHouse source that counts the rows that the server has read."""

    def __init__(self, source: ClickHouseSource) -> None:
        self.source, self.rows, self.now = source, 0, NOW - STEP

    def fetch(self, query: Query, start: datetime, end: datetime) -> pd.DataFrame:
        self.count(query, start, end)
        return self.source.fetch(query, start, end)

    def count(self, query: Query, start: datetime, end: datetime) -> None:
        sql = bind(query, f"default.{query.name}", start, end) + " FORMAT JSON"
        login = {"X-ClickHouse-User": self.source.user, "X-ClickHouse-Key": self.source.password}
        answer = requests.post(self.source.url, data=sql.encode(), headers=login, timeout=120)
        answer.raise_for_status()
        self.rows += json.loads(answer.text)["statistics"]["rows_read"]


def slices(events: int = 8_000_000) -> Iterator[Figure]:
    """Measure the search for a root cause, with one SQL text on both engines."""
    from benchmarks.slices import ratios

    for name, cost in ratios(events).items():
        told = f"(query {cost.query:.3f} s, search {cost.search:.3f} s / {cost.plain:.3f} s)"
        most = 3.0 if "15 min" in name else None
        yield Figure(f"what explains an incident / the plain sums: {name}", cost.ratio, most, told=told)
