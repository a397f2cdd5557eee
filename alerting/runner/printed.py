"""What a run prints, from the outputs of its notebook: a line per metric, and the messages where no chat is configured."""

from __future__ import annotations

from alerting.model.run import VERDICTS
from alerting.reporting.failure import Notebook

COLOURS = {"anomalous": 31, "not judged": 31, "missing": 33, "unknown": 90}  # ANSI: red, yellow, grey
MAX_NAME = 50  # characters of a metric's name
RIGHT_ALIGNED = {2, 4}  # columns: the value and the change


def printed_verdicts(notebook: Notebook, coloured: bool) -> str:
    """Return the verdicts as aligned lines, below a line with their number and the time; "" if there are none."""
    found = [
        output["data"][VERDICTS]
        for cell in notebook["cells"]
        for output in cell.get("outputs", [])
        if VERDICTS in output.get("data", {})
    ]
    return "".join(f"{line}\n" for each in found for line in (each["title"], *_aligned(each["rows"], coloured)))


def _aligned(rows: list[list[str]], coloured: bool) -> list[str]:
    rows = [[name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 13]}…{name[-12:]}", *others] for name, *others in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if number in RIGHT_ALIGNED else text.ljust(width)
            for number, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        colour = COLOURS.get(row[1]) if coloured else None
        line = "  ".join(cells).rstrip()
        lines.append(f"  \033[{colour}m{line}\033[0m" if colour else f"  {line}")
    return lines


def printed_messages(notebook: Notebook) -> str:
    """Return the text printed by the cell tagged "said": the messages, if no chat is configured."""
    cells = [cell for cell in notebook["cells"] if "said" in cell["metadata"].get("tags", [])]
    outputs = [output for cell in cells for output in cell.get("outputs", []) if output.get("name") == "stdout"]
    return "".join("".join(output["text"]) for output in outputs)
