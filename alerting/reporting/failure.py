"""Find the failure of a run in the JSON of its notebook (no Jupyter is needed), describe it, and show it on top of the record."""

import html
import uuid
from dataclasses import dataclass
from typing import Any

from alerting.model.run import Outcome

Notebook = dict[str, Any]
EMPTY: Notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
TAG = "run-failed"  # tag of the cells that `with_banner` inserts; also the id that the banner links to
PAPERMILL_TAG = "papermill-error-cell-tag"  # tag of the cells that papermill inserts to show an error
RED = "border-left: 6px solid #c62828; background: #fdecea; color: #222; padding: 0.6em 1em"
PRE = "background: none; white-space: pre-wrap; margin: 0 0 0.6em"
LITERAL = str.maketrans({c: f"&#{ord(c)};" for c in "$\\\n"})  # no mathematics, and no empty line, which would end the HTML
MAX_REASON, MAX_SUMMARY = 500, 200  # characters


@dataclass(frozen=True)
class Failure:
    """A failed run. `what`: the error. `advice`: what to do. `where`: the cell (see `cell_name`), or ""."""

    what: str
    advice: str
    where: str = ""
    detail: str = ""  # a long text that only the notebook shows
    told: bool = True  # False: send no message about it
    stopped: bool = False  # interrupted by a person at the keyboard
    settings: bool = False  # a setting, the catalogue or the calendar is wrong

    @property
    def reason(self) -> str:
        """The failure in one line, for the message, the log and the list of runs."""
        return one_line(f"{self.where}: {self.what}" if self.where else self.what, MAX_REASON)


def combine(first: Failure | None, second: Failure | None) -> Failure | None:
    """Return the two failures as one; None when there is none."""
    if first is None or second is None:
        return first or second
    return Failure(
        what=f"{first.what}; {second.reason}",
        advice=f"{first.advice} {second.advice}",
        where=first.where,
        detail=first.detail or second.detail,
        told=first.told or second.told,
        stopped=first.stopped and second.stopped,
        settings=first.settings or second.settings,
    )


def one_line(text: str, length: int) -> str:
    """Return the text in one line of at most `length` characters."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def unfinished(notebook: Notebook) -> Failure | None:
    """Return a failure that papermill does not report: an incomplete cell, or no last cell with the tag "finish"; else None."""
    codes = [(n, cell) for n, cell in enumerate(notebook["cells"]) if cell["cell_type"] == "code"]
    cells = [(n, cell) for n, cell in codes if "".join(cell["source"]).strip()]
    for index, cell in cells:
        errors = [output for output in cell["outputs"] if output["output_type"] == "error"]
        if errors:
            what = f"{errors[0]['ename']}: {errors[0]['evalue']}".rstrip(": ")
            return Failure(what, "Take it out of the cell: a run ends at its last cell.", cell_name(notebook, index))
        if cell["metadata"].get("papermill", {}).get("status") != "completed":
            return Failure("the cell was not executed", "Run it again: make rehearse AT=...", cell_name(notebook, index))
    if not cells or "finish" not in cells[-1][1]["metadata"].get("tags", []):
        return Failure("the notebook has no last cell tagged 'finish'", "Tag the cell that gives the last word on the run.")
    return None


def cell_name(notebook: Notebook, index: int | None) -> str:
    """Return the name of a cell, such as "cell 2 (Data)": its number among the code cells, and its heading; "" for None."""
    if index is None:
        return ""
    before = notebook["cells"][: index + 1]
    number = sum(cell["cell_type"] == "code" for cell in before)
    lines = [line for cell in before if cell["cell_type"] == "markdown" for line in "".join(cell["source"]).splitlines()]
    headings = [line.lstrip("# ").strip() for line in lines if line.startswith("#")]
    return f"cell {number}" + (f" ({headings[-1]})" if headings else "")


def outcome(notebook: Notebook) -> dict[str, Any]:
    """Return the outcome of a run (`said`, `sent`) from the output of its last cell; {} if there is none."""
    data = [output.get("data", {}) for output in _last_outputs(notebook)]
    return next((found[Outcome.MIME] for found in data if isinstance(found.get(Outcome.MIME), dict)), {})


def run_summary(notebook: Notebook) -> str:
    """Return the result of a run in one line: its outcome, otherwise the last line of output of its last cell."""
    if words := outcome(notebook).get("said"):
        return one_line(str(words), MAX_SUMMARY)
    for output in reversed(_last_outputs(notebook)):
        text = output.get("text") or output.get("data", {}).get("text/plain") or ""
        lines = "".join(text).strip().splitlines()
        if lines:
            return one_line(lines[-1].strip("'\""), MAX_SUMMARY)
    return ""


def with_banner(notebook: Notebook, failure: Failure) -> Notebook:
    """Return the notebook with a banner at the top, a note at the failed cell, and a note in each cell that was not executed."""
    facts = {"What": failure.what, "Where": failure.where, "What to do": failure.advice, "More": failure.detail}
    # <pre> keeps the lines of an error's text from becoming Markdown.
    escaped = {name: html.escape(text, quote=False).translate(LITERAL) for name, text in facts.items() if text}
    rows = [f"<b>{name}</b>\n<pre style='{PRE}'>{text}</pre>" for name, text in escaped.items()]
    rows += [f'<a href="#{TAG}">To the cell</a>' if failure.where else ""]
    banner = f'<div style="{RED}">\n<h2>This run failed</h2>\n' + "\n".join(rows) + "\n</div>"
    cells = [_markdown_cell(notebook, banner)]
    for cell in without_banner(notebook)["cells"]:
        status = cell["metadata"].get("papermill", {}).get("status", "pending")
        if status in ("failed", "running"):
            cells.append(_markdown_cell(notebook, f'<div id="{TAG}" style="{RED}">The run stopped in this cell:</div>'))
        if status == "pending" and cell["cell_type"] == "code":
            words = "not executed: the run had stopped before this cell\n"
            cell = {**cell, "outputs": [{"output_type": "stream", "name": "stderr", "text": words}]}
        cells.append(cell)
    return {**notebook, "cells": cells}


def without_banner(notebook: Notebook) -> Notebook:
    """Return the notebook without the cells that papermill or `with_banner` inserted to show a failure."""
    inserted = {TAG, PAPERMILL_TAG}
    cells = [cell for cell in notebook["cells"] if not inserted & set(cell["metadata"].get("tags", []))]
    return {**notebook, "cells": cells}


def _markdown_cell(notebook: Notebook, text: str) -> dict[str, Any]:
    cell = {"cell_type": "markdown", "metadata": {"tags": [TAG]}, "source": text}
    return cell | {"id": uuid.uuid4().hex[:8]} if notebook.get("nbformat_minor", 5) >= 5 else cell


def _last_outputs(notebook: Notebook) -> list[dict[str, Any]]:
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return list(cells[-1]["outputs"]) if cells else []
