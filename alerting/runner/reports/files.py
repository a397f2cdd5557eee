"""Files of ours: written whole or not at all, without any secret; what goes wrong is told with what to do."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alerting.model import AlertingError
from alerting.settings import ROOT

if TYPE_CHECKING:
    from alerting.pages.nouns import Reader

KEPT = ".pages"  # folder of what need not be made anew for every run


def write(path: Path, content: str | bytes) -> None:
    """Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")  # a rehearsal may write beside a run
    part.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace"))
    part.replace(path)


def recall(reports: Path, name: str) -> dict[str, Any]:
    """What `keep` has kept, if it is still whole."""
    with suppress(OSError, ValueError):
        found = json.loads((reports / KEPT / name).read_text(encoding="utf-8"))
        if isinstance(found, dict):
            return found
    return {}


def keep(reports: Path, name: str, content: dict[str, Any]) -> None:
    """Best effort: without it the next run only takes longer."""
    with suppress(OSError):
        write(reports / KEPT / name, json.dumps(content, ensure_ascii=False))


@contextmanager
def told(what: str) -> Iterator[None]:
    """OSError as AlertingError."""
    try:
        yield
    except OSError as error:
        raise AlertingError(f"{what}: {error.strerror}: {error.filename}; let this user write there, or make room") from None


def code(reader: Reader) -> str:
    """Changes whenever something does that is in all the pages: their code, words, titles."""
    made = stamp(*sorted((ROOT / "alerting" / "pages").glob("*.py")))
    about = f"{made} {reader.language} {reader.zone} {reader.titles}"
    return blake2b(about.encode("utf-8", "replace"), digest_size=12).hexdigest()


def stamp(*paths: Path) -> str:
    """Changes whenever one of the files does."""
    found = []
    for path in paths:
        with suppress(OSError):
            found.append(str(os.stat(path).st_mtime_ns))
    return " ".join(found)
