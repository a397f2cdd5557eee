"""The page of a run: its executed notebook, the summary first (verdicts, chart, changes, messages), then all other sections."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from markupsafe import Markup, escape

from alerting.model.incident import incident_file
from alerting.model.run import Outcome
from alerting.reporting.failure import TAG
from alerting.reporting.page import PageContext, render
from alerting.reporting.sanitize import png_data, sanitize, strip_ansi
from alerting.reporting.words import SECTIONS, outcome_words, text_words, translated

SUMMARY_TAG = "summary"  # tag of the code cells whose sections come first, in the order of the notebook


@dataclass(frozen=True)
class RunRecord:
    """One run: its line on the list of the day, and which of its files still exist."""

    name: str  # file name without its suffix: alert-20261125T071048Z
    day: str  # its folder: 2026-11-25, UTC
    started: datetime
    ok: bool | None = None  # None: unknown
    summary: str = ""  # its result in one line
    affected: tuple[str, ...] = ()  # metrics with an open incident when it ended
    sent: int = 0  # number of messages that it sent
    messages: tuple[str, ...] = ()  # the first line of each, as plain text
    open: Mapping[str, str] = field(default_factory=dict)  # id of each incident that was open when it ended -> its first line
    seconds: float | None = None
    pictures: Mapping[str, str] = field(default_factory=dict)  # key of a message -> file name of its picture
    has_page: bool = False
    notebook: str = ""  # suffix of the notebook, .ipynb or .ipynb.gz; "" when it was deleted

    @property
    def state(self) -> str:
        """The state: failed, alert (a metric was affected, or a message was sent), ok, or unknown."""
        if not self.ok:
            return "unknown" if self.ok is None else "failed"
        return "alert" if self.affected or self.sent else "ok"

    @property
    def rehearsal(self) -> bool:
        return self.name.startswith("rehearsal-")

    @property
    def href(self) -> str:
        """The path of the page, otherwise of the notebook, relative to the folder of reports; "" if both were deleted."""
        suffix = ".html" if self.has_page else self.notebook
        return f"runs/{self.day}/{self.name}{suffix}" if suffix else ""


@dataclass
class Section:
    """A heading of the notebook and the cells below it."""

    heading: str
    words: list[str] = field(default_factory=list)  # paragraphs
    code: list[str] = field(default_factory=list)  # sources of its code cells
    outputs: list[Markup] = field(default_factory=list)
    in_summary: bool = False


@dataclass
class RenderedRun:
    """The page of a run, and the pictures beside it, numbered in the order of the notebook."""

    name: str  # name of the run
    page: PageContext
    html: str = ""
    pictures: dict[str, bytes] = field(default_factory=dict)  # file name -> PNG
    message_pictures: list[str] = field(default_factory=list)  # files of the pictures that messages show
    heading: str = ""  # heading above the present cell: the name of pictures and tables for screen readers

    def output(self, output: Mapping[str, Any]) -> Markup:
        """Render an output of a cell."""
        kind, data = output.get("output_type"), output.get("data", {})
        if kind == "stream":
            text = text_words("".join(output.get("text", "")).strip(), self.page.language, {})
            return _preformatted(text, "out err" if output.get("name") == "stderr" else "out")
        if kind == "error":
            trace = "\n".join(output.get("traceback", ())) or f"{output.get('ename')}: {output.get('evalue')}"
            return _preformatted(trace, "out err")
        if png := png_data("".join(data.get("image/png", ""))):
            return self._picture(png, self.page.text("picture in", heading=self.heading))
        if html := "".join(data.get("text/html", "")):
            label, empty = self.page.text("table of", heading=self.heading), self.page.text("nothing")
            shown = sanitize(html, self.message_picture, label, empty)
            return Markup('<div class="html">{}</div>').format(self.translated(shown))
        if Outcome.MIME in data:
            return _preformatted(outcome_words(data[Outcome.MIME].get("said", ""), self.page.language), "out")
        return _preformatted("".join(data.get("text/plain", "")).strip("'\""), "out")

    def translated(self, html: Markup) -> Markup:
        """Return the HTML of a notebook's output with words in the language of the page, and titles in place of metric names."""
        return translated(html, self.page.language, {name: title.words for name, title in self.page.titles.items()})

    def message_picture(self, png: bytes, line: str) -> Markup:
        """Render the picture of a message. `line`: the first line of its text."""
        named = line not in ("", "picture")  # the notebook's own word
        shown = self._picture(png, self.page.text("picture of", first=line) if named else self.page.text("picture"))
        self.message_pictures.append(next(reversed(self.pictures)))
        return shown

    def _picture(self, png: bytes, alt: str) -> Markup:
        file = f"{self.name}.{len(self.pictures) + 1}.png"
        self.pictures[file] = png
        width, height = (int.from_bytes(png[start : start + 4]) for start in (16, 20))  # the first chunk of a PNG has the size
        image = '<p class="shot"><img src="{}" width="{}" height="{}" alt="{}"></p>'
        return Markup(image).format(file, width, height, alt)


def run_page(notebook: Mapping[str, Any], run: RunRecord, page: PageContext) -> RenderedRun:
    """Render the JSON of an executed notebook as a page. Its pictures become files that the page links to."""
    rendered = RenderedRun(run.name, page)
    banner, sections = _split(notebook, rendered)
    rendered.html = render(
        "run",
        page,
        run=run,
        run_words=lambda run: run_words(run, page),
        incident_file=incident_file,
        at=_local_moment(notebook.get("metadata", {}).get("papermill", {}).get("parameters", {}).get("at", ""), page),
        banner=banner,
        summary=[section for section in sections if section.in_summary],
        rest=[section for section in sections if not section.in_summary],
    )
    return rendered


def run_words(run: RunRecord, page: PageContext) -> Markup:
    """Return the result of a run as text: why it failed, otherwise its messages, otherwise the open incidents."""
    if not run.ok or run.rehearsal:
        return Markup('<span lang="en">{}</span>').format(run.summary)
    words = " · ".join(run.messages)
    if not words and run.open:
        words = page.text("nothing new", names=" · ".join(run.open.values()))
    if not words and run.sent:
        words = page.text("messages sent", count=run.sent)
    if not words and run.affected:
        words = page.text("nothing new", names=", ".join(map(page.title, run.affected)))
    return escape(words or page.text("quiet"))


def _local_moment(at: str, page: PageContext) -> str:
    """Return a moment in ISO 8601 as local time. Any other text is returned unchanged; "" for None."""
    try:
        return page.time(datetime.fromisoformat(at))
    except (ValueError, TypeError):
        return str(at or "")


def _split(notebook: Mapping[str, Any], rendered: RenderedRun) -> tuple[Markup, list[Section]]:
    """Return the banner of a failure, if there is one, and the sections in the order of the notebook."""
    banner, sections = Markup(), [Section(rendered.page.text("start"))]
    for cell in notebook["cells"]:
        source, tags = "".join(cell.get("source", "")), cell.get("metadata", {}).get("tags", [])
        if TAG in tags:
            sign = rendered.translated(sanitize(source, rendered.message_picture, ""))
            if banner:
                sections[-1].outputs.append(sign)
            else:
                banner = sign
        elif cell.get("cell_type") == "markdown":
            in_russian = (SECTIONS[tag] for tag in tags if tag in SECTIONS)
            # None: the heading of the notebook is shown
            words = next(in_russian, None) if rendered.page.language == "ru" else None
            sections += [Section(words[0], list(filter(None, words[1:])))] if words else _parse_markdown(source)
        else:
            rendered.heading = sections[-1].heading
            sections[-1].code.append(source)
            sections[-1].in_summary |= SUMMARY_TAG in tags and bool(cell.get("outputs"))
            sections[-1].outputs += [rendered.output(output) for output in cell.get("outputs", ())]
    return banner, [section for section in sections if section.outputs or "".join(section.code).strip()]


def _parse_markdown(source: str) -> list[Section]:
    """Parse the Markdown that our notebooks use: headings and paragraphs."""
    sections = list[Section]()
    for block in re.split(r"\n\s*\n|(?<=\n)(?=#)", source):
        heading = re.match(r"#+ +([^\n]*)\n?", block)
        if heading or not sections:
            sections.append(Section(heading[1].strip() if heading else ""))
        if words := block[heading.end() if heading else 0 :].strip():
            sections[-1].words.append(words)
    return sections


def _preformatted(text: str, css: str) -> Markup:
    text = strip_ansi(text).strip("\n")
    return Markup('<pre class="{}" lang="en">{}</pre>').format(css, text) if text.strip() else Markup()
