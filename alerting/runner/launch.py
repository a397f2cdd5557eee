"""The kernel's own program: ipykernel, and beside it a thread that imports what the first cells will ask for.

papermill is being imported by the runner meanwhile, and a kernel that only waits for it would lose that time. It is started by
the name of this file: `alerting.runner` would import what only the runner needs.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from threading import Thread

ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> None:
    sys.path.insert(0, str(ROOT))
    Thread(target=_warm, daemon=True).start()
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()


def _warm() -> None:
    """Whatever goes wrong here goes wrong in a cell too, where it is seen."""
    with suppress(Exception):
        from alerting import settings

        source = settings.load().source
        if source == "embedded":
            from alerting.sources import child

            child.ahead()
        for name in ("pipeline", "wiring", "sources.clickhouse", "plots"):
            if name != "sources.clickhouse" or source.startswith("http"):
                import_module(f"alerting.{name}")


if __name__ == "__main__":
    main()
