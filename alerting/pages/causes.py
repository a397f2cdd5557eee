"""What explains an incident, in a line and as a table of slices."""

from __future__ import annotations

from alerting.messages.numbers import Numbers, moved, percent
from alerting.messages.slices import named
from alerting.model import Cause, Incident, Slice
from alerting.pages.markup import table, text
from alerting.pages.nouns import Reader

MOST = 12  # other slices


def line(incident: Incident, reader: Reader) -> str:
    """os Android carries 96 % of it (−90 %), as plain text."""
    cause = incident.cause
    if cause is None:
        return reader.say("no cause")
    if cause.answer != "carried" or cause.slice is None:
        return reader.say("alike" if cause.answer == "alike" else "unclear")
    share = reader.say("carries", share=percent(cause.share, reader.language)) if cause.share == cause.share else ""
    change = moved(cause.slice.value, cause.slice.expected, reader.language)
    return " ".join(filter(None, [_named(cause.slice, reader), share, f"({change})" if change else ""]))


def slices(incident: Incident, reader: Reader) -> str:
    """The slice that carries it, the rest, the others; values that are new or gone, groups out of balance."""
    cause = incident.cause
    if cause is None:
        return ""
    form = "ratio" if cause.effect != "count" else reader.form(incident.root.metric)
    rows = [_row(cause.slice, "", form, reader)] if cause.slice else []
    rows += [_row(cause.rest, reader.say("rest"), form, reader)] if cause.rest and len(cause.others) != 1 else []
    rows += [_row(other, "", form, reader) for other in cause.others[:MOST]]
    rows += _shares(cause, reader)
    heads = [reader.say(key) for key in ("slice", "value", "usual", "change")]
    return table(reader.say("slices"), heads, rows, frozenset({1, 2, 3})) if rows else ""


def _shares(cause: Cause, reader: Reader) -> list[list[str]]:
    kinds = {"new": cause.new, "gone": cause.gone, "group": cause.imbalance}
    found = [(reader.say(kind), item) for kind, items in kinds.items() for item in items[:MOST]]
    return [_row(item, f"{word}: {_named(item, reader)}", "ratio", reader) for word, item in found]


def _row(item: Slice, words: str, form: str, reader: Reader) -> list[str]:
    numbers = Numbers.fitting(form, reader.language, item.value, item.expected)
    change = moved(item.value, item.expected, reader.language)
    return [
        text(piece) for piece in (words or _named(item, reader), numbers.value(item.value), numbers.value(item.expected), change)
    ]


def _named(item: Slice, reader: Reader) -> str:
    return named(item, reader.language, clean=str)
