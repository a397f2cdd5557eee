"""The size and shape of the code in numbers, to compare a change with the state before it.

The static part parses the files. The other part traces two runs of the alert notebook (`trace_run`) at a fixed moment: one over
the sample app, with an open incident at its end, and one over a table of a single series that drops.
No module of the package is named here except the notebook, the folder `messages` and the step `compose`. On a very busy machine
the cause may be found after the alert was sent; the counts of the sample app's run then differ: repeat the measurement.
"""

from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import sys
import tempfile
import tokenize
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.figures import Figure
from benchmarks.world import ROOT, STEP, World, copy_of_the_house, environ_of

PACKAGE = "alerting"
RUN = "alert.ipynb"  # every other notebook is a study
AT = datetime.fromisoformat("2024-11-22T12:00:00+00:00")  # in the past on every machine: a run refuses a moment in the future
HISTORY, FALL = timedelta(days=60), 0.3  # length of the table's series; factor of its last values
SHORT = 3  # a function body of at most so many lines is short
TEMPLATES = {".sql", ".j2", ".html", ".css", ".js"}

Def = ast.FunctionDef | ast.AsyncFunctionDef
Function = tuple[str, str]  # module, qualified name


def shape() -> Iterator[Figure]:
    """Yield all figures."""
    yield from static()
    yield from traced()


def static() -> Iterator[Figure]:
    """Yield the figures of the static part."""
    files = sorted((ROOT / PACKAGE).rglob("*.py"))
    sources = {path: path.read_text(encoding="utf-8") for path in files}
    trees = {path: ast.parse(source) for path, source in sources.items()}
    yield from _sizes(sources)
    yield from _functions(list(trees.values()))
    yield from _names(trees, sources)
    yield from _notebooks()
    yield from _documents()


def _count(name: str, value: float, unit: str, told: str = "") -> Figure:
    return Figure(name, value, None, unit, told=told)


def _sizes(sources: dict[Path, str]) -> Iterator[Figure]:
    inits = sum(path.stem == "__init__" for path in sources)
    others = [path for path in (ROOT / PACKAGE).rglob("*") if path.suffix in TEMPLATES]
    lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in others)
    yield _count(
        "Python lines of the package", sum(len(s.splitlines()) for s in sources.values()), "lines", "all lines, blank too"
    )
    yield _count("SQL, templates and static files", lines, "lines", f"{len(others)} files: {' '.join(sorted(TEMPLATES))}")
    yield _count("modules", len(sources), "modules", "files *.py")
    yield _count("modules without __init__", len(sources) - inits, "modules")


def _functions(trees: Sequence[ast.Module]) -> Iterator[Figure]:
    functions = [node for tree in trees for node in ast.walk(tree) if isinstance(node, Def)]
    lengths = [length for function in functions if (length := body_lines(function))]
    how = "from the first statement after the docstring to the function's last line; docstring-only stubs left out"
    short = sum(length <= SHORT for length in lengths) / len(lengths)
    yield _count("functions", len(functions), "functions", f"every def: methods and nested ones too; {len(lengths)} have a body")
    yield _count("body of a function, median", median(lengths), "lines", how)
    yield _count("body of a function, 90th percentile", quantiles(lengths, n=10)[-1], "lines")
    yield _count(f"functions with a body of {SHORT} lines or fewer", 100 * short, "%")


def body_lines(function: Def) -> int:
    """Return the number of lines of a function's body without its docstring."""
    first = function.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    body = function.body[documented:]
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def _names(trees: dict[Path, ast.Module], sources: dict[Path, str]) -> Iterator[Figure]:
    uses = [uses_of_private_functions(tree) for tree in trees.values()]
    private, once = sum(map(len, uses)), sum(used == 1 for of_module in uses for _, used in of_module)
    how = "of a module or a class, _name, no dunder, no _repr_*_; referred to once in its own module (another's is another name)"
    yield _count("private functions", private, "functions")
    yield _count("private functions used once", once, "functions", how)
    yield _count("private functions used once, share", 100 * once / private, "%")
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]
    classes = Counter(node.name for node in nodes if isinstance(node, ast.ClassDef) and not node.name.startswith("_"))
    twice = [f"{name} {times}" for name, times in sorted(classes.items()) if times > 1]
    yield _count("public class names that stand more than once", len(twice), "names", ", ".join(twice))
    gerunds = sorted(path.stem for path in trees if path.stem.endswith("ing"))
    yield _count("modules named *-ing", len(gerunds), "modules", ", ".join(gerunds))
    calls = Counter(node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name))
    yield _count("calls of getattr and hasattr", calls["getattr"] + calls["hasattr"], "calls")
    ignored = sum(map(_ignored_types, sources.values()))
    yield _count("comments `# type: ignore`", ignored, "comments")


def uses_of_private_functions(tree: ast.Module) -> list[tuple[str, int]]:
    """Return the private functions and methods of a module, each with the number of references to it in the module."""
    places = [node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef)]
    names = [
        node.name for place in places for node in place.body if isinstance(node, Def) and re.match(r"_(?!_)\w*(?<!_)$", node.name)
    ]
    used = Counter(
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
    )
    return [(name, used[name]) for name in names]


def _ignored_types(source: str) -> int:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return sum(token.type == tokenize.COMMENT and "type: ignore" in token.string for token in tokens)


def _notebooks() -> Iterator[Figure]:
    used = {path.name: names_of_package(_code(path)) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
    each = ", ".join(f"{name} {len(names)}" for name, names in used.items())
    studies = set().union(*(names for name, names in used.items() if name != RUN))
    how = "imported modules and names, and what is reached by attribute from such a module; not the methods of what it returns"
    yield _count("names of the package in the study notebooks", len(studies), "names", how)
    yield _count("names of the package in all notebooks", len(studies.union(*used.values())), "names", each)


def _code(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def names_of_package(cells: Sequence[dict[str, Any]]) -> set[str]:
    """Return the dotted names of the package that code cells import, or use through an imported module."""
    nodes = [node for cell in cells for node in ast.walk(ast.parse("".join(cell["source"])))]
    bound: dict[str, str] = {}
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            bound |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            ours = [alias for alias in node.names if alias.name.split(".")[0] == PACKAGE]
            bound |= {alias.asname or PACKAGE: alias.name if alias.asname else PACKAGE for alias in ours}
    dotted = (_dotted(node, bound) for node in nodes if isinstance(node, ast.Attribute))
    return {*bound.values(), *filter(None, dotted)}


def _dotted(node: ast.expr, bound: dict[str, str]) -> str:
    """Return the dotted name of an expression that refers to a module of the package, otherwise ""."""
    if isinstance(node, ast.Name):
        return bound.get(node.id, "")
    inner = _dotted(node.value, bound) if isinstance(node, ast.Attribute) else ""
    place = ROOT.joinpath(*inner.split("."))
    is_module = bool(inner) and (place.is_dir() or place.with_suffix(".py").exists())
    return f"{inner}.{node.attr}" if is_module and isinstance(node, ast.Attribute) else ""


def _documents() -> Iterator[Figure]:
    for name in ("README.md", "README.ru.md", "docs/*.md"):
        words = {path.name: len(path.read_text(encoding="utf-8").split()) for path in sorted(ROOT.glob(name))}
        each = ", ".join(f"{page} {number:,}" for page, number in words.items()) if len(words) > 1 else "split at white space"
        yield _count(f"words in {name}", sum(words.values()), "words", each)


def traced() -> Iterator[Figure]:
    """Yield the figures of the two traced runs. Raises SystemExit if a run fails or composes no message."""
    with tempfile.TemporaryDirectory() as folder:
        house = copy_of_the_house(Path(folder) / "house")  # has no .env, so no real chat gets a message
        plain = trace(house, Path(folder) / "plain", str(table_of_a_fall(Path(folder) / "fall.parquet")))
        app = World(Path(folder) / "app", AT, incidents="default")
        run = trace(house, app.folder, "embedded")  # within a minute of its creation: later, the app would be extended to today
    how = "every def called in any thread of the kernel process after import; no lambda, comprehension, generated method"
    yield _count("functions called by a run that alerts (sample app)", len(run["called"]), "functions", how)
    yield _count("modules called by a run that alerts (sample app)", _modules(run["called"]), "modules")
    chain = " > ".join(name for _, name in run["chain"])
    yield _count("deepest chain of functions in that run", len(run["chain"]), "functions", chain)
    below = "called in messages, or from there, while compose runs; with the picture's caption"
    for name, found in (("a plain alert (one series of a table)", plain), ("the sample app's alert, with cause", run)):
        yield _count(f"functions that make the text of {name}", len(found["texts"]), "functions", below)
        yield _count(f"modules that make the text of {name}", _modules(found["texts"]), "modules")


def _modules(functions: Sequence[Function]) -> int:
    return len({module for module, _ in functions})


def table_of_a_fall(path: Path) -> Path:
    """Write a table of one series with a daily rhythm and a drop in the last half an hour before AT."""
    ts = pd.date_range(AT - HISTORY, AT - STEP, freq=STEP)
    rhythm = 1000 * (1 + 0.5 * np.sin(2 * np.pi * np.arange(len(ts)) / (timedelta(days=1) / STEP)))
    values = rhythm * np.random.default_rng(0).lognormal(0, 0.03, len(ts))
    values[-2:] *= FALL  # the last bucket is too new to be judged
    pd.DataFrame({"series": "orders", "ts": ts, "value": values.round()}).to_parquet(path, index=False)
    return path


def trace(house: Path, folder: Path, source: str) -> dict[str, list[Function]]:
    """Run `trace_run` over the source, with files in `folder`. Return its result. Raises SystemExit if it composed nothing."""
    script, out = ROOT / "benchmarks" / "trace_run.py", house.parent / f"{folder.name}.json"
    command = [sys.executable, str(script), str(house), f"notebooks/{RUN}", PACKAGE, AT.isoformat(), str(out)]
    env = {**environ_of(folder), "ALERTING_SOURCE": source}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the traced run failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    found: dict[str, list[Function]] = json.loads(out.read_text(encoding="utf-8"))
    if not found["texts"]:
        raise SystemExit(f"the traced run composed nothing:\n{done.stdout[-2000:]}")
    return found
