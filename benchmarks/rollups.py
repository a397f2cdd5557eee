"""What rollups cost and gain on a real ClickHouse server: reading them against reading the raw table, asked in turn in one run.

.venv-test/bin/python benchmarks/rollups.py [--events 8000000] [--runs 9]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from slices import NOW, made, served  # noqa: E402

from alerting import wiring  # noqa: E402
from alerting.model import Query  # noqa: E402
from alerting.rollups.building import Builder  # noqa: E402
from alerting.rollups.recipes import COMBINED, EXACT, Recipe, recipe  # noqa: E402
from alerting.rollups.writing import Writer  # noqa: E402
from alerting.sources.binding import bind, quoted_table  # noqa: E402
from alerting.sources.clickhouse import ClickHouse  # noqa: E402

CUT = NOW.replace(minute=0)
BATCH = 10_000


def recipes() -> dict[str, Recipe]:
    """What is measured, by name."""
    totals, slices = (wiring.queries(folder)["feed_actions"] for folder in (wiring.SQL, wiring.SQL / "slices"))
    counts = Query("feed_actions", totals.sql.replace("    uniqExact(user_id) AS users,\n", ""))
    table = "default.feed_actions"
    return {
        "totals, exact users": recipe(totals, "totals", table, EXACT),
        "totals, estimated users": recipe(totals, "totals", table, COMBINED),
        "totals, counts only": recipe(counts, "totals", table, EXACT),
        "slices, exact users": recipe(slices, "slices", table, EXACT),
        "slices, estimated users": recipe(slices, "slices", table, COMBINED),
    }


def read(source: ClickHouse, query: Query, table: str, start: timedelta) -> tuple[float, float, float]:
    """Seconds, rows and bytes the server took for the query over `table` from `start` before NOW."""
    sql = bind(query, quoted_table(table, "default"), NOW - start, NOW) + " FORMAT JSON"
    began = time.perf_counter()
    answer = json.loads(source._post(sql, "bench", time.monotonic() + 60).body)
    return time.perf_counter() - began, answer["statistics"]["rows_read"], answer["statistics"]["bytes_read"]


def gains(source: ClickHouse, what: Recipe, start: timedelta, runs: int) -> str:
    """One line: rows, bytes and time of the raw table over those of the rollup."""
    seen = []
    for _ in range(runs + 1):
        raw = read(source, what.query, "feed_actions", start)
        mine = read(source, what.served, what.name, start)
        seen.append((raw[0] / mine[0], raw[0], mine[0]))
    times = [median(column) for column in zip(*seen[1:], strict=True)]
    rows = f"rows {raw[1]:,.0f} / {mine[1]:,.0f} = {raw[1] / mine[1]:.1f}"
    sizes = f"{raw[2] / 1e6:.1f} / {mine[2] / 1e6:.1f} MB = {raw[2] / mine[2]:.1f}"
    return f"{rows}; {sizes}; time {times[1]:.3f} / {times[2]:.3f} s = {times[0]:.1f}"


def built(source: ClickHouse, what: Recipe) -> tuple[float, float, float]:
    """Seconds to fill it in; MB on disk, and those of the raw table."""
    builder = Builder(Writer(source.url, source.user, source.password, timeout=600), {}, lambda _: None)
    builder.create(what, CUT)
    began = time.perf_counter()
    builder.backfill(what, 31)
    sizes = [
        float(source.ask(f"SELECT toFloat64(sum(bytes)) AS n FROM system.parts WHERE active AND table = '{t}'", "b")["n"].iloc[0])
        for t in (what.name, "feed_actions")
    ]
    return time.perf_counter() - began, sizes[0] / 1e6, sizes[1] / 1e6


def inserting(source: ClickHouse, names: list[str], runs: int) -> float:
    """Seconds of an INSERT of BATCH new rows into the raw table."""
    writer, seen = Writer(source.url, source.user, source.password), []
    for turn in range(runs + 1):
        at = int(CUT.timestamp()) + turn
        rows = f"SELECT * FROM feed_actions WHERE time < toDateTime({int((NOW - timedelta(days=1)).timestamp())}) LIMIT {BATCH}"
        columns = ", ".join(f"toDateTime({at}) AS time" if name == "time" else name for name in names)
        began = time.perf_counter()
        writer.do(f"INSERT INTO feed_actions SELECT {columns} FROM ({rows.replace('*', ', '.join(names))})", "bench")
        seen.append(time.perf_counter() - began)
    return median(seen[1:])


def lines(source: ClickHouse, runs: int) -> Iterator[str]:
    names = list(source.columns("feed_actions"))
    before = inserting(source, names, runs)
    Writer(source.url, source.user, source.password).do(
        f"ALTER TABLE feed_actions DELETE WHERE time >= toDateTime({int(CUT.timestamp())})", "b"
    )
    for name, what in recipes().items():
        seconds, mine, raw = built(source, what)
        yield f"{name}: filled in within {seconds:.1f} s; {mine:.1f} MB on disk beside {raw:.1f} MB"
        windows = (
            {"31 days": 31} if name.startswith("totals") else {"28 days, 15 min": 28 + 1 / 96, "28 days, 60 min": 28 + 1 / 24}
        )
        for words, days in windows.items():
            yield f"    raw / rollup over {words}: {gains(source, what, timedelta(days=days), runs)}"
    after = inserting(source, names, runs)
    yield f"INSERT of {BATCH:,} rows: {before * 1e3:.0f} ms, with all of these {after * 1e3:.0f} ms = {after / before:.1f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=8_000_000)
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, served(made(Path(folder), args.events)) as source:
        for line in lines(source, args.runs):
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
