"""The laws of all detectors, and the numbers of each width rule."""

import itertools
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal, assert_series_equal

from alerting.detectors.bands import IQR, MAD, Quantile, Sigma
from alerting.detectors.baselines import Change, SameSlot, Trailing
from alerting.detectors.verdicts import judge
from alerting.model.metric import Metric, Policy
from tests.detector_classes import DETECTORS, FIXED_LIMITS, WIDTH_RULES

BASELINES = [
    Trailing(hours=6),
    Trailing(hours=48),
    SameSlot(days=7, near=0),
    SameSlot(days=5, near=2),
    SameSlot(days=14, near=1, kind="week"),
    SameSlot(days=9, near=1, kind="work"),
    Change(days=9),
    Change(days=14, last=3),
]
PARAMETERS = {MAD: {"k": 4}, Quantile: {"q": 0.05, "margin": 0.5}}
PLAIN = [cls(over=over, **PARAMETERS.get(cls, {})) for over, cls in itertools.product(BASELINES, WIDTH_RULES)]
LEARNING = [*PLAIN, *DETECTORS]
RULES = [*LEARNING, *FIXED_LIMITS]
ZONES = ["UTC", "Europe/Berlin", "Australia/Lord_Howe"]
EVERY = pytest.mark.parametrize("rule", RULES, ids=lambda rule: repr(rule)[:60])
EVERY_LEARNING = pytest.mark.parametrize("rule", LEARNING, ids=lambda rule: repr(rule)[:60])
SINGLE_BUCKET = [rule for rule in LEARNING if rule.single_bucket]
EVERY_SINGLE_BUCKET = pytest.mark.parametrize("rule", SINGLE_BUCKET, ids=lambda rule: repr(rule)[:60])


def metric(rule=None, **policy):
    return Metric("m", {"en": "M"}, "q", lambda c: c.m, rule, Policy(**{"min_change": 0.0, **policy}), form="number")


def app(days=20, step="30min", start="2026-03-20", gaps=0.05, seed=0):
    """A daily rhythm with noise and gaps, over the night of 29 March 2026, when Berlin's clocks change."""
    rng = np.random.default_rng(seed)
    index = pd.date_range(start, periods=days * pd.Timedelta("1D") // pd.Timedelta(step), freq=step, tz="UTC")
    rhythm = 100 + 40 * np.sin(2 * np.pi * (index.hour * 60 + index.minute).to_numpy() / 1440)
    values = rhythm * rng.lognormal(0, 0.08, len(index))
    values[rng.random(len(index)) < gaps] = np.nan
    return pd.Series(values, index)


def long_enough(rule, **more):
    """Days of `app` that end on 9 April, after which the rule has an opinion."""
    days = 20 if hasattr(rule, "over") else 55
    return app(days, start=str(pd.Timestamp("2026-04-09") - pd.Timedelta(days=days)), **more)


def judged(values, rule, zone="UTC", **policy):
    return judge(values, rule.band(values, zone), metric(rule, **policy))


@EVERY
@pytest.mark.parametrize("zone", ZONES)
def test_prefix_law(rule, zone):
    values = long_enough(rule)
    whole = judged(values, rule, zone)
    around_the_clock_change = values.index.get_indexer([pd.Timestamp("2026-03-29T02:00Z")])[0]
    for end in [*range(around_the_clock_change - 3, around_the_clock_change + 60, 7), *range(len(values) - 12, len(values))]:
        past = values.iloc[: end + 1]
        assert_series_equal(judged(past, rule, zone).iloc[-1], whole.iloc[end], check_exact=True)


@EVERY
def test_later_values_do_not_change_a_band(rule):
    values = long_enough(rule)
    other, cut = values.copy(), len(values) - 300
    other.iloc[cut:] = 7.0
    assert_frame_equal(rule.band(values).iloc[: cut + 1], rule.band(other).iloc[: cut + 1], check_exact=True)


@EVERY
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.floats(0, 1e6) | st.just(float("nan")), min_size=2, max_size=400), st.sampled_from(["15min", "1h", "5min"]))
def test_prefix_law_on_anything(rule, numbers, step):
    values = pd.Series(numbers, pd.date_range("2026-10-20", periods=len(numbers), freq=step, tz="UTC"))
    whole, cut = judged(values, rule, "Europe/Berlin"), len(numbers) // 2
    assert_frame_equal(judged(values.iloc[:cut], rule, "Europe/Berlin"), whole.iloc[:cut], check_exact=True, check_freq=False)


@EVERY_LEARNING
def test_scale_equivariance(rule):
    values = long_enough(rule)
    assert judged(values * 10, rule).status.tolist() == judged(values, rule).status.tolist()


@EVERY
def test_nan_is_kept_and_is_missing(rule):
    values = long_enough(rule, gaps=0.2)
    answer = judged(values, rule)
    assert answer.value.isna().equals(values.isna())
    assert (answer.status == "missing").equals(values.isna())


@EVERY_LEARNING
def test_too_little_history_is_unknown(rule):
    values = app(days=1, gaps=0).iloc[:4]
    assert set(judged(values, rule).status) == {"unknown"}


@EVERY_SINGLE_BUCKET
@pytest.mark.parametrize("level", [0.0, 5.0, -3.0])
def test_constant_series_is_normal_and_its_end_is_not(rule, level):
    values = pd.Series(level, pd.date_range("2026-01-05", periods=48 * 30, freq="30min", tz="UTC"))
    assert set(judged(values, rule).status.iloc[-48:]) == {"normal"}
    values.iloc[-1] = level + 1
    last = judged(values, rule).iloc[-1]
    assert last.status == "anomalous"
    assert last.score == 1000  # zero spread: the sign is all that can be said
    assert judged(values, rule, min_units=2.0).iloc[-1].status == "normal"


@EVERY_SINGLE_BUCKET
def test_an_outage_is_seen_however_wide_the_band(rule):
    values = long_enough(rule, gaps=0)
    values.iloc[-1] = 0.0
    wide = replace(metric(rule), width=1e6)
    assert judge(values, rule.band(values), wide).status.iloc[-1] == "anomalous"


@EVERY
def test_all_missing_and_empty(rule):
    index = pd.date_range("2026-01-05", periods=200, freq="1h", tz="UTC")
    assert set(judged(pd.Series(np.nan, index), rule).status) == {"missing"}
    assert judged(pd.Series([], index[:0], dtype=float), rule).empty


@EVERY_LEARNING
def test_band_is_in_order(rule):
    band = rule.band(long_enough(rule))[["low", "expected", "high"]].dropna()
    assert len(band) > 100
    assert (band.low <= band.expected).all()
    assert (band.expected <= band.high).all()


@EVERY
@pytest.mark.parametrize("gaps", [0.05, 0.6])
def test_a_band_without_an_expected_value_is_one_of_fixed_limits(rule, gaps):
    """Limits of which nothing is expected are not scaled: a detector that learns gives all three numbers or none."""
    band = rule.band(long_enough(rule, gaps=gaps))
    unknown = band["expected"].isna()
    if rule in FIXED_LIMITS:
        assert unknown.all()
        assert band[["low", "high"]].notna().all(axis=None)
    else:
        assert band.loc[unknown, ["low", "high"]].isna().all(axis=None)
        assert band.loc[~unknown, ["low", "high"]].notna().all(axis=None)


def test_slots_follow_local_time_over_a_change_of_the_clocks():
    """A bell at 9:00 in Berlin rings at 8:00 UTC in winter and 7:00 UTC in summer: it is expected at both."""
    index = pd.date_range("2026-03-10", "2026-04-05", freq="15min", tz="UTC", inclusive="left")
    local = index.tz_convert("Europe/Berlin")
    values = pd.Series(np.where((local.hour == 9) & (local.minute == 0), 100.0, 10.0), index)
    rule = IQR(3, SameSlot(days=7, near=0))
    assert (judged(values, rule, "Europe/Berlin").status.iloc[96 * 8 :] == "normal").all()
    assert (judged(values, rule, "UTC").status.iloc[96 * 8 :] == "anomalous").any()


def test_slots_over_the_end_of_summer_time():
    index = pd.date_range("2026-10-12", "2026-11-03", freq="15min", tz="UTC", inclusive="left")
    local = index.tz_convert("Europe/Berlin")
    values = pd.Series(100.0 + 10 * local.hour, index)
    assert (judged(values, IQR(3, SameSlot(days=7, near=0)), "Europe/Berlin").status.iloc[96 * 8 :] == "normal").all()


def test_kind_of_day_compares_weekends_with_weekends():
    index = pd.date_range("2026-01-05", periods=24 * 40, freq="1h", tz="UTC")
    values = pd.Series(np.where(index.day_of_week >= 5, 50.0, 100.0), index)
    for kind in ("week", "work"):
        rule = IQR(3, SameSlot(days=28, near=0, kind=kind))
        assert (judged(values, rule).status.iloc[24 * 29 :] == "normal").all(), kind
    low = Sigma(0.5, SameSlot(days=28, near=0))
    assert (judged(values, low).status.iloc[24 * 29 :] == "anomalous").any()


def slot_values(past, now):
    """One value a day at the same time, `now` on the last day; nothing between."""
    index = pd.date_range("2026-01-05", periods=24 * len(past) + 1, freq="1h", tz="UTC")
    values = pd.Series(np.nan, index)
    values.iloc[::24] = [*past, now]
    return values


@pytest.mark.parametrize(
    ("rule", "band"),
    [
        (IQR(2), np.quantile([10, 12, 13, 17, 30], [0.25, 0.5, 0.75]) + np.array([-10, 0, 10])),
        (Sigma(2), np.array([-2, 0, 2]) * np.std([10, 12, 13, 17, 30], ddof=1) + np.mean([10, 12, 13, 17, 30])),
        (MAD(2), 13 + np.array([-2, 0, 2]) * 1.4826 * 3),
        (Quantile(0.1, 0.0), np.quantile([10, 12, 13, 17, 30], [0.1, 0.5, 0.9])),
    ],
)
def test_limits_are_the_textbook_ones(rule, band):
    over = SameSlot(days=5, near=0)
    past = slot_values([10, 12, 13, 17, 30], 11)
    got = type(rule)(**{**vars(rule), "over": over}).band(past).iloc[-1]
    expected = np.array([max(band[0], 5.0), band[1], band[2]])  # never below half of the lowest value there was
    np.testing.assert_allclose(got.to_numpy(), expected)


@pytest.mark.parametrize(
    ("value", "policy", "status", "score"),
    [
        (100.0, {}, "normal", 0.0),
        (104.9, {"min_change": 0.05}, "normal", 0.98),
        (105.1, {"min_change": 0.05}, "anomalous", 1.02),
        (94.0, {"min_change": 0.05}, "anomalous", -1.2),
        (94.0, {"min_change": 0.05, "direction": "up"}, "normal", -1.2),
        (106.0, {"min_change": 0.05, "direction": "down"}, "normal", 1.2),
        (106.0, {"min_change": 0.05, "min_units": 10}, "normal", 0.6),
    ],
)
def test_smallest_change_and_direction(value, policy, status, score):
    values = pd.Series([100.0] * 200 + [value], pd.date_range("2026-01-05", periods=201, freq="1h", tz="UTC"))
    last = judged(values, IQR(3, SameSlot(days=7)), **policy).iloc[-1]
    assert (last.status, last.score) == (status, pytest.approx(score))
    assert last.low <= last.expected <= last.high


def test_a_series_with_holes_in_its_index_is_refused():
    values = app().drop(app().index[5])
    with pytest.raises(ValueError, match="one row per bucket"):
        IQR().band(values)
    with pytest.raises(ValueError, match="aware times"):
        IQR().band(values.tz_localize(None))


def test_impossible_baselines_are_refused():
    with pytest.raises(ValueError, match="kind='month'"):
        SameSlot(kind="month")
    with pytest.raises(ValueError, match="days is at least 1"):
        SameSlot(days=0)
    with pytest.raises(ValueError, match="last are at least 1"):
        Change(last=0)


def test_the_usual_change_starts_from_the_level_just_now():
    """100 -> 140 every day at noon; today the morning is at 50, so 90 is expected."""
    index = pd.date_range("2026-01-05", periods=24 * 10 + 13, freq="1h", tz="UTC")
    values = pd.Series(np.where(index.hour >= 12, 140.0, 100.0), index)
    values.iloc[-13:] -= 50
    assert MAD(3, Change(days=7)).band(values).expected.iloc[-1] == 90.0
    values.iloc[-2] = 0.0  # a glitch: the median of three does not follow
    assert MAD(3, Change(days=7, last=3)).band(values).expected.iloc[-1] == 90.0


def test_what_is_made_of_too_little_is_unknown():
    """A count by what was expected of it, a ratio by what it divides by."""
    values = app(days=20, gaps=0)
    rule = IQR(k=3, over=SameSlot(days=14))
    low = values.median()
    seen = judged(values, rule, min_volume=low)
    assert set(seen.loc[seen["expected"] < low, "status"]) == {"unknown"}
    assert set(seen.loc[seen["expected"] < low, "rule"]) == {"too few"}
    assert "unknown" not in set(seen.loc[seen["expected"] >= low, "status"])
    volume = pd.Series(np.where(np.arange(len(values)) % 2, 500.0, 20.0), values.index)
    ratio = replace(metric(rule, min_volume=100.0), form="ratio")
    seen = judge(values, rule.band(values), ratio, volume).iloc[-200:]
    assert set(seen.loc[volume.iloc[-200:] < 100, "status"]) == {"unknown"}
    assert "unknown" not in set(seen.loc[volume.iloc[-200:] >= 100, "status"])


NEW_MODULE = """
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from alerting.detectors.bands import BaseDetector
from alerting.detectors.windows import quantiles, values_before


@dataclass(frozen=True)
class TenDays(BaseDetector):
    '''Between the lowest and the highest value of ten days.'''

    ahead = 0

    @property
    def history(self):
        return timedelta(days=10)

    def bands(self, grid):
        past = values_before(grid.values, grid.requested + self.ahead, 10 * grid.per_day)
        enough = np.isfinite(past).sum(axis=-1) >= 8
        low, expected, high = (np.where(enough, limit, np.nan) for limit in quantiles(past, 0, 0.5, 1))
        return {"low": low, "expected": expected, "high": high}


class PeeksAhead(TenDays):
    '''The same, with the value that is judged among its past.'''

    ahead = 1
"""


def test_a_detector_in_a_new_module_is_under_the_laws_without_being_named(tmp_path):
    """All laws hold for one that keeps them; one that looks at the value to judge is found out."""
    (tmp_path / "detectors").mkdir()
    (tmp_path / "detectors" / "ten_days.py").write_text(NEW_MODULE)
    (tmp_path / "dropped_in.py").write_text(
        f"import alerting.detectors\nalerting.detectors.__path__.append({str(tmp_path / 'detectors')!r})\n"
    )
    root = Path(__file__).resolve().parent.parent
    outside = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    laws = ["tests/test_detectors.py", "tests/test_batches.py", "tests/test_rules.py"]
    chosen = "TenDays or (PeeksAhead and later_values)"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "dropped_in", "-p", "no:cacheprovider", "-vv", "-k", chosen, *laws],
        cwd=root, env={**outside, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}, capture_output=True, text=True,
    )  # fmt: skip
    answers = set(re.findall(r"::(test_\w+)\[.*?(TenDays|PeeksAhead)\S*\] (PASSED|FAILED)", done.stdout))
    assert {law for law, name, answer in answers if (name, answer) == ("TenDays", "FAILED")} == set(), done.stdout[-3000:]
    assert {law for law, name, answer in answers if (name, answer) == ("TenDays", "PASSED")} >= {
        "test_prefix_law",
        "test_prefix_law_on_anything",
        "test_later_values_do_not_change_a_band",
        "test_an_outage_is_seen_however_wide_the_band",
        "test_a_batch_from_a_position_on_equals_each_series_as_a_whole",
        "test_a_live_run_equals_a_backtest_bit_for_bit",
    }
    assert ("test_later_values_do_not_change_a_band", "PeeksAhead", "FAILED") in answers
