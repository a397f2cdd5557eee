"""The index: its calendar, its incidents where the state cannot be read, its titles, its speed."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alerting.reporting.index_page import index_page, missed_checks
from alerting.reporting.page import PageContext
from alerting.reporting.publish import MAX_SPARKLINES
from alerting.reporting.run_page import RunRecord
from tests.pages import NOW, World, copied, png, usual

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


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


def test_study_pages_are_linked():
    assert "studies/" not in index_page([], PageContext("en", "UTC", NOW))
    made = index_page([], PageContext("ru", "UTC", NOW), studies=["0.1-history"])
    assert '<a href="studies/0.1-history.html">0.1-history</a>' in made
    assert "Исследования" in made


def test_the_calendar_says_in_words_what_it_shows():
    reader = PageContext("en", "UTC", datetime(2026, 11, 25, 3, 7, tzinfo=UTC))
    start = datetime(2026, 11, 25, 0, 5, tzinfo=UTC)
    runs = [
        RunRecord(f"alert-{n}", "2026-11-25", start + n * timedelta(minutes=15), n != 2, sent=n == 1, has_page=True)
        for n in reversed(range(12))
    ]
    del runs[4]
    made = index_page(runs, reader)
    assert "9\xa0normal · </span>1\xa0alert · <b>1\xa0failed</b> · <b>1\xa0missing</b>" in made
    assert [made.count(f"<{kind} ") for kind in ("a class=o", "a class=a", "a class=f")] == [9, 1, 1]


def test_the_index_is_made_without_a_memory(world):
    world.run()
    world.settings.data.mkdir()
    (world.settings.data / "alerts.sqlite").write_text("this is no database, and never was one" * 100)
    page = world.index().read_text()
    assert "The state database could not be read" in page
    assert "sent: 1" in page
    assert [path.name for path in world.settings.data.iterdir()] == ["alerts.sqlite"], "looking changes nothing"


def test_looking_creates_no_memory(world):
    world.run()
    world.index()
    assert not world.settings.data.exists()


def test_old_cards_stay_when_the_memory_is_gone_for_a_while(world):
    one = world.incident()
    world.run()
    world.index()
    for path in world.settings.data.glob("alerts.sqlite*"):
        path.unlink()
    (world.settings.data / "alerts.sqlite").write_text("nothing " * 1000)
    assert f"incidents/{one.id}.html" in world.index().read_text()


def test_titles_are_kept_until_the_catalogue_changes(world):
    world.judged({"ctr": "n"})
    world.index()
    kept = world.reports / ".pages" / "titles.json"
    assert json.loads(kept.read_text())["titles"]["ctr"][:3] == ["CTR", "ratio", 900]
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "titles": {"ctr": ["<CTR>", "ratio", 900, ""]}}))
    assert "&lt;CTR&gt;" in world.index().read_text()


def test_runs_from_before_there_were_pages_get_one(world):
    world.run()
    (page,) = world.reports.glob("runs/*/*.html")
    page.unlink()
    world.index()
    assert not page.exists()
    world.index(fresh=True)
    assert "What verdict" in page.read_text()


CALLS = """
import json, sys
from dataclasses import replace
from datetime import datetime
from pathlib import Path
import alerting.runner.run
from alerting.settings import load_settings
home, given = Path(sys.argv[1]), load_settings({}, Path("/dev/null"))
given = replace(given, data=home / "the data", reports=home / "the reports", zone="UTC", source="kpi.csv")
before = set(sys.modules)
calls = [0]
def count(frame, event, argument):
    calls[0] += event in ("call", "c_call")
sys.setprofile(count)
from alerting.reporting.publish import write_index
write_index(given, now=datetime.fromisoformat(sys.argv[2]))
sys.setprofile(None)
print(json.dumps([calls[0], sorted({name.split(".")[0] for name in set(sys.modules) - before})]))
"""


def test_the_index_of_three_thousand_runs_and_two_thousand_series_draws_the_first_and_loads_little(tmp_path):
    world = World(tmp_path, source="kpi.csv")
    world.judged({f"series_{n}": 93 * "n" + "aan" if n < 100 else "nn" for n in range(2000)})
    copied(world, 31, usual(), usual(picture=png()))
    world.incident()
    page = world.index()
    assert page.read_text().count("<tr data-k=runs") > 2900
    assert page.read_text().count("<tr data-k=metrics") == 2000
    world.run(NOW + timedelta(minutes=15))
    command = [sys.executable, "-c", CALLS, str(tmp_path), NOW.isoformat()]
    calls, loaded = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    assert calls < 2_200_000, "function calls, the same on every machine; about 0.4 s of a processor"
    assert page.read_text().count('class="spark"') == MAX_SPARKLINES
    assert {"pandas", "numpy", "matplotlib", "nbconvert", "requests"}.isdisjoint(loaded)
    assert str(NOW + timedelta(minutes=15))[:16] in page.read_text()
