"""Every type of a ClickHouse answer is decoded, or refused by the name of its column."""

import math
import re

import pandas as pd
import pytest

from alerting.model.errors import SourceError
from alerting.model.metric import Query
from alerting.sources.clickhouse import ClickHouseSource
from alerting.sources.clickhouse_answer import decode
from tests.servers import says
from tests.source_helpers import END, START, WITH


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
def test_values_that_cannot_be_parsed_are_refused(web, declared, text, said):
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
    """Empty lines, quotes and an empty first name are kept, which pandas' reader alone does not do."""
    assert list(decode(b'a\nString\n\n"\nx\n', lambda: "UTC")["a"]) == ["", '"', "x"]
    frame = decode("имя \\'a\\'\tb\nString\tUInt8\n\t1\n1\t2\n".encode(), lambda: "UTC")
    assert frame.to_dict("list") == {"имя 'a'": ["", "1"], "b": [1, 2]}
