"""Execute the notebook of a run with papermill, within time limits, and save it while it runs.

The kernel is started before papermill and jupyter_client are imported, so that these slow steps run at the same time.
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
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

from alerting.model.run import PROGRESS
from alerting.redaction import redact
from alerting.reporting.failure import EMPTY, Failure, Notebook, cell_name, unfinished, without_banner
from alerting.reporting.record import Record
from alerting.runner.kernel_main import SETTINGS_ERROR, without
from alerting.settings import ROOT, Settings

KERNEL_MAIN = Path(__file__).with_name("kernel_main.py")
KERNEL_CHANNELS = ("shell", "iopub", "stdin", "control", "hb")
KERNEL_START_TIMEOUT = 60.0  # seconds
OUTPUT_TIMEOUT = (
    30.0  # seconds to wait for outputs after a cell has ended; papermill's default of 4 is too short on a busy machine
)
SAVE_INTERVAL = 5.0  # seconds between two saves of the notebook; a run without alerts ends before the first save
MAX_SOCKET_FOLDER = 90  # bytes of the folder's path; the system allows 104 to 108 with the socket's name
STDERR_TAIL = 2000  # last characters of the kernel's stderr, shown in a failure
LIBRARY_FOLDERS = {  # variable -> folder for files of a library; a cron user may have no home folder
    "IPYTHONDIR": "ipython",
    "JUPYTER_CONFIG_DIR": "jupyter/config",
    "JUPYTER_DATA_DIR": "jupyter/data",
    "JUPYTER_RUNTIME_DIR": "jupyter/runtime",
    "MPLCONFIGDIR": "matplotlib",  # kept between runs: building its list of fonts takes seconds
}
CORRECT_IT = "Correct it: the next run judges what this one left out. `python -m alerting settings` lists the settings."
SET_UP_ANEW = "rm -r .venv, then make env, sets the environment up anew."


def execute(settings: Settings, record: Record, source: Path, parameters: dict[str, Any]) -> tuple[Notebook, Failure | None]:
    """Execute the notebook `source`. Return it, as far as it was executed, and the failure; None if all cells completed.

    `parameters`: name -> value, written into the notebook's cell "parameters".
    """
    execution = _Execution(settings, record, source)
    try:
        with _sigterm_as_interrupt(), Kernel(settings, {"ALERTING_RUN": record.link}) as kernel:
            failure = execution.run(kernel, parameters)
    except OSError as error:
        advice = f"Is there room in the folder for temporary files? If not: {SET_UP_ANEW}"
        failure = Failure(f"the kernel could not be started: {error}", advice)
    except KeyboardInterrupt as error:
        name = str(error) or "SIGINT"
        advice = "Nothing was wrong with the run itself. The next one judges what this one left out."
        failure = Failure(f"stopped by {name}", advice, told=name != "SIGINT", stopped=name == "SIGINT")
    return execution.notebook, failure


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGTERM, as Python does on SIGINT: asyncio would not pass on any other exception."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    if threading.current_thread() is not threading.main_thread():  # only the main thread may set a signal handler
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _unexecuted(source: Path) -> Notebook:
    """Return the notebook before its execution; an empty one if it cannot be read, because a record needs a notebook."""
    with suppress(OSError, ValueError):
        notebook = json.loads(source.read_text(encoding="utf-8"))
        if isinstance(notebook, dict) and isinstance(notebook.get("cells"), list):
            return notebook
    return EMPTY


class ExitCalledError(Exception):
    """A cell called exit()."""


class _Execution:
    """One execution of a notebook, with the cells and outputs so far. nbclient calls the methods `on_*`."""

    def __init__(self, settings: Settings, record: Record, source: Path) -> None:
        self.settings, self.record, self.source = settings, record, source
        self.notebook = _unexecuted(source)
        self.index: int | None = None  # index of the cell that started last
        self.replied: set[str] = set()  # ids of the cells that ended
        self.expired = False  # whether the run's time limit was reached
        self.progress = ""  # the last line printed about a long read

    def run(self, kernel: Kernel, parameters: dict[str, Any]) -> Failure | None:
        """Execute all cells. Return the failure; None if all cells completed."""
        try:
            with self._watchdog(kernel):
                self._run_papermill(kernel, parameters)
            failure = unfinished(self.notebook)
        except Exception as error:  # noqa: BLE001 - after any error the record is kept and the run is marked failed
            failure = self._failure_of(error, kernel)
        if failure and kernel.settings_error:
            return Failure(kernel.settings_error, CORRECT_IT, settings=True)
        if failure and self.expired:
            advice = "make doctor tells whether the source is slow; ALERTING_RUN_TIMEOUT is the limit."
            return Failure(f"the run took longer than {self.settings.run_timeout:g} s", advice, failure.where)
        return failure

    @contextmanager
    def _watchdog(self, kernel: Kernel) -> Iterator[None]:
        """Save the notebook regularly inside the block. Kill the kernel at the time limit; nbclient notices within a second."""
        deadline, done = time.monotonic() + self.settings.run_timeout, threading.Event()

        def watch() -> None:
            while not done.wait(max(0.0, min(SAVE_INTERVAL, deadline - time.monotonic()))):
                if time.monotonic() >= deadline:
                    self.expired = True
                    kernel.kill()
                    return
                self._save()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def _save(self) -> None:
        """Save the notebook, and print the progress of a long read."""
        self.record.keep(self.notebook)
        with suppress(OSError, RuntimeError):  # stdout is closed, or papermill is changing the notebook
            outputs = [output for cell in list(self.notebook["cells"]) for output in list(cell.get("outputs", ()))]
            lines = [output["data"].get("text/plain", "") for output in outputs if PROGRESS in output.get("data", ())]
            if lines and lines[-1] != self.progress:
                self.progress = lines[-1]
                sys.stdout.write(redact(f"{self.progress}\n", self.settings)[0])
                sys.stdout.flush()

    def _run_papermill(self, kernel: Kernel, parameters: dict[str, Any]) -> None:
        """Execute the notebook. Raises the errors that `_failure_of` names, and any other error of the libraries."""
        with without("pyarrow"):  # papermill would load it for a file system that is not used here
            import nbformat
            import papermill.execute

            from alerting.runner.client import RunningKernel
        logging.getLogger("papermill").setLevel(logging.CRITICAL)  # the record and the runner's log describe errors better
        notebook = nbformat.reads(self.source.read_text(encoding="utf-8"), as_version=4)
        self.notebook = nbformat.v4.upgrade(notebook) or notebook
        self._save()
        # While the kernel imports modules for the cells, import here the modules for the end of the run.
        threading.Thread(target=import_module, args=("alerting.reporting.publish",), daemon=True).start()

        manager = RunningKernel(kernel, KERNEL_START_TIMEOUT)
        try:
            papermill.execute.execute_notebook(
                self.notebook,
                None,  # no output file: the runner publishes the record, and a full disk must not stop the run
                parameters=parameters,
                kernel_name="python3",
                language="python",
                progress_bar=False,
                km=manager,
                start_timeout=KERNEL_START_TIMEOUT,
                execution_timeout=self.settings.cell_timeout,
                iopub_timeout=min(OUTPUT_TIMEOUT, self.settings.cell_timeout),
                on_notebook_start=self.on_notebook_start,
                on_cell_start=self.on_cell_start,
                on_cell_executed=self.on_cell_executed,
            )
        finally:
            manager.close()
            self._correct_statuses()

    def on_notebook_start(self, notebook: Notebook) -> None:
        """Keep papermill's copy of the notebook: papermill writes the outputs into this copy."""
        notebook["metadata"]["papermill"].pop("input_path", None)  # papermill was given no path, so it has the whole text here
        self.notebook = notebook

    def on_cell_start(self, cell: Mapping[str, Any], cell_index: int) -> None:
        self.index = cell_index

    def on_cell_executed(self, cell: Mapping[str, Any], cell_index: int, execute_reply: Mapping[str, Any]) -> None:
        """Store that the cell ended. Raises ExitCalledError after exit(), which papermill would treat as success."""
        if any(payload.get("source") == "ask_exit" for payload in execute_reply["content"].get("payload", ())):
            raise ExitCalledError
        self.replied.add(cell["id"])

    def _failure_of(self, error: Exception, kernel: Kernel) -> Failure:
        """Return the failure that an error means. Errors are compared by name, because their libraries may not be importable."""
        cell = cell_name(self.notebook, self.index)
        match type(error).__name__:
            case "PapermillExecutionError":
                return self._cell_failure(error)
            case "CellTimeoutError":
                advice = "make doctor tells whether the source is slow; ALERTING_CELL_TIMEOUT is the limit."
                return Failure(f"the cell took longer than {self.settings.cell_timeout:g} s", advice, cell)
            case "ExitCalledError":
                return Failure("the cell called exit()", "Take it out of the cell: a run ends at its last cell.", cell)
            case "DeadKernelError":
                advice = "SIGKILL mostly means that memory ran out. make rehearse AT=... repeats the run and sends nothing."
                return Failure(f"the kernel died: {kernel.exit_reason}", advice, cell, kernel.stderr)
            case "KernelStartError":
                return Failure(str(error), SET_UP_ANEW, detail=kernel.stderr)
        what = f"the notebook could not be executed: {type(error).__name__}: {error}"
        advice = f"make check tells whether the notebook is whole. If not: {SET_UP_ANEW}"
        return Failure(what, advice, detail=kernel.stderr)

    def _cell_failure(self, error: Any) -> Failure:
        """Return the failure of a cell that raised. `error`: papermill's error, with ename, evalue and cell_index."""
        if error.ename in ("RunFailed", "NotDelivered"):  # `pipeline.finish` ended the run and wrote the text
            advice = "The text says what could not be read or sent. make doctor checks the connections."
            return Failure(error.evalue, advice, told=error.ename == "RunFailed")  # no notice if messages only wait
        if error.ename == "SettingsError":
            return Failure(error.evalue, CORRECT_IT, settings=True)
        what = f"{error.ename}: {error.evalue}".removesuffix(": ")
        advice = "The traceback stands below the cell. make rehearse AT=... repeats the run and sends nothing."
        return Failure(what, advice, cell_name(without_banner(self.notebook), error.cell_index))

    def _correct_statuses(self) -> None:
        """Replace papermill's "completed" for cells that did not start, or did not end (time limit, dead kernel)."""
        for cell in self.notebook["cells"]:
            facts = cell["metadata"].get("papermill")
            if facts and not facts["start_time"]:
                facts["status"] = "pending"
            elif facts and cell["cell_type"] == "code" and cell["source"].strip() and cell["id"] not in self.replied:
                facts["status"] = "failed"


class Kernel(AbstractContextManager["Kernel"]):
    """A kernel process of this Python. Installed kernelspecs are not used. Leaving the `with` block kills the process.

    A private folder has the kernel's key, sockets (it opens no ports), stderr and temporary files. It is deleted at the end.
    jupyter_client's KernelManager does the same, but to import it first makes a run without alerts 10 % slower.
    """

    def __init__(self, settings: Settings, environ: Mapping[str, str]) -> None:
        """Start the process with `environ` added to its environment variables. Raises OSError if it cannot be started."""
        self.folder = Path(tempfile.mkdtemp(prefix=f"alerting-{os.getpid()}-", dir=_temporary_folder()))
        self.file = self.folder / "connection.json"
        ports = {f"{name}_port": number for number, name in enumerate(KERNEL_CHANNELS, 1)}
        self.sockets = [self.folder / f"s-{number}" for number in ports.values()]
        connection = {
            "transport": "ipc",
            "ip": str(self.folder / "s"),
            "kernel_name": "python3",
            **ports,
            "key": uuid.uuid4().hex,
            "signature_scheme": "hmac-sha256",
        }
        self.file.write_text(json.dumps(connection), encoding="utf-8")

        cache = settings.data / ".cache"
        with suppress(OSError):
            cache.mkdir(parents=True, exist_ok=True)
        libraries = cache if os.access(cache, os.W_OK) else self.folder
        env = {**os.environ, **{name: str(libraries / path) for name, path in LIBRARY_FOLDERS.items()}, **environ}
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
    def alive(self) -> bool:
        return self.process.poll() is None

    @property
    def exit_reason(self) -> str:
        """A text that says how the process ended: its exit code, or the signal that killed it."""
        code = self.process.poll()
        if code is None:
            return "still running"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    @property
    def settings_error(self) -> str:
        """The error in settings, catalogue or calendar because of which the process ended itself; "" if there is none."""
        try:
            return (self.folder / SETTINGS_ERROR).read_text(encoding="utf-8")
        except OSError:
            return ""

    @property
    def stderr(self) -> str:
        """The last STDERR_TAIL characters of the process's stderr; "" if it cannot be read."""
        try:
            return (self.folder / "stderr").read_text(encoding="utf-8", errors="replace")[-STDERR_TAIL:].strip()
        except OSError:
            return ""

    def kill(self) -> None:
        """Kill the kernel and the processes that it started. Any thread may call it.

        The state database stays intact, because every change is a transaction.
        """
        with suppress(ProcessLookupError):  # the processes have ended already
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __exit__(self, *_: object) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _temporary_folder() -> str | None:
    """Return a folder whose path is short enough for sockets; None if the system's default folder is."""
    longest = MAX_SOCKET_FOLDER - len("/alerting-1234567-12345678")
    return "/tmp" if len(os.fsencode(tempfile.gettempdir())) > longest else None


def remove_stale_folders() -> None:
    """Delete the kernel folders of runs that were killed."""
    for folder in Path(_temporary_folder() or tempfile.gettempdir()).glob("alerting-[0-9]*-*"):
        try:
            os.kill(int(folder.name.split("-")[1]), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (PermissionError, ValueError, OverflowError):
            continue  # the folder belongs to another user or another program
