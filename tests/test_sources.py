"""One contract for every source, and what each does with input that is not as it should be."""

import gc
import math
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from alerting.model.errors import SourceError
from alerting.model.metric import Query
from alerting.model.protocols import Source
from alerting.sources.cache import CachedSource
from alerting.sources.clickhouse import ClickHouseSource
from alerting.sources.embedded import EmbeddedSource
from alerting.sources.query import bind
from alerting.sources.table import TableSource
from alerting.sources.tsv import decode
from alerting.store.state import StateStore
from tests.servers import PASSWORD, ZONE, needs, says
from tests.waiting import PATIENCE, ended, until

ROOT = Path(__file__).resolve().parent.parent
SQL = {path.stem: path.read_text() for path in (ROOT / "alerting" / "sql").glob("*.sql")}
FEED, MESSAGES = Query("feed_actions", SQL["feed_actions"]), Query("message_actions", SQL["message_actions"])
START, END = datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 10, 27, tzinfo=UTC)  # the clocks of Europe change on the 25th
QUARTER, DAY = timedelta(minutes=15), timedelta(days=1)
WITH = "WITH 0 AS since, 0 AS until, 900 AS step "


@pytest.fixture(scope="session")
def events():
    """40,000 events of three days, none of them between 03:00 and 04:00 of the second day; `time` in epoch seconds."""
    rng = np.random.default_rng(16)
    size = 40_000
    frame = pd.DataFrame(
        {
            "user_id": rng.integers(1, 3_000, size).astype("uint32"),
            "post_id": rng.integers(1, 500, size).astype("uint32"),
            "action": rng.choice(["view", "like"], size, p=[0.8, 0.2]),
            "time": np.sort(rng.integers(START.timestamp(), END.timestamp(), size)),
            "city": rng.choice(["Москва", "N'Djamena", 'a\tb\\n"c"', "{}"], size),
        }
    )
    quiet = START.timestamp() + 27 * 3600
    return frame[~frame["time"].between(quiet, quiet + 3599)].reset_index(drop=True)


@pytest.fixture(scope="session")
def tables(clickhouse, events):
    """The events in ClickHouse, and a table of messages without a row."""
    own = "user_id UInt32, post_id UInt32, action Enum8('view' = 1, 'like' = 2), time DateTime, city String"
    clickhouse.execute("CREATE DATABASE app")
    clickhouse.execute(f"CREATE TABLE app.feed_actions ({own}) ENGINE = MergeTree ORDER BY time PARTITION BY toDate(time)")
    clickhouse.execute("CREATE TABLE app.message_actions (user_id UInt32, time DateTime) ENGINE = Memory")
    rows = events.assign(city=events["city"].str.replace("\\", "\\\\").str.replace("\t", "\\t"))
    clickhouse.execute(
        "INSERT INTO app.feed_actions FORMAT TSV", "".join("\t".join(map(str, row)) + "\n" for row in rows.to_numpy())
    )
    return clickhouse


@pytest.fixture(scope="session")
def folder(events, tmp_path_factory):
    """The events as daily Parquet files, under a path with a space and a quote in it."""
    folder = tmp_path_factory.mktemp("the app's data")
    times = pd.to_datetime(events["time"], unit="s", utc=True)
    for day, rows in events.assign(time=times).groupby(times.dt.date):
        _write_parquet(rows, folder / "feed_actions" / f"{day}.parquet")
    empty = pd.DataFrame({"user_id": np.empty(0, "uint32"), "time": pd.DatetimeIndex([], dtype="datetime64[ms, UTC]")})
    _write_parquet(empty, folder / "message_actions" / "2026-10-24.parquet")
    return folder


def _write_parquet(frame, path):
    path.parent.mkdir(exist_ok=True)
    frame.to_parquet(path, index=False)


@pytest.fixture(scope="session")
def embedded(folder):
    source = EmbeddedSource(folder)
    yield source
    source.close()


@pytest.fixture(scope="session")
def views(events):
    """The truth about one column, by pandas."""
    bucket = pd.to_datetime(events["time"] // 900 * 900, unit="s", utc=True).astype("datetime64[ns, UTC]").rename("bucket")
    return (events["action"] == "view").groupby(bucket).sum().rename("views")


@pytest.fixture(scope="session")
def tidy(views, tmp_path_factory):
    """A folder with the views as kpi.csv (other columns, zone in the text) and kpi.parquet (naive UTC)."""
    folder = tmp_path_factory.mktemp("kpis")
    frame = pd.DataFrame({"series": "views", "ts": views.index, "value": views.to_numpy(dtype=float), "label": 0})
    gap = pd.DataFrame({"series": "quiet", "ts": [pd.Timestamp(START)], "value": [math.nan], "label": [0]})
    frame = pd.concat([frame, gap], ignore_index=True)
    frame.assign(ts=frame["ts"].map(lambda ts: ts.tz_convert(ZONE).isoformat())).to_csv(folder / "kpi.csv", index=False)
    frame.assign(ts=frame["ts"].dt.tz_localize(None)).to_parquet(folder / "kpi.parquet", index=False)
    return folder


class Case(NamedTuple):
    """A source, two of its queries (the second has no rows), and the column that holds the views."""

    source: Source
    query: Query
    empty: Query
    column: str


@pytest.fixture(params=["ClickHouse", "ClickHouse read-only", "embedded", "held", "csv", "parquet"])
def case(request):
    if request.param == "held":  # closed buckets from a memory that has seen some of them
        source = CachedSource(request.getfixturevalue("embedded"), StateStore(":memory:"), str)
        source.fetch(FEED, START + 6 * QUARTER, END - DAY)
        return Case(source, FEED, MESSAGES, "views")
    if request.param.startswith("ClickHouse"):
        server = request.getfixturevalue("tables")
        user = server.user if request.param == "ClickHouse" else server.reader
        return Case(ClickHouseSource(server.url, user, server.password, "app", timeout=20), FEED, MESSAGES, "views")
    if request.param == "embedded":
        return Case(request.getfixturevalue("embedded"), FEED, MESSAGES, "views")
    path = request.getfixturevalue("tidy") / f"kpi.{request.param}"
    return Case(TableSource(path), Query("views", ""), Query("quiet", ""), "value")


def as_promised(frame):
    return (
        frame.index.name == "bucket"
        and frame.index.dtype == "datetime64[ns, UTC]"
        and frame.index.is_monotonic_increasing
        and frame.index.is_unique
        and all(dtype.kind in "fui" for dtype in frame.dtypes)
    )


class TestContract:
    """What `model.Source` promises, of all of them."""

    def test_counts_are_those_of_the_events(self, case, views):
        frame = case.source.fetch(case.query, START, END)
        assert as_promised(frame)
        assert frame[case.column].astype("int64").to_dict() == views.to_dict()
        assert len(frame) == 3 * 96 - 4  # no row for the quiet hour

    @pytest.mark.parametrize(
        ("start", "end"),
        [
            (START + DAY, START + DAY + QUARTER),  # one bucket
            (START + timedelta(minutes=7), START + timedelta(minutes=52)),  # ends inside of buckets
            (START + timedelta(hours=26), START + timedelta(hours=29)),  # around the gap
            (END - QUARTER, END + DAY),
            (START - DAY, START + QUARTER),
        ],
    )
    def test_a_window_holds_whole_buckets_from_start_to_before_end(self, case, views, start, end):
        frame = case.source.fetch(case.query, start, end)
        wanted = views[(views.index >= start) & (views.index < end)]
        assert frame[case.column].astype("int64").to_dict() == wanted.to_dict()

    def test_a_window_in_another_zone_is_the_same_window(self, case):
        there = timedelta(hours=5, minutes=30)
        zone = pd.Timestamp(START).tz_convert("Asia/Kolkata").tzinfo
        assert there == zone.utcoffset(START)
        frame = case.source.fetch(case.query, START.astimezone(zone), END.astimezone(zone))
        assert_frame_equal(frame, case.source.fetch(case.query, START, END))

    @pytest.mark.parametrize("window", [(END + DAY, END + 2 * DAY), (START - 9 * DAY, START), (END, START)])
    def test_no_rows_is_an_empty_frame_of_the_same_form(self, case, window):
        frame = case.source.fetch(case.query, *window)
        assert frame.empty
        assert_frame_equal(frame, case.source.fetch(case.query, START, END)[:0])

    def test_an_empty_table_is_an_empty_frame(self, case):
        frame = case.source.fetch(case.empty, START, END)
        assert frame.empty
        assert as_promised(frame)

    @pytest.mark.parametrize("minutes", [5, 30, 60, 1440])
    def test_buckets_are_those_of_the_query(self, case, minutes):
        query = replace(case.query, step=timedelta(minutes=minutes))
        frame = case.source.fetch(query, START, END)
        assert as_promised(frame)
        assert set(frame.index.astype("int64") % (minutes * 60 * 10**9)) == {0}

    def test_asking_again_says_the_same(self, case):
        assert_frame_equal(case.source.fetch(case.query, START, END), case.source.fetch(case.query, START, END))

    def test_a_window_without_a_zone_is_refused(self, case):
        with pytest.raises(SourceError, match="zone"):
            case.source.fetch(case.query, START.replace(tzinfo=None), END.replace(tzinfo=None))

    def test_what_is_not_there_is_refused_by_name(self, case):
        sql = FEED.sql.replace("feed_actions", "nothing_such")
        with pytest.raises(SourceError, match="nothing_such") as caught:
            case.source.fetch(Query("nothing_such", sql), START, END)
        assert not caught.value.passing
        assert caught.value.__cause__ is None


def test_clickhouse_and_chdb_give_the_same_series_to_the_last_digit(tables, embedded):
    """Also where the query divides, takes quantiles and meets NULL: floats are written with all their digits."""
    more = "quantileExact(0.37)(toFloat64(post_id)) / 7 AS third, avg(post_id) AS mean, nullIf(uniqExact(user_id), 120) AS odd, "
    query = Query("feed_actions", FEED.sql.replace("countIf(action = 'view')", more + "countIf(action = 'view')"))
    server = ClickHouseSource(tables.url, tables.user, tables.password, "app").fetch(query, START, END)
    assert_frame_equal(server, embedded.fetch(query, START, END), check_exact=True)
    assert list(server.columns) == ["users", "third", "mean", "odd", "views", "likes", "newest"]
    assert server["odd"].isna().sum() > 0


# Binding


def bound(sql, name="t", **more):
    return bind(Query(name, sql, **more), "`db`.`t`", START, START + timedelta(hours=1))


SINCE, UNTIL = int(START.timestamp()), int(START.timestamp()) + 3600


@pytest.mark.parametrize("name", sorted(SQL))
def test_only_four_pieces_of_our_queries_change(name):
    expected = SQL[name].rstrip().replace("toUInt32(now()) - 172800 AS since", f"{SINCE} AS since")
    expected = expected.replace("toUInt32(now()) AS until", f"{UNTIL} AS until").replace("900 AS step", "1800 AS step")
    expected = expected.replace(f"FROM {name}", "FROM `db`.`t`")
    assert bound(SQL[name], name, step=timedelta(minutes=30)) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "with 1 as since, 2 as until, 3 as step select 1 from t",
            f"with {SINCE} as since, {UNTIL} as until, 900 as step select 1 from `db`.`t`",
        ),
        (
            "WITH max2(f(1, (2)), 3) AS step, 1 AS until, toUInt32(0) AS since SELECT 1 FROM `t`;",
            f"WITH 900 AS step, {UNTIL} AS until, {SINCE} AS since SELECT 1 FROM `db`.`t`",
        ),
        (
            WITH + "SELECT ', 1 AS since FROM t' /* FROM t; */ FROM t -- AS step FROM t;\n;\n",
            f"WITH {SINCE} AS since, {UNTIL} AS until, 900 AS step SELECT ', 1 AS since FROM t' /* FROM t; */ FROM `db`.`t`",
        ),
        (
            WITH + ", x AS (SELECT a FROM t) SELECT '{}', `--` FROM t2",
            f"WITH {SINCE} AS since, {UNTIL} AS until, 900 AS step , x AS (SELECT a FROM `db`.`t`) SELECT '{{}}', `--` FROM t2",
        ),
        (
            WITH + "SELECT 'it''s \\' FROM t' FROM t\nWHERE since < step",
            f"WITH {SINCE} AS since, {UNTIL} AS until, 900 AS step SELECT 'it''s \\' FROM t' FROM `db`.`t`\nWHERE since < step",
        ),
    ],
)
def test_other_peoples_queries_are_bound(sql, expected):
    assert bound(sql) == expected


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT 1 FROM t", "WITH"),
        ("", "WITH"),
        ("INSERT INTO t WITH 0 AS since, 0 AS until, 900 AS step SELECT 1 FROM t", "begin with WITH"),
        ("WITH 0 AS since, 900 AS step SELECT 1 FROM t", "`until` exactly once"),
        ("WITH 0 AS since, 0 AS since, 0 AS until, 900 AS step SELECT 1 FROM t", "`since` exactly once"),
        ("WITH 0 AS since, 0 AS until SELECT 900 AS step FROM t", "`step` exactly once"),
        ("WITH 0 AS since, 0 AS until, (SELECT 900 AS step) AS x SELECT 1 FROM t", "`step` exactly once"),
        (WITH + "SELECT 1 FROM other", "0 times"),
        (WITH + "SELECT 1 FROM db.t", "0 times"),
        (WITH + "SELECT 1 FROM t2", "0 times"),
        (WITH + "SELECT 1 FROM t UNION ALL SELECT 1 FROM t", "2 times"),
        (WITH + "SELECT 1 FROM t; DROP TABLE t", "one statement"),
    ],
)
def test_a_query_that_cannot_be_bound_is_refused(sql, said):
    with pytest.raises(SourceError, match=re.escape(said)):
        bound(sql)


@pytest.mark.parametrize("table", ["t; DROP TABLE t", "a.b.c", "t`", "", "наша", "db.", "1t", "t t"])
def test_a_table_name_is_a_name(table):
    with pytest.raises(SourceError, match="table name"):
        ClickHouseSource("http://127.0.0.1:1", tables={"feed_actions": table}).fetch(FEED, START, END)


# Types


def header(value, unit="ns"):
    return pd.Timestamp(value, tz="UTC").as_unit(unit)


TYPES_OF_18_16 = [  # SQL, what is read
    ("toUInt8(255)", 255),
    ("toUInt16(65535)", 65535),
    ("toUInt32(4294967295)", 4294967295),
    ("toUInt64(18446744073709551615)", 18446744073709551615),
    ("toInt8(-128)", -128),
    ("toInt16(-1)", -1),
    ("toInt32(-1)", -1),
    ("toInt64(-9223372036854775807)", -9223372036854775807),
    ("toFloat32(0.5)", 0.5),
    ("toFloat64(1) / 3", 1 / 3),
    ("0 / 0", math.nan),
    ("1 / 0", math.inf),
    ("-1 / 0", -math.inf),
    ("toDecimal32(-1.25, 2)", -1.25),
    ("toDecimal64(1.5, 3)", 1.5),
    ("toDecimal128(2.125, 4)", 2.125),
    ("CAST(NULL AS Nullable(UInt8))", math.nan),
    ("CAST(7 AS Nullable(UInt8))", 7),
    ("CAST(7 AS Nullable(Float64))", 7.0),
    ("CAST(NULL AS Nullable(Float64))", math.nan),
    ("NULL", math.nan),
    ("CAST(NULL AS Nullable(String))", None),
    ("'a\\tb\\n\\\\c\\'d\"e'", "a\tb\n\\c'd\"e"),
    ("''", ""),
    ("'{x} {} %s'", "{x} {} %s"),
    ("'\"'", '"'),
    ("'NA'", "NA"),
    ("' x '", " x "),
    ("toFixedString('ab', 4)", "ab"),
    ("'Привет, 🌍'", "Привет, 🌍"),
    ("unhex('ff41')", "\ufffdA"),
    ("'x\\0y'", "x\0y"),
    ("CAST('like' AS Enum8('view' = 1, 'like' = 2))", "like"),
    ("CAST('it''s, \\t' AS Enum16('it''s, \\t' = 300))", "it's, \t"),
    ("toUUID('61f0c404-5cb3-11e7-907b-a6006ad3dba0')", "61f0c404-5cb3-11e7-907b-a6006ad3dba0"),
    ("toLowCardinality('x')", "x"),
    ("toDate('2026-10-25')", pd.Timestamp("2026-10-25")),
    ("toDate(0)", pd.NaT),
    ("toDateTime(1792843200)", header("2026-10-24T12:00")),
    ("toDateTime(0)", pd.NaT),  # the server is in Moscow
    ("toDateTime(1792843200, 'America/New_York')", header("2026-10-24T12:00")),
    ("CAST(NULL AS Nullable(DateTime))", pd.NaT),
    ("toDateTime('2026-10-24 12:00:00', 'Asia/Kathmandu')", header("2026-10-24T06:15")),
    ("INTERVAL 3 DAY", 3),
]
REFUSED_IN_18_16 = [
    ("[1, 2]", "Array(UInt8)"),
    ("(1, 'a')", "Tuple(UInt8, String)"),
    ("uniqState(1)", "AggregateFunction(uniq, UInt8)"),
    ("[toDate(0)]", "Array(Date)"),
]
TYPES_SINCE = [
    ("true", 1),
    ("CAST(NULL AS Nullable(Bool))", math.nan),
    ("CAST(false AS Nullable(Bool))", 0),
    ("toDateTime64('2026-10-24 12:00:00.123456789', 9, 'UTC')", header("2026-10-24T12:00:00.123456789")),
    ("toDateTime64('2026-10-24 12:00:00.5', 1, 'Europe/Moscow')", header("2026-10-24T09:00:00.5")),
    ("toDateTime(1792843200)", header("2026-10-24T12:00")),
    ("toDateTime64(1792843200, 3)", header("2026-10-24T12:00")),
    ("toDate32('1950-02-03')", pd.Timestamp("1950-02-03")),
    ("toInt128('-170141183460469231731687303715884105728')", -(2.0**127)),
    ("toUInt256('1')", 1.0),
    ("toDecimal256('1.5', 10)", 1.5),
    ("toBFloat16(1.5)", 1.5),
    ("toIPv4('10.0.0.1')", "10.0.0.1"),
    ("toIPv6('::1')", "::1"),
    ("CAST('a' AS Enum('a' = 1))", "a"),
    ("CAST(NULL AS LowCardinality(Nullable(String)))", None),
    ("CAST('b' AS LowCardinality(Nullable(String)))", "b"),
    ("CAST(5 AS SimpleAggregateFunction(sum, UInt64))", 5),
    ("INTERVAL 2 NANOSECOND", 2),
    ("toFloat32(0.1)", 0.1),
]
REFUSED_SINCE = [
    ("map('a', 1)", "Map(String, UInt8)"),
    ("CAST(1 AS Variant(UInt8, String))", "Variant(String, UInt8)"),
    ("CAST(1 AS Dynamic)", "Dynamic"),
    ("CAST('{\"a\": 1}' AS JSON)", "JSON"),
    ("CAST((1, 2) AS Point)", "Point"),
    ("[(1, 'a')]", "Array(Tuple(UInt8, String))"),
    ("CAST('12:00:00' AS Time)", "Time"),
]


CANNED = [  # type and text as a server writes them, what is read
    ("LowCardinality(UInt8)", "5", 5),
    ("LowCardinality(Nullable(DateTime('UTC')))", "2026-10-24 12:00:00", header("2026-10-24T12:00")),
    ("LowCardinality(Nullable(DateTime('UTC')))", r"\N", pd.NaT),
    ("SimpleAggregateFunction(anyLast, Nullable(Float64))", r"\N", math.nan),
    (r"DateTime(\'Europe/Moscow\')", "2026-10-24 15:00:00", header("2026-10-24T12:00")),
    ("Nullable(Nothing)", r"\N", math.nan),
    (r"Enum8(\'a)\' = 1, \'b\' = 2)", "a)", "a)"),
    ("Decimal(76, 20)", "-12.50000000000000000000", -12.5),
    ("Float64", "-inf", -math.inf),
    ("UInt256", "115792089237316195423570985008687907853269984665640564039457584007913129639935", 2.0**256),
    ("Nullable(UInt64)", "1", 1),
    ("DateTime64(9, 'UTC')", "1900-01-01 00:00:00.000000001", header("1900-01-01T00:00:00.000000001")),
    ("IntervalQuarter", "1", 1),
    ("Nullable(Bool)", "true", 1.0),
    ("Nullable(Date32)", r"\N", pd.NaT),
    ("FixedString(2)", r"\0\0", ""),
]
CANNED_AND_REFUSED = [
    ("Time64(3)", "12:00:00.000", "has the type Time64(3)"),
    ("Ring", "[(1,1)]", "has the type Ring"),
    ("QBit(Float32, 8)", "x", "QBit"),
    ("Nested(a UInt8)", "[1]", "has the type Nested(a UInt8)"),
    ("SimpleAggregateFunction(groupArrayArray, Array(UInt8))", "[1]", "Array"),
    ("Object('json')", "{}", "Object"),
    ("DateTime64(9, 'UTC')", "2299-12-31 23:59:59.999999999", "cannot be read"),
    ("Bool", "yes", "column `x` (Bool) cannot be read"),
    ("DateTime('Mars/Olympus')", "2026-10-24 15:00:00", "cannot be read"),
    ("Date", "2026-13-01", "column `x` (Date) cannot be read"),
    ("Decimal(9, 2)", "1,5", "column `x` (Decimal(9, 2)) cannot be read"),
]


@pytest.fixture(scope="session")
def one_row(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    _write_parquet(pd.DataFrame({"x": [1]}), folder / "t" / "t.parquet")
    return EmbeddedSource(folder)


def only(source, expression):
    query = Query("t", f"{WITH} SELECT {expression} AS x, 'after' AS y FROM t")
    frame = source.rows(query, START, END)
    assert list(frame["y"]) == ["after"]
    return frame["x"].iloc[0]


def same(left, right):
    """Equal, or both not there."""
    return (pd.isna(left) and pd.isna(right)) or (left == right and isinstance(left, str) == isinstance(right, str))


@pytest.mark.parametrize(("sql", "expected"), TYPES_OF_18_16)
def test_every_type_of_18_16_is_decoded(clickhouse, sql, expected):
    source = ClickHouseSource(clickhouse.url, clickhouse.user, clickhouse.password, "system", {"t": "system.one"})
    assert same(only(source, sql), expected)


@pytest.mark.parametrize(("sql", "expected"), TYPES_SINCE)
def test_every_type_since_is_decoded(one_row, sql, expected):
    assert same(only(one_row, sql), expected)


@pytest.mark.parametrize(("sql", "declared"), REFUSED_IN_18_16)
def test_what_is_no_single_value_is_refused_by_the_column_s_name(clickhouse, sql, declared):
    source = ClickHouseSource(clickhouse.url, clickhouse.user, clickhouse.password, "system", {"t": "system.one"})
    with pytest.raises(SourceError, match=re.escape(f"column `x` has the type {declared}")):
        only(source, sql)


@pytest.mark.parametrize(("sql", "declared"), REFUSED_SINCE)
def test_newer_types_that_are_no_single_value_too(one_row, sql, declared):
    with pytest.raises(SourceError, match=re.escape(f"column `x` has the type {declared}")):
        only(one_row, sql)


@pytest.mark.parametrize(("declared", "text", "expected"), CANNED)
def test_types_as_other_servers_write_them(web, declared, text, expected):
    web.will(says(f"x\ty\n{declared}\tString\n{text}\tafter\n"))
    assert same(only(ClickHouseSource(web.url), "1"), expected)


@pytest.mark.parametrize(("declared", "text", "said"), CANNED_AND_REFUSED)
def test_types_and_texts_that_make_no_value(web, declared, text, said):
    web.will(says(f"x\ty\n{declared}\tString\n{text}\tafter\n"))
    with pytest.raises(SourceError, match="`x`") as caught:
        only(ClickHouseSource(web.url), "1")
    assert said in str(caught.value)
    assert not caught.value.passing


def test_the_hour_that_the_clocks_repeat_is_refused_and_not_guessed(clickhouse):
    source = ClickHouseSource(clickhouse.url, clickhouse.user, clickhouse.password, "system", {"t": "system.one"})
    with pytest.raises(SourceError, match=r"`x` \(DateTime\('Europe/Berlin'\)\).*ask for toUInt32\(x\)"):
        only(source, "toDateTime(1792888200, 'Europe/Berlin')")  # 02:30, for the second time that night


def test_the_zone_of_plain_times_is_the_server_s_word(web):
    web.will(says("x\ty\nDateTime\tString\n2026-10-24 15:00:00\tafter\n", X_ClickHouse_Timezone="Asia/Tokyo"))
    assert only(ClickHouseSource(web.url), "now()") == header("2026-10-24T06:00")


def test_bytes_without_rows_keep_their_types():
    frame = decode(b"a\tb\tc\td\te\nUInt8\tNullable(UInt16)\tFloat64\tString\tDateTime\n", lambda: "UTC")
    assert frame.empty
    assert [str(dtype) for dtype in frame.dtypes] == ["uint8", "uint16", "float64", "str", "datetime64[ns, UTC]"]


def test_an_odd_row_is_neither_lost_nor_shifted():
    """What pandas' reader does on its own: skips an empty line, eats quotes, takes a first column for an index."""
    assert list(decode(b'a\nString\n\n"\nx\n', lambda: "UTC")["a"]) == ["", '"', "x"]
    frame = decode("имя \\'a\\'\tb\nString\tUInt8\n\t1\n1\t2\n".encode(), lambda: "UTC")
    assert frame.to_dict("list") == {"имя 'a'": ["", "1"], "b": [1, 2]}


# Queries that give what no metric can be made of


def test_text_beside_the_numbers_labels_them(one_row):
    rows = """[(0, 'iOS', 1), (0, 'web', 2), (0, 'tv, "x"', 3), (900, 'web', 4)]"""
    select = "toUInt32(r.1) AS bucket, r.2 AS os, 'ads' AS by, r.3 AS views, 99 + r.3 AS newest"
    query = Query("t", f"{WITH}SELECT {select} FROM (SELECT arrayJoin({rows}) AS r FROM t WHERE since < until)")
    answer = one_row.fetch(query, datetime(1970, 1, 1, tzinfo=UTC), datetime(1970, 1, 2, tzinfo=UTC))
    expected = {
        "views[by=ads,os=iOS]": [1.0, np.nan],
        'views[by=ads,os=tv, "x"]': [3.0, np.nan],
        "views[by=ads,os=web]": [2.0, 4.0],
        "newest": [102.0, 103.0],
        "groups": [3.0, 1.0],
    }
    index = pd.DatetimeIndex([0, 900 * 10**9], tz="UTC", name="bucket")
    assert_frame_equal(answer, pd.DataFrame(expected, index), check_index_type=False)


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ("1 AS users", "column `bucket`; it gives users"),
        ("0 AS bucket", "nothing else"),
        ("'1970' AS bucket, 1 AS users", "epoch seconds"),
        ("NULL AS bucket, 1 AS users", "epoch seconds"),
        ("toDate(0) AS bucket, 1 AS users", "epoch seconds"),
        ("toUInt32(901) AS bucket, 1 AS users", "901 is no start of 0:15:00"),
        ("toInt32(-900) AS bucket, 1 AS users", "-900 is no start"),
        ("0 AS bucket, 'iOS' AS os", "numbers; os"),
        ("0 AS bucket, 'iOS' AS os, 7 AS newest", "numbers; os"),
        ("arrayJoin([900, 900]) AS bucket, 'iOS' AS os, 1 AS users", "os=iOS of bucket 1970-01-01 00:15Z twice"),
        ("0 AS bucket, toString(arrayJoin(range(10001))) AS os, 1 AS users", "10,001 combinations of os"),
        ("arrayJoin([900, 900]) AS bucket, 1 AS users", "1970-01-01 00:15Z twice"),
    ],
)
def test_rows_that_are_no_counts_are_refused(one_row, select, said):
    with pytest.raises(SourceError, match=re.escape(said)):
        one_row.fetch(Query("t", f"{WITH} SELECT {select} FROM t"), START, END)


def test_a_bucket_may_be_a_time_and_come_in_any_order(one_row):
    select = "toDateTime(arrayJoin([1800, 900, 0]), 'Europe/Moscow') AS bucket, 1.5 AS users"
    frame = one_row.fetch(Query("t", f"{WITH} SELECT {select} FROM t"), datetime(1970, 1, 1, tzinfo=UTC), END)
    assert as_promised(frame)
    assert [f"{bucket:%H:%M}" for bucket in frame.index] == ["00:00", "00:15", "00:30"]


# ClickHouse, and what stands where it should be


ROW = "bucket\tusers\nUInt32\tUInt64\n" + f"{SINCE}\t5\n"
COUNTS = Query("feed_actions", WITH + "SELECT 1 AS bucket, 2 AS users FROM feed_actions")


class Naps(list):
    """Sleeps nobody has to wait for."""

    def __call__(self, seconds):
        self.append(seconds)


def asking(url, **more):
    """A ClickHouse with the password that must never be seen, and the naps it takes."""
    naps = Naps()
    return ClickHouseSource(
        url, **{"user": "analyst", "password": PASSWORD, "database": "app", "timeout": 10, **more}, sleep=naps
    ), naps


def refused(source, query=COUNTS):
    """The error, after a look at everything that a saved notebook would show of it."""
    with pytest.raises(SourceError) as caught:
        source.fetch(query, START, END)
    shown = "".join(traceback.format_exception(caught.value)) + repr(source) + repr(caught.value)
    assert PASSWORD not in shown
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


def reset(handler):
    handler.close_connection = True
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close sends RST
    os.close(handler.connection.detach())


def broken_off(handler):
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(ROW) + 100))
    handler.end_headers()
    handler.wfile.write(ROW.encode())


def chunk_missing(handler):
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"%x\r\n%s\r\n" % (len(ROW), ROW.encode()))


EXCEPTION = "Code: 241. DB::Exception: Memory limit (total) exceeded: would use 9.3 GiB. (MEMORY_LIMIT_EXCEEDED) (version 23.8)"
HTML = "<!DOCTYPE html><html><head><title>Sign in\n to the VPN</title></head></html>"
ANSWERS = [  # reply, what is said, worth another try
    (says(HTML, kind="text/html; charset=utf-8"), "a web page, titled 'Sign in to the VPN'", False),
    (says(f"\n{HTML}"), "a web page", False),
    (says(HTML, 502, "text/html"), "HTTP 502 with a web page", True),
    (says("upstream is away", 503), "HTTP 503: upstream is away", True),
    (says("", 504), "HTTP 504: no text", True),
    (says("slow down", 429), "HTTP 429", True),
    (says("", 404), "HTTP 404", False),
    (says("", 401, WWW_Authenticate="Basic"), "asks for a login", False),
    (says(HTML, 403, "text/html"), "asks for a login", False),
    (says("", 302, Location="http://user:pass@elsewhere.example/?password=x"), "redirects to elsewhere.example", False),
    (says(""), "empty", True),
    (says("\n"), "empty", True),
    (says("Ok.\n"), "'Ok.'", False),
    (says('{"rows": []}\n'), "no names and types", False),
    (says(ROW[:-3]), "breaks off in the middle of its line 3", True),
    (says("bucket\tusers\nUInt32"), "breaks off in the middle of its line 2", True),
    (says(ROW + "1792800000\n"), "row 2 has 1 columns and not 2", True),
    (says(ROW + "1792800000\t1\t2\n"), "row 2 has 3 columns and not 2", True),
    (says(ROW + "17928x0000\t1\n"), "whole numbers cannot be read", True),
    (says(ROW.replace("UInt32", "UInt8")), "whole numbers cannot be read", True),
    (says(ROW.replace("UInt64", "Float64").replace("5\n", "five\n")), "column `users` (Float64) cannot be read", False),
    (says(ROW.replace("users", "bucket")), "two columns of one name", False),
    (says(ROW.replace("bucket", "at")), "column `bucket`", False),
    (says(ROW + EXCEPTION + "\n"), "Memory limit (total) exceeded: would use 9.3 GiB (code 241)", True),
    (says(ROW[:-2] + "Code: 395, e.displayText() = DB::Exception: thrown, e.what() = DB::Exception"), "thrown (code 395)", False),
    (says(EXCEPTION, 500), "Memory limit (total) exceeded: would use 9.3 GiB (code 241)", True),
    (
        says("Code: 516. DB::Exception: analyst: Authentication failed: password is incorrect", 403),
        "ALERTING_CLICKHOUSE_PASSWORD",
        False,
    ),
    (says("Code: 497. DB::Exception: analyst: Not enough privileges", 403), "GRANT SELECT", False),
    (broken_off, "the connection failed", True),
    (chunk_missing, "the connection failed", True),
    (reset, "the connection failed", True),
]


@pytest.mark.parametrize(("reply", "said", "passing"), ANSWERS)
def test_an_answer_that_is_none_is_named_and_tried_again_where_that_may_help(web, reply, said, passing):
    source, naps = asking(web.will(reply).url)
    error = refused(source)
    assert said in str(error)
    assert error.passing is passing
    assert (len(web.asked), naps) == ((3, [1.0, 4.0]) if passing else (1, []))
    assert "column `bucket`" in str(error) or str(error).startswith(f"ClickHouse at {web.url} (feed_actions): ")


@pytest.mark.parametrize(
    "fault", [says("", 503), says(HTML, 502, "text/html"), reset, broken_off, says(ROW[:-2]), says(EXCEPTION, 500)]
)
def test_a_passing_fault_passes(web, fault):
    source, naps = asking(web.will(fault, says(ROW)).url)
    assert source.fetch(COUNTS, START, END)["users"].tolist() == [5]
    assert naps == [1.0]


def test_what_a_server_repeats_of_the_password_is_hidden(web):
    for text in (
        f"debug: {PASSWORD}",
        "debug: s3cret &amp; &lt;long&gt;:pass/word",
        "debug: s3cret%20%26%20%3Clong%3E%3Apass/word",
    ):
        error = refused(asking(web.will(says(text, 400)).url)[0])
        assert "debug: ***" in str(error)


def test_the_password_is_in_a_header_and_nowhere_else(web, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"  # requests would send this login beside ours
    netrc.write_text("machine 127.0.0.1 login somebody password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    asking(web.will(says(ROW)).url)[0].fetch(COUNTS, START, END)
    asked = web.asked[0]
    assert asked.headers["x-clickhouse-key"] == PASSWORD
    assert "authorization" not in asked.headers
    assert PASSWORD not in asked.path + asked.body.decode()
    assert "s3cret" not in asked.path
    for part in (
        "readonly=2",
        "skip_unavailable_shards=0",
        "timeout_overflow_mode=throw",
        "max_execution_time=10",
        "database=app",
    ):
        assert part in asked.path


def test_a_redirect_takes_no_password_with_it(web):
    from tests.servers import Web

    other = Web().will(says(ROW))
    try:
        refused(asking(web.will(says("", 307, Location=other.url)).url)[0])
        assert other.asked == []
    finally:
        other.close()


def test_a_url_with_a_password_is_refused_without_showing_it():
    with_password = "https://analyst:{}@ch.example:8443/".format("s3cret")
    with pytest.raises(SourceError) as caught:
        ClickHouseSource(with_password)
    assert "https://ch.example:8443/" in str(caught.value)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("password", ["line\nbreak", " leading", "пароль"])
def test_a_password_of_odd_characters(web, password):
    source, _ = asking(web.will(says(ROW)).url, password=password)
    if password.isalpha():
        source.fetch(COUNTS, START, END)
        assert web.asked[0].headers["x-clickhouse-key"].encode("latin-1").decode() == password
    else:
        with pytest.raises(SourceError, match="user or password cannot be sent") as caught:
            source.fetch(COUNTS, START, END)
        assert password not in str(caught.value)


def drips(handler):
    """One byte at a time, for longer than anybody waits."""
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    web = handler.server.web
    while not web.closing.wait(0.05):
        handler.wfile.write(b"1")


def drips_chunks(handler):
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    web = handler.server.web
    while not web.closing.wait(0.05):
        handler.wfile.write(b"1\r\n1\r\n")


def hangs(handler):
    handler.close_connection = True
    handler.server.web.closing.wait(PATIENCE)


@pytest.mark.parametrize("reply", [hangs, drips, drips_chunks])
def test_a_slow_server_is_given_up_in_time(web, reply):
    began = time.monotonic()
    error = refused(asking(web.will(reply).url, timeout=0.4)[0])
    assert time.monotonic() - began < PATIENCE / 2
    assert "did not answer in time" in str(error)
    assert error.passing


def test_a_server_that_is_down_is_tried_three_times():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    source, naps = asking(url)
    error = refused(source)
    assert "Connection refused" in str(error)
    assert error.passing
    assert naps == [1.0, 4.0]


def test_a_name_that_is_none_is_said():
    error = refused(asking("http://no-such-host.invalid:8123")[0])
    assert "the connection failed (" in str(error)
    assert error.passing


def test_tries_end_with_the_time_there_is(web):
    source, naps = asking(web.will(says("", 503)).url, timeout=3)
    refused(source)
    assert naps == [1.0]  # four more seconds would be too late


def test_an_answer_without_end_is_cut(web, monkeypatch):
    monkeypatch.setattr("alerting.sources.transport.MAX_BODY", 2**20)
    error = refused(asking(web.will(says(b"x" * 2**21)).url)[0])
    assert "over 1 MiB" in str(error)
    assert not error.passing


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    needs(shutil.which("openssl"), "openssl is not installed")
    subprocess.run([*command.split(), "-keyout", folder / "key.pem", "-out", folder / "ca.pem"], check=True, capture_output=True)
    return folder


def test_tls_is_verified(web, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "ca.pem", certificate / "key.pem")
    web.will(says(ROW)).wrap(context)
    url = web.url.replace("http:", "https:")
    error = refused(asking(url)[0])
    assert "ALERTING_CLICKHOUSE_CA" in str(error)
    assert not error.passing
    assert web.asked == []
    assert len(asking(url, ca=str(certificate / "ca.pem"))[0].fetch(COUNTS, START, END)) == 1
    assert "give the path of a PEM file" in str(refused(asking(url, ca=str(certificate / "none.pem"))[0]))


def says_no(listener):
    with listener.accept()[0] as peer:
        peer.recv(4096)
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_https_where_there_is_none_is_said():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=says_no, args=(listener,))
        thread.start()
        assert "is https:// right" in str(refused(asking(f"https://127.0.0.1:{listener.getsockname()[1]}")[0]))
        thread.join()


# The real server's refusals


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"password": "wrong"}, "ALERTING_CLICKHOUSE_PASSWORD"),
        ({"user": "nobody"}, "ALERTING_CLICKHOUSE_USER"),
        ({"password": ""}, "ALERTING_CLICKHOUSE_PASSWORD"),
        ({"database": "elsewhere"}, "ALERTING_CLICKHOUSE_DATABASE"),
        ({"tables": {"feed_actions": "feed"}}, "a table was not found: check ALERTING_FEED_TABLE (now app.feed)"),
        ({"tables": {"feed_actions": "app.feed"}, "database": "default"}, "(now app.feed)"),
    ],
)
def test_the_server_s_refusal_says_what_to_set(tables, how, said):
    source, naps = asking(tables.url, **how)
    error = refused(source, FEED)
    assert said in str(error)
    assert not error.passing
    assert naps == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("user_id", "usr_id", "usr_id"),
        ("countIf", "countWhenever", "countWhenever"),
        ("GROUP BY bucket", "GROUP GROUP", "Syntax error"),
    ],
)
def test_a_query_that_does_not_fit_the_server_says_where(tables, old, new, said):
    error = refused(asking(tables.url)[0], replace(FEED, sql=FEED.sql.replace(old, new)))
    assert said in str(error)
    assert len(str(error)) < 600
    assert not error.passing


def test_a_user_who_is_read_only_anyway_is_not_told_so_again(web):
    readonly = "Code: 164, e.displayText() = DB::Exception: Cannot override setting (readonly) in readonly mode, e.what() = x"
    source, naps = asking(web.will(says(readonly, 500), says(ROW)).url)
    source.fetch(COUNTS, START, END)
    source.fetch(COUNTS, START, END)
    assert ["readonly=2" in asked.path for asked in web.asked] == [True, False, False]
    assert ["skip_unavailable_shards=0" in asked.path for asked in web.asked] == [True, True, True]
    assert naps == []


def test_users_of_every_right_to_settings_are_served(tables):
    for user in (tables.user, tables.setter, tables.reader):
        assert len(asking(tables.url, user=user)[0].fetch(FEED, START, END)) == 284


def test_the_server_is_asked_to_allow_reading_only(web):
    """A refused write must not be sent again without that."""
    refusal = "Code: 164, e.displayText() = DB::Exception: Cannot create table in readonly mode, e.what() = x"
    refused(asking(web.will(says(refusal, 500)).url)[0])
    assert len(web.asked) == 1


def test_half_an_answer_is_an_error(tables):
    """A profile may let the server stop early and call that an answer."""
    whole, half = (int(tables.execute("SELECT count() FROM app.feed_actions", user=user)) for user in ("", tables.half))
    assert half < whole
    error = refused(asking(tables.url, user=tables.half)[0], FEED)
    assert "code 158" in str(error)


def test_the_server_s_clock_and_columns(tables):
    source, _ = asking(tables.url)
    assert abs(source.now() - datetime.now(UTC)) < timedelta(minutes=1)
    assert source.now().tzinfo is UTC
    assert source.columns("feed_actions") | {"action": ""} == {
        "user_id": "UInt32",
        "post_id": "UInt32",
        "action": "",
        "time": "DateTime",
        "city": "String",
    }
    with pytest.raises(SourceError, match=r"now app\.nothing"):
        source.columns("nothing")


def test_a_query_has_an_id_of_its_own_each_time(web):
    source, _ = asking(web.will(says("", 503), says(ROW)).url)
    source.fetch(COUNTS, START, END)
    ids = [re.search(r"query_id=(alerting-feed_actions-\w+)", asked.path)[1] for asked in web.asked]
    assert len(set(ids)) == 2


# Embedded


def test_embedded_columns(embedded):
    assert embedded.columns("feed_actions")["time"].startswith("Nullable(DateTime64(")


def test_only_the_days_of_the_window_are_opened(folder, tmp_path):
    """An old file that cannot be read does not stop today's run."""
    (tmp_path / "feed_actions").mkdir()
    for path in (folder / "feed_actions").iterdir():
        (tmp_path / "feed_actions" / path.name).write_bytes(path.read_bytes())
    (tmp_path / "feed_actions" / "2026-10-24.parquet").write_bytes(b"PAR1 torn")
    source = EmbeddedSource(tmp_path)
    assert len(source.fetch(FEED, START + DAY, END)) == 188
    with pytest.raises(SourceError, match=r"embedded ClickHouse \(feed_actions\)"):
        source.fetch(FEED, START, END)


@pytest.mark.parametrize("made", [False, True])
def test_no_folder_and_no_files_are_said(tmp_path, made):
    if made:
        (tmp_path / "feed_actions").mkdir()
    with pytest.raises(SourceError, match=r"no Parquet files in .*feed_actions"):
        EmbeddedSource(tmp_path).fetch(FEED, START, END)


def test_a_path_that_chdb_takes_for_a_pattern_is_refused(folder, tmp_path):
    (tmp_path / "a{b}").symlink_to(folder)
    assert len(EmbeddedSource(tmp_path / "a{b}").fetch(FEED, START, END)) == 284  # resolved to a plain path
    _write_parquet(pd.DataFrame({"time": [1]}), tmp_path / "t{1}" / "2026-10-24.parquet")
    with pytest.raises(SourceError, match="for patterns"):
        EmbeddedSource(tmp_path, {"feed_actions": "t{1}"}).fetch(FEED, START, END)


@pytest.mark.parametrize(("old", "new", "said"), [("user_id", "usr_id", "usr_id"), ("countIf", "countWhenever", "countWhenever")])
def test_an_error_of_chdb_is_a_source_error(embedded, old, new, said):
    with pytest.raises(SourceError, match=said) as caught:
        embedded.fetch(replace(FEED, sql=FEED.sql.replace(old, new)), START, END)
    assert len(str(caught.value)) < 600


def test_a_zone_of_this_machine_changes_nothing_and_two_processes_may_read(folder, views):
    code = (
        "import sys, datetime as d\n"
        "from alerting.model.metric import Query; from alerting.sources.embedded import EmbeddedSource\n"
        "sql = open('alerting/sql/feed_actions.sql').read(); at = d.datetime(2026, 10, 24, tzinfo=d.timezone.utc)\n"
        "print(EmbeddedSource(sys.argv[1]).fetch(Query('feed_actions', sql), at, at + d.timedelta(days=3)).views.sum())\n"
        "plain = 'WITH 0 AS since, 0 AS until, 0 AS step SELECT toDateTime(0) AS x FROM feed_actions LIMIT 1'\n"
        "print(EmbeddedSource(sys.argv[1]).rows(Query('feed_actions', plain), at, at).x[0])\n"
        "assert {'alerting.http_client', 'alerting.sources.clickhouse', 'chdb'}.isdisjoint(sys.modules)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    environment = {**os.environ, "TZ": "America/Caracas"}
    with ExitStack() as stack:
        started = [subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
        both = [stack.enter_context(ended(process)) for process in started]
        assert [process.communicate(timeout=PATIENCE)[0] for process in both] == [
            f"{views.sum()}\n1970-01-01 00:00:00+00:00\n"
        ] * 2
        assert [process.returncode for process in both] == [0, 0]


def test_nobodys_config_xml_is_read(folder, tmp_path):
    """chDB takes one from the working folder and from the home of the user, whatever it was meant for."""
    for place in (tmp_path, tmp_path / ".clickhouse-local"):
        place.mkdir(exist_ok=True)
        (place / "config.xml").write_text("<yandex><path>half")
    code = "import sys; from alerting.sources.embedded import EmbeddedSource as Source\n"
    code += "print(*Source(sys.argv[1]).columns('feed_actions'))"
    done = run_with(code, folder, cwd=tmp_path, HOME=str(tmp_path))
    assert (done.stdout, done.stderr) == ("user_id post_id action time city\n", "")


# The process that chDB runs in

ENDLESS = Query(
    "feed_actions",
    WITH + "SELECT (SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) = 1) AS x FROM feed_actions",
)
FAKE = "import os, signal, sys\n{}\ndef connect(place): return sys.modules[__name__]\ndef query(sql, form=''):\n    {}"


def run_with(code, *arguments, **environment):
    """Python with warnings as errors, from any folder."""
    given = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    cwd = environment.pop("cwd", None)
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=given | environment, capture_output=True, text=True, timeout=PATIENCE)


def children(parent=None):
    """Processes that a process (this one) has started, those included that ended and that nobody has asked about."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == (parent or os.getpid()):
                found.add(int(stat.parent.name))
    return found


@pytest.fixture
def engine(folder):
    """A source, and a function that gives the number of its process."""
    gc.collect()
    before = children()
    source = EmbeddedSource(folder, timeout=30)

    def pid():
        (number,) = children() - before
        return number

    yield source, pid
    source.close()
    assert children() <= before


def busy(pid):
    """Whether a process has used some 0.3 s since it had loaded chDB (which takes 0.2 s)."""
    used = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, used)) / os.sysconf("SC_CLK_TCK") > 0.8


def awaited(source, query=ENDLESS):
    """The answer to a query, which another thread waits for."""
    pool = ThreadPoolExecutor(1)
    answer = pool.submit(source.fetch, query, START, END)
    pool.shutdown(wait=False)
    return answer


def test_chdb_has_a_process_of_its_own_from_the_start_and_it_is_small(engine):
    source, pid = engine
    first = pid()
    assert len(source.fetch(FEED, START, END)) == 284
    assert pid() == first
    assert os.getpgid(first) == os.getpgrp()  # whoever ends the run's group ends it, too
    loaded = Path(f"/proc/{first}/maps").read_text()
    assert "_chdb" in loaded
    assert not re.search("pandas|numpy|arrow", loaded)


def test_a_crash_is_said_and_the_next_query_is_answered(engine):
    source, pid = engine
    answer, first = awaited(source), pid()
    until(lambda: busy(first))
    os.kill(first, signal.SIGKILL)
    with pytest.raises(SourceError, match=r"\(feed_actions\): chDB's process was killed by SIGKILL \(mostly: memory") as caught:
        answer.result()
    assert caught.value.passing
    assert len(source.fetch(FEED, START, END)) == 284
    assert pid() != first


def test_what_ended_between_two_queries_is_only_started_again(engine):
    source, pid = engine
    assert len(source.fetch(FEED, START, END)) == 284
    os.kill(pid(), signal.SIGSEGV)
    os.waitid(os.P_PID, pid(), os.WEXITED | os.WNOWAIT)
    assert len(source.fetch(FEED, START, END)) == 284


def test_a_query_over_its_time_is_ended(engine):
    source, pid = engine
    first, source.timeout = pid(), 1.5
    with pytest.raises(SourceError, match=r"took longer than 1\.5 s and was ended") as caught:
        source.fetch(ENDLESS, START, END)
    assert caught.value.passing
    assert first not in children()
    source.timeout = 30
    assert len(source.fetch(FEED, START, END)) == 284


def test_an_interrupted_query_gives_its_answer_to_nobody(engine, folder):
    source, pid = engine
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)  # SIGALRM is the alarm of pytest-timeout
    alarm = threading.Timer(1, os.kill, (os.getpid(), signal.SIGUSR1))
    alarm.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            source.fetch(ENDLESS, START, END)
    finally:
        alarm.cancel()
        signal.signal(signal.SIGUSR1, before)
    assert len(source.fetch(FEED, START, END)) == 284
    first = pid()
    os.kill(first, signal.SIGINT)  # Ctrl-C reaches both: it is not for this one
    assert len(source.fetch(FEED, START, END)) == 284
    assert pid() == first


def test_threads_wait_their_turn(engine, views):
    source, _ = engine
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda day: source.fetch(FEED, START + day * DAY, END)["views"].sum(), [0, 1, 2] * 8))
    assert got == [views[views.index >= START + day * DAY].sum() for day in [0, 1, 2] * 8]


def test_a_process_whose_parent_was_killed_ends_in_the_middle_of_a_query(folder, tmp_path):
    code = (
        "import sys; from tests.test_sources import *\n"
        "source = EmbeddedSource(sys.argv[1]); print(*children(), flush=True); source.fetch(ENDLESS, START, END)"
    )
    given = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    with ended(subprocess.Popen([sys.executable, "-c", code, folder], env=given, stdout=subprocess.PIPE, text=True)) as parent:
        child = int(parent.stdout.readline())
        until(lambda: busy(child))
        parent.kill()
    until(lambda: not Path(f"/proc/{child}/fd/0").exists())  # its number stays until the system's first process asks
    assert [path.name for path in tmp_path.glob(f"alerting-{parent.pid}-*")] == os.listdir(tmp_path)  # the next run sweeps it


@pytest.mark.parametrize("end", ["source.close(); source.close()", "source.other = source; del source", "pass"])
def test_nothing_stays_behind(folder, tmp_path, end):
    code = (
        "import sys, gc; from tests.test_sources import *\n"
        f"source = EmbeddedSource(sys.argv[1]); source.columns('feed_actions'); {end}; gc.collect(); print(*children())"
    )
    done = run_with(code, folder, TMPDIR=str(tmp_path))
    number = "" if end != "pass" else r"\d+"  # it lives until its parent comes to its end
    assert re.fullmatch(number + "\n", done.stdout), done
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []
    until(lambda: not (done.stdout.strip() and Path(f"/proc/{done.stdout.strip()}").exists()))


@pytest.mark.parametrize(
    ("loading", "asked", "said", "passing"),
    [
        (
            "raise ImportError('no module named _chdb')",
            "0",
            "chdb is not installed (no module named _chdb): `make run-alerts`",
            False,
        ),
        ("raise RuntimeError('no memory')", "0", "chDB does not start (no memory)", False),
        ("", "raise ValueError('odd')", "chDB does not start (odd)", False),
        ("print('hello'); os.write(1, b'hello')", "if form: raise ValueError('odd')", "it failed: odd", False),
        ("", "if form: os.write(2, b'it is\\nall over'); os.abort()", "was killed by SIGABRT: all over", True),
        ("", "if form: sys.exit('enough')", "ended with exit code 1: enough", True),
        ("sys.exit(3)", "0", "ended with exit code 3", True),
    ],
)
def test_what_becomes_of_a_chdb_that_does_not_work(tmp_path, folder, monkeypatch, loading, asked, said, passing):
    (tmp_path / "chdb.py").write_text(FAKE.format(loading, asked))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    source = EmbeddedSource(folder)
    for _ in range(2):
        with pytest.raises(SourceError, match=re.escape(said)) as caught:
            source.fetch(FEED, START, END)
        assert caught.value.passing is passing
    source.close()


def test_no_process_can_be_started(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(SourceError, match=r"process cannot be started: .*No such file") as caught:
        EmbeddedSource(folder)
    assert caught.value.passing
    assert list(tmp_path.iterdir()) == []


# Tables


def table(tmp_path, text, name="kpi.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return TableSource(path)


def read(source, name="a", minutes=15):
    frame = source.fetch(Query(name, "", timedelta(minutes=minutes)), START, END)
    return {f"{bucket:%d %H:%M}": value for bucket, value in frame["value"].items()}


@pytest.mark.parametrize(
    "ts",
    [
        "2026-10-24T12:00:00",
        "2026-10-24 12:00",
        "2026-10-24T12:00:00Z",
        "2026-10-24T15:00:00+03:00",
        "2026-10-24T12:00:00.000",
        "1792843200",
        "1792843200.0",
    ],
)
def test_times_are_read_as_utc(tmp_path, ts):
    assert read(table(tmp_path, f"series,ts,value\na,{ts},1.5\n")) == {"24 12:00": 1.5}


@pytest.mark.parametrize("unit", ["ns", "ms"])
@pytest.mark.parametrize("zone", [None, "Asia/Tokyo"])
def test_times_of_parquet_are_read_as_utc(tmp_path, unit, zone):
    ts = pd.Series(pd.to_datetime([1792843200], unit="s", utc=True)).astype(f"datetime64[{unit}, UTC]")
    ts = ts.dt.tz_convert(zone) if zone else ts.dt.tz_localize(None)
    frames = {"times": ts, "seconds": pd.Series([1792843200]), "words": pd.Series(["2026-10-24T12:00Z"])}
    for name, column in frames.items():
        pd.DataFrame({"series": pd.Categorical(["a"]), "ts": column, "value": [3]}).to_parquet(tmp_path / f"{name}.parquet")
        assert read(TableSource(tmp_path / f"{name}.parquet")) == {"24 12:00": 3.0}


def test_finer_rows_become_the_mean_of_their_bucket(tmp_path):
    rows = "".join(f"a,2026-10-24T00:{minute:02}:30,{minute}\n" for minute in range(30))
    source = table(tmp_path, "series,ts,value,label\n" + rows.replace("\n", ",0\n"))
    assert read(source) == {"24 00:00": 7.0, "24 00:15": 22.0}
    assert read(source, minutes=60) == {"24 00:00": 14.5}
    assert source.notes == []


@pytest.mark.parametrize(
    ("seconds", "step"), [(1, 60), (60, 60), (300, 300), (900, 900), (3600, 3600), (86400, 86400), (864000, 86400)]
)
def test_the_step_of_a_series_is_its_most_common_distance(tmp_path, seconds, step):
    at = [1792843200 + seconds * i for i in (0, 1, 2, 3, 8, 9)]
    source = table(tmp_path, "series,ts,value\n" + "".join(f"a,{t},1\n" for t in at) + "b,1792843200,1\n")
    assert source.steps() == {"a": timedelta(seconds=step), "b": timedelta(minutes=15)}


def test_the_bucket_before_1970_is_one_like_any_other(tmp_path):
    source = table(tmp_path, "series,ts,value\na,1969-12-31T23:45,1\na,1970-01-01T00:00,2\n")
    frame = source.fetch(Query("a", ""), datetime(1969, 1, 1, tzinfo=UTC), END)
    assert frame["value"].tolist() == [1.0, 2.0]


def test_rows_in_any_order_and_gaps(tmp_path):
    rows = [
        "a,2026-10-24T00:30,3",
        "b,2026-10-24T00:00,9",
        "a,2026-10-24T00:00,1",
        "a,2026-10-24T00:15,",
        "a,2026-10-24T00:45,nan",
    ]
    assert read(table(tmp_path, "\n".join(["\ufeffseries,ts,value", *rows]))) == {"24 00:00": 1.0, "24 00:30": 3.0}


def test_rows_of_the_future_stay_outside_of_the_window(tmp_path):
    source = table(tmp_path, "series,ts,value\na,2026-10-24T00:00,1\na,2099-01-01T00:00,2\n")
    assert read(source) == {"24 00:00": 1.0}


def test_odd_rows_are_put_aside_and_said(tmp_path):
    rows = [
        "a,2026-10-24T00:00,1",
        "a,2026-10-24T00:00,1",  # the same row twice
        "a,2026-10-24T00:15,1",
        "a,2026-10-24T00:20,2",
        "a,2026-10-24T00:20,3",  # one of these is wrong
        "a,2026-10-24T00:30,inf",
        "a,2026-10-24T00:45,5",
    ]
    source = table(tmp_path, "series,ts,value\n" + "\n".join(rows) + "\n")
    assert read(source) == {"24 00:00": 1.0, "24 00:45": 5.0}
    assert source.notes == [
        "kpi.csv: 1 rows with an infinite value left out (first: a at 2026-10-24T00:30Z)",
        "kpi.csv: 1 rows written twice, counted once (first: a at 2026-10-24T00:00Z)",
        "kpi.csv: 2 rows that contradict each other; their buckets are left out (first: a at 2026-10-24T00:20Z)",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        ("series,value\na,1\n", "there is no ts in series, value"),
        ("a;b\n1;2\n", "there is no series and no ts and no value in a;b"),
        ("series,ts,value\na,2026-10-24,1\na,yesterday,2\n", "row 2 below the header: ts is 'yesterday'"),
        ("series,ts,value\na,2026-13-24,1\n", "row 1 below the header: ts is '2026-13-24'"),
        ("series,ts,value\na,,1\n", "row 1 below the header: ts is ''"),
        ("series,ts,value\na,1792843200000,1\n", "ts is '1792843200000'; it must be a time: ISO 8601, or epoch seconds"),
        ("series,ts,value\na,20261024,1\n", "ts is '20261024'"),
        ("series,ts,value\na,1792843200,1\na,2026-10-24,1\n", "row 2 below the header: ts is '2026-10-24'"),
        ('series,ts,value\na,2026-10-24,1\na,2026-10-25,"1,5"\n', "row 2 below the header: value is '1,5'"),
        ("series,ts,value\n,2026-10-24,1\n", "row 1 below the header: series is ''"),
        ("series,ts,value\na,2026-10-24,1\n\x00\x01,\n,,,,,,\n", "cannot be read"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(tmp_path, text, said):
    with pytest.raises(SourceError, match=re.escape(said)) as caught:
        read(table(tmp_path, text))
    assert "kpi.csv" in str(caught.value)


def test_files_that_are_none(tmp_path):
    with pytest.raises(SourceError, match=r"kpi\.csv cannot be read \(No such file or directory\)"):
        read(TableSource(tmp_path / "kpi.csv"))
    with pytest.raises(SourceError, match=r"kpi\.parquet cannot be read"):
        read(table(tmp_path, "series,ts,value\n", "kpi.parquet"))
    pd.DataFrame({"series": ["a"], "ts": [START], "value": [[1, 2]]}).to_parquet(tmp_path / "lists.parquet")
    with pytest.raises(SourceError, match="row 1 below the header: value is"):
        read(TableSource(tmp_path / "lists.parquet"))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(SourceError, match="cannot be read"):
        read(TableSource(tmp_path / "folder.csv"))
    (tmp_path / "latin.csv").write_bytes("series,ts,value\né,2026-10-24,1\n".encode("latin-1"))
    with pytest.raises(SourceError, match="cannot be read"):
        read(TableSource(tmp_path / "latin.csv"))


def test_an_unknown_series_is_met_with_the_nearest(tmp_path):
    with pytest.raises(SourceError, match=r"no series 'taxi_rides': did you mean 'taxi_ride'\?"):
        read(table(tmp_path, "series,ts,value\ntaxi_ride,2026-10-24,1\nNA,2026-10-24,1\n"), "taxi_rides")


def test_a_file_is_read_again_only_when_it_changes(tmp_path, monkeypatch):
    source = table(tmp_path, "series,ts,value\na,2026-10-24,1\n")
    reads = []
    monkeypatch.setattr(pd, "read_csv", lambda *args, _read=pd.read_csv, **more: reads.append(args) or _read(*args, **more))
    assert [read(source), read(source)] == [{"24 00:00": 1.0}] * 2
    table(tmp_path, "series,ts,value\na,2026-10-24,17\n")
    assert read(source) == {"24 00:00": 17.0}
    assert len(reads) == 2


def test_labelled_kpis_pass_through(kpis):
    for path in kpis.glob("*.parquet"):
        source = TableSource(path)
        steps = source.steps()
        raw = pd.read_parquet(path).dropna(subset="value")
        for name in sorted(steps)[:3]:
            mine = raw[raw["series"] == name]
            frame = source.fetch(Query(name, "", steps[name]), datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
            assert as_promised(frame)
            assert frame["value"].to_numpy() == pytest.approx(mine.sort_values("ts")["value"].to_numpy(), rel=0, abs=0)
