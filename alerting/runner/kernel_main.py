"""The program of the kernel process: ipykernel, and a thread that imports the modules of the first cells and checks the settings.

The cells wait for the check. The runner imports papermill at the same time. The program is started as a file, not as a module,
because the import of `alerting.runner` would load modules that only the runner needs.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from threading import Event, Thread

ROOT = Path(__file__).resolve().parent.parent.parent
SETTINGS_ERROR = "settings-error"  # name of the file in TMPDIR, the kernel's private folder, that has the error's text


def main() -> None:
    """Start the thread with the imports, then the kernel."""
    sys.path.insert(0, str(ROOT))
    gc.disable()  # imports allocate many objects and leave no garbage
    checked = Event()
    Thread(target=_import, args=(checked,), daemon=True).start()
    from ipykernel.kernelapp import IPKernelApp

    app = IPKernelApp.instance()
    app.initialize()
    assert app.shell
    app.shell.events.register("pre_run_cell", lambda _: checked.wait())
    app.start()


def _import(checked: Event) -> None:
    """Import the modules that the cells need for the configured source, and check the settings. Set `checked` after that.

    End the process if a setting, the catalogue or the calendar is wrong.
    """
    with suppress(Exception), ExitStack() as stack:  # the first cell raises the same error and shows it
        stack.callback(checked.set)
        from alerting.settings import load_settings

        source = load_settings().source
        if source == "embedded":
            from alerting.sources.embedded import start_ahead

            start_ahead()
        http = source.startswith("http")
        with without(*["pyarrow"] * (http or source == "embedded")):  # only table files need it; pandas would load it for strings
            import_module("pandas")
        for name in ("pipeline", "connections"):
            import_module(f"alerting.{name}")
        _check_settings()
        checked.set()
        for name in (*["sources.clickhouse"] * http, "charts"):
            import_module(f"alerting.{name}")
    gc.freeze()
    gc.enable()


def _check_settings() -> None:
    """Check settings, catalogue and calendar. After an error, write its text to the file SETTINGS_ERROR and end the process.

    The check delays no run, because the runner imports papermill meanwhile.
    """
    from alerting.connections import check_settings
    from alerting.model.errors import SettingsError
    from alerting.settings import load_settings

    try:
        check_settings(load_settings())
    except SettingsError as error:
        Path(os.environ["TMPDIR"], SETTINGS_ERROR).write_text(str(error), encoding="utf-8", errors="backslashreplace")
        os._exit(2)


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Make the import of the modules `names` fail inside the block. Modules that are already imported stay available."""
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
