"""The benchmarks run and print their figures. Speed itself is not tested."""

import ast
import json
import re
import subprocess
import sys

import pytest

from benchmarks import shape
from benchmarks.figures import Figure, exponent
from benchmarks.shape import body_lines, names_of_package, table_of_a_fall, uses_of_private_functions
from benchmarks.world import copy_of_the_house
from tests.test_structure import ROOT


def bench(*arguments):
    return subprocess.run([sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_only_prints_the_figures_of_one_part_and_saves_them(tmp_path):
    done = bench("--only", "chosen", "--out", str(tmp_path))
    assert done.returncode in (0, 1), done.stderr
    machine, *lines = done.stdout.splitlines()
    assert re.search(r"\d+ cores, Python 3", machine)
    assert len(lines) == 2
    assert all(re.match(r"(ok |BAD) the .* asked ", line) for line in lines)
    assert len(json.loads((tmp_path / "speed.json").read_text())["figures"]) == 2


def test_a_part_that_is_not_there_is_refused():
    done = bench("--only", "floor,everything")
    assert done.returncode == 2
    assert "no part everything: there are floor, course" in done.stderr


@pytest.mark.parametrize(
    ("figure", "word"),
    [
        (Figure("a", 1.0, 1.5), "ok "),
        (Figure("a", 1.6, 1.5), "BAD"),
        (Figure("a", 1.6), "ok "),
        (Figure("a", 1.0, None, "", 2.0), "BAD"),
        (Figure("a", 3.0, None, "", 2.0), "ok "),
    ],
)
def test_a_figure_holds_within_what_was_asked(figure, word):
    assert figure.line().startswith(word)


def test_the_exponent_is_the_slope_of_the_logarithms():
    assert exponent([1, 10, 100], [2, 20, 200]) == pytest.approx(1)
    assert exponent([1, 4, 16], [3, 6, 12]) == pytest.approx(0.5)


def test_a_large_value_is_written_in_full():
    assert "23,723" in Figure("lines", 23_723).line()


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ("def f():\n    return 1", 1),
        ('def f():\n    """Said."""\n\n    # why\n    x = 1\n\n    return x', 3),
        ('def f():\n    """Said."""', 0),
    ],
)
def test_a_body_starts_after_the_docstring(source, lines):
    assert body_lines(ast.parse(source).body[0]) == lines


def test_a_private_function_is_used_as_often_as_its_module_refers_to_it():
    source = """
def _twice(): return _once() + _once.__name__
def _once(): return None
class A:
    def _own(self): return self._own() or _twice()
    def __init__(self): pass
    def _repr_html_(self): return ""
"""
    assert uses_of_private_functions(ast.parse(source)) == [("_twice", 1), ("_once", 2), ("_own", 1)]


def test_names_of_the_package_are_those_imported_or_reached_from_a_module():
    source = """
import pandas as pd
from alerting import metrics as m
from alerting.metrics import METRICS
m.RULE.history, METRICS.sort, pd.DataFrame
"""
    names = {"alerting.metrics", "alerting.metrics.METRICS", "alerting.metrics.RULE"}
    assert names_of_package([{"source": [source]}]) == names


def test_the_shape_of_the_files_is_counted():
    figures = {figure.name: figure.value for figure in shape.static()}
    assert figures["modules"] > figures["modules without __init__"] > 0
    assert figures["functions"] > figures["private functions"] > figures["private functions used once"] > 0
    assert all(value >= 0 for value in figures.values())


def test_a_traced_run_tells_what_it_called(tmp_path):
    house = copy_of_the_house(tmp_path / "house")
    found = shape.trace(house, tmp_path / "plain", str(table_of_a_fall(tmp_path / "fall.parquet")))
    called, texts = ({tuple(function) for function in found[name]} for name in ("called", "texts"))
    assert texts < called
    assert {tuple(function) for function in found["chain"]} <= called
    assert "compose" in {name for _, name in texts}
    assert not [name for _, name in called if re.search(r"<(?!locals)", name)]
