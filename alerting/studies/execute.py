"""`make notebooks`: execute the studies into reports/studies, as notebooks and as pages. It needs the lab environment."""

import os
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from alerting.model.errors import SettingsError
from alerting.model.incident import incident_notebook
from alerting.redaction import redact
from alerting.settings import ROOT, Settings

NO_WARNINGS = ["--IPKernelApp.log_level=CRITICAL"]  # ipykernel warns that other users could listen on the loopback interface
WIDGET = "application/vnd.jupyter.widget-view+json"
FORMER_NAMES = {"1.1-detectors": "1.1-methods"}


def execute(settings: Settings, names: list[str], folder: Path = ROOT / "notebooks") -> int:
    """Execute the study notebooks `names` (empty: all in `folder`). Return 1 if one of them fails, else 0.

    Each is written as NAME.ipynb and NAME.html into reports/studies. Raises SettingsError for a name that does not exist.
    """
    notebooks = {path.stem: path for path in sorted(folder.glob("[0-9]*.ipynb"))}
    chosen = [FORMER_NAMES.get(name, name) for name in names] or list(notebooks)
    if absent := [name for name in chosen if name not in notebooks]:
        raise SettingsError(f"no notebook {', '.join(absent)}: there are {', '.join(notebooks)}")
    out = settings.reports / "studies"
    out.mkdir(parents=True, exist_ok=True)
    code = 0
    for number, name in enumerate(chosen, 1):
        target, began = out / f"{name}.ipynb", time.monotonic()
        sys.stderr.write(f"{name}: {number} of {len(chosen)}\n")
        bar = {"desc": name, "leave": False, "disable": None}  # None: in a terminal only
        code |= _execute(notebooks[name], target, progress_bar=bar)
        page = write_page(target)
        sys.stdout.write(f"{page} ({time.monotonic() - began:.0f} s)\n")
    return code


def execute_incidents(settings: Settings, ids: Iterable[str], seconds: float, folder: Path = ROOT / "notebooks") -> int:
    """Execute notebook 2.2 for each incident, into reports/incidents, within `seconds`. Return 1 if one of them fails, else 0."""

    def give_up() -> None:
        sys.stderr.write(f"not done within {seconds:g} s, which --seconds sets\n")
        sys.stderr.flush()
        os._exit(1)  # the kernel ends with this process

    limit = threading.Timer(seconds, give_up)
    limit.daemon = True
    limit.start()
    code = 0
    for id in ids:
        target = settings.reports / incident_notebook(id)
        target.parent.mkdir(parents=True, exist_ok=True)
        code |= _execute(folder / "2.2-incident.ipynb", target, parameters={"incident": id}, progress_bar=False)
        target.write_text(redact(target.read_text(encoding="utf-8"), settings)[0], encoding="utf-8")
        sys.stdout.write(f"{write_page(target)}\n")
    return code


def _execute(source: Path, target: Path, **options: Any) -> int:
    """Execute `source` and write the result to `target`. Return 0, or 1 after a failed cell, whose error it prints to stderr."""
    import papermill
    from papermill.exceptions import PapermillExecutionError

    try:
        papermill.execute_notebook(source, target, cwd=str(ROOT), kernel_name="python3", extra_arguments=NO_WARNINGS, **options)
    except PapermillExecutionError as error:
        sys.stderr.write(f"{target}: {error.ename}: {error.evalue}\n")
        return 1
    return 0


def write_page(notebook: Path) -> Path:
    """Write an executed notebook as an HTML page with the same name. Return the path of the page."""
    import nbformat
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(mathjax_url="", require_js_url="", jquery_url="")
    made = nbformat.read(notebook, as_version=4)
    made.metadata.pop("widgets", None)  # a page with the state of progress bars and sliders loads scripts from the web
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if WIDGET not in output.get("data", {})]
    text, _ = exporter.from_notebook_node(made, {"metadata": {"name": notebook.stem}})
    page = notebook.with_suffix(".html")
    page.write_text(text, encoding="utf-8")
    return page
