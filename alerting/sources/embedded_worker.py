"""The process that runs chDB: it reads queries from a connection and writes an answer to each, until the other side is closed.

chDB's library maps 170 MB of code, cannot be stopped within a query, and ends its process if it crashes. So it runs in a separate
process, which loads nothing else that is large. `embedded` starts this file.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any

ROWS, REFUSED, ABSENT = b"rows", b"refused", b"absent"
WorkerAnswer = tuple[bytes, bytes]  # ROWS and TSVWithNamesAndTypes; REFUSED (by chDB) or ABSENT (no chDB) and the reason

SET_ZONE = "SET session_timezone = 'UTC'"  # times without a zone are UTC on every machine
CRASHES = (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGTRAP)


def main(handle: int) -> None:
    """Load chDB, then answer queries one after the other. `handle`: file descriptor of the connection."""
    connection = Connection(handle)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks: it ends this one, or goes on
    queries: SimpleQueue[str] = SimpleQueue()
    threading.Thread(target=_listen, args=(connection, queries), daemon=True).start()
    answer = _load_chdb()
    while True:
        for part in answer(queries.get()):
            connection.send_bytes(part)


def _listen(connection: Connection, queries: SimpleQueue[str]) -> None:
    """Put incoming queries into the queue. When the other side is closed, end this process, even in the middle of a query."""
    with suppress(EOFError, OSError):
        while True:
            queries.put(connection.recv_bytes().decode())
    os._exit(0)


def _load_chdb() -> Callable[[str], WorkerAnswer]:
    """Return a function that answers a query with chDB, or with the reason why chDB cannot be used."""
    os.environ["HOME"] = os.getcwd()  # an empty folder, like the working folder: chDB reads a config.xml of either
    modules: dict[str, Any] = sys.modules
    modules["pyarrow"] = None  # `connect` would load it, for a form of answer that is not used here
    try:
        import chdb

        query = chdb.connect(":memory:").query
        query(SET_ZONE)
    except ImportError as error:
        absent = f"chdb is not installed ({error}): `make env EXTRAS=app` installs it, or set ALERTING_SOURCE to your ClickHouse"
        return lambda sql: (ABSENT, absent.encode())
    except Exception as error:  # noqa: BLE001 - whatever it is, the other side raises it
        failed = f"chDB does not start ({error})"
        return lambda sql: (ABSENT, failed.encode())

    for crash in CRASHES:
        signal.signal(crash, signal.SIG_DFL)  # chDB's own handlers wait 300 s for a log that it does not have

    def answer(sql: str) -> WorkerAnswer:
        try:
            return ROWS, query(sql, "TSVWithNamesAndTypes").bytes()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other side raises it
            return REFUSED, str(error).encode()

    return answer


if __name__ == "__main__":
    main(int(sys.argv[1]))
