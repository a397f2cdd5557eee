"""The fault scenarios in their short form, and tests that they detect the losses they look for."""

import random
import sqlite3
from contextlib import closing
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.faults.__main__ import all_scenarios, main
from tests.faults.audit import account, openings, per_crash, repeats
from tests.faults.leaks import in_files
from tests.faults.scenario import Row, Scenario, Task, drawn
from tests.faults.timeline import FIRST, LENGTH, SPACING, STEP, one, plan, table
from tests.faults.world import World
from tests.servers import PASSWORD

MINUTES = 8.0
SHORT_FORM = [scenario.name for scenario in all_scenarios(quick=True)]


@pytest.mark.timeout(60 * (MINUTES + 1))
@pytest.mark.parametrize("name", SHORT_FORM)
def test_a_scenario_of_the_short_form_is_ok(name, capsys):
    code = main(["--quick", "--only", name, "--minutes", str(MINUTES)])
    table = capsys.readouterr().out
    assert code == 0, table
    assert name in table
    assert "NOT OK" not in table


def test_a_row_that_is_not_ok_ends_with_1(capsys):
    assert main(["--quick", "--only", SHORT_FORM[0], "--minutes", "0"]) == 1
    assert f"{SHORT_FORM[0]}: not tried: time was up" in capsys.readouterr().out


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A world in which the one incident has been told."""
    home = tmp_path_factory.mktemp("world")
    source = table(home / "table.parquet", one(), FIRST + 8, seed=1)
    with World(home / "home", str(source)) as world:
        assert [world.run(number).code for number in (FIRST - 1, FIRST)] == [0, 0]
        yield world


def audited(world, planted=None, last=FIRST):
    row = Row("")
    account(row, world, one() if planted is None else planted, last, bound=0)
    return row


def test_the_audit_passes_when_the_incident_was_reported(told):
    row = audited(told)
    assert (row.ok, row.wrong, row.runs) == (True, [], 2)
    (opening,) = openings(told.chat(), one()[0])
    assert opening.first.startswith("🟡 bravo −4")


def test_the_audit_finds_an_incident_that_was_never_reported(told):
    other = replace(one()[0], metric="alpha")
    row = audited(told, [*one(), other])
    assert (row.lost, row.wrong, row.ok) == (1, [f"{other.id} was not told"], False)


def test_the_audit_finds_an_alert_without_a_planted_incident(told):
    row = audited(told, [])
    assert [text.partition(" says")[0].split("−")[0] for text in row.wrong] == ["nobody planted what '🟡 bravo "]


CHANGES = [  # what happens to the memory, and what is said of it
    ("DELETE FROM verdicts WHERE metric = 'echo' AND bucket LIKE '2026-10-01T00:45%'", "1 buckets of echo were not judged"),
    ("DELETE FROM verdicts WHERE metric = 'echo' AND bucket > '2026-10-01T01'", "echo was judged until 2026-10-01T00:45Z"),
    ("UPDATE messages SET state = 'waiting' WHERE key LIKE '%/opened/text'", f"{one()[0].id}/opened/text still waits"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES)
def test_the_audit_finds_buckets_not_judged_and_messages_still_waiting(told, tmp_path, change, said):
    (tmp_path / "data").mkdir()
    with closing(sqlite3.connect(told.memory)) as now, closing(sqlite3.connect(tmp_path / "data" / told.memory.name)) as then:
        now.backup(then)
        then.execute(change)
        then.commit()
    world = replace(told, disk=tmp_path)
    world.chatlog = told.chatlog
    assert said in audited(world).wrong
    if "waiting" in change:
        (opening,) = openings(told.chat(), one()[0])
        assert repeats(world) == {opening.id}
        assert per_crash(world, {opening.id}) == ["a message came again without a crash"]


def test_a_row_is_ok_up_to_its_allowed_repeats_without_secrets_and_losses():
    assert Row("", repeated=2, bound=2).ok
    assert not Row("", repeated=3, bound=2).ok
    assert not Row("", secrets=1).ok
    assert not Row("", lost=1).ok


def test_a_scenario_that_raises_or_is_too_late_fails_its_row(tmp_path):
    def broken(row, task):
        raise ValueError("no server")

    rows = [Scenario("one", broken).row(Task(tmp_path, 1, until)) for until in (float("inf"), 0.0)]
    assert [row.wrong for row in rows] == [["ValueError: no server"], ["not tried: time was up"]]
    assert drawn(rows).count("NOT OK") == 2


def test_a_secret_is_found_in_any_file(tmp_path):
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a folder" / "run.ipynb").write_text("{}")
    assert in_files(tmp_path) == []
    (tmp_path / "a folder" / "memory.sqlite-wal").write_text(f"...{PASSWORD}...")
    assert in_files(tmp_path) == [str(tmp_path / "a folder" / "memory.sqlite-wal")]


def test_incidents_are_stories_of_their_own():
    planted = plan(400, random.Random(3))
    starts = [incident.start for incident in planted]
    assert len(planted) > 40
    assert all(SPACING[0] * STEP <= b - a <= SPACING[1] * STEP for a, b in pairwise(starts))
    assert all(LENGTH[0] <= incident.length <= LENGTH[1] for incident in planted)
    assert planted == plan(400, random.Random(3))
