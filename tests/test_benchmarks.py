"""The benches run and say what they measure; how fast anything is, is no test."""

import json
import re
import subprocess
import sys

import pytest

from benchmarks.figures import Figure, exponent
from tests.test_structure import ROOT


def bench(*arguments):
    return subprocess.run([sys.executable, "-m", "benchmarks", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_some_of_them_in_one_table(tmp_path):
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
