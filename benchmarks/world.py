"""The commands that are timed: `make run-alerts` over an app of its own, papermill on an empty notebook, the course script."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
PYTHON = ROOT / ".venv" / "bin" / "python"
SEABORN = ROOT / ".venv-lab" / "bin" / "python"  # a run has none
STEP = timedelta(minutes=15)
EMPTY = {"cells": [], "metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}
SPARE = 24  # buckets before now in which runs stand: all of them within the hours that every run reads again


class World:
    """An app's folder, and a clock that goes on by a bucket with every run."""

    def __init__(self, folder: Path, now: datetime | None = None, root: Path = ROOT, **shape: Any) -> None:
        from alerting.sample.folder import simulate_app

        self.folder, self.root, self.now = folder, root, now or datetime.now(UTC)
        self.at = self.now - SPARE * STEP
        self.more: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "empty.ipynb").write_text(json.dumps(EMPTY), encoding="utf-8")
        simulate_app(self.app, self.now, **{"incidents": "none", **shape})

    @property
    def app(self) -> Path:
        return self.folder / "data" / "app"

    @property
    def environ(self) -> dict[str, str]:
        return {**environ_of(self.folder), "ALERTING_SOURCE": "embedded", **self.more}

    def quiet(self) -> None:
        """A run of the next bucket."""
        self.at += STEP
        self.again()

    def again(self) -> None:
        """A run at the moment where the last one stood."""
        at = f"ARGS=--at {self.at:%Y-%m-%dT%H:%MZ}"
        self._call("make", "--no-print-directory", "-C", str(self.root), "run-alerts", at)

    def memory(self) -> list[Path]:
        """The files of what runs remember."""
        return sorted((self.folder / "data").glob("alerts.sqlite*"))

    def forget(self) -> None:
        """As if there had been no run."""
        for path in self.memory():
            path.unlink()

    def empty(self) -> None:
        self._call(str(PYTHON), "-m", "papermill", "--no-progress-bar", "--kernel", "python3", "empty.ipynb", "out.ipynb")

    def course(self, every: bool = False) -> None:
        """The course script; `every`: as if all six metrics were off."""
        script = ROOT / "benchmarks" / "course_script.py"
        self._call(str(SEABORN), str(script), str(self.app), f"{self.at:%Y-%m-%dT%H:%M+00:00}", EVERY_METRIC="1" if every else "")

    def halved(self, bucket: datetime) -> None:
        """Take most people, and half of the likes of the others, out of one bucket: all six metrics fall."""
        for path in self.app.glob(f"*/{bucket:%Y-%m-%d}.parquet"):
            rows = pd.read_parquet(path)
            inside = (rows["time"] >= bucket) & (rows["time"] < bucket + STEP)
            gone = inside & (rows["user_id"] % 10 < 6)
            if "action" in rows:
                gone |= inside & (rows["action"] == "like") & (rows["user_id"] % 2 == 0)
            rows[~gone].to_parquet(path, index=False)

    def record(self) -> dict[str, Any]:
        """The newest run's notebook."""
        newest = max((self.folder / "reports" / "runs").glob("*/*.ipynb"), key=lambda path: path.stat().st_mtime)
        found: dict[str, Any] = json.loads(newest.read_text(encoding="utf-8"))
        return found

    def _call(self, *command: str, **environ: str) -> None:
        env = {**self.environ, **environ}
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def environ_of(folder: Path) -> dict[str, str]:
    """The environment of a run that keeps everything in `folder`, without the settings that hold here."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("ALERTING_", "PYTEST"))}
    return {**clean, "ALERTING_DATA": str(folder / "data"), "ALERTING_REPORTS": str(folder / "reports")}


def copy_of_the_house(folder: Path) -> Path:
    """The package, its notebooks and its Makefile in another folder, to be edited there; it runs in the same environment."""
    shutil.copytree(ROOT / "alerting", folder / "alerting", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(folder / "alerting")], check=True)
    return folder
