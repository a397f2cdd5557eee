"""The line for the crontab."""

from __future__ import annotations

import math
import os
import shlex
from contextlib import suppress

from alerting.settings import ROOT, Settings


def crontab_line(settings: Settings) -> str:
    """Runs the check every 15 minutes, as soon as a closed bucket had its delay to fill.

    In a crontab a % ends the command unless it is escaped.
    """
    minute = math.ceil(settings.delay) % 15
    every = f"{minute}-59/15" if minute else "*/15"
    python = os.environ.get("PYTHON", "")
    chosen = f" {shlex.quote(f'PYTHON={python}')}" if python not in ("", "python3") else ""
    with suppress(OSError):  # the shell opens the log before make is there to create the folder
        settings.reports.mkdir(parents=True, exist_ok=True)
    log = shlex.quote(str(settings.reports / "cron.log"))
    command = f"make -s -C {shlex.quote(str(ROOT))} run-alerts{chosen} >> {log} 2>&1"
    return f"{every} * * * * {command}".replace("%", r"\%")
