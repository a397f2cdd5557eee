"""Fixtures for all tests. Servers are real: a ClickHouse of the machine's package, a local Bot API over HTTP."""

import os
from pathlib import Path

import pytest

pytest_plugins = ["tests.servers", "tests.botapi", "tests.mailserver"]

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch):
    """Nobody's ALERTING_ variables decide a test."""
    for name in list(os.environ):
        if name.startswith("ALERTING_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def kpis():
    """Folder of real labelled KPIs, where there is one; it is never part of the repository."""
    folder = Path(os.environ.get("KPI_DATA", ROOT.parent / "shared" / "data" / "dev"))
    if not (folder / "series.csv").is_file():
        pytest.skip(f"no labelled KPIs at {folder}: set KPI_DATA to a folder with series.csv and parquet files")
    return folder
