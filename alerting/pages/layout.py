"""The frame of every page: its head, a policy that lets nothing else run or load, landmarks, and the way back."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256

from alerting.pages.markup import text
from alerting.pages.nouns import Reader
from alerting.pages.script import SCRIPT
from alerting.pages.style import INDEX, STYLE

# `file:` beside 'self', because browsers do not agree on what 'self' is on a disk; `data:` is the empty icon.
POLICY = "default-src 'none'; img-src 'self' file: data:; style-src '{style}'; {script}base-uri 'none'; form-action 'none'"
PAGE = """<!doctype html>
<html lang="{language}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<a class="skip" href="#content">{skip}</a>
{nav}<main id="content" tabindex="-1">
{body}
</main>
<footer><p>{foot}</p></footer>
{script}</body>
</html>
"""


def page(title: str, body: str, reader: Reader, up: str = "", live: bool = False) -> str:
    """A whole page. `body` is HTML; `up`: the way to the index from where the page lies; `live`: the index, with its filter."""
    back = f'<nav aria-label="{text(reader.say("title"))}"><a href="{text(up)}">← {text(reader.say("all runs"))}</a></nav>\n'
    style = STYLE + INDEX if live else STYLE
    return PAGE.format(
        language=reader.language,
        policy=POLICY.format(style=_hash(style), script=f"script-src '{_hash(SCRIPT)}'; " if live else ""),
        title=text(title),
        style=style,
        skip=text(reader.say("skip")),
        nav=back if up else "",
        body=body,
        foot=text(reader.say("written", at=reader.at(reader.now), zone=reader.zone)),
        script=f"<script>{SCRIPT}</script>\n" if live else "",
    )


@cache
def _hash(code: str) -> str:
    """As a policy names it: nothing else in the page may be style or script."""
    return f"sha256-{b64encode(sha256(code.encode()).digest()).decode()}"
