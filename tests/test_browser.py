"""The pages in a real browser, from disk: no data is executed, nothing is loaded from a network, filters and links work."""

import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alerting.reporting.failure import Failure
from tests.pages import HOSTILE, NOW, QUARTER, World, hostile, png, usual
from tests.servers import needs
from tests.waiting import PATIENCE

ROOT = Path(__file__).resolve().parent.parent
STEP = timedelta(minutes=15)
WIDTHS, SCHEMES = (1280, 360), ("light", "dark")
OVERFLOW = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
# What assistive technology needs: every control and picture has a name, headings go down one step at a time.
NAMELESS = """() => [
  ...[...document.querySelectorAll('a:not([tabindex]), button, summary')].filter(e => !(e.textContent.trim() || e.ariaLabel)),
  ...[...document.querySelectorAll('select, input')].filter(e => !e.labels.length),
  ...[...document.querySelectorAll('img')].filter(e => !e.alt),
  ...[...document.querySelectorAll('svg[role=img]')].filter(e => !e.ariaLabel),
  ...[...document.querySelectorAll('[role=region], nav, form')].filter(e => !e.ariaLabel),
  ...[...document.querySelectorAll('th')].filter(e => e.textContent.trim() && !e.scope),
].map(e => e.outerHTML.slice(0, 200))"""
HEADINGS = "() => [...document.querySelectorAll('h1, h2, h3, h4')].map(e => +e.tagName[1])"


@pytest.fixture(scope="module")
def chromium():
    """Debian's browser, driven from here."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    needs(program, "Chromium is not installed: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page that is looked at, and whatever it said or asked for."""

    def __init__(self, page):
        self.page, self.said, self.asked = page, [], []
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("dialog", lambda dialog: (self.said.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("requestfailed", lambda request: self.said.append(f"failed: {request.url}"))

    def go(self, path):
        self.page.goto(path.as_uri())
        self.page.wait_for_load_state("load")
        return self

    def well(self):
        """Nothing was complained of, and no request left the disk."""
        assert self.said == []
        assert [url for url in self.asked if not url.startswith(("file:", "data:,"))] == []
        return True

    def shown(self, selector):
        return self.page.locator(selector).locator("visible=true").count()


@pytest.fixture
def visit(chromium):
    with visiting(chromium) as one:
        yield one


@contextmanager
def visiting(chromium, **how):
    context = chromium.new_context(**how)
    context.clock.set_fixed_time(NOW)  # a page tells its age by the browser's clock
    context.set_default_timeout(PATIENCE * 1000)
    try:
        yield Visit(context.new_page())
    finally:
        context.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two days of runs, two incidents, one of them over; to be read only."""
    world = World(tmp_path_factory.mktemp("world"), source="kpi.csv")
    closed = NOW - 100 * QUARTER
    world.incident(closed, name="messages", closed=closed + timedelta(hours=1))
    world.incident()
    world.judged({"messages": 96 * "n", "likes": 94 * "n" + "aa", "views": 96 * "n"})
    for n in range(160, -1, -1):
        if n not in (20, 21):
            failure = Failure("ClickHouse did not answer", "see doctor") if n in (30, 140) else None
            world.run(NOW - n * QUARTER, usual(picture=png() if n in (0, 100) else b""), failure)
    world.index()
    return world


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_pages_fit_every_screen_and_need_nothing(chromium, world, width, scheme):
    incidents = sorted(world.reports.glob("incidents/*.html"))
    runs = sorted(world.reports.glob("runs/*/*.html"))
    red = next(path for path in runs if "This run failed" in path.read_text())
    with visiting(chromium, viewport={"width": width, "height": 800}, color_scheme=scheme) as visit:
        metric = world.reports / "metrics" / "likes.html"
        for path in (world.reports / "index.html", incidents[-1], runs[-1], red, metric):
            visit.go(path)
            assert not visit.page.evaluate(OVERFLOW), f"{path.name} scrolls sideways"
            assert visit.page.evaluate(NAMELESS) == []
            levels = visit.page.evaluate(HEADINGS)
            assert levels[0] == 1
            assert all(after <= before + 1 for before, after in pairwise(levels)), levels
            assert visit.page.evaluate("[...document.images].every(i => i.loading === 'lazy' || i.naturalWidth > 0)")
        assert visit.well()


def test_the_filter(visit, world):
    page = visit.go(world.reports / "index.html").page
    page.get_by_text("Filter", exact=True).click()
    assert (visit.shown(".cards > li"), page.locator("tr[data-k=runs]").count()) == (2, 159)
    page.get_by_label("Search").fill("Messages")
    assert (visit.shown(".cards > li"), visit.shown("tr[data-k=metrics]")) == (1, 1)
    page.get_by_label("Search").fill("")
    page.get_by_label("State").select_option("failed")
    assert (visit.shown(".cards > li"), visit.shown("tr[data-k=runs]")) == (0, 2)
    assert visit.shown(".empty") == 2, "of the metrics, and of the incidents that have ended"
    page.get_by_label("State").select_option("open")
    assert (visit.shown(".cards > li"), visit.shown("tr[data-k=runs]"), visit.shown("tr[data-k=metrics]")) == (1, 0, 1)
    page.get_by_label("State").select_option("")
    page.get_by_label("From").fill(f"{NOW + timedelta(days=1):%Y-%m-%d}")
    assert (visit.shown("tr[data-k=runs]"), visit.shown(".cards > li")) == (0, 1), "an open incident is going on"
    page.get_by_label("From").fill("")
    page.get_by_label("Until").fill(f"{NOW - timedelta(days=9):%Y-%m-%d}")
    assert page.locator("output").inner_text() == "Shown: metrics 3, incidents 0, checks 0"
    page.get_by_role("button", name="Show all").click()
    page.wait_for_function("document.querySelector('output').value === ''")
    assert (visit.shown(".cards > li"), visit.shown(".empty")) == (2, 0)
    assert visit.well()


def test_the_filter_is_in_the_address(visit, world):
    index = world.reports / "index.html"
    page = visit.go(index).page
    page.get_by_text("Filter", exact=True).click()
    page.get_by_label("State").select_option("failed")
    page.get_by_label("Search").fill("did not answer")
    assert page.evaluate("location.hash") == "#q=did+not+answer&state=failed"
    page.reload()
    assert page.locator("form.filter").is_visible(), "it is open where something is chosen"
    assert (page.get_by_label("Search").input_value(), visit.shown("tr[data-k=runs]")) == ("did not answer", 2)
    page.goto(f"{index.as_uri()}#q=nothing+like+this")
    page.wait_for_function("document.querySelector('input[name=q]').value === 'nothing like this'")
    assert page.get_by_text("Nothing here fits the filter.").locator("visible=true").count() == 3
    page.goto((world.reports / "metrics" / "likes.html").as_uri())
    page.get_by_role("link", name="Checks and incidents of this metric").click()
    assert (page.get_by_label("Search").input_value(), visit.shown(".cards > li")) == ("likes", 1)
    assert visit.well()


def test_on_a_phone_what_matters_is_on_the_first_screen(chromium, world):
    with visiting(chromium, viewport={"width": 360, "height": 640}) as visit:
        page = visit.go(world.reports / "index.html").page
        for where in (".cards h3 a", "tr[data-m=likes] .badge", "tr[data-m=likes] .value"):
            box = page.locator(where).first.bounding_box()
            assert box["y"] + box["height"] < 640, where
            assert box["x"] + box["width"] <= 360, where
        visit.go(max(world.reports.glob("runs/*/*.html")))
        (top,) = page.locator(".lead").all()
        assert "likes −38 %" in top.inner_text()


def test_without_scripts_it_is_a_plain_list(chromium, world):
    with visiting(chromium, java_script_enabled=False) as visit:
        visit.go(world.reports / "index.html")
        assert visit.shown("details.filter") == 0
        assert visit.shown(".cards > li") == 2
        visit.page.locator(".days summary").last.click()
        assert visit.shown("tr[data-k=runs]") > 10


def test_links_and_keys_lead_on(visit, world):
    page = visit.go(world.reports / "index.html").page
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Tab")
    assert "likes −52 %" in page.evaluate("document.activeElement.textContent")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tabbed = [
        page.keyboard.press("Tab") or page.evaluate("document.activeElement.closest('.calendar') === null") for _ in range(4)
    ]
    assert all(tabbed), "a keyboard does not walk through three thousand cells"
    page.locator(".cards h3 a").first.click()
    assert "likes −52 %" in page.locator("h1").inner_text()
    page.get_by_role("link", name="check of").first.click()
    assert "Check of" in page.locator("h1").inner_text()
    page.get_by_role("link", name="All metrics").click()
    page.locator(".cells a.f").first.click()
    assert page.locator(".banner h2").inner_text() == "This run failed"
    page.get_by_text("Code", exact=True).first.click()
    assert page.locator("details.code pre").first.is_visible()
    assert visit.well()


def test_no_text_from_data_is_executed_by_the_browser(visit, tmp_path):
    world = hostile(tmp_path)
    world.index()
    for path in sorted(world.reports.rglob("*.html")):
        visit.go(path)
        assert HOSTILE[:20] in visit.page.locator("body").inner_text()
        assert visit.page.locator("main script, main iframe, main [onerror], [onload], [style]").count() == 0
        visit.page.wait_for_timeout(50)
    assert visit.well(), "not even the policy had anything to stop"


def test_the_policy_stops_what_gets_through(visit, world):
    path = world.reports / "index.html"
    evil = "<script>window.pwned=1</script><img src='http://127.0.0.1:9/x.png' onerror='window.pwned=2'>"
    evil += "<b style='color:red' id=evil>x</b>"
    changed = path.with_name("evil.html")
    changed.write_text(path.read_text().replace("<h1>", f"{evil}<h1>", 1))
    page = visit.go(changed).page
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("getComputedStyle(document.getElementById('evil')).color") != "rgb(255, 0, 0)"
    assert len(visit.said) >= 4
    assert visit.shown("details.filter") == 1, "our own script runs"


def test_an_old_page_says_that_it_is_old(visit, world):
    path = world.reports / "index.html"
    old = path.with_name("old.html")
    old.write_text(re.sub(r'data-written="\d+"', 'data-written="1000000"', path.read_text()))
    visit.go(old)
    assert "Is cron running?" in visit.page.locator("#stale").inner_text()


def test_from_the_data_to_the_page(visit, tmp_path, bot):
    """A drop in a table of hostile names, two real runs, a button pressed between them."""
    end = pd.Timestamp(datetime.now(UTC)).floor("15min") - STEP
    index = pd.date_range(end - timedelta(days=31), end, freq=STEP)
    rhythm = 1000 + 300 * np.sin(2 * np.pi * np.arange(len(index)) / 96)
    values = (rhythm * np.random.default_rng(1).normal(1, 0.02, len(index))).round()
    values[-1] *= 0.3
    pd.DataFrame({"series": HOSTILE, "ts": index, "value": values}).to_csv(tmp_path / "kpi.csv", index=False)
    given = {
        "SOURCE": tmp_path / "kpi.csv",
        "DATA": tmp_path / "data",
        "REPORTS": tmp_path / "reports",
        "ZONE": "UTC",
        "DELAY": 0,
    }
    given |= {"TELEGRAM_TOKEN": bot.token, "TELEGRAM_CHAT": bot.chat, "TELEGRAM_URL": bot.url, "TELEGRAM_USERS": "*"}
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **{f"ALERTING_{name}": str(text) for name, text in given.items()}}

    def run():
        done = subprocess.run([sys.executable, "-m", "alerting", "run-alerts"], cwd=ROOT, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    run()
    bot.press(bot.messages[0].id, "take", user={"id": 4242, "first_name": "Anna <b>"})
    run()
    page = visit.go(tmp_path / "reports" / "index.html").page
    page.locator(".cards h3 a").first.click()
    told = page.locator("main").inner_text()
    assert "<script>alert(1)</script>" in told
    assert "Anna <b> is on it" in told
    assert page.locator(".thread img").evaluate("image => image.naturalWidth") > 100
    page.get_by_role("link", name="check of").first.click()
    assert page.locator("h2").first.inner_text() == "Open incidents"
    page.set_viewport_size({"width": 360, "height": 640})
    status = page.locator("td.odd", has_text="anomalous").first.bounding_box()
    assert status["x"] + status["width"] <= 360, "the status column needs no scrolling on a phone"
    assert page.locator("img").count() == 2
    assert visit.well()
    written = [path for path in (tmp_path / "reports").rglob("*") if path.is_file()]
    assert [path for path in written if bot.token.split(":")[1].encode() in path.read_bytes()] == []
