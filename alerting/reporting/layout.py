"""The frame of every page: its head, a policy that lets nothing else run or load, landmarks, and the way back."""

from __future__ import annotations

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from html import escape

from alerting.reporting.types import PageContext

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


def layout_page(title: str, body: str, reader: PageContext, up: str = "", live: bool = False) -> str:
    """A whole page. `body` is HTML; `up`: the way to the index from where the page lies; `live`: the index, with its filter."""
    label, runs = escape_html(reader.say("title")), escape_html(reader.say("all runs"))
    back = f'<nav aria-label="{label}"><a href="{escape_html(up)}">← {runs}</a></nav>\n'
    style = STYLE + INDEX if live else STYLE
    return PAGE.format(
        language=reader.language,
        policy=POLICY.format(style=_hash(style), script=f"script-src '{_hash(SCRIPT)}'; " if live else ""),
        title=escape_html(title),
        style=style,
        skip=escape_html(reader.say("skip")),
        nav=back if up else "",
        body=body,
        foot=escape_html(reader.say("written", at=reader.at(reader.now), zone=reader.zone)),
        script=f"<script>{SCRIPT}</script>\n" if live else "",
    )


@cache
def _hash(code: str) -> str:
    """As a policy names it: nothing else in the page may be style or script."""
    return f"sha256-{b64encode(sha256(code.encode()).digest()).decode()}"


# Text to HTML. Everything that is not ours goes through `text`.

# Colours of a terminal, titles of its window, and what else an escape begins.
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[()][0-9A-Z]|\x1b[@-Z\\^_]?")
# Unprintable, or turning the direction of what follows.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_WEB = re.compile(r"https?://[^\s\"'<>\\]+", re.IGNORECASE)
_HERE = re.compile(r"#[\w-]+")


def escape_html(words: str) -> str:
    """`words` as text of a page or of a quoted attribute: no markup, nothing unprintable."""
    return escape(_UNSEEN.sub("\N{REPLACEMENT CHARACTER}", words.replace("\r\n", "\n")), quote=True)


def strip_ansi(words: str) -> str:
    """Without what a terminal makes of it."""
    return _ANSI.sub("", words)


def is_safe(url: str) -> bool:
    """A web address or a place on the same page: no javascript:, no data:, no file:."""
    return bool(_WEB.fullmatch(url) or _HERE.fullmatch(url))


def html_link(href: str, words: str) -> str:
    """`words` is HTML already; `href` is a path of ours, or is checked before."""
    return f'<a href="{escape_html(href)}">{words}</a>'


def outside_link(url: str, words: str) -> str:
    """A link to another place, or the mere words where the address is none."""
    return f'<a href="{escape_html(url)}" rel="noopener noreferrer">{words}</a>' if is_safe(url) else words


def scrollable_table(table: str, label: str) -> str:
    """A table in a box of its own, that a narrow screen and a keyboard can scroll."""
    return f'<div class="scroll" role="region" aria-label="{escape_html(label)}" tabindex="0">{table}</div>'


def page_table(label: str, heads: list[str], rows: list[list[str]], numbers: frozenset[int] = frozenset()) -> str:
    """`rows` are HTML, the first cell of each is its head; `numbers`: columns set to the right."""

    def cell(n: int, html: str) -> str:
        kind = ' class="n"' if n in numbers else ""
        return f'<th scope="row">{html}</th>' if n == 0 else f"<td{kind}>{html}</td>"

    head = "".join(
        f'<th scope="col"{" class=n" if n in numbers else ""}>{escape_html(word)}</th>' for n, word in enumerate(heads)
    )
    body = "\n".join("<tr>" + "".join(cell(n, html) for n, html in enumerate(row)) + "</tr>" for row in rows)
    return scrollable_table(f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>", label)


# How the pages look: calm and dense, light or dark as the reader's system is. No colour stands alone for a state.

STYLE = """
:root { color-scheme: light dark; --bg: #fbfbfa; --card: #fff; --ink: #1d2125; --soft: #5a626b; --line: #dcdfe3;
  --link: #0b57a4;
  --ok: #4f9a73; --alert: #a86a00; --failed: #c3261f; --missing: #767d86; --alert-bg: #fdf3dd; --failed-bg: #fdecea;
  --ok-bg: #e9f4ee;
  --code: #f3f4f5; --focus: #0b57a4 }
@media (prefers-color-scheme: dark) {
:root { --bg: #14171a; --card: #1b1f23; --ink: #e4e7ea; --soft: #a3acb5; --line: #333a41; --link: #7db8f2;
  --ok: #4d9c74; --alert: #e0a338; --failed: #ff7b70; --missing: #868e97; --alert-bg: #33290f; --failed-bg: #3b1c1a;
  --ok-bg: #17291f;
  --code: #22272c; --focus: #7db8f2 }
.shot img { filter: brightness(.92) } }
* { box-sizing: border-box }
html { -webkit-text-size-adjust: 100% }
body { margin: 0; background: var(--bg); color: var(--ink);
  font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif }
main, nav, footer { max-width: 74rem; margin: 0 auto; padding: 0 1.25rem }
nav { padding-top: .9rem }
main { padding-top: .75rem; padding-bottom: 1.5rem }
main:focus { outline: none }
footer { color: var(--soft); border-top: 1px solid var(--line); padding-top: .6rem; padding-bottom: 2rem; font-size: 13px }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .3rem 0 .5rem; letter-spacing: -.01em; overflow-wrap: anywhere }
h2 { font-size: 1.05rem; margin: 1.75rem 0 .5rem; line-height: 1.3 }
h3 { font-size: 1rem; margin: 1.1rem 0 .25rem; line-height: 1.35; overflow-wrap: anywhere }
p { margin: .25rem 0 }
a { color: var(--link); text-underline-offset: 2px; overflow-wrap: anywhere }
:focus-visible { outline: 3px solid var(--focus); outline-offset: 2px; border-radius: 2px }
.skip { position: absolute; left: -99rem; background: var(--card); padding: .5rem 1rem; z-index: 2 }
.skip:focus { left: .5rem; top: .5rem }
.soft, .none { color: var(--soft) }
.away { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap }
.badge { display: inline-block; font-size: 12px; line-height: 1.4; font-weight: 600; padding: .1rem .5rem;
  border-radius: 3px; white-space: nowrap;
  border: 1px solid currentColor; vertical-align: .12em }
.badge.ok { color: var(--ink); background: var(--ok-bg); border-color: var(--ok) }
.badge.alert { color: var(--ink); background: var(--alert-bg); border-color: var(--alert) }
.badge.failed { color: var(--ink); background: var(--failed-bg); border-color: var(--failed) }
.badge.unknown { color: var(--soft) }
.lead { margin: .25rem 0 .5rem; overflow-wrap: anywhere }
.note { border-left: 4px solid var(--alert); background: var(--alert-bg); padding: .5rem .9rem; margin: .75rem 0;
  overflow-wrap: anywhere }
.banner { border-left: 6px solid var(--failed); background: var(--failed-bg); padding: .75rem 1.1rem; margin: 1rem 0 }
.banner h2 { margin: 0 0 .4rem; font-size: 1.15rem }
.banner pre { background: none; border: 0; padding: 0; margin: 0 0 .5rem; white-space: pre-wrap }
#run-failed { border-left: 6px solid var(--failed); background: var(--failed-bg); padding: .3rem .9rem; margin: .5rem 0 }
dl.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .15rem 1rem; margin: .5rem 0 }
dl.facts dt { color: var(--soft) }
dl.facts dd { margin: 0; overflow-wrap: anywhere }
.scroll { overflow-x: auto; max-width: 100%; margin: .4rem 0; border: 1px solid var(--line); border-radius: 4px;
  background: var(--card) }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: .3rem .7rem; border-top: 1px solid var(--line); vertical-align: top }
thead tr:first-child > *, tbody:first-child tr:first-child > * { border-top: 0 }
thead th, thead td { font-size: 12.5px; font-weight: 600; color: var(--soft); white-space: nowrap }
tbody th { font-weight: 500; white-space: nowrap }
td { white-space: nowrap }
td.w { white-space: normal; min-width: 14rem; overflow-wrap: anywhere }
th.n, td.n { text-align: right }
td.odd { font-weight: 650; color: var(--failed) }
pre { background: var(--code); border: 1px solid var(--line); border-radius: 4px; padding: .5rem .75rem; margin: .4rem 0;
  overflow-x: auto; font: 12.5px/1.5 ui-monospace, Menlo, Consolas, monospace }
pre.out { white-space: pre-wrap; overflow-wrap: anywhere }
pre.err { border-left: 4px solid var(--failed) }
code { font: .93em ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere }
details > summary { cursor: pointer; color: var(--soft); font-size: 13px; padding: .15rem 0 }
details.code { margin: .2rem 0 }
.shot { margin: .5rem 0 }
.shot img { display: block; max-width: 100%; height: auto; border: 1px solid var(--line); border-radius: 4px;
  background: #fff }
.message { white-space: pre-wrap; overflow-wrap: anywhere; background: var(--card); border: 1px solid var(--line);
  border-left: 4px solid var(--missing); border-radius: 4px;
  padding: .6rem .9rem; max-width: 46rem; margin: .5rem 0 }
.two { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 0 1.5rem; align-items: start }
.thread { list-style: none; margin: .4rem 0; padding: 0; max-width: 46rem }
.thread > li { margin: .9rem 0 }
.thread > li.reply { margin-left: 1.5rem }
.thread .when { font-size: 13px; color: var(--soft); margin: 0 0 .2rem }
.buttons { display: flex; flex-wrap: wrap; gap: .35rem; margin: .35rem 0; padding: 0; list-style: none }
.buttons li { border: 1px solid var(--line); border-radius: 4px; padding: .1rem .6rem; font-size: 13px; color: var(--soft) }
@media (max-width: 46rem) {
main, nav, footer { padding-left: .75rem; padding-right: .75rem }
h1 { font-size: 1.3rem }
.two { grid-template-columns: minmax(0, 1fr) }
.thread > li.reply { margin-left: .75rem }
dl.facts { grid-template-columns: minmax(0, 1fr); gap: 0 }
dl.facts dd { margin-bottom: .35rem }
}
@media print { nav, .skip { display: none } body { background: #fff } }
"""

INDEX = """
.calendar { margin: .4rem 0 .2rem }
.calendar table, .calendar tbody, .calendar tr { display: block; width: 100% }
.calendar th, .calendar td { display: block; border: 0; padding: 0 }
.calendar tr { display: grid; grid-template-columns: 6.4rem minmax(0, 1fr) 17rem; gap: 0 .75rem; align-items: center;
  min-height: 21px }
.calendar th { font-size: 13px; font-weight: 400; white-space: nowrap; font-variant-numeric: tabular-nums }
.calendar td.sum { white-space: normal; font-size: 12.5px; color: var(--soft); line-height: 1.3 }
.calendar td.sum b { color: var(--ink) }
.cells { display: grid; grid-template-columns: repeat(var(--n, 96), minmax(0, 1fr)); gap: 1px; height: 16px }
.cells.n92 { --n: 92 } .cells.n100 { --n: 100 } .cells.n94 { --n: 94 } .cells.n98 { --n: 98 }
.cells > * { display: block; height: 16px; background-repeat: no-repeat; background-position: bottom }
.o { background-image: linear-gradient(var(--ok), var(--ok)); background-size: 100% 35% }
.a { background-image: linear-gradient(var(--alert), var(--alert)); background-size: 100% 70% }
.f { background-image: linear-gradient(var(--failed), var(--failed)); background-size: 100% 100% }
.u { background-image: linear-gradient(var(--missing), var(--missing)); background-size: 100% 15% }
.m { border: 1px solid var(--missing);
  background-image: linear-gradient(to top right, transparent 42%, var(--missing) 42%, var(--missing) 58%, transparent 58%) }
.cells > a:hover { outline: 2px solid var(--ink) }
.hours { display: grid; grid-template-columns: repeat(8, minmax(0, 1fr)); font-size: 11.5px; color: var(--soft);
  font-variant-numeric: tabular-nums }
.legend { display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; margin: .5rem 0 0; padding: 0; list-style: none;
  color: var(--soft); font-size: 13px }
.legend i { display: inline-block; width: 10px; height: 16px; margin-right: .45rem; vertical-align: -3px;
  background-repeat: no-repeat; background-position: bottom }

form.filter { display: flex; flex-wrap: wrap; gap: .5rem .9rem; align-items: end; margin: 1.5rem 0 0;
  padding: .6rem .9rem; border: 1px solid var(--line); border-radius: 4px; background: var(--card) }
form.filter[hidden] { display: none }
form.filter label { display: grid; font-size: 12.5px; color: var(--soft); gap: .15rem; min-width: 0 }
form.filter output { flex-basis: 100%; font-size: 13px; color: var(--soft) }
select, input, button { font: inherit; color: var(--ink); background: var(--bg); border: 1px solid var(--missing);
  border-radius: 4px; padding: .22rem .45rem; max-width: 100%; min-height: 30px }
button { cursor: pointer }
.cards { list-style: none; margin: .4rem 0; padding: 0; border: 1px solid var(--line); border-radius: 4px;
  background: var(--card) }
.cards > li { display: grid; grid-template-columns: minmax(0, 1fr) 13rem; gap: .25rem 1.25rem; padding: .7rem .9rem;
  border-top: 1px solid var(--line) }
.cards > li:first-child, .cards > li[hidden] + li { border-top-color: transparent }
.cards > li:first-child { border-top: 0 }
.cards > li[hidden], tr[hidden], details[hidden] { display: none }
.cards h3 { margin-top: 0 }
.cards p { margin: .1rem 0; overflow-wrap: anywhere }
.cards .shot { margin: 0 }
.cards .shot img { width: 100%; aspect-ratio: 16 / 9; object-fit: cover; object-position: top left }
.days details { border: 1px solid var(--line); border-radius: 4px; background: var(--card); margin: .35rem 0 }
.days summary { padding: .35rem .9rem; color: var(--ink); font-size: 14px }
.days summary span { color: var(--soft); font-size: 13px; margin-left: .5rem }
.days .scroll { border: 0; border-top: 1px solid var(--line); border-radius: 0; margin: 0 }
.days td { white-space: normal; min-width: 4rem }
.days td:nth-child(4) { min-width: 14rem; width: 60% }
@media (max-width: 46rem) {
.calendar tr { grid-template-columns: minmax(0, 1fr) auto; padding: .15rem 0 }
.calendar td.strip { grid-column: 1 / -1; grid-row: 2 }
.calendar td.sum { text-align: right } .calendar td.sum .well { display: none }
.cells { gap: 0 } .cells > * { border-right: 1px solid var(--bg) }
.calendar tr.scale th, .calendar tr.scale td.sum { display: none }
.cards > li { grid-template-columns: minmax(0, 1fr) }
.cards .shot { max-width: 20rem; margin-top: .3rem }
form.filter label { flex: 1 1 40% } form.filter select, form.filter input { width: 100%; min-width: 0 }
}
@media print { form.filter { display: none } }
"""


# The filter of the index. Without it the page is a plain list.

SCRIPT = """
"use strict";
(function () {
  var form = document.querySelector("form.filter"), output = form.querySelector("output");
  var items = Array.from(document.querySelectorAll("[data-t]")).map(function (node) {
    var data = node.dataset;
    return { node: node, at: +data.t, end: +(data.e || data.t), metrics: (data.m || "").split(" "),
             states: (data.s || "").split(" "), incident: node.tagName === "LI" };
  });
  var days = Array.from(document.querySelectorAll(".days details"));
  var open = days.map(function (day) { return day.open; });
  function instant(name, shift) {
    var given = form.elements[name].value;
    return given ? Date.parse(given + "T00:00Z") / 1000 + shift : NaN;
  }
  function show() {
    var metric = form.elements.metric.value, state = form.elements.state.value;
    var from = instant("from", 0), until = instant("until", 86400), count = { incidents: 0, runs: 0 };
    var all = !metric && !state && isNaN(from) && isNaN(until);
    items.forEach(function (item) {
      var fits = (!metric || item.metrics.indexOf(metric) >= 0) && (!state || item.states.indexOf(state) >= 0) &&
        !(item.end < from) && !(item.at >= until);
      item.node.hidden = !fits;
      if (fits) { count[item.incident ? "incidents" : "runs"] += 1; }
    });
    days.forEach(function (day, n) {
      var some = day.querySelector("tr[data-t]:not([hidden])") !== null;
      day.hidden = !some;
      day.open = all ? open[n] : some;
    });
    output.value = output.dataset.shown.replace("{incidents}", count.incidents).replace("{runs}", count.runs);
  }
  form.hidden = false;
  form.addEventListener("input", show);
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.addEventListener("reset", function () { setTimeout(show, 0); });
  show();
  var stale = document.getElementById("stale"), minutes = Math.floor((Date.now() / 1000 - stale.dataset.written) / 60);
  if (minutes > 35) {
    stale.textContent = stale.dataset.words.replace("{minutes}", minutes);
    stale.hidden = false;
  }
})();
"""
