"""Tables of KPIs as CSV or Parquet: reading rows, and notes about invalid rows."""

import re
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest

from alerting.model.errors import SourceError
from alerting.model.metric import Query
from alerting.sources.table import TableSource
from tests.source_helpers import END, START, as_promised


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
        "1792843200000",
        "1792843200000000",
        "202610241200",
        "2026102412",
        "24.10.2026 12:00",
        "10/24/2026 12:00:00 PM",
        "24 Oct 2026 12:00",
        "Oct 24, 2026 12:00",
    ],
)
def test_times_are_read_as_utc(tmp_path, ts):
    assert read(table(tmp_path, f'series,ts,value\na,"{ts}",1.5\n')) == {"24 12:00": 1.5}


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
    ("seconds", "step", "of_one_row"),
    [
        (1, 60, 60),
        (60, 60, 60),
        (300, 300, 300),
        (900, 900, 900),
        (3600, 3600, 3600),
        (86400, 86400, 86400),
        (864000, 86400, 900),
    ],
)
def test_the_step_of_a_series_is_its_most_common_distance_and_of_one_row_that_of_the_others(tmp_path, seconds, step, of_one_row):
    at = [1792843200 + seconds * i for i in (0, 1, 2, 3, 8, 9)]
    source = table(tmp_path, "series,ts,value\n" + "".join(f"a,{t},1\n" for t in at) + "b,1792843200,1\n")
    assert source.steps() == {"a": timedelta(seconds=step), "b": timedelta(seconds=of_one_row)}


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
        "kpi.csv: 1 values that are infinite or far too large left out (first: a at 2026-10-24T00:30Z)",
        "kpi.csv: 1 values written twice, counted once (first: a at 2026-10-24T00:00Z)",
        "kpi.csv: 2 values of one time that contradict each other; their buckets are left out (first: a at 2026-10-24T00:20Z)",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read: it is empty"),
        ("series,ts,value\n", "cannot be read: it has no rows below its header"),
        ("series,value\na,1\n", "no column of times among series, value: name it in ALERTING_COLUMNS"),
        ("a;b\n1;2\n", "no column of times among a, b"),
        ("ts;name\n2026-10-24;x\n", "no column of numbers among ts, name"),
        ("2026-10-24,1\n2026-10-25,2\n", "needs a first line with the names of its columns: it begins with ['2026-10-24', '1']"),
        ("series,ts,value\na,2026-13-24,1\n", "row 1 below the header: ts is '2026-13-24'"),
        ("series,ts,value\na,,1\n", "row 1 below the header: ts is ''"),
        ("series,ts,value\na,12,1\n", "ts is '12'; it must be a time: ISO 8601, or epoch seconds"),
        ("series,ts,value\na,2026-10-24,one\n", "row 1 below the header: value is 'one'; it must be a number, or nothing"),
        ("series,ts,value\n,2026-10-24,1\n", "row 1 below the header: series is ''"),
        ("ts,value\n1/2/2026,1\n3/2/2026,2\n", "ts '1/2/2026' may begin with the day or with the month: say which by "),
        ("start,end,n\n2026-10-24,2026-10-25,1\n", "the time may be start or end: say which by ALERTING_COLUMNS=time=start"),
        ("ts,user,n\n" + "".join(f"2026-10-{n // 9 % 28 + 1},u{n},1\n" for n in range(500)), "no column tells them apart"),
        ("ts,n\n" + "2026-10-24,1\n2026-10-24,2\n" * 3, "83% of the rows have the time of another row"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(tmp_path, text, said):
    with pytest.raises(SourceError, match=re.escape(said)) as caught:
        read(table(tmp_path, text))
    assert "kpi.csv" in str(caught.value)


def test_a_bad_cell_is_noted_and_no_more_is_lost(tmp_path):
    rows = [
        "a,2026-10-24T00:00,1",
        "a,yesterday,2",
        "a,2026-10-24T00:15,1e",
        ",2026-10-24T00:30,3",
        "a,2026-10-24T00:45,4",
        "Total,,7",
    ]
    source = table(tmp_path, "series,ts,value\n" + "\n".join([*rows, "a,2026-10-24T01:00,5,5,5", ",,"]) + "\n")
    assert read(source) == {"24 00:00": 1.0, "24 00:45": 4.0}
    assert source.notes == [
        "kpi.csv: 1 line with too many cells left out (first: Skipping line 8: expected 3 fields, saw 5)",
        "kpi.csv: 1 cell of series left out (row 4 below the header: series is ''; it must name the row's series)",
        "kpi.csv: 2 cells of ts left out (row 2 below the header: ts is 'yesterday'; "
        "it must be a time: ISO 8601, or epoch seconds)",
        "kpi.csv: 1 cell of value left out (row 3 below the header: value is '1e'; it must be a number, or nothing)",
    ]


def test_missing_and_malformed_files_are_refused(tmp_path):
    with pytest.raises(SourceError, match=r"kpi\.csv cannot be read \(No such file or directory\)"):
        read(TableSource(tmp_path / "kpi.csv"))
    with pytest.raises(SourceError, match=r"kpi\.parquet cannot be read"):
        read(table(tmp_path, "series,ts,value\n", "kpi.parquet"))
    pd.DataFrame({"series": ["a"], "ts": [START], "value": [[1, 2]]}).to_parquet(tmp_path / "lists.parquet")
    with pytest.raises(SourceError, match=r"lists\.parquet cannot be read"):
        read(TableSource(tmp_path / "lists.parquet"))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(SourceError, match="cannot be read"):
        read(TableSource(tmp_path / "folder.csv"))
    (tmp_path / "latin.csv").write_bytes("series,ts,value\né,2026-10-24,1\n".encode("latin-1"))
    with pytest.raises(SourceError, match="its text is not UTF-8; save it as 'CSV UTF-8'"):
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
