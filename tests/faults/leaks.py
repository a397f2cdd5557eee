"""E. Secrets in the files of runs, in every encoding that our files may use, and on command lines."""

from __future__ import annotations

import base64
import html
import json
import re
import threading
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from tests.faults.gate import HEARTBEAT
from tests.servers import PASSWORD, TOKEN

SECRETS = (TOKEN, TOKEN.partition(":")[2], PASSWORD, HEARTBEAT.rpartition("/")[2])
LOOK = 0.2  # seconds between two looks at the command lines


def spellings() -> list[bytes]:
    plain = {form for secret in SECRETS for form in _forms(secret)}
    plain |= {base64.b64encode(f"{user}:{PASSWORD}".encode()).decode() for user in ("default", "reader")}
    return [form.encode() for form in sorted(plain)]


def _forms(secret: str) -> list[str]:
    numbered = re.sub(r"[&<>]", lambda m: f"&#{ord(m[0])};", secret)
    forms = [secret, numbered, html.escape(secret), html.escape(secret, quote=False), quote(secret), quote(secret, safe="")]
    return [*forms, *(json.dumps(form)[1:-1] for form in forms)]


def in_files(folder: Path) -> list[str]:
    """Notebooks, logs, reports, the memory with its -wal, the chat itself: those that hold a secret."""
    known = spellings()
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [str(path) for path in files if any(form in path.read_bytes() for form in known)]


class CommandLines:
    """Looks at the command lines of all processes as long as the block lasts. `found`: programs that have one with a secret."""

    def __init__(self) -> None:
        self.found, self.looks = set[str](), 0
        self._known, self._over = spellings(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> CommandLines:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(LOOK):
            self.looks += 1
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                with suppress(OSError):
                    line = file.read_bytes()
                    if any(form in line for form in self._known):
                        self.found.add(line.split(b"\0")[0].decode(errors="replace"))
