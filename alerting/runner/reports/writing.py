"""The readable page of one run, beside its notebook; and what the list of runs should know that only the memory does."""

from __future__ import annotations

import gzip
import json
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from alerting.destinations import NAMES
from alerting.model import StoreError
from alerting.redaction import redact
from alerting.runner.failure import Notebook
from alerting.runner.reports import files
from alerting.runner.reports.days import NOTEBOOKS
from alerting.settings import Settings

FOREVER = timedelta(days=36500)


def page(settings: Settings, notebook: Notebook, path: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """Write the page beside the record at `path`, its pictures too; gives the `entry` and what else is known of the run.

    Raises OSError.
    """
    from alerting.pages.nouns import Entry, Reader
    from alerting.pages.run import run

    seen = _seen(settings, notebook, entry) if entry["kind"] == "alert" else {}
    known = {"off": tuple(seen.get("off", ())), "sent": seen.get("sent", entry.get("sent", 0)), "seconds": entry["seconds"]}
    began, reader = datetime.fromisoformat(entry["started"]), Reader(settings.language, settings.zone, datetime.now(UTC))
    shown = Entry(path.stem, path.parent.name, began, entry["ok"], entry["said"], **known, notebook=NOTEBOOKS[0])
    made = run(notebook, shown, reader)
    for name, picture in made.pictures.items():
        files.write(path.with_name(name), picture)
    files.write(path.with_suffix(".html"), redact(made.html, settings)[0])
    keys = seen.pop("pictures", [])
    pictures = dict(zip(keys, made.told, strict=True)) if len(keys) == len(made.told) else {}
    return {**entry, **seen, "pictures": pictures}


def late(settings: Settings, day: Path, name: str, entry: dict[str, Any]) -> None:
    """The page of a run that has none, as of one from before there were pages. A notebook that cannot be read has none."""
    from alerting.pages.nouns import Entry, Reader
    from alerting.pages.run import run

    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        notebook = notebook_at(day, name)
        began = datetime.fromisoformat(entry["started"])
        shown = Entry(name, day.name, began, entry["ok"], entry["said"], seconds=entry["seconds"], notebook=NOTEBOOKS[0])
        made = run(notebook, shown, Reader(settings.language, settings.zone, datetime.now(UTC)))
        for file, picture in made.pictures.items():
            files.write(day / file, picture)
        files.write(day / f"{name}.html", redact(made.html, settings)[0])


def notebook_at(day: Path, name: str) -> Any:
    """Raises OSError or ValueError."""
    plain = day / f"{name}.ipynb"
    if plain.exists():
        return json.loads(plain.read_text(encoding="utf-8"))
    return json.loads(gzip.decompress((day / f"{name}.ipynb.gz").read_bytes()))


def _seen(settings: Settings, notebook: Notebook, entry: dict[str, Any]) -> dict[str, Any]:
    """What is off after the run, how many messages it sent, whose pictures it made; nothing where the memory cannot tell."""
    path = settings.data / "alerts.sqlite"
    if not path.is_file():
        return {}
    from alerting.store.past import Past

    since, until = _span(notebook, entry)
    with suppress(StoreError), closing(Past(path, destinations=NAMES)) as past:
        return {"off": past.off(), "sent": past.sent(since, until), "pictures": past.pictures(since, until)}
    return {}


def _span(notebook: Notebook, entry: dict[str, Any]) -> tuple[datetime, datetime]:
    """Moments that what the run has made may bear: that it was told to stand at, or those since it began."""
    at = notebook["metadata"].get("papermill", {}).get("parameters", {}).get("at")
    with suppress(ValueError, TypeError):
        moment = datetime.fromisoformat(at)
        return moment, moment
    began = datetime.fromisoformat(entry["started"])
    return began, began + FOREVER
