"""One incident: how it stands, its metrics, what explains it, its thread as it was told, and the checks that told of it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from html import unescape
from re import sub

from alerting.messages.facts import LABEL_WORDS
from alerting.messages.format import NumberFormat, change, duration, percent, signed_percent
from alerting.messages.root_cause import segment_name
from alerting.messages.words import WORDS
from alerting.model.incident import Incident, Member, RootCause, Segment
from alerting.model.message import ThreadMessage
from alerting.reporting.index_page import wall_time
from alerting.reporting.layout import escape_html, layout_page, outside_link, page_table
from alerting.reporting.sanitize import sanitize
from alerting.reporting.types import IncidentStory, PageContext

UP = "../index.html"
_UNSAFE = re.compile(r"[^\w.-]")


def incident_file(id: str) -> str:
    """Where an incident's page lies, from the folder of reports; a strange id becomes a plain name."""
    return f"incidents/{_UNSAFE.sub('_', id)[:150].lstrip('.') or '_'}.html"


def incident_page(story: IncidentStory, reader: PageContext) -> str:
    """The page."""
    it, name = story.incident, _name(story, reader)
    members = [_member(member, reader) for member in it.members]
    heads = [reader.say(key) for key in ("metric", "since", "ended", "worst", "value", "usual", "change")]
    parts = [
        f"<h1>{escape_html(name)}</h1>",
        f'<p class="lead">{_state(it, reader)}</p>',
        _facts(story, reader),
        f"<h2>{escape_html(reader.say('metrics'))}</h2>",
        page_table(reader.say("metrics"), heads, members, frozenset({4, 5, 6})),
        _titled("slices", cause_table(it, reader), reader),
        _titled("thread", thread_html(story, reader), reader),
        _titled("its runs", _runs(story, reader), reader),
    ]
    return layout_page(f"{reader.say('incident')}: {name}", "\n".join(filter(None, parts)), reader, up=UP)


def incident_card(story: IncidentStory, reader: PageContext) -> str:
    """Its place on the index."""
    it, link = story.incident, escape_html(incident_file(story.incident.id))
    name = f'<h3><a href="{link}">{escape_html(_name(story, reader))}</a></h3>'
    metrics = ", ".join(escape_html(reader.title(member.metric)) for member in it.members)
    picture = next(iter(story.pictures.values()), "")
    alt = escape_html(reader.say("picture of", first=_name(story, reader)))
    image = f'<a href="{link}" tabindex="-1"><img src="{escape_html(picture)}" loading="lazy" alt="{alt}"></a>'
    shot = f'<p class="shot">{image}</p>' if picture else ""
    began, ends = (
        wall_time(at.astimezone(reader.place)) for at in (it.root.since, it.closed or reader.now + timedelta(days=3650))
    )
    marks = " ".join(["alert", *["open"] * it.open])
    names = escape_html(" ".join(member.metric for member in it.members))
    lines = [
        f"<p>{_state(it, reader)}</p>",
        f'<p><span class="soft">{escape_html(reader.say("metrics"))}:</span> {metrics}</p>',
        f'<p><span class="soft">{escape_html(reader.say("cause"))}:</span> {escape_html(cause_line(it, reader))}</p>',
    ]
    return f'<li data-t={began} data-e={ends} data-s="{marks}" data-m="{names}"><div>{name}{"".join(lines)}</div>{shot}</li>'


def _name(story: IncidentStory, reader: PageContext) -> str:
    """The first line of its opening message; the metric and the time where there is none."""
    it = story.incident
    return first_line(story) or f"{reader.title(it.root.metric)}, {reader.at(it.opened)}"


def _titled(key: str, html: str, reader: PageContext) -> str:
    name = f"s-{key.replace(' ', '-')}"
    heading = f'<h2 id="{name}">{escape_html(reader.say(key))}</h2>'
    return f'<section aria-labelledby="{name}">{heading}\n{html}\n</section>' if html else ""


def _state(it: Incident, reader: PageContext) -> str:
    """When, how long, who has it, what it was."""
    until = _over(it)
    lasted = duration((until or reader.now) - it.root.since, reader.language)
    pieces = [reader.at(it.root.since), reader.say("going on" if it.open else "lasted", lasted=lasted)]
    pieces += [f"👀 {it.acknowledged_by}"] if it.acknowledged_by else []
    pieces += [f"🏷 {_label(it, reader)}"] if it.label else []
    pieces += [reader.say("corrected")] if it.corrected else []
    badge = (
        f'<span class="badge {"alert" if it.open else "ok"}">{escape_html(reader.say("still" if it.open else "ended"))}</span> '
    )
    return badge + escape_html(" · ".join(pieces))


def _over(it: Incident) -> datetime | None:
    """First bucket in which all of it was well again."""
    ends = [member.until for member in it.members if member.until]
    return (max(ends) if ends else it.closed) if not it.open else None


def _label(it: Incident, reader: PageContext) -> str:
    if it.label is None:
        return reader.say("no label")
    label = WORDS[reader.language][LABEL_WORDS[it.label]]
    return reader.say("labelled", label=label, who=it.labelled_by) if it.labelled_by else label


def _facts(story: IncidentStory, reader: PageContext) -> str:
    it, until = story.incident, _over(story.incident)
    silent = (
        [reader.say("muted")]
        if it.muted
        else [reader.say("until at", at=reader.at(it.snoozed_until))]
        if it.snoozed_until
        else []
    )
    facts = {
        "since": escape_html(reader.at(it.root.since)),
        "ended": escape_html(reader.at(until)) if until else "",
        "cause": escape_html(cause_line(it, reader)),
        "taken": escape_html(it.acknowledged_by or reader.say("nobody")),
        "label": escape_html(_label(it, reader)),
        "silent": escape_html(", ".join(silent)),
        "address": "" if story.runs else outside_link(it.run, escape_html(it.run)),
    }
    rows = "".join(f"<dt>{escape_html(reader.say(key))}</dt><dd>{html}</dd>" for key, html in facts.items() if html)
    return f'<dl class="facts">{rows}</dl>'


def _member(member: Member, reader: PageContext) -> list[str]:
    worst = member.worst or member.first
    numbers = NumberFormat.of(reader.form(member.metric), reader.language, worst)
    until = reader.at(member.until) if member.until else reader.say("still")
    usual = numbers.range(worst.low, worst.high) or numbers.value(worst.expected)
    off = [reader.at(worst.bucket), numbers.value(worst.value), usual, change(worst, reader.language)]
    off = [reader.say("gap"), "", "", ""] if member.gap else off
    return [escape_html(piece) for piece in (reader.title(member.metric), reader.at(member.since), until, *off)]


def _runs(story: IncidentStory, reader: PageContext) -> str:
    """Each once, oldest first."""
    runs = {run.name: run for run in story.runs.values() if run.href}
    items = [
        f'<li><a href="../{escape_html(run.href)}">{escape_html(reader.say("run", at=reader.at(run.started)))}</a></li>'
        for run in runs.values()
    ]
    return f"<ul>{''.join(items)}</ul>" if items else ""


# The thread of an incident: its opening message as it reads now and as it was first sent, what answers it, the pictures.


def first_line(story: IncidentStory) -> str:
    """Of the opening message as it reads now, as plain text."""
    opening = next((told for told in story.thread if told.key == story.incident.key), None)
    words = _newest(story, opening).text if opening else ""
    return unescape(sub(r"<[^>]*>", "", words.partition("\n")[0])).strip()


def thread_html(story: IncidentStory, reader: PageContext) -> str:
    """In the order of telling; edits are in what they edit."""
    items = [_item(told, story, reader) for told in story.thread if not told.edits]
    return (
        '<ol class="thread">\n' + "\n".join(items) + "\n</ol>"
        if items
        else f'<p class="none">{escape_html(reader.say("no thread"))}</p>'
    )


def _edits(story: IncidentStory, told: ThreadMessage) -> list[ThreadMessage]:
    return [other for other in story.thread if other.edits == told.key and other.state == "sent"]


def _newest(story: IncidentStory, told: ThreadMessage) -> ThreadMessage:
    return (_edits(story, told) or [told])[-1]


def _item(told: ThreadMessage, story: IncidentStory, reader: PageContext) -> str:
    opening = told.key == story.incident.key
    kind = "opening" if opening else "reply" if told.reply_to else ""
    word = "picture" if told.picture else kind
    heading = f"<b>{escape_html(reader.say(word))}</b> · " if word else ""
    state = escape_html(_message_state(told, reader)) + _edited(told, story, reader)
    when = f'<p class="when">{heading}{state}{_link(told, story, reader)}</p>'
    body = _picture(told, story, reader) if told.picture else _text(told, story, reader)
    return f'<li class="{kind}">{when}{body}</li>'


def _message_state(told: ThreadMessage, reader: PageContext) -> str:
    return reader.say(f"state {told.state}", at=reader.at(told.changed or told.created), why=told.reason)


def _edited(told: ThreadMessage, story: IncidentStory, reader: PageContext) -> str:
    edits = _edits(story, told)
    at = edits[-1].changed or edits[-1].created if edits else None
    return f" · {escape_html(reader.say('edited', at=reader.at(at), count=len(edits)))}" if at else ""


def _link(told: ThreadMessage, story: IncidentStory, reader: PageContext) -> str:
    run = story.runs.get(told.key)
    return (
        f' · <a href="../{escape_html(run.href)}">{escape_html(reader.say("run", at=reader.at(run.started)))}</a>'
        if run and run.href
        else ""
    )


def _text(told: ThreadMessage, story: IncidentStory, reader: PageContext) -> str:
    newest = _newest(story, told)
    names = [button.text for row in newest.buttons for button in row]
    buttons = "".join(f"<li>{escape_html(name)}</li>" for name in names)
    shown = _message(newest.text) + (
        f'<ul class="buttons" aria-label="{escape_html(reader.say("buttons"))}">{buttons}</ul>' if names else ""
    )
    if newest is told or newest.text == told.text:
        return shown
    return f"{shown}<details><summary>{escape_html(reader.say('first'))}</summary>{_message(told.text)}</details>"


def _message(html: str) -> str:
    return f'<div class="message">{sanitize(html, lambda data, words: escape_html(words), "")}</div>'


def _picture(told: ThreadMessage, story: IncidentStory, reader: PageContext) -> str:
    file, caption = story.pictures.get(told.key, ""), unescape(sub(r"<[^>]*>", "", told.text))
    if not file:
        return f'<p class="soft">{escape_html(reader.say("picture elsewhere"))}</p>'
    return f'<p class="shot"><img src="../{escape_html(file)}" alt="{escape_html(reader.say("picture of", first=caption))}"></p>'


# What explains an incident, in a line and as a table of slices.

MOST = 12  # other slices


def cause_line(incident: Incident, reader: PageContext) -> str:
    """os Android carries 96 % of it (−90 %), as plain text."""
    cause = incident.cause
    if cause is None:
        return reader.say("no cause")
    if cause.answer != "carried" or cause.slice is None:
        return reader.say("alike" if cause.answer == "alike" else "unclear")
    share = reader.say("carries", share=percent(cause.share, reader.language)) if cause.share == cause.share else ""
    change = signed_percent(cause.slice.value, cause.slice.expected, reader.language)
    return " ".join(filter(None, [_named(cause.slice, reader), share, f"({change})" if change else ""]))


def cause_table(incident: Incident, reader: PageContext) -> str:
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
    return page_table(reader.say("slices"), heads, rows, frozenset({1, 2, 3})) if rows else ""


def _shares(cause: RootCause, reader: PageContext) -> list[list[str]]:
    kinds = {"new": cause.new, "gone": cause.gone, "group": cause.imbalance}
    found = [(reader.say(kind), item) for kind, items in kinds.items() for item in items[:MOST]]
    return [_row(item, f"{word}: {_named(item, reader)}", "ratio", reader) for word, item in found]


def _row(item: Segment, words: str, form: str, reader: PageContext) -> list[str]:
    numbers = NumberFormat.fitting(form, reader.language, item.value, item.expected)
    change = signed_percent(item.value, item.expected, reader.language)
    return [
        escape_html(piece)
        for piece in (words or _named(item, reader), numbers.value(item.value), numbers.value(item.expected), change)
    ]


def _named(item: Segment, reader: PageContext) -> str:
    return segment_name(item, reader.language, clean=str)
