"""One incident: how it stands, its metrics, what explains it, its thread as it was told, and the checks that told of it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from alerting.messages.numbers import Numbers, change
from alerting.messages.standing import LABELS
from alerting.messages.times import duration
from alerting.messages.words import WORDS
from alerting.model import Incident, Member
from alerting.pages import causes
from alerting.pages.layout import page
from alerting.pages.listing import wall_time
from alerting.pages.markup import away, table, text
from alerting.pages.nouns import Reader, Story
from alerting.pages.thread import first_line, thread

UP = "../index.html"
_UNSAFE = re.compile(r"[^\w.-]")


def file_name(id: str) -> str:
    """Where an incident's page lies, from the folder of reports; a strange id becomes a plain name."""
    return f"incidents/{_UNSAFE.sub('_', id)[:150].lstrip('.') or '_'}.html"


def incident(story: Story, reader: Reader) -> str:
    """The page."""
    it, name = story.incident, _name(story, reader)
    members = [_member(member, reader) for member in it.members]
    heads = [reader.say(key) for key in ("metric", "since", "ended", "worst", "value", "usual", "change")]
    parts = [
        f"<h1>{text(name)}</h1>",
        f'<p class="lead">{_state(it, reader)}</p>',
        _facts(story, reader),
        f"<h2>{text(reader.say('metrics'))}</h2>",
        table(reader.say("metrics"), heads, members, frozenset({4, 5, 6})),
        _titled("slices", causes.slices(it, reader), reader),
        _titled("thread", thread(story, reader), reader),
        _titled("its runs", _runs(story, reader), reader),
    ]
    return page(f"{reader.say('incident')}: {name}", "\n".join(filter(None, parts)), reader, up=UP)


def card(story: Story, reader: Reader) -> str:
    """Its place on the index."""
    it, link = story.incident, text(file_name(story.incident.id))
    name = f'<h3><a href="{link}">{text(_name(story, reader))}</a></h3>'
    metrics = ", ".join(text(reader.title(member.metric)) for member in it.members)
    picture = next(iter(story.pictures.values()), "")
    alt = text(reader.say("picture of", first=_name(story, reader)))
    image = f'<a href="{link}" tabindex="-1"><img src="{text(picture)}" loading="lazy" alt="{alt}"></a>'
    shot = f'<p class="shot">{image}</p>' if picture else ""
    began, ends = (
        wall_time(at.astimezone(reader.place)) for at in (it.root.since, it.closed or reader.now + timedelta(days=3650))
    )
    marks = " ".join(["alert", *["open"] * it.open])
    names = text(" ".join(member.metric for member in it.members))
    lines = [
        f"<p>{_state(it, reader)}</p>",
        f'<p><span class="soft">{text(reader.say("metrics"))}:</span> {metrics}</p>',
        f'<p><span class="soft">{text(reader.say("cause"))}:</span> {text(causes.line(it, reader))}</p>',
    ]
    return f'<li data-t={began} data-e={ends} data-s="{marks}" data-m="{names}"><div>{name}{"".join(lines)}</div>{shot}</li>'


def _name(story: Story, reader: Reader) -> str:
    """The first line of its opening message; the metric and the time where there is none."""
    it = story.incident
    return first_line(story) or f"{reader.title(it.root.metric)}, {reader.at(it.opened)}"


def _titled(key: str, html: str, reader: Reader) -> str:
    name = f"s-{key.replace(' ', '-')}"
    heading = f'<h2 id="{name}">{text(reader.say(key))}</h2>'
    return f'<section aria-labelledby="{name}">{heading}\n{html}\n</section>' if html else ""


def _state(it: Incident, reader: Reader) -> str:
    """When, how long, who has it, what it was."""
    until = _over(it)
    lasted = duration((until or reader.now) - it.root.since, reader.language)
    pieces = [reader.at(it.root.since), reader.say("going on" if it.open else "lasted", lasted=lasted)]
    pieces += [f"👀 {it.taken}"] if it.taken else []
    pieces += [f"🏷 {_label(it, reader)}"] if it.label else []
    pieces += [reader.say("corrected")] if it.corrected else []
    badge = f'<span class="badge {"alert" if it.open else "ok"}">{text(reader.say("still" if it.open else "ended"))}</span> '
    return badge + text(" · ".join(pieces))


def _over(it: Incident) -> datetime | None:
    """First bucket in which all of it was well again."""
    ends = [member.until for member in it.members if member.until]
    return (max(ends) if ends else it.closed) if not it.open else None


def _label(it: Incident, reader: Reader) -> str:
    if it.label is None:
        return reader.say("no label")
    label = WORDS[reader.language][LABELS[it.label]]
    return reader.say("labelled", label=label, who=it.labelled) if it.labelled else label


def _facts(story: Story, reader: Reader) -> str:
    it, until = story.incident, _over(story.incident)
    silent = [reader.say("muted")] if it.muted else [reader.say("until at", at=reader.at(it.snoozed))] if it.snoozed else []
    facts = {
        "since": text(reader.at(it.root.since)),
        "ended": text(reader.at(until)) if until else "",
        "cause": text(causes.line(it, reader)),
        "taken": text(it.taken or reader.say("nobody")),
        "label": text(_label(it, reader)),
        "silent": text(", ".join(silent)),
        "address": "" if story.runs else away(it.run, text(it.run)),
    }
    rows = "".join(f"<dt>{text(reader.say(key))}</dt><dd>{html}</dd>" for key, html in facts.items() if html)
    return f'<dl class="facts">{rows}</dl>'


def _member(member: Member, reader: Reader) -> list[str]:
    worst = member.worst or member.first
    numbers = Numbers.of(reader.form(member.metric), reader.language, worst)
    until = reader.at(member.until) if member.until else reader.say("still")
    usual = numbers.range(worst.low, worst.high) or numbers.value(worst.expected)
    off = [reader.at(worst.bucket), numbers.value(worst.value), usual, change(worst, reader.language)]
    off = [reader.say("gap"), "", "", ""] if member.gap else off
    return [text(piece) for piece in (reader.title(member.metric), reader.at(member.since), until, *off)]


def _runs(story: Story, reader: Reader) -> str:
    """Each once, oldest first."""
    runs = {run.name: run for run in story.runs.values() if run.href}
    items = [
        f'<li><a href="../{text(run.href)}">{text(reader.say("run", at=reader.at(run.started)))}</a></li>'
        for run in runs.values()
    ]
    return f"<ul>{''.join(items)}</ul>" if items else ""
