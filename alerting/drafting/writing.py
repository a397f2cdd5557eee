"""The line of the catalogue, and the files changed for it: all of it or, should anything be wrong, nothing."""

from __future__ import annotations

import ast
import os
import tempfile
from datetime import timedelta
from pathlib import Path

from alerting.drafting.drafts import Draft, Written
from alerting.model import STEP, Metric, SettingsError

UNITS = (
    ("days", timedelta(days=1)),
    ("hours", timedelta(hours=1)),
    ("minutes", timedelta(minutes=1)),
    ("seconds", timedelta(seconds=1)),
)


def line(metric: Metric, written: Written) -> str:
    """As the other lines of METRICS are written."""
    title = ", ".join(f'"{language}": {_quoted(words)}' for language, words in metric.title.items())
    more = [
        f'form="{metric.form}"' if metric.form != "count" else "",
        "adds=False" if not metric.adds else "",
        f"step={_length(metric.step)}" if metric.step != STEP else "",
    ]
    rest = ", ".join(filter(None, more))
    first = f'    Metric(\n        "{metric.name}", {{{title}}}, "{metric.query}", {written}, RULE,\n'
    return first + (f"        {rest},\n" if rest else "") + "    ),\n"


def _length(step: timedelta) -> str:
    """timedelta(hours=1)"""
    name, unit = next((name, unit) for name, unit in UNITS if not step % unit)
    return f"timedelta({name}={step // unit})"


def with_line(source: str, made: str) -> str:
    """The text of the catalogue with the line at the end of METRICS. Raises SettingsError where there is no such list."""
    lists = [
        node.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign) and "METRICS" in [t.id for t in node.targets if isinstance(t, ast.Name)]
    ]
    if len(lists) != 1 or not isinstance(lists[0], ast.List) or lists[0].end_lineno is None:
        raise SettingsError("alerting/metrics.py has no `METRICS = [...]` to add a line to: add the line by hand")
    lines = source.splitlines(keepends=True)
    end = lists[0].end_lineno - 1
    if lines[end].lstrip()[:1] != "]":
        raise SettingsError("alerting/metrics.py: the `]` of METRICS must stand on a line of its own: add the line by hand")
    new = "".join([*lines[:end], made, *lines[end:]])
    try:
        ast.parse(new)
    except SyntaxError:
        raise SettingsError("alerting/metrics.py: the last line of METRICS must end with a comma: add it first") from None
    return new


def write(draft: Draft, made: str, catalogue: Path, folder: Path) -> list[Path]:
    """Change the files; those that were. Raises SettingsError."""
    text = with_line(catalogue.read_text(encoding="utf-8"), made)
    file = folder / f"{draft.query}.sql"
    try:
        if draft.new:
            _put(file, draft.sql)
        _put(catalogue, text)
    except OSError as error:
        if draft.new:
            file.unlink(missing_ok=True)
        raise SettingsError(f"{error.filename or catalogue} cannot be written ({error.strerror}): nothing was changed") from None
    return [file, catalogue] if draft.new else [catalogue]


def _put(file: Path, text: str) -> None:
    """Whole or not at all."""
    mode = file.stat().st_mode & 0o777 if file.exists() else 0o644
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(name, mode)
        os.replace(name, file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
