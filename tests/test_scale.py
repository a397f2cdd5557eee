"""The SQL of docs/scale.md gives the numbers of the raw tables: on a real server, on a cluster and on a newer engine."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

from alerting.catalogue import check_metrics
from alerting.connections import SQL, load_queries
from alerting.metrics import METRICS
from alerting.model.errors import SourceError
from alerting.model.metric import Query
from alerting.settings import ROOT
from alerting.sources.base import bind
from alerting.sources.clickhouse import ClickHouseSource
from tests.servers import PASSWORD, needs_clickhouse, running_cluster

CUT, DAYS = datetime(2026, 12, 1, tzinfo=UTC), 4  # the page's cut, and the days before it that have rows
FIRST, END = CUT - timedelta(days=DAYS), CUT + timedelta(days=2)
STEPS = [timedelta(minutes=15), timedelta(hours=1), timedelta(days=1)]
FEED = "user_id UInt32, action Enum8('view' = 1, 'like' = 2), time DateTime"
MESSAGES = "user_id UInt32, reciever_id UInt32, time DateTime"
TABLES = {"feed_actions": FEED, "message_actions": MESSAGES}

PAGE = re.findall(r"^```sql\n(.*?)^```", (ROOT / "docs" / "scale.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
MAKE, FILL, CHECK, *FILES, SPREAD = PAGE
RAW = {name: query for name, query in load_queries().items() if name in TABLES}
SUMS = {found[1]: Query(found[1], sql) for sql in FILES if (found := re.match(r"-- alerting/sql/(\w+)\.sql\n", sql))}


def statements(block):
    return [text.strip() for text in block.split(";") if text.strip()]


def filled_in(day):
    """The statements that fill in a day."""
    return statements(FILL.replace("20261130", f"{day:%Y%m%d}").replace("2026-11-30", f"{day:%Y-%m-%d}"))


def days():
    return [CUT - timedelta(days=back) for back in range(1, DAYS + 1)]


def raw_tables(suffix=""):
    return [f"CREATE TABLE {name}{suffix} ({columns}) ENGINE = MergeTree ORDER BY time" for name, columns in TABLES.items()]


def inserts(first, end, rows, seed=0):
    """Rows spread from `first` to before `end`, for both tables."""
    span = int((end - first).total_seconds())
    user, time = f"toUInt32(intHash64(number + {seed}) % 900)", f"toDateTime(toUInt32({int(first.timestamp())}"
    time += f" + intHash64(number + {seed} + 2) % {span}))"
    action = f"if(intHash64(number + {seed} + 1) % 5 = 0, 'like', 'view')"
    yield f"INSERT INTO feed_actions SELECT {user}, {action}, {time} FROM numbers({rows})"
    yield f"INSERT INTO message_actions SELECT {user}, toUInt32(number), {time} FROM numbers({rows // 2})"


def story():
    """Rows that come before, between and after the statements of the page."""
    yield from inserts(FIRST, CUT, 20_000)
    yield from statements(MAKE)
    yield from inserts(FIRST, END, 3_000, seed=10_000)  # some of them late, some live
    for day in days():
        yield from filled_in(day)
    yield from inserts(CUT, END, 5_000, seed=20_000)


@pytest.fixture
def server(clickhouse):
    clickhouse.execute("DROP DATABASE IF EXISTS scaled")
    clickhouse.execute("CREATE DATABASE scaled")
    for sql in [*raw_tables(), *story()]:
        clickhouse.execute(sql, database="scaled")
    yield clickhouse
    clickhouse.execute("DROP DATABASE scaled")


def reading(server, database="scaled"):
    return ClickHouseSource(server.url, server.reader, PASSWORD, database, sleep=lambda _: None)


def missing(server, database="scaled"):
    return [server.execute(sql, database=database) for sql in statements(CHECK)]


def check_same(source):
    """All columns of both queries, and the values of all metrics, at every step."""
    for step in STEPS:
        raw, sums = (
            {name: source.fetch(replace(query, step=step), FIRST, END) for name, query in queries.items()}
            for queries in (RAW, SUMS)
        )
        for name in TABLES:
            assert len(raw[name]) == (END - FIRST) / step
            assert_frame_equal(sums[name], raw[name])
        for metric in METRICS:
            assert_series_equal(metric.value(sums[metric.query]), metric.value(raw[metric.query]))


def test_the_numbers_of_all_metrics_are_those_of_the_raw_tables(server):
    assert [metric.name for metric in METRICS if metric.query in SUMS] == [metric.name for metric in METRICS]
    check_same(reading(server))
    assert missing(server) == ["", ""]


def test_a_day_may_be_filled_in_again(server):
    for sql in filled_in(days()[1]) * 2:
        server.execute(sql, database="scaled")
    check_same(reading(server))


def test_the_check_names_a_day_that_got_rows_late_and_filling_it_in_mends_it(server):
    day = days()[2]
    for sql in inserts(day, day + timedelta(days=1), 10, seed=30_000):
        server.execute(sql, database="scaled")
    assert missing(server) == [f"{day:%Y%m%d}\t10\n", f"{day:%Y%m%d}\t5\n"]
    for sql in filled_in(day):
        server.execute(sql, database="scaled")
    assert missing(server) == ["", ""]
    check_same(reading(server))


def test_a_live_day_can_be_filled_in_anew_once_it_is_over(server):
    """The check names it after its raw rows were loaded a second time past the view."""
    server.execute("DROP TABLE feed_sums_live", database="scaled")
    for sql in inserts(CUT, CUT + timedelta(days=1), 10, seed=40_000):
        server.execute(sql, database="scaled")
    assert missing(server) == [f"{CUT:%Y%m%d}\t10\n", ""]
    for sql in filled_in(CUT):
        server.execute(sql, database="scaled")
    check_same(reading(server))


@pytest.mark.parametrize("name", TABLES)
def test_a_row_a_bucket_is_read(server, name):
    read = []
    for query in (RAW[name], SUMS[name]):
        sql = bind(query, f"`scaled`.`{name}`", FIRST, END) + "\nFORMAT JSON"
        read.append(json.loads(server.execute(sql, database="scaled"))["statistics"]["rows_read"])
    assert read[0] > 10_000
    assert read[1] <= 3 * 96 * (END - FIRST).days  # parts that are not merged yet have a row each


def test_the_catalogue_takes_the_files_and_keeps_the_slices():
    check_metrics(METRICS, "en", load_queries() | SUMS, load_queries(SQL / "slices"))


def test_without_the_sums_a_run_is_told_so(server):
    server.execute("DROP TABLE feed_sums_live", database="scaled")
    server.execute("DROP TABLE feed_sums", database="scaled")
    with pytest.raises(SourceError, match="a table was not found"):
        reading(server).fetch(SUMS["feed_actions"], FIRST, END)


def on_a_shard(sql):
    """A statement of the page over the local tables, as it says itself."""
    return re.sub(r"\b(feed|message)_(actions|sums)\b", r"\1_\2_local", sql)


@pytest.fixture
def cluster(tmp_path):
    needs_clickhouse()
    with running_cluster(tmp_path) as servers:
        for server in servers:
            server.execute("CREATE DATABASE app")
            for sql in raw_tables("_local"):
                server.execute(sql, database="app")
        for name in TABLES:
            spread = f"ENGINE = Distributed(app, app, {name}_local, cityHash64(user_id))"
            servers[0].execute(f"CREATE TABLE {name} AS {name}_local {spread}", database="app")
        for sql in story():
            if re.match("INSERT INTO (feed|message)_actions", sql):
                servers[0].execute(sql, database="app", insert_distributed_sync="1")
            else:
                for server in servers:
                    server.execute(on_a_shard(sql), database="app")
        for sql in statements(SPREAD):
            servers[0].execute(sql, database="app")
        yield servers


def test_on_a_cluster_the_numbers_are_those_of_the_raw_tables(cluster):
    parts = [int(server.execute("SELECT count() FROM feed_actions_local", database="app")) for server in cluster]
    assert min(parts) > 5_000
    check_same(reading(cluster[0], "app"))
    assert missing(cluster[0], "app") == ["", ""]


def test_a_newer_engine_gives_the_same(tmp_path):
    """chDB, in a process of its own."""
    code = """
import json, sys
from chdb.session import Session
story, asked = json.load(sys.stdin)
session = Session(sys.argv[1])
for sql in story:
    session.query(sql)
print(json.dumps([str(session.query(sql, "CSVWithNames")) for sql in asked]))
"""
    begin = ["CREATE DATABASE scaled ENGINE = Atomic", "USE scaled", *raw_tables(), *story()]
    bound = [
        bind(replace(queries[name], step=step), f"`scaled`.`{name}`", FIRST, END)
        for name in TABLES
        for step in STEPS
        for queries in (RAW, SUMS)
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "chdb")],
        input=json.dumps([begin, [*bound, *statements(CHECK)]]),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    *answers, one, other = json.loads(done.stdout)
    assert len(answers[0].splitlines()) > 96 * DAYS
    assert answers[::2] == answers[1::2]
    assert one == other == '"day","missing"\n'
