"""The file of the history cache: faults, dry runs, how long data is kept, and real sources."""

import sqlite3
import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from alerting.connections import with_history_cache
from alerting.model.errors import StoreError
from alerting.model.metric import Query
from alerting.settings import load_settings
from alerting.sources.cache import CachedSource
from alerting.sources.clickhouse import ClickHouseSource
from alerting.sources.embedded import EmbeddedSource
from alerting.store.codec import MIGRATIONS
from alerting.store.history import FIGURES_FOR, UNUSED, HistoryReader
from alerting.store.state import StateStore
from tests.history_helpers import DAY, HOUR, MUTABLE, NOW, QUERY, ROOT, SOME, STEP, WINDOW, World, counts, same
from tests.ledger import Ledger, rows
from tests.source_helpers import columns


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


# The file


def test_a_file_that_cannot_be_written_costs_time_only(world, tmp_path):
    world.run()
    other = sqlite3.connect(world.path, isolation_level=None)
    with closing(other):
        other.execute("BEGIN IMMEDIATE")
        world.store.close()
        world.store = StateStore(world.path, patience=0.05)
        world.now += STEP
        asked, notes = world.run()
    assert "read from the source, as what is held cannot be used" in notes[0]
    assert "locked" in notes[0]
    assert asked >= WINDOW // STEP
    assert world.run()[0] <= SOME


def test_a_full_disk_costs_time_only(world):
    world.run(2 * DAY)
    pages = world.store._file.read(int, "PRAGMA page_count")[0]
    world.store._file.read(int, f"PRAGMA max_page_count = {pages}")
    _, notes = world.run()
    assert "the disk is full" in notes[0]


def test_a_file_that_was_corrupted_is_filled_again(world):
    world.run()
    world.store.close()
    world.path.write_bytes(b"this is no database at all" * 400)
    world.store = StateStore(world.path)
    assert world.run()[0] == WINDOW // STEP
    assert "CORRUPTED" in world.store.notes[0]
    assert world.run()[0] <= SOME


def test_an_unreadable_row_of_the_cache_is_read_again_from_the_source(world):
    world.run()
    world.store._file.write(("UPDATE history SET body = ?", [(b"short",)]))
    asked, notes = world.run()
    assert "makes no sense" in notes[0]
    assert asked >= WINDOW // STEP


# A rehearsal


def given(tmp_path, **more):
    values = {"SOURCE": "http://127.0.0.1:1", "DATA": str(tmp_path), "REPORTS": str(tmp_path / "r"), "ZONE": "UTC", **more}
    return load_settings({f"ALERTING_{name}": text for name, text in values.items()}, ROOT / "no-such-file")


def files(folder):
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in folder.iterdir()
        if path.is_file() and path.stat().st_size
    }


@pytest.mark.parametrize("still_open", [True, False])
def test_a_rehearsal_looks_and_writes_nothing(world, tmp_path, still_open):
    world.run(10 * DAY)
    if not still_open:
        world.store.close()
    before = files(tmp_path)
    settings = given(tmp_path)
    looking = with_history_cache(world.ledger, settings, StateStore(":memory:"), dry_run=True)
    assert isinstance(looking.history, HistoryReader)
    world.now += STEP
    cached = replace(world.cached, history=looking.history)
    assert world.run(10 * DAY, cached)[0] <= SOME
    world.run(20 * DAY, cached)  # longer than what is held: the rest is read, and given
    assert world.run(20 * DAY, cached)[0] > 9 * DAY // STEP
    assert cached.notes == []
    start, end = NOW - 35 * DAY, NOW - 15 * DAY
    same(cached.fetch(QUERY, start, end), world.truth(start, end))
    del looking, cached
    assert {name: found for name, found in files(tmp_path).items() if not name.endswith("-shm")} == {
        name: found for name, found in before.items() if not name.endswith("-shm")
    }


@pytest.mark.parametrize("body", [None, b"", b"no database " * 999, "version 2"])
def test_a_rehearsal_leaves_a_file_that_it_cannot_read(tmp_path, body):
    path = tmp_path / "alerts.sqlite"
    if body == "version 2":
        with closing(sqlite3.connect(path)) as db:
            db.executescript(";".join(sum(MIGRATIONS[:2], ())) + ";PRAGMA user_version = 2")
    elif body is not None:
        path.write_bytes(body)
    before = files(tmp_path)
    source = with_history_cache(Ledger(rows(counts())), given(tmp_path), StateStore(":memory:"), dry_run=True)
    assert len(source.fetch(QUERY, NOW - DAY, NOW)) > 50
    assert source.notes == []
    assert files(tmp_path) == before
    with pytest.raises(StoreError):
        HistoryReader(path)


# What is kept, and how long


def test_histories_that_no_run_asks_for_go_after_a_week(world):
    world.run()
    old = replace(QUERY, sql="SELECT old")
    world.query = old
    world.run()
    world.query = QUERY
    for _ in range(16):
        world.now += DAY / 2
        world.ledger.remove(NOW - MUTABLE, NOW + 99 * DAY)  # the table has ended: it is in use all the same
        start, end = world.window()
        same(world.cached.fetch(QUERY, start, end), world.truth(start, end))
        world.store.forget(world.now)
        assert world.span() is not None
        assert (world.span(old) is None) == (world.now - NOW > UNUSED)
    keys = world.store._file.read(str, "SELECT DISTINCT key FROM history")
    assert keys == [world.cached._key(QUERY)]


def test_a_memory_of_the_version_before_keeps_what_it_holds(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(";".join(sum(MIGRATIONS[:2], ())) + ";PRAGMA user_version = 2")
        db.execute("INSERT INTO facts VALUES ('heard', 41)")
        db.execute("INSERT INTO verdicts VALUES ('a', '2026-11-20T12:00:00+00:00', 'normal', 1, 0, 1, 2, 0, '', 0, 1)")
        db.commit()
    world = World(tmp_path)
    assert world.store.next_update() == 41
    assert [v.metric for v in world.store.judged()] == ["a"]
    world.run()
    assert world.run()[0] <= SOME


def test_figures_are_kept_for_some_nights(world):
    figures = {b"one": np.array([1 / 3, np.nan, np.inf]), b"two": np.array([])}
    world.store.save_nightly_statistics(figures, NOW)
    found = StateStore(world.path).nightly_statistics()
    assert found.keys() == figures.keys()
    assert all(np.array_equal(found[key], figures[key], equal_nan=True) for key in figures)
    world.store.save_nightly_statistics({b"two": np.array([2.0])}, NOW + FIGURES_FOR)
    world.store.save_nightly_statistics({b"three": np.array([3.0])}, NOW + FIGURES_FOR + HOUR)
    assert world.store.nightly_statistics().keys() == {b"two", b"three"}


def test_threads_fill_their_tables_side_by_side(world):
    cached = world.cached
    start, end = world.window()
    queries = [replace(QUERY, name=f"t{n}", step=step) for n, step in enumerate([STEP, STEP, HOUR, 2 * HOUR])]
    found = {}
    threads = [threading.Thread(target=lambda q=q: found.update({q.name: cached.fetch(q, start, end)})) for q in queries]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for query in queries:
        same(found[query.name], world.ledger.fetch(query, start, end))


# Real sources


SQL = """WITH toUInt32(now()) AS until, toUInt32(now()) - 172800 AS since, 900 AS step
SELECT intDiv(toUInt32(time), step) * step AS bucket, count() AS views, avg(n) / 7 AS mean,
  sumIf(n, n > 90) / countIf(n > 98) AS odd
FROM ticks WHERE time >= toDateTime(since) AND time < toDateTime(until) GROUP BY bucket ORDER BY bucket"""
TICKS = Query("ticks", SQL)


def ticks(first, last, seed=1):
    rng, seconds = np.random.default_rng(seed), np.arange(int(first.timestamp()), int(last.timestamp()), 37)
    return pd.DataFrame({"time": seconds, "n": rng.integers(0, 100, len(seconds))})


def exact(cached, source, start, end):
    got, truth = cached.fetch(TICKS, start, end), source.fetch(TICKS, start, end)
    same(got, truth)
    assert got["odd"].isna().any()
    return got


def test_cached_values_equal_those_of_a_real_clickhouse_to_the_last_digit(clickhouse, tmp_path):
    def insert(frame):
        lines = frame.to_csv(sep="\t", header=False, index=False)
        clickhouse.execute("INSERT INTO default.ticks FORMAT TSV", lines)

    clickhouse.execute("DROP TABLE IF EXISTS default.ticks")
    clickhouse.execute("CREATE TABLE default.ticks (time DateTime, n UInt8) ENGINE = MergeTree ORDER BY time")
    source = ClickHouseSource(clickhouse.url, clickhouse.reader, clickhouse.password, "default", timeout=60)
    insert(ticks(NOW - 9 * DAY, NOW))
    clock = [NOW]
    cached = CachedSource(source, StateStore(tmp_path / "alerts.sqlite"), lambda name: "here", MUTABLE, lambda: clock[0])
    exact(cached, source, NOW - 8 * DAY, NOW)
    insert(ticks(NOW, NOW + 2 * HOUR, 2))
    insert(ticks(NOW - 3 * HOUR, NOW - 2 * HOUR, 3))  # late rows
    clock[0] = NOW + 2 * HOUR
    exact(cached, source, NOW - 8 * DAY + 2 * HOUR, NOW + 2 * HOUR)
    exact(cached, source, NOW - 9 * DAY, NOW + 2 * HOUR)
    assert cached.notes == []
    clickhouse.execute("TRUNCATE TABLE default.ticks")
    insert(ticks(NOW - 9 * DAY, NOW + 2 * HOUR, 4))  # another truth
    clock[0] += STEP
    exact(cached, source, NOW - 8 * DAY, NOW + 2 * HOUR)
    assert "READ ANEW" in cached.notes[0]
    clickhouse.execute("DROP TABLE default.ticks")


def test_cached_values_equal_those_of_the_embedded_engine_to_the_last_digit(tmp_path):
    folder = tmp_path / "app"
    (folder / "ticks").mkdir(parents=True)
    frame = ticks(NOW - 6 * DAY, NOW)
    times = pd.to_datetime(frame["time"], unit="s", utc=True)
    for day, part in frame.assign(time=times).groupby(times.dt.date):
        part.to_parquet(folder / "ticks" / f"{day}.parquet", index=False)
    with closing(EmbeddedSource(folder)) as source:
        cached = CachedSource(source, StateStore(tmp_path / "alerts.sqlite"), lambda name: "here", MUTABLE, lambda: NOW)
        exact(cached, source, NOW - 5 * DAY, NOW)
        exact(cached, source, NOW - 5 * DAY + STEP, NOW)
        assert cached.notes == []
        assert columns(source, "ticks").keys() == {"time", "n"}
