"""The kernel process of one run, started by hand: it boots while papermill is still being imported, and ends with one signal.

It is this Python, whatever kernelspecs are installed, in a process group and a private folder of its own: the key, the
sockets (no ports), what it says on stderr and its temporary files lie there and go with it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from alerting.settings import ROOT, Settings

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
LAUNCH = Path(__file__).with_name("launch.py")
SOCKET_PATH = 90  # bytes of a folder name that leave room for the socket's own: the system allows 104 to 108 in all
PRIVATE = {  # what a user without a home has no other place for
    "IPYTHONDIR": "ipython",
    "JUPYTER_CONFIG_DIR": "jupyter/config",
    "JUPYTER_DATA_DIR": "jupyter/data",
    "JUPYTER_RUNTIME_DIR": "jupyter/runtime",
    "MPLCONFIGDIR": "matplotlib",  # worth keeping: its list of fonts takes seconds to make
}


class Kernel:
    """A running kernel; `with` ends it."""

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        """Start the process. Raises OSError when it cannot even be started."""
        self.folder = Path(tempfile.mkdtemp(prefix=f"alerting-{os.getpid()}-", dir=_short()))
        self.file = self.folder / "connection.json"
        self.file.write_text(json.dumps(self._connection()), encoding="utf-8")
        env = {**os.environ, **_private(settings.data / ".cache", self.folder), **environ}
        env |= {"TMPDIR": str(self.folder), "JPY_PARENT_PID": str(os.getpid()), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        command = [sys.executable, "-P", str(LAUNCH), "-f", str(self.file), "--HistoryManager.enabled=False"]
        try:
            with (self.folder / "stderr").open("wb") as log:
                self.process = subprocess.Popen(
                    command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
        except OSError:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    def _connection(self) -> dict[str, object]:
        ports = {f"{name}_port": number for number, name in enumerate(CHANNELS, 1)}
        place = {"transport": "ipc", "ip": str(self.folder / "s"), "kernel_name": "python3"}
        return {**place, **ports, "key": uuid.uuid4().hex, "signature_scheme": "hmac-sha256"}

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def listening(self) -> bool:
        """Its sockets are there: connecting earlier costs a tenth of a second in retries."""
        return all(Path(f"{self.folder}/s-{number}").exists() for number in range(1, len(CHANNELS) + 1))

    @property
    def death(self) -> str:
        """How it ended, as far as the system tells."""
        code = self.process.poll()
        if code is None:
            return "still running"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    @property
    def complaint(self) -> str:
        """The end of what it said on stderr."""
        try:
            return (self.folder / "stderr").read_text(encoding="utf-8", errors="replace")[-2000:].strip()
        except OSError:
            return ""

    def kill(self) -> None:
        """End it and whatever it started. The memory is safe: it is written in transactions."""
        with suppress(ProcessLookupError):  # all of them are gone already
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _short() -> str | None:
    """A folder for temporary files whose name leaves room for a socket's; None: the usual one."""
    return "/tmp" if len(os.fsencode(tempfile.gettempdir())) > SOCKET_PATH - len("/alerting-1234567-12345678") else None


def sweep() -> None:
    """Remove the folders of runs that were killed."""
    for folder in Path(_short() or tempfile.gettempdir()).glob("alerting-[0-9]*-*"):
        try:
            os.kill(int(folder.name.split("-")[1]), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (PermissionError, ValueError):
            continue  # somebody else's


def _private(cache: Path, fallback: Path) -> dict[str, str]:
    """Folders for what libraries want to keep: under data/, or in the run's own folder if that cannot be written."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError:
        cache = fallback
    if not os.access(cache, os.W_OK):
        cache = fallback
    return {name: str(cache / folder) for name, folder in PRIVATE.items()}
