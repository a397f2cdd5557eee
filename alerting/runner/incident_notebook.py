"""After a run: notebook 2.2 is executed in the background for each incident that opened, became worse or ended in it."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path

from alerting.model.errors import StoreError
from alerting.model.verdict import EventKind
from alerting.settings import ROOT, Settings
from alerting.store.state import ReadOnlyState

LAB = Path(f"{sys.prefix}-lab") / "bin" / "python"  # the environment of `make notebooks`, beside that of a run
TURNS = (EventKind.OPENED, EventKind.WORSENED, EventKind.RESOLVED)
MAX_INCIDENTS = 5  # of one run


def start_notebooks(settings: Settings, started: datetime, lab: Path = LAB) -> subprocess.Popen[bytes] | None:
    """Start the notebooks of the incidents that the run has told of, in a process of its own; None where there is nothing to do.

    It has the time limit of a run, a low priority, and a log in reports/incidents. Nothing of it can fail the run.
    """
    if settings.incident_notebook == "off" or not lab.exists():
        return None
    try:
        with closing(ReadOnlyState(settings.state_file)) as state:
            ids = state.incidents_of_messages(TURNS, started)[:MAX_INCIDENTS]
        if not ids:
            return None
        folder = settings.reports / "incidents"
        folder.mkdir(parents=True, exist_ok=True)
        command = [str(lab), "-m", "alerting", "incident", "--seconds", f"{settings.run_timeout:g}", *ids]
        with (folder / "notebooks.log").open("wb") as log:
            return subprocess.Popen(
                ["nice", *command], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
    except (OSError, StoreError):
        return None
