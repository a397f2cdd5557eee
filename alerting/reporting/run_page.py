"""One run, from its executed notebook: what failed, the verdict, the picture, what changed, what was said; then all the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from alerting.reporting.index_page import badge
from alerting.reporting.layout import escape_html, layout_page, strip_ansi
from alerting.reporting.sanitize import png_base64, sanitize
from alerting.reporting.types import PageContext, RunRecord

SUMMARY = "summary"  # tag of the code cells whose sections come first, in the notebook's order
# Their headings, for records that were made before there was the tag.
UNTAGGED = ("What verdict", "What picture", "What changed", "What explains it", "What is said")
FAILED = "run-failed"  # tag of the cells that a failure has put in
UP = "../../index.html"


@dataclass
class Section:
    """A heading of the notebook and what comes below it."""

    heading: str
    words: list[str] = field(default_factory=list)  # HTML
    code: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)  # HTML
    summary: bool = False


@dataclass
class Rendered:
    """The page, and the pictures that lie beside it: file name -> PNG. `told`: those of messages."""

    html: str = ""
    pictures: dict[str, bytes] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)


def run_page(notebook: Mapping[str, Any], entry: RunRecord, reader: PageContext) -> Rendered:
    """The page of a run. Pictures leave it: the page links to files."""
    made = Rendered()
    banner, sections = _sections(notebook, _Writer(entry.name, made, reader))
    top = [section for section in sections if section.summary]
    top = top or [section for heading in UNTAGGED for section in sections if section.heading == heading]
    rest = [section for section in sections if section not in top]
    parts = [_head(entry, notebook, reader), banner, *map(_written(reader), top)]
    if rest:
        parts += [
            f"<h2>{escape_html(reader.say('more'))}</h2>" if top else "",
            *map(_written(reader, "h3" if top else "h2"), rest),
        ]
    made.html = layout_page(_title(entry, reader), "\n".join(filter(None, parts)), reader, up=UP)
    return made


def _title(entry: RunRecord, reader: PageContext) -> str:
    return reader.say("rehearsal of" if entry.rehearsal else "check of", at=reader.at(entry.started))


def _head(entry: RunRecord, notebook: Mapping[str, Any], reader: PageContext) -> str:
    at = notebook.get("metadata", {}).get("papermill", {}).get("parameters", {}).get("at", "")
    facts = [
        reader.say("took") + " " + reader.say("seconds", count=f"{entry.seconds:.1f}") if entry.seconds else "",
        reader.say("stood at", at=str(at)) if at else "",
    ]
    link = f'<a href="{escape_html(entry.name)}.ipynb">{escape_html(reader.say("notebook"))}</a>' if entry.notebook else ""
    line = " · ".join(filter(None, [*(escape_html(fact) for fact in facts if fact), link]))
    said = f'<p class="lead">{badge(entry.state, reader)} {escape_html(entry.said)}</p>'
    return f'<h1>{escape_html(_title(entry, reader))}</h1>\n{said}\n<p class="soft">{line}</p>'


def _written(reader: PageContext, level: str = "h2") -> Any:
    def write(section: Section) -> str:
        code = escape_html("\n\n".join(section.code).strip())
        folded = (
            f'<details class="code"><summary>{escape_html(reader.say("code"))}</summary><pre><code>{code}</code></pre></details>'
            if code
            else ""
        )
        heading = f"<{level}>{escape_html(section.heading)}</{level}>" if section.heading else ""
        return "\n".join(["<section>", heading, *section.words, *section.outputs, folded, "</section>"])

    return write


def _sections(notebook: Mapping[str, Any], writer: _Writer) -> tuple[str, list[Section]]:
    """The failure's banner, and the sections in the notebook's order."""
    banner, found = "", [Section(writer.reader.say("start"))]
    for cell in notebook["cells"]:
        source, tags = "".join(cell.get("source", "")), cell.get("metadata", {}).get("tags", [])
        if FAILED in tags:
            shown = sanitize(source, writer.picture, "")
            if banner:
                found[-1].outputs.append(shown)
            else:
                banner = f'<section class="banner" aria-label="{FAILED}">{shown}</section>'
        elif cell.get("cell_type") == "markdown":
            for section in _markdown(source):
                found.append(section)
        else:
            writer.heading = found[-1].heading
            found[-1].code.append(source)
            found[-1].summary |= SUMMARY in tags
            found[-1].outputs += writer.outputs(cell)
    return banner, [section for section in found if section.outputs or "".join(section.code).strip()]


def _markdown(source: str) -> Iterator[Section]:
    """As much of it as our notebooks use: headings and paragraphs."""
    section = None
    for block in re.split(r"\n\s*\n|(?<=\n)(?=#)", source):
        heading = re.match(r"#+ +([^\n]*)\n?", block)
        if heading or section is None:
            if section:
                yield section
            section = Section(heading[1].strip() if heading else "")
            block = block[heading.end() :] if heading else block
        if block.strip():
            section.words.append(f'<p class="soft">{escape_html(block.strip())}</p>')
    if section:
        yield section


class _Writer:
    """Outputs of cells as HTML; what it meets of pictures goes to `made`."""

    def __init__(self, name: str, made: Rendered, reader: PageContext) -> None:
        self.name, self.made, self.reader = name, made, reader
        self.heading = ""

    def outputs(self, cell: Mapping[str, Any]) -> Iterator[str]:
        for output in cell.get("outputs", ()):
            kind = output.get("output_type")
            if kind == "stream":
                yield _pre("".join(output.get("text", "")), "err" if output.get("name") == "stderr" else "")
            elif kind == "error":
                trace = "\n".join(output.get("traceback", ())) or f"{output.get('ename')}: {output.get('evalue')}"
                yield _pre(trace, "err")
            else:
                yield self._data(output.get("data", {}))

    def _data(self, data: Mapping[str, Any]) -> str:
        if picture := png_base64("".join(data.get("image/png", ""))):
            return self._figure(picture, self.reader.say("picture in", heading=self.heading))
        if html := "".join(data.get("text/html", "")):
            shown = sanitize(html, self.picture, self.reader.say("table of", heading=self.heading), self.reader.say("nothing"))
            return f'<div class="html">{shown}</div>'
        return _pre("".join(data.get("text/plain", "")).strip("'\""))

    def picture(self, data: bytes, words: str) -> str:
        """Of a message: what stands before it says what it shows."""
        html = self._figure(data, self.reader.say("picture of", first=words))
        self.made.told.append(next(reversed(self.made.pictures)))
        return html

    def _figure(self, data: bytes, words: str) -> str:
        file = f"{self.name}.{len(self.made.pictures) + 1}.png"
        self.made.pictures[file] = data
        wide, high = (int.from_bytes(data[place : place + 4]) for place in (16, 20))  # as the first chunk of a PNG says
        return f'<p class="shot"><img src="{escape_html(file)}" width="{wide}" height="{high}" alt="{escape_html(words)}"></p>'


def _pre(words: str, kind: str = "") -> str:
    shown = escape_html(strip_ansi(words)).strip("\n")
    return f'<pre class="{f"out {kind}".strip()}">{shown}</pre>' if shown.strip() else ""
