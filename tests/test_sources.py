"""The contract of every source: windows, buckets and counts; and binding a query to its window and table."""

import math
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from alerting.model.errors import SourceError
from alerting.model.metric import Query
from alerting.model.protocols import Source
from alerting.sources.base import bind
from alerting.sources.cache import CachedSource
from alerting.sources.clickhouse import ClickHouseSource
from alerting.sources.table import TableSource
from alerting.store.state import StateStore
from tests.servers import ZONE
from tests.source_helpers import DAY, END, FEED, MESSAGES, QUARTER, SINCE, SQL, START, UNTIL, WITH, as_promised


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


class TestContract:
    """Every source keeps the promises of `model.Source`."""

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

    def test_a_repeated_fetch_returns_the_same_counts(self, case):
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
        ("900 AS bucket, arrayJoin(['', NULL]) AS os, 1 AS users", "twice: GROUP BY bucket, os (NULL and '' are one label)"),
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
