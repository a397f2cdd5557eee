"""D. The state file is locked, the disk is full or read-only, cron starts two runs at once, chDB is killed."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from tests.faults.audit import account, ended, in_budget, memory, notices, repeats
from tests.faults.leaks import in_files
from tests.faults.process import Run
from tests.faults.scenario import Row, Scenario, Task
from tests.faults.timeline import FIRST, STEP, one, table
from tests.faults.world import World

OBEYING = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--")  # root, but file modes count
LAST = FIRST + 16
DISK = "64m"


@contextmanager
def incident(task: Task, disk: Path | None = None, count: int = LAST + 4) -> Iterator[World]:
    """A world with the one incident, as it is just before it begins."""
    source = table(task.folder / "table.parquet", one(), count, task.seed)
    with World(task.folder / "world", str(source), disk=disk) as world:
        world.run(FIRST - 1)
        yield world


def _afterwards(row: Row, world: World) -> None:
    """All is well again: what was left out is judged and told, once."""
    for number in (FIRST + 3, FIRST + 12, LAST):
        row.wrong += ended(world.run(number), 0)
    account(row, world, one(), LAST, 0)


def _heard(world: World, *words: str) -> list[str]:
    """The chat was told that the check failed, and why."""
    texts = [notice.text for notice in notices(world.chat())]
    told = [text for text in texts if any(word in text for word in words)]
    return [] if told else [f"a red run was not told in the chat as one of {words}; notices: {texts}"]


def locked(row: Row, task: Task) -> None:
    with incident(task) as world, closing(_opened(world)) as other:
        other.execute("BEGIN IMMEDIATE")
        row.wrong += ended(world.run(FIRST), 1, "locked") + _heard(world, "locked")
        other.execute("COMMIT")
        row.wrong += in_budget(world, 45)
        _afterwards(row, world)


def locked_for_a_while(row: Row, task: Task) -> None:
    with incident(task) as world, closing(_opened(world)) as other:
        other.execute("BEGIN EXCLUSIVE")
        timer = threading.Timer(5, other.execute, ["COMMIT"])
        timer.start()
        row.wrong += ended(world.run(FIRST), 0)
        timer.join()
        _afterwards(row, world)


def _opened(world: World) -> sqlite3.Connection:
    return sqlite3.connect(world.memory, isolation_level=None, check_same_thread=False)


def full(row: Row, task: Task) -> None:
    """A small file system of its own where we may mount one, otherwise a limit on the size of every file."""
    with _disk(task.folder / "disk") as disk, incident(task, disk) as world:
        ballast = (disk or task.folder) / "ballast"
        if disk:
            _fill(ballast)
        ran = world.run(FIRST, room=None if disk else 20_000)
        row.scenario += "" if disk else " (a limit on files)"
        row.wrong += ended(ran, 1) + _heard(world, "full", "disk", "No space")
        ballast.unlink(missing_ok=True)
        _afterwards(row, world)
        row.secrets += len(in_files(disk)) if disk else 0  # it is gone with the block


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue


@contextmanager
def _disk(folder: Path) -> Iterator[Path | None]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def read_only(what: str) -> Scenario:
    """The whole folder of the memory, or only its file. Root may write everywhere, so it gives that up for this run."""

    def play(row: Row, task: Task) -> None:
        with incident(task) as world:
            data = world.memory.parent
            taken = [path for path in [*data.iterdir(), data] if what == "folder" or path.name.startswith(world.memory.name)]
            modes = [(path, path.stat().st_mode & 0o777) for path in taken]
            for path, mode in modes:
                path.chmod(mode & 0o555)
            ran = world.run(FIRST, prefix=() if os.geteuid() else OBEYING)
            for path, mode in modes:
                path.chmod(mode)
            row.wrong += ended(ran, 1) + _heard(world, "read", "Permission", "write")
            _afterwards(row, world)

    return Scenario(f"memory: read-only {what}", play)


def two_crons(row: Row, task: Task) -> None:
    with incident(task) as world:
        for number in (FIRST, FIRST + 1):
            runs, before = [world.start(number) for _ in range(2)], len(world.chat())
            codes = sorted(world.over(number, run, before).code or 0 for run in runs)
            row.wrong += [] if codes == [0, 75] else [f"two runs at once ended with {codes}"]
        _afterwards(row, world)
        row.wrong += [f"{message} was told by two" for message in repeats(world)]


def engine_killed(row: Row, task: Task) -> None:
    """chDB's process dies in each query, as when memory runs out: a red run that says so, and the next run judges all."""
    begin = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - 12 * STEP  # the sample app ends now
    with World(task.folder / "world", "embedded", begin=begin) as world:
        row.wrong += ended(world.run(0), 0)
        row.wrong += ended(world.run(1, Run.kill_engines), 1, "SIGKILL") + _heard(world, "SIGKILL")
        row.wrong += ended(world.run(2), 0) + memory(world, 2, 0)
        row.runs, row.repeated = len(world.runs), len(repeats(world))


def scenarios(quick: bool) -> list[Scenario]:
    always = [Scenario("disk: full", full), Scenario("cron: two at once", two_crons)]
    if quick:
        return always
    own = [read_only("folder"), read_only("file")] if os.geteuid() or shutil.which("setpriv") else []
    return [
        Scenario("memory: locked by another process", locked),
        Scenario("memory: locked for five seconds", locked_for_a_while),
        *always,
        *own,
        Scenario("chDB: killed", engine_killed),
    ]
