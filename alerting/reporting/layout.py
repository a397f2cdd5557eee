"""Render a template of `templates/`. Values are escaped, style and script are inlined, and a policy blocks any other script."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from alerting.reporting.types import PageContext

# Control characters, halves of surrogate pairs, and characters that change the direction of the text.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# Terminal escape sequences: colours, window titles, character sets.
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[()][0-9A-Z]|\x1b[@-Z\\^_]?")


def render(template: str, page: PageContext, **values: object) -> str:
    """Return the HTML of `templates/TEMPLATE.html.j2`. The template sees `values`, `page`, and `text` for the words of the page.

    Every value is escaped, unless it is `Markup`; unprintable characters are replaced.
    """
    html = _environment().get_template(f"{template}.html.j2").render(values, page=page, text=page.text)
    return printable(html).replace("&#34;", "&quot;").replace("&#39;", "&#x27;")  # the encodings that `redact` searches for


def printable(text: str) -> str:
    """Return the text with U+FFFD in place of each unprintable character."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def strip_ansi(text: str) -> str:
    """Return the text without terminal escape sequences."""
    return _ANSI.sub("", text)


@cache
def _environment() -> Environment:
    loader = ChoiceLoader([PackageLoader("alerting.reporting", "templates"), PackageLoader("alerting.reporting", "static")])
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

    for name, file in (("style", "style.css"), ("filter_script", "filter.js")):
        code = loader.get_source(environment, file)[0]
        # The policy contains the hash of each inlined style and script.
        sha = b64encode(sha256(code.encode()).digest()).decode()
        environment.globals.update({name: Markup(code), f"{name}_hash": f"sha256-{sha}"})
    return environment
