"""The process that chDB runs in: queries come in on stdin, an answer to each goes out on stdout, until stdin ends.

chDB's library maps 170 MB of code, cannot be stopped within a query, and takes its process along when it crashes. So it has
one of its own (`embedded` starts it, by the name of this file), which loads nothing else that is large.

A message, either way, is a `HEAD` and as many bytes as that says.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, BinaryIO

HEAD = struct.Struct("!cQ")  # what follows, and its length in bytes
QUERY, ROWS, REFUSED, ABSENT = b"?", b"+", b"-", b"!"
WorkerAnswer = tuple[bytes, bytes]  # ROWS and TSVWithNamesAndTypes; or REFUSED (by chDB), ABSENT (chDB itself), and why

SETTINGS = "SET session_timezone = 'UTC'"  # of times without a zone, whatever the zone of this machine
CRASHES = (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSEGV, signal.SIGTRAP)


def main() -> None:
    """Load chDB at once, then answer."""
    asking, telling = _pipes()
    asked: SimpleQueue[str] = SimpleQueue()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks: it ends this one, or goes on
    threading.Thread(target=_listen, args=(asking, asked), daemon=True).start()
    answer = _engine()
    while True:
        kind, body = answer(asked.get())
        telling.write(HEAD.pack(kind, len(body)))
        telling.write(body)
        telling.flush()


def _pipes() -> tuple[BinaryIO, BinaryIO]:
    """Both pipes, under numbers that nobody else knows: chDB finds nothing on stdin, and what it prints goes to stderr."""
    pipes = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    return pipes


def _listen(asking: BinaryIO, asked: SimpleQueue[str]) -> None:
    """Queue what is asked. Once the other side is gone, this process ends, be it in the middle of a query."""
    while head := asking.read(HEAD.size):
        asked.put(asking.read(HEAD.unpack(head)[1]).decode())
    os._exit(0)


def _engine() -> Callable[[str], WorkerAnswer]:
    """What answers a query: chDB in memory, or why it is not there."""
    os.environ["HOME"] = os.getcwd()  # an empty folder, like the working folder: chDB reads a config.xml of either
    modules: dict[str, Any] = sys.modules
    modules["pyarrow"] = None  # `connect` would load it, for a form of answer not used here
    try:
        import chdb

        query = chdb.connect(":memory:").query
        query(SETTINGS)
    except ImportError as error:
        absent = f"chdb is not installed ({error}): `make run-alerts` installs what requirements.txt lists"
    except Exception as error:  # noqa: BLE001 - whatever it is, the other side raises it
        absent = f"chDB does not start ({error})"
    else:
        for crash in CRASHES:
            signal.signal(crash, signal.SIG_DFL)  # chDB's own handlers wait 300 s for a log that it does not have
        return lambda sql: _asked(query, sql)
    return lambda sql: (ABSENT, absent.encode())


def _asked(query: Callable[..., Any], sql: str) -> WorkerAnswer:
    try:
        return ROWS, query(sql, "TSVWithNamesAndTypes").bytes()
    except Exception as error:  # noqa: BLE001 - whatever it is, the other side raises it
        return REFUSED, str(error).encode()


if __name__ == "__main__":
    main()
