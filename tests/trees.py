"""Copies of the package, for tests that change it or call it from another place."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HALF_WRITTEN = "*.pyc.*"  # another process compiles at this moment


def copy_parts(home: Path, *parts: str, without: tuple[str, ...] = ()) -> Path:
    """Copy folders of the repository into `home`, and return it.

    Their compiled modules are copied too: each process would compile the package again. One that a test changes is compiled
    anew, as its time is another.
    """
    for part in parts:
        shutil.copytree(ROOT / part, home / part, ignore=shutil.ignore_patterns(HALF_WRITTEN, *without))
    return home
