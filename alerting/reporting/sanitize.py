"""Sanitize HTML from notebooks and chats, extract its pictures, and reformat its tables.

nh3 passes only the tags and attributes listed here. In its output tags are balanced, attributes are quoted, and each "<" or
">" outside of a tag is escaped. So the functions below can find the tags with regular expressions.
"""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from itertools import zip_longest

import nh3
from markupsafe import Markup, escape

from alerting.reporting.failure import TAG

TABLE_TAGS = {"table", "thead", "tbody", "tfoot", "tr", "td", "th"}
TAGS = TABLE_TAGS | {
    "a", "b", "blockquote", "br", "code", "div", "em", "h2", "h3", "h4", "i", "img", "li", "ol", "p", "pre", "s", "span",
    "strong", "u", "ul",
}  # fmt: skip
REMOVED = {"iframe", "noscript", "object", "script", "style", "template", "textarea", "title"}  # removed with their content
SPANS = {"colspan", "rowspan"}
ATTRIBUTES = {"a": {"href"}, "div": {"id", "style"}, "img": {"src", "alt"}, "td": SPANS, "th": SPANS}
PNG = "data:image/png;base64,"
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
MAX_ALT = 500  # characters of a picture's description
HIGHLIGHTED = {"anomalous", "critical", "missing", "failed", "refused", "kept"}  # statuses that are shown in colour
MAX_UNBROKEN = 32  # a cell with more characters may be broken into lines

# Control characters, halves of surrogate pairs, and characters that change the direction of the text.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# Terminal escape sequences: colours, window titles, character sets.
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[()][0-9A-Z]|\x1b[@-Z\\^_]?")
_WEB_ADDRESS = re.compile(r"https?://[^\s\"'<>\\]+", re.IGNORECASE)
_ANCHOR = re.compile(r"#[\w-]+")
_LINK_WITHOUT_ADDRESS = re.compile(r'<a rel="noopener noreferrer">(.*?)</a>', re.DOTALL)
_IMAGE = re.compile(r'<img((?: \w+="[^"]*")*)>')
_TABLE_TAG = re.compile(rf"(</?(?:{'|'.join(sorted(TABLE_TAGS))})(?: [^>]*)?>)")
_NUMBER = re.compile(r"[-+−]?[\d,\u202f ]*\.?\d+(e[-+]?\d+)?\s?%?|nan|NaN|")

ShowPicture = Callable[[bytes, str], str]  # PNG, its description in one line -> HTML


def sanitize(html: str, show_picture: ShowPicture, table_label: str, empty: str = "") -> Markup:
    """Return the safe part of `html`.

    `show_picture`: takes a PNG and its description (the first line of the message above it, otherwise its `alt`), and returns
    HTML. `table_label`: the accessible name of tables. `empty`: the text in place of a table without rows.
    """
    html = printable(strip_ansi(html))
    html = nh3.clean(
        html,
        tags=TAGS,
        clean_content_tags=REMOVED,
        attributes=ATTRIBUTES,
        attribute_filter=_filter_attribute,
        url_schemes={"http", "https", "data"},
    )
    html = _LINK_WITHOUT_ADDRESS.sub(r"\1", html)
    html = re.sub(r'(<div[^>]*) style="message"', r'\1 class="message"', html)
    html = _IMAGE.sub(lambda match: _replace_image(match, show_picture), html)
    return Markup(_format_tables(html, table_label, empty))


def printable(text: str) -> str:
    """Return the text with U+FFFD in place of each unprintable character."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def strip_ansi(text: str) -> str:
    """Return the text without terminal escape sequences."""
    return _ANSI.sub("", text)


def plain_text(html: str) -> str:
    """Return the text of sanitized HTML, or of a message, without its tags."""
    return unescape(re.sub(r"<[^>]*>", "", html))


def is_safe(url: str) -> bool:
    """Return whether the link is a web address or an anchor on the same page. javascript:, data: and file: are not safe."""
    return bool(_WEB_ADDRESS.fullmatch(url) or _ANCHOR.fullmatch(url))


def png_data(encoded: str) -> bytes:
    """Decode a picture from base64. Return b"" if it is not a PNG."""
    try:
        data = base64.b64decode("".join(encoded.split()), validate=True)
    except ValueError:
        return b""
    return data if data.startswith(PNG_MAGIC) else b""


def _filter_attribute(tag: str, name: str, value: str) -> str | None:
    """Return the value of an attribute, or None to drop it. Preformatted blocks get the class of messages."""
    if name == "style":
        return "message" if "pre-wrap" in value else None
    is_span = re.fullmatch(r"[1-9]\d?", value)
    allowed = {"href": is_safe(value), "src": value.startswith(PNG), "id": value == TAG, "colspan": is_span, "rowspan": is_span}
    return value if allowed.get(name, True) else None


def _replace_image(match: re.Match[str], show_picture: ShowPicture) -> str:
    attributes = dict(re.findall(r'(\w+)="([^"]*)"', match[1]))
    alt = unescape(attributes.get("alt", ""))
    data = png_data(attributes.get("src", "").removeprefix(PNG))
    if not data:
        return escape(alt)
    above = re.split(r"<div[^>]*>", match.string[: match.start()])[-1]
    line = plain_text(above).strip().partition("\n")[0]
    return show_picture(data, line[:MAX_ALT] or alt)


@dataclass
class Cell:
    """A cell of a table. `html` is sanitized."""

    tag: str  # td or th
    spans: str  # its attributes colspan and rowspan
    html: str = ""


Row = list[Cell]


def _format_tables(html: str, label: str, empty: str) -> str:
    """Rewrite each table. The rows of a table inside a cell are moved into the outer table."""
    out, depth = list[str](), 0
    head, body = list[Row](), list[Row]()
    rows = body
    for token in _TABLE_TAG.split(html):
        if not _TABLE_TAG.fullmatch(token):
            if depth == 0:
                out.append(token)
            elif rows and rows[-1]:
                rows[-1][-1].html += token
        elif token == "<table>":
            if depth == 0:
                head, body = [], []
                rows = body
            depth += 1
        elif token == "</table>":
            depth -= 1
            if depth == 0:
                out.append(_format_table([row for row in head if row], [row for row in body if row], label, empty))
        elif token in ("<thead>", "</thead>", "<tbody>", "<tfoot>"):
            rows = head if token == "<thead>" else body
        elif token == "<tr>" or not rows:
            rows.append([])
        if token.startswith(("<td", "<th")) and not token.startswith("<thead"):
            rows[-1].append(Cell(token[1:3], token[3:-1]))
    return "".join(out)


def _format_table(head: list[Row], body: list[Row], label: str, empty: str) -> str:
    """Return a table with a scope for each header cell and right-aligned numbers, in a box that scrolls on narrow screens."""
    if not body:
        return f'<p class="none">{escape(empty)}</p>'
    cells = [cell for row in (*head, *body) for cell in row]
    for cell in cells:
        cell.html = cell.html.strip()
    if not any(cell.spans for cell in cells):
        head, body = _simplify(head, body)
    numeric = set[int]()
    for n, column in enumerate(zip_longest(*body, fillvalue=Cell("td", ""))):
        if any(cell.html for cell in column) and all(cell.tag == "td" and _NUMBER.fullmatch(cell.html) for cell in column):
            numeric.add(n)

    heads, rows = (
        [f"<tr>{''.join(_format_cell(cell, n in numeric, scope) for n, cell in enumerate(row))}</tr>" for row in part]
        for part, scope in ((head, "col"), (body, "row"))
    )
    top = f"<thead>{''.join(heads)}</thead>" if heads else ""
    table = "\n".join([f"<table>{top}<tbody>", *rows, "</tbody></table>"])
    return f'<div class="scroll" role="region" aria-label="{escape(label)}" tabindex="0">{table}</div>'


def _simplify(head: list[Row], body: list[Row]) -> tuple[list[Row], list[Row]]:
    """Remove two additions of pandas: a line for the name of the index, and a first column that numbers the rows."""
    if len(head) == 2 and not head[0][0].html and not any(cell.html for cell in head[1][1:]):
        head = [[head[1][0], *head[0][1:]]]
    counted = all(row[0].tag == "th" and row[0].html == str(n) for n, row in enumerate(body))
    if counted and not any(row[0].html for row in head) and min(map(len, body)) > 1:
        head, body = [row[1:] for row in head], [row[1:] for row in body]
    return head, body


def _format_cell(cell: Cell, is_number: bool, scope: str) -> str:
    """Return the HTML of a cell. `scope`: "col" in the head of the table, "row" below it."""
    css = ' class="n"' if is_number else ""
    if scope == "col" and not cell.html:
        return f"<td{cell.spans}></td>"
    if scope == "col" or cell.tag == "th":
        return f'<th scope="{scope}"{css}{cell.spans}>{cell.html}</th>'
    css = css or (' class="odd"' if cell.html in HIGHLIGHTED else ' class="w"' if len(cell.html) > MAX_UNBROKEN else "")
    return f"<td{css}{cell.spans}>{cell.html}</td>"
