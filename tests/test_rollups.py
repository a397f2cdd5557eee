"""Rollups on a real server: the same numbers, no row lost or counted twice, and nothing stale read."""

import re
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pandas.testing import assert_frame_equal

from alerting import wiring
from alerting.model import Query, SettingsError, SourceError
from alerting.rollups import book, commands
from alerting.rollups.building import Builder
from alerting.rollups.recipes import COMBINED, EXACT, recipe
from alerting.rollups.serving import RolledUp
from alerting.rollups.writing import Writer
from alerting.settings import ROOT, load
from alerting.sources.clickhouse import ClickHouse
from tests.servers import PASSWORD
from tests.waiting import PATIENCE, ended

CUT = datetime(2026, 11, 10, 7, 30, tzinfo=UTC)
FIRST, HOUR, DAY = datetime(2026, 11, 1, tzinfo=UTC), timedelta(hours=1), timedelta(days=1)
COLUMNS = """user_id UInt32, post_id UInt32, action Enum8('view' = 1, 'like' = 2), time DateTime, gender UInt8, age UInt8,
country String, city String, os String, source String, exp_group UInt8"""
TOTALS = wiring.queries()["feed_actions"]
SLICES = wiring.queries(wiring.SQL / "slices")["feed_actions"]


def insert(server, first, last, rows, seed=0):
    """Rows spread from `first` to before `last`."""
    span, at = int((last - first).total_seconds()), int(first.timestamp())
    server.execute(f"""INSERT INTO rolled.feed_actions SELECT toUInt32(intHash64(number + {seed}) % 3000) AS user_id,
        toUInt32(number % 700), if(intHash64(number + 1) % 5 = 0, 'like', 'view'),
        toDateTime(toUInt32({at} + intHash64(number + 2) % {span})), toUInt8(user_id % 2), toUInt8(14 + user_id % 50),
        if(user_id % 10 = 0, 'KZ', 'RU'), concat('city ', toString(user_id % 7)), if(user_id % 3 = 0, 'iOS', 'Android'),
        if(user_id % 4 = 0, 'ads', 'organic'), toUInt8(user_id % 5) FROM numbers({rows})""")


@pytest.fixture
def server(clickhouse):
    clickhouse.execute("DROP DATABASE IF EXISTS rolled")
    clickhouse.execute("CREATE DATABASE rolled")
    clickhouse.execute(f"CREATE TABLE rolled.feed_actions ({COLUMNS}) ENGINE = MergeTree PARTITION BY toDate(time) ORDER BY time")
    insert(clickhouse, FIRST, CUT, 40_000)
    yield clickhouse
    clickhouse.execute("DROP DATABASE rolled")


@pytest.fixture
def told():
    return []


@pytest.fixture
def builder(server, told):
    writer = Writer(server.url, server.user, PASSWORD, "rolled", sleep=lambda _: None)
    return Builder(writer, {}, told.append)


def made(kind="totals", users=EXACT, query=None):
    return recipe(query or (TOTALS if kind == "totals" else SLICES), kind, "rolled.feed_actions", users)


def sources(server, *recipes, user="reader"):
    """One that reads rollups where they serve, and the raw table."""
    raw = ClickHouse(server.url, user, PASSWORD, "rolled", sleep=lambda _: None)
    return RolledUp(raw, recipes), raw


def in_order(rows):
    rows = rows.reset_index() if rows.index.name else rows
    return rows.sort_values(list(rows.columns)).reset_index(drop=True)


def same(server, ask, *recipes):
    """The source that reads rollups, once its answer was found to be the raw table's."""
    source, raw = sources(server, *recipes)
    mine, theirs = ask(source), ask(raw)
    assert len(theirs)
    assert_frame_equal(in_order(mine), in_order(theirs))
    assert source.notes == []
    return source


def ready(builder, *recipes):
    for each in recipes:
        builder.create(each, CUT)
        builder.backfill(each, 20)


def test_series_and_slices_are_those_of_the_raw_table(server, builder):
    totals, slices = made(), made("slices")
    ready(builder, totals, slices)
    insert(server, CUT, CUT + DAY, 5_000)  # counted as they come
    end = CUT + DAY
    for step in (15, 30, 60, 1440):
        query = replace(TOTALS, step=timedelta(minutes=step))
        source = same(server, lambda s, q=query: s.fetch(q, FIRST, end), totals, slices)
        assert source.serving(query, FIRST, end) is totals
    for start, until in ((end - 8 * DAY - HOUR, end), (CUT - 7 * DAY - HOUR / 4, CUT), (end - 3 * DAY - HOUR / 2, end)):
        source = same(server, lambda s, a=start, b=until: s.rows(SLICES, a, b), totals, slices)
        assert source.serving(SLICES, start, until) is slices


@pytest.mark.parametrize(
    ("query", "start", "end"),
    [
        (replace(TOTALS, step=timedelta(minutes=5)), FIRST, CUT),  # a step it cannot serve
        (TOTALS, FIRST - 30 * DAY, CUT),  # days that were not filled in
        (Query("feed_actions", TOTALS.sql.replace("'like'", "'view'")), FIRST, CUT),  # another text
        (Query("feed_actions", TOTALS.sql + "\n"), FIRST, CUT),
    ],
)
def test_what_a_rollup_cannot_serve_is_read_from_the_raw_table(server, builder, query, start, end):
    ready(builder, made())
    source = same(server, lambda s: s.fetch(query, start, end), made())
    assert source.serving(query, start, end) is None


def test_a_rollup_is_read_only_once_it_is_filled_in(server, builder):
    totals = made()
    builder.create(totals, CUT)
    assert same(server, lambda s: s.fetch(TOTALS, FIRST, CUT), totals).serving(TOTALS, FIRST, CUT) is None
    builder.backfill(totals, 3)
    source = sources(server, totals)[0]
    assert source.serving(TOTALS, FIRST, CUT) is None
    assert source.serving(TOTALS, CUT - 2 * DAY, CUT) is totals
    builder.backfill(totals, 20)
    assert same(server, lambda s: s.fetch(TOTALS, FIRST, CUT), totals).serving(TOTALS, FIRST, CUT) is totals


def test_rows_that_come_late_are_read_from_the_raw_table_until_they_are_filled_in(server, builder, told):
    totals = made()
    ready(builder, totals)
    insert(server, CUT - 3 * DAY, CUT - 3 * DAY + HOUR, 50, seed=9)
    source = same(server, lambda s: s.fetch(TOTALS, FIRST, CUT), totals)
    assert source.serving(TOTALS, FIRST, CUT) is None
    assert source.serving(TOTALS, CUT - DAY, CUT) is totals  # that day is not in it
    assert "1 days got rows late and wait for backfill" in builder.status(totals)
    told.clear()
    builder.backfill(totals, 20)
    assert [re.sub(r"[\d,]+ rows.*", "", line).split(": ")[1] for line in told] == ["2026-11-07, ", "is read from 2026-10-22 on"]
    assert same(server, lambda s: s.fetch(TOTALS, FIRST, CUT), totals).serving(TOTALS, FIRST, CUT) is totals


def test_rows_that_come_while_it_is_made_are_counted_once(server, builder):
    totals, slices = made(), made("slices")
    for each in (totals, slices):
        builder.create(each, CUT)
    insert(server, CUT - DAY, CUT + DAY, 1_000, seed=5)  # some late, some live
    for each in (totals, slices):
        builder.backfill(each, 20)
    insert(server, CUT, CUT + DAY, 1_000, seed=6)
    same(server, lambda s: s.fetch(TOTALS, FIRST, CUT + DAY), totals)
    same(server, lambda s: s.rows(SLICES, CUT - 6 * DAY - HOUR, CUT + DAY), slices)


def test_a_half_filled_day_is_filled_in_anew(server, builder):
    """A killed backfill leaves rows and no note."""
    totals = made()
    builder.create(totals, CUT)
    day = int(CUT.timestamp()) // 86400 - 2
    within = f"time >= toDateTime({day * 86400}) AND time < toDateTime({day * 86400 + 40_000})"
    server.execute(f"INSERT INTO rolled.{totals.name} {totals.select('rolled.feed_actions', within, 0)}")
    builder.backfill(totals, 20)
    same(server, lambda s: s.fetch(TOTALS, FIRST, CUT), totals)


def test_the_day_of_the_cut_waits_for_it(server, builder, told):
    totals, cut = made(), datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + HOUR
    builder.create(totals, cut)
    builder.backfill(totals, 3)
    assert any(f"ends at {cut:%Y-%m-%dT%H:%MZ}: run it again after that" in line for line in told)
    assert "not read yet: backfill" in builder.status(totals)


def test_the_cut_lies_ahead(server, builder):
    builder.create(made())
    ahead = int(server.execute(f"SELECT value FROM rolled.{book.DAYS}")) - time.time()
    assert ahead + 1 >= 15 * 60
    assert ahead <= 30 * 60


def test_estimated_users_are_near_and_the_counts_exact(server, builder):
    close = made(users=COMBINED)
    ready(builder, close)
    source, raw = sources(server, close)
    assert source.serving(TOTALS, FIRST, CUT) is close
    mine, theirs = (s.fetch(TOTALS, FIRST, CUT) for s in (source, raw))
    assert_frame_equal(mine.drop(columns="users"), theirs.drop(columns="users"))
    assert (mine["users"] / theirs["users"] - 1).abs().max() < 0.02


def test_what_is_known_is_asked_once_a_run(server, builder):
    totals, slices = made(), made("slices")
    ready(builder, totals, slices)
    source, raw = sources(server, totals, slices)
    asked, really = [], raw.ask
    raw.ask = lambda *args: asked.append(args) or really(*args)
    for _ in range(3):
        source.fetch(TOTALS, FIRST, CUT)
        source.rows(SLICES, CUT - 3 * DAY - HOUR, CUT)
    assert len(asked) == 1


def test_without_a_book_the_raw_table_is_read_and_nothing_said(server):
    assert same(server, lambda s: s.fetch(TOTALS, FIRST, CUT), made()).serving(TOTALS, FIRST, CUT) is None


def test_a_rollup_that_is_gone_is_said_and_the_raw_table_read(server, builder):
    totals = made()
    ready(builder, totals)
    server.execute(f"DROP TABLE rolled.{totals.name}_live")
    server.execute(f"DROP TABLE rolled.{totals.name}")
    source, raw = sources(server, totals)
    assert_frame_equal(source.fetch(TOTALS, FIRST, CUT), raw.fetch(TOTALS, FIRST, CUT))
    assert "could not be read, so the raw table was" in source.notes[0]


def test_dropped_is_dropped_and_made_again_is_empty(server, builder):
    totals = made()
    ready(builder, totals)
    builder.drop(totals.name)
    assert builder.there() == []
    insert(server, CUT, CUT + HOUR, 10)  # nothing stands in its way
    assert sources(server, totals)[0].serving(TOTALS, FIRST, CUT) is None
    builder.create(totals, CUT + DAY)
    assert sources(server, totals)[0].serving(TOTALS, FIRST, CUT) is None  # what was noted of the old one is gone
    builder.backfill(totals, 20)
    same(server, lambda s: s.fetch(TOTALS, FIRST, CUT + DAY), totals)


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        ("ReplacingMergeTree ORDER BY time", "is a ReplacingMergeTree table, and a rollup serves only MergeTree"),
        ("Memory", "is a Memory table"),
        ("", "there is no table rolled.feed_actions: check ALERTING_FEED_TABLE"),
    ],
)
def test_only_a_table_whose_rows_come_once_and_stay_is_rolled_up(server, builder, engine, said):
    server.execute("DROP TABLE rolled.feed_actions")
    if engine:
        server.execute(f"CREATE TABLE rolled.feed_actions ({COLUMNS}) ENGINE = {engine}")
    with pytest.raises(SourceError, match=re.escape(said)):
        builder.create(made())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("WHERE time", "WHERE post_id > 5 AND time", "WHERE asks for post_id, which the rollup does not keep"),
        ("GROUP BY bucket\n", "GROUP BY bucket HAVING users > 5\n", "nothing but ORDER BY after it"),
    ],
)
def test_a_query_that_cannot_be_rolled_up_says_why(old, new, said):
    with pytest.raises(SourceError, match=said):
        made(query=Query("feed_actions", TOTALS.sql.replace(old, new)))


def test_a_filter_on_a_column_that_is_kept_is_served(server, builder):
    query = Query("feed_actions", SLICES.sql.replace("WHERE time", "WHERE os != 'iOS' AND time"))
    part = made("slices", query=query)
    ready(builder, part)
    source = same(server, lambda s: s.rows(query, CUT - 3 * DAY - HOUR, CUT), part)
    assert source.serving(query, CUT - 3 * DAY - HOUR, CUT) is part


def test_a_query_whose_answer_would_differ_is_not_read(server, builder):
    """It asks for a part of a bucket: found by comparing."""
    query = Query("feed_actions", TOTALS.sql.replace("WHERE time", "WHERE toMinute(time) % 2 = 0 AND time"))
    odd = made(query=query)
    builder.create(odd, CUT)
    with pytest.raises(SourceError, match="answers otherwise than the raw table, and is not read"):
        builder.backfill(odd, 5)
    assert sources(server, odd)[0].serving(query, CUT - DAY, CUT) is None


def settings(server, **more):
    given = {
        "SOURCE": server.url,
        "CLICKHOUSE_USER": "reader",
        "CLICKHOUSE_PASSWORD": PASSWORD,
        "CLICKHOUSE_DATABASE": "rolled",
        **more,
    }
    return load({f"ALERTING_{name}": text for name, text in given.items()}, ROOT / "no-such-file")


def test_a_reader_cannot_make_them_and_is_told_so(server):
    builder, recipes, _ = wiring.open_rollups(settings(server), print)
    with pytest.raises(SourceError, match="read-only"):
        builder.create(recipes[0])


@pytest.mark.parametrize("source", ["embedded", "kpis.csv"])
def test_only_a_server_keeps_rollups(source):
    with pytest.raises(SettingsError, match=f"rollups are kept by a ClickHouse server, and ALERTING_SOURCE is {source}"):
        wiring.open_rollups(load({"ALERTING_SOURCE": source}, ROOT / "no-such-file"), print)


def test_they_are_read_where_settings_say_so(server, builder):
    assert isinstance(wiring.open_source(settings(server))[0], ClickHouse)
    assert isinstance(wiring.open_source(settings(server, ROLLUPS="on"))[0], RolledUp)


def command(server, *words):
    given = {"SOURCE": server.url, "CLICKHOUSE_USER": "reader", "CLICKHOUSE_PASSWORD": PASSWORD, "CLICKHOUSE_DATABASE": "rolled"}
    given |= {"ROLLUP_USER": "analyst", "ROLLUP_PASSWORD": PASSWORD}
    env = {"PATH": "/usr/bin:/bin", **{f"ALERTING_{name}": text for name, text in given.items()}}
    asked = [sys.executable, "-m", "alerting", "rollup", *words]
    return ended(subprocess.Popen(asked, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True))


def call(server, *words):
    with command(server, *words) as process:
        said, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, said


def test_the_command_from_the_first_to_the_last(server):
    server.execute("CREATE TABLE rolled.message_actions AS rolled.feed_actions")
    assert call(server, "status") == (0, "there are no rollups: `rollup create` makes them\n")
    code, said = call(server, "create")
    assert (code, said.count("are counted as they come")) == (0, 4)
    code, said = call(server, "create")
    assert (code, said.count(": is there")) == (0, 4)
    code, said = call(server, "backfill", "--days", "2")
    assert (code, said.count("run it again after that")) == (0, 4)
    code, said = call(server, "status")
    assert (code, said.count("not read yet: backfill; live from")) == (0, 4)
    code, said = call(server, "drop", "--stale")
    assert (code, said) == (0, "")
    code, said = call(server, "drop")
    assert (code, said.count(": dropped")) == (0, 4)
    assert server.execute("SHOW TABLES FROM rolled").split() == ["feed_actions", "message_actions"]


def test_a_backfill_that_is_killed_goes_on_where_it_was(server, builder):
    totals, slices = made(), made("slices")
    for each in (totals, slices):
        builder.create(each, CUT)
    lines = []
    for days in range(1, 5):
        with command(server, "backfill", "--days", "20") as process:
            lines += [process.stdout.readline() for _ in range(days)]
            process.kill()
    code, said = call(server, "backfill", "--days", "20")
    assert code == 0
    assert said.count("is read from 2026-10-22 on") == 2
    assert len(set(lines)) == len(lines)  # no day twice
    same(server, lambda s: s.fetch(TOTALS, FIRST, CUT), totals)
    same(server, lambda s: s.rows(SLICES, CUT - 6 * DAY - HOUR, CUT), slices)


def test_one_of_another_text_is_shown_and_can_be_dropped(server, builder, capsys):
    old = made(query=Query("feed_actions", TOTALS.sql + "\n"))
    builder.create(old, CUT)
    commands.run(commands.Wish("status"), builder, [made()], [])
    assert f"{old.name}: of another text of its query, never read" in capsys.readouterr().out
    builder.create(made(), CUT)
    commands.run(commands.Wish("drop", stale=True), builder, [made()], [])
    assert builder.there() == [made().name]


def test_estimated_users_are_asked_for_by_name(server, builder):
    both = [made(), made(users=COMBINED)]
    commands.run(commands.Wish("create", users=COMBINED), builder, both, [])
    assert builder.there() == [both[1].name]
