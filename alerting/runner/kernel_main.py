"""The program of the kernel: ipykernel, and beside it a thread that imports what the first cells need.

Meanwhile the runner imports papermill; a kernel that waited for its first cell would lose that time. It is started as a file,
not as a module: importing `alerting.runner` would load what only the runner needs.
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
    """Start the imports in a thread, then the kernel."""
    sys.path.insert(0, str(ROOT))
    gc.disable()  # imports allocate a lot and leave nothing to collect
    Thread(target=_import, daemon=True).start()
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()


def _import() -> None:
    """Import what the cells need, by the source that is set."""
    with suppress(Exception):  # a cell that fails in the same way shows it
        from alerting.settings import load_settings

        source = load_settings().source
        if source == "embedded":
            from alerting.sources.embedded import start_ahead

            start_ahead()
        http = source.startswith("http")
        with without(*["pyarrow"] * (http or source == "embedded")):  # pandas would load it for texts; only a file needs it
            import_module("pandas")
        for name in ("pipeline", "connections", *["sources.clickhouse"] * http, "charts"):
            import_module(f"alerting.{name}")
    gc.freeze()
    gc.enable()


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Make imports of the modules `names` fail inside the block, except of those already imported."""
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
