"""Old records: which are kept, which are packed, and how much room they take."""

import gzip
import json
import os
import re
from datetime import UTC, datetime, time, timedelta

import pytest

from alerting.reporting.failure import Failure
from alerting.reporting.record import folder_size
from tests.pages import NOW, World, book, copied, dead_links, encoded, message, png, shown, table, usual

DAY, LATE = timedelta(days=1), time(23, 50, tzinfo=UTC)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


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
    assert dead_links(world) == []
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
    assert dead_links(world) == []


def test_a_notebook_that_is_damaged_is_packed_as_it_is(world):
    record = world.run(NOW - timedelta(days=9), failure=Failure("down", ""))
    record.path.write_bytes(b"{ half \xff")
    world.prune(90)
    assert gzip.decompress(record.path.with_suffix(".ipynb.gz").read_bytes()) == b"{ half \xff"


def test_status_tells_how_much_room_there_is(world):
    world.run()
    assert folder_size(world.settings.reports) > 4000
    assert folder_size(world.settings.data, f"{world.settings.state_file.name}*") == 0
