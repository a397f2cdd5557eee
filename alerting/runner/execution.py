"""Kernel, papermill and watch put together: a notebook goes in, what became of it comes out."""

from __future__ import annotations

import gc
import json
import sys
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from alerting.model.run import PROGRESS
from alerting.redaction import redact
from alerting.runner import reports
from alerting.runner.failure import EMPTY, Failure, Notebook
from alerting.runner.kernel import Kernel
from alerting.runner.launch import without
from alerting.runner.record import Record
from alerting.runner.watch import Watch, stoppable
from alerting.settings import Settings

if TYPE_CHECKING:
    from alerting.runner.engine import Attempt

ANEW = "If not: rm -r .venv, then make env, sets the environment up anew."


def execute(settings: Settings, record: Record, source: Path, given: dict[str, Any]) -> tuple[Notebook, Failure | None]:
    """The notebook as far as it came, and why it did not come to its end, if it did not."""
    try:
        with stoppable(), Kernel(settings, {"ALERTING_RUN": record.link}) as kernel:
            return _Execution(settings, record, source, given).run(kernel)
    except OSError as error:
        failure = Failure(f"the kernel could not be started: {error}", f"Is there room in the folder for temporary files? {ANEW}")
    except KeyboardInterrupt as error:
        failure = _stopped(error)
    return _unexecuted(source), failure


class _Execution:
    """One attempt. The kernel boots while papermill is imported: nothing slow may come before that."""

    def __init__(self, settings: Settings, record: Record, source: Path, given: dict[str, Any]) -> None:
        self.settings, self.record, self.source, self.given = settings, record, source, given
        self.attempt: Attempt | None = None
        self.progress = ""

    @property
    def notebook(self) -> Notebook:
        return self.attempt.notebook if self.attempt else _unexecuted(self.source)

    def run(self, kernel: Kernel) -> tuple[Notebook, Failure | None]:
        try:
            failure = self._watched(kernel)
        except KeyboardInterrupt as error:
            failure = _stopped(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the record is kept and the run is red
            what = f"the notebook could not be executed: {type(error).__name__}: {error}"
            failure = Failure(what, f"make check tells whether the notebook is whole. {ANEW}", detail=kernel.complaint)
        return self.notebook, failure

    def _watched(self, kernel: Kernel) -> Failure | None:
        limit = self.settings.run_timeout
        with Watch(kernel, limit, self._keep) as watch:
            failure = self._papermill(kernel)
        if failure and watch.expired:
            advice = "make doctor tells whether the source is slow; ALERTING_RUN_TIMEOUT is the limit."
            return Failure(f"the run took longer than {limit:g} s", advice, failure.where)
        return failure

    def _papermill(self, kernel: Kernel) -> Failure | None:
        gc.disable()  # imports make much and leave nothing to collect
        try:
            with without("pyarrow"):  # papermill would load it, for a file system that is not used here
                from alerting.runner import engine
        finally:
            gc.enable()

        self.attempt = engine.Attempt(engine.read(self.source), self.settings.cell_timeout, parameters=self.given)
        self._keep()
        Thread(target=reports.ahead, daemon=True).start()  # while the kernel loads what it needs
        return engine.execute(self.attempt, kernel)

    def _keep(self) -> None:
        self.record.keep(self.notebook)
        with suppress(OSError, RuntimeError):  # nobody listens any more; or the notebook changed under our hands
            self._say_how_far()

    def _say_how_far(self) -> None:
        line = _progress(self.notebook)
        if line != self.progress:
            self.progress = line
            sys.stdout.write(redact(f"{line}\n", self.settings)[0])
            sys.stdout.flush()


def _progress(notebook: Notebook) -> str:
    """Return the newest line that says how far a long read is, or nothing."""
    outputs = [output for cell in list(notebook["cells"]) for output in list(cell.get("outputs", ()))]
    lines = [output["data"].get("text/plain", "") for output in outputs if PROGRESS in output.get("data", ())]
    return "".join(lines[-1:])


def _stopped(error: KeyboardInterrupt) -> Failure:
    by = str(error) or "SIGINT"
    advice = "Nothing was wrong with the run itself. The next one judges what this one left out."
    return Failure(f"stopped by {by}", advice, told=by != "SIGINT", stopped=by == "SIGINT")


def _unexecuted(source: Path) -> Notebook:
    """The notebook as it lies in the repo, or an empty one, to carry the bad news."""
    try:
        notebook = json.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return EMPTY
    return notebook if isinstance(notebook, dict) and isinstance(notebook.get("cells"), list) else EMPTY
