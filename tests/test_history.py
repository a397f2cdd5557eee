"""What is held of the past is what the source would say, to the last digit; and little is read to know it."""

import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from alerting.connections import with_history_cache
from alerting.model.errors import SourceError, StoreError
from alerting.model.metric import Query
from alerting.model.run import CachedSpan
from alerting.settings import load_settings
from alerting.sources.cache import CachedSource, ReadOnlyHistory
from alerting.sources.clickhouse import ClickHouseSource
from alerting.sources.embedded import EmbeddedSource
from alerting.store.database import MIGRATIONS
from alerting.store.history import FIGURES_FOR, UNUSED, HistoryReader
from alerting.store.state import StateStore
from tests.ledger import Ledger, rows
from tests.waiting import PATIENCE, ended

ROOT = Path(__file__).resolve().parent.parent
STEP, HOUR, DAY = timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)
NOW = datetime(2026, 11, 20, 12, 6, tzinfo=UTC)  # the bucket of 11:45 was over six minutes ago
MUTABLE = timedelta(hours=6)
QUERY = Query("t", "SELECT 1")
WINDOW = 20 * DAY
SOME = (MUTABLE + HOUR) // STEP + 4  # buckets that a run may read: what may change, what is new, a sample


def counts(days=40, end=NOW + 10 * DAY, seed=0):
    """Every third digit matters: counts, thirds, NaN among them, 0/0, and hours without a row."""
    index = pd.date_range(NOW.replace(hour=0, minute=0) - days * DAY, end, freq=STEP)
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"views": rng.integers(1, 99, len(index)).astype(float), "third": rng.random(len(index)) / 3}, index)
    frame.loc[rng.random(len(index)) < 0.1, "third"] = np.nan
    return frame[(rng.random(len(index)) > 0.05) & (index.hour != 3)]


class World:
    """A source, what is held of it in a file, and a clock. A `run` asks as a run does, and compares with the source itself."""

    def __init__(self, folder, frame=None, query=QUERY, now=NOW):
        self.ledger = Ledger(rows(counts()) if frame is None else frame, now)
        self.path, self.query, self.now, self.identity, self.said = folder / "alerts.sqlite", query, now, "server|table", []
        self.store = StateStore(self.path)

    @property
    def cached(self):
        return CachedSource(self.ledger, self.store, lambda name: self.identity, MUTABLE, lambda: self.now, self.said.append)

    def window(self, length=WINDOW):
        end = self.now - timedelta(minutes=5)
        end -= (end - datetime(1970, 1, 1, tzinfo=UTC)) % self.query.step
        return end - length, end

    def run(self, length=WINDOW, cached=None):
        """Buckets that were asked for, and what was said."""
        cached, (start, end) = cached or self.cached, self.window(length)
        self.ledger.now = self.now
        self.ledger.asked.clear()
        got = cached.fetch(self.query, start, end)
        asked = self.ledger.buckets(self.query)
        same(got, self.truth(start, end))
        return asked, cached.notes

    def truth(self, start, end):
        return self.ledger.fetch(self.query, start, end)

    def later(self, after=STEP):
        self.now += after
        return self.run()

    def span(self, query=None):
        return self.store.cached_span(self.cached._key(query or self.query))


def same(got, truth):
    assert_frame_equal(got, truth.astype(float), check_exact=True, check_freq=False)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


# The same, to the last digit


def test_run_by_run_the_same_and_little_is_read(world):
    asked, _ = world.run()
    assert asked == WINDOW // STEP
    for _ in range(30):
        asked, notes = world.later()
        assert asked <= SOME
        assert notes == []


def test_the_first_fill_is_in_parts_that_grow_and_is_told(world):
    world.run()
    lengths = [end - start for _, start, end in world.ledger.asked[:-1]]
    assert lengths[0] == DAY
    assert max(lengths) > 10 * DAY
    assert sum(lengths, timedelta()) == WINDOW // STEP * STEP
    assert world.span().until <= world.now - MUTABLE


@pytest.mark.parametrize("minutes", [30, 61, 200, 355])
def test_rows_that_come_while_it_may_change_are_there(world, minutes):
    late = pd.DataFrame({"views": [7.0], "third": [0.1]}, [NOW - timedelta(minutes=1)])
    world.ledger.add(rows(late, delay=f"{minutes}min", within="0s"))
    world.run()
    for _ in range(26):
        assert world.later()[1] == []


@pytest.mark.parametrize("gap", [3 * HOUR, 2 * DAY, 9 * DAY, 19 * DAY, 25 * DAY])
def test_after_a_dead_cron_only_the_gap_is_read(tmp_path, gap):
    world = World(tmp_path, rows(counts(end=NOW + 40 * DAY)))
    world.run()
    asked, notes = world.later(gap)
    assert asked <= min(gap // STEP + SOME, WINDOW // STEP + 4)
    assert notes == []
    assert world.later()[0] <= SOME


def test_a_window_that_grows_backwards_reads_what_is_missing(world):
    world.run(5 * DAY)
    assert world.run(12 * DAY)[0] <= 7 * DAY // STEP + SOME
    assert world.run(12 * DAY)[0] <= SOME
    assert world.run(6 * DAY)[0] <= SOME


def test_a_look_at_old_times_drops_nothing(world):
    world.run(5 * DAY)
    held = world.span()
    start, end = NOW - 30 * DAY, NOW - 20 * DAY
    same(world.cached.fetch(QUERY, start, end), world.truth(start, end))
    assert world.span() == held


def test_an_edited_query_another_table_and_another_step_are_histories_of_their_own(world):
    world.run()
    for change in ({"sql": "SELECT 2"}, {"step": HOUR}, {"step": DAY}, {"name": "u"}):
        world.query = replace(QUERY, **change)
        assert world.run()[0] == WINDOW // world.query.step
        assert world.run()[0] <= SOME
    world.query, world.identity = QUERY, "server|another"
    assert world.run()[0] == WINDOW // STEP
    world.identity = "server|table"
    assert world.run()[0] <= SOME  # nothing of the first was lost


@pytest.mark.parametrize(
    "there",
    [
        lambda at: at < NOW - 400 * DAY,  # never a row
        lambda at: at > NOW - 3 * DAY,  # it began lately
        lambda at: at > NOW - 1 * HOUR,  # just now
        lambda at: at < NOW - 2 * DAY,  # it has ended
        lambda at: (at < NOW - 2 * DAY) | (at > NOW + 3 * HOUR),  # an outage
        lambda at: (at < NOW - 15 * DAY) | (at > NOW - 4 * DAY),  # a hole
    ],
)
def test_tables_that_are_empty_begin_late_or_end(tmp_path, there):
    frame = rows(counts())
    world = World(tmp_path, frame[there(frame["at"])])
    world.run()
    for after in (STEP, STEP, 3 * HOUR, STEP, 2 * DAY, STEP):
        assert world.later(after)[1] == []


def test_columns_that_are_added_and_values_that_are_none(tmp_path):
    frame = counts()
    world = World(tmp_path, rows(frame))
    world.run()
    more = rows(frame.assign(extra=np.where(frame.index < NOW, 0.0, np.inf), third=np.nan).loc[NOW - 2 * HOUR :])
    old = world.ledger.frame
    world.ledger.hold(pd.concat([old[old["at"] < NOW - 2 * HOUR], more]))
    for _ in range(40):
        world.now += STEP
        start, end = world.window()
        world.ledger.now = world.now
        got = world.cached.fetch(QUERY, start, end)
        assert_frame_equal(got, world.truth(start, end), check_exact=True, check_freq=False, check_like=True)


@pytest.mark.parametrize("off", [DAY, -DAY, 400 * DAY])
def test_a_clock_that_is_wrong_freezes_no_half_bucket(world, off):
    """What comes within six hours is there, whatever the clock said when its bucket was read first."""
    late = pd.DataFrame({"views": [7.0] * 8, "third": [0.1] * 8}, [NOW - n * timedelta(minutes=40) for n in range(8)])
    world.ledger.add(rows(late).assign(arrived=NOW + HOUR))
    clock, world.ledger.now = [NOW + off], NOW
    cached = CachedSource(world.ledger, world.store, lambda name: "server|table", MUTABLE, lambda: clock[0])
    end = NOW + off - timedelta(minutes=6)
    cached.fetch(QUERY, end - 20 * DAY, end)
    clock[0] = world.now = NOW + 2 * HOUR
    assert world.run(cached=cached)[1] == []


def test_odd_windows_go_to_the_source(world):
    world.run()
    with pytest.raises(SourceError, match="zone"):
        world.cached.fetch(QUERY, NOW.replace(tzinfo=None), NOW)
    for start, end in ((NOW, NOW), (NOW, NOW - DAY), (NOW + DAY, NOW + 2 * DAY)):
        assert world.cached.fetch(QUERY, start, end).equals(world.truth(start, end).astype(float))
    there = NOW.astimezone(pd.Timestamp(NOW).tz_convert("Asia/Kolkata").tzinfo)
    world.ledger.now = NOW
    same(world.cached.fetch(QUERY, there - 2 * DAY, there), world.truth(NOW - 2 * DAY, NOW))


# Failures


@pytest.mark.parametrize("back", [False, True])
def test_a_source_that_fails_in_the_middle_leaves_no_hole(world, back):
    if back:
        world.run(2 * DAY)
    answers = iter([None] * 2 + [SourceError("down")])
    world.ledger.fault = lambda query, start, end: next(answers, None)
    start, end = world.window()
    with pytest.raises(SourceError):
        world.cached.fetch(QUERY, start, end)
    world.ledger.fault = lambda query, start, end: None
    held = world.span()
    same(world.store.read(world.cached._key(QUERY), held.start, held.until), world.truth(held.start, held.until))
    assert world.run()[0] < WINDOW // STEP
    assert world.run()[0] <= SOME


KILLED = """
import os, signal, sys
from datetime import timedelta
from tests.test_history import MUTABLE, NOW, QUERY, WINDOW, World
world = World(__import__("pathlib").Path(sys.argv[1]))
parts = int(sys.argv[2])
def kill():
    if len(world.ledger.asked) > parts:
        os.kill(os.getpid(), signal.SIGKILL)
world.ledger.meanwhile = kill
world.run()
print("done")
"""


def process(folder, parts):
    command = [sys.executable, "-c", KILLED, str(folder), str(parts)]
    return ended(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))


def test_killed_in_the_middle_of_the_first_fill_the_next_goes_on(tmp_path):
    with process(tmp_path, 2) as killed:
        assert killed.wait(PATIENCE) == -signal.SIGKILL
    world = World(tmp_path)
    held = world.span()
    assert held.until - held.start >= 4 * DAY
    asked, notes = world.run()
    assert asked < WINDOW // STEP - 3 * DAY // STEP
    assert notes == []


def test_two_processes_that_fill_at_once_hold_the_same(tmp_path):
    with process(tmp_path, 99) as one, process(tmp_path, 99) as other:
        assert (one.communicate(timeout=PATIENCE)[0], other.communicate(timeout=PATIENCE)[0]) == ("done\n", "done\n")
    world = World(tmp_path)
    assert world.run()[0] <= SOME


def test_one_that_drops_it_while_another_reads_makes_no_gap(world):
    """Between what is held and its values another process has begun anew: the source is asked."""
    world.run()
    world.now += STEP
    cached = world.cached

    class Dropped(ReadOnlyHistory):
        def read(self, key, start, end):
            world.store.drop(key)
            return world.store.read(key, start, end)

    cached.history = Dropped(world.store)
    _, notes = world.run(cached=cached)
    assert "another process" in notes[0]


def test_what_lies_elsewhere_is_left_to_who_was_faster(world):
    key, frame = "k", world.truth(NOW - 9 * DAY, NOW)
    at = [datetime(2026, 11, day, tzinfo=UTC) for day in range(12, 20)]
    world.store.extend(key, "t", frame, CachedSpan(at[4], at[5], STEP), NOW)
    world.store.extend(key, "t", frame, CachedSpan(at[0], at[1], STEP), NOW)  # far from it
    assert (world.store.cached_span(key).start, world.store.cached_span(key).until) == (at[4], at[5])
    world.store.extend(key, "t", frame, CachedSpan(at[3], at[6], STEP), NOW)  # over both ends
    world.store.extend(key, "t", frame, CachedSpan(at[6], at[6], STEP), NOW)
    assert (world.store.cached_span(key).start, world.store.cached_span(key).until) == (at[3], at[6])
    same(world.store.read(key, at[0], at[7]), frame.loc[at[3] : at[6] - STEP])
    world.store.extend("none", "t", frame, CachedSpan(at[0], at[0], STEP), NOW)
    assert world.store.cached_span("none") is None


# What the source says anew


def runs_until_said(world, most):
    """How many runs it took until something was said, and what."""
    for count in range(1, most + 1):
        world.now += STEP
        world.ledger.now, cached = world.now, world.cached
        cached.fetch(QUERY, *world.window())
        if cached.notes:
            return count, cached.notes
    return most + 1, []


def test_everything_changed_is_seen_by_the_next_runs(world):
    world.run()
    world.ledger.hold(world.ledger.frame.assign(views=world.ledger.frame["views"] + 1))
    count, (note,) = runs_until_said(world, 3)
    assert count <= 3  # the first hour that is looked at may be one without rows
    assert "THE HISTORY OF t WAS READ ANEW" in note
    assert "views at 2026-11-" in note
    assert world.said[-1] == note
    assert world.later()[1] == []


@pytest.mark.parametrize(("seed", "begins"), [(0, 40), (1, 40), (2, 12)])
def test_a_deleted_day_is_seen_within_a_day(tmp_path, seed, begins):
    """By chance: a day of the newest week is met by one run of 14, an hour of it by one of 190. Also where the table is young."""
    world = World(tmp_path, rows(counts(begins, seed=seed)))
    world.run()
    day = datetime(2026, 11, 17, tzinfo=UTC)
    world.ledger.remove(day, day + DAY)
    count, (note,) = runs_until_said(world, 96)
    assert count <= 96
    assert "no rows any more" in note or "is" in note
    assert world.later()[1] == []


def test_a_changed_hour_is_seen_within_two_weeks_of_runs(world):
    world.run()
    frame = world.ledger.frame
    hour = (frame["at"] >= NOW - 12 * HOUR) & (frame["at"] < NOW - 11 * HOUR)
    world.ledger.hold(frame.assign(views=frame["views"].where(~hour, frame["views"] + 5)))
    count, (note,) = runs_until_said(world, 900)
    assert count <= 900
    assert "views at" in note
    assert " was " in note


def test_what_the_source_has_dropped_by_age_is_kept(world):
    """Retention: rows older than ten days go, day by day."""
    world.run()
    whole = world.truth(*world.window())
    edge = datetime(2026, 11, 9, 23, 45, tzinfo=UTC)
    world.ledger.remove(NOW - 400 * DAY, edge + STEP)
    for _ in range(30):
        world.now += STEP
        world.ledger.now = world.now
        start, end = world.window()
        cached = world.cached
        got = cached.fetch(QUERY, start, end)
        assert cached.notes == []
        same(got.loc[: whole.index[-1] - MUTABLE], whole.loc[start : whole.index[-1] - MUTABLE])
    world.ledger.hold(world.ledger.frame.assign(views=lambda f: f["views"] + 1))  # and what is left has changed
    _, (note,) = runs_until_said(world, 60)
    assert "READ ANEW" in note
    world.ledger.asked.clear()
    got = world.cached.fetch(QUERY, *world.window())
    same(got.loc[:edge], whole.loc[world.window()[0] : edge])


def test_a_source_whose_answers_vary_is_not_read_whole_by_every_run(world):
    world.run()
    frame, asked, said = world.ledger.frame, [], []
    for run in range(1, 24):
        world.ledger.hold(frame.assign(views=frame["views"] + run))
        world.now += STEP
        world.ledger.now = world.now
        world.ledger.asked.clear()
        cached = world.cached
        cached.fetch(QUERY, *world.window())
        asked.append(world.ledger.buckets(QUERY))
        said += cached.notes
    assert sum(count > 2 * SOME for count in asked) == 1
    assert sum("READ ANEW" in note for note in said) == 1
    assert sum("raise ALERTING_MUTABLE" in note for note in said) >= 18


def test_what_has_gone_is_held_anew_where_only_that_hour_is(world):
    """An hour without rows takes the place of one that had some."""
    key, frame = world.cached._key(QUERY), world.truth(NOW - 9 * DAY, NOW)
    at = datetime(2026, 11, 15, tzinfo=UTC)
    world.store.extend(key, "t", frame, CachedSpan(at, at + 3 * DAY, STEP), NOW)
    world.store.extend(key, "t", frame.iloc[:0], CachedSpan(at + DAY, at + DAY + HOUR, STEP), NOW)
    held = world.store.read(key, at, at + 3 * DAY)
    gone = (held.index >= at + DAY) & (held.index < at + DAY + HOUR)
    assert not gone.any()
    whole = frame.loc[at : at + 3 * DAY - STEP]
    same(held, whole[(whole.index < at + DAY) | (whole.index >= at + DAY + HOUR)])


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


def test_a_row_that_makes_no_sense_is_not_believed(world):
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
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.iterdir() if path.stat().st_size}


@pytest.mark.parametrize("still_open", [True, False])
def test_a_rehearsal_looks_and_writes_nothing(world, tmp_path, still_open):
    world.run(10 * DAY)
    if not still_open:
        world.store.close()
    before = files(tmp_path)
    settings = given(tmp_path)
    looking = with_history_cache(world.ledger, settings, StateStore(":memory:"), dry_run=True).history
    assert isinstance(looking, ReadOnlyHistory)
    world.now += STEP
    cached = replace(world.cached, history=looking, said=[])
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


def test_of_a_real_clickhouse_the_same_to_the_last_digit(clickhouse, tmp_path):
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


def test_of_the_embedded_engine_too(tmp_path):
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
        assert cached.columns("ticks").keys() == {"time", "n"}
