"""reports/index.html, at the end of every run: days of runs from their lists, incidents from the memory.

What the page says of a day is kept beside it, and made anew only when the day's folder has changed.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alerting.model.errors import StoreError
from alerting.model.message import ThreadMessage
from alerting.redaction import redact
from alerting.reporting.archive import (
    LIST,
    NOTEBOOKS,
    code_stamp,
    day_entries,
    day_folders,
    day_lines,
    files_stamp,
    keep_cached,
    load_cached,
    os_error,
    write_file,
)
from alerting.reporting.failure import Notebook
from alerting.settings import NAMES, ROOT, Settings

if TYPE_CHECKING:
    from alerting.reporting.types import IncidentStory, MetricTitle, PageContext, RunRecord, RunRow
    from alerting.store.readonly import ReadOnlyState

LISTED = 3000  # runs on the page: a month of them, or three months that were thinned out
READ = 33  # days that are read for the calendar, whatever is on them


def write_index(settings: Settings, fresh: bool = False, now: datetime | None = None) -> Path:
    """Write the page and those of the incidents; gives its path. Raises AlertingError.

    `fresh`: nothing that was kept is believed, and runs that have no page get one. `now`: the moment of writing, by default now.
    """
    from alerting.reporting.index_page import IndexData
    from alerting.reporting.index_page import index_page as page

    with os_error("the list of runs could not be written"):
        found = day_folders(settings.reports)
        if fresh:
            _late(settings, found)
        reader = page_context(settings, now or datetime.now(UTC))
        listed, seen = _lines(settings, found, reader, fresh)
        cards, opened, note = write_incident_pages(settings, reader, fresh)
        told = IndexData(listed, _newest(settings, found), cards, opened, seen, redact(note, settings)[0])
        path = settings.reports / "index.html"
        write_file(path, page(told, reader))
    return path


def _newest(settings: Settings, found: Sequence[Path]) -> RunRecord | None:
    live = (entry for day in found[:2] for entry in day_entries(day) if not entry.rehearsal)
    return next(live, None)


def _lines(settings: Settings, found: Sequence[Path], reader: PageContext, fresh: bool) -> tuple[list[RunRow], list[str]]:
    """Newest first, and no more than the page shows; and the metrics that were off in them."""
    from alerting.reporting.types import RunRow

    listed, seen, shown = list[RunRow](), dict[str, None](), 0
    key = code_stamp(reader)
    for n, day in enumerate(found):
        if shown >= LISTED and n >= READ:
            break
        kept = _day(settings, day, reader, key, fresh)
        some = [RunRow(*line) for line in kept["lines"]]
        listed += some
        shown += sum(line.row != "" for line in some)
        seen |= dict.fromkeys(kept["off"])
    return listed, list(seen)


def _day(settings: Settings, day: Path, reader: PageContext, key: str, fresh: bool) -> dict[str, Any]:
    from alerting.reporting.index_page import run_row

    name, key = f"{day.name}.json", f"{key} {files_stamp(day, day / LIST)}"
    kept = load_cached(settings.reports, name)
    if fresh or kept.get("key") != key:
        some = [_clean(entry, settings) for entry in day_entries(day)]
        off = sorted({name for entry in some for name in entry.off})
        kept = {"key": key, "off": off, "lines": [run_row(entry, reader) for entry in some]}
        keep_cached(settings.reports, name, kept)
    return kept


def _clean(entry: RunRecord, settings: Settings) -> RunRecord:
    from dataclasses import replace

    return replace(entry, said=redact(entry.said, settings)[0])


def _late(settings: Settings, found: Sequence[Path]) -> None:
    for day in found:
        told = {str(line.get("name", "")).removesuffix(".ipynb"): line for line in day_lines(day)}
        for entry in day_entries(day):
            if not entry.page and entry.notebook:
                write_missing_page(settings, day, entry.name, told.get(entry.name, {}))


# Pages of incidents, from the memory: made anew when something about one has changed.

KEPT = "incidents.json"
SINCE = timedelta(days=90)  # incidents on the index; pages of older ones stay
MAX_INCIDENT_PAGES = 300


def write_incident_pages(settings: Settings, reader: PageContext, fresh: bool = False) -> tuple[list[str], int, str]:
    """Write the pages that are not as they should be; gives the cards for the index, newest first, how many are open, and why
    the memory could not be read. Raises OSError."""
    key = code_stamp(reader)
    kept = load_cached(settings.reports, KEPT)
    known: dict[str, list[Any]] = kept.get("cards", {}) if kept.get("key") == key and not fresh else {}
    try:
        cards = _cards(settings, reader, known)
    except StoreError as error:
        return [*_newest_change(kept.get("cards", {}))], sum(card[2] for card in kept.get("cards", {}).values()), str(error)
    if cards != known:
        keep_cached(settings.reports, KEPT, {"key": key, "cards": cards})
    return [*_newest_change(cards)], sum(card[2] for card in cards.values()), ""


def _newest_change(cards: dict[str, list[Any]]) -> list[str]:
    return [card[3] for card in sorted(cards.values(), key=lambda card: str(card[1]), reverse=True)][:MAX_INCIDENT_PAGES]


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()


def _cards(settings: Settings, reader: PageContext, known: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Incident -> what it was made of, when it began, whether it is open, its card."""
    path = settings.data / "alerts.sqlite"
    if not path.is_file():
        return {}
    from alerting.store.readonly import ReadOnlyState

    cards = {}
    with closing(ReadOnlyState(path, destinations=NAMES)) as past:
        for id, (body, more) in past.stamps(reader.now - SINCE, reader.now).items():
            made_of = _digest(body + more)
            card = known.get(id)
            if not card or card[0] != made_of or card[2]:  # an open one says how long it has been going on
                card = [made_of, *_made(settings, past, body, reader)]
            cards[id] = card
    return cards


def _made(settings: Settings, past: ReadOnlyState, body: str, reader: PageContext) -> tuple[str, bool, str]:
    from alerting.reporting.incident_page import incident_card, incident_file, incident_page

    story = _story(settings, past, body)
    path = settings.reports / incident_file(story.incident.id)
    write_file(path, redact(incident_page(story, reader), settings)[0])
    return story.incident.opened.isoformat(), story.incident.open, redact(incident_card(story, reader), settings)[0]


def _story(settings: Settings, past: ReadOnlyState, body: str) -> IncidentStory:
    from alerting.reporting.types import IncidentStory

    it = past.incident(body)
    thread = tuple(past.thread(it.id))
    runs = _runs(settings, past, thread)
    pictures = {
        told.key: f"runs/{run.day}/{file}"
        for told in thread
        if told.picture and (run := runs.get(told.key)) and (file := run.pictures.get(told.key))
    }
    return IncidentStory(it, thread, runs, pictures)


def _runs(settings: Settings, past: ReadOnlyState, thread: Sequence[ThreadMessage]) -> dict[str, RunRecord]:
    """The run that made each message, of those that one has made."""
    if not thread:
        return {}
    moments = past.runs(min(told.created for told in thread))
    began = {told.key: moments.get(told.created) for told in thread}
    records = _records(settings, {at.date() for at in began.values() if at})
    found = {key: _of(at, records) for key, at in began.items() if at}
    return {key: entry for key, entry in found.items() if entry}


def _records(settings: Settings, dates: set[date]) -> list[RunRecord]:
    """Of these days and of those before, for a run may begin just before midnight; newest first."""
    names = {f"{day - timedelta(days=n)}" for day in dates for n in (0, 1)}
    folders = [settings.reports / "runs" / name for name in sorted(names, reverse=True)]
    return [entry for folder in folders for entry in day_entries(folder) if not entry.rehearsal]


def _of(at: datetime, records: Sequence[RunRecord]) -> RunRecord | None:
    """The record of the run whose notebook began at that time."""
    return next((entry for entry in records if entry.started <= at), None)


# What metrics are called, kept beside the pages: the catalogue takes half a second to load, and seldom changes.

CATALOGUE = ROOT / "alerting" / "metrics.py"
TITLES_FILE = "titles.json"


def page_context(settings: Settings, now: datetime) -> PageContext:
    """Whom the pages are for. A table's series are called as they are in the table."""
    from alerting.reporting.types import MetricTitle, PageContext

    key = f"{files_stamp(CATALOGUE)} {settings.language} {settings.metrics}"
    kept = load_cached(settings.reports, TITLES_FILE)
    if settings.source != "embedded" and not settings.source.startswith("http"):
        return PageContext(settings.language, settings.zone, now)
    if kept.get("key") != key:
        kept = {"key": key, "titles": {name: [title.words, title.form] for name, title in _titles(settings).items()}}
        keep_cached(settings.reports, TITLES_FILE, kept)
    titles = {name: MetricTitle(words=words, form=form) for name, (words, form) in kept["titles"].items()}
    return PageContext(settings.language, settings.zone, now, titles)


def _titles(settings: Settings) -> dict[str, MetricTitle]:
    from alerting.connections import load_catalogue
    from alerting.reporting.types import MetricTitle

    try:
        metrics = load_catalogue(settings)
    except Exception:  # noqa: BLE001 - analysts edit that file: the run says what is wrong with it, the pages do with names
        return {}
    words = {m.name: m.title.get(settings.language) or m.title.get("en") or m.name for m in metrics}
    return {m.name: MetricTitle(redact(words[m.name], settings)[0], m.form) for m in metrics}


# The readable page of one run, beside its notebook; and what the list of runs should know that only the memory does.

FOREVER = timedelta(days=36500)


def write_run_page(settings: Settings, notebook: Notebook, path: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """Write the page beside the record at `path`, its pictures too; gives the `entry` and what else is known of the run.

    Raises OSError.
    """
    from alerting.reporting.run_page import run_page
    from alerting.reporting.types import PageContext, RunRecord

    seen = _seen(settings, notebook, entry) if entry["kind"] == "alert" else {}
    known = {"off": tuple(seen.get("off", ())), "sent": seen.get("sent", entry.get("sent", 0)), "seconds": entry["seconds"]}
    began, reader = datetime.fromisoformat(entry["started"]), PageContext(settings.language, settings.zone, datetime.now(UTC))
    shown = RunRecord(path.stem, path.parent.name, began, entry["ok"], entry["said"], **known, notebook=NOTEBOOKS[0])
    made = run_page(notebook, shown, reader)
    for name, picture in made.pictures.items():
        write_file(path.with_name(name), picture)
    write_file(path.with_suffix(".html"), redact(made.html, settings)[0])
    keys = seen.pop("pictures", [])
    pictures = dict(zip(keys, made.told, strict=True)) if len(keys) == len(made.told) else {}
    return {**entry, **seen, "pictures": pictures}


def write_missing_page(settings: Settings, day: Path, name: str, entry: dict[str, Any]) -> None:
    """The page of a run that has none, as of one from before there were pages. A notebook that cannot be read has none."""
    from alerting.reporting.run_page import run_page
    from alerting.reporting.types import PageContext, RunRecord

    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        notebook = notebook_at(day, name)
        began = datetime.fromisoformat(entry["started"])
        shown = RunRecord(name, day.name, began, entry["ok"], entry["said"], seconds=entry["seconds"], notebook=NOTEBOOKS[0])
        made = run_page(notebook, shown, PageContext(settings.language, settings.zone, datetime.now(UTC)))
        for file, picture in made.pictures.items():
            write_file(day / file, picture)
        write_file(day / f"{name}.html", redact(made.html, settings)[0])


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
    from alerting.store.readonly import ReadOnlyState

    since, until = _span(notebook, entry)
    with suppress(StoreError), closing(ReadOnlyState(path, destinations=NAMES)) as past:
        return {"off": past.affected_metrics(), "sent": past.sent(since, until), "pictures": past.pictures(since, until)}
    return {}


def _span(notebook: Notebook, entry: dict[str, Any]) -> tuple[datetime, datetime]:
    """Moments that what the run has made may bear: that it was told to stand at, or those since it began."""
    at = notebook["metadata"].get("papermill", {}).get("parameters", {}).get("at")
    with suppress(ValueError, TypeError):
        moment = datetime.fromisoformat(at)
        return moment, moment
    began = datetime.fromisoformat(entry["started"])
    return began, began + FOREVER
