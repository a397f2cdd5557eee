"""Pages of incidents, from the memory: made anew when something about one has changed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import date, datetime, timedelta
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from alerting.destinations import NAMES
from alerting.model import StoreError, Told
from alerting.redaction import redact
from alerting.runner.reports import files
from alerting.runner.reports.days import entries
from alerting.settings import Settings

if TYPE_CHECKING:
    from alerting.pages.nouns import Entry, Reader, Story
    from alerting.store.past import Past

KEPT = "incidents.json"
SINCE = timedelta(days=90)  # incidents on the index; pages of older ones stay
LISTED = 300


def write(settings: Settings, reader: Reader, fresh: bool = False) -> tuple[list[str], int, str]:
    """Write the pages that are not as they should be; gives the cards for the index, newest first, how many are open, and why
    the memory could not be read. Raises OSError."""
    key = files.code(reader)
    kept = files.recall(settings.reports, KEPT)
    known: dict[str, list[Any]] = kept.get("cards", {}) if kept.get("key") == key and not fresh else {}
    try:
        cards = _cards(settings, reader, known)
    except StoreError as error:
        return [*_newest(kept.get("cards", {}))], sum(card[2] for card in kept.get("cards", {}).values()), str(error)
    if cards != known:
        files.keep(settings.reports, KEPT, {"key": key, "cards": cards})
    return [*_newest(cards)], sum(card[2] for card in cards.values()), ""


def _newest(cards: dict[str, list[Any]]) -> list[str]:
    return [card[3] for card in sorted(cards.values(), key=lambda card: str(card[1]), reverse=True)][:LISTED]


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "replace"), digest_size=12).hexdigest()


def _cards(settings: Settings, reader: Reader, known: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Incident -> what it was made of, when it began, whether it is open, its card."""
    path = settings.data / "alerts.sqlite"
    if not path.is_file():
        return {}
    from alerting.store.past import Past

    cards = {}
    with closing(Past(path, destinations=NAMES)) as past:
        for id, (body, more) in past.stamps(reader.now - SINCE, reader.now).items():
            made_of = _digest(body + more)
            card = known.get(id)
            if not card or card[0] != made_of or card[2]:  # an open one says how long it has been going on
                card = [made_of, *_made(settings, past, body, reader)]
            cards[id] = card
    return cards


def _made(settings: Settings, past: Past, body: str, reader: Reader) -> tuple[str, bool, str]:
    from alerting.pages.incident import card, file_name, incident

    story = _story(settings, past, body)
    path = settings.reports / file_name(story.incident.id)
    files.write(path, redact(incident(story, reader), settings)[0])
    return story.incident.opened.isoformat(), story.incident.open, redact(card(story, reader), settings)[0]


def _story(settings: Settings, past: Past, body: str) -> Story:
    from alerting.pages.nouns import Story

    it = past.incident(body)
    thread = tuple(past.thread(it.id))
    runs = _runs(settings, past, thread)
    pictures = {
        told.key: f"runs/{run.day}/{file}"
        for told in thread
        if told.picture and (run := runs.get(told.key)) and (file := run.pictures.get(told.key))
    }
    return Story(it, thread, runs, pictures)


def _runs(settings: Settings, past: Past, thread: Sequence[Told]) -> dict[str, Entry]:
    """The run that made each message, of those that one has made."""
    if not thread:
        return {}
    moments = past.runs(min(told.created for told in thread))
    began = {told.key: moments.get(told.created) for told in thread}
    records = _records(settings, {at.date() for at in began.values() if at})
    found = {key: _of(at, records) for key, at in began.items() if at}
    return {key: entry for key, entry in found.items() if entry}


def _records(settings: Settings, dates: set[date]) -> list[Entry]:
    """Of these days and of those before, for a run may begin just before midnight; newest first."""
    names = {f"{day - timedelta(days=n)}" for day in dates for n in (0, 1)}
    folders = [settings.reports / "runs" / name for name in sorted(names, reverse=True)]
    return [entry for folder in folders for entry in entries(folder) if not entry.rehearsal]


def _of(at: datetime, records: Sequence[Entry]) -> Entry | None:
    """The record of the run whose notebook began at that time."""
    return next((entry for entry in records if entry.started <= at), None)
