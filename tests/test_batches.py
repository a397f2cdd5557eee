"""Series judged in batches, from a position on, with cached statistics, give the same bits as each series judged as a whole."""

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from alerting.detectors.auto import AutoDetector, Level
from alerting.detectors.bands import IQR, OneByOne, Sigma
from alerting.detectors.baselines import Change, SameSlot, Trailing
from alerting.detectors.series_grid import SeriesGrid, series_columns
from alerting.detectors.sudden import Sudden
from alerting.detectors.sustained import Sustained, Window
from tests.detector_classes import DETECTORS, FIXED_LIMITS, WIDTH_RULES

ODD_SUDDEN = Sudden(days=4, week=3, early=0, around=900, today=0.7, edge=0.4)
ODD_SUSTAINED = Sustained(windows=(Window(2), Window(30, "mean", 1.1), Window(0.1)), days=6, share=0.9, floor=0.01)
ODD_LEVEL = Level(days=5, rank=2, width=1.1)
NIGHTLY = [Sudden(), Sustained(), Level(), AutoDetector()]  # with statistics that are computed once a night
ODD = [
    ODD_SUDDEN,
    ODD_SUSTAINED,
    ODD_LEVEL,
    AutoDetector(ODD_SUDDEN, ODD_SUSTAINED, ODD_LEVEL, days=7, to_level=0.9, to_change=0.8),
]


@dataclass(frozen=True)
class OwnRule:
    """An analyst's rule, with no more than has to be there: the widest of the last `hours`, by the local clock only at noon."""

    hours: int = 48

    @property
    def history(self):
        return timedelta(hours=self.hours)

    def band(self, values, zone="UTC"):
        past = values.shift(1).rolling(f"{self.hours}h", min_periods=1)
        noon = (values.index.tz_convert(zone).hour == 12).astype(float)
        return pd.DataFrame({"low": past.min() - noon, "expected": past.median(), "high": past.max() + noon, "high_rule": "own"})


PLAIN = [
    IQR(over=Trailing()),
    Sigma(over=Change(days=9)),
    Sigma(over=SameSlot(days=9, kind="work")),
    *(cls(over=SameSlot(days=9)) for cls in WIDTH_RULES),
]
ZONES = ["UTC", "Europe/Berlin", "Australia/Lord_Howe"]
CHANGES = {"UTC": "2026-03-29T01:00Z", "Europe/Berlin": "2026-03-29T01:00Z", "Australia/Lord_Howe": "2026-04-04T15:00Z"}
named = pytest.mark.parametrize


def mixed(days, step, end="2026-04-07T05:00Z", seed=0):
    """Three series on one grid, with gaps: calm until it is bursty, below zero, and bursty until it is calm."""
    rng = np.random.default_rng(seed)
    index = pd.date_range(end=end, periods=days * (pd.Timedelta("1D") // pd.Timedelta(step)), freq=step, tz="UTC")
    hour, n = (index.hour + index.minute / 60).to_numpy(), len(index)
    calm = 500 * np.where(index.day_of_week >= 5, 0.6, 1) * (1.2 + np.sin(hour * np.pi / 12)) * rng.lognormal(0, 0.05, n)
    burst = rng.gamma(0.7, 20, n).round()
    late = np.arange(n) > 0.6 * n
    values = np.stack([np.where(late, burst, calm), 150 - calm, np.where(late, calm, burst)])
    values[rng.random(values.shape) < 0.04] = np.nan
    values[1, n // 2 : n // 2 + max(2, n // 60)] = np.nan
    values[0, (hour >= 2) & (hour < 3)] = np.nan
    return index, values


def positions(index, zone, some=4):
    """Return positions at which a batch may begin: ends, midnights, Mondays, changes of the clocks, and random ones."""
    n, local = len(index), index.tz_convert(zone)
    days = np.flatnonzero(local.normalize()[1:] != local.normalize()[:-1]) + 1
    monday = days[local[days].day_of_week == 0][-1:]
    change = index.searchsorted(pd.Timestamp(CHANGES[zone]))
    turns = [int(at) for at in (days[-1], *monday, change)]
    around = [at + off for at in turns for off in (-1, 0, 1)]
    rest = np.random.default_rng(5).integers(1, n, some).tolist()
    return sorted({at for at in (0, 1, n - 1, n, *around, *rest) if 0 <= at <= n})


def same(limits_, whole, place, since):
    """The batch's columns of one series are those of its own whole band."""
    part = series_columns(limits_, place)
    assert set(part) == set(whole)
    for name, column in whole.items():
        expected, got = column.to_numpy()[since:], np.broadcast_to(part[name], len(column) - since)
        if expected.dtype == object or got.dtype.kind in "OU":
            assert expected.tolist() == got.tolist(), (name, since)
        else:
            np.testing.assert_array_equal(got, expected, f"{name} from {since}")


def check(rule, index, values, zone, at):
    whole = [rule.band(pd.Series(row, index), zone) for row in values]
    warm = {}
    for since in at:
        same(rule.bands(SeriesGrid.at(index, values, zone, since)), whole[1], 1, since)
        same(rule.bands(SeriesGrid.at(index, values[2:], zone, since, {})), whole[2], 0, since)
        batch = rule.bands(SeriesGrid.at(index, values, zone, since, warm))
        for place in range(len(values)):
            same(batch, whole[place], place, since)
    return whole


def length(rule, step):
    """Days after which the rule has an opinion, and a few."""
    return rule.history // timedelta(days=1) + (6 if step != "1D" else 40)


@named("rule", [*DETECTORS, *FIXED_LIMITS, *ODD], ids=lambda rule: type(rule).__name__)
@named("zone", ZONES)
@named("step", ["1h", "1D"])
def test_a_batch_from_a_position_on_equals_each_series_as_a_whole(rule, zone, step):
    index, values = mixed(length(rule, step), step)
    whole = check(rule, index, values, zone, positions(index, zone))
    known = [frame.high.iloc[-max(3, len(index) // 40) :].notna().any() for frame in whole]
    assert any(known) or (step == "1D" and rule in ODD), "no opinion anywhere: the law would hold of nothing"


@named("rule", [*PLAIN, OneByOne(OwnRule())], ids=lambda rule: type(rule).__name__)
@named(("step", "zone"), [("1D", "UTC"), ("1h", "Europe/Berlin"), ("15min", "Australia/Lord_Howe")])
def test_a_batch_of_a_plain_or_one_by_one_detector_equals_each_series_as_a_whole(rule, step, zone):
    index, values = mixed(60, step)
    check(rule, index, values, zone, positions(index, zone, 2))


FINER = [(rule, *grid) for rule in [*DETECTORS, *ODD] for grid in (("30min", "Australia/Lord_Howe"), ("15min", "Europe/Berlin"))]
FINEST = [(rule, "5min", "Australia/Lord_Howe") for rule in ODD]  # they look back less, and run through the same lines


@named(("rule", "step", "zone"), [*FINER, *FINEST], ids=lambda part: part if isinstance(part, str) else type(part).__name__)
def test_a_batch_of_finer_buckets_equals_each_series_as_a_whole(rule, step, zone):
    index, values = mixed(length(rule, step), step)
    check(rule, index, values, zone, positions(index, zone, 1)[-9:])


def test_the_mixture_meets_both_rules_and_each_half():
    """One batch has a series judged by its level, one judged by its changes, and one whose rule changes within."""
    rule = ODD[3]
    index, values = mixed(length(rule, "1h"), "1h")
    names = [set(rule.band(pd.Series(row, index)).low_rule.iloc[-24 * 25 :]) for row in values]
    assert any("level" in name and name & {"sudden", "sustained"} for name in names)


@named("rule", ODD, ids=lambda rule: type(rule).__name__)
def test_what_is_known_stays_right_as_the_window_slides_and_rows_come_late(rule):
    """Runs one after the other over one memo: each loads its window, and now and then an old value has changed."""
    index, values = mixed(60, "1h")
    rng, known, width = np.random.default_rng(2), {}, 24 * 45
    for end in range(width, len(index), 5):
        part = slice(end - width, end)
        if rng.random() < 0.5:
            row, at = rng.integers(3), end - 1 - rng.integers(1, 30)
            values[row, at] = rng.choice([np.nan, 0.0, 99.0])
        new = rule.bands(SeriesGrid.at(index[part], values[:, part], "Europe/Berlin", width - 3, known))
        fresh = rule.bands(SeriesGrid.at(index[part], values[:, part], "Europe/Berlin", width - 3))
        for place in range(3):
            for name, column in series_columns(fresh, place).items():
                np.testing.assert_array_equal(series_columns(new, place)[name], column, f"{name} at {end}")


@named("rule", NIGHTLY, ids=lambda rule: type(rule).__name__)
def test_figures_are_made_once_a_night_and_again_for_a_late_row(rule):
    """The memo grows by one night's figures at most; a value of yesterday that changes makes tonight's anew, one series'."""
    index, values = mixed(rule.history // timedelta(days=1) + 5, "1h", end="2026-04-07T23:00Z")
    n, known = len(index), {}
    rule.bands(SeriesGrid.at(index, values, "UTC", n - 3, known))
    first = len(known)
    assert 3 <= first <= 3 * 8  # each series by one rule or both; a level of two days ago needs the nights before
    rule.bands(SeriesGrid.at(index, values, "UTC", n - 2, known))
    assert len(known) == first
    values[1, n - 30] += 1
    rule.bands(SeriesGrid.at(index, values, "UTC", n - 1, known))
    assert 1 <= len(known) - first <= 6
    values[1, n - 2] += 1  # of today: no night is made of it yet
    before = len(known)
    rule.bands(SeriesGrid.at(index, values, "UTC", n - 1, known))
    assert len(known) == before


KEPT = {}  # one memo for all examples: what is known of one past must never be taken for that of another
numbers = st.floats(-1e6, 1e6).map(lambda x: round(x, 3)) | st.just(float("nan")) | st.integers(0, 3).map(float)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate))
@given(
    rule=st.sampled_from(ODD),
    rows=st.integers(2, 40).flatmap(lambda n: st.lists(st.lists(numbers, min_size=n, max_size=n), min_size=1, max_size=3)),
    repeat=st.integers(1, 12),
    zone=st.sampled_from(ZONES),
    step=st.sampled_from(["2h", "6h", "40min"]),
    share=st.floats(0, 1),
)
def test_a_batch_of_random_series_equals_each_series_as_a_whole(rule, rows, repeat, zone, step, share):
    values = np.tile(np.array(rows), repeat)
    index = pd.date_range(end="2026-04-08", periods=values.shape[1], freq=step, tz="UTC")
    whole, since = [rule.band(pd.Series(row, index), zone) for row in values], round(share * len(index))
    for memo in (None, {}, KEPT, KEPT):
        batch = rule.bands(SeriesGrid.at(index, values, zone, since, memo))
        for place, frame in enumerate(whole):
            same(batch, frame, place, since)


@named("rule", ODD, ids=lambda rule: type(rule).__name__)
def test_a_cache_of_some_of_the_series_gives_each_its_own_statistics(rule):
    """From the first bucket on a rule shares what it has made of all the series: not with those that are left to make."""
    index, values = mixed(length(rule, "1h"), "1h")
    whole, known = [rule.band(pd.Series(row, index)) for row in values], {}
    rule.bands(SeriesGrid.at(index, values[:1], "UTC", 0, known))
    batch = rule.bands(SeriesGrid.at(index, values, "UTC", 0, known))
    for place in range(3):
        same(batch, whole[place], place, 0)
