"""HTML from notebooks and chats: what gets through, its pictures, its tables."""

import re

import pytest

from alerting.reporting.sanitize import is_safe, printable, sanitize, strip_ansi
from tests.pages import Read, encoded, message, png, table

# what a notebook or a chat may hold -> what becomes of it
CLEANED = {
    "text": ("a < b & c", "a &lt; b &amp; c"),
    "telegram": ("<b>x</b> <i>y</i><u>z</u> <code>c</code>", "<b>x</b> <i>y</i><u>z</u> <code>c</code>"),
    "script": ("a<script>alert(1)</script>b", "ab"),
    "script, never closed": ("a<script>alert(1)", "a"),
    "escaped script": ("&lt;script&gt;alert(1)&lt;/script&gt;", "&lt;script&gt;alert(1)&lt;/script&gt;"),
    "image": ("<img src=x onerror=alert(1)>", ""),
    "image elsewhere": ('<img src="https://a.example/x.png" alt="<b>">', "&lt;b&gt;"),
    "svg": ("<svg onload=alert(1)><circle/></svg>", ""),
    "svg in data": ('<img src="data:image/svg+xml;base64,PHN2Zz4=">', ""),
    "not really a picture": (f'<img src="data:image/png;base64,{encoded(b"<svg>")}">', ""),
    "style": ("<b style='position:fixed' onclick=alert(1) class=x id=y>x</b>", "<b>x</b>"),
    "javascript": ('<a href="javascript:alert(1)">x</a>', "x"),
    "javascript, disguised": ('<a href=" java&#10;script:alert(1)">x</a>', "x"),
    "data link": ('<a href="data:text/html,<script>alert(1)</script>">x</a>', "x"),
    "web": ('<a href="https://a.b/?q=%22&b=c">x</a>', '<a href="https://a.b/?q=%22&amp;b=c" rel="noopener noreferrer">x</a>'),
    "place": ('<a href="#run-failed">x</a>', '<a href="#run-failed" rel="noopener noreferrer">x</a>'),
    "left open": ("<b>x<i>y", "<b>x<i>y</i></b>"),
    "closed twice": ("x</b></div></table></td>y", "xy"),
    "comment": ("a<!-- <b> -->b<![CDATA[c]]>", "ab"),
    "frame": ("<iframe src=x>y</iframe><object data=x>z</object><base href=x><form><button>b</button></form>", "b"),
    "cells of no table": ("<td>x</td><tr><th>y</th></tr>", "xy"),
    "terminal": ("\x1b[31mred\x1b[0m", "red"),
    "turned around": ("a\u202eb\x00", "a\ufffdb\ufffd"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "made"), CLEANED.values(), ids=CLEANED)
def test_only_what_is_listed_gets_through(given, made):
    assert sanitize(given, lambda data, words: "PICTURE", "a table", "none") == made


def test_a_picture_is_handed_on_with_the_words_before_it():
    found = []
    html = message("🔴 <b>Likes</b> −38 %\nmore", png())
    sanitize(html, lambda data, words: found.append((data, words)) or "", "")
    assert found == [(png(), "🔴 Likes −38 %")]


# a table as pandas may write it -> its heads, its rows
TABLES = {
    "counted rows": (table(("likes", "1,240"), ("ctr", "0.1")), ["metric", "value:n"], [["likes", "1,240:n"], ["ctr", "0.1:n"]]),
    "named rows": (
        "<table><thead><tr><th></th><th>a</th></tr><tr><th>bucket</th><th></th></tr></thead>"
        "<tbody><tr><th>10:00</th><td>nan</td></tr></tbody></table>",
        ["bucket", "a:n"],
        [["10:00", "nan:n"]],
    ),
    "a status": ("<table><tr><th>ctr</th><td>anomalous</td></tr></table>", [], [["ctr", "anomalous:odd"]]),
    "spans": (
        '<table><thead><tr><th colspan=2>a</th></tr></thead><tr><td rowspan="2;x">1</td><td>2</td></tr></table>',
        ["a:n"],
        [["1:n", "2:n"]],
    ),
    "a table in a table": ("<table><tr><td>a<table><tr><td>b</td></tr></table></td></tr></table>", [], [["a"], ["b"]]),
    "cells left open": ("<table><tr><td>a<td>b<tr><td>c</table>", [], [["a", "b"], ["c"]]),
}  # fmt: skip


@pytest.mark.parametrize(("given", "heads", "rows"), TABLES.values(), ids=TABLES)
def test_tables_are_kept_as_tables(given, heads, rows):
    made = sanitize(given, lambda data, words: "", "a table", "none")
    assert Read(made).wrong == []
    assert 'role="region" aria-label="a table" tabindex="0"' in made
    cells = r'<(t[hd])(?: scope="(\w+)")?(?: class="(\w+)")?[^>]*>(.*?)</t[hd]>'
    found = [re.findall(cells, row) for row in re.findall(r"<tr>(.*?)</tr>", made)]
    written = [[f"{words}:{kind}" if kind else words for _, _, kind, words in row] for row in found]
    assert written == [heads] * bool(heads) + rows
    assert all(scope == ("col" if row is found[0] and heads else "row") for row in found for tag, scope, *_ in row if tag == "th")


def test_an_empty_table_says_so():
    assert sanitize(table(), lambda data, words: "", "a table", "none") == '<div><p class="none">none</p></div>'


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "//a.example", "data:text/html,x", "file:///etc/passwd", "https://a b", "", "x"]
)
def test_other_addresses_are_no_links(url):
    assert not is_safe(url)


def test_what_a_terminal_makes_of_text_is_gone():
    assert strip_ansi("\x1b]0;title\x07\x1b[1;31mred\x1b[0m \x1b(Bplain\x1bM") == "red plain"
    assert printable("a\r\nb\tc<\ud800>") == "a\nb\tc<\ufffd>"
