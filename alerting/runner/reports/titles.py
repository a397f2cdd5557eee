"""What metrics are called, kept beside the pages: the catalogue takes half a second to load, and seldom changes."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from alerting.redaction import redact
from alerting.runner.reports import files
from alerting.settings import ROOT, Settings

if TYPE_CHECKING:
    from alerting.pages.nouns import Reader, Title

CATALOGUE = ROOT / "alerting" / "metrics.py"
KEPT = "titles.json"


def reader(settings: Settings, now: datetime) -> Reader:
    """Whom the pages are for. A table's series are called as they are in the table."""
    from alerting.pages.nouns import Reader, Title

    key = f"{files.stamp(CATALOGUE)} {settings.language} {settings.metrics}"
    kept = files.recall(settings.reports, KEPT)
    if settings.source != "embedded" and not settings.source.startswith("http"):
        return Reader(settings.language, settings.zone, now)
    if kept.get("key") != key:
        kept = {"key": key, "titles": {name: [title.words, title.form] for name, title in _titles(settings).items()}}
        files.keep(settings.reports, KEPT, kept)
    titles = {name: Title(words=words, form=form) for name, (words, form) in kept["titles"].items()}
    return Reader(settings.language, settings.zone, now, titles)


def _titles(settings: Settings) -> dict[str, Title]:
    from alerting import wiring
    from alerting.pages.nouns import Title

    try:
        metrics = wiring.catalogue(settings)
    except Exception:  # noqa: BLE001 - analysts edit that file: the run says what is wrong with it, the pages do with names
        return {}
    words = {m.name: m.title.get(settings.language) or m.title.get("en") or m.name for m in metrics}
    return {m.name: Title(redact(words[m.name], settings)[0], m.form) for m in metrics}
