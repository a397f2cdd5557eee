"""The thread of an incident: its opening message as it reads now and as it was first sent, what answers it, the pictures."""

from __future__ import annotations

from html import unescape
from re import sub

from alerting.model import Told
from alerting.pages.cleaning import clean
from alerting.pages.markup import text
from alerting.pages.nouns import Reader, Story


def first_line(story: Story) -> str:
    """Of the opening message as it reads now, as plain text."""
    opening = next((told for told in story.thread if told.key == story.incident.key), None)
    words = _newest(story, opening).text if opening else ""
    return unescape(sub(r"<[^>]*>", "", words.partition("\n")[0])).strip()


def thread(story: Story, reader: Reader) -> str:
    """In the order of telling; edits are in what they edit."""
    items = [_item(told, story, reader) for told in story.thread if not told.edits]
    return (
        '<ol class="thread">\n' + "\n".join(items) + "\n</ol>"
        if items
        else f'<p class="none">{text(reader.say("no thread"))}</p>'
    )


def _edits(story: Story, told: Told) -> list[Told]:
    return [other for other in story.thread if other.edits == told.key and other.state == "sent"]


def _newest(story: Story, told: Told) -> Told:
    return (_edits(story, told) or [told])[-1]


def _item(told: Told, story: Story, reader: Reader) -> str:
    opening = told.key == story.incident.key
    kind = "opening" if opening else "reply" if told.reply_to else ""
    word = "picture" if told.picture else kind
    heading = f"<b>{text(reader.say(word))}</b> · " if word else ""
    when = f'<p class="when">{heading}{text(_state(told, reader))}{_edited(told, story, reader)}{_link(told, story, reader)}</p>'
    body = _picture(told, story, reader) if told.picture else _text(told, story, reader)
    return f'<li class="{kind}">{when}{body}</li>'


def _state(told: Told, reader: Reader) -> str:
    return reader.say(f"state {told.state}", at=reader.at(told.changed or told.created), why=told.reason)


def _edited(told: Told, story: Story, reader: Reader) -> str:
    edits = _edits(story, told)
    at = edits[-1].changed or edits[-1].created if edits else None
    return f" · {text(reader.say('edited', at=reader.at(at), count=len(edits)))}" if at else ""


def _link(told: Told, story: Story, reader: Reader) -> str:
    run = story.runs.get(told.key)
    return (
        f' · <a href="../{text(run.href)}">{text(reader.say("run", at=reader.at(run.started)))}</a>' if run and run.href else ""
    )


def _text(told: Told, story: Story, reader: Reader) -> str:
    newest = _newest(story, told)
    names = [button.text for row in newest.buttons for button in row]
    buttons = "".join(f"<li>{text(name)}</li>" for name in names)
    shown = _message(newest.text) + (
        f'<ul class="buttons" aria-label="{text(reader.say("buttons"))}">{buttons}</ul>' if names else ""
    )
    if newest is told or newest.text == told.text:
        return shown
    return f"{shown}<details><summary>{text(reader.say('first'))}</summary>{_message(told.text)}</details>"


def _message(html: str) -> str:
    return f'<div class="message">{clean(html, lambda data, words: text(words), "")}</div>'


def _picture(told: Told, story: Story, reader: Reader) -> str:
    file, caption = story.pictures.get(told.key, ""), unescape(sub(r"<[^>]*>", "", told.text))
    if not file:
        return f'<p class="soft">{text(reader.say("picture elsewhere"))}</p>'
    return f'<p class="shot"><img src="../{text(file)}" alt="{text(reader.say("picture of", first=caption))}"></p>'
