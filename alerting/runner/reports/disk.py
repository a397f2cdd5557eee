"""How much room records and memory take on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from alerting.settings import Settings

BLOCK = 512  # bytes, as the system counts them


def sizes(settings: Settings) -> dict[str, int]:
    """Bytes on the disk: reports, memory."""
    memory = settings.data.glob("alerts.sqlite*") if settings.data.is_dir() else ()
    return {"reports": folder(settings.reports), "memory": of(memory)}


def folder(path: Path) -> int:
    return of(Path(top) / name for top, _, names in os.walk(path) for name in names)


def of(paths: Iterable[Path]) -> int:
    total = 0
    for path in paths:
        with suppress(OSError):
            total += path.lstat().st_blocks * BLOCK
    return total


def written(size: int) -> str:
    """12.3 MB"""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
