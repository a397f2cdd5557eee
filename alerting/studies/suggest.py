"""What is learned, in lines of metrics.py."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from alerting import metrics
from alerting.backtest.replay import BacktestData
from alerting.detectors.bands import Fence, OneByOne
from alerting.detectors.baselines import Change, SameSlot, Trailing
from alerting.metrics import RULE
from alerting.model.metric import Detector

SHOWN = ("k", "q", "over", "days", "hours")  # of a fence or a reference, even where it is the default
CATALOGUE = Path(metrics.__file__)


def detector_text(rule: object) -> str:
    """A rule as it is written in metrics.py, most of its defaults left out."""
    rule = rule.rule if isinstance(rule, OneByOne) else rule
    if not is_dataclass(rule):
        return f"{rule:g}" if isinstance(rule, float) else repr(rule)
    shown = SHOWN if isinstance(rule, Fence | Trailing | SameSlot | Change) else ()
    given = [(f.name, getattr(rule, f.name)) for f in fields(rule) if f.name in shown or getattr(rule, f.name) != _default(f)]
    return f"{type(rule).__name__}({', '.join(f'{name}={detector_text(value)}' for name, value in given)})"


def _default(field: Field[Any]) -> object:
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else MISSING


def rule_lines(rule: Detector) -> str:
    """The line of metrics.py that makes `rule` everybody's, as a diff."""
    lines = CATALOGUE.read_text(encoding="utf-8").splitlines()
    old = next(line for line in lines if line.startswith("RULE = "))
    new = f"RULE = {detector_text(rule)}"
    return f"RULE stays as it is: {old}" if rule == RULE else f"- {old}\n+ {new}"


def width_lines(widths: Mapping[str, float]) -> str:
    """The lines of metrics.py that give these metrics these widths, as a diff; for other catalogues the widths by name."""
    text = CATALOGUE.read_text(encoding="utf-8")
    calls = {_name(call): call for call in ast.walk(ast.parse(text)) if isinstance(call, ast.Call)}
    out = []
    for name, width in widths.items():
        call = calls.get(name)
        old, new = (_segment(text, call), _with_width(text, call, width)) if call else ("", f"{name}: width={width:g}")
        out += _difference(name, old, new) if call else [new]
    return "\n".join(out) or "no line: every width stays as it is"


def _difference(name: str, old: str, new: str) -> list[str]:
    """The lines that change; under the metric's name, where they do not hold it."""
    before, after = old.splitlines(), new.splitlines()
    if len(before) == 1 or len(before) != len(after):
        return [] if old == new else [f"- {old}", f"+ {new}"]
    changed = [(one.strip(), other.strip()) for one, other in zip(before, after, strict=True) if one != other]
    return [f"# {name}", *(line for one, other in changed for line in (f"- {one}", f"+ {other}"))] if changed else []


def _name(call: ast.Call) -> str:
    """Of the metric that a call makes, "" for any other call."""
    first = call.args[0] if call.args and isinstance(call.func, ast.Name) and call.func.id == "Metric" else None
    return str(first.value) if isinstance(first, ast.Constant) else ""


def _segment(text: str, node: ast.AST) -> str:
    return ast.get_source_segment(text, node) or ""


def _with_width(text: str, call: ast.Call, width: float) -> str:
    old = _segment(text, call)
    given = next((_segment(text, word) for word in call.keywords if word.arg == "width"), "")
    return old.replace(given, f"width={width:g}") if given else f"{old[:-1].rstrip().rstrip(',')}, width={width:g})"


def history_lines(past: BacktestData, references: Mapping[str, Detector], nearest: pd.DataFrame) -> str:
    """The line of metrics.py that 0.1 changes: the past that tells best what comes. A rule that chooses by itself says why."""
    rule = past.metrics[0].rule
    if not isinstance(rule, Fence):
        reasons = [
            f"{metric.name}: {rule.reason(past.series[metric.name], past.zone) or 'it asks for no reference'}"
            for metric in past.metrics
        ]
        return "\n".join([f"RULE stays as it is, {detector_text(rule)}, and takes", *reasons])
    return rule_lines(references[nearest.median(axis=1).idxmin()])


def rules_lines(best: pd.DataFrame, rules: Mapping[str, Detector]) -> str:
    """The lines of metrics.py that 1.1 changes: the best rule, and its width where that is not 1."""
    if best.empty:
        return "no line: look for another rule"
    width = best["width"].iloc[0]
    more = "" if width == 1 else f"\nand for every metric width={width:g}, until notebook 1.2 gives each its own"
    return rule_lines(rules[best.index[0]]) + more
