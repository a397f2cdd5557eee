"""Days that are different once a month, and holidays: what the past shows twice is normal, and nothing else is."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from alerting import pipeline
from alerting.backtest import BacktestData
from alerting.detectors.auto import AutoDetector, Chosen
from alerting.detectors.bands import BAND, SPECIAL
from alerting.detectors.seasonal_fit import LocalDays
from alerting.detectors.series_grid import SeriesGrid
from alerting.detectors.special_days import usual_ratios
from alerting.detectors.verdicts import judge
from alerting.model.metric import CalendarEvent, Metric, Policy
from alerting.model.run import Reading
from alerting.notifiers.base import Console
from alerting.pipeline.context import DueBuckets, RunContext
from alerting.pipeline.judged import band, judge_series, judge_whole
from alerting.store.state import StateStore
from tests.ledger import NoSource

DAYS = 150  # from Monday 5 January 2026 on: 1 February, March, April, May and June


def metric(**rule):
    return Metric("m", {"en": "M"}, "q", lambda counts: counts["m"], AutoDetector(**rule), Policy(), form="count")


def payments(times, when=lambda index: index.day == 1, step="15min", zone="UTC", level=200.0, seed=0):
    """Counts with a rhythm of the day and the week; `times` as many on some days, give or take a tenth."""
    rng = np.random.default_rng(seed)
    local = pd.date_range("2026-01-05", periods=DAYS * (pd.Timedelta("1D") // pd.Timedelta(step)), freq=step, tz=zone)
    hour, day = (local.hour + local.minute / 60).to_numpy(), (local.normalize() - local[0].normalize()).days.to_numpy()
    usual = level * np.where(local.day_of_week >= 5, 0.7, 1.0) * (1 + 0.6 * np.sin(2 * np.pi * (hour - 9) / 24))
    factor = np.where(when(local), times * rng.lognormal(0, 0.1, DAYS + 1)[day], 1.0) * rng.lognormal(0, 0.03, DAYS + 1)[day]
    return pd.Series(rng.poisson(usual * factor).astype(float), local.tz_convert("UTC"))


def told(values, zone="UTC", **rule):
    """Return the local dates on which a person is told of something."""
    judged = judge_series(metric(**rule), values, zone)
    return {str(day) for day in judged.index[judged.news].tz_convert(zone).date}


@pytest.mark.parametrize(
    ("times", "when", "days"),
    [
        (4.0, lambda index: index.day == 1, ["2026-02-01", "2026-03-01", "2026-04-01", "2026-05-01", "2026-06-01"]),
        (1.5, lambda index: index.day == 1, ["2026-02-01", "2026-03-01", "2026-04-01", "2026-05-01", "2026-06-01"]),
        (4.0, lambda index: index.is_month_end, ["2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31"]),
        (0.4, lambda index: index.day == 15, ["2026-01-15", "2026-02-15", "2026-03-15", "2026-04-15", "2026-05-15"]),
    ],
    ids=["four times as many on the 1st", "half as many again", "on the last day of the month", "less on the 15th"],
)
@pytest.mark.parametrize("zone", ["UTC", "Europe/Moscow"])
def test_what_comes_every_month_is_told_twice_and_then_normal(times, when, days, zone):
    values = payments(times, when, zone=zone)
    without, learned = told(values, zone, special_days=False), told(values, zone)
    assert without >= set(days[1:])
    assert learned & set(days[1:]) == {days[1]}
    after = {str((pd.Timestamp(day) + pd.Timedelta("1D")).date()) for day in days[2:]}
    assert not learned & after, "the day after is no fall from a level"


def test_a_day_of_daily_buckets_is_learned_too():
    values = payments(4.0, step="1D", level=20_000.0)
    daily = judge_series(metric(), values, "UTC")
    ratio = usual_ratios(*grid_of(values))
    assert sorted(ratio) == [86, 116, 147]  # 1 April, May and June
    assert not (daily.status.iloc[[86, 116, 147]] == "anomalous").any()


def grid_of(values, zone="UTC"):
    grid = SeriesGrid.at(values.index, values.to_numpy()[None], zone)
    return grid, LocalDays(grid)


def test_an_outage_on_such_a_day_is_found_in_its_first_bucket():
    values = payments(4.0)
    noon = values.index.get_loc(pd.Timestamp("2026-05-01T12:00Z"))
    values.iloc[noon : noon + 4] = 0.0
    judged = judge_series(metric(), values, "UTC")
    assert judged.status.iloc[noon] == "anomalous"
    assert judged.news.iloc[noon]


def test_an_ordinary_first_of_the_month_is_normal_as_well():
    values, other = payments(4.0), payments(1.0)
    values.loc["2026-05-01":] = other.loc["2026-05-01":]
    assert "2026-05-01" not in told(values)


@pytest.mark.parametrize("width", [0.6, 0.8, 1.0, 1.2, 1.5])
def test_an_ordinary_first_is_judged_as_one_whatever_the_width(width):
    """Its limits and its deviations are measured from what an ordinary day is, not from the peak that did not come."""
    values, other = payments(4.0), payments(1.0)
    values.loc["2026-05-01":] = other.loc["2026-05-01":]
    fallen = values.copy()
    fallen.loc["2026-05-01T10:00Z":"2026-05-01T15:45Z"] = (values.loc["2026-05-01T10:00Z":"2026-05-01T15:45Z"] * 0.4).round()
    one = replace(metric(), width=width)
    assert not (judge_series(one, values, "UTC").loc["2026-05-01"].status == "anomalous").any()
    first = judge_series(one, fallen, "UTC").loc["2026-05-01T10:00Z"]
    assert first.news
    assert first.expected == pytest.approx(values.loc["2026-05-01T10:00Z"], rel=0.2)


def test_a_related_metric_makes_no_alarm_of_an_ordinary_first():
    values, other = payments(4.0), payments(1.0)
    values.loc["2026-05-01":] = other.loc["2026-05-01":]
    views = payments(1.0, seed=5, level=400.0)
    views.loc["2026-05-01T12:00Z":"2026-05-01T12:45Z"] *= 0.5
    family = [replace(metric(), name=name, parents=("users",) * (name != "users")) for name in ("users", "payments", "views")]
    series = {"users": payments(1.0, seed=6, level=900.0), "payments": values, "views": views.round()}
    judged = judge_whole(family, series, "UTC", {})
    assert (judged["views"].loc["2026-05-01"].status == "anomalous").any()
    assert not (judged["payments"].loc["2026-05-01"].status == "anomalous").any()


def test_what_came_once_or_in_two_directions_is_not_learned():
    once, both = payments(1.0), payments(1.0)
    once.loc["2026-03-10"] = (once.loc["2026-03-10"] * 4).round()
    both.loc["2026-03-10"], both.loc["2026-04-10"] = (both.loc["2026-03-10"] * 4).round(), (both.loc["2026-04-10"] / 4).round()
    for values in (once, both, payments(1.0, seed=3)):
        assert not usual_ratios(*grid_of(values))
        with_special = band(metric(), values, "UTC")
        assert with_special.pop(SPECIAL).isna().all()
        assert_frame_equal(with_special, band(metric(special_days=False), values, "UTC"))


def test_some_hours_of_both_months_are_not_learned():
    values = payments(1.0)
    for day in ("2026-03-10", "2026-04-10"):  # an outage of six hours on each, by chance
        values.loc[f"{day}T08:00Z" : f"{day}T14:00Z"] = 0.0
    assert not usual_ratios(*grid_of(values))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])  # Berlin's clocks change on 29 March
def test_a_live_run_and_a_replay_agree_to_the_bit(zone):
    values, rule = payments(4.0, lambda index: (index.day == 1) | (index.day == 29), zone=zone), AutoDetector()
    whole = rule.band(values, zone)
    first = values.index[0].normalize()
    for day in ("2026-03-29", "2026-04-01", "2026-04-02", "2026-04-29", "2026-05-01", "2026-05-02", "2026-06-01"):
        for hours in (0, 2, 3, 14, 23):
            bucket = (pd.Timestamp(day, tz=zone) + timedelta(hours=hours)).tz_convert("UTC")
            at = values.index.get_loc(bucket)
            past = values.loc[max(first, bucket - rule.history - timedelta(days=3)) : bucket]
            grid = SeriesGrid.at(past.index, past.to_numpy()[None], zone, since=len(past) - 1)
            columns = rule.bands(grid)
            for name in (*BAND, SPECIAL, "sudden_low", "sudden_high", "low_rule", "high_rule"):
                live, replayed = np.ravel(columns[name])[-1], whole[name].iloc[at]
                assert live == replayed or live != live, (bucket, name, live, replayed)


HOLIDAYS = ["2026-04-03", "2026-04-06", "2026-05-01", "2026-05-14"]  # Good Friday, Easter Monday, Labour Day, Ascension


def on_holidays(index):
    return np.isin(index.strftime("%Y-%m-%d"), HOLIDAYS)


def test_a_holiday_is_normal_once_two_others_were_alike():
    values = payments(0.4, on_holidays, zone="Europe/Berlin")
    days = frozenset(date.fromisoformat(day) for day in HOLIDAYS)
    dates = {}
    for known in (frozenset(), days):
        columns = judge(values, band(metric(), values, "Europe/Berlin", holidays=known), metric())
        dates[known] = {str(day) for day in columns.index[columns.news].tz_convert("Europe/Berlin").date}
    assert dates[frozenset()] >= set(HOLIDAYS)
    assert dates[days] & set(HOLIDAYS) == set(HOLIDAYS[:2])


def test_holidays_without_another_day_between_say_nothing_of_each_other():
    """An outage that lasts over the first two is none of a holiday on the third."""
    values, days = payments(1.0, level=2_000.0), frozenset(date(2026, 4, 29) + timedelta(days=number) for number in range(8))
    values.loc["2026-04-29T08:00Z":"2026-05-04T12:00Z"] *= 0.5
    bands = [band(metric(), values.round(), "UTC", holidays=known) for known in (frozenset(), days)]
    assert_frame_equal(*bands)


def test_a_run_and_a_replay_know_the_holidays_of_the_calendar():
    values, zone = payments(0.4, on_holidays, zone="Europe/Berlin"), "Europe/Berlin"
    begins = [pd.Timestamp(day, tz=zone) for day in HOLIDAYS]
    calendar = [
        CalendarEvent(day.to_pydatetime(), (day + pd.Timedelta("1D")).to_pydatetime(), "holiday", "Bank") for day in begins
    ]
    calendar.append(CalendarEvent(begins[0].to_pydatetime() - timedelta(days=9), begins[0].to_pydatetime(), "campaign", "Sale"))
    ctx = RunContext([metric()], {}, NoSource(), StateStore(":memory:"), Console(), zone=zone, calendar=tuple(calendar))
    assert ctx.holidays == {day.date() for day in begins}
    whole = Reading({"m": values})
    replay = BacktestData([metric()], whole.series, values.index[0], values.index[-1], zone, holidays=ctx.holidays).replay_all()
    replayed = replay.judged["m"]
    for bucket in (begins[2] + timedelta(hours=12), begins[3], begins[3] + timedelta(days=1, hours=2)):
        due = [DueBuckets(metric(), bucket.to_pydatetime(), bucket.to_pydatetime())]
        judged = pipeline.judge(ctx, due, Reading({"m": values.loc[:bucket]}), bucket.to_pydatetime() + timedelta(minutes=20))
        for frame in (judged["m"], judged.whole("m")):
            assert frame.loc[bucket, "low"] == replayed.loc[bucket, "low"]
            assert frame.loc[bucket, "status"] == "normal"


def test_holidays_of_the_calendar_are_local_dates():
    def context(*events):
        return RunContext([], {}, NoSource(), StateStore(":memory:"), Console(), zone="Europe/Moscow", calendar=events)

    evening, days = datetime(2026, 5, 8, 21, tzinfo=UTC), timedelta(days=3)  # 9 May, 0:00 in Moscow
    assert context(CalendarEvent(evening, evening + days, "holiday", "May")).holidays == {
        date(2026, 5, day) for day in (9, 10, 11)
    }
    assert context(CalendarEvent(evening, evening + days, "Holiday", "May")).holidays
    assert not context(CalendarEvent(evening, evening + timedelta(hours=2), "holiday", "Fireworks")).holidays
    assert not context(CalendarEvent(evening, evening + days, "holiday", "May", ("views",))).holidays
    assert not context().holidays


def test_the_old_detector_does_not_learn_it():
    values = payments(4.0)
    assert {"2026-04-01", "2026-05-01"} <= {str(day) for day in judged_days(values, Chosen())}


def judged_days(values, rule):
    judged = judge_series(Metric("m", {"en": "M"}, "q", lambda counts: counts["m"], rule, Policy(), form="count"), values, "UTC")
    return judged.index[judged.news].date
