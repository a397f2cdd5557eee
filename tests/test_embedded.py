"""Embedded ClickHouse: its files, and the process that chDB runs in."""

import gc
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from alerting.model.errors import SourceError
from alerting.model.metric import Query
from alerting.sources.embedded import EmbeddedSource
from tests.source_helpers import DAY, END, FEED, ROOT, START, WITH, columns, write_parquet
from tests.waiting import PATIENCE, ended, until


def test_embedded_columns(embedded):
    assert columns(embedded, "feed_actions")["time"].startswith("Nullable(DateTime64(")


def test_only_the_days_of_the_window_are_opened(folder, tmp_path):
    """An old file that cannot be read does not stop today's run."""
    (tmp_path / "feed_actions").mkdir()
    for path in (folder / "feed_actions").iterdir():
        (tmp_path / "feed_actions" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "feed_actions" / "2026-10-24.parquet").write_bytes(b"PAR1 torn")
    source = EmbeddedSource(tmp_path)
    assert len(source.fetch(FEED, START + DAY, END)) == 188
    with pytest.raises(SourceError, match=r"embedded ClickHouse \(feed_actions\)"):
        source.fetch(FEED, START, END)


@pytest.mark.parametrize("made", [False, True])
def test_no_folder_and_no_files_are_said(tmp_path, made):
    if made:
        (tmp_path / "feed_actions").mkdir()
    with pytest.raises(SourceError, match=r"no Parquet files in .*feed_actions"):
        EmbeddedSource(tmp_path).fetch(FEED, START, END)


def test_a_path_that_chdb_takes_for_a_pattern_is_refused(folder, tmp_path):
    (tmp_path / "a{b}").symlink_to(folder)
    assert len(EmbeddedSource(tmp_path / "a{b}").fetch(FEED, START, END)) == 284  # resolved to a plain path
    write_parquet(pd.DataFrame({"time": [1]}), tmp_path / "t{1}" / "2026-10-24.parquet")
    with pytest.raises(SourceError, match="for patterns"):
        EmbeddedSource(tmp_path, {"feed_actions": "t{1}"}).fetch(FEED, START, END)


@pytest.mark.parametrize(("old", "new", "said"), [("user_id", "usr_id", "usr_id"), ("countIf", "countWhenever", "countWhenever")])
def test_an_error_of_chdb_is_a_source_error(embedded, old, new, said):
    with pytest.raises(SourceError, match=said) as caught:
        embedded.fetch(replace(FEED, sql=FEED.sql.replace(old, new)), START, END)
    assert len(str(caught.value)) < 600


def test_a_zone_of_this_machine_changes_nothing_and_two_processes_may_read(folder, views):
    code = (
        "import sys, datetime as d\n"
        "from alerting.model.metric import Query; from alerting.sources.embedded import EmbeddedSource\n"
        "sql = open('alerting/sql/feed_actions.sql').read(); at = d.datetime(2026, 10, 24, tzinfo=d.timezone.utc)\n"
        "print(EmbeddedSource(sys.argv[1]).fetch(Query('feed_actions', sql), at, at + d.timedelta(days=3)).views.sum())\n"
        "plain = 'WITH 0 AS since, 0 AS until, 0 AS step SELECT toDateTime(0) AS x FROM feed_actions LIMIT 1'\n"
        "print(EmbeddedSource(sys.argv[1]).rows(Query('feed_actions', plain), at, at).x[0])\n"
        "assert {'alerting.http_client', 'alerting.sources.clickhouse', 'chdb'}.isdisjoint(sys.modules)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    environment = {**os.environ, "TZ": "America/Caracas"}
    with ExitStack() as stack:
        started = [subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        both = [stack.enter_context(ended(process)) for process in started]
        assert [process.communicate(timeout=PATIENCE)[0] for process in both] == [
            f"{views.sum()}\n1970-01-01 00:00:00+00:00\n"
        ] * 2
        assert [process.returncode for process in both] == [0, 0]


def test_nobodys_config_xml_is_read(folder, tmp_path):
    """chDB takes one from the working folder and from the home of the user, whatever it was meant for."""
    for place in (tmp_path, tmp_path / ".clickhouse-local"):
        place.mkdir(exist_ok=True)
        (place / "config.xml").write_text("<yandex><path>half")
    code = "import sys; from tests.test_embedded import *\nprint(*columns(EmbeddedSource(sys.argv[1]), 'feed_actions'))"
    done = run_with(code, folder, cwd=tmp_path, HOME=str(tmp_path))
    assert (done.stdout, done.stderr) == ("user_id post_id action time city\n", "")


# The process that chDB runs in

ENDLESS = Query(
    "feed_actions",
    WITH + "SELECT (SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1) AS x FROM feed_actions",
)
FAKE = "import os, signal, sys\n{}\ndef connect(place): return sys.modules[__name__]\ndef query(sql, form=''):\n    {}"


def run_with(code, *arguments, **environment):
    """Python with warnings as errors, from any folder."""
    given = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    cwd = environment.pop("cwd", None)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=given | environment, capture_output=True, text=True, timeout=PATIENCE)


def children(parent=None):
    """Processes that a process (this one) has started, those included that ended and that nobody has asked about."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == (parent or os.getpid()):
                found.add(int(stat.parent.name))
    return found


@pytest.fixture
def engine(folder):
    """A source, and a function that gives the number of its process."""
    gc.collect()
    before = children()
    source = EmbeddedSource(folder, timeout=30)

    def pid():
        (number,) = children() - before
        return number

    yield source, pid
    source.close()
    assert children() <= before


def busy(pid):
    """Return whether a process has used about 0.3 s since it loaded chDB (which takes 0.2 s)."""
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK") > 0.8


def awaited(source, query=ENDLESS):
    """The answer to a query, which another thread waits for."""
    pool = ThreadPoolExecutor(1)
    answer = pool.submit(source.fetch, query, START, END)
    pool.shutdown(wait=False)
    return answer


def test_chdb_has_a_process_of_its_own_from_the_start_and_it_is_small(engine):
    source, pid = engine
    first = pid()
    assert len(source.fetch(FEED, START, END)) == 284
    assert pid() == first
    assert os.getpgid(first) == os.getpgrp()  # whoever ends the run's group ends it, too
    loaded = Path(f"/proc/{first}/maps").read_text()
    assert "_chdb" in loaded
    assert not re.search("pandas|numpy|arrow", loaded)


def test_a_crash_is_said_and_the_next_query_is_answered(engine):
    source, pid = engine
    answer, first = awaited(source), pid()
    until(lambda: busy(first))
    os.kill(first, signal.SIGKILL)
    with pytest.raises(SourceError, match=r"\(feed_actions\): chDB's process was killed by SIGKILL \(mostly: memory") as caught:
        answer.result()
    assert caught.value.passing
    assert len(source.fetch(FEED, START, END)) == 284
    assert pid() != first


def test_a_process_that_died_between_two_queries_is_started_again(engine):
    source, pid = engine
    assert len(source.fetch(FEED, START, END)) == 284
    os.kill(pid(), signal.SIGSEGV)
    os.waitid(os.P_PID, pid(), os.WEXITED | os.WNOWAIT)
    assert len(source.fetch(FEED, START, END)) == 284


def test_a_query_over_its_time_is_ended(engine):
    source, pid = engine
    first, source.timeout = pid(), 1.5
    with pytest.raises(SourceError, match=r"took longer than 1\.5 s and was ended") as caught:
        source.fetch(ENDLESS, START, END)
    assert caught.value.passing
    assert first not in children()
    source.timeout = 30
    assert len(source.fetch(FEED, START, END)) == 284


def test_an_interrupted_query_gives_its_answer_to_nobody(engine, folder):
    source, pid = engine
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)  # SIGALRM is the alarm of pytest-timeout
    alarm = threading.Timer(1, os.kill, (os.getpid(), signal.SIGUSR1))
    alarm.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            source.fetch(ENDLESS, START, END)
    finally:
        alarm.cancel()
        signal.signal(signal.SIGUSR1, before)
    assert len(source.fetch(FEED, START, END)) == 284
    first = pid()
    os.kill(first, signal.SIGINT)  # Ctrl-C reaches both: it is not for this one
    assert len(source.fetch(FEED, START, END)) == 284
    assert pid() == first


def test_threads_wait_their_turn(engine, views):
    source, _ = engine
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda day: source.fetch(FEED, START + day * DAY, END)["views"].sum(), [0, 1, 2] * 8))
    assert got == [views[views.index >= START + day * DAY].sum() for day in [0, 1, 2] * 8]


def test_a_process_whose_parent_was_killed_ends_in_the_middle_of_a_query(folder, tmp_path):
    code = (
        "import sys; from tests.test_embedded import *\n"
        "source = EmbeddedSource(sys.argv[1]); print(*children(), flush=True); source.fetch(ENDLESS, START, END)"
    )
    given = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    with ended(subprocess.Popen([sys.executable, "-c", code, folder], env=given, stdout=subprocess.PIPE, text=True)) as parent:
        child = int(parent.stdout.readline())
        until(lambda: busy(child))
        parent.kill()
    until(lambda: not Path(f"/proc/{child}/fd/0").exists())  # its number stays until the system's first process asks
    assert [path.name for path in tmp_path.glob(f"alerting-{parent.pid}-*")] == os.listdir(tmp_path)  # the next run sweeps it


@pytest.mark.parametrize("end", ["source.close(); source.close()", "source.other = source; del source", "pass"])
def test_no_process_file_or_output_is_left_behind(folder, tmp_path, end):
    code = (
        "import sys, gc; from tests.test_embedded import *\n"
        f"source = EmbeddedSource(sys.argv[1]); columns(source, 'feed_actions'); {end}; gc.collect(); print(*children())"
    )
    done = run_with(code, folder, TMPDIR=str(tmp_path))
    number = "" if end != "pass" else r"\d+"  # it lives until its parent comes to its end
    assert re.fullmatch(number + "\n", done.stdout), done
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []
    until(lambda: not (done.stdout.strip() and Path(f"/proc/{done.stdout.strip()}").exists()))


@pytest.mark.parametrize(
    ("loading", "asked", "said", "passing"),
    [
        (
            "raise ImportError('no module named _chdb')",
            "0",
            "chdb is not installed (no module named _chdb): `make env EXTRAS=app` installs it",
            False,
        ),
        ("raise RuntimeError('no memory')", "0", "chDB does not start (no memory)", False),
        ("", "raise ValueError('odd')", "chDB does not start (odd)", False),
        ("print('hello'); os.write(1, b'hello')", "if form: raise ValueError('odd')", "it failed: odd", False),
        ("", "if form: os.write(2, b'it is\\nall over'); os.abort()", "was killed by SIGABRT: all over", True),
        ("", "if form: sys.exit('enough')", "ended with exit code 1: enough", True),
        ("sys.exit(3)", "0", "ended with exit code 3", True),
    ],
)
def test_what_becomes_of_a_chdb_that_does_not_work(tmp_path, folder, monkeypatch, loading, asked, said, passing):
    (tmp_path / "chdb.py").write_text(FAKE.format(loading, asked))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    source = EmbeddedSource(folder)
    for _ in range(2):
        with pytest.raises(SourceError, match=re.escape(said)) as caught:
            source.fetch(FEED, START, END)
        assert caught.value.passing is passing
    source.close()


def test_no_process_can_be_started(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SourceError, match=r"process cannot be started: .*No such file") as caught:
        EmbeddedSource(folder)
    assert caught.value.passing
    assert list(tmp_path.iterdir()) == []
