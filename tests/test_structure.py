"""The house: imports go one way, the core is pure, the notebooks are thin, and nothing speaks of a machine."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import needs

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {
    "model": 0, "environment": 0, "destinations": 0.5,
    "detectors": 1, "episodes": 1, "incidents": 1, "slices": 1, "messages": 1,
    "occasions": 1, "sources": 1, "store": 1, "notifiers": 1, "simulate": 1, "settings": 1,
    "plots": 2, "pages": 2,  # the words in a picture are messages' words, and a page's numbers are written as theirs
    "rollups": 2, "redaction": 2,
    "metrics": 3, "pipeline": 3,
    "backtest": 4, "catalogue": 4,
    "wiring": 5,
    "calm": 6, "detection": 6, "rootcause": 6, "doctor": 6, "runner": 6, "studies": 6,
    "console": 7, "duty": 7, "drafting": 7,
    "__main__": 8,
}  # fmt: skip
PURE = {"model", "detectors", "episodes", "incidents", "slices", "messages", "plots", "pages", "metrics", "pipeline", "backtest"}
DOORS = {
    "occasions",
    "catalogue",
    "drafting",
    "sources",
    "rollups",
    "store",
    "notifiers",
    "simulate",
    "settings",
    "wiring",
    "doctor",
    "environment",
    "runner",
    "console",
    "duty",
    "studies",
    "calm",
}
WORLD = {
    "os",
    "sys",
    "io",
    "pathlib",
    "socket",
    "requests",
    "sqlite3",
    "subprocess",
    "time",
    "chdb",
    "pandahouse",
    "urllib",
    "shutil",
    "tempfile",
}
HARMLESS = {"io", "urllib.parse"}  # bytes in memory, text to text
MODULES = sorted((ROOT / "alerting").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def room(path):
    return path.relative_to(ROOT / "alerting").parts[0].removesuffix(".py")


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names] if node.module == "alerting" else [node.module]
            yield from names


@pytest.mark.parametrize("path", [m for m in MODULES if m.parent != ROOT / "alerting" or m.stem != "__init__"], ids=str)
def test_imports_go_one_way(path):
    here = room(path)
    assert here in ROOMS, f"{here} is a new room: give it a place in the house (this test)"
    for name in imported(ast.parse(path.read_text())):
        if name.startswith("alerting."):
            there = name.split(".")[1]
            assert there == here or ROOMS[there] < ROOMS[here], f"{here} imports {there}"
            assert not (here in PURE and there in DOORS), f"{here} is pure and imports {there}"
        assert not (here in PURE and name.split(".")[0] in WORLD and name not in HARMLESS), f"{here} is pure and imports {name}"


@pytest.mark.parametrize("path", [m for m in MODULES if room(m) in PURE], ids=str)
def test_the_core_never_opens_a_file_nor_asks_the_clock(path):
    calls = [ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    asked = [
        c
        for c in calls
        if c in ("open", "input", "print") or re.search(r"\.(now|today|utcnow|read_csv|read_parquet|savefig|environ)$", c)
    ]
    allowed = ["datetime.now"] if path.match("pipeline/timing.py") else []
    assert asked == allowed


def test_an_import_of_the_core_does_no_work_and_stays_light():
    code = "import sys, alerting.pipeline, alerting.metrics; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert {"matplotlib", "seaborn", "scipy", "requests", "chdb", "papermill", "sqlite3"}.isdisjoint(loaded)


def cells(path, kind):
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_carry_no_outputs(path):
    assert all(not c["outputs"] and c["execution_count"] is None for c in cells(path, "code")), f"run: make strip ({path.name})"


def test_the_alert_notebook_has_no_logic():
    for cell in cells(ROOT / "notebooks" / "alert.ipynb", "code"):
        source = "".join(cell["source"])
        nodes = {type(n).__name__ for n in ast.walk(ast.parse(source))}
        assert nodes.isdisjoint({"FunctionDef", "ClassDef", "Try", "For", "While", "If", "IfExp"}), source
        assert len(source.splitlines()) <= 6, source


def test_nothing_speaks_of_a_machine():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")
    needs(any(tracked), "not a git checkout")
    found = []
    for name in filter(None, tracked):
        path = ROOT / name
        if path.is_file() and path.suffix not in (".png",) and name != "tests/test_structure.py":
            text = path.read_text(encoding="utf-8", errors="replace")
            found += [
                f"{name}: {m}" for m in re.findall(r"/(?:root|work|farm)/[\w.-]+|pypi\.org\S*|files\.pythonhosted\S*", text)
            ]
    assert found == []
