"""Metrics as they are now: their rows on the index, their pages, their charts; and pages in Russian, which have no English."""

import json
import math
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alerting.model.metric import NO_END, Silence
from alerting.model.verdict import JudgedPoint
from alerting.reporting import publish
from alerting.reporting.failure import Failure
from alerting.reporting.metric_page import band_chart, ticks
from alerting.reporting.publish import write_index
from tests.pages import LAST, NOW, QUARTER, Read, World, dead_links, encoded, message, pages, png, read, shown, table, usual

ROOT = Path(__file__).resolve().parent.parent
TABLE = "kpi.csv"


def rows(index):
    """Return metric -> the texts of its row on the index."""
    found = re.findall(r'<tr data-k=metrics data-m="([^"]*)"(.*?)</tr>', index.read_text(), re.DOTALL)
    return {name: re.sub(r"<svg.*?</svg>|<[^>]*>", "|", row) for name, row in found}


def test_what_is_open_leads_and_then_come_the_metrics(tmp_path):
    world = World(tmp_path, source=TABLE)
    world.incident(NOW - timedelta(days=3), name="messages", closed=NOW - timedelta(days=2))
    world.incident()
    world.judged({"messages": 96 * "n"})
    world.judged({"likes": 94 * "n" + "aa"})
    world.run()
    index = world.index()
    parts = re.findall(r'<section aria-labelledby="(\w+)"', index.read_text())
    assert parts == ["open", "metrics", "incidents", "calendar", "runs"]
    page = index.read_text()
    assert page.index("likes −52 %") < page.index('id="metrics"') < page.index("messages −52 %") < page.index('class="calendar"')
    assert list(rows(index)) == ["likes", "messages"], "what is not normal comes first"


def test_a_row_says_how_the_metric_is(tmp_path):
    world = World(tmp_path, source=TABLE)
    world.incident()
    world.judged({"likes": 94 * "n" + "aa"})
    world.judged({"gaps": 95 * "n" + "m"})
    world.judged({"late": 96 * "n"}, LAST - timedelta(days=4))
    world.judged({"views": 96 * "n"})
    with world.store() as store:
        store.add_silence(Silence("views", NOW - timedelta(hours=1), NOW + timedelta(hours=2), "release"))
        store.add_silence(Silence("gaps", NOW + timedelta(hours=1), NOW + timedelta(hours=2), "release"))
        store.add_silence(Silence("likes", NOW - timedelta(hours=1), NO_END, weekly="Sat 02:00-04:00"))
    found = rows(world.index())
    assert list(found) == ["likes", "gaps", "views"], "what was not judged for days is gone"
    likes, gaps, views = found.values()
    assert all(words in likes for words in ("anomalous", "4 (−60", "8–12", "12:25", "12:50", "silent every week Sat 02:00–04:00"))
    assert all(words in gaps for words in ("no data", "silent from 13:45", "12:15", "12:50"))
    assert all(words in views for words in ("normal", "silent until 14:45", "over a day ago"))


def test_the_next_check_of_a_series_is_after_its_next_bucket(tmp_path):
    """A table file has no catalogue that says how long a bucket is."""
    world, hour, day = World(tmp_path, source=TABLE), timedelta(hours=1), timedelta(days=1)
    world.judged({"quarters": 96 * "n"})
    world.judged({"hours": 96 * "n"}, NOW.replace(hour=11, minute=0, second=0), hour)
    world.judged({"days": 30 * "n"}, NOW.replace(hour=0, minute=0, second=0) - day, day)
    found = rows(world.index())
    assert {name: re.findall(r"[^|]+", row)[-1] for name, row in found.items()} == {
        "quarters": "12:50", "hours": "13:05", "days": "Sat 00:05",
    }  # fmt: skip


def test_the_last_alert_is_when_a_message_was_sent_not_the_time_of_its_bucket(tmp_path):
    world = World(tmp_path, source=TABLE)
    incident = world.incident(NOW - timedelta(hours=3))
    world.judged({"likes": 94 * "n" + "aa"})
    assert f"{incident.last_notified:%H:%M}" == "09:25"
    assert rows(world.index())["likes"].count("09:25") == 1, "since then it is anomalous"
    assert "|09:45|" in rows(world.index())["likes"]


def test_a_metric_that_recovers_is_not_normal_yet(tmp_path):
    world = World(tmp_path, source=TABLE)
    world.incident()
    world.judged({"likes": 93 * "n" + "aan"})
    assert "recovering" in rows(world.index())["likes"]


def test_the_page_of_a_metric(tmp_path):
    world = World(tmp_path)
    one = world.incident()
    world.judged({"likes": 10 * "n" + "m" + 200 * "n" + "aa"})
    world.judged({"views.slices": "na", "messages.slices": "nn"})
    world.run()
    index = world.index()
    page = (world.reports / "metrics" / "likes.html").read_text()
    assert f'href="../incidents/{one.id}.html"' in page
    assert "<title>🔴 likes −52 % now</title></rect>" in page, "incidents are marked in the chart"
    assert page.count("<rect") == 1
    assert "a drop of 20\u202f% or a rise of 20\u202f%" in page
    assert "&quot;likes&quot;, {&quot;en&quot;: &quot;Likes&quot;" in page, "its entry in the catalogue"
    assert page.count(">no data</td>") == 1
    assert page.count(">anomalous</td>") == 4, "in the table of the last day, and in that of four weeks"
    assert read(world.reports / "metrics" / "likes.html").wrong == []
    found = rows(index)
    assert list(found) == ["views.slices", "likes", "feed_users", "messenger_users", "views", "ctr", "messages"]
    assert "not checked yet" in found["ctr"]
    assert "Views: segments" in found["views.slices"]
    assert dead_links(world) == []


def test_pages_are_written_for_what_is_not_normal_and_otherwise_once_an_hour(tmp_path, monkeypatch):
    monkeypatch.setattr(publish, "MAX_PAGES", 3)
    world = World(tmp_path, source=TABLE)
    world.judged(dict.fromkeys("abcd", "nn") | {"z": "na"})
    world.index()
    folder = world.reports / "metrics"
    assert sorted(path.stem for path in folder.iterdir()) == ["a", "b", "z"]
    world.index(fresh=True)
    assert len(list(folder.iterdir())) == 5
    for path in folder.iterdir():
        path.write_text("as it was")
    written = max(path.stat().st_mtime for path in folder.iterdir())

    def index(after):
        write_index(world.settings, now=datetime.fromtimestamp(written, UTC) + after)
        return sorted(path.stem for path in folder.iterdir() if path.read_text() != "as it was")

    assert index(QUARTER) == ["z"]
    assert len(index(timedelta(hours=1))) == 3


def test_metric_pages_fail_no_index(tmp_path):
    world = World(tmp_path, source=TABLE)
    world.judged({"likes": "nn"})
    world.run()
    with world.store() as store:
        store._file.change("UPDATE verdicts SET status = 'of a newer version'")
    assert "could not be read" in world.index().read_text()


def points(values, **changes):
    out = [JudgedPoint(n * 900, "normal", value, 8.0, 10.0, 12.0) for n, value in enumerate(values)]
    return [point._replace(**changes) for point in out]


@pytest.mark.parametrize("days", [3, 8, 27])
def test_labels_of_a_chart_do_not_run_into_each_other(tmp_path, days):
    world = World(tmp_path, source=TABLE)
    world.judged({"likes": days * 96 * "n"})
    world.index()
    page = (world.reports / "metrics" / "likes.html").read_text()
    found = [(float(left), words) for left, words in re.findall(r'<text x="([\d.]+)%" y="98%" dx="3">([^<]+)<', page)]
    assert len(found) >= 2
    heights = [float(top) for top in re.findall(r'<line x1="0" x2="100%" y1="([\d.]+)%"', page)]
    assert heights == sorted(heights, reverse=True)
    assert 0 < heights[-1] < heights[0] < 90, "the box of the chart"
    edges = [*(left for left, _ in found[1:]), 100]
    assert all(left + 1.8 * len(words) < edge for (left, words), edge in zip(found, edges, strict=True))


def test_a_chart_keeps_extremes_gaps_and_its_box():
    values = [10.0] * 400
    values[100], values[250] = 4.0, None
    chart = band_chart(points(values), 0, 400 * 900, 800, 100, 100)
    heights = [int(y) for y in re.findall(r"[ML]\d+ (\d+)", chart.value)]
    assert max(heights) > 90, "the one low value is drawn, though four buckets are one"
    assert chart.value.count("M") == 1, "a bin with some values is drawn"
    assert band_chart(points([10.0, None, 10.0]), 0, 2700, 100, 100, 10).value.count("M") == 2
    assert chart.low < 4.0 < 12.0 < chart.high
    wide = band_chart(points([10.0, 11.0], low=-1e9, high=1e9), 0, 1800, 100, 100, 10)
    assert wide.high < 20, "a band that is far beyond the values is cut"
    limit = band_chart(points([10.0, math.inf], low=-math.inf), 0, 1800, 100, 100, 10)
    assert limit.low < 10.0 < limit.high < 13, "one limit, and a value that no axis has"
    assert band_chart(points([None, None], low=None, high=None), 0, 1800, 100, 100, 10).value == ""
    assert ticks(3.2, 11.1) == [5.0, 10.0]
    assert ticks(0.0101, 0.0298, 3) == pytest.approx([0.02])


# Pages in Russian

# What is English in any language: names of fields, labels of code, values of attributes.
CODE = re.compile(r'<pre.*?</pre>|<code.*?</code>|<style>.*?</style>|<script>.*?</script>|<span lang="en">.*?</span>', re.DOTALL)
NAMES = {"CTR", "iOS", "os", "UTC", "alerting", "metrics", "py", "cron", "kpi", "Anna", "M", "I", "m", "on", "it", "Expected"}


def english(path):
    """Return the Latin words that a reader of the page sees or hears."""
    html = CODE.sub(" ", path.read_text())
    texts = [*re.findall(r'(?:aria-label|alt|title|data-words|data-shown|data-l)="([^"]*)"', html), *Read(html).words]
    texts = [re.sub(r"\{\w+\}|[\w.-]+/[\w./-]+", " ", text) for text in texts]
    return sorted({word for text in texts for word in re.findall(r"[A-Za-z]{2,}", text)} - NAMES)


def notebook_as_it_runs():
    """The alert notebook with tables as its cells show them."""
    notebook = json.loads((ROOT / "notebooks" / "alert.ipynb").read_text())
    outputs = {
        "display.show_due": table(("ctr", "Sun 2026-11-29 13:30", "nothing new: judged already", "first look")),
        "display.show_open": table(("likes", "-49 %", "critical"), ("likes", "ctr -52 %", "warning")),
        "display.show_verdicts": table(("likes", "anomalous"), ("ctr", "missing"), ("views", "unknown")),
        "display.show_changes": table(("likes, ctr", "event: opened"), ("likes", "firing")),
        "display.show_root_causes": table(("carried", "still asked"), ("it follows as an edit", "0.85")),
        "HTML": "<i>Nothing to say: silence means health.</i>\n" + message("<i>edits the opening message:</i>\nЛайки"),
        "display.show_receipts": table(("sent", "printed, no chat is configured")),
    }
    for cell in notebook["cells"]:
        last = "".join(cell["source"]).splitlines()[-1]
        if html := next((html for name, html in outputs.items() if last.startswith(name + "(")), ""):
            cell["outputs"] = [shown(html=html)]
        elif last.startswith("pipeline.finish"):
            said = {"application/vnd.metric-alerts.outcome+json": {"said": "all seen; 2 messages sent", "sent": 2}}
            cell["outputs"] = [{"output_type": "execute_result", "metadata": {}, "data": said}]
        elif last.startswith("charts."):
            cell["outputs"] = [shown(html=f"<img alt='picture' src='data:image/png;base64,{encoded(png())}'>")]
    return notebook


def test_pages_in_russian_have_no_english_left(tmp_path):
    world = World(tmp_path, language="ru", zone="Europe/Moscow")
    world.incident(acknowledged_by="Anna")
    world.incident(NOW - timedelta(days=3), name="messages", closed=NOW - timedelta(days=2))
    world.judged({"likes": 94 * "n" + "aa", "messages": 96 * "n", "views": "um", "views.slices": "nn"})
    with world.store() as store:
        store.add_silence(Silence("likes", NOW, NO_END, weekly="Sat 02:00-04:00"))
        store.add_silence(Silence("views", NOW, NOW + timedelta(hours=2)))
        store.add_silence(Silence("messages", NOW + timedelta(hours=2), NOW + timedelta(hours=3)))
    world.run(notebook=notebook_as_it_runs())
    world.run(
        NOW - QUARTER, failure=Failure("нет ответа", "проверьте сервер", "ячейка", "строки"), notebook=notebook_as_it_runs()
    )
    found = pages(world)
    assert len(found) == 8
    told = {"likes", "messages", "now", "is", "Run"}  # the chat's messages of this test are English
    assert {path.name: set(english(path)) - told for path in found} == {path.name: set() for path in found}


def test_a_run_is_told_in_the_words_of_the_language(tmp_path):
    world = World(tmp_path, language="ru")
    world.run(notebook=notebook_as_it_runs())
    (page,) = world.reports.glob("runs/*/*.html")
    text = page.read_text()
    for words in ("Оценки", ">отклонение</td>", ">Лайки, CTR</td>", "вс 2026-11-29 13:30", "сообщений — 2: отправлено"):
        assert words in text


def test_headings_without_a_tag_stay_as_analysts_wrote_them(tmp_path):
    world = World(tmp_path, language="ru")
    world.run(notebook=usual())
    (page,) = world.reports.glob("runs/*/*.html")
    assert "What verdict" in page.read_text()


def test_a_run_page_leads_with_what_is_open_and_what_was_said(tmp_path):
    world = World(tmp_path)
    one = world.incident()
    world.run()
    (page,) = world.reports.glob("runs/*/*.html")
    lead = page.read_text().partition("<h2")[0]
    assert f'<a href="../../incidents/{one.id}.html">🔴 likes −52 % now</a>' in lead
    assert lead.count("🔴 likes −38 %") == 2, "in the line below the title, and among the messages"
    assert "🔴 likes −38 %" in world.index().read_text().partition('id="runs"')[2]
    world.run(NOW + QUARTER)
    newest = max(world.reports.glob("runs/*/*.html"))
    assert "no new message; still open: 🔴 likes −52 % now" in newest.read_text()


def test_what_a_run_judged_is_told_in_local_time(tmp_path):
    world = World(tmp_path, zone="Europe/Moscow")
    notebook = usual()
    notebook["metadata"]["papermill"]["parameters"]["at"] = "2026-11-20T12:15:00Z"
    world.run(notebook=notebook, kind="rehearsal")
    (page,) = world.reports.glob("runs/*/*.html")
    assert "stood at 2026-11-20 15:15" in page.read_text()
