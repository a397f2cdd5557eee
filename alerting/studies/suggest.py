"""Suggested changes of metrics.py, as lines of a diff."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path

import pandas as pd

from alerting import metrics
from alerting.backtest.replay import BacktestData
from alerting.detectors.bands import Fence, OneByOne
from alerting.detectors.baselines import Change, SameSlot, Trailing
from alerting.metrics import RULE
from alerting.model.metric import Detector

ALWAYS_WRITTEN = ("k", "q", "over", "days", "hours")  # parameters of a band or a baseline, even with their defaults
CATALOGUE = Path(metrics.__file__)


def detector_text(rule: object) -> str:
    """Return a detector as it is written in metrics.py, most of its defaults left out."""
    rule = rule.rule if isinstance(rule, OneByOne) else rule
    if not is_dataclass(rule):
        return f"{rule:g}" if isinstance(rule, float) else repr(rule)
    always = ALWAYS_WRITTEN if isinstance(rule, Fence | Trailing | SameSlot | Change) else ()
    written = []
    for field in fields(rule):
        value = getattr(rule, field.name)
        default = field.default if field.default_factory is MISSING else field.default_factory()
        if field.name in always or value != default:
            written.append(f"{field.name}={detector_text(value)}")
    return f"{type(rule).__name__}({', '.join(written)})"


def rule_lines(rule: Detector) -> str:
    """Return the line that makes `rule` the default detector, as a diff."""
    old = next(line for line in CATALOGUE.read_text(encoding="utf-8").splitlines() if line.startswith("RULE = "))
    return f"RULE stays as it is: {old}" if rule == RULE else f"- {old}\n+ RULE = {detector_text(rule)}"


def width_lines(widths: Mapping[str, float]) -> str:
    """Return the lines that give these metrics these widths, as a diff; for other catalogues the widths by name."""
    text = CATALOGUE.read_text(encoding="utf-8")
    calls = {
        str(node.args[0].value): node
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Metric"
        if node.args and isinstance(node.args[0], ast.Constant)
    }
    lines: list[str] = []
    for name, width in widths.items():
        if name not in calls:
            lines.append(f"{name}: width={width:g}")
            continue
        before = ast.get_source_segment(text, calls[name]) or ""
        given = next((ast.get_source_segment(text, word) or "" for word in calls[name].keywords if word.arg == "width"), "")
        added = f"{before[:-1].rstrip().rstrip(',')}, width={width:g})"
        lines += _difference(name, before, before.replace(given, f"width={width:g}") if given else added)
    return "\n".join(lines) or "no line: every width stays as it is"


def _difference(name: str, before: str, after: str) -> list[str]:
    """Return the lines that change; under the metric's name, where they are a part of its call only."""
    old, new = before.splitlines(), after.splitlines()
    if before == after:
        return []
    if len(old) == 1 or len(old) != len(new):
        return [f"- {before}", f"+ {after}"]
    changed = [(one.strip(), other.strip()) for one, other in zip(old, new, strict=True) if one != other]
    return [f"# {name}", *(line for one, other in changed for line in (f"- {one}", f"+ {other}"))]


def history_lines(past: BacktestData, baselines: Mapping[str, Detector], distances: pd.DataFrame) -> str:
    """Return the line that notebook 0.1 suggests: the baseline with the smallest median distance.

    `distances`: `behaviour.compare_baselines`. A detector that chooses its baseline by itself stays, with its reasons.
    """
    rule = past.metrics[0].rule
    if isinstance(rule, Fence):
        return rule_lines(baselines[distances.median(axis=1).idxmin()])
    lines = [f"RULE stays as it is, {detector_text(rule)}, and takes"]
    for metric in past.metrics:
        reason = rule.reason(past.series[metric.name], past.zone)
        lines.append(f"{metric.name}: {reason or 'it asks for no reference'}")
    return "\n".join(lines)


def rules_lines(best: pd.DataFrame, rules: Mapping[str, Detector]) -> str:
    """Return the lines that notebook 1.1 suggests: the best detector (`score.best_widths`), and its width if it is not 1."""
    if best.empty:
        return "no line: look for another rule"
    width = best["width"].iloc[0]
    more = "" if width == 1 else f"\nand for every metric width={width:g}, until notebook 1.2 gives each its own"
    return rule_lines(rules[best.index[0]]) + more


def widest_harmless(widths: pd.DataFrame) -> float:
    """Return the factor of `review.at_widths` with fewest incidents that still finds as many truths as factor 1; else 1.

    Of equal ones, the smallest.
    """
    present = widths.loc[1.0]
    harmless = widths[(widths.index >= 1) & (widths["found"] >= present["found"])]
    return float(harmless["incidents a week"].astype(float).idxmin()) if len(harmless) and present["found"] else 1.0


def week_lines(past: BacktestData, widths: pd.DataFrame) -> str:
    """Return the lines of metrics.py that notebook 2.1 suggests. A week is little data: only widths that lose nothing."""
    factor = widest_harmless(widths)
    if factor == 1.0:
        return "no line: every width stays as it is; notebook 1.2 chooses widths from more weeks"
    wider = {metric.name: round(metric.width * factor, 2) for metric in past.metrics}
    return f"{width_lines(wider)}\n# from these weeks only: let notebook 1.2 confirm the widths on more of them"
