"""papermill, told to use our kernel and to be honest about cells that did not end. Imported late: it costs 0.4 s."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any

import nbformat
from jupyter_client.asynchronous.client import AsyncKernelClient
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, NotebookExecutionManager, papermill_engines
from papermill.exceptions import PapermillExecutionError
from papermill.execute import execute_notebook

from alerting.runner.failure import Failure, bare, place, unfinished
from alerting.runner.kernel import Kernel

BOOT = 60.0  # seconds a kernel may take to answer
DRAIN = 30.0  # seconds outputs may take to arrive after their cell is done; papermill's 4 are too few on a loaded machine


class NoKernelError(Exception):
    """The kernel never answered."""


class LeftEarlyError(Exception):
    """A cell called exit()."""


@dataclass
class Attempt:
    """One execution as far as it came: the notebook, and the cell that was begun last."""

    notebook: NotebookNode
    timeout: float
    index: int | None = None
    parameters: dict[str, Any] = field(default_factory=dict)


def read(path: Path) -> NotebookNode:
    """A notebook as it lies in the file. Raises OSError or ValueError."""
    notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
    return nbformat.v4.upgrade(notebook) or notebook


def execute(attempt: Attempt, kernel: Kernel) -> Failure | None:
    """Execute the attempt's notebook in place; why it did not come to its end, if it did not."""
    logging.getLogger("papermill").setLevel(logging.CRITICAL)  # the record and the status line say it better
    papermill_engines.register("alerting", _Engine)
    try:
        _papermill(attempt, kernel)
    except PapermillExecutionError as error:
        return _raised(error, place(bare(attempt.notebook), error.cell_index))
    except (CellTimeoutError, DeadKernelError, NoKernelError, LeftEarlyError) as error:
        return _ended(error, attempt, kernel)
    return unfinished(attempt.notebook)


def _papermill(attempt: Attempt, kernel: Kernel) -> None:
    execute_notebook(
        attempt.notebook,
        None,  # the record is published by the runner: a full disk must not stop the run
        parameters=attempt.parameters,
        engine_name="alerting",
        kernel_name="python3",
        language="python",
        progress_bar=False,
        attempt=attempt,
        kernel=kernel,
    )


def _raised(error: PapermillExecutionError, where: str) -> Failure:
    if error.ename in ("RunFailed", "NotDelivered"):
        advice = "The run itself says what it could not see or tell. make doctor checks the connections."
        return Failure(error.evalue, advice, told=error.ename == "RunFailed")  # what waits to be told tells itself
    what = f"{error.ename}: {error.evalue}".removesuffix(": ")
    advice = "The traceback stands below the cell. make rehearse AT=... repeats the run without telling anyone."
    return Failure(what, advice, where)


def _ended(error: Exception, attempt: Attempt, kernel: Kernel) -> Failure:
    where = place(attempt.notebook, attempt.index)
    if isinstance(error, CellTimeoutError):
        advice = "make doctor tells whether the source is slow; ALERTING_CELL_TIMEOUT is the limit."
        return Failure(f"the cell took longer than {attempt.timeout:g} s", advice, where)
    if isinstance(error, LeftEarlyError):
        return Failure("the cell called exit()", "Take it out of the cell: a run ends at its last cell.", where)
    if isinstance(error, NoKernelError):
        what = f"the kernel did not answer within {BOOT:g} s" if kernel.alive else f"the kernel did not start: {kernel.death}"
        return Failure(what, "rm -r .venv, then make env, sets the environment up anew.", detail=kernel.complaint)
    advice = "SIGKILL mostly means that memory ran out. make rehearse AT=... repeats the run without telling anyone."
    return Failure(f"the kernel died: {kernel.death}", advice, where, kernel.complaint)


class _Engine(Engine):
    @classmethod
    def execute_notebook(cls, nb: NotebookNode, kernel_name: str, attempt: Attempt, kernel: Kernel, **_: Any) -> NotebookNode:
        nb.metadata.papermill.pop("input_path", None)  # papermill puts the whole notebook there when it is handed one
        attempt.notebook = nb
        book = _Book(nb, attempt)
        book.notebook_start()
        try:
            client = PapermillNotebookClient(
                book,
                km=_Manager(kernel),
                timeout=attempt.timeout,
                startup_timeout=BOOT,
                iopub_timeout=min(DRAIN, attempt.timeout),
                kernel_name=kernel_name,
                on_cell_executed=book.executed,
                log=logging.getLogger("papermill"),
            )
            client.execute()
        finally:
            book.notebook_complete()
            if client.kc:
                client.kc.stop_channels()
        return nb


class _Book(NotebookExecutionManager):
    """papermill's bookkeeping without its saving, and without calling "completed" what never ran."""

    def __init__(self, nb: NotebookNode, attempt: Attempt) -> None:
        super().__init__(nb, progress_bar=False, autosave_cell_every=0)
        self.attempt = attempt

    def save(self, **_: Any) -> None:
        pass

    def cell_start(self, cell: NotebookNode, cell_index: int, **_: Any) -> None:
        self.attempt.index = cell_index
        super().cell_start(cell, cell_index)

    def cell_complete(self, cell: NotebookNode, cell_index: int, **_: Any) -> None:
        super().cell_complete(cell, cell_index)
        if cell.cell_type == "code" and cell.source.strip() and not cell.metadata.papermill.get("replied"):
            cell.metadata.papermill["status"] = self.FAILED  # papermill comes here also from a timeout or a dead kernel
        cell.metadata.papermill.pop("replied", None)

    def executed(self, cell: NotebookNode, cell_index: int, execute_reply: dict[str, Any]) -> None:
        if any(said.get("source") == "ask_exit" for said in execute_reply["content"].get("payload", ())):
            raise LeftEarlyError
        cell.metadata.papermill["replied"] = True

    def notebook_complete(self, **_: Any) -> None:
        self.end_time = self.now()
        self.nb.metadata.papermill["end_time"] = self.end_time.isoformat()
        self.nb.metadata.papermill["duration"] = (self.end_time - self.start_time).total_seconds()


class _Manager:
    """As much of a kernel manager as nbclient asks for when the kernel is not its own."""

    has_kernel = True
    kernel_id = None
    is_alive = cleanup_resources = staticmethod(lambda: False)  # asked when it did not start: ending it is not nbclient's task

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel

    def client(self) -> _Client:
        client = _Client(connection_file=str(self.kernel.file))
        client.load_connection_file()
        client.kernel = self.kernel
        return client


class _Client(AsyncKernelClient):
    """Asks the process whether it lives, instead of a heartbeat; and wastes no time on becoming ready."""

    kernel: Kernel

    def start_channels(self, *_: bool, **__: bool) -> None:
        super().start_channels(stdin=False, hb=False, control=False)

    async def is_alive(self) -> bool:
        return self.kernel.alive

    async def wait_for_ready(self, timeout: float | None = None) -> None:
        deadline = time.monotonic() + (timeout or BOOT)
        while not (self.kernel.listening and await self._answered()):
            if not self.kernel.alive or time.monotonic() > deadline:
                raise NoKernelError
            await asyncio.sleep(0.002)

    async def _answered(self) -> bool:
        """A reply came, and what the kernel publishes reaches us: outputs would be lost otherwise."""
        self.kernel_info()
        try:
            await self.shell_channel.get_msg(timeout=1)
            await self.iopub_channel.get_msg(timeout=0.2)
        except Empty:
            return False
        return True
