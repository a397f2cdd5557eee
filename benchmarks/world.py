"""The timed commands: `make run-alerts` over a sample app in a folder, papermill on an empty notebook, the course script."""

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
SEABORN = ROOT / ".venv-lab" / "bin" / "python"  # the environment of a run has no seaborn
STEP = timedelta(minutes=15)
EMPTY = {"cells": [], "metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}
SPARE = 24  # buckets before now for runs; all within the hours that every run reads again


class World:
    """A sample app in a folder, and a clock that advances by a bucket with every run."""

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
        """Run the next bucket."""
        self.at += STEP
        self.again()

    def again(self) -> None:
        """Run again at the moment of the last run."""
        at = f"ARGS=--at {self.at:%Y-%m-%dT%H:%MZ}"
        self._call("make", "--no-print-directory", "-C", str(self.root), "run-alerts", at)

    def memory(self) -> list[Path]:
        """Return the files of the state database and of its backup."""
        return sorted((self.folder / "data").rglob("alerts.sqlite*"))

    def forget(self) -> None:
        """Delete the state database, its backup and the records of runs, which would say that a state was lost."""
        for path in self.memory():
            path.unlink()
        shutil.rmtree(self.folder / "reports", ignore_errors=True)

    def empty(self) -> None:
        self._call(str(PYTHON), "-m", "papermill", "--no-progress-bar", "--kernel", "python3", "empty.ipynb", "out.ipynb")

    def course(self, every: bool = False) -> None:
        """Run the course script. `every`: it reports all six metrics as anomalous."""
        script = ROOT / "benchmarks" / "course_script.py"
        self._call(str(SEABORN), str(script), str(self.app), f"{self.at:%Y-%m-%dT%H:%M+00:00}", EVERY_METRIC="1" if every else "")

    def halved(self, bucket: datetime) -> None:
        """Remove most users, and half of the others' likes, from one bucket, so that all six metrics fall."""
        for path in self.app.glob(f"*/{bucket:%Y-%m-%d}.parquet"):
            rows = pd.read_parquet(path)
            inside = (rows["time"] >= bucket) & (rows["time"] < bucket + STEP)
            gone = inside & (rows["user_id"] % 10 < 6)
            if "action" in rows:
                gone |= inside & (rows["action"] == "like") & (rows["user_id"] % 2 == 0)
            rows[~gone].to_parquet(path, index=False)

    def record(self) -> dict[str, Any]:
        """Return the notebook of the newest run."""
        newest = max((self.folder / "reports" / "runs").glob("*/*.ipynb"), key=lambda path: path.stat().st_mtime)
        found: dict[str, Any] = json.loads(newest.read_text(encoding="utf-8"))
        return found

    def _call(self, *command: str, **environ: str) -> None:
        env = {**self.environ, **environ}
        done = subprocess.run(command, cwd=self.folder, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def environ_of(folder: Path) -> dict[str, str]:
    """Return the environment variables of a run with all files in `folder`, and without the settings of this process."""
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("ALERTING_", "PYTEST"))}
    return {**clean, "ALERTING_DATA": str(folder / "data"), "ALERTING_REPORTS": str(folder / "reports")}


def copy_of_the_house(folder: Path) -> Path:
    """Copy the package, its notebooks and its Makefile to a folder, to be changed there. It uses the same environment."""
    shutil.copytree(ROOT / "alerting", folder / "alerting", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "notebooks", folder / "notebooks")
    for name in ("Makefile", "requirements.txt", "requirements-app.txt", "pyproject.toml"):
        shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(folder / "alerting")], check=True)
    return folder
