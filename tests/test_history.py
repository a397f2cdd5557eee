"""The history cache returns the same numbers as the source, to the last digit, and reads little."""

import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from alerting.model.errors import SourceError, StoreError
from alerting.model.run import CachedSpan
from alerting.sources import cache
from alerting.sources.cache import CachedSource
from alerting.store.state import StateStore
from tests.history_helpers import DAY, HOUR, MUTABLE, NOW, QUERY, ROOT, SOME, STEP, WINDOW, World, counts, same
from tests.ledger import rows
from tests.waiting import PATIENCE, ended


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


# The same, to the last digit


def test_each_run_gets_the_values_of_the_source_and_reads_little(world):
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


@pytest.mark.parametrize("length", [STEP, HOUR, MUTABLE, MUTABLE + STEP])
def test_a_first_fill_in_short_parts_of_a_slow_source_loses_no_bucket(world, monkeypatch, length):
    monkeypatch.setattr(cache, "FIRST_PART", length)
    monkeypatch.setattr(cache, "LONGEST_PART", length)
    world.run(5 * DAY)
    for _ in range(3):
        world.now += STEP
        assert world.run(5 * DAY)[1] == []


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


def test_reading_old_times_keeps_the_cached_span(world):
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
    """Rows that arrive within six hours are counted, even if the clock was wrong when their bucket was read first."""
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
from tests.history_helpers import MUTABLE, NOW, QUERY, WINDOW, World
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


def test_a_cache_dropped_by_another_process_during_a_read_is_read_from_the_source(world):
    """Between what is held and its values another process has begun anew: the source is asked."""
    world.run()
    world.now += STEP
    cached = world.cached

    class Dropped(StateStore):
        def read(self, key, start, end):
            self.drop(key)
            return super().read(key, start, end)

    cached.history = Dropped(world.path)
    _, notes = world.run(cached=cached)
    assert "another process" in notes[0]


def test_a_span_that_does_not_touch_the_cached_one_is_not_cached(world):
    key, frame = "k", world.truth(NOW - 9 * DAY, NOW)
    at = [datetime(2026, 11, day, tzinfo=UTC) for day in range(12, 20)]
    world.store.extend(key, "t", frame, CachedSpan(at[4], at[5], STEP), NOW)
    world.store.extend(key, "t", frame, CachedSpan(at[0], at[1], STEP), NOW)  # far from it
    assert (world.store.cached_span(key).start, world.store.cached_span(key).until) == (at[4], at[5])
    world.store.extend(key, "t", frame, CachedSpan(at[3], at[6], STEP), NOW)  # over both ends
    world.store.extend(key, "t", frame, CachedSpan(at[6], at[6], STEP), NOW)
    assert (world.store.cached_span(key).start, world.store.cached_span(key).until) == (at[3], at[6])
    same(world.store.read(key, at[3], at[6]), frame.loc[at[3] : at[6] - STEP])
    for start, end in ((at[2], at[6]), (at[3], at[7])):
        with pytest.raises(StoreError):
            world.store.read(key, start, end)
    world.store.extend("none", "t", frame, CachedSpan(at[0], at[0], STEP), NOW)
    assert world.store.cached_span("none") is None


# What the source says anew


def runs_until_said(world, most):
    """Return the number of runs until the first notes, and these notes."""
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


def test_an_hour_without_rows_replaces_the_cached_rows_of_that_hour_only(world):
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
