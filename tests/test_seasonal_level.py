"""The seasonal level: what it finds, what it leaves out of what it learns, and how it treats counts, ratios and numbers."""

import numpy as np
import pandas as pd
import pytest

from alerting.detectors.auto import AutoDetector
from alerting.detectors.seasonal_level import SeasonalLevel
from alerting.detectors.series_grid import SeriesGrid
from alerting.detectors.verdicts import judge
from alerting.model.metric import Metric
from alerting.pipeline.advance import fold_episodes
from alerting.pipeline.context import DueBuckets
from alerting.pipeline.judged import band, judge_whole, verdicts

DAY = 96  # buckets
NOON = 42 * DAY + 48  # of a Monday
NIGHT = NOON - 40  # 2:00


def app(days=49, size=2_000, seed=0):
    """Counts of an app that begin on a Monday: Poisson noise, a level that wanders by 3 %, weekends with a step at 10:00."""
    rng, n = np.random.default_rng(seed), days * DAY
    index = pd.date_range("2026-01-05", periods=n, freq="15min", tz="UTC")
    hour, off = (index.hour + index.minute / 60).to_numpy(), (index.day_of_week >= 5).astype(float)
    shape = 0.15 + np.exp(-(((hour - 20) / 3) ** 2)) + 0.6 * np.exp(-(((hour - 13) / 4) ** 2))
    shape = shape * np.where(off > 0, np.where(hour < 10, 0.8, 1.15), 1.0)
    level = np.exp(np.interp(np.arange(n), np.arange(0, n + DAY, DAY), rng.normal(0, 0.03, days + 1)))
    return pd.Series(rng.poisson(size * shape * level).astype(float), index)


def metric(name="a", form="count", **more):
    return Metric(name, {"en": name}, "t", lambda counts: counts["value"], AutoDetector(), form=form, **more)


def judged(values, form="count", volume=None):
    one = metric(form=form)
    return judge(values, band(one, values, "UTC", volume), one, volume)


@pytest.mark.parametrize(("factor", "hours"), [(0.8, 6), (0.7, 2), (0.5, 1)])
def test_a_fall_of_a_fifth_is_found_within_the_hour(factor, hours):
    values = app()
    values.iloc[NOON : NOON + 4 * hours] = (values.iloc[NOON : NOON + 4 * hours] * factor).round()
    frame = judged(values)
    assert (frame.status.iloc[NOON : NOON + 4] == "anomalous").any()
    assert (frame.status.iloc[21 * DAY : NOON] == "anomalous").sum() == 0, "calm weeks, weekends with their step included"


@pytest.mark.parametrize(("size", "factor"), [(60, 0.5), (300, 0.7), (2_000, 0.8)])
def test_what_stays_off_for_a_day_stays_open(size, factor):
    """By single buckets it seemed to be back: it was said to be normal after half an hour, and nothing more was told."""
    open_share = []
    for seed in range(4):
        values = app(size=size, seed=seed)
        values.iloc[NIGHT : NIGHT + DAY] = (values.iloc[NIGHT : NIGHT + DAY] * factor).round()
        one, frame, trail = metric(), judged(values), []
        whole = DueBuckets(one, frame.index[0].to_pydatetime(), frame.index[-1].to_pydatetime())
        fold_episodes([one], verdicts([whole], {"a": frame}), {}, trail)
        states = [episode.opened is not None for _, episode in trail][NIGHT : NIGHT + DAY]
        open_share.append(np.mean(states[states.index(True) :]))
    assert np.mean(open_share) > 0.9


def test_a_leak_is_found_within_the_day_and_rises_need_twice_as_much():
    values = app()
    leak = values.copy()
    leak.iloc[NOON : NOON + 24] *= np.linspace(1, 0.6, 24)
    leak.iloc[NOON + 24 : NOON + 32] *= 0.6
    frame = judged(leak)
    assert (frame.status.iloc[NOON : NOON + 32] == "anomalous").any()
    rise = values.copy()
    rise.iloc[NOON : NOON + 8] *= 1.15
    assert (judged(rise).status.iloc[NOON : NOON + 8] == "normal").all()


@pytest.mark.parametrize("form", ["count", "number"])
def test_an_outage_of_two_days_stays_an_outage_and_does_not_teach(form):
    values = app()
    values.iloc[NOON : NOON + 2 * DAY] = 0.0
    frame = judged(values, form)
    assert (frame.status.iloc[NOON : NOON + 2 * DAY] == "anomalous").all()
    after = frame.iloc[NOON + 2 * DAY + 2 : NOON + 4 * DAY]
    assert (after.status == "normal").mean() > 0.98, "the way back is no alarm, and zero is not usual"
    assert (after.low > 0).all()


def test_a_new_level_is_accepted_after_half_a_week():
    values = app(days=63)
    values.iloc[NOON:] = (values.iloc[NOON:] * 0.6).round()
    status = judged(values).status
    assert (status.iloc[NOON + 8 : NOON + 2 * DAY] == "anomalous").mean() > 0.95
    assert (status.iloc[NOON + 7 * DAY :] == "normal").mean() > 0.98


def test_labelled_buckets_are_left_out_like_its_own():
    """NaN in the past, as the pipeline gives labelled incidents, changes the band less than the incident itself would."""
    values = app()
    dip = slice(NOON - 7 * DAY, NOON - 6 * DAY)
    hurt = values.copy()
    hurt.iloc[dip] *= 0.9  # too little to be seen by itself
    masked = hurt.copy()
    masked.iloc[dip] = np.nan
    plain, learned, left_out = (SeasonalLevel().band(x).expected.iloc[NOON : NOON + DAY] for x in (values, hurt, masked))
    assert (left_out - plain).abs().sum() < (learned - plain).abs().sum()


def test_the_noise_of_a_ratio_follows_its_denominator():
    """The same rate from a tenth of the trials has a band about three times as wide."""
    rng, views = np.random.default_rng(1), app(size=3_000)
    few = (views / 10).round()
    widths = []
    for trials in (views, few):
        likes = pd.Series(rng.binomial(trials.astype(int), 0.2).astype(float), views.index)
        ratio = likes / trials
        frame = band(metric(form="ratio"), ratio, "UTC", trials).iloc[-DAY:]
        widths.append(float(((frame.expected - frame.low) / frame.expected).median()))
    assert 1.8 < widths[1] / widths[0] < 4


def test_below_zero_it_is_judged_by_differences():
    """A metric that is moved below zero keeps its verdicts of large changes, and is as quiet."""
    values = app() - 1_500.0
    assert (values < 0).any()
    fallen = values.copy()
    fallen.iloc[NOON : NOON + 8] -= 1_200
    frame = judged(fallen, "number")
    assert (frame.status.iloc[NOON : NOON + 8] == "anomalous").all()
    assert (frame.status.iloc[21 * DAY : NOON] == "anomalous").mean() < 0.002
    known = SeasonalLevel().band(fallen).iloc[22 * DAY :]
    assert known.notna().all().all()
    assert (known.low <= known.expected).all()


def test_what_related_metrics_say_weakly_at_once_counts():
    """Views alone stay inside; with feed users far out they are off as well. Without the relation they are not."""
    users, views = app(size=4_000, seed=2), app(size=150, seed=3)
    fall = slice(NOON, NOON + 4)
    users.iloc[fall] = (users.iloc[fall] * 0.5).round()
    views.iloc[fall] = (views.iloc[fall] * 0.62).round()
    series = {"users": users, "views": views}
    alone = judge_whole([metric("users"), metric("views")], series, "UTC", {})["views"]
    together = judge_whole([metric("users"), metric("views", parents=("users",))], series, "UTC", {})
    narrower = (together["views"].expected - together["views"].low) / (alone.expected - alone.low)
    assert narrower.iloc[NOON : NOON + 3].max() < 0.8
    assert (narrower.iloc[22 * DAY : NOON - 4].dropna() == 1).all()
    assert (together["views"].status.iloc[fall] == "anomalous").sum() > (alone.status.iloc[fall] == "anomalous").sum()
    assert (together["users"].status.iloc[fall] == "anomalous").all()


def test_a_number_has_a_wider_margin_than_a_count_and_what_lasts_is_found_all_the_same():
    values = app()
    values.iloc[NOON : NOON + 8] *= 0.6
    index, x, narrow = values.index, values.to_numpy()[None], SeasonalLevel(margin=1.0)
    for is_count in (True, False):
        grid = SeriesGrid.at(index, x, "UTC", len(index) - 7 * DAY, None, np.array([is_count]))
        wide, own = SeasonalLevel().bands(grid), narrow.bands(grid)
        margin = 1.0 if is_count else SeasonalLevel().margin
        for side in ("low", "high"):
            far, near = (np.asarray(b[side] - b["expected"]) for b in (wide, own))
            np.testing.assert_allclose(far, margin * near, rtol=1e-9, atol=1e-6)
    assert (judged(values, "number").status.iloc[NOON : NOON + 4] == "anomalous").any()


def test_a_new_app_is_watched_from_its_second_week_on_and_not_flooded():
    values = app(days=21)
    frame = judged(values)
    assert frame.low.iloc[10 * DAY :].notna().all()
    assert (frame.status.iloc[10 * DAY :] == "anomalous").sum() == 0
    early, late = (
        SeriesGrid.at(values.index[:n], values.to_numpy()[None, :n], "UTC", n - DAY, None, np.array([True]))
        for n in (11 * DAY, 21 * DAY)
    )
    first, last = (SeasonalLevel().bands(grid) for grid in (early, late))
    share = [float(np.median((b["expected"] - b["low"]) / b["expected"])) for b in (first, last)]
    assert share[0] > share[1], "wider while little is known"


def test_it_is_fitted_on_mondays_and_on_the_first_night_with_enough_days():
    """Day by day with a cache, as live runs do: the number of new fits each day."""
    values, cache, new = app(days=35), {}, []
    for day in range(8, 35):
        before, since = len(cache), day * DAY + 40
        grid = SeriesGrid.at(
            values.index[: since + 4], values.to_numpy()[None, : since + 4], "UTC", since, cache, np.array([True])
        )
        SeasonalLevel().bands(grid)
        new.append(len(cache) - before)
    assert [8 + i for i, fits in enumerate(new) if fits] == [10, 14, 21, 28]
    assert sum(new) == 4


@pytest.mark.parametrize("night", ["2026-03-29", "2026-10-25"])
def test_a_live_run_gives_the_bits_of_a_backtest_in_the_night_when_the_clocks_change(night):
    values = app(days=49)
    values.index = values.index + (pd.Timestamp(night, tz="UTC") - values.index[45 * DAY])
    counts = np.array([True])
    whole = SeasonalLevel().bands(SeriesGrid.at(values.index, values.to_numpy()[None], "Europe/Berlin", 0, None, counts))
    for end in range(45 * DAY - 8, 45 * DAY + 16):
        grid = SeriesGrid.at(values.index[:end], values.to_numpy()[None, :end], "Europe/Berlin", end - 6, None, counts)
        live = SeasonalLevel().bands(grid)
        for side in ("low", "expected", "high"):
            np.testing.assert_array_equal(live[side][0], whole[side][0, end - 6 : end])


@pytest.mark.parametrize(("size", "most"), [(0.1, 0), (0.3, 0), (1, 1), (2, 3), (8, 0)])
def test_a_metric_that_is_mostly_zero_is_not_anomalous_at_every_one(size, most):
    """Of five weeks. The past alone, which is nearly all 0, would call 250 buckets of 0.1 a bucket anomalous, 700 of 0.3."""
    for seed in range(3):
        values = app(days=49, size=size, seed=seed)
        frame = judged(values)
        assert (frame.status.iloc[14 * DAY :] == "anomalous").sum() <= most
        values.iloc[NOON] = 60.0 + 10 * size
        assert judged(values).status.iloc[NOON] == "anomalous", "a burst is one"
