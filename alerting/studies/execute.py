"""`make notebooks`: the studies executed top to bottom into reports/studies; that needs the lab's packages."""

from __future__ import annotations

import sys
from pathlib import Path

from alerting.model.errors import SettingsError
from alerting.settings import ROOT, Settings

NOTEBOOKS = ROOT / "notebooks"


def execute(settings: Settings, names: list[str]) -> int:
    """Execute the notebooks named (all studies by default); exit code 1 when one of them does not come to its end.

    Raises SettingsError for a name that is not there.
    """
    known = {path.stem: path for path in sorted(NOTEBOOKS.glob("[0-9]*.ipynb"))}
    absent = [name for name in names if name not in known]
    if absent:
        raise SettingsError(f"no notebook {', '.join(absent)}: there are {', '.join(known)}")
    out = settings.reports / "studies"
    out.mkdir(parents=True, exist_ok=True)
    return max([_execute(known[name], out) for name in names or known], default=0)


def _execute(path: Path, out: Path) -> int:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    target, bar = out / path.name, {"desc": path.stem, "leave": False, "disable": None}  # for a terminal only
    try:
        papermill.execute_notebook(str(path), str(target), progress_bar=bar, cwd=str(ROOT), kernel_name="python3")
    except PapermillExecutionError as error:
        sys.stderr.write(f"{target}: {error.ename}: {error.evalue}\n")
        return 1
    sys.stdout.write(f"{target}\n")
    return 0
