"""What the study notebooks stand on: a past read from the configured source, and what is learned said in words and in lines
of metrics.py. `make notebooks` executes them top to bottom into reports/studies; that needs the lab's packages.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from alerting import metrics, pipeline, plots
from alerting.backtest import Past, Plan, Span
from alerting.model import Metric, Reading, Rule, SettingsError
from alerting.settings import ROOT, Settings

NOTEBOOKS = ROOT / "notebooks"
SHOWN = ("k", "q", "over", "days", "hours")  # of a fence or a reference, even where it is the default
NUMBERS = ["step, min", "least", "median", "most", "buckets", "missing", "known to be odd"]  # columns of `show`
CATALOGUE = Path(__file__).with_name("metrics.py")


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

    target = out / path.name
    try:
        papermill.execute_notebook(str(path), str(target), progress_bar=False, cwd=str(ROOT), kernel_name="python3")
    except PapermillExecutionError as error:
        sys.stderr.write(f"{target}: {error.ename}: {error.evalue}\n")
        return 1
    sys.stdout.write(f"{target}\n")
    return 0


def past(to: pipeline.Connections, weeks: float, at: str = "") -> tuple[Past, Reading]:
    """The last `weeks` before `at` (ISO 8601; empty: the newest closed bucket), with the history that the rules need before
    them, and what the source gave. Metrics without a single value are left out; planted incidents are known.

    Raises SettingsError where nothing at all was read.
    """
    now = pipeline.clock(at) if at else newest(to)
    end = max(pipeline.last_closed_bucket(now, to.delay, metric.step) + metric.step for metric in to.metrics)
    start = end - timedelta(weeks=weeks)
    reading = pipeline.read(to, [pipeline.Due(metric, start, end - metric.step) for metric in to.metrics])
    series = {name: values for name, values in reading.series.items() if values.loc[start:].notna().any()}
    if not series:
        reasons = "; ".join(dict.fromkeys(reading.troubles.values())) or "the tables are empty"
        raise SettingsError(f"there is nothing to study from {start:%Y-%m-%d} to {end:%Y-%m-%d}: {reasons}")
    there = [metric for metric in to.metrics if metric.name in series]
    return Past(there, series, start, end, to.zone, known(to)), reading


def newest(to: pipeline.Connections) -> datetime:
    """Now; for a table that ends in the past, its end."""
    ends: list[datetime] = list(getattr(to.source, "ends", dict)().values())
    return min([pipeline.clock(), *([max(ends) + to.delay] if ends else [])])


def known(to: pipeline.Connections) -> tuple[Span, ...]:
    """Incidents of which the truth is known: those planted into the embedded app."""
    from alerting.simulate import truth
    from alerting.sources.embedded import Embedded

    source = getattr(to.source, "source", to.source)  # what it reads is held in front of it
    planted = truth(source.folder) if isinstance(source, Embedded) else []
    return tuple(Span(each.start, each.end, each.metrics) for each in planted)


def written(rule: object) -> str:
    """A rule as it is written in metrics.py, most of its defaults left out."""
    if not is_dataclass(rule):
        return f"{rule:g}" if isinstance(rule, float) else repr(rule)
    shown = SHOWN if hasattr(rule, "over") or hasattr(rule, "gather") else ()
    given = [(f.name, getattr(rule, f.name)) for f in fields(rule) if f.name in shown or getattr(rule, f.name) != _default(f)]
    return f"{type(rule).__name__}({', '.join(f'{name}={written(value)}' for name, value in given)})"


def _default(field: Field[Any]) -> object:
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else MISSING


def rule_lines(rule: Rule) -> str:
    """The line of metrics.py that makes `rule` everybody's, as a diff."""
    lines = CATALOGUE.read_text(encoding="utf-8").splitlines()
    old = next(line for line in lines if line.startswith("RULE = "))
    new = f"RULE = {written(rule)}"
    return f"RULE stays as it is: {old}" if rule == metrics.RULE else f"- {old}\n+ {new}"


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


def show(past: Past) -> pd.DataFrame:
    """One row per metric: what there is of it, and what is known to be odd."""
    rows = {metric.name: _shown(past, metric) for metric in past.metrics}
    return pd.DataFrame.from_dict(rows, orient="index")


def _shown(past: Past, metric: Metric) -> dict[str, object]:
    values = past.series[metric.name].loc[past.start : past.end - metric.step]
    first, last = (f"{at.tz_convert(past.zone):%Y-%m-%d %H:%M}" for at in (values.index[0], values.index[-1]))
    odd = int(past.known_to(metric, values.index).sum())
    facts = {"first bucket": first, "last bucket": last, "step, min": metric.step / timedelta(minutes=1)}
    numbers = {"least": values.min(), "median": values.median(), "most": values.max()}
    return facts | numbers | {"buckets": len(values), "missing": int(values.isna().sum()), "known to be odd": odd}


def of_history(behaviour: pd.DataFrame, nearest: pd.DataFrame) -> str:
    """What 0.1 learned, in a sentence per finding. `behaviour`: metric x `history.summary`; `nearest`: `history.references`."""
    rhythm, days = behaviour["time of day"].median(), behaviour["day of week"].median()
    chance = behaviour["times chance"].dropna()
    counts = f"; counts vary {chance.min():.1f} to {chance.max():.1f} times as much as pure chance" if len(chance) else ""
    middle = nearest.median(axis=1).sort_values()
    return (
        f"The time of day explains {rhythm:.0%} of what a metric does and the day of the week {days:.0%} more; it grows by "
        f"{behaviour['growth a week'].median():.1%} a week. Around the usual level lies a noise of "
        f"{behaviour['noise'].min():.1%} to {behaviour['noise'].max():.1%}{counts}. The next bucket shares "
        f"{behaviour['after 1 bucket'].median():.2f} of a surprise. The past that tells best what comes is {middle.index[0]}: "
        f"it is off by {middle.iloc[0]:.1%}, {middle.index[-1]} by {middle.iloc[-1]:.1%}."
    )


def history_lines(past: Past, references: Mapping[str, Rule], nearest: pd.DataFrame) -> str:
    """The line of metrics.py that 0.1 changes: the past that tells best what comes. A rule that chooses by itself says why."""
    rule = past.metrics[0].rule
    if not hasattr(rule, "over"):
        reason = getattr(rule, "reason", lambda values, zone: "it asks for no reference")
        reasons = [f"{metric.name}: {reason(past.series[metric.name], past.zone)}" for metric in past.metrics]
        return "\n".join([f"RULE stays as it is, {written(rule)}, and takes", *reasons])
    return rule_lines(references[nearest.median(axis=1).idxmin()])


def of_rules(best: pd.DataFrame, most: float) -> str:
    """What 1.1 learned. `best`: the rules' best rows of a sweep, the best first."""
    if best.empty:
        return f"No rule stays within {most:g} false alerts a series and week at any width."
    name, row = best.index[0], best.iloc[0]
    others = [f"{other} {line['F1']:.2f}" for other, line in best.iloc[1:4].iterrows()]
    return (
        f"At its best width ({row['width']:g}), {name} finds {row['recall']:.0%} of the faults at {row['false a week']:.2f} "
        f"false alerts a series and week, {row['delay, min']:.0f} min after their first bucket at the median: F1 {row['F1']:.2f}"
        f"{'; then ' + ', '.join(others) if others else ''}."
    )


def rules_lines(best: pd.DataFrame, rules: Mapping[str, Rule]) -> str:
    """The lines of metrics.py that 1.1 changes: the best rule, and its width where that is not 1."""
    if best.empty:
        return "no line: look for another rule"
    width = best["width"].iloc[0]
    more = "" if width == 1 else f"\nand for every metric width={width:g}, until notebook 1.2 gives each its own"
    return rule_lines(rules[best.index[0]]) + more


def of_budget(plan: Plan, smallest: pd.DataFrame, unseen: float) -> str:
    """What 1.2 learned. `unseen`: incidents a week in weeks that the widths were not chosen on."""
    found = [f"{name} {drop:.0%}" for name, drop in smallest["day, 1 h"].items() if drop == drop]
    blind = [str(name) for name, drop in smallest["day, 1 h"].items() if drop != drop]
    none = f"; of {', '.join(blind)} no drop that was tried is told so surely" if blind else ""
    return (
        f"{plan.words()} "
        f"On weeks they were not chosen on they cost {unseen:.2g}. By day, nine of ten drops are told within the hour from these "
        f"depths on: {', '.join(found) or 'none'}{none}."
    )


def explore(past: Past, rules: Mapping[str, Rule], days: int = 3) -> object:
    """Sliders over the last `days`: the metric, the rule, and k (half-widths). Alive in Jupyter only."""
    from ipywidgets import FloatSlider, interactive

    named = {metric.name: metric for metric in past.metrics}
    last = replace(past, start=past.end - timedelta(days=days))

    def view(metric: list[str], rule: list[str], k: float) -> object:
        chosen = replace(named[str(metric)], width=k)
        return plots.band(chosen, judged(last, chosen, rules[str(rule)]), past.zone)

    k = FloatSlider(value=1.0, min=0.25, max=4.0, step=0.05, description="k (x width)", continuous_update=False)
    return interactive(view, metric=list(named), rule=list(rules), k=k)


def views(past: Past, rules: Mapping[str, Rule], metric: Metric) -> dict[str, tuple[Metric, pd.DataFrame]]:
    """name -> the metric and its judged buckets, for each of the rules: what `plots.studies.bands` draws."""
    return {name: (metric, judged(past, metric, rule)) for name, rule in rules.items()}


def last_days(past: Past, days: float) -> dict[str, tuple[Metric, pd.DataFrame]]:
    """name -> every metric and its judged buckets of the last days, by its own rule and width."""
    late = replace(past, start=max(past.start, past.end - timedelta(days=days)))
    return {metric.name: (metric, judged(late, metric, metric.rule)) for metric in past.metrics}


def local(incidents: pd.DataFrame, zone: str) -> pd.DataFrame:
    """Incidents with their times as the zone's clock shows them."""
    times = {name: pd.to_datetime(incidents[name], utc=True).dt.tz_convert(zone) for name in ("since", "told", "until")}
    return incidents.assign(**{name: at.dt.strftime("%a %d %b %H:%M").fillna("") for name, at in times.items()})


def judged(past: Past, metric: Metric, rule: Rule) -> pd.DataFrame:
    """The metric's buckets from the start of the past to its end, judged by that rule as a run would."""
    frame = pipeline.judge_one(replace(metric, rule=rule), past.series[metric.name], past.zone)
    return frame.loc[past.start : past.end - metric.step]
