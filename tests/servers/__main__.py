"""Serve until SIGTERM or SIGINT: `python -m tests.servers clickhouse FOLDER` prints its URL; `... botapi PORTFILE LOGFILE`."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
from pathlib import Path

from tests.servers.botapi import BotApi
from tests.servers.clickhouse import running_clickhouse


def clickhouse(stop: threading.Event, folder: str = "") -> None:
    """A server over this folder, which is made where it is not there."""
    path = Path(folder or tempfile.mkdtemp())
    path.mkdir(parents=True, exist_ok=True)
    with running_clickhouse(path.resolve()) as server:
        print(server.url, flush=True)
        stop.wait()


def botapi(stop: threading.Event, portfile: str, logfile: str) -> None:
    with BotApi(Path(logfile)) as api:
        fresh = Path(f"{portfile}.new")
        fresh.write_text(str(api.port), encoding="ascii")
        os.replace(fresh, portfile)  # whoever waits for the file never reads half of it
        stop.wait()


def main(name: str, *arguments: str) -> None:
    stop = threading.Event()
    for ending in (signal.SIGTERM, signal.SIGINT):
        signal.signal(ending, lambda *_: stop.set())
    {"clickhouse": clickhouse, "botapi": botapi}[name](stop, *arguments)


if __name__ == "__main__":
    main(*sys.argv[1:])
