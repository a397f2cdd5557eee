"""Peak memory of the processes that an action starts, as recorded by the system."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread


def peaks(action: Callable[[], object]) -> tuple[float, float]:
    """Run `action`. Return the peak memory (MB) of the largest process it starts, and of all at once without mapped files.

    Processes are polled every 10 ms; the system records the peak of each process.
    """
    done, seen = Event(), list[tuple[float, float]]()

    def watch() -> None:
        while not done.wait(0.01):
            seen.append(_now(os.getpid()))

    watcher = Thread(target=watch)
    watcher.start()
    try:
        action()
    finally:
        done.set()
        watcher.join()
    return max(largest for largest, _ in seen), max(own for _, own in seen)


def _now(root: int) -> tuple[float, float]:
    """Return, for the descendants of a process, the highest peak of one and the present sum of their own memory, in MB.

    Its direct children are left out: they are `make` and, just after the fork, copies that share the memory of the process.
    """
    parents: dict[int, int] = {}
    highest: dict[int, float] = {}
    own: dict[int, float] = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        except (OSError, ValueError):
            continue  # the process ended meanwhile
        pid = int(status.parent.name)
        parents[pid] = int(lines["PPid"])
        highest[pid], own[pid] = (int(lines.get(name, "0").split()[0]) * 1024 / 1e6 for name in ("VmHWM", "RssAnon"))
    family = [pid for pid in highest if root not in (pid, parents[pid]) and _descends(pid, root, parents)]
    return max((highest[pid] for pid in family), default=0.0), sum(own[pid] for pid in family)


def _descends(pid: int, root: int, parents: dict[int, int]) -> bool:
    while pid in parents and pid != root:
        pid = parents[pid]
    return pid == root
