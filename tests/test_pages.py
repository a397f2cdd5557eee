"""The HTML of the pages: content, safety against hostile data, size; and the pruning of old records."""

import ast
import gzip
import json
import os
import re
import string
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from alerting.model.message import Receipt
from alerting.model.protocols import Commit
from alerting.reporting.archive import disk_sizes, folder_size
from alerting.reporting.failure import Failure
from alerting.reporting.index_page import index_page, missed_checks
from alerting.reporting.layout import printable, strip_ansi
from alerting.reporting.record import Record
from alerting.reporting.run_page import run_page
from alerting.reporting.sanitize import is_safe, sanitize
from alerting.reporting.types import MetricTitle, PageContext, RunRecord
from alerting.reporting.words import WORDS
from alerting.store.readonly import ReadOnlyState
from tests.pages import HOSTILE, NOW, TOKEN, World, book, encoded, hostile, message, png, shown, table, usual

ROOT = Path(__file__).resolve().parent.parent
FRAME = {"html", "head", "meta", "title", "link", "style", "script", "body", "nav", "main", "footer", "section"}
TEXT = "a b br code em h1 h2 h3 h4 i img li ol p pre s span strong time u ul blockquote details summary"
PARTS = "button dd div dl dt form input label option output select table tbody td th thead tr"
OURS = FRAME | {*TEXT.split(), *PARTS.split()}


class Read(HTMLParser):
    """A page as a browser takes it: its tags, and what is wrong with them."""

    def __init__(self, page):
        super().__init__()
        self.open, self.wrong, self.ids, self.links, self.words = [], [], [], [], []
        self.feed(page)
        self.close()
        self.wrong += [f"not closed: {self.open}"] * bool(self.open)
        self.wrong += [f"twice: {id}" for id in self.ids if self.ids.count(id) > 1]

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.wrong += [f"tag {tag}"] * (tag not in OURS)
        self.wrong += [f"{tag} {name}" for name in given if name.startswith("on") or name in ("style", "srcset", "srcdoc")]
        self.ids += filter(None, [given.get("id")])
        self.links += [given[name] for name in ("href", "src") if name in given]
        if tag not in ("meta", "link", "img", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"closed: {tag}")

    def handle_data(self, data):
        self.words.append(data)


def read(path):
    return Read(path.read_text(encoding="utf-8"))


def pages(world):
    world.index()
    return sorted(world.reports.rglob("*.html"))


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


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


def test_languages_say_the_same():
    assert set(WORDS["en"]) == set(WORDS["ru"])
    for key, words in WORDS["en"].items():
        fields = [{name for _, name, _, _ in string.Formatter().parse(said) if name} for said in (words, WORDS["ru"][key])]
        assert fields[0] == fields[1], key


# quarters that have a run, the present one -> those that are missing
MISSED = {
    "none": ([], 9, []),
    "all": (range(8), 8, []),
    "one": ([0, 1, 2, 3, 5], 6, [4]),
    "before it was regular": ([0, 3, 4, 5, 6], 7, [1, 2]),
    "by hand": ([0, 1, 2, 40, 41, 90], 99, []),
    "two in one": ([0, 0, 1, 2, 3, 3, 5], 6, [4]),
    "until now": (range(4), 9, [4, 5, 6, 7, 8]),
}


@pytest.mark.parametrize(("taken", "now", "gaps"), MISSED.values(), ids=MISSED)
def test_a_gap_is_missing_where_cron_was_running(taken, now, gaps):
    assert sorted(missed_checks(taken, now)) == gaps


@pytest.mark.parametrize(("day", "cells"), [("2026-03-28", 96), ("2026-03-29", 92), ("2026-10-25", 100)])
def test_the_calendar_follows_the_clocks_of_the_zone(day, cells):
    start = datetime.fromisoformat(f"{day}T12:00:00+00:00")
    reader = PageContext("en", "Europe/Berlin", start + timedelta(hours=1))
    runs = [RunRecord(f"alert-{n}", day, start + n * timedelta(minutes=15), True, has_page=True) for n in reversed(range(5))]
    made = index_page(runs, reader)
    (strip,) = re.findall(r'<div class="cells[^"]*" aria-hidden="true">(.*?)</div>', made)
    assert len(re.findall(r"<[ia][ >]", strip)) == cells
    assert strip.count("<a class=o") == 5
    assert f">{'Sat' if cells == 96 else 'Sun'} {day}</time>" in made


def test_the_calendar_says_in_words_what_it_shows():
    reader = PageContext("en", "UTC", datetime(2026, 11, 25, 3, 7, tzinfo=UTC))
    start = datetime(2026, 11, 25, 0, 5, tzinfo=UTC)
    runs = [
        RunRecord(f"alert-{n}", "2026-11-25", start + n * timedelta(minutes=15), n != 2, sent=n == 1, has_page=True)
        for n in reversed(range(12))
    ]
    del runs[4]
    made = index_page(runs, reader)
    assert "9\xa0well · </span>1\xa0alert · <b>1\xa0failed</b> · <b>1\xa0missing</b>" in made
    assert [made.count(f"<{kind} ") for kind in ("a class=o", "a class=a", "a class=f")] == [9, 1, 1]


def contrast(one, other):
    def light(color):
        parts = (
            [int(color[n : n + 2], 16) / 255 for n in (1, 3, 5)] if len(color) == 7 else [int(c * 2, 16) / 255 for c in color[1:]]
        )
        return sum(
            w * (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4)
            for w, p in zip((0.2126, 0.7152, 0.0722), parts, strict=True)
        )

    bright, dark = sorted((light(one), light(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_apart(scheme):
    style = (ROOT / "alerting" / "reporting" / "static" / "style.css").read_text()
    block = style.split("@media (prefers-color-scheme: dark)")[scheme].split("* {")[0]
    colors = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block))
    words = [(ink, ground) for ink in ("ink", "soft", "link", "failed") for ground in ("bg", "card")]
    words += [("ink", ground) for ground in ("ok-bg", "alert-bg", "failed-bg", "code")]
    signs = [(sign, ground) for sign in ("ok", "alert", "failed", "missing", "focus") for ground in ("bg", "card")]
    assert [pair for pair in words if contrast(*(colors[name] for name in pair)) < 4.5] == []
    assert [pair for pair in signs if contrast(*(colors[name] for name in pair)) < 3] == []


def test_a_run_is_told_with_the_verdict_first(world):
    world.run(notebook=usual(picture=png()))
    (page,) = world.reports.glob("runs/*/*.html")
    headings = re.findall(r"<h[123][^>]*>(.*?)</h", page.read_text())
    assert headings[1:] == [
        "What verdict",
        "What picture",
        "What changed",
        "What is said",
        "How it came to that",
        "What data",
        "The end",
    ]
    assert read(page).wrong == []
    assert page.read_text().count('<details class="code">') == 6
    pictures = sorted(path.name for path in page.parent.glob("*.png"))
    assert pictures == [f"{page.stem}.1.png", f"{page.stem}.2.png"]
    assert 'alt="Picture: What picture"' in page.read_text()
    assert 'alt="Picture: 🔴 Likes −38 %"' in page.read_text()
    assert "base64" not in page.read_text()


def test_the_order_of_a_page_is_that_of_tags_and_not_of_headings(world):
    def made(notebook):
        entry = RunRecord("alert-20261125T071048Z", "2026-11-25", datetime(2026, 11, 25, 7, 10, 48, tzinfo=UTC))
        return run_page(notebook, entry, PageContext("en", "UTC", datetime(2026, 11, 25, tzinfo=UTC))).html

    old = made(usual())
    tagged = usual()
    for cell in tagged["cells"][3:11:2]:
        cell["metadata"]["tags"].append("summary")
    assert made(tagged) == old
    renamed = json.loads(json.dumps(tagged).replace("What verdict", "How it stands").replace("What is said", "The words"))
    assert made(renamed) == old.replace("What verdict", "How it stands").replace("What is said", "The words")


def test_the_alert_notebook_tags_what_its_page_begins_with():
    notebook = json.loads((ROOT / "notebooks" / "alert.ipynb").read_text())
    tagged = ["".join(cell["source"]) for cell in notebook["cells"] if "summary" in cell["metadata"].get("tags", [])]
    shown = [source.splitlines()[-1].partition("(")[0] for source in tagged]
    assert shown == [
        "display.show_verdicts",
        "charts.overview_chart",
        "display.show_changes",
        "display.show_root_causes",
        "HTML",
    ]


def test_a_red_run_says_so_before_all_else(world):
    world.run(failure=Failure("it <broke>", "mend it", "cell 2 (Read)", "a\nb"))
    (page,) = world.reports.glob("runs/*/*.html")
    headings = re.findall(r"<h[12][^>]*>(.*?)</h", page.read_text())
    assert headings[1:3] == ["This run failed", "What verdict"]
    assert "it &lt;broke&gt;" in page.read_text()
    assert read(page).wrong == []


def test_incidents_are_told_as_they_were(world):
    one = world.incident()
    world.run(notebook=usual(picture=png()))
    world.run(NOW + timedelta(minutes=15))
    index = world.index()
    told = (world.reports / "incidents" / f"{one.id}.html").read_text()
    order = ["likes −52 %", "As it was first sent", "likes −38 %", "Picture", "Anna"]
    assert [told.index(words, told.index("The thread")) for words in order] == sorted(
        told.index(words, told.index("The thread")) for words in order
    )
    assert "os iOS carries 96" in told
    (picture,) = re.findall(r'<img src="\.\./([^"]+)"', told)
    assert (world.reports / picture).read_bytes() == png()
    assert f'href="incidents/{one.id}.html"' in index.read_text()
    assert f'src="{picture}"' in index.read_text()
    assert all(read(path).wrong == [] for path in pages(world))
    assert dead(world) == []


def dead(world):
    """Links that lead nowhere."""
    out = []
    for path in pages(world):
        for link in read(path).links:
            if not link.startswith(("#", "data:,", "https:")):
                out += [f"{path.name}: {link}"] * (not (path.parent / link).is_file())
    return out


def test_an_incident_is_written_anew_only_when_it_has_changed(world):
    closed = NOW - timedelta(days=5)
    one = world.incident(closed, closed=closed)
    world.run()
    world.index()
    page = world.reports / "incidents" / f"{one.id}.html"
    page.write_text(page.read_text().replace("</main>", "untouched</main>"))  # which leaves the stamp that the index looks at
    world.index()
    assert "untouched" in page.read_text()
    with world.store() as store:
        store.commit(Commit(incidents=[replace(one, acknowledged_by="Boris")]))
    world.index()
    assert "Boris" in page.read_text()
    assert "untouched" not in page.read_text()


def test_a_message_that_comes_to_be_sent_later_changes_the_page(world):
    one = world.incident()
    world.run()
    with world.store() as store:
        waits = replace(next(iter(world._messages(one, ""))), key=f"{one.id}/reminder/1/text", text="still off", reply_to=one.key)
        store.commit(Commit(messages=[waits]), NOW)
        world.index()
        page = world.reports / "incidents" / f"{one.id}.html"
        assert "waits since" in page.read_text()
        store.record(Receipt(waits.key, "refused", "403 <Forbidden>"), NOW)
    world.index()
    assert "403 &lt;Forbidden&gt;" in page.read_text()


def test_the_index_is_made_without_a_memory(world):
    world.run()
    world.settings.data.mkdir()
    (world.settings.data / "alerts.sqlite").write_text("this is no database, and never was one" * 100)
    page = world.index().read_text()
    assert "The memory could not be read" in page
    assert "all seen; 1 message sent" in page
    assert [path.name for path in world.settings.data.iterdir()] == ["alerts.sqlite"], "looking changes nothing"


def test_looking_creates_no_memory(world):
    world.run()
    world.index()
    assert not world.settings.data.exists()


def test_old_cards_stay_when_the_memory_is_gone_for_a_while(world):
    one = world.incident()
    world.run()
    world.index()
    for path in world.settings.data.iterdir():
        path.unlink()
    (world.settings.data / "alerts.sqlite").write_text("nothing " * 1000)
    assert f"incidents/{one.id}.html" in world.index().read_text()


def test_text_from_data_stays_text(tmp_path):
    world = hostile(tmp_path)
    found = pages(world)
    assert len(found) == 5
    for path in found:
        page = read(path)
        assert page.wrong == [], path
        assert [
            link for link in page.links if re.match(r"\s*(javascript|data:[^,]|https?://elsewhere)", link, re.IGNORECASE)
        ] == []
        assert page.words.count("alert(1)") == 0
    shown = "".join(word for path in found for word in read(path).words)
    assert HOSTILE.replace("\x1b", "") in shown, "it is shown as what it is"
    assert dead(world) == []


def test_every_page_has_a_policy_that_fits_it(tmp_path):
    world = hostile(tmp_path)
    for path in pages(world):
        page = path.read_text()
        (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert page.index("Content-Security-Policy") < page.index("<style>")
        assert page.count("<style>") == 1
        assert page.count("<script>") == ("script-src" in policy) == (path.name == "index.html")


def test_secrets_do_not_reach_the_pages(world):
    world.incident(words=TOKEN, acknowledged_by=f"{TOKEN}!", run=f"https://a.example/{TOKEN}")
    stream = {"output_type": "stream", "name": "stdout", "text": f"{TOKEN[:9]}\x1b[0m{TOKEN[9:]}"}
    outputs = [shown(html=table((TOKEN, f"<b>{TOKEN}</b>"))), shown(plain=TOKEN), stream]
    leak = book(("What verdict", f"'{TOKEN}'", outputs))
    world.run(notebook=leak, failure=Failure(TOKEN, TOKEN))
    day = next(world.reports.glob("runs/*"))
    with (day / "runs.jsonl").open("a") as lines:
        lines.write(json.dumps({"name": "alert-20200101T000000Z.ipynb", "ok": True, "said": TOKEN}) + "\n")
    (day / "alert-20200101T000000Z.ipynb").write_text("{}")
    world.index(fresh=True)
    held = [path for path in world.reports.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert [path.name for path in held] == ["runs.jsonl"], "which this test wrote itself"
    assert TOKEN.split(":")[1] not in "".join(path.read_text() for path in pages(world))


@pytest.mark.parametrize("language", ["en", "ru"])
def test_pages_are_of_the_language(tmp_path, language):
    world = World(tmp_path, language=language)
    world.incident()
    world.run()
    words = {"en": ["Metric checks", "Likes", "still off"], "ru": ["Проверки метрик", "Лайки", "ещё не в норме"]}[language]
    index = world.index().read_text()
    assert all(word in index for word in words)
    assert f'<html lang="{language}">' in index


def test_titles_are_kept_until_the_catalogue_changes(world):
    world.run()
    world.index()
    kept = world.reports / ".pages" / "titles.json"
    assert json.loads(kept.read_text())["titles"]["ctr"] == ["CTR", "ratio"]
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "titles": {"ctr": ["<CTR>", "ratio"]}}))
    assert "&lt;CTR&gt;" in world.index().read_text()


def test_runs_from_before_there_were_pages_get_one(world):
    world.run()
    (page,) = world.reports.glob("runs/*/*.html")
    page.unlink()
    world.index()
    assert not page.exists()
    world.index(fresh=True)
    assert "What verdict" in page.read_text()


def test_a_page_that_cannot_be_written_costs_no_run(world):
    record = Record(world.settings, NOW, "alert")
    (record.path.parent / f"{record.path.stem}.html").mkdir(parents=True)
    assert record.publish(usual(), None) is None
    assert record.path.is_file()
    assert "make index tries again" in record.trouble
    assert "all seen" in world.index().read_text()


DAY, LATE = timedelta(days=1), time(23, 50, tzinfo=UTC)
LOUD = 4  # runs a day that tell of something


def copied(world, days, quiet, loud, until=NOW):
    """Runs every quarter of an hour for so many days, one a week red. One of each kind is rendered, the others are copies."""
    kinds = {}
    for n in reversed(range(days * 96)):
        at, tells, red = until - n * timedelta(minutes=15), n % (96 // LOUD) == 0, n % 672 == 671
        kind = (tells, red)
        record = Record(world.settings, at, "alert")
        if kind not in kinds:
            record.publish(loud if tells else quiet, Failure("down", "") if red else None)
            files = {
                path.name.removeprefix(record.path.stem): path.read_bytes()
                for path in record.path.parent.glob(f"{record.path.stem}.*")
            }
            line = json.loads((record.path.parent / "runs.jsonl").read_text().splitlines()[-1])
            kinds[kind] = (record.path.stem, files, line)
            continue
        stem, files, line = kinds[kind]
        record.path.parent.mkdir(parents=True, exist_ok=True)
        for ending, content in files.items():
            (record.path.parent / f"{record.path.stem}{ending}").write_bytes(
                content.replace(stem.encode(), record.path.stem.encode())
            )
        line = line | {"name": record.path.name, "started": at.isoformat(), "sent": int(tells)}
        with (record.path.parent / "runs.jsonl").open("a") as lines:
            lines.write(json.dumps(line) + "\n")


SPENT = """
import json, sys, time
from dataclasses import replace
from datetime import datetime
from pathlib import Path
import alerting.runner.run
from alerting.settings import load_settings
home, given = Path(sys.argv[1]), load_settings({}, Path("/dev/null"))
given = replace(given, data=home / "the data", reports=home / "the reports", zone="UTC")
before = set(sys.modules)
begun = time.process_time()
from alerting.reporting.publish import write_index
write_index(given, now=datetime.fromisoformat(sys.argv[2]))
spent = time.process_time() - begun
print(json.dumps([spent, sorted({name.split(".")[0] for name in set(sys.modules) - before})]))
"""


def test_the_index_of_three_thousand_runs_takes_less_than_half_a_second(world, tmp_path):
    copied(world, 31, usual(), usual(picture=png()))
    world.incident()
    page = world.index()
    assert page.read_text().count("<tr data-t=") > 2900
    world.run(NOW + timedelta(minutes=15))
    command = [sys.executable, "-c", SPENT, str(tmp_path), NOW.isoformat()]
    spent, loaded = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert spent < 0.5, "seconds of the processor; about 0.3 s"
    assert {"pandas", "numpy", "matplotlib", "nbconvert", "requests"}.isdisjoint(loaded)
    assert str(NOW + timedelta(minutes=15))[:16] in page.read_text()


REAL = {
    "quiet": (150_000, 0),
    "loud": (150_000, 240_000),
}  # bytes of base64 in a real run: of the overview, of the alert's picture


def real(said, *sizes):
    """A notebook with pictures as large as real ones, which do not compress either."""
    pictures = [png()[:-12] + os.urandom(size * 3 // 4) for size in sizes if size]
    html = message(said, pictures[1] if len(pictures) > 1 else b"")
    cells = [("What verdict", "x" * 3000, [shown(html=table(("likes", "1")), plain="y" * 9000)])]
    cells += [("What picture", "", [shown(picture=encoded(pictures[0]))]), ("What is said", "", [shown(html=html)])]
    return book(*cells, ("The end", "", [shown(plain="'all seen; 0 messages sent'")]))


def test_ninety_days_take_less_than_half_a_gigabyte(world):
    """Measured on whole days of each age: they are alike."""
    today = NOW.date()
    ages = {1: 8, 10: 22, 40: 60}  # an age -> how many days of ninety are treated as it is
    for age in ages:
        copied(world, 1, real("", *REAL["quiet"]), real("🔴 <b>x</b>", *REAL["loud"]), datetime.combine(today, LATE) - age * DAY)
    before = folder_size(world.reports)
    said = world.prune(90, dry_run=True)
    assert folder_size(world.reports) == before
    assert re.fullmatch(r"\d+ runs would go, \d+ would be packed; reports take [\d.]+ MB", said)
    whole = {day: folder_size(day) for day in world.reports.glob("runs/*")}
    world.prune(90)
    took = [folder_size(world.reports / "runs" / f"{today - age * DAY}") * days for age, days in ages.items()]
    assert sum(took) < 500e6 < sum(whole.values()) / len(whole) * 90
    assert dead(world) == []
    assert world.prune(90).startswith("0 runs deleted, 0 packed; "), "once is enough"


def test_runs_that_sent_a_message_are_kept_and_quiet_ones_are_thinned_out(world):
    copied(world, 40, usual(), usual(picture=png()))
    world.prune(35)
    today = NOW.date()
    kept = {}
    for path in world.reports.glob("runs/*/alert-*.ipynb*"):
        age = (today - datetime.fromisoformat(path.parent.name).date()).days
        kept.setdefault(age, []).append(path)
    whole = [age for age in kept if 1 < age <= 7]
    assert {len(kept[age]) for age in whole} == {96}
    assert all(path.suffix == ".ipynb" for age in whole for path in kept[age])
    assert {len(kept[age]) for age in kept if 8 <= age <= 30} <= set(range(24, 30)), "one an hour, and those that told"
    assert {len(kept[age]) for age in kept if 31 <= age <= 35} <= set(range(4, 7))
    assert {len(kept[age]) for age in kept if 36 <= age <= 39} <= {4, 5}, "quiet ones are gone"
    assert all(path.suffix == ".gz" for age in kept if age > 7 for path in kept[age])
    index = (world.reports / "index.html").read_text()
    assert "96\xa0well" not in index
    missing = sum(map(int, re.findall(r"<b>(\d+)\xa0missing", index)))
    assert missing == 0, "what was thinned out is not missing"
    assert "no longer kept" in index


def test_of_a_long_incident_one_run_an_hour_stays(world):
    start = datetime.combine(NOW.date() - 40 * DAY, time(8, 5, tzinfo=UTC))
    for n in range(8):
        world.run(start + n * timedelta(minutes=15), kind="alert")
    (day,) = world.reports.glob("runs/*")
    told = [json.loads(line) for line in (day / "runs.jsonl").read_text().splitlines()]
    told = [{**line, "sent": int(n == 2), "off": ["likes"]} for n, line in enumerate(told)]
    (day / "runs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in told))
    world.prune(90)
    assert [path.name[15:19] for path in sorted(day.glob("*.gz"))] == ["0805", "0835", "0905"]


def test_a_packed_notebook_shows_its_pictures_from_beside_it(world):
    old = NOW - timedelta(days=9)
    record = world.run(old, usual(picture=png()), Failure("down", ""))
    whole = json.loads(record.path.read_text())
    assert "1 packed" in world.prune(90)
    packed = record.path.with_suffix(".ipynb.gz")
    notebook = json.loads(gzip.decompress(packed.read_bytes()))
    assert "base64" not in json.dumps(notebook)
    assert len(notebook["cells"]) == len(whole["cells"])
    sources = re.findall(r'src=\\"([^"]+)\\"', json.dumps(notebook))
    assert [(packed.parent / name).is_file() for name in sources] == [True, True]
    page = packed.with_name(f"{record.path.stem}.html")
    assert f'href="{packed.name}"' in page.read_text()
    assert dead(world) == []


def test_a_notebook_that_is_damaged_is_packed_as_it_is(world):
    record = world.run(NOW - timedelta(days=9), failure=Failure("down", ""))
    record.path.write_bytes(b"{ half \xff")
    world.prune(90)
    assert gzip.decompress(record.path.with_suffix(".ipynb.gz").read_bytes()) == b"{ half \xff"


def test_memory_is_read_without_being_changed(world):
    world.incident()
    path = world.settings.data / "alerts.sqlite"
    before = path.read_bytes()
    past = ReadOnlyState(path)
    assert past.affected_metrics() == ["likes"]
    assert past.sent(NOW, NOW + timedelta(minutes=1)) == 3
    assert past.pictures(NOW, NOW + timedelta(minutes=1))
    past.close()
    assert path.read_bytes() == before


def test_the_pages_know_no_clock_and_no_file():
    for name in ("run_page", "incident_page", "index_page", "sanitize", "layout", "types"):
        path = ROOT / "alerting" / "reporting" / f"{name}.py"
        calls = {ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
        assert not {call for call in calls if call.endswith((".now", ".write_text", ".read_text"))}, path


def test_a_metric_is_called_by_its_title():
    reader = PageContext("en", "UTC", NOW, {"ctr": MetricTitle("CTR", "ratio")})
    assert (reader.metric("ctr"), reader.metric("x")) == (MetricTitle("CTR", "ratio"), MetricTitle("x", "number"))


def test_what_pages_need_is_not_loaded_before_the_kernel_of_a_run():
    code = "import sys, alerting.runner.run, alerting.runner.execute; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert {"jinja2", "nh3", "sqlite3", "alerting.reporting.publish"}.isdisjoint(loaded)


def test_status_tells_how_much_room_there_is(world):
    world.run()
    assert disk_sizes(world.settings)["reports"] > 4000
    assert disk_sizes(world.settings)["memory"] == 0
