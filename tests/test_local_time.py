"""Buckets have the phase and the zone of their rows: local days, lags over a change of the clocks, times on screens."""

import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alerting.__main__ import main
from alerting.detectors.auto import AutoDetector
from alerting.detectors.baselines import Change, SameSlot
from alerting.detectors.seasonal_fit import LocalDays
from alerting.detectors.series_grid import SeriesGrid, day_lags
from alerting.messages.format import ClockFormat
from alerting.metrics import metrics_of_table
from alerting.model.clock import day_bounds, day_of, day_phase, first_bucket, iso_text, nearest_bucket, standard_offset
from alerting.model.metric import Query
from alerting.model.protocols import Commit
from alerting.model.tables import cell_text
from alerting.model.verdict import Episode, Status, Verdict
from alerting.notifiers.base import Console
from alerting.pipeline.context import DueBuckets, RunContext, due, last_closed_bucket
from alerting.pipeline.explain import same_time_before
from alerting.pipeline.judged import judge_series
from alerting.reporting.page import PageContext
from alerting.sources.table import TableSource
from alerting.store.state import StateStore

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
WEEK_RHYTHM = (1.0, 1.03, 1.02, 1.01, 0.95, 0.6, 0.5)  # Monday to Sunday
CASES = Path(__file__).resolve().parent.parent.parent / "shared" / "cases"
ZONES = ["Europe/Berlin", "America/New_York", "Pacific/Auckland", "Asia/Kolkata", "Europe/Moscow", "Pacific/Honolulu", "UTC"]


def days_with_a_week(first="2026-06-20", last="2026-11-20", drop=None, seed=1):
    """Return date -> value, a week's rhythm with little noise; on `drop` a third less."""
    days, rng = pd.date_range(first, last), np.random.default_rng(seed)
    values = pd.Series(10_000 * np.array(WEEK_RHYTHM)[days.day_of_week] * rng.normal(1, 0.01, len(days)), days).round()
    if drop:
        values[drop] *= 0.65
    return values


def starts_of_days(first, last, zone):
    """Return the starts of the buckets of these local days."""
    return pd.date_range(first, last, tz="UTC") - standard_offset(zone)


def written(tmp_path, rows):
    """Write rows (series, ts, value) as a table and return its path."""
    path = tmp_path / "kpi.csv"
    pd.DataFrame(rows, columns=["series", "ts", "value"]).to_csv(path, index=False)
    return path


def grid(index, zone, values=None):
    return SeriesGrid.at(index, np.arange(len(index), dtype=float)[None] if values is None else values, zone)


def backtest(capsys, monkeypatch, source, zone, *words):
    """Run the command in this process and return what it printed."""
    monkeypatch.setenv("ALERTING_SOURCE", str(source))
    monkeypatch.setenv("ALERTING_ZONE", zone)
    code = main(["backtest", *words])
    return code, capsys.readouterr().out


# Lags and days of detectors.


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("hours", [2, 3, 4, 6, 8, 12, 24])
@pytest.mark.parametrize("changes", ["2026-03-29", "2026-10-25", "2026-11-01"])
def test_a_week_ago_is_a_week_ago_for_long_buckets(zone, hours, changes):
    """A change of the clocks is a part of a bucket: the bucket a week before stays the bucket a week before."""
    middle = pd.Timestamp(changes, tz="UTC")
    index = pd.date_range(middle - 20 * DAY, middle + 20 * DAY, freq=f"{hours}h")
    rows = SameSlot(days=14, near=0, kind="week").gather(grid(index, zone))(len(index) // 2, len(index))
    now = np.arange(len(index) // 2, len(index))
    assert (rows == now[:, None] - np.array([7, 14]) * 24 // hours).all()
    per_day = Change(days=7).gather(grid(index, zone, np.tile(np.arange(24.0 // hours), 41)[: len(index)][None]))
    expected = np.tile(np.arange(24.0 // hours), 41)[now]
    changes_seen = per_day(now[0], len(index))
    assert (changes_seen == expected[:, None]).all()


@pytest.mark.parametrize("zone", ZONES)
def test_a_day_has_the_weekday_of_its_middle(zone):
    """Days that begin at midnight by standard time, over both changes of the clocks; and those of UTC."""
    index = starts_of_days("2026-01-05", "2026-12-27", zone)
    assert (grid(index, zone).weekday == np.arange(len(index)) % 7).all()
    days = LocalDays(grid(index, zone))
    assert (days.day == np.arange(len(index))).all()
    assert (days.weekdays[days.day] == np.arange(len(index)) % 7).all()


@pytest.mark.parametrize("step", ["1min", "5min", "15min", "30min", "1h"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_short_buckets_follow_the_local_clock(step, zone):
    index = pd.date_range("2026-10-20", "2026-10-29", freq=step, tz="UTC")
    local = index.tz_convert(zone)
    found = grid(index, zone)
    assert (found.weekday == local.day_of_week).all()
    assert (np.flatnonzero(np.diff(local.day_of_year)) + 1 == found.starts()[-len(found.starts()) :]).all()
    per_day = int(DAY / pd.Timedelta(step))
    assert (LocalDays(found).at % per_day == (local.hour * 60 + local.minute) // (1440 // per_day)).all()


def test_a_lag_is_rounded_to_buckets():
    index = pd.date_range("2026-11-01", periods=900, freq="7min", tz="UTC")
    assert day_lags(grid(index, "UTC"), 7)[[0, 1, 6]].tolist() == [206, 411, 1440]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("days", [1, 7])
def test_yesterday_of_a_day_is_the_day_before(zone, days):
    index = pd.date_range("2026-01-05", "2026-12-27", tz="UTC") + day_phase(zone)
    values = pd.Series(np.arange(len(index), dtype=float), index)
    for at in range(days, len(index)):
        assert same_time_before(values, index[at].to_pydatetime(), days, zone) == at - days


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("drop", ["2026-10-26", "2026-11-02", "2026-11-09"])
def test_a_week_of_days_is_judged_alike_in_every_zone(zone, drop):
    """The Monday after the clocks go back, and the two after it: only the day that fell is anomalous."""
    values = days_with_a_week(drop=drop)
    series = values.set_axis(starts_of_days("2026-06-20", "2026-11-20", zone))
    metric = metrics_of_table({"orders": DAY}, {"orders": day_phase(zone)})[0]
    judged = judge_series(metric, series, zone).loc["2026-10-10":]
    odd = judged.index[judged["status"] == "anomalous"]
    assert [f"{day_of(at.to_pydatetime(), DAY, zone)}" for at in odd] == [drop]
    assert isinstance(metric.rule, AutoDetector)


# The grid of rows.


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("form", ["dates", "midnights"])
def test_rows_of_local_days_become_local_days(tmp_path, zone, form):
    """As plain dates, and as local midnights with their offset; every day is one bucket, and ends when the day is over."""
    values = days_with_a_week()
    stamps = values.index.strftime("%Y-%m-%d") if form == "dates" else [at.isoformat() for at in values.index.tz_localize(zone)]
    source = TableSource(written(tmp_path, [("orders", ts, value) for ts, value in zip(stamps, values, strict=True)]), zone)
    step, phase = source.steps()["orders"], source.phases()["orders"]
    assert (step, phase) == (DAY, day_phase(zone))
    frame = source.fetch(Query("orders", "", step, phase), datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert frame["value"].tolist() == values.tolist()
    for bucket, day in zip(frame.index.to_pydatetime(), values.index.date, strict=True):
        assert day_of(bucket, DAY, zone) == day
        end = day_bounds(day, zone)[1]
        assert end <= bucket + DAY <= end + HOUR
    assert source.ends()["orders"] == frame.index[-1] + DAY


@pytest.mark.parametrize(("minutes", "step"), [(0, 60), (30, 60), (5, 60), (5, 15), (7, 15), (2, 5), (90, 1440)])
def test_buckets_begin_where_rows_do(tmp_path, minutes, step):
    index = pd.date_range("2026-11-01", periods=200, freq=f"{step}min", tz="UTC") + timedelta(minutes=minutes)
    source = TableSource(written(tmp_path, [("a", at.isoformat(), n) for n, at in enumerate(index)]))
    length, phase = timedelta(minutes=step), timedelta(minutes=minutes % step)
    assert (source.steps()["a"], source.phases()["a"]) == (length, phase)
    frame = source.fetch(Query("a", "", length, phase), index[0].to_pydatetime(), index[-1].to_pydatetime() + length)
    assert (frame.index == index).all()
    closed = last_closed_bucket(index[50].to_pydatetime() + timedelta(minutes=1), timedelta(), length, phase)
    assert closed == index[49]


@pytest.mark.parametrize("step", [60, 300, 900, 3600])
@pytest.mark.parametrize("noise", ["whole seconds", "milliseconds", "late"])
@pytest.mark.parametrize("rows", [20, 3000])
def test_rows_that_come_early_or_late_lose_no_bucket(tmp_path, step, noise, rows):
    rng = np.random.default_rng(5)
    off = {
        "whole seconds": rng.integers(-2, 4, rows),
        "milliseconds": rng.normal(0, 1, rows).round(3),
        "late": rng.uniform(0, 4, rows),
    }
    at = pd.to_datetime(
        ((1_793_836_800 + step * np.arange(rows) + off[noise]) * 1000).round().astype("int64"), unit="ms", utc=True
    )
    source = TableSource(written(tmp_path, [("cpu", ts.isoformat(timespec="milliseconds"), n) for n, ts in enumerate(at)]))
    assert source.steps()["cpu"] == timedelta(seconds=step)
    query = Query("cpu", "", source.steps()["cpu"], source.phases()["cpu"])
    assert query.phase == timedelta()
    frame = source.fetch(query, at[0].to_pydatetime() - HOUR, at[-1].to_pydatetime() + HOUR)
    assert frame["value"].tolist() == list(range(rows))
    assert (np.diff(frame.index.asi8) == frame.index.asi8[1] - frame.index.asi8[0]).all()


@pytest.mark.parametrize("step", [61, 301, 420, 7200])
def test_an_unusual_step_is_kept(tmp_path, step):
    rows = [("a", 1_793_836_800 + 13 + step * n, n) for n in range(500)]
    source = TableSource(written(tmp_path, rows))
    assert source.steps()["a"] == timedelta(seconds=step)
    query = Query("a", "", source.steps()["a"], source.phases()["a"])
    assert len(source.fetch(query, datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))) == 500


def test_six_hours_of_the_local_clock_are_one_bucket_each(tmp_path):
    local = pd.date_range("2026-10-01", "2026-11-20", freq="6h").tz_localize("Europe/Berlin")
    source = TableSource(written(tmp_path, [("a", at.isoformat(), n) for n, at in enumerate(local)]), "Europe/Berlin")
    query = Query("a", "", source.steps()["a"], source.phases()["a"])
    frame = source.fetch(query, datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert frame["value"].tolist() == list(range(len(local)))
    assert set(np.diff(frame.index.asi8)) == {6 * 3600 * 10**9}


# What is due.


@pytest.mark.parametrize("zone", ZONES)
def test_a_day_is_due_when_it_is_over(zone):
    metric = metrics_of_table({"a": DAY}, {"a": day_phase(zone)})[0]
    for day in (date(2026, 3, 29), date(2026, 7, 1), date(2026, 10, 25), date(2026, 12, 1)):
        end = day_bounds(day, zone)[1]
        before = last_closed_bucket(end - timedelta(minutes=1), timedelta(), DAY, metric.phase)
        after = last_closed_bucket(end + HOUR, timedelta(), DAY, metric.phase)
        assert [day_of(bucket, DAY, zone) for bucket in (before, after)] == [day - DAY, day]


@pytest.mark.parametrize("phase", [timedelta(), timedelta(hours=22), timedelta(hours=23), timedelta(hours=21)])
def test_no_day_is_judged_twice_or_left_out_where_the_phase_changes(phase):
    """A state of days in UTC, or of another phase, goes on with the day after."""
    metric = metrics_of_table({"a": DAY}, {"a": timedelta(hours=23)})[0]
    judged = datetime(2026, 11, 18, tzinfo=UTC) + phase - (DAY if phase else timedelta())
    store = StateStore(":memory:")
    store.commit(Commit([Verdict("a", judged, Status.NORMAL, 1.0)], [Episode("a")]))
    ctx = RunContext([metric], {}, TableSource(Path("none.csv")), store, Console())
    (item,) = due(ctx, datetime(2026, 11, 20, 1, tzinfo=UTC))
    assert item == DueBuckets(metric, datetime(2026, 11, 18, 23, tzinfo=UTC), datetime(2026, 11, 18, 23, tzinfo=UTC))


@pytest.mark.parametrize("zone", ZONES)
def test_buckets_of_a_grid(zone):
    at, phase = datetime(2026, 11, 20, 12, tzinfo=UTC), day_phase(zone)
    first = first_bucket(at, DAY, phase)
    assert at <= first < at + DAY
    assert (
        first_bucket(first, DAY, phase)
        == first
        == nearest_bucket(first + HOUR, DAY, phase)
        == nearest_bucket(first - HOUR, DAY, phase)
    )


# Texts.


@pytest.mark.parametrize(
    ("language", "one", "two"),
    [
        ("en", "Thu 20\u00a0Nov", "Thu 20\u00a0Nov–Fri 21\u00a0Nov"),
        ("ru", "чт 20\u00a0ноя", "чт 20\u00a0ноя–пт 21\u00a0ноя"),
    ],
)
@pytest.mark.parametrize("zone", ZONES)
def test_a_message_names_the_day_that_the_row_is_about(language, one, two, zone):
    phase = day_phase(zone)
    clock = ClockFormat(language, zone, datetime(2025, 11, 23, 12, tzinfo=UTC), day_start=phase)
    day = next(
        at for at in (datetime(2025, 11, n, tzinfo=UTC) + phase for n in (19, 20)) if f"{day_of(at, DAY, zone)}" == "2025-11-20"
    )
    assert clock.span(day, day + DAY) == clock.at(day) == clock.at(day, near=day) == one
    assert clock.span(day, day + 2 * DAY) == two
    assert ":" in clock.at(day + HOUR)


@pytest.mark.parametrize("zone", [*ZONES, "America/Havana", "Africa/Cairo"])
def test_a_series_of_dates_has_local_days_beside_others(tmp_path, zone):
    """In two of the zones the clocks change at midnight."""
    days = [("orders", f"{day:%Y-%m-%d}", 5.0) for day in pd.date_range("2026-03-01", "2026-11-20")]
    hours = [("views", f"{at:%Y-%m-%dT%H:%MZ}", 5.0) for at in pd.date_range("2026-11-01", "2026-11-20", freq="h")]
    both = TableSource(written(tmp_path, [*days, *hours]), zone)
    assert both.steps() == {"orders": DAY, "views": HOUR}
    assert both.phases() == {"orders": day_phase(zone), "views": timedelta()}
    (tmp_path / "alone").mkdir()
    alone = TableSource(written(tmp_path / "alone", days), zone)
    query, span = Query("orders", "", DAY, day_phase(zone)), (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    assert both.fetch(query, *span).equals(alone.fetch(query, *span))
    assert len(alone.fetch(query, *span)) == len(days)


@pytest.mark.parametrize(
    ("zone", "text"),
    [("UTC", "2026-11-20T12:00Z"), ("Europe/Moscow", "2026-11-20T15:00+03:00"), ("Asia/Kolkata", "2026-11-20T17:30+05:30")],
)
def test_an_instant_in_a_note_has_its_offset(zone, text):
    assert iso_text(datetime(2026, 11, 20, 12, tzinfo=UTC), zone) == text
    assert datetime.fromisoformat(text) == datetime(2026, 11, 20, 12, tzinfo=UTC)


# Backtests of tables.


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Pacific/Auckland", "Europe/Moscow"])
@pytest.mark.parametrize("drop", [None, "2026-11-09"])
def test_a_backtest_of_days_over_the_autumn_change(tmp_path, capsys, monkeypatch, zone, drop):
    values = days_with_a_week(drop=drop)
    path = written(tmp_path, [("orders", f"{day:%Y-%m-%d}", value) for day, value in values.items()])
    code, out = backtest(capsys, monkeypatch, path, zone, "--days", "40")
    assert code == 0
    assert re.findall(r"opened +\w+ (\S+)", out) == ([drop] if drop else [])
    assert "missing" not in out


def test_a_daily_metric_beside_others_is_judged(tmp_path, capsys, monkeypatch):
    days = days_with_a_week(drop="2026-11-12")
    hours, rng = pd.date_range("2026-10-10", "2026-11-20T12:00", freq="h", tz="UTC"), np.random.default_rng(2)
    rows = [("daily_users", f"{day:%Y-%m-%d}", value) for day, value in days.items()]
    rows += [("hourly_views", at.isoformat(), 1000 + 300 * np.sin(at.hour / 24 * 2 * np.pi) + rng.normal(0, 5)) for at in hours]
    path = written(tmp_path, rows)
    code, out = backtest(capsys, monkeypatch, path, "Europe/Moscow", "--days", "21")
    assert code == 0
    assert re.findall(r"(\w+) +opened +\w+ (\S+)", out) == [("daily_users", "2026-11-12")]
    assert "missing" not in out
    assert re.search(r"^daily_users .* 1 +19$", out, re.MULTILINE), "the row of a day that is not over is not judged"
    assert main(["budget", "2 a week", "--weeks", "2"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^daily_users .* 2$", out, re.MULTILINE) or re.search(r"^daily_users .* 1\.\d+$", out, re.MULTILINE)
    assert "BLIND by night" not in out
    assert "0 / 0" not in re.search(r"^daily_users +day .*$", out, re.MULTILINE)[0]


def test_a_count_without_zeros_is_zero_where_others_have_rows(tmp_path, capsys, monkeypatch):
    """A GROUP BY gives no row for an hour without a refund; another series shows that the source is alive."""
    rng, hours = np.random.default_rng(3), pd.date_range("2026-09-20", "2026-11-20T11:00", freq="h", tz="UTC")
    counts = rng.poisson(0.4, len(hours))
    rows = [("refunds", at.isoformat(), n) for at, n in zip(hours, counts, strict=True) if n]
    rows += [("orders", at.isoformat(), n) for at, n in zip(hours, rng.poisson(500, len(hours)), strict=True)]
    path = written(tmp_path, rows)
    code, out = backtest(capsys, monkeypatch, path, "UTC", "--days", "30")
    assert code == 0
    assert "no data" not in out
    assert "missing" not in out
    source = TableSource(path)
    read = source.fetch(Query("refunds", "", HOUR), hours[0].to_pydatetime(), hours[-1].to_pydatetime() + HOUR)["value"]
    first = int(np.flatnonzero(counts)[0])
    assert read.tolist() == counts[first:].tolist()
    assert len(source.notes) == 1
    assert "a row with 0 says so" in source.notes[0]


@pytest.mark.parametrize(
    "kind", ["a gauge of a few", "with zeros", "with decimals", "one gap", "alone", "others are silent, too", "blanks"]
)
def test_other_gaps_stay_gaps(tmp_path, kind):
    rng, hours = np.random.default_rng(4), pd.date_range("2026-10-20", periods=720, freq="h", tz="UTC")
    values = pd.Series(rng.poisson(0.6, len(hours)).astype(float), hours)
    values = values.where(values > 0)
    if kind == "a gauge of a few":
        values = values + 1
    if kind == "with zeros":
        values.iloc[rng.permutation(np.flatnonzero(values.isna()))[:9]] = 0
    if kind == "with decimals":
        values = values * 1.5
    if kind == "one gap":
        values = values.fillna(2)
        values.iloc[300:340] = np.nan
    gaps = int(values.isna().sum())
    rows = [("refunds", at.isoformat(), n) for at, n in values.items() if n == n or kind == "blanks"]
    if kind != "alone":
        others = values.dropna().index if kind == "others are silent, too" else hours
        rows += [("orders", at.isoformat(), 500) for at in others]
    source = TableSource(written(tmp_path, rows))
    read = source.fetch(Query("refunds", "", HOUR), hours[0].to_pydatetime(), hours[-1].to_pydatetime() + HOUR)
    assert len(hours) - len(read) == gaps
    assert source.notes == []


@pytest.mark.parametrize(("days", "said"), [(7, "7 days"), (2, "2 days"), (30, "30 days")])
def test_a_step_of_more_than_a_day_is_refused_by_name(tmp_path, capsys, monkeypatch, days, said):
    rows = [("weekly_revenue", f"{at:%Y-%m-%d}", 100) for at in pd.date_range(end="2026-10-12", periods=50, freq=f"{days}D")]
    rows += [("orders", at.isoformat(), 500) for at in pd.date_range(rows[-1][1], periods=740, freq="h", tz="UTC")]
    monkeypatch.setenv("ALERTING_SOURCE", str(written(tmp_path, rows)))
    assert main(["backtest", "--days", "7"]) == 1
    told = capsys.readouterr()
    error = f"weekly_revenue was not judged: kpi.csv: the step of weekly_revenue is {said}; a minute to a day can be watched"
    assert error in told.err
    assert re.search(r"^orders .* 168$", told.out, re.MULTILINE), "the others are judged"


@pytest.mark.parametrize(
    ("case", "file", "zone", "days", "opened"),
    [
        ("01-daily-clock-change", "quiet.csv", "Europe/Berlin", 40, []),
        ("01-daily-clock-change", "monday_drop.csv", "Europe/Berlin", 20, [("orders", "2026-11-09")]),
        ("01-daily-clock-change", "monday_drop.csv", "UTC", 20, [("orders", "2026-11-09")]),
        ("02-local-midnight", "moscow_days.csv", "Europe/Moscow", 20, None),
        ("04-mixed-steps-in-backtest", "mixed.csv", "UTC", 21, [("daily_users", "2026-11-12")]),
        ("09-no-row-means-none", "sparse.csv", "UTC", 30, []),
        ("10-jitter", "jitter.csv", "UTC", 10, None),
    ],
)
def test_shared_cases(capsys, monkeypatch, case, file, zone, days, opened):
    path = CASES / case / file
    if not path.is_file():
        pytest.skip(f"no cases at {CASES}")
    until = [] if case.startswith("10") else ["--until", "2026-11-20T12:00Z"]  # its rows end earlier
    code, out = backtest(capsys, monkeypatch, path, zone, "--days", str(days), *until)
    assert code == 0
    assert "no data" not in out
    assert "missing" not in out
    if opened is not None:
        assert re.findall(r"(\w+) +opened +\w+ (\S+)", out) == opened


def test_the_same_time_yesterday_is_local_time():
    index = pd.date_range("2026-10-24T20:00Z", "2026-10-26T00:00Z", freq="15min")
    values = pd.Series(np.arange(len(index), dtype=float), index)
    noon, night = (datetime.fromisoformat(at) for at in ("2026-10-25T11:00+00:00", "2026-10-25T22:00+00:00"))
    assert np.isnan(same_time_before(values, noon, 1, "Europe/Berlin")), "10:00Z the day before is not in the data"
    assert same_time_before(values, night, 1, "Europe/Berlin") == values["2026-10-24T21:00Z"], "25 hours before"


def test_an_hour_that_happens_twice_has_its_offset_in_tables_and_on_pages():
    """Two runs in a row were printed with the same time."""
    quarters = [datetime(2026, 10, 24, 23, 45, tzinfo=UTC) + number * HOUR for number in range(4)]
    cells = [cell_text(at, "Europe/Berlin") for at in quarters]
    assert cells == [f"Sun 2026-10-25 {at}" for at in ("01:45", "02:45 UTC+2", "02:45 UTC+1", "03:45")]
    page = PageContext("en", "Europe/Berlin", quarters[0])
    assert [page.time(at) for at in quarters] == [text.removeprefix("Sun ") for text in cells]
    assert cell_text(pd.Timestamp(quarters[1]), "Europe/Berlin") == cells[1]
