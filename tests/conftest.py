"""Fixtures for all tests. Servers are real: the installed ClickHouse, a local Bot API server over HTTP."""

import gc
import os
import shutil
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import settings

from tests import kinds
from tests.pasts import END

SERVERS = ("clickhouse", "http", "botapi", "mail")  # modules with a fixture each
pytest_plugins = ["tests.servers", "tests.source_helpers", *(f"tests.servers.{name}" for name in SERVERS)]

ROOT = Path(__file__).resolve().parent.parent
settings.register_profile("busy", deadline=None)  # an example of 0.2 s says that the machine is busy
settings.load_profile("busy")


def pytest_configure(config):
    """A shell's background job ignores SIGINT, and so would every process that a test starts and interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.addaudithook(_no_process_in_a_fast_test)


def pytest_ignore_collect(collection_path, config):
    """With `-m dates`, import only the modules that have such tests: CI does that three times."""
    unneeded = collection_path.name.startswith("test_") and collection_path.stem not in kinds.CLOCK
    return True if unneeded and config.getoption("markexpr") == "dates" else None


def pytest_collection_modifyitems(items):
    kinds.mark(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from tests.scopes import Scopes

    return Scopes(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Imports make no garbage, and what they have made stays: leave it out of each later search for garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    kinds.running = item
    try:
        return (yield)
    finally:
        kinds.running = None


def _no_process_in_a_fast_test(event, arguments):
    """Keep the marker honest: what it was found to leave alone is not there to be used."""
    if event in ("subprocess.Popen", "os.posix_spawn", "os.fork") and kinds.running and kinds.running.get_closest_marker("fast"):
        raise AssertionError(f"a test marked as fast starts a process ({event} {arguments[0]}): see tests/kinds.py")


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch):
    """Nobody's ALERTING_ variables decide a test."""
    for name in list(os.environ):
        if name.startswith("ALERTING_"):
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def app(tmp_path_factory):
    """A data folder with a small sample app, born at END; to be read only."""
    from alerting.sample.folder import simulate_app

    folder = tmp_path_factory.mktemp("sample")
    simulate_app(folder / "app", END, days=30, users=2_000, events_per_day=30_000)
    return folder


@pytest.fixture(scope="session")
def settle(tmp_path_factory):
    """Return a function that puts an app of the shipped length, but with few users, into a data folder. It was born just now.

    A command that finds no app there makes the shipped one, which takes much longer; so does each query of it.
    """
    from alerting.sample.folder import simulate_app

    made = tmp_path_factory.mktemp("settled") / "app"
    simulate_app(made, datetime.now(UTC), users=2_000, events_per_day=30_000)

    def settle(data):
        # Links are enough: a file of the app is never written to, another one takes its place.
        shutil.copytree(made, data / "app", ignore=shutil.ignore_patterns(".lock"), copy_function=os.link)

    return settle


@pytest.fixture
def sample(app):
    """Connections to the sample app, which stands still at END: what one that lives on holds depends on date and hour."""
    from alerting import connections
    from alerting.settings import load_settings

    return connections.connect(dry_run=True, settings=load_settings({"ALERTING_DATA": str(app)}), now=END)


@pytest.fixture(scope="session")
def kpis():
    """Folder of real labelled KPIs, where there is one; it is never part of the repository."""
    folder = Path(os.environ.get("KPI_DATA", ROOT.parent / "shared" / "data" / "dev"))
    if not (folder / "series.csv").is_file():
        pytest.skip(f"no labelled KPIs at {folder}: set KPI_DATA to a folder with series.csv and parquet files")
    return folder
