"""The pages of runs and of incidents: content, safety against hostile data, languages."""

import ast
import json
import re
import string
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alerting.model.message import Receipt
from alerting.model.protocols import Commit
from alerting.reporting.failure import Failure
from alerting.reporting.page import MetricTitle, PageContext
from alerting.reporting.record import Record
from alerting.reporting.run_page import RunRecord, run_page
from alerting.reporting.words import WORDS
from alerting.store.state import ReadOnlyState
from tests.pages import HOSTILE, NOW, TOKEN, World, book, dead_links, hostile, pages, png, read, shown, table, usual

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_languages_say_the_same():
    assert set(WORDS["en"]) == set(WORDS["ru"])
    for key, words in WORDS["en"].items():
        fields = [{name for _, name, _, _ in string.Formatter().parse(said) if name} for said in (words, WORDS["ru"][key])]
        assert fields[0] == fields[1], key


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
        "Details",
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

    renamed = json.loads(json.dumps(usual()).replace("What verdict", "How it stands").replace("What is said", "The words"))
    assert made(renamed) == made(usual()).replace("What verdict", "How it stands").replace("What is said", "The words")


def test_the_alert_notebook_tags_what_its_page_begins_with():
    notebook = json.loads((ROOT / "notebooks" / "alert.ipynb").read_text())
    tagged = ["".join(cell["source"]) for cell in notebook["cells"] if "summary" in cell["metadata"].get("tags", [])]
    shown = [source.splitlines()[-1].partition("(")[0] for source in tagged]
    assert shown == [
        "display.show_open",
        "display.show_verdicts",
        "charts.overview_chart",
        "display.show_changes",
        "display.show_root_causes",
        "HTML",
        "display.show_slow_tables",
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
    order = ["<img", "likes −38 %", "likes −52 %", "As it was first sent", "Anna"]
    assert [told.index(words, told.index("Messages in the chat")) for words in order] == sorted(
        told.index(words, told.index("Messages in the chat")) for words in order
    )
    assert "os iOS explains 96" in told
    (picture,) = re.findall(r'<img src="\.\./([^"]+)"', told)
    assert (world.reports / picture).read_bytes() == png()
    assert f'href="incidents/{one.id}.html"' in index.read_text()
    assert f'src="{picture}"' in index.read_text()
    assert all(read(path).wrong == [] for path in pages(world))
    assert dead_links(world) == []


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


def test_an_incident_of_a_metric_that_is_not_checked_any_more_does_not_look_like_one_that_is_over(world):
    one = world.incident(closed=NOW, unchecked=True)
    world.run()
    world.index()
    assert "closed: not checked any more" in (world.reports / "incidents" / f"{one.id}.html").read_text()


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


def test_text_from_data_stays_text(tmp_path):
    world = hostile(tmp_path)
    found = pages(world)
    assert len(found) == 6
    for path in found:
        page = read(path)
        assert page.wrong == [], path
        assert [
            link for link in page.links if re.match(r"\s*(javascript|data:[^,]|https?://elsewhere)", link, re.IGNORECASE)
        ] == []
        assert page.words.count("alert(1)") == 0
    shown = "".join(word for path in found for word in read(path).words)
    assert HOSTILE.replace("\x1b", "") in shown, "it is shown as what it is"
    assert dead_links(world) == []


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
    words = {"en": ["Metrics now", "Likes", "still anomalous"], "ru": ["Метрики сейчас", "Лайки", "ещё не в норме"]}[language]
    index = world.index().read_text()
    assert all(word in index for word in words)
    assert f'<html lang="{language}">' in index


def test_a_page_that_cannot_be_written_costs_no_run(world):
    record = Record(world.settings, NOW, "alert")
    (record.path.parent / f"{record.path.stem}.html").mkdir(parents=True)
    assert record.publish(usual(), None) is None
    assert record.path.is_file()
    assert "make index tries again" in record.trouble
    assert "sent: 1" in world.index().read_text()


def test_memory_is_read_without_being_changed(world):
    world.incident()
    path = world.settings.data / "alerts.sqlite"
    before = path.read_bytes()
    past = ReadOnlyState(path)
    assert past.first_lines(NOW, NOW + timedelta(minutes=1)) == ["🔴 <b>likes −38 %</b> ", "👀 <b>Anna</b> is on it "]
    assert past.sent(NOW, NOW + timedelta(minutes=1)) == 2
    assert past.pictures(NOW, NOW + timedelta(minutes=1))
    past.close()
    assert path.read_bytes() == before


def test_the_pages_know_no_clock_and_no_file():
    for name in ("run_page", "incident_page", "index_page", "metric_page", "sanitize", "page", "words"):
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
