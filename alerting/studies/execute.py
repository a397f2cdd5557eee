"""`make notebooks`: execute the studies top to bottom into reports/studies. It needs the lab environment."""

from __future__ import annotations

import sys
from pathlib import Path

from alerting.model.errors import SettingsError
from alerting.settings import ROOT, Settings


def execute(settings: Settings, names: list[str], folder: Path = ROOT / "notebooks") -> int:
    """Execute the notebooks named (default: all studies in `folder`); returns 1 when one of them fails, else 0.

    Raises SettingsError for a name that does not exist.
    """
    import papermill
    from papermill.exceptions import PapermillExecutionError

    notebooks = {path.stem: path for path in sorted(folder.glob("[0-9]*.ipynb"))}
    absent = [name for name in names if name not in notebooks]
    if absent:
        raise SettingsError(f"no notebook {', '.join(absent)}: there are {', '.join(notebooks)}")
    out = settings.reports / "studies"
    out.mkdir(parents=True, exist_ok=True)
    code = 0
    for name in names or notebooks:
        target = out / f"{name}.ipynb"
        bar = {"desc": name, "leave": False, "disable": None}  # None: in a terminal only
        try:
            papermill.execute_notebook(str(notebooks[name]), str(target), progress_bar=bar, cwd=str(ROOT), kernel_name="python3")
            sys.stdout.write(f"{target}\n")
        except PapermillExecutionError as error:
            sys.stderr.write(f"{target}: {error.ename}: {error.evalue}\n")
            code = 1
    return code
