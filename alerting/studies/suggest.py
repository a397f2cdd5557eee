"""Widths for metrics.py, shown as a diff or written into the file."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import numpy as np

from alerting import metrics
from alerting.catalogue import FILE_NAME, metric_entries
from alerting.model.errors import SettingsError
from alerting.model.metric import Metric

CATALOGUE = Path(metrics.__file__)
DEFAULT_WIDTH, WIDTH_POSITION = next((f.default, i + 1) for i, f in enumerate(fields(Metric)) if f.name == "width")


def pinned(metrics: Sequence[Metric]) -> list[str]:
    """Return the names of the metrics whose entry in metrics.py has a `width=`, or whose width is not the default."""
    entries = metric_entries(CATALOGUE.read_bytes())
    given = {name for name, calls in entries.items() if any(word.arg == "width" for call in calls for word in call.keywords)}
    return [metric.name for metric in metrics if metric.name in given or metric.width != DEFAULT_WIDTH]


def width_lines(widths: Mapping[str, float]) -> str:
    """Return the changes of metrics.py that set these widths, as lines of a diff. `widths`: metric -> width.

    For an entry that cannot be edited there is a line with the metric's name and width.
    """
    source, lines = CATALOGUE.read_bytes(), list[str]()
    for name, width in widths.items():
        try:
            edited = with_widths(source, {name: width})
        except SettingsError:
            lines.append(f"{name}: width={width:g}")
            continue
        texts = (ast.get_source_segment(text.decode(), metric_entries(text)[name][0]) or "" for text in (source, edited))
        before, after = (text.splitlines() for text in texts)
        if before != after and len(before) > 1:
            lines.append(f"# {name}")
        for old, new in zip(before, after, strict=True):
            lines += [f"- {old.strip()}", f"+ {new.strip()}"] if old != new else []
    return "\n".join(lines) or "no line: every width stays as it is"


def with_widths(source: bytes, widths: Mapping[str, float], present: Mapping[str, float] | None = None) -> bytes:
    """Return the source of metrics.py with these widths (metric -> width). All other bytes are unchanged.

    `present`: metric -> the width in force. Raises SettingsError if a metric has no entry of its own, if the width in its entry
    is computed, or if it differs from the width in force.
    """
    edits: list[tuple[int, int, bytes]] = []
    starts = [0, *np.cumsum([len(line) for line in source.splitlines(keepends=True)]).tolist()]
    for name, width in widths.items():
        call = _editable_entry(source, name, (present or {}).get(name))
        given = next((word.value for word in call.keywords if word.arg == "width"), None)
        text = f"{width:g}".encode()
        if given is not None and given.end_lineno and given.end_col_offset:
            first, last = starts[given.lineno - 1] + given.col_offset, starts[given.end_lineno - 1] + given.end_col_offset
            edits.append((first, last, text))
        elif call.keywords:
            at = starts[call.keywords[0].lineno - 1] + call.keywords[0].col_offset
            edits.append((at, at, b"width=" + text + b", "))
        else:
            at = starts[(call.args[-1].end_lineno or 1) - 1] + (call.args[-1].end_col_offset or 0)
            edits.append((at, at, b", width=" + text))
    edited = source
    for first, last, text in sorted(edits, reverse=True):
        edited = edited[:first] + text + edited[last:]
    if not _differ_in_widths_only(source, edited, widths):
        raise SettingsError(f"{FILE_NAME}: the entries of {', '.join(widths)} cannot be edited safely: write the widths by hand")
    return edited


def _editable_entry(source: bytes, name: str, present: float | None) -> ast.Call:
    """Return the metric's only entry. Raises SettingsError if its width cannot be set by a change of one number."""
    calls = metric_entries(source).get(name, [])
    by_hand = "write the width by hand"
    if len(calls) != 1:
        raise SettingsError(f'{FILE_NAME} has {len(calls) or "no"} Metric("{name}", ...): {by_hand}')
    call = calls[0]
    place = f"{FILE_NAME}:{call.lineno}: metric {name}"
    if len(call.args) >= WIDTH_POSITION or any(isinstance(value, ast.Starred) for value in call.args):
        raise SettingsError(f"{place}: its width may be among the arguments without a name: {by_hand}")
    if any(word.arg is None for word in call.keywords):
        raise SettingsError(f"{place}: its width may be in **: {by_hand}")
    given = next((word.value for word in call.keywords if word.arg == "width"), None)
    written = DEFAULT_WIDTH
    if given is not None:
        if not (isinstance(given, ast.Constant) and isinstance(given.value, int | float)):
            raise SettingsError(f"{place}: its width={ast.unparse(given)} is computed: {by_hand}")
        written = float(given.value)
    if present is not None and written != present:
        raise SettingsError(f"{place}: its width is {present:g}, but the entry says {written:g}: {by_hand}")
    return call


def _differ_in_widths_only(source: bytes, edited: bytes, widths: Mapping[str, float]) -> bool:
    """Return whether the edited source has these widths and is the same program in all else."""
    try:
        trees = [ast.parse(source), ast.parse(edited)]
    except SyntaxError:
        return False
    after = [call for name in widths for call in metric_entries(edited).get(name, [])]
    numbers = [ast.unparse(word.value) for call in after for word in call.keywords if word.arg == "width"]
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Call):
            node.keywords = [word for word in node.keywords if word.arg != "width"]
    same = ast.dump(trees[0]) == ast.dump(trees[1])
    return same and [float(number) for number in numbers] == [float(f"{width:g}") for width in widths.values()]
