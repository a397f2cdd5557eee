"""The composed detectors: the anomalies that each finds or leaves to the others, and the buckets that are reported."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from alerting.detectors.auto import AutoDetector, Level
from alerting.detectors.sudden import Sudden
from alerting.detectors.verdicts import is_new, judge
from alerting.detectors.windows import window_max, window_sum
from alerting.metric_values import ratio, with_labels
from alerting.model.metric import Metric, Policy
from alerting.pipeline.judged import judge_series
from tests.detector_classes import DETECTORS, FIXED_LIMITS

QUARTER = timedelta(minutes=15)
DAY = 96


def metric(rule, step=QUARTER, **policy):
    return Metric("m", {"en": "M"}, "q", lambda c: c.m, rule, Policy(**policy), step=step, form="number")


def judged(values, rule, zone="UTC", **policy):
    return judge(values, rule.band(values, zone), metric(rule, **policy))


def app(days=70, noise=0.03, level=1000.0, seed=0, step="15min", start="2026-01-05"):
    """Monday to Monday: a daily rhythm, a quieter weekend, and noise."""
    index = pd.date_range(start, periods=days * (pd.Timedelta("1D") // pd.Timedelta(step)), freq=step, tz="UTC")
    hour = (index.hour + index.minute / 60).to_numpy()
    week = np.where(index.day_of_week >= 5, 0.7, 1.0)
    rhythm = level * week * (1 + 0.5 * np.sin(2 * np.pi * (hour - 9) / 24))
    return pd.Series(rhythm * np.random.default_rng(seed).lognormal(0, noise, len(index)), index)


def bursty(days=70, seed=0, step="15min"):
    """Mentions of a brand: most buckets small, each with no regard for the one before."""
    rng = np.random.default_rng(seed)
    index = pd.date_range("2026-01-05", periods=days * (pd.Timedelta("1D") // pd.Timedelta(step)), freq=step, tz="UTC")
    return pd.Series(rng.gamma(1.5, 10, len(index)).round(), index)


def faulty(values, factor, first, length):
    out = values.copy()
    out.iloc[first : first + length] *= factor
    return out


NOON = 60 * DAY + 48  # of a Friday


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.5, 2.0])
@pytest.mark.parametrize("at", [NOON, NOON - 36], ids=["day", "night"])
def test_a_jump_is_seen_in_its_first_bucket(factor, at):
    answer = judged(faulty(app(), factor, at, 8), AutoDetector())
    assert answer.status.iloc[at] == "anomalous"
    assert answer.rule.iloc[at] == "sudden"
    assert np.sign(answer.score.iloc[at]) == np.sign(factor - 1)
    before = answer.iloc[at - 2 * DAY : at]
    assert (before.status == "normal").mean() > 0.98


@pytest.mark.parametrize("factor", [0.8, 0.7])
@pytest.mark.parametrize("at", [NOON, NOON - 36], ids=["day", "night"])
def test_a_fifth_less_is_seen_within_the_hour(factor, at):
    answer = judged(faulty(app(), factor, at, 24), AutoDetector())
    assert (answer.status.iloc[at : at + 4] == "anomalous").any()


def leak(values, at, hours=24, depth=0.3):
    out, n = values.copy(), hours * 4
    out.iloc[at:] *= np.r_[np.linspace(1, 1 - depth, n), np.full(len(out) - at - n, 1 - depth)]
    return out


def test_a_slow_leak_is_found_by_sustained_and_not_by_sudden():
    values = leak(app(), NOON)
    sudden, both = (judged(values, rule).iloc[NOON : NOON + 2 * DAY] for rule in (Sudden(), AutoDetector()))
    assert (sudden.status == "normal").mean() > 0.98
    held = both[both.status == "anomalous"]
    assert set(held.rule) == {"sustained"}
    assert held.index[0] < both.index[DAY]  # while it still leaks
    assert (held.score < -1).all()


def test_still_low_stays_anomalous_and_is_told_once():
    """The status stays anomalous, `news` is True once: a level that lasts is one deviation."""
    values = leak(app(days=90), NOON, hours=12, depth=0.4)
    answer = judged(values, AutoDetector()).iloc[NOON:]
    low = (answer.status == "anomalous").to_numpy()
    assert low[DAY // 2 : 3 * DAY].mean() > 0.95
    assert is_new(answer, QUARTER)[: 7 * DAY].sum() == 1
    assert low[7 * DAY : 28 * DAY].mean() < 0.01  # by then it is the new normal


def test_the_way_back_is_no_alarm_and_what_has_recovered_is_normal():
    values = leak(app(days=66), NOON, hours=12, depth=0.4)
    back = NOON + int(1.5 * DAY)
    values.iloc[back:] = app(days=66).iloc[back:]
    answer = judged(values, AutoDetector())
    assert (answer.status.iloc[back - 8 : back] == "anomalous").all()
    assert (answer.status.iloc[back + 4 : back + 2 * DAY] == "normal").mean() > 0.98
    assert not is_new(answer, QUARTER)[back : back + 4].any()


@pytest.mark.parametrize("factor", [0.6, 2.5])
def test_a_new_level_becomes_normal_without_flapping(factor):
    at = 60 * DAY
    values = app(days=150)
    values.iloc[at:] *= factor
    answer = judged(values, AutoDetector())
    assert (answer.status.iloc[at : at + 4] == "anomalous").any()
    assert (answer.status.iloc[-14 * DAY :] == "normal").mean() > 0.99
    assert is_new(answer, QUARTER)[at:].sum() <= 6


def test_growth_of_two_per_cent_a_day_is_normal():
    values = app(days=80)
    values *= 1.02 ** (np.arange(len(values)) / DAY)
    answer = judged(values, AutoDetector())
    assert is_new(answer, QUARTER)[45 * DAY :].sum() <= 2


def test_a_day_off_does_not_page_all_day():
    values = faulty(app(days=75), 0.5, 60 * DAY, DAY)
    answer = judged(values, AutoDetector())
    told = is_new(answer, QUARTER)
    assert 1 <= told[60 * DAY : 61 * DAY].sum() <= 4
    assert told[61 * DAY + 8 : 68 * DAY].sum() <= 1  # the day after is a day like others


@pytest.mark.parametrize("rule", [Sudden(), AutoDetector()], ids=["sudden", "chosen"])
def test_composed_detectors_follow_local_time_over_a_change_of_the_clocks(rule):
    """A rhythm that begins at 9:00 in Berlin begins an hour earlier in UTC from 29 March on."""
    index = pd.date_range("2026-01-05", "2026-04-05", freq="15min", tz="UTC", inclusive="left")
    local = index.tz_convert("Europe/Berlin")
    busy = (local.hour >= 9) & (local.hour < 18)
    values = pd.Series(np.where(busy, 1000.0, 300.0) * np.random.default_rng(0).lognormal(0, 0.02, len(index)), index)
    after = index >= pd.Timestamp("2026-03-29T06:00Z")
    assert (judged(values, rule, "Europe/Berlin").status[after] == "normal").mean() > 0.99
    assert (judged(values, rule, "UTC").status[after] == "anomalous").sum() >= 7


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("always the same", pd.Series(5.0, app().index)),
        ("always zero", pd.Series(0.0, app().index)),
        ("below zero", -app()),
        ("around zero", app(level=0) + np.random.default_rng(0).normal(0, 3, len(app()))),
        ("rarely anything", pd.Series((np.random.default_rng(0).random(len(app())) < 0.03) * 1.0, app().index)),
        ("half of it missing", app().where(np.random.default_rng(0).random(len(app())) < 0.5)),
        ("steps of one", app(level=3, noise=0.3).round()),
    ],
)
def test_unusual_series_are_judged_and_seldom_notified(name, values):
    answer = judged(values, AutoDetector())
    last = answer.iloc[-28 * DAY :]
    assert (last.status == "unknown").mean() <= (0.1 if name == "half of it missing" else 0.01)
    assert is_new(last, QUARTER).sum() <= 12
    assert not np.isnan(last[["low", "expected", "high"]]).any(axis=None) or name == "half of it missing"


@pytest.mark.parametrize("values", [app(noise=0.6), bursty() + 1, pd.Series(5.0, app().index)], ids=["noisy", "bursty", "flat"])
@pytest.mark.parametrize("rule", [Sudden(), Level(), AutoDetector()], ids=lambda rule: type(rule).__name__)
def test_zero_where_it_never_was_is_anomalous_at_once(rule, values):
    values = values.clip(lower=1.0)
    values.iloc[-1] = 0.0
    assert judged(values, rule).status.iloc[-1] == "anomalous"


def test_what_suits_is_chosen_and_explained():
    rule = AutoDetector()
    assert set(rule.band(app()).low_rule.iloc[8 * DAY :]) <= {"sudden", "sustained"}
    assert rule.reason(app()).startswith("change rule, because a bucket tells the next: c = 0.")
    assert set(rule.band(bursty()).low_rule.iloc[8 * DAY :]) == {"level"}
    assert rule.reason(bursty()).startswith("level rule, because a bucket does not tell the next: c = ")
    assert rule.reason(app(days=5)) == "change rule, because there is less than a week of history on a Monday"
    assert rule.reason(pd.Series(1.0, app().index)) == "level rule, because most buckets have one and the same value"


def test_the_choice_is_made_on_mondays_and_does_not_flap():
    """Between the two bounds the newest clear Monday decides."""
    values = app(days=140, noise=0.26, seed=3)
    level = (AutoDetector().band(values).low_rule == "level").to_numpy()
    turns = np.flatnonzero(np.diff(level.astype(int))) + 1
    assert len(turns) <= 2
    assert all(values.index[turn].day_of_week == 0 and values.index[turn].hour == 0 for turn in turns)


def test_the_choice_goes_with_the_metric():
    calm, wild = app(days=70), bursty(days=140)
    values = pd.concat([calm, wild.iloc[len(calm) :]])
    names = AutoDetector().band(values).low_rule
    assert set(names.iloc[60 * DAY : 70 * DAY]) <= {"sudden", "sustained"}
    assert set(names.iloc[-28 * DAY :]) == {"level"}


@pytest.mark.parametrize("rule", [*DETECTORS, *FIXED_LIMITS], ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("make", [app, bursty], ids=["app", "bursty"])
@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_a_live_run_equals_a_backtest_bit_for_bit(rule, make, zone):
    """A run loads `history` and three days; what it judges does not depend on what lies before."""
    values = make(days=150, step="30min")
    values = values.where(np.random.default_rng(1).random(len(values)) > 0.02)
    cut = len(values) - 7
    first = values.index[cut - 1] - rule.history - timedelta(days=3)
    live = values.iloc[:cut].loc[first:]
    assert len(live) < 0.75 * len(values)
    whole = rule.band(values, zone).iloc[:cut]
    assert_frame_equal(rule.band(live, zone).iloc[-3 * 48 :], whole.iloc[-3 * 48 :], check_exact=True, check_freq=False)


def test_a_live_run_of_ninety_days_is_enough():
    assert AutoDetector().history <= timedelta(days=90)


def test_a_usual_gap_is_not_reported_and_a_new_one_is():
    """No data from 2:00 to 5:00 each night; today also at noon."""
    values = app(days=30)
    values[values.index.hour.isin([2, 3, 4])] = np.nan
    values.iloc[-DAY + 48 : -DAY + 54] = np.nan
    answer = judged(values, AutoDetector())
    told = answer.news & (answer.status == "missing")
    assert not told.iloc[16 * DAY : -DAY + 48].any()
    assert told.iloc[-DAY + 48 : -DAY + 54].tolist() == [False, True, True, True, True, True]
    assert set(answer.rule[answer.status == "missing"].iloc[-60:]) == {"usual gap", ""}


def test_a_deviation_is_new_once():
    """A sustained one where nothing was off for six hours, a burst where there was none; a sudden one in every bucket."""
    index = pd.date_range("2026-01-05", periods=4 * 60, freq="15min", tz="UTC")
    rule = pd.Series("", index)
    rule.iloc[[4, 5, 90, 200]] = "sustained"
    rule.iloc[[6, 7]] = "sudden"
    rule.iloc[[10, 20, 60]] = "level"
    frame = pd.DataFrame({"rule": rule, "status": np.where(rule == "", "normal", "anomalous")})
    assert np.flatnonzero(is_new(frame, QUARTER)).tolist() == [4, 6, 7, 10, 60, 90, 200]


@pytest.mark.parametrize("width", [0, 1, 2, 3, 5, 16, 192])
def test_windows_add_and_compare_the_same_way_wherever_they_begin(width):
    x = np.random.default_rng(0).gamma(2, 3, 400)
    whole, cut = window_sum(x, width), window_sum(x[150:], width)
    np.testing.assert_array_equal(whole[150 + width :], cut[width:])
    np.testing.assert_allclose(whole[width:], [x[t - width + 1 : t + 1].sum() for t in range(width, 400)])
    if width:
        expected = [x[max(0, t - width + 1) : t + 1].max() for t in range(400)]
        np.testing.assert_array_equal(window_max(x, width), expected)


def test_real_series_are_judged_to_the_end(kpis):
    """A rule has an opinion on nearly all of a real series, and most of it is normal."""
    rows = pd.read_parquet(kpis / "wsd.parquet", columns=["series", "ts", "value"])
    for _name, part in list(rows.groupby("series"))[:3]:
        values = pd.Series(part["value"].to_numpy(float), pd.DatetimeIndex(part["ts"]).tz_localize("UTC")).asfreq("15min")
        status = judged(values, AutoDetector()).status.iloc[14 * DAY :]
        assert (status == "unknown").mean() < 0.05
        assert (status == "normal").mean() > 0.8


@pytest.mark.parametrize("labels", [{}, {"os": "iOS"}], ids=["columns", "labels"])
def test_a_ratio_is_judged_by_its_own_denominator(labels):
    """As docs and `new-metric` write it, without `volume=`. Its policy compared the ratio itself, and nothing was judged."""
    views = app(level=400.0).round()
    likes = (views / 5).round()
    likes.iloc[NOON : NOON + 8] = 0
    names = with_labels(labels, "likes", "views") if labels else ("likes", "views")
    counts = pd.DataFrame({names[0]: likes, names[1]: views}).assign(groups=1.0)
    ctr = Metric(
        "ctr",
        {"en": "CTR"},
        "q",
        ratio("likes", "views", **labels),
        AutoDetector(),
        Policy(min_volume=50),
        form="ratio",
        adds=False,
    )
    volume = ctr.volume(counts)
    assert volume.tolist() == views.tolist()
    assert judge_series(ctr, ctr.value(counts), "UTC", volume).status.iloc[NOON : NOON + 8].tolist() == 8 * ["anomalous"]
