"""The memory holds all of a transaction or nothing of it, whatever happens to the process, the file or the disk."""

import os
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.model import Episode, Kind, Message, Receipt, State, Status, StoreError, Verdict
from alerting.store import Counts, Store

ROOT = Path(__file__).resolve().parent.parent
AT = datetime(2026, 11, 20, 12, 15, tzinfo=UTC)
STEP = timedelta(minutes=15)
PNG = b"\x89PNG picture"


@pytest.fixture
def store(tmp_path):
    with closing(Store(tmp_path / "alerts.sqlite")) as opened:
        yield opened


def verdict(metric="views", bucket=AT, value=40.0):
    return Verdict(metric, bucket, Status.ANOMALOUS, value, 90.0, 100.0, 110.0, -6.0, usual=98.0)


def text(key, kind=Kind.OPENED, bucket=AT):
    return Message(key, kind, "views", bucket, f"text of {key}")


def picture(key, reply_to):
    return Message(key, Kind.OPENED, "views", AT, "caption", PNG, reply_to)


def fill(store, buckets=300):
    """Enough for a file of many pages."""
    store.commit([verdict(bucket=AT + i * STEP) for i in range(buckets)], [Episode("views")], [text("a"), picture("b", "a")])


def keys(store, at=None):
    return [message.key for message in store.waiting(at)]


# What is remembered

SIMPLE = {
    str: st.text(st.characters(exclude_categories=("Cs",)), max_size=8),
    float: st.floats().map(lambda number: number + 0.0),  # SQLite keeps no -0.0
    int: st.integers(0, 99),
    bool: st.booleans(),
    bytes: st.binary(max_size=8),
    datetime: st.integers(0, 4 * 10**15).map(lambda microseconds: datetime.fromtimestamp(microseconds / 1e6, UTC)),
    **{answers: st.sampled_from(answers) for answers in (Status, State, Kind)},
}


def any_of(kind):
    """A strategy for all fields of a noun, also for those that it will get one day."""
    if get_args(kind):
        return st.none() | any_of(get_args(kind)[0])
    if kind in SIMPLE:
        return SIMPLE[kind]
    return st.builds(kind, **{name: any_of(hint) for name, hint in get_type_hints(kind).items()})


@settings(max_examples=50, deadline=None)
@given(*(st.lists(any_of(noun), max_size=3) for noun in (Verdict, Episode, Message)))
def test_every_field_comes_back_as_it_was(seen, changed, told):
    with closing(Store(":memory:")) as store:
        store.commit(seen, changed, [replace(m, reply_to="") for m in told])
        newest = {(v.metric, v.bucket): v for v in seen}
        by_time = sorted(newest.values(), key=lambda v: (v.bucket, v.metric.encode()))
        assert repr(store.judged()) == repr(by_time)  # repr, as NaN is not equal to itself; a float's is exact
        assert sorted(map(repr, store.episodes().items())) == sorted(map(repr, {e.metric: e for e in changed}.items()))
        first = {m.key: replace(m, reply_to="") for m in reversed(told)}
        assert sorted(map(repr, store.waiting())) == sorted(map(repr, first.values()))
        assert store.last_judged() == {v.metric: max(o.bucket for o in seen if o.metric == v.metric) for v in seen}


def test_a_new_store_knows_nothing(store):
    assert (store.episodes(), store.last_judged(), store.judged(), store.waiting(), store.notes) == ({}, {}, [], [], [])
    assert store.counts() == Counts(0, 0, 0, 0, None)
    assert store.message_id("nothing") == ""


def test_it_is_still_there_when_opened_again(tmp_path):
    for turn in range(2):
        with closing(Store(tmp_path / "deep" / "er" / "alerts.sqlite")) as store:
            assert len(store.judged()) == turn
            store.commit([verdict()], [Episode("views", State.FIRING, worst=verdict())], [text("a")])
            assert store.episodes()["views"].worst == verdict()


def test_a_bucket_judged_again_takes_the_new_verdict(store):
    store.commit([verdict(value=40.0)], [], [])
    store.commit([verdict(value=80.0)], [], [])
    assert [v.value for v in store.judged()] == [80.0]


def test_judged_by_metric_and_time(store):
    store.commit([verdict("views"), verdict("likes"), verdict("views", AT + STEP)], [], [])
    assert [(v.metric, v.bucket) for v in store.judged()] == [("likes", AT), ("views", AT), ("views", AT + STEP)]
    assert [v.bucket for v in store.judged("views", AT + STEP)] == [AT + STEP]
    assert store.last_judged() == {"likes": AT, "views": AT + STEP}


def test_other_zones_are_the_same_instants_and_no_zone_is_refused(store):
    store.commit([verdict(bucket=AT.astimezone(None))], [], [])
    assert store.last_judged() == {"views": AT}
    with pytest.raises(ValueError, match="no time zone"):
        store.commit([verdict(bucket=AT.replace(tzinfo=None))], [], [])


def test_a_mangled_name_does_not_cost_the_commit(store):
    store.commit([], [], [Message("a", Kind.OPENED, "views", AT, "Sa\udce3o")])
    assert store.waiting()[0].text == "Sa?o"


def test_numpy_and_pandas_values_come_back_plain(store):
    import numpy as np
    import pandas as pd

    given = Verdict("views", pd.Timestamp(AT), Status.NORMAL, np.float64(1.5), np.int64(1), np.nan, np.float32(2), np.nan)  # type: ignore
    store.commit([given], [Episode("views", last=given)], [])
    assert repr(store.judged()[0]) == repr(store.episodes()["views"].last)
    assert type(store.judged()[0].value) is float


# The outbox


def test_texts_go_before_pictures_and_both_in_order(store):
    store.commit([], [], [text("a"), picture("a/p", "a"), text("b"), picture("b/p", "b"), text("a")])
    assert keys(store) == ["a", "b"]
    store.record(Receipt("b", "sent", message_id="7"), AT)
    assert keys(store) == ["a", "b/p"]
    store.record(Receipt("a", "sent", message_id="8"), AT)
    assert keys(store) == ["a/p", "b/p"]
    assert (store.message_id("a"), store.message_id("b"), store.message_id("a/p")) == ("8", "7", "")


def test_enqueueing_twice_is_harmless(store):
    for _ in range(2):
        store.commit([], [], [text("a")])
        assert keys(store) == ["a"]
    store.record(Receipt("a", "sent", message_id="7"), AT)
    store.commit([], [], [text("a")])
    assert keys(store) == []


def test_a_picture_of_a_text_unknown_here_may_go(store):
    store.commit([], [], [picture("p", "")])
    store.commit([], [], [picture("q", "forgotten long ago")])
    assert keys(store) == ["p", "q"]


def test_a_picture_is_refused_with_its_text(store):
    store.commit([], [], [text("a"), picture("a/1", "a")])
    store.record(Receipt("a", "refused", "empty"), AT)
    store.commit([], [], [picture("a/2", "a")])  # it may also come later
    assert keys(store) == []
    assert store.counts().refused == 3


def test_a_message_is_held_back_as_long_as_the_chat_asked(store):
    store.commit([], [], [text("a"), text("b")])
    store.record(Receipt("a", "kept", "429"), AT, retry_after=30)
    store.record(Receipt("b", "kept", "reset"), AT)
    assert keys(store, AT) == ["b"]
    assert keys(store, AT + timedelta(seconds=30)) == ["a", "b"]
    assert keys(store) == ["a", "b"]


def test_sent_stays_sent(store):
    store.commit([], [], [text("a"), text("b")])
    for state in ("sent", "kept", "refused"):
        store.record(Receipt("a", state, message_id="7" if state == "sent" else ""), AT)
    store.record(Receipt("b", "refused"), AT)
    store.record(Receipt("b", "kept"), AT)
    store.record(Receipt("unknown", "sent"), AT)
    assert store.message_id("a") == "7"
    assert store.counts() == Counts(0, 0, 1, 1, None)


@pytest.mark.parametrize(("state", "left"), [("kept", PNG), ("sent", None), ("refused", None)])
def test_a_picture_is_dropped_when_it_is_done_with(store, tmp_path, state, left):
    store.commit([], [], [picture("p", "")])
    store.record(Receipt("p", state), AT)
    with closing(sqlite3.connect(tmp_path / "alerts.sqlite")) as db:
        assert db.execute("SELECT photo, tries FROM messages").fetchall() == [(left, 1)]


@pytest.mark.parametrize(
    ("kind", "bucket", "state", "told"),
    [
        (Kind.RUN_FAILED, AT, "sent", True),
        (Kind.RUN_FAILED, AT, "waiting", True),  # it will be said: no need for another
        (Kind.RUN_FAILED, AT - timedelta(hours=3), "waiting", False),
        (Kind.RUN_FAILED, AT, "refused", False),
        (Kind.RUN_FAILED, AT, "sent long ago", False),
        (Kind.OPENED, AT, "sent", False),
    ],
)
def test_told_recently(store, kind, bucket, state, told):
    store.commit([], [], [text("a", kind, bucket)])
    if state != "waiting":
        store.record(Receipt("a", state.split()[0]), AT - timedelta(hours=2 if "ago" in state else 0))
    assert store.told_recently(Kind.RUN_FAILED, AT - timedelta(hours=1)) is told


# History


def remember_two_years(store):
    old = AT - timedelta(days=500)
    store.commit([verdict(bucket=old), verdict()], [Episode("views")], [text("old"), text("old waiting"), text("new")])
    store.record(Receipt("old", "sent"), old)
    store.record(Receipt("new", "sent"), AT)


def test_what_is_older_than_400_days_is_forgotten_but_not_what_waits(store):
    remember_two_years(store)
    store.forget(AT + STEP)
    assert [v.bucket for v in store.judged()] == [AT]
    assert store.counts() == Counts(0, 1, 1, 0, AT)


def test_a_clock_in_the_future_forgets_nothing_more(store):
    remember_two_years(store)
    store.forget(AT + timedelta(days=4000))
    assert [v.bucket for v in store.judged()] == [AT]
    assert store.counts().sent == 1


def test_counts(store):
    states = [State.OK, State.PENDING, State.FIRING, State.RECOVERING]
    store.commit([verdict()], [Episode(state.value, state) for state in states], [text("a")])
    assert store.counts() == Counts(open=2, waiting=1, sent=0, refused=0, last_judged=AT)


def test_an_episode_of_an_older_or_newer_version_is_read(store, tmp_path):
    store.commit([], [Episode("views", State.FIRING, since=AT)], [])
    with closing(sqlite3.connect(tmp_path / "alerts.sqlite")) as db, db:
        body = '{"metric": "views", "state": "firing", "since": "2026-11-20T12:15:00+00:00", "mood": 1}'
        db.execute("UPDATE episodes SET body = ?", (body,))
    assert store.episodes() == {"views": Episode("views", State.FIRING, since=AT)}


# The file


def test_nobody_else_reads_it(tmp_path):
    with closing(Store(tmp_path / "data" / "alerts.sqlite")) as store:
        fill(store)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
        assert modes == {"alerts.sqlite": 0o600, "alerts.sqlite-wal": 0o600, "alerts.sqlite-shm": 0o600}
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_an_interrupted_migration_leaves_nothing(tmp_path, monkeypatch):
    from alerting.store import file

    path = tmp_path / "alerts.sqlite"
    monkeypatch.setattr(file, "MIGRATIONS", ((*file.MIGRATIONS[0], "CREATE nonsense"),))
    with pytest.raises(StoreError, match="nonsense"):
        Store(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == []


def test_a_file_of_an_older_version_is_brought_up_to_date(tmp_path, monkeypatch):
    from alerting.store import file

    path = tmp_path / "alerts.sqlite"
    with closing(Store(path)) as store:
        fill(store)
    monkeypatch.setattr(file, "MIGRATIONS", (*file.MIGRATIONS, ("CREATE TABLE silences (metric TEXT)",)))
    with closing(Store(path)) as store, closing(sqlite3.connect(path)) as db:
        assert len(store.judged()) == 300
        assert db.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_file_of_a_newer_version_is_left_alone(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match=r"newer version \(99\): update"):
        Store(path)
    assert [p.name for p in tmp_path.iterdir()] == ["alerts.sqlite"]


def overwrite(at, data):
    def damage(path):
        with path.open("r+b") as file:
            file.seek(at)
            file.write(data)

    return damage


DAMAGE = {
    "another kind of file": lambda path: path.write_bytes(b"<html>" * 4000),
    "header gone": overwrite(0, bytes(100)),
    "schema page gone": overwrite(100, b"\xff" * 3996),
    "a page in the middle gone": overwrite(3 * 4096, b"\xff" * 8 * 4096),
    "cut short": lambda path: os.truncate(path, 3 * 4096),
    "cut very short": lambda path: os.truncate(path, 700),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_corrupted_file_is_moved_aside_loudly_and_the_run_goes_on(tmp_path, damage):
    path = tmp_path / "alerts.sqlite"
    with closing(Store(path)) as store:
        fill(store)
    damage(path)
    spoilt = path.read_bytes()
    with closing(Store(path)) as store:
        store.judged()  # some damage shows only when it is read
        store.commit([verdict()], [Episode("views")], [text("c")])
        assert (store.judged(), keys(store)) == ([verdict()], ["c"])
        (note,) = store.notes
    (aside,) = [p for p in tmp_path.iterdir() if p.name.startswith("alerts.sqlite.corrupt-2") and p.suffix.endswith("Z")]
    assert "CORRUPTED" in note
    assert str(aside) in note
    assert aside.read_bytes() == spoilt
    with closing(Store(path)) as store:
        assert (len(store.judged()), store.notes) == (1, [])


def test_whoever_has_a_corrupted_file_open_goes_on_with_the_fresh_one(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(Store(path)) as store:
        fill(store)
    with closing(Store(path)) as other:
        other.commit([verdict("likes")], [], [])  # is in the -wal
        overwrite(4096, b"\xff" * (path.stat().st_size - 4096))(path)
        with closing(Store(path)) as store:
            assert store.judged() == []
            other.commit([verdict("messages")], [], [])
            assert store.last_judged().keys() == {"messages"}
        assert "opened again" in other.notes[0]
    assert len([p for p in tmp_path.iterdir() if ".corrupt-" in p.name and p.name.endswith("-wal")]) == 1


def test_a_folder_removed_under_an_open_store_is_made_again(tmp_path):
    with closing(Store(tmp_path / "data" / "alerts.sqlite")) as store:
        shutil.rmtree(tmp_path / "data")
        store.commit([verdict()], [], [])
        assert "opened again" in store.notes[0]
    with closing(Store(tmp_path / "data" / "alerts.sqlite")) as store:
        assert len(store.judged()) == 1


def test_damage_in_the_middle_of_a_run(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(Store(path)) as store:
        fill(store)
    with closing(Store(path)) as store:
        DAMAGE["another kind of file"](path)
        store.commit([verdict()], [Episode("views")], [text("c")])
        assert keys(store) == ["c"]
        assert len(store.notes) == 1


# What the machine does


@contextmanager
def nobody():
    """Not root for a while: root may write everywhere."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_folder_that_may_not_be_written():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        os.chmod(folder, 0o555)
        with nobody(), pytest.raises(StoreError, match="set ALERTING_DATA"):
            Store(Path(folder) / "alerts.sqlite")
        os.chmod(folder, 0o755)
        path = Path(folder) / "alerts.sqlite"
        with closing(Store(path)) as store:
            fill(store)
        os.chmod(path, 0o444)
        with nobody(), pytest.raises(StoreError, match="let this user write"), closing(Store(path)) as store:
            store.commit([verdict()], [], [])


@pytest.mark.parametrize("below", ["a file/alerts.sqlite", "a folder", "/proc/alerting/alerts.sqlite"])
def test_a_path_that_cannot_be(tmp_path, below):
    (tmp_path / "a file").write_text("")
    (tmp_path / "a folder").mkdir()
    with pytest.raises(StoreError, match="ALERTING_DATA"):
        Store(tmp_path / below)


def test_a_lock_that_is_not_let_go(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(Store(path, patience=0.05)) as store, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process keeps it locked"):
            store.commit([verdict()], [], [])
        assert store.judged() == []  # reading goes on meanwhile
        other.execute("ROLLBACK")
        store.commit([verdict()], [], [])
        assert len(store.judged()) == 1


def test_a_full_disk_costs_the_commit_and_nothing_else(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(Store(path)) as store:
        fill(store)
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))  # Python ignores the signal: writing fails
        try:
            with pytest.raises(StoreError, match=r"disk .*full"):
                store.commit([verdict("likes")], [], [Message("big", Kind.OPENED, "likes", AT, "", bytes(1_000_000))])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert store.last_judged().keys() == {"views"}
        assert keys(store) == ["a"]
        store.commit([verdict("likes")], [], [])
        assert store.last_judged().keys() == {"likes", "views"}


def python(code, *args, **kwargs):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, args)], cwd=ROOT, text=True, **kwargs)


def test_a_night_of_kill_9_leaves_all_of_a_commit_or_nothing(tmp_path):
    path = tmp_path / "alerts.sqlite"
    for turn in range(10):
        with python(COMMITS, path, stdout=subprocess.PIPE) as child:
            child.stdout.readline()  # it is at it
            time.sleep(0.002 * turn)
            child.send_signal(signal.SIGKILL)
        with closing(Store(path)) as store:
            assert store.notes == []
            last = store.episodes()["views"].calm
            assert [v.value for v in store.judged()] == [float(i) for i in range(last + 1) for _ in range(20)]
            assert [m.key for m in store.waiting()] == [str(i) for i in range(last + 1)]
    assert last >= 10


COMMITS = """
import sys
from datetime import UTC, datetime, timedelta
from alerting.model import Episode, Kind, Message, Status, Verdict
from alerting.store import Store
AT, store, second = datetime(2026, 11, 20, tzinfo=UTC), Store(sys.argv[1]), timedelta(seconds=1)
known = store.episodes()
i = known["views"].calm + 1 if known else 0
while True:
    seen = [Verdict(f"m{n}", AT + i * second, Status.NORMAL, i) for n in range(20)]
    store.commit(seen, [Episode("views", calm=i)], [Message(str(i), Kind.OPENED, "views", AT, "", bytes(20_000))])
    print(i, flush=True)
    i += 1
"""


def test_several_processes_at_once_also_on_a_corrupted_file(tmp_path):
    path = tmp_path / "alerts.sqlite"
    path.write_bytes(b"nonsense " * 1000)
    children = [python(SHARES, path, tmp_path / "go", name, stdout=subprocess.PIPE) for name in "abcd"]
    for child in children:
        child.stdout.readline()
    (tmp_path / "go").touch()
    for child in children:
        child.communicate()
        assert child.returncode == 0
    with closing(Store(path)) as store:
        assert {name: len(store.judged(name)) for name in "abcd"} == dict.fromkeys("abcd", 25)
    assert len([p for p in tmp_path.iterdir() if ".corrupt-" in p.name and p.name.endswith("Z")]) == 1


SHARES = """
import os, sys
from datetime import UTC, datetime, timedelta
from alerting.model import Status, Verdict
from alerting.store import Store
AT = datetime(2026, 11, 20, tzinfo=UTC)
print("ready", flush=True)
while not os.path.exists(sys.argv[2]):
    pass
store = Store(sys.argv[1])
for i in range(25):
    store.commit([Verdict(sys.argv[3], AT + timedelta(seconds=i), Status.NORMAL, i)], [], [])
"""
