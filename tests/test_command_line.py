"""`python -m alerting ...` as a person at the keyboard meets it."""

import subprocess
import sys
from pathlib import Path

import pytest

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
    """Only the package is there; -S, since the environments of a checkout know its folder."""
    (tmp_path / "alerting").symlink_to(ROOT / "alerting")
    done = subprocess.run(
        [sys.executable, "-S", "-m", "alerting", *words], cwd=tmp_path, env={}, capture_output=True, text=True, timeout=60
    )
    said = "error: the benches are not installed with the package: run this in the folder of a checkout\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


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


def test_help_names_every_command_of_the_makefile():
    made = (ROOT / "Makefile").read_text()
    code, out, _ = call("--help")
    assert code == 0
    words = {word for line in made.splitlines() if "$(RUN)" in line for word in line.split()[1:2]}
    assert words
    assert all(f"    {word} " in out or f"    {word}\n" in out for word in words), words
