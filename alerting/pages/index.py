"""The index: how it stands, the calendar, the incidents, the checks, and a filter over both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from alerting.pages.layout import page
from alerting.pages.listing import badge, listing
from alerting.pages.markup import text
from alerting.pages.nouns import Entry, Reader
from alerting.pages.strip import DAYS, calendar

STATES = {"": "any state", "alert": "with alert", "open": "only open", "failed": "only failed", "ok": "only quiet"}


def index(entries: Sequence[Entry], cards: Sequence[str], reader: Reader, opened: int = 0, note: str = "") -> str:
    """`entries`: all that the lists tell of, newest first; `cards`: the incidents, newest first, as `incident.card` made them.

    `opened`: how many of them go on; `note`: why the memory could not be read.
    """
    kept = [entry for entry in entries if entry.href]
    live = [entry for entry in entries if not entry.rehearsal]
    parts = [
        f"<h1>{text(reader.say('title'))}</h1>",
        _newest(live, reader),
        _stale(reader),
        f'<p class="note">{text(reader.say("no memory", why=note))}</p>' if note else "",
        _section(
            "calendar",
            reader.say("calendar", days=DAYS),
            f'<p class="soft">{text(reader.say("strip"))}</p>{calendar(live, reader)}',
        )
        if live
        else "",
        _filter(reader),
        _section("incidents", f"{reader.say('incidents')}: {_open(opened, reader)}", _cards(cards, reader)),
        _section("runs", reader.say("runs"), f'<div class="days">\n{listing(kept, reader)}\n</div>'),
    ]
    return page(reader.say("title"), "\n".join(filter(None, parts)), reader, live=True)


def _open(count: int, reader: Reader) -> str:
    return reader.say("open", count=count) if count else reader.say("none open")


def _section(name: str, heading: str, body: str) -> str:
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{text(heading)}</h2>\n{body}\n</section>'


def _newest(live: Sequence[Entry], reader: Reader) -> str:
    if not live:
        return f'<p class="lead">{text(reader.say("no runs"))}</p>'
    newest = live[0]
    said = text(reader.say("newest", at=reader.at(newest.started), said=newest.said))
    words = f'<a href="{text(newest.href)}">{said}</a>' if newest.href else said
    return f'<p class="lead">{badge(newest.state, reader)} {words}</p>'


def _stale(reader: Reader) -> str:
    """What the script shows where nobody has written the page for long."""
    words = text(reader.say("stale", minutes="{minutes}"))
    return (
        f'<p class="note" id="stale" role="status" data-written="{int(reader.now.timestamp())}" data-words="{words}" hidden></p>'
    )


def _cards(cards: Sequence[str], reader: Reader) -> str:
    return (
        '<ul class="cards">\n' + "\n".join(cards) + "\n</ul>"
        if cards
        else f'<p class="none">{text(reader.say("no incidents"))}</p>'
    )


def _filter(reader: Reader) -> str:
    """Hidden until the script is there to make it work."""
    metrics = {"": reader.say("any metric")} | {name: title.words for name, title in reader.titles.items()}
    states = {state: reader.say(key) for state, key in STATES.items()}
    fields = (
        _select("metric", metrics, reader) + _select("state", states, reader) + _date("from", reader) + _date("until", reader)
    )
    shown = text(reader.say("shown", incidents="{incidents}", runs="{runs}"))
    reset, output = f'<button type="reset">{text(reader.say("reset"))}</button>', f'<output data-shown="{shown}"></output>'
    return f'<form class="filter" aria-label="{text(reader.say("filter"))}" hidden>{fields}{reset}{output}</form>'


def _select(name: str, choices: Mapping[str, str], reader: Reader) -> str:
    options = "".join(f'<option value="{text(value)}">{text(words)}</option>' for value, words in choices.items())
    return f'<label>{text(reader.say(name))}<select name="{name}">{options}</select></label>'


def _date(name: str, reader: Reader) -> str:
    return f'<label>{text(reader.say(name))}<input type="date" name="{name}"></label>'
