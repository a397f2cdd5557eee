"""Why a run ended red, in words; and how its notebook shows it.

Works on the plain JSON of a notebook: it must also do when nothing of Jupyter can be imported.
"""

from __future__ import annotations

import html
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alerting.model.run import Outcome

Notebook = dict[str, Any]
EMPTY: Notebook = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
TAG = "run-failed"  # the cells that are put in here
PAPERMILL_TAG = "papermill-error-cell-tag"  # the cells that papermill puts in for the same purpose
RED = "border-left: 6px solid #c62828; background: #fdecea; color: #222; padding: 0.6em 1em"
PRE = "background: none; white-space: pre-wrap; margin: 0 0 0.6em"


@dataclass(frozen=True)
class Failure:
    """What happened, where (a cell in words, or nothing), and what to do. `detail` is long: for the notebook only."""

    what: str
    advice: str
    where: str = ""
    detail: str = ""
    told: bool = True  # False: the chat need not hear of it
    stopped: bool = False  # by the person at the keyboard

    @property
    def reason(self) -> str:
        """One line for the chat, the log and the list of runs."""
        return one_line(f"{self.where}: {self.what}" if self.where else self.what, 500)


def both(first: Failure | None, second: Failure | None) -> Failure | None:
    """What there is of them, in one."""
    if first is None or second is None:
        return first or second
    what, advice = f"{first.what}; {second.reason}", f"{first.advice} {second.advice}"
    detail, told, stopped = first.detail or second.detail, first.told or second.told, first.stopped and second.stopped
    return Failure(what, advice, first.where, detail, told, stopped)


def one_line(text: str, length: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def unfinished(notebook: Notebook) -> Failure | None:
    """The failure that papermill does not see: a cell that did not complete, or no last cell tagged "finish"."""
    codes = [(n, cell) for n, cell in enumerate(notebook["cells"]) if cell["cell_type"] == "code" and _source(cell).strip()]
    for index, cell in codes:
        errors = [output for output in cell["outputs"] if output["output_type"] == "error"]
        if errors:
            what = f"{errors[0]['ename']}: {errors[0]['evalue']}".rstrip(": ")
            return Failure(what, "Take it out of the cell: a run ends at its last cell.", place(notebook, index))
        if status(cell) != "completed":
            return Failure("the cell was not executed", "Run it again: make rehearse AT=...", place(notebook, index))
    if not codes or "finish" not in codes[-1][1]["metadata"].get("tags", []):
        return Failure("the notebook has no last cell tagged 'finish'", "Tag the cell that gives the last word on the run.")
    return None


def status(cell: Mapping[str, Any]) -> str:
    return cell["metadata"].get("papermill", {}).get("status", "pending")


def place(notebook: Notebook, index: int | None) -> str:
    """A cell in words: its number among the code cells, and the heading above it."""
    if index is None:
        return ""
    before = notebook["cells"][: index + 1]
    number = sum(cell["cell_type"] == "code" for cell in before)
    lines = [line for cell in before if cell["cell_type"] == "markdown" for line in _source(cell).splitlines()]
    headings = [line.lstrip("# ").strip() for line in lines if line.startswith("#")]
    return f"cell {number}" + (f" ({headings[-1]})" if headings else "")


def outcome(notebook: Notebook) -> dict[str, Any]:
    """What the run says of itself (`said`, `sent`), as its last cell left it; {} where it left nothing."""
    data = [output.get("data", {}) for output in _last_outputs(notebook)]
    return next((found[Outcome.MIME] for found in data if isinstance(found.get(Outcome.MIME), dict)), {})


def said(notebook: Notebook) -> str:
    """The run's own word on itself; of a last cell that left no outcome the last line that it showed."""
    if words := outcome(notebook).get("said"):
        return one_line(str(words), 200)
    for output in reversed(_last_outputs(notebook)):
        text = output.get("text") or output.get("data", {}).get("text/plain") or ""
        lines = "".join(text).strip().splitlines()
        if lines:
            return one_line(lines[-1].strip("'\""), 200)
    return ""


def _last_outputs(notebook: Notebook) -> list[dict[str, Any]]:
    codes = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return list(codes[-1]["outputs"]) if codes else []


def bare(notebook: Notebook) -> Notebook:
    """The notebook without what was put in to show a failure, by papermill or here."""
    signs = {TAG, PAPERMILL_TAG}
    return {**notebook, "cells": [cell for cell in notebook["cells"] if not signs & set(cell["metadata"].get("tags", []))]}


def printed(notebook: Notebook) -> str:
    """What the cell tagged "said" printed: the messages, where no chat is configured."""
    cells = [cell for cell in notebook["cells"] if "said" in cell["metadata"].get("tags", [])]
    outputs = [output for cell in cells for output in cell.get("outputs", []) if output.get("name") == "stdout"]
    return "".join("".join(output["text"]) for output in outputs)


def shown(notebook: Notebook, failure: Failure) -> Notebook:
    """The notebook with a banner on top, a sign at the cell where it stopped, and a mark in the cells not executed."""
    out = [_markdown(notebook, _banner(failure))]
    for cell in bare(notebook)["cells"]:
        if status(cell) in ("failed", "running"):
            out.append(_markdown(notebook, f'<div id="{TAG}" style="{RED}">The run stopped in this cell:</div>'))
        out.append(cell if status(cell) != "pending" or cell["cell_type"] != "code" else _not_executed(cell))
    return {**notebook, "cells": out}


def _not_executed(cell: dict[str, Any]) -> dict[str, Any]:
    words = "not executed: the run had stopped before this cell\n"
    return {**cell, "outputs": [{"output_type": "stream", "name": "stderr", "text": words}]}


def _markdown(notebook: Notebook, text: str) -> dict[str, Any]:
    cell = {"cell_type": "markdown", "metadata": {"tags": [TAG]}, "source": text}
    return cell | {"id": uuid.uuid4().hex[:8]} if notebook.get("nbformat_minor", 5) >= 5 else cell


def _banner(failure: Failure) -> str:
    """HTML in <pre>: whatever an error's text holds, no line of it becomes markup."""
    facts = {"What": failure.what, "Where": failure.where, "What to do": failure.advice, "More": failure.detail}
    rows = [f"<b>{name}</b>\n<pre style='{PRE}'>{_plain(text)}</pre>" for name, text in facts.items() if text]
    link = f'<a href="#{TAG}">To the cell</a>' if failure.where else ""
    return f'<div style="{RED}">\n<h2>This run failed</h2>\n' + "\n".join([*rows, link]) + "\n</div>"


def _plain(text: str) -> str:
    text = html.escape(text, quote=False)
    for character in "$\\\n":  # no mathematics, and no empty line, which would end the HTML
        text = text.replace(character, f"&#{ord(character)};")
    return text


def _source(cell: Mapping[str, Any]) -> str:
    return "".join(cell["source"])
