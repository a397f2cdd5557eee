"""The kernel's own program: ipykernel, and beside it a thread that imports what the first cells will ask for.

papermill is being imported by the runner meanwhile, and a kernel that only waits for it would lose that time. It is started by
the name of this file: `alerting.runner` would import what only the runner needs.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Thread

ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> None:
    sys.path.insert(0, str(ROOT))
    gc.disable()  # imports make much and leave nothing to collect
    Thread(target=_warm, daemon=True).start()
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()


def _warm() -> None:
    """Whatever goes wrong here goes wrong in a cell too, where it is seen."""
    try:
        _import()
    finally:
        gc.freeze()
        gc.enable()


def _import() -> None:
    with suppress(Exception):
        from alerting import settings

        source = settings.load().source
        if source == "embedded":
            from alerting.sources import child

            child.ahead()
        tables = source == "embedded" or source.startswith("http")
        with without(*["pyarrow"] * tables):  # pandas would load it for texts, of which such a run has few; a file needs it
            import_module("pandas")
        for name in ("pipeline", "wiring", "sources.clickhouse", "plots"):
            if name != "sources.clickhouse" or source.startswith("http"):
                import_module(f"alerting.{name}")


@contextmanager
def without(*names: str) -> Iterator[None]:
    """While this holds, importing those fails at once, unless they were imported before."""
    absent = [name for name in names if name not in sys.modules]
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


if __name__ == "__main__":
    main()
