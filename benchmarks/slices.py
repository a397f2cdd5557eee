"""Time the root cause of one incident against plain sums of the same window, on a ClickHouse server and on the embedded engine.

    .venv-test/bin/python benchmarks/slices.py [--events 8000000] [--runs 9]

The same SQL (`alerting/sql/slices/feed_actions.sql`) runs on both engines over the same rows. A ratio is the time of the query,
its decoding and the search over the time of plain sums per day of the same rows, measured alternately in one session.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import NamedTuple

from alerting.connections import SQL, load_queries
from alerting.metrics import METRICS
from alerting.model.metric import Query
from alerting.model.verdict import Status, Verdict
from alerting.rootcause.expectation import HISTORY_DAYS, find_root_cause
from alerting.sample.folder import simulate_app
from alerting.sources.clickhouse import ClickHouseSource
from alerting.sources.embedded import EmbeddedSource

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


NOW = datetime(2026, 11, 24, 18, tzinfo=UTC)
ASKED = 3.0
PLAIN = """WITH 0 AS since, 0 AS until, 900 AS step
SELECT intDiv(until - 1 - toUInt32(time), 86400) AS days_ago, uniqExact(user_id) AS users, countIf(action = 'view') AS views
FROM feed_actions
WHERE time >= toDateTime(since) AND time < toDateTime(until)
  AND (until - 1 - toUInt32(time)) % 86400 < (until - since) % 86400
GROUP BY days_ago"""
COLUMNS = {
    "user_id": "UInt32", "post_id": "UInt32", "action": "String", "time": "DateTime", "gender": "UInt8", "age": "UInt8",
    "country": "String", "city": "String", "os": "String", "source": "String", "exp_group": "UInt8",
}  # fmt: skip


class Cost(NamedTuple):
    """Median seconds of the query, the search and the plain sums, the median of their ratios, and the ratio of the minima,
    which depends less on load."""

    query: float
    search: float
    plain: float
    ratio: float
    least: float


def made(folder: Path, events: int) -> Path:
    """Make a sample app with about `events` feed actions in the 28 days before NOW and on that day. Return its folder."""
    simulate_app(folder / "app", NOW, days=HISTORY_DAYS + 1, events_per_day=events // HISTORY_DAYS, incidents="none")
    return folder / "app"


@contextmanager
def served(app: Path) -> Iterator[ClickHouseSource]:
    """Start a ClickHouse server with the app's feed actions, and give a source over it."""
    import pandas as pd

    from tests.servers import running_clickhouse

    with tempfile.TemporaryDirectory() as folder, running_clickhouse(Path(folder)) as server:
        columns = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
        order = "PARTITION BY toYYYYMM(time) ORDER BY (time, user_id)"
        server.execute(f"CREATE TABLE feed_actions ({columns}) ENGINE = MergeTree {order}")
        for path in sorted((app / "feed_actions").glob("*.parquet")):
            rows = pd.read_parquet(path)
            rows = rows.assign(time=rows["time"].astype("datetime64[s, UTC]").astype("int64"))
            server.execute("INSERT INTO feed_actions FORMAT CSV", rows[list(COLUMNS)].to_csv(index=False, header=False))
        yield ClickHouseSource(server.url, server.user, server.password)


def cost(source: ClickHouseSource | EmbeddedSource, minutes: int = 15, runs: int = 9) -> Cost:
    """Measure the cost of the root cause for the last `minutes` before NOW."""
    views = next(metric for metric in METRICS if metric.name == "views")
    query, sums = load_queries(SQL / "slices")[views.query], Query(views.query, PLAIN)
    start, verdict = (
        NOW - timedelta(days=HISTORY_DAYS, minutes=minutes),
        Verdict("views", NOW, Status.ANOMALOUS, 80.0, 90.0, 100.0, 110.0, -2.0),
    )
    seen = []
    for _ in range(runs + 1):
        asking, rows = _timed(lambda: source.rows(query, start, NOW))
        searching, _ = _timed(lambda rows=rows: find_root_cause(views, rows, verdict))
        plain, _ = _timed(lambda: source.rows(sums, start, NOW))
        seen.append((asking, searching, plain, (asking + searching) / plain))
    columns = list(zip(*seen[1:], strict=True))  # leave the first out: it reads the files from disk
    least = min(a + b for a, b in zip(*columns[:2], strict=True)) / min(columns[2])
    return Cost(*(median(column) for column in columns), least)


def _timed(action: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    found = action()
    return time.perf_counter() - start, found


def ratios(events: int, runs: int = 9) -> dict[str, Cost]:
    """Return the costs: engine and length of the window -> cost."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        app = made(Path(folder), events)
        with served(app) as server:
            found |= {f"ClickHouse server, {minutes} min": cost(server, minutes, runs) for minutes in (15, 60)}
        embedded = EmbeddedSource(app)
        try:
            found |= {f"embedded, {minutes} min": cost(embedded, minutes, runs) for minutes in (15, 60)}
        finally:
            embedded.close()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=8_000_000)
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    held = True
    for name, c in ratios(args.events, args.runs).items():
        asked = f"asked <= {ASKED:g}" if "15" in name else "-"
        held &= c.ratio <= ASKED or "15" not in name
        parts = f"query {c.query:.3f} s, search {c.search:.3f} s, plain sums {c.plain:.3f} s"
        sys.stdout.write(f"{name:<28} {c.ratio:.2f} times, by the least of each {c.least:.2f}   {asked:<12} ({parts})\n")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
