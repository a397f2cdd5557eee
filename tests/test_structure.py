"""The structure of the repository: imports go one way, the core is pure, notebooks are thin, no file names a machine."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from alerting.model.protocols import HistoryCache, Notifier, Source, Store
from alerting.notifiers.base import Console, RoutingNotifier
from alerting.sources.cache import CachedSource
from alerting.sources.clickhouse import ClickHouseSource
from alerting.sources.embedded import EmbeddedSource
from alerting.sources.table import TableSource
from alerting.store.history import HistoryReader
from alerting.store.state import StateStore
from tests import kinds
from tests.servers import needs

ROOT = Path(__file__).resolve().parent.parent
ROOMS = {
    "model": 0, "environment": 0, "deadline": 0, "http_client": 0.5, "metric_values": 0.5,
    "env_file": 0.5, "settings": 0.8,
    "detectors": 1, "incidents": 1, "rootcause": 1, "messages": 1, "event_calendar": 1,
    "sources": 1, "store": 1, "notifiers": 1, "sample": 1, "redaction": 1,
    "charts": 2,  # the words in a picture are messages' words
    "metrics": 3, "pipeline": 3,
    "backtest": 4, "catalogue": 4,
    "connections": 5,
    "failure_notice": 6, "reporting": 6, "studies": 6,
    "runner": 7,
    "cli": 8,
    "__main__": 9,
}  # fmt: skip
PURE = {
    "model", "detectors", "incidents", "rootcause", "messages", "charts", "metrics", "metric_values", "pipeline", "backtest",
    *(f"reporting/{name}" for name in ("run_page", "incident_page", "index_page", "metric_page", "sanitize", "failure", "page")),
    "reporting/words",
}  # fmt: skip
DOORS = {
    "deadline", "http_client", "event_calendar", "catalogue", "sources", "store", "notifiers", "sample", "settings",
    "env_file", "connections", "failure_notice", "environment", "runner", "reporting", "studies", "cli",
}  # fmt: skip
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
ENGLISH = {"is", "one", "room", "sure", "the"}  # after "make" in a message that names no target
MODULES = sorted((ROOT / "alerting").rglob("*.py"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def room(path):
    return path.relative_to(ROOT / "alerting").parts[0].removesuffix(".py")


def is_pure(path):
    return room(path) in PURE or path.relative_to(ROOT / "alerting").with_suffix("").as_posix() in PURE


def imported(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                module = f"{node.module}.{alias.name}"
                yield module if (ROOT / f"{module.replace('.', '/')}.py").is_file() or node.module == "alerting" else node.module


@pytest.mark.parametrize("path", [m for m in MODULES if m.parent != ROOT / "alerting" or m.stem != "__init__"], ids=str)
def test_imports_go_one_way(path):
    here = room(path)
    assert here in ROOMS, f"{here} is a new room: give it a place in the house (this test)"
    for name in imported(ast.parse(path.read_text())):
        assert here == "__main__" or name.split(".")[0] != "benchmarks", f"{here} imports {name}, which is not installed with it"
        if name.startswith("alerting."):
            there = name.split(".")[1]
            if f"{there}/{name.split('.')[-1]}" in PURE:
                continue
            assert there == here or ROOMS[there] < ROOMS[here], f"{here} imports {there}"
            assert not (is_pure(path) and there in DOORS), f"{here} is pure and imports {there}"
        assert not (is_pure(path) and name.split(".")[0] in WORLD and name not in HARMLESS), f"{here} is pure and imports {name}"


@pytest.mark.parametrize("path", [m for m in MODULES if is_pure(m)], ids=str)
def test_the_core_never_opens_a_file_nor_asks_the_clock(path):
    calls = [ast.unparse(n.func) for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    asked = [
        c
        for c in calls
        if c in ("open", "input", "print") or re.search(r"\.(now|today|utcnow|read_csv|read_parquet|savefig|environ)$", c)
    ]
    allowed = {"context": ["datetime.now", "ctx.source.now"]}.get(path.stem if path.match("pipeline/*.py") else "", [])
    assert asked == allowed


def test_an_import_of_the_core_does_no_work_and_stays_light():
    code = "import sys, alerting.pipeline, alerting.metrics; print(*{name.split('.')[0] for name in sys.modules})"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert {"matplotlib", "seaborn", "scipy", "requests", "chdb", "papermill", "sqlite3"}.isdisjoint(loaded)


def cells(path, kind):
    return [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == kind]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_carry_no_outputs(path):
    clear = f".venv-lab/bin/python -m nbconvert --clear-output --inplace notebooks/{path.name}"
    assert all(not c["outputs"] and c["execution_count"] is None for c in cells(path, "code")), f"run: {clear}"


def test_the_alert_notebook_has_no_logic():
    for cell in cells(ROOT / "notebooks" / "alert.ipynb", "code"):
        source = "".join(cell["source"])
        nodes = {type(n).__name__ for n in ast.walk(ast.parse(source))}
        assert nodes.isdisjoint({"FunctionDef", "ClassDef", "Try", "For", "While", "If", "IfExp"}), source
        assert len(source.splitlines()) <= 6, source


def strings(text):
    """The string literals of a module, without its docstrings."""
    tree = ast.parse(text)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    found = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in prose)
    return [node.value for node in found if isinstance(node.value, str)]


def make_targets(path):
    """The targets that a text names: of Python in its strings and in backquotes, elsewhere as code or on a line of its own."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        said = [*strings(text), *re.findall(r"`make [^`]*`", text)]
        return {name for piece in said for name in re.findall(r"\bmake ([a-z][a-z-]*)", piece)} - ENGLISH
    return {*re.findall(r"(?:`|^\s*|\$ )make ([a-z][a-z-]*)", text, re.MULTILINE)}


def test_every_make_target_that_a_text_names_exists():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split("\n")
    needs(any(tracked), "not a git checkout")
    targets = {*re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)}
    texts = [ROOT / name for name in tracked if name.endswith((".py", ".md", ".ipynb", ".yml", ".toml", ".example"))]
    named = {path.relative_to(ROOT).as_posix(): make_targets(path) for path in texts if path.is_file()}
    assert {"run-alerts", "doctor", "lab"} <= set().union(*named.values())
    assert {name: absent for name, found in named.items() if (absent := found - targets)} == {}


def test_no_file_names_a_machine():
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


ASKED = re.compile(r"\b(?:getattr|hasattr)\(|# type: ignore")
REASONS = {  # module -> how often it asks an object what it has, or hides a type from mypy; and why no declaration will do
    "environment.py": (1, "a private attribute of CPython, which another Python need not have"),
    "http_client.py": (1, "urllib3's cause, inside an error of requests"),
    "notifiers/email.py": (3, "smtplib's errors do not all have a code, and its way to a socket is a private method"),
    "runner/kernel_main.py": (1, "None in sys.modules makes an import fail, which typeshed does not know"),
    "store/database.py": (1, "sqlite3's errors have a code only where SQLite itself has failed"),
    "store/codec.py": (2, "a table of columns: the names of the fields that are stored"),
}


def test_objects_are_not_asked_what_they_can_do():
    """An ability is declared by a protocol in `model`, with an answer for those that have nothing."""
    found = {str(path.relative_to(ROOT / "alerting")): len(ASKED.findall(path.read_text())) for path in MODULES}
    more = {name: count for name, count in found.items() if count > REASONS.get(name, (0, ""))[0]}
    assert not more, "declare it in alerting/model/protocols.py, or give a reason in REASONS (this test)"


def members(protocol):
    return {name for base in protocol.__mro__ if base.__module__ == protocol.__module__ for name in vars(base) if name[0] != "_"}


def has(adapter, name):
    """Return whether the adapter has the name as a method, a property or a field, also from a base that is no protocol."""
    classes = [
        c for c in adapter.__mro__ if c.__module__.startswith("alerting.") and not c.__module__.startswith("alerting.model")
    ]
    set_in_init = {n for c in classes if "__init__" in vars(c) for n in c.__init__.__code__.co_names}
    return any(name in vars(c) or name in vars(c).get("__annotations__", {}) for c in classes) or name in set_in_init


@pytest.mark.parametrize(
    ("protocol", "adapters"),
    [
        (Source, [ClickHouseSource, EmbeddedSource, TableSource, CachedSource]),
        (Notifier, [Console, RoutingNotifier]),  # of the destinations: test_destination_contract
        (Store, [StateStore]),
        (HistoryCache, [StateStore, HistoryReader]),  # the last is read-only
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_adapters_implement_all_that_their_protocol_declares(protocol, adapters):
    assert len(members(protocol)) >= 4
    absent = [f"{adapter.__name__}.{name}" for adapter in adapters for name in members(protocol) if not has(adapter, name)]
    assert absent == []


def test_the_lists_of_long_tests_name_what_is_there():
    """A name that is gone would leave a long test among the fast ones, or at the end of a run."""
    files = {path.stem: path.read_text() for path in (ROOT / "tests").glob("test_*.py")}
    there = {*files, *(name for text in files.values() for name in re.findall(r"(?m)^(?:def )?(\w+)", text))}
    assert sorted({*kinds.LONG, *kinds.ALONE, *kinds.SECONDS, *kinds.CLOCK} - there) == []
