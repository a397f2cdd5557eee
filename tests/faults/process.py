"""The processes of a run (the runner that we start, and the kernel that it starts), and ways to kill them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ALERT = ROOT / "notebooks" / "alert.ipynb"
WHOM = ("kernel", "runner", "both")


class Run:
    """A run that was started at `at`. `kernels`: pids that it was seen to have. `prefix`: of its command."""

    def __init__(
        self,
        at: str,
        environ: Mapping[str, str],
        log: Path,
        notebook: Path = ALERT,
        room: int | None = None,
        prefix: Sequence[str] = (),
    ) -> None:
        command = [*prefix, sys.executable, "-m", "tests.faults.child", at, str(notebook), *([] if room is None else [str(room)])]
        self.at, self.killed, self.kernels = at, False, set[int]()
        self.started, self._log = time.monotonic(), log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=dict(environ), stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )  # fmt: skip

    def kill(self, whom: str, after: float = 0.0) -> bool:
        """SIGKILL for the kernel, the runner, or both, `after` seconds; whether it hit anything. Without a kernel the runner is
        meant."""
        time.sleep(after)
        self.kernels |= set(_children(self.process.pid))
        pids = list(self.kernels) if whom == "kernel" else [self.process.pid]
        pids += list(self.kernels) if whom == "both" else []
        hit = [_sent(pid) for pid in pids or [self.process.pid] if self.process.poll() is None]
        self.killed = self.killed or any(hit)
        return any(hit)

    def kill_engines(self) -> None:
        """SIGKILL for each process of chDB that the run starts, until the run is over."""
        while self.process.poll() is None:
            for pid in (grandchild for child in _children(self.process.pid) for grandchild in _children(child)):
                if b"embedded_worker" in _command_line(pid):
                    _sent(pid)
            time.sleep(0.02)

    def wait(self, limit: float) -> int | None:
        """The exit code; None when it had to be killed after `limit` seconds."""
        try:
            return self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.kill("both")
            self.process.wait()
            return None

    @property
    def said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")


def _sent(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def alive(pids: set[int], patience: float = 5.0) -> set[int]:
    """Kernels that nobody has any more and that have not ended after `patience` seconds."""
    deadline = time.monotonic() + patience
    while left := {pid for pid in pids if _is_kernel(pid)}:
        if time.monotonic() > deadline:
            return left
        time.sleep(0.1)
    return set()


def _is_kernel(pid: int) -> bool:
    return b"ipykernel" in _command_line(pid)


def _command_line(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


class Server:
    """Another process of ours, ended with the block. `with_us`: it also ends when the thread that started it does."""

    def __init__(self, *command: str) -> None:
        setpriv = shutil.which("setpriv")
        with_us = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        self.process = subprocess.Popen([*with_us, *command], cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True)

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
