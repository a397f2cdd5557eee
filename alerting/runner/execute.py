"""Execute the notebook of a run with papermill, within its limits of time and with its evidence on disk.

The kernel is started before papermill and jupyter_client are imported, because all of them take long to load.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

from alerting.model.run import PROGRESS
from alerting.redaction import redact
from alerting.reporting.failure import EMPTY, Failure, Notebook, cell_name, unfinished, without_banner
from alerting.reporting.record import Record
from alerting.runner.kernel_main import without
from alerting.settings import ROOT, Settings

CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
KERNEL_MAIN = Path(__file__).with_name("kernel_main.py")
BOOT = 60.0  # seconds a kernel may take to answer
DRAIN = 30.0  # seconds outputs may take to arrive after their cell is done; papermill's 4 are too few on a loaded machine
PERIOD = 5.0  # seconds between two savings of the evidence: a quiet run is over before the first
SOCKET_PATH = 90  # bytes of a folder name that leave room for the socket's own: the system allows 104 to 108 in all
PRIVATE = {  # folders for a user without a home
    "IPYTHONDIR": "ipython",
    "JUPYTER_CONFIG_DIR": "jupyter/config",
    "JUPYTER_DATA_DIR": "jupyter/data",
    "JUPYTER_RUNTIME_DIR": "jupyter/runtime",
    "MPLCONFIGDIR": "matplotlib",  # worth keeping: its list of fonts takes seconds to make
}
ANEW = "If not: rm -r .venv, then make env, sets the environment up anew."


def execute(settings: Settings, record: Record, source: Path, given: dict[str, Any]) -> tuple[Notebook, Failure | None]:
    """Return the notebook as far as it was executed, and why it did not come to its end, if it did not."""
    try:
        with _stoppable(), Kernel(settings, {"ALERTING_RUN": record.link}) as kernel:
            execution = _Execution(settings, record, source)
            failure = execution.run(kernel, given)
            return execution.notebook, failure
    except OSError as error:
        failure = Failure(f"the kernel could not be started: {error}", f"Is there room in the folder for temporary files? {ANEW}")
    except KeyboardInterrupt as error:
        failure = _stopped(error)
    return _unexecuted(source), failure


class _Execution:
    """One execution: how far it came, and why it ended early. The methods `*_hook` are called by nbclient."""

    def __init__(self, settings: Settings, record: Record, source: Path) -> None:
        self.settings, self.record, self.source = settings, record, source
        self.notebook = _unexecuted(source)
        self.index: int | None = None  # of the cell that was begun last
        self.replied: set[str] = set()  # ids of the cells that ended
        self.expired = False
        self.progress = ""

    def run(self, kernel: Kernel, given: dict[str, Any]) -> Failure | None:
        try:
            with self._watched(kernel):
                failure = self._papermill(kernel, given)
        except KeyboardInterrupt as error:
            return _stopped(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the record is kept and the run is red
            what = f"the notebook could not be executed: {type(error).__name__}: {error}"
            return Failure(what, f"make check tells whether the notebook is whole. {ANEW}", detail=kernel.complaint)
        if failure and self.expired:
            advice = "make doctor tells whether the source is slow; ALERTING_RUN_TIMEOUT is the limit."
            return Failure(f"the run took longer than {self.settings.run_timeout:g} s", advice, failure.where)
        return failure

    @contextmanager
    def _watched(self, kernel: Kernel) -> Iterator[None]:
        """Save the evidence now and then, and kill the kernel when the run's time is up: nbclient notices within a second."""
        deadline, over = time.monotonic() + self.settings.run_timeout, threading.Event()

        def look() -> None:
            while not over.wait(max(0.0, min(PERIOD, deadline - time.monotonic()))):
                if time.monotonic() >= deadline:
                    self.expired = True
                    kernel.kill()
                    return
                self._keep()

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _papermill(self, kernel: Kernel, given: dict[str, Any]) -> Failure | None:
        client, nbclient, papermill, nbformat = _import_papermill()
        notebook = nbformat.reads(self.source.read_text(encoding="utf-8"), as_version=4)
        self.notebook = nbformat.v4.upgrade(notebook) or notebook
        self._keep()
        # Load what the end of the run needs while the kernel starts.
        threading.Thread(target=import_module, args=("alerting.reporting.publish",), daemon=True).start()
        limit, manager = self.settings.cell_timeout, client.Manager(kernel, BOOT)
        try:
            papermill.execute.execute_notebook(
                self.notebook,
                None,  # the record is published by the runner: a full disk must not stop the run
                parameters=given,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                km=manager,
                start_timeout=BOOT,
                execution_timeout=limit,
                iopub_timeout=min(DRAIN, limit),
                on_notebook_start=self.notebook_hook,
                on_cell_start=self.cell_hook,
                on_cell_executed=self.reply_hook,
            )
        except papermill.exceptions.PapermillExecutionError as error:
            return _raised(error, cell_name(without_banner(self.notebook), error.cell_index))
        except nbclient.exceptions.CellTimeoutError:
            advice = "make doctor tells whether the source is slow; ALERTING_CELL_TIMEOUT is the limit."
            return Failure(f"the cell took longer than {limit:g} s", advice, self.where)
        except _LeftEarlyError:
            return Failure("the cell called exit()", "Take it out of the cell: a run ends at its last cell.", self.where)
        except nbclient.exceptions.DeadKernelError:
            advice = "SIGKILL mostly means that memory ran out. make rehearse AT=... repeats the run without telling anyone."
            return Failure(f"the kernel died: {kernel.death}", advice, self.where, kernel.complaint)
        except client.NoAnswerError as error:
            advice = "rm -r .venv, then make env, sets the environment up anew."
            return Failure(str(error), advice, detail=kernel.complaint)
        finally:
            manager.close()
            self._correct_statuses()
        return unfinished(self.notebook)

    @property
    def where(self) -> str:
        return cell_name(self.notebook, self.index)

    def notebook_hook(self, notebook: Notebook) -> None:
        """Take papermill's own copy of the notebook, which it fills."""
        notebook["metadata"]["papermill"].pop("input_path", None)  # the whole text: papermill was not given a path
        self.notebook = notebook

    def cell_hook(self, cell: Mapping[str, Any], cell_index: int) -> None:
        self.index = cell_index

    def reply_hook(self, cell: Mapping[str, Any], cell_index: int, execute_reply: Mapping[str, Any]) -> None:
        if any(payload.get("source") == "ask_exit" for payload in execute_reply["content"].get("payload", ())):
            raise _LeftEarlyError
        self.replied.add(cell["id"])

    def _correct_statuses(self) -> None:
        """papermill calls cells completed that were begun and never ended (time-out, dead kernel), or never begun."""
        for cell in self.notebook["cells"]:
            facts = cell["metadata"].get("papermill")
            if facts and not facts["start_time"]:
                facts["status"] = "pending"
            elif facts and cell["cell_type"] == "code" and cell["source"].strip() and cell["id"] not in self.replied:
                facts["status"] = "failed"

    def _keep(self) -> None:
        """Save the evidence, and print how far a long read is."""
        self.record.keep(self.notebook)
        with suppress(OSError, RuntimeError):  # nobody listens any more; or the notebook changed under our hands
            line = _progress(self.notebook)
            if line != self.progress:
                self.progress = line
                sys.stdout.write(redact(f"{line}\n", self.settings)[0])
                sys.stdout.flush()


class _LeftEarlyError(Exception):
    """A cell called exit()."""


def _import_papermill() -> tuple[Any, Any, Any, Any]:
    """Import our client, nbclient, papermill and nbformat; late, because they cost 0.4 s."""
    with without("pyarrow"):  # papermill would load it, for a file system that is not used here
        import nbclient.exceptions
        import nbformat
        import papermill.execute

        from alerting.runner import client as runner_client
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # the record and the status line say it better
    return runner_client, nbclient, papermill, nbformat


def _raised(error: Any, where: str) -> Failure:
    if error.ename in ("RunFailed", "NotDelivered"):
        advice = "The run itself says what it could not see or tell. make doctor checks the connections."
        return Failure(error.evalue, advice, told=error.ename == "RunFailed")  # what waits to be told tells itself
    what = f"{error.ename}: {error.evalue}".removesuffix(": ")
    advice = "The traceback stands below the cell. make rehearse AT=... repeats the run without telling anyone."
    return Failure(what, advice, where)


def _stopped(error: KeyboardInterrupt) -> Failure:
    by = str(error) or "SIGINT"
    advice = "Nothing was wrong with the run itself. The next one judges what this one left out."
    return Failure(f"stopped by {by}", advice, told=by != "SIGINT", stopped=by == "SIGINT")


def _unexecuted(source: Path) -> Notebook:
    """Return the notebook as it lies in the repo, or an empty one, to carry the bad news."""
    try:
        notebook = json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return EMPTY
    return notebook if isinstance(notebook, dict) and isinstance(notebook.get("cells"), list) else EMPTY


def _progress(notebook: Notebook) -> str:
    """Return the newest line that says how far a long read is, or nothing."""
    outputs = [output for cell in list(notebook["cells"]) for output in list(cell.get("outputs", ()))]
    lines = [output["data"].get("text/plain", "") for output in outputs if PROGRESS in output.get("data", ())]
    return "".join(lines[-1:])


class Kernel:
    """A running kernel of this Python, whatever kernelspecs are installed; `with` ends it.

    It has a private folder: its key, its sockets (no ports), its stderr and its temporary files lie there and go with it.
    jupyter_client's KernelManager does the same, but importing it first made a quiet run a tenth slower.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        """Start the process. Raises OSError when it cannot even be started."""
        self.folder = Path(tempfile.mkdtemp(prefix=f"alerting-{os.getpid()}-", dir=_short()))
        self.file = self.folder / "connection.json"
        ports = {f"{name}_port": number for number, name in enumerate(CHANNELS, 1)}
        place = {"transport": "ipc", "ip": str(self.folder / "s"), "kernel_name": "python3"}
        key = {"key": uuid.uuid4().hex, "signature_scheme": "hmac-sha256"}
        self.file.write_text(json.dumps({**place, **ports, **key}), encoding="utf-8")
        env = {**os.environ, **_private(settings.data / ".cache", self.folder), **environ}
        env |= {"TMPDIR": str(self.folder), "JPY_PARENT_PID": str(os.getpid()), "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
        command = [sys.executable, "-P", str(KERNEL_MAIN), "-f", str(self.file), "--HistoryManager.enabled=False"]
        try:
            with (self.folder / "stderr").open("wb") as log:
                self.process = subprocess.Popen(
                    command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )
        except OSError:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise

    @property
    def listening(self) -> bool:
        """Its sockets are there: connecting earlier costs a tenth of a second in retries."""
        return all(Path(f"{self.folder}/s-{number}").exists() for number in range(1, len(CHANNELS) + 1))

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def death(self) -> str:
        """How it ended, as far as the system tells."""
        code = self.process.poll()
        if code is None:
            return "still running"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    @property
    def complaint(self) -> str:
        """The end of its stderr."""
        try:
            return (self.folder / "stderr").read_text(encoding="utf-8", errors="replace")[-2000:].strip()
        except OSError:
            return ""

    def kill(self) -> None:
        """End it and whatever it started, from any thread. The state is safe: it is written in transactions."""
        with suppress(ProcessLookupError):  # all of them are gone already
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> Kernel:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _short() -> str | None:
    """A folder for temporary files whose name leaves room for a socket's; None: the usual one."""
    return "/tmp" if len(os.fsencode(tempfile.gettempdir())) > SOCKET_PATH - len("/alerting-1234567-12345678") else None


def _private(cache: Path, fallback: Path) -> dict[str, str]:
    """Folders for what libraries want to keep: under data/, or in the run's own folder if that cannot be written."""
    with suppress(OSError):
        cache.mkdir(parents=True, exist_ok=True)
    folder = cache if os.access(cache, os.W_OK) else fallback
    return {name: str(folder / place) for name, place in PRIVATE.items()}


def sweep() -> None:
    """Remove the folders of runs that were killed."""
    for folder in Path(_short() or tempfile.gettempdir()).glob("alerting-[0-9]*-*"):
        try:
            os.kill(int(folder.name.split("-")[1]), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (PermissionError, ValueError):
            continue  # somebody else's


@contextmanager
def _stoppable() -> Iterator[None]:
    """While this holds, SIGTERM raises a KeyboardInterrupt, as SIGINT does: asyncio lets nothing else through."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
