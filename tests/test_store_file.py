"""The file of the state database has all of a transaction or nothing, after any fault of the process, the file or the disk."""

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
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from alerting.model.errors import StoreError
from alerting.model.message import Message, Receipt
from alerting.model.run import Run
from alerting.model.verdict import Episode, EpisodeState, EventKind
from alerting.store.codec import MIGRATIONS
from alerting.store.state import StateCounts, StateStore
from tests.stored import AT, DAY, ROOT, STEP, edit, fill, incident, keys, remember, text, verdict
from tests.waiting import PATIENCE, ended

# The file


def test_only_the_owner_may_read_the_state_file(tmp_path):
    with closing(StateStore(tmp_path / "data" / "alerts.sqlite")) as store:
        fill(store)
        files = {"alerts.sqlite": 0o600, "alerts.sqlite-wal": 0o600, "alerts.sqlite-shm": 0o600}
        for folder, names in ((tmp_path / "data", files | {"backup": 0o700}), (tmp_path / "data" / "backup", files)):
            assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == names
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_access_of_other_users_to_the_state_file_is_removed(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        remember(store, text("a"))
        for suffix, mode in (("", 0o666), ("-wal", 0o640), ("-shm", 0o644)):
            os.chmod(f"{path}{suffix}", mode)
        with closing(StateStore(path)) as again:
            assert keys(again) == ["a"]
            assert {stat.S_IMODE(p.stat().st_mode) for p in tmp_path.rglob("*") if p.is_file()} == {0o600}


V1_ROWS = """
INSERT INTO verdicts VALUES ('views', '2026-11-20T12:15:00+00:00', 'anomalous', 40, 90, 100, 110, -6, 'sudden', 1, NULL);
INSERT INTO episodes VALUES ('views', 'firing', '{"metric": "views", "state": "firing", "opened": "2026-11-20T12:15:00+00:00",
  "calm": 1, "share": null, "worst": {"metric": "views", "bucket": "2026-11-20T12:15:00+00:00", "status": "anomalous",
  "value": 40.0, "low": 90.0, "expected": 100.0, "high": 110.0, "score": -6.0, "reason": "", "news": true, "usual": 98.0}}');
INSERT INTO messages (key, kind, metric, bucket, text, photo, reply_to, state, message_id, changed) VALUES
  ('a', 'opened', 'views', '2026-11-20T12:15:00+00:00', 'said', NULL, '', 'sent', '7', '2026-11-20T12:31:00+00:00'),
  ('a/picture', 'opened', 'views', '2026-11-20T12:15:00+00:00', 'caption', x'89504e47', 'a', 'waiting', '', ''),
  ('b', 'run failed', 'views', '2026-11-20T12:15:00+00:00', 'too long', NULL, '', 'refused', '', '2026-11-20T12:31:00+00:00'),
  ('c', 'opened', 'likes', '2026-11-20T12:15:00+00:00', 'to say', NULL, '', 'waiting', '', '');
PRAGMA user_version = 1;
"""


def test_a_file_of_version_1_is_brought_up_to_date(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(";".join(MIGRATIONS[0]) + ";" + V1_ROWS)
    for _ in range(2):
        with closing(StateStore(path)) as store:
            assert repr(store.judged()[0]) == repr(replace(verdict(), reason="sudden", usual=float("nan")))
            assert store.episodes()["views"].worst == verdict()
            assert repr(store.episodes()["views"]) == repr(Episode("views", EpisodeState.FIRING, opened=AT, worst=verdict()))
            assert keys(store) == ["c", "a/picture"]
            assert [m.key for m in store.stale(AT + STEP)] == ["c"]
            assert store.counts() == StateCounts(waiting=2, sent=1, refused=1, last_judged=AT)
    with closing(StateStore(path)) as store:
        remember(store, edit("a/e", "a"), edit("c/e", "c"), incidents=[incident()])
        assert [(m.key, m.text) for m in store.waiting()] == [("c", "changed"), ("a/e", "changed"), ("a/picture", "caption")]
        assert store.incidents() == [incident()]


def test_an_interrupted_migration_leaves_nothing(tmp_path, monkeypatch):
    from alerting.store import database

    path = tmp_path / "alerts.sqlite"
    monkeypatch.setattr(database, "MIGRATIONS", ((*database.MIGRATIONS[0], "CREATE nonsense"),))
    with pytest.raises(StoreError, match="nonsense"):
        StateStore(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT name FROM sqlite_master").fetchall() == []


def test_a_file_of_an_older_version_is_brought_up_to_date(tmp_path, monkeypatch):
    from alerting.store import database

    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        fill(store)
    monkeypatch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, ("CREATE TABLE moods (metric TEXT)",)))
    with closing(StateStore(path)) as store, closing(sqlite3.connect(path)) as db:
        assert len(store.judged()) == 300
        assert db.execute("PRAGMA user_version").fetchone() == (len(database.MIGRATIONS),)


def test_a_file_of_a_newer_version_is_left_alone(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match=r"newer version \(99\): update"):
        StateStore(path)
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
    with closing(StateStore(path)) as store:
        fill(store)
        known, waited = {v.metric for v in store.judged()}, keys(store)
    damage(path)
    spoilt = path.read_bytes()
    with closing(StateStore(path)) as store:
        store.judged()  # some damage shows only when it is read
        remember(store, text("c"), verdicts=[verdict("new")], episodes=[Episode("views")])
        assert ({v.metric for v in store.judged()}, keys(store)) == ({"new", *known}, [*waited, "c"])
        note, restored = store.notes
    (aside,) = [p for p in tmp_path.iterdir() if p.name.startswith("alerts.sqlite.corrupt-2") and p.suffix.endswith("Z")]
    assert "CORRUPTED" in note
    assert str(aside) in note
    assert aside.read_bytes() == spoilt
    assert f"It was restored from {tmp_path / 'backup' / 'alerts.sqlite'}" in restored
    with closing(StateStore(path)) as store:
        assert store.notes == [restored], "the next run tells it"
        store.save_run(Run(AT, AT, AT, False, restored))
    with closing(StateStore(path)) as store:
        assert store.notes == []


LOSSES = {
    "emptied": lambda path: path.write_bytes(b""),
    "deleted": Path.unlink,
    "deleted with its -wal": lambda path: [file.unlink() for file in path.parent.glob("alerts.sqlite*")],
    "a new one": lambda path: [file.unlink() for file in path.parent.glob("alerts.sqlite*")] and sqlite3.connect(path).close(),
}


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
def test_a_file_that_was_lost_is_restored_with_a_note(tmp_path, lose):
    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        fill(store)
        before = [store.judged(), store.episodes(), store.all_incidents(AT - DAY), store.counts(), keys(store)]
    lose(path)
    with closing(StateStore(path)) as store:
        after = [store.judged(), store.episodes(), store.all_incidents(AT - DAY), store.counts(), keys(store)]
        assert repr(after) == repr(before)
        (note,) = store.notes
    assert "was empty or missing. It was restored from" in note


def test_a_backup_that_cannot_be_read_now_is_not_given_up(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        remember(store, text("a"))
    path.unlink()
    with closing(sqlite3.connect(tmp_path / "backup" / "alerts.sqlite")) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match=r"backup/alerts.sqlite: database is locked: another process"):
            StateStore(path, patience=0.1)
    with closing(StateStore(path)) as store:
        assert keys(store) == ["a"]


@contextmanager
def full_disk():
    """No file may become larger than 200 kB. Python ignores the signal: writing fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_too_full_to_restore_a_file_costs_no_backup(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        remember(store, *(Message(f"{number}", EventKind.OPENED, "likes", AT, "x" * 1000) for number in range(500)))
    path.unlink()
    with full_disk(), pytest.raises(StoreError, match=r"disk .*full"):
        StateStore(path)
    with closing(StateStore(path)) as store:
        assert len(keys(store)) == 500


def test_without_a_backup_a_lost_file_is_a_new_one(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        fill(store)
    shutil.rmtree(tmp_path / "backup")
    path.unlink()
    with closing(StateStore(path)) as store:
        assert (store.judged(), store.notes) == ([], [])


def test_a_file_put_back_by_hand_counts_and_not_its_backup(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        remember(store, text("a"))
    kept = path.read_bytes()
    with closing(StateStore(path)) as store:
        remember(store, text("b"))
    path.write_bytes(kept)
    with closing(StateStore(path)) as store:
        assert (keys(store), store.notes) == (["a"], [])
    path.unlink()
    with closing(StateStore(path)) as store:
        assert keys(store) == ["a"]


def test_a_backup_that_cannot_be_written_costs_nothing(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        remember(store, text("a"))
        (tmp_path / "backup" / "alerts.sqlite").write_bytes(b"nonsense " * 1000)
        remember(store, text("b"))
        assert (keys(store), store.notes) == (["a", "b"], [])
    path.unlink()
    with closing(StateStore(path)) as store:
        assert keys(store) in (["a", "b"], ["b"], [])


def test_a_backup_that_is_deleted_while_it_is_open_is_made_again_whole(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        remember(store, text("a"))
        shutil.rmtree(tmp_path / "backup")
        remember(store, text("b"))
        path.unlink()
        assert keys(store) == ["a", "b"]


@pytest.mark.parametrize("clean", [True, False], ids=["closed", "killed"])
def test_a_file_cut_anywhere_by_a_power_loss_is_restored_and_forgets_nothing(tmp_path, clean):
    """Cut at every page of its last megabyte, and within some: what was sent is known as sent, and what waits still waits."""
    path = tmp_path / "data" / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        fill(store)
        rows = [(f"k{n}", n, "c", os.urandom(3000)) for n in range(600)]
        store._file.write(("INSERT INTO history VALUES (?, ?, ?, ?)", rows), backed_up=False)
        remember(store, text("sent"), text("waits"))
        store.record(Receipt("sent", "sent", message_id="7"), AT)
        known = store.counts()
        if not clean:
            shutil.copytree(tmp_path / "data", tmp_path / "killed")
    source = tmp_path / ("data" if clean else "killed")
    size = (source / "alerts.sqlite").stat().st_size
    cuts = [*range(size - (1 << 20), size, 16 * 4096), size - 1, size - 4096, size - 5000, 4095, 1]
    for cut in {cut for cut in cuts if 0 <= cut < size}:
        home = tmp_path / f"cut-{cut}"
        shutil.copytree(source, home)
        os.truncate(home / "alerts.sqlite", cut)
        with closing(StateStore(home / "alerts.sqlite")) as store:
            assert (store.counts(), store.message_id("sent")) == (known, "7"), f"cut at {cut}"
            healed = not clean and not store.notes  # the -wal had the pages
            assert healed or "restored from" in store.notes[-1]
        with closing(sqlite3.connect(home / "alerts.sqlite")) as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_store_with_a_corrupted_file_open_continues_with_the_new_file(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        fill(store)
    with closing(StateStore(path)) as other:
        remember(other, verdicts=[verdict("likes")])  # is in the -wal
        overwrite(4096, b"\xff" * (path.stat().st_size - 4096))(path)
        with closing(StateStore(path)) as store:
            assert "likes" in store.last_judged(), "the backup has what was in the -wal"
            remember(other, verdicts=[verdict("messages")])
            assert {"likes", "messages"} < store.last_judged().keys()
        assert "opened again" in other.notes[0]
    assert len([p for p in tmp_path.iterdir() if ".corrupt-" in p.name and p.name.endswith("-wal")]) == 1


def test_a_folder_removed_under_an_open_store_is_made_again(tmp_path):
    with closing(StateStore(tmp_path / "data" / "alerts.sqlite")) as store:
        shutil.rmtree(tmp_path / "data")
        remember(store, verdicts=[verdict()])
        assert "opened again" in store.notes[0]
    with closing(StateStore(tmp_path / "data" / "alerts.sqlite")) as store:
        assert len(store.judged()) == 1


def test_damage_in_the_middle_of_a_run(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        fill(store)
    with closing(StateStore(path)) as store:
        DAMAGE["another kind of file"](path)
        remember(store, text("c"), verdicts=[verdict()], episodes=[Episode("views")])
        assert keys(store) == ["a", "c"]
        assert len(store.notes) == 2


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
            StateStore(Path(folder) / "alerts.sqlite")
        os.chmod(folder, 0o755)
        path = Path(folder) / "alerts.sqlite"
        with closing(StateStore(path)) as store:
            fill(store)
        os.chmod(path, 0o444)
        with nobody(), pytest.raises(StoreError, match="let this user write"), closing(StateStore(path)) as store:
            remember(store, verdicts=[verdict()])


@pytest.mark.parametrize("below", ["a file/alerts.sqlite", "a folder", "/proc/alerting/alerts.sqlite"])
def test_a_path_that_cannot_be(tmp_path, below):
    (tmp_path / "a file").write_text("")
    (tmp_path / "a folder").mkdir()
    with pytest.raises(StoreError, match="ALERTING_DATA"):
        StateStore(tmp_path / below)


def test_a_lock_that_is_not_let_go(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path, patience=0.05)) as store, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="another process keeps it locked"):
            remember(store, verdicts=[verdict()])
        assert store.judged() == []  # reading goes on meanwhile
        other.execute("ROLLBACK")
        remember(store, verdicts=[verdict()])
        assert len(store.judged()) == 1


def test_a_full_disk_costs_the_commit_and_nothing_else(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with closing(StateStore(path)) as store:
        fill(store)
        with full_disk(), pytest.raises(StoreError, match=r"disk .*full"):
            remember(store, Message("big", EventKind.OPENED, "likes", AT, "", bytes(1_000_000)), verdicts=[verdict("likes")])
        assert store.last_judged().keys() == {"views"}
        assert keys(store) == ["a"]
        remember(store, verdicts=[verdict("likes")])
        assert store.last_judged().keys() == {"likes", "views"}


def python(code, *args):
    return ended(subprocess.Popen([sys.executable, "-c", code, *map(str, args)], cwd=ROOT, text=True, stdout=subprocess.PIPE))


def test_a_night_of_kill_9_leaves_all_of_a_commit_or_nothing(tmp_path):
    path = tmp_path / "alerts.sqlite"
    for turn in range(10):
        with python(COMMITS, path) as child:
            child.stdout.readline()  # it is at it
            time.sleep(0.002 * turn)
            child.send_signal(signal.SIGKILL)
        with closing(StateStore(path)) as store:
            assert store.notes == []
            last = int(store.episodes()["views"].lost)
            assert [v.value for v in store.judged()] == [float(i) for i in range(last + 1) for _ in range(20)]
            assert [m.key for m in store.waiting()] == [str(i) for i in range(last + 1)]
            assert store.episode_before("views", AT + DAY).lost == last
    assert last >= 10


COMMITS = """
import sys
from datetime import UTC, datetime, timedelta
from alerting.model.message import Message
from alerting.model.protocols import Commit
from alerting.model.verdict import Episode, EventKind, Status, Verdict
from alerting.store.state import StateStore
AT, store, second = datetime(2026, 11, 20, tzinfo=UTC), StateStore(sys.argv[1]), timedelta(seconds=1)
known = store.episodes()
i = int(known["views"].lost) + 1 if known else 0
while True:
    seen = [Verdict(f"m{n}", AT + i * second, Status.NORMAL, i) for n in range(20)]
    said = [Message(str(i), EventKind.OPENED, "views", AT, "", bytes(20_000))]
    store.commit(Commit(seen, [Episode("views", lost=i)], said, episode_trail=[(AT + i * second, Episode("views", lost=i))]))
    print(i, flush=True)
    i += 1
"""


def test_several_processes_at_once_also_on_a_corrupted_file(tmp_path):
    path = tmp_path / "alerts.sqlite"
    path.write_bytes(b"nonsense " * 1000)
    with ExitStack() as stack:
        children = [stack.enter_context(python(SHARES, path, tmp_path / "go", name)) for name in "abcd"]
        for child in children:
            child.stdout.readline()
        (tmp_path / "go").touch()
        for child in children:
            child.communicate(timeout=PATIENCE)
            assert child.returncode == 0
    with closing(StateStore(path)) as store:
        assert {name: len(store.judged(name)) for name in "abcd"} == dict.fromkeys("abcd", 25)
    assert len([p for p in tmp_path.iterdir() if ".corrupt-" in p.name and p.name.endswith("Z")]) == 1


def test_a_file_that_others_write_to_is_never_taken_for_a_cut_one(tmp_path):
    path = tmp_path / "alerts.sqlite"
    with python(GROWS, path) as first, python(GROWS, path) as second:
        for child in (first, second):
            child.stdout.readline()
        for _ in range(6):
            with closing(StateStore(path)) as store:
                assert store.notes == []
        assert (first.poll(), second.poll()) == (None, None), "both are still at it"
    assert [p.name for p in tmp_path.iterdir() if ".corrupt-" in p.name] == []


GROWS = """
import sys
from datetime import UTC, datetime
from alerting.model.message import Message
from alerting.model.protocols import Commit
from alerting.model.verdict import EventKind
from alerting.store.state import StateStore
AT, store, i = datetime(2026, 11, 20, tzinfo=UTC), StateStore(sys.argv[1]), 0
while not store.notes:
    store.commit(Commit(messages=[Message(f"{sys.argv[0]}{id(store)}{i}", EventKind.OPENED, "views", AT, "", bytes(9_000))]))
    i += 1
    print(i, flush=True)
"""


SHARES = """
import os, sys
from datetime import UTC, datetime, timedelta
from alerting.model.protocols import Commit; from alerting.model.verdict import Status, Verdict
from alerting.store.state import StateStore
AT = datetime(2026, 11, 20, tzinfo=UTC)
print("ready", flush=True)
while not os.path.exists(sys.argv[2]):
    pass
store = StateStore(sys.argv[1])
for i in range(25):
    store.commit(Commit(verdicts=[Verdict(sys.argv[3], AT + timedelta(seconds=i), Status.NORMAL, i)]))
"""
