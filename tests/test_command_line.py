"""The command line `python -m alerting ...`: output, errors and exit codes."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.trees import copy_parts

ROOT = Path(__file__).resolve().parent.parent


def call(*words, **environ):
    env = {"PATH": "/usr/bin:/bin", **{f"ALERTING_{name}": text for name, text in environ.items()}}
    done = subprocess.run(
        [sys.executable, "-m", "alerting", *words], cwd=ROOT, env=env, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rehearse", "yesterday"], "at='yesterday' is not a time: write it as 2026-11-20T12:15Z"),
        (["rehearse", "2026-11-20T12:15"], "has no time zone: add Z"),
        (["run-alerts", "--at", "2126-11-20T12:15Z"], "lies in the future"),
    ],
)
def test_a_moment_that_is_none_is_refused_before_anything_runs(words, said, tmp_path):
    code, out, err = call(*words, DATA=str(tmp_path / "data"), REPORTS=str(tmp_path / "reports"))
    assert (code, out) == (2, "")
    assert said in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    ["backtest --days 0", "backtest --days -3", "budget --weeks 0", "labels --weeks 0", "rehearse --days -4 2026-11-20T12:15Z"],
)
def test_a_length_that_is_none_is_refused_before_anything_runs(words, tmp_path):
    code, out, err = call(*words.split(), DATA=str(tmp_path / "data"), REPORTS=str(tmp_path / "reports"))
    assert (code, out) == (2, "")
    assert "is not in the range" in err
    assert list(tmp_path.iterdir()) == []


def test_a_replay_of_a_time_without_data_is_refused(tmp_path):
    rows = "".join(f"views,2026-11-{day:02}T00:00Z,{day}\n" for day in range(1, 29))
    (tmp_path / "kpis.csv").write_text(f"series,ts,value\n{rows}")
    given = {"SOURCE": str(tmp_path / "kpis.csv"), "DATA": str(tmp_path / "data")}
    code, out, err = call("backtest", "--days", "2", "--until", "2020-01-01T00:00Z", **given)
    assert (code, out) == (2, "")
    assert "error: there is nothing to study from" in err


@pytest.mark.parametrize("words", ["", "status", "create --users uniqCombined", "backfill --days 90", "drop --stale"])
def test_rollup_names_the_page_that_takes_its_place(words):
    said = "error: `rollup` makes no tables any more: docs/scale.md has SQL that takes its place\n"
    assert call("rollup", *words.split()) == (2, "", said)


def test_settings_of_rollups_are_ignored_with_a_note(tmp_path):
    given = {"ROLLUPS": "on", "ROLLUP_USER": "analyst", "ROLLUP_PASSWORD_FILE": "/no/such/file", "DATA": str(tmp_path)}
    code, out, err = call("silences", **given)
    assert code == 0
    assert err == (
        "note: ALERTING_ROLLUPS, ALERTING_ROLLUP_PASSWORD_FILE, ALERTING_ROLLUP_USER: ignored, the raw tables are read. "
        "docs/scale.md has the SQL that takes the place of rollups\n"
    )
    assert call("silences", DATA=str(tmp_path)) == (code, out, "")


@pytest.mark.parametrize("words", [["bench-detection", "--data", "d", "--out", "o"], ["bench-rootcause", "--data", "d"]])
def test_a_bench_without_a_checkout_is_refused(words, tmp_path):
    """Only the package and click are there; -S, since the environments of a checkout know its folder."""
    (tmp_path / "alerting").symlink_to(ROOT / "alerting")
    (tmp_path / "click").symlink_to(Path(importlib.util.find_spec("click").origin).parent)
    done = subprocess.run(
        [sys.executable, "-S", "-m", "alerting", *words], cwd=tmp_path, env={}, capture_output=True, text=True, timeout=60
    )
    error = "error: the benches are not installed with the package: run this in the folder of a checkout\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", error)


@pytest.mark.parametrize("words", [[], ["new-metric", "views", "--sql", "-"], ["run-alerts"]], ids=" ".join)
def test_a_python_without_the_packages_is_told_which_one_has_them(words, tmp_path):
    """-S leaves only the standard library, as in a system's Python; and no environment was made."""
    copy_parts(tmp_path / "checkout", "alerting")
    done = subprocess.run(
        [sys.executable, "-S", "-m", "alerting", *words],
        cwd=tmp_path / "checkout",
        env={},
        capture_output=True,
        text=True,
        timeout=60,
    )
    error = f"error: {sys.executable} lacks the packages: use .venv/bin/python instead, which `make env` makes\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", error)


@pytest.mark.parametrize("words", [[], ["settings"], ["rollup"]], ids=" ".join)
def test_a_python_without_the_packages_runs_the_environment_that_was_made(words):
    if not (ROOT / ".venv" / "bin" / "python").exists():
        pytest.skip("there is no .venv: make env makes it")
    done = subprocess.run(
        [sys.executable, "-S", "-m", "alerting", *words], cwd=ROOT, env={}, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == call(*words)


@pytest.mark.parametrize("words", [["incident", "--seconds", "9", "a", "b"], ["notebooks", "2.2-incident"]], ids=" ".join)
def test_a_command_that_executes_notebooks_runs_with_their_environment(words, tmp_path):
    """A run's environment does not have their packages. A stand-in for the lab's Python says with what it was started."""
    error = "error: the packages of the notebooks are not installed: run `make notebooks` once, then this again\n"
    assert call(*words, DATA=str(tmp_path), REPORTS=str(tmp_path)) == (2, "", error)
    lab = tmp_path / "python"
    lab.write_text('#!/bin/sh\necho "$@"\n')
    lab.chmod(0o755)
    code = f"import pathlib, alerting.__main__ as it; it.LAB = pathlib.Path({str(lab)!r}); it.main({words!r})"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"-m alerting {' '.join(words)}\n", "")


@pytest.mark.parametrize("encoding", ["ascii", "cp1251", "latin-1", "utf-8"])
def test_what_a_terminal_cannot_show_is_replaced(encoding, tmp_path):
    """Also in errors, and in what was stored by another terminal."""

    def printed(*words, spoken=encoding, code=0):
        env = {"PATH": "/usr/bin:/bin", "ALERTING_DATA": str(tmp_path), "LANG": "C.UTF-8", "PYTHONIOENCODING": spoken}
        done = subprocess.run([sys.executable, "-m", "alerting", *words], cwd=ROOT, env=env, capture_output=True, timeout=60)
        assert b"Traceback" not in done.stderr
        assert done.returncode == code, done.stderr
        assert done.stdout or done.stderr
        return done.stdout

    silence = ("silence", "all", "--for", "2h", "--why", "релиз ✅")
    assert "релиз ✅".encode() in printed(*silence, spoken="utf-8")
    printed(*silence)
    assert [line[:2] for line in printed("silences").splitlines()] == [b"1:", b"2:"]
    printed("settings")
    printed("silence", "ctr✅", "--for", "2h", code=2)


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [("ascii", "-11 % - 745-2,311 ?"), ("latin-1", "-11 % · 745-2,311 ?"), ("utf-8", "−11 % · 745–2,311 ✅")],
)
def test_a_minus_stays_one_in_any_terminal(encoding, printed):
    code = "from alerting.__main__ import *; replace_what_cannot_be_printed(); print('−11 % · 745–2,311 ✅')"
    env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, timeout=60, check=True)
    assert done.stdout.decode(encoding).rstrip() == printed


def test_a_closed_terminal_ends_no_command(tmp_path):
    env = {"PATH": "/usr/bin:/bin", "ALERTING_DATA": str(tmp_path)}
    command = f"exec {shlex.quote(sys.executable)} -m alerting silences >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], cwd=ROOT, env=env, timeout=60, check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["nonsense"], "No such command 'nonsense'."),
        (["silence"], "Missing argument 'METRIC'."),
        (["silence", "views", "--monthly", "1"], "No such option '--monthly'."),
        (["unsilence", "one"], "Invalid value for 'NUMBER': 'one' is not a valid integer."),
        (["status", "--all"], "No such option"),
        (["status", "now"], "Got unexpected extra argument"),
    ],
)
def test_a_wrong_command_is_answered_with_its_usage(words, error):
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    usage, line = err.splitlines()
    assert usage.startswith("Usage: python -m alerting ")
    assert line.startswith(f"error: {error}")


def test_a_broken_pipe_is_no_traceback():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as out:
        command = [sys.executable, "-m", "alerting", "settings"]
        done = subprocess.run(command, cwd=ROOT, env={}, stdout=out, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_wrong_setting_is_one_line_and_no_traceback():
    code, _, err = call("run-alerts", ZONE="Mars", LANGUAGE="xx")
    assert code == 2
    assert err.startswith("error: ALERTING_")
    assert "Traceback" not in err


def test_settings_are_listed_with_their_defaults():
    code, out, _ = call("settings")
    assert code == 0
    assert "ALERTING_TELEGRAM_URL" in out
    assert all(line.startswith("ALERTING_") for line in out.splitlines())


def test_without_a_command_the_commands_are_listed():
    code, out, err = call()
    assert (code, err) == (0, "")
    assert out == call("--help")[1] == call("-h")[1]
    commands = dict(re.findall(r"^  ([a-z-]+) +(.+)$", out.split("Commands:")[1], re.MULTILINE))
    assert list(commands)[:3] == ["run-alerts", "rehearse", "backtest"], "the most used ones come first"
    assert "rollup" not in commands
    assert [name for name, text in commands.items() if not text.endswith(".") or text.endswith("...")] == []
    named = [line.split()[1] for line in (ROOT / "Makefile").read_text().splitlines() if "@$(RUN)" in line]
    assert named
    assert set(named) <= set(commands)
