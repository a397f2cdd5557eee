"""Injected faults, scores, budgets and power, which the studies use. Every replay runs the live steps."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting import metric_values
from alerting.backtest import power as backtest_power
from alerting.backtest.budget import (
    WidthCurve,
    choose_widths,
    extrapolate_counts,
    false_openings,
    parse_budget,
    poisson_upper,
    propose_widths,
    replay_at,
    weekly_cost,
    width_curves,
)
from alerting.backtest.power import (
    Fault,
    default_faults,
    detection_power,
    inject_all_metrics,
    power_table,
    recall_by_kind,
    smallest_found,
)
from alerting.backtest.replay import BacktestData, KnownSpan
from alerting.backtest.score import (
    best_widths,
    score_alerts,
    sweep_widths,
)
from alerting.detectors.bands import IQR, MAD, Quantile, Sigma
from alerting.detectors.baselines import Change, SameSlot, Trailing
from alerting.detectors.limits import Above
from alerting.metrics import RULE
from alerting.model.errors import SettingsError
from alerting.model.metric import Metric, Policy
from alerting.model.verdict import Episode, EventKind
from alerting.pipeline.advance import fold_episodes
from alerting.pipeline.context import DueBuckets
from alerting.pipeline.judged import judge_series, verdicts

STEP = timedelta(minutes=15)
START = datetime(2026, 11, 2, tzinfo=UTC)  # a Monday
NAIVE = START.replace(tzinfo=None)
DAY, HOUR, WEEK = timedelta(days=1), timedelta(hours=1), timedelta(weeks=1)


def grid(days, step=STEP, start=START):
    return pd.date_range(start, start + timedelta(days=days) - step, freq=step)


def rhythmic(days, seed=0, noise=0.03, start=START, step=STEP, level=1000.0):
    """A daily rhythm with noise."""
    index = grid(days, step, start)
    wave = level * (1 + 0.3 * np.sin(2 * np.pi * (index.hour * 60 + index.minute).to_numpy() / 1440))
    return pd.Series(wave * np.random.default_rng(seed).normal(1, noise, len(index)), index)


def metric(name="a", rule=None, **more):
    return Metric(name, {"en": name}, name, metric_values.count("value"), rule or IQR(k=3, over=SameSlot(days=7)), **more)


# faults


@pytest.mark.parametrize(
    ("kind", "depth", "told"),
    [
        ("drop", -0.3, [10, 7, 14, np.nan, 7, 10]),
        ("outage", None, [10, 0, 0, np.nan, 0, 10]),
        ("spike", 0.5, [10, 15, 30, np.nan, 15, 10]),
        ("ramp", -0.4, [10, 9, 16, np.nan, 6, 10]),
        ("level shift", -0.5, [10, 5, 10, np.nan, 5, 5]),
        ("missing", None, [10, np.nan, np.nan, np.nan, np.nan, 10]),
        ("duplicates", None, [10, 20, 40, np.nan, 20, 10]),
    ],
)
def test_each_kind_of_fault_does_exactly_this_and_keeps_noise_and_gaps(kind, depth, told):
    values = pd.Series([10, 10, 20, np.nan, 10, 10.0], grid(1)[:6])
    hurt = backtest_power.inject(values, Fault(kind, START + STEP, HOUR, depth))
    np.testing.assert_allclose(hurt, told)
    assert values.tolist()[:3] == [10, 10, 20]  # the original stays


def test_a_fault_of_a_negative_value_moves_down_when_it_drops():
    values = pd.Series([-10.0, -10.0], grid(1)[:2])
    assert backtest_power.inject(values, Fault("drop", START, STEP, -0.5)).tolist() == [-15, -10]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"kind": "flood"}, "must be one of drop"),
        ({"kind": "drop", "depth": 0.3}, "is not a drop"),
        ({"kind": "drop", "depth": -1.5}, "is not a drop"),
        ({"kind": "spike", "depth": -0.5}, "is not a spike"),
        ({"kind": "outage", "depth": -0.5}, "no other depth"),
        ({"kind": "drop", "length": timedelta()}, "above 0"),
        ({"kind": "drop", "start": NAIVE}, "needs a time zone"),
    ],
)
def test_an_impossible_fault_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        Fault(**{"kind": "drop", "start": START, "length": HOUR} | given)


def test_scattered_faults_are_apart_and_follow_the_seed():
    kinds = [("drop", 2 * HOUR, -0.3), ("outage", HOUR, None), ("ramp", 6 * HOUR, None)] * 4
    one, same, other = (backtest_power.scattered(START, START + 2 * WEEK, kinds, seed) for seed in (1, 1, 2))
    assert one == same != other
    assert all(a.end + HOUR < b.start for a, b in pairwise(one))
    assert sorted(f.kind for f in one) == sorted(kind for kind, *_ in kinds)
    with pytest.raises(ValueError, match="does not fit"):
        backtest_power.scattered(START, START + DAY, [("ramp", DAY, None)])


# score


def replayed(values, policy=None, days=8):
    """A replay of the last day of `values`, put over a flat past of 100."""
    flat = pd.Series(100.0, grid(days))
    flat.iloc[-len(values) :] = values
    start, end = START + timedelta(days=days - 1), flat.index[-1] + STEP
    return BacktestData([metric(policy=policy or Policy())], {"a": flat}, start, end).replay_all()


def test_score_counts_what_reaches_a_person():
    day = np.full(96, 100.0)
    day[[10, 11, 40, 70]] = 10  # an event, a false alert, and one found early
    first = START + 7 * DAY
    events = [
        KnownSpan(first + 10 * STEP, first + 12 * STEP),
        KnownSpan(first + 71 * STEP, first + 73 * STEP),
        KnownSpan(first + 90 * STEP, first + 91 * STEP),
    ]
    got = score_alerts(replayed(day), events)
    assert (got.events, got.found, got.false) == (3, 1, 2)  # the early one is false
    assert got.delays == (timedelta(),)
    assert got.weeks == pytest.approx(1 / 7)
    figures = {"recall": 1 / 3, "precision": 1 / 3, "F1": 1 / 3, "false a week": 14, "delay, min": 0, "events": 3}
    assert got.row() == pytest.approx(figures)


def test_recovery_and_what_is_ignored():
    day = np.full(96, 100.0)
    day[[12, 13, 40]] = 10
    first = START + 7 * DAY
    event = [KnownSpan(first + 10 * STEP, first + 11 * STEP)]
    late = score_alerts(replayed(day), event)
    assert (late.found, late.false) == (0, 1)  # within the hour after: neither found nor false
    assert score_alerts(replayed(day), event, [KnownSpan(first + 40 * STEP, first + 41 * STEP, ("a",))]).false == 0
    assert score_alerts(replayed(day), event, [KnownSpan(first + 40 * STEP, first + 41 * STEP, ("b",))]).false == 1


def test_reminders_cost_and_gaps_do_not():
    day = np.full(96, 100.0)
    day[10:40] = 10
    assert score_alerts(replayed(day), []).false == 2  # opened, and a reminder after six hours
    day = np.full(96, 100.0)
    day[10:40] = np.nan
    assert score_alerts(replayed(day), []).false == 0
    found = score_alerts(replayed(day), [Fault("missing", START + 7 * DAY + 10 * STEP, HOUR).span("a")])
    assert (found.found, found.row()["delay, min"]) == (1, 15)


def test_a_gap_of_hours_is_one_incident_of_a_replay():
    """Its reminders were rows of their own, without a time."""
    day = np.full(96, 100.0)
    day[10:60] = np.nan
    replay = replayed(day)
    assert EventKind.REMINDER in {event.kind for event in replay.events}
    assert replay.incidents()["what"].tolist() == ["no data"]


def test_events_of_other_metrics_and_times_do_not_count():
    got = score_alerts(
        replayed(np.full(96, 100.0)), [KnownSpan(START, START + HOUR), KnownSpan(START + 7 * DAY, START + 8 * DAY, ("b",))]
    )
    assert got.events == 0
    assert np.isnan([got.row()["recall"], got.row()["delay, min"]]).all()


def test_a_span_is_aware_and_ends_after_it_begins():
    with pytest.raises(ValueError, match="ends before"):
        KnownSpan(START, START)
    with pytest.raises(ValueError, match="aware"):
        KnownSpan(NAIVE, START)


# compare


@pytest.fixture(scope="module")
def hurt():
    """Two metrics over five weeks, the last two hurt by the usual faults."""
    series = {"a": rhythmic(35, 1), "b": rhythmic(35, 2, noise=0.06)}
    past = BacktestData([metric("a"), metric("b")], series, START + 3 * WEEK, START + 5 * WEEK)
    faults = default_faults(past, seed=3)
    return inject_all_metrics(past, faults), faults


RULES = {
    "IQR, same time": IQR(over=SameSlot(days=14)),
    "Sigma, same time": Sigma(over=SameSlot(days=14)),
    "IQR, 24 h": IQR(over=Trailing()),
}


def test_a_sweep_pools_the_metrics_and_the_best_width_is_among_them(hurt):
    past, faults = hurt
    events = [fault.span() for fault in faults]
    wide = sweep_widths(past, events, RULES, [0.5, 1.0, 2.0])
    table = sweep_widths(past, events, RULES, [1.0]).droplevel("width")
    pd.testing.assert_frame_equal(table, wide.xs(1.0, level="width"))
    assert list(table.loc["IQR, same time"].index) == ["a", "b", "all"]
    assert table.loc[("IQR, same time", "all"), "events"] == 2 * len(faults)
    assert table.loc[("IQR, same time", "all"), "recall"] > table.loc[("IQR, 24 h", "all"), "recall"]
    best = best_widths(wide)
    assert best["F1"].is_monotonic_decreasing
    assert (best["F1"] >= wide.xs("all", level="metric").xs(1.0, level="width")["F1"].reindex(best.index) - 1e-12).all()
    assert best_widths(wide, most=-1).empty
    kinds = recall_by_kind(past, faults, {name: (RULES[name], best.loc[name, "width"]) for name in best.index[:2]})
    assert kinds.loc["outage, 1 h"].tolist() == [1.0, 1.0]
    assert set(kinds.index) == {fault.label for fault in faults}


def test_faults_keep_away_from_what_is_known():
    past = BacktestData([metric("a")], {"a": rhythmic(14)}, START, START + 2 * WEEK)
    faults = default_faults(past)
    known = [faults[2].span("a")]
    assert faults[2] not in default_faults(replace(past, known=known))
    assert len(default_faults(replace(past, known=known))) == len(faults) - 1


# budget


@pytest.mark.parametrize(
    ("text", "rate"),
    [("2 a week", 2), ("1 a month", 0.23), ("0.5 per week", 0.5), (" 2 false alerts a week ", 2), ("1 alert a day", 7)],
)
def test_a_budget_is_read(text, rate):
    assert parse_budget(text) == pytest.approx(rate, abs=0.001)


@pytest.mark.parametrize(
    "text", ["", "2", "two a week", "2 a fortnight", "-1 a week", "0 a week", "2 a week or so", "1e3 a week", "a week"]
)
def test_any_other_budget_is_refused_by_name(text):
    with pytest.raises(SettingsError, match=r"write a number above 0 and a time, such as '2 a week'"):
        parse_budget(text)


def test_the_upper_limit_is_poissons():
    assert [round(poisson_upper(n), 2) for n in (0, 1, 7)] == [2.30, 3.89, 11.77]  # the usual tables


def curve(counts, seen=1.0):
    widths = [0.5, 1.0, 2.0]
    told = pd.DataFrame([[count] * 4 for count in counts], index=widths)
    return WidthCurve(metric(), pd.DataFrame(), told, pd.Series(seen, range(4)))


def test_a_width_is_the_smallest_that_is_quiet_enough_and_never_trusts_luck():
    assert curve([4, 2, 0]).width(10, range(4)) == 0.5
    assert 0.9 <= curve([4, 2, 0]).width(2.01, range(4)) < 2.0
    assert 1.0 < curve([4, 2, 0]).width(1, range(4)) < 2.0
    assert curve([4, 2, 2]).width(0.5, range(4)) == 2.0  # none is wide enough: the widest
    assert curve([4, 0, 2]).rates(range(4))[1] >= 2  # a wider one told more: chance
    assert curve([0, 0, 0]).width(0.0, range(4)) == 0.5


def test_the_tail_falls_evenly_and_is_fitted():
    widths = np.linspace(0.5, 2, 6)
    fitted = extrapolate_counts(widths, np.round(100 * np.exp(-3 * widths)))
    np.testing.assert_allclose(fitted[fitted > 0], (100 * np.exp(-3 * widths))[fitted > 0], rtol=0.2)
    assert extrapolate_counts(widths, np.zeros(6)).tolist() == [0] * 6
    assert np.isfinite(extrapolate_counts(widths, np.array([5.0, 0, 0, 0, 0, 0]))).all()


@pytest.fixture(scope="module")
def clean():
    """Three metrics of seven weeks, of which the last four are replayed; one of them is three times as noisy."""
    series = {name: rhythmic(49, seed, noise) for seed, (name, noise) in enumerate({"a": 0.03, "b": 0.03, "c": 0.09}.items())}
    past = BacktestData([metric(name) for name in series], series, START + 3 * WEEK, START + 7 * WEEK)
    return past, width_curves(past, widths=np.geomspace(0.4, 3, 8).round(2))


@pytest.mark.parametrize("text", ["1 a week", "3 a week", "1 a day"])
def test_the_chosen_widths_keep_to_the_budget_and_spend_it(clean, text):
    past, made = clean
    plan = choose_widths(past, made, parse_budget(text))
    assert plan.holds
    assert plan.rate <= plan.budget
    assert f"at most {poisson_upper(plan.alerts) / 4:.2g} (upper 90 % limit" in plan.words()
    replay = plan.applied_to(past).replay_all()
    assert sum(event.kind is EventKind.OPENED for event in replay.events) == plan.alerts
    assert plan.table["weeks judged"].tolist() == pytest.approx([4, 4, 4])
    assert 0.3 < plan.widths["c"] / plan.widths["a"] < 3  # a width is relative: the noisier metric's band is wider by itself


def test_a_larger_budget_never_widens(clean):
    past, made = clean
    small, large = (choose_widths(past, made, rate) for rate in (1, 7))
    assert sum(large.widths.values()) < sum(small.widths.values())
    assert large.alerts >= small.alerts


def test_a_budget_that_so_few_weeks_cannot_promise_is_said(clean):
    past, made = clean
    plan = choose_widths(past, made, parse_budget("1 a month"))
    assert not plan.holds
    assert not plan.exceeded
    assert (
        "These widths kept to 0.23 false alerts a week; so few weeks cannot promise that they will: 0 were told" in plan.words()
    )
    assert plan.alerts == 0  # the best there is
    assert max(plan.widths.values()) < 3  # the tails of the curves say so, not the widest width there is


def test_widths_that_keep_to_the_budget_stay(clean):
    past, made = clean
    counted = sum(event.kind is EventKind.OPENED for event in past.replay_all().events)
    assert counted > 0
    plan = choose_widths(past, made, counted / 4)
    assert not plan.exceeded
    assert plan.moved == {}
    assert plan.alerts == counted
    assert plan.words().startswith("Nothing to change: the widths as they are kept to ")
    assert choose_widths(past, made, counted).words().startswith("Nothing to change: the widths as they are keep to ")
    assert choose_widths(past, made, counted / 4 - 0.01).moved != {}


def with_widths(clean, pinned=(), **widths):
    """The same past, its metrics with these widths, and their curves, which do not depend on the present widths."""
    past, made = clean
    metrics = {m.name: replace(m, width=widths[m.name]) for m in past.metrics}
    curves = {name: replace(curve, metric=metrics[name], pinned=name in pinned) for name, curve in made.items()}
    return replace(past, metrics=list(metrics.values())), curves


def test_curves_do_not_depend_on_the_present_widths_and_know_what_is_pinned(clean):
    past, made = clean
    wide = replace(past, metrics=[replace(m, width=2.0) for m in past.metrics])
    curves = width_curves(wide, widths=made["a"].alerts.index[:2], pinned=["b"])
    assert [name for name, curve in curves.items() if curve.pinned] == ["b"]
    for name, curve in curves.items():
        pd.testing.assert_frame_equal(curve.alerts, made[name].alerts.iloc[:2])


def test_where_the_budget_is_exceeded_only_the_loud_become_wider_and_none_narrower(clean):
    plan = choose_widths(*with_widths(clean, a=0.4, b=1.0, c=2.5), 2, narrower=["a", "b", "c"])
    assert plan.widths["a"] > 0.4
    assert plan.widths["c"] == 2.5
    assert not plan.exceeded
    assert all(width >= plan.table["width now"][name] for name, width in plan.widths.items())


def test_a_pinned_width_stays_and_its_alerts_are_the_budgets(clean):
    loud = {"a": 0.7, "b": 0.7, "c": 0.7}
    free, pinned = (choose_widths(*with_widths(clean, names, **loud), 8) for names in ([], ["a"]))
    assert (free.exceeded, pinned.exceeded) == (False, False)
    assert free.widths["a"] > 0.7
    assert pinned.widths["a"] == 0.7
    assert pinned.table["incidents told"]["a"] > free.table["incidents told"]["a"]
    assert pinned.widths["b"] > free.widths["b"]  # what it spends is not there for the others
    hopeless = choose_widths(*with_widths(clean, ["a", "b", "c"], **loud), 1)
    assert hopeless.moved == {}
    assert hopeless.words().startswith("These widths do NOT keep to 1 false alerts a week: ")


def test_narrower_widths_are_proposed_only_where_they_clearly_find_more(clean):
    blunt, curves = with_widths(clean, a=3.0, b=3.0, c=3.0)
    plan, power = propose_widths(blunt, curves, 3, lambda past: detection_power(past, (0.1, 0.2, 0.4, 0.6), times=4))
    assert set(plan.moved) == set(plan.finds) != set()
    assert not plan.exceeded
    for name, (before, after) in plan.finds.items():
        assert plan.widths[name] <= 2.0
        assert smallest_found(power)["day, 1 h"][name] == after
        assert np.isnan(before) or after <= before * 2 / 3 + 1e-9
        assert f" {name} finds drops from {after:.0%} on, " in plan.words()

    same_power = detection_power(blunt, (0.1, 0.6), times=1)

    def finds_nothing_more(past):
        return same_power[same_power["metric"].isin([m.name for m in past.metrics])]

    same, _ = propose_widths(blunt, curves, 3, finds_nothing_more)
    assert same.moved == same.finds == {}
    kept, _ = propose_widths(*clean, 2, lambda past: detection_power(past, (0.1, 0.6), times=1))
    assert kept.moved == {}  # widths a little narrower would keep to it too: that is not worth a change


def test_related_metrics_are_counted_as_a_run_judges_them_together(clean):
    past, _ = clean
    wave = 1 - 0.11 * ((np.arange(len(past.series["a"])) // 8) % 40 == 0)
    series = {name: values * wave for name, values in past.series.items()}
    tree = replace(past, series=series, metrics=[replace(m, parents=("a",) if m.name != "a" else ()) for m in past.metrics])
    bands = {m.name: tree.band(m) for m in tree.metrics}
    together = replay_at(tree, bands, {})
    assert repr(together.events) == repr(tree.replay_all().events)
    alone = [event for m in tree.metrics for event in tree.replay(m, bands[m.name]).events]
    assert len(together.events) > len(alone)


def test_one_metric_alone_is_judged_by_the_volume_of_its_ratio(clean):
    """Without it every bucket of a ratio was "too few": the studies found none of its faults."""
    past, _ = clean
    ratio = replace(past.metrics[0], form="ratio", policy=Policy(min_volume=1e6))
    past = replace(past, metrics=[ratio], volumes={ratio.name: 0 * past.series[ratio.name] + 2e6})
    assert {str(v.status) for v in past.replay(ratio, past.band(ratio)).verdicts} <= {"normal", "anomalous"}


def test_a_false_alert_days_before_a_known_incident_is_counted(clean):
    past, _ = clean
    values = past.series["a"].copy()
    for days in (8, 11, 15):
        values.loc[START + 3 * WEEK + days * DAY] = 1.0
    known = [KnownSpan(START + 3 * WEEK + 15 * DAY, START + 3 * WEEK + 15 * DAY + HOUR, ("a",))]
    one = replace(past, metrics=past.metrics[:1], series={"a": values}, known=known)
    found = [event.bucket for event in false_openings(one, replay_at(one, {"a": one.band(one.metrics[0])}, {"a": 2.0}))]
    assert found == [START + 3 * WEEK + days * DAY for days in (8, 11)]


def test_what_is_known_is_not_counted_nor_are_its_buckets(clean):
    past, _ = clean
    broken = {"a": past.series["a"].copy()}
    at = START + 4 * WEEK
    broken["a"].loc[at : at + 10 * HOUR : 6] = 1.0  # many episodes
    loud = replace(past, metrics=past.metrics[:1], series=broken)
    known = replace(loud, known=[KnownSpan(at, at + 11 * HOUR, ("a",))])
    other = replace(loud, known=[KnownSpan(at, at + 11 * HOUR, ("b",))])
    counted, quiet, not_mine = (width_curves(p, widths=[2.0])["a"] for p in (loud, known, other))
    assert counted.alerts.sum(axis=1).item() >= 5
    assert quiet.alerts.sum(axis=1).item() == 0
    assert not_mine.alerts.sum(axis=1).item() == counted.alerts.sum(axis=1).item()
    assert counted.judged.sum() - quiet.judged.sum() == pytest.approx(12 * HOUR / WEEK)  # an hour more: the way back


def test_a_metric_with_too_little_past_keeps_its_width(clean):
    past, _ = clean
    series = dict(past.series) | {"b": past.series["b"].where(past.series["b"].index >= past.end - DAY)}
    young = replace(past, series=series)
    plan = choose_widths(young, width_curves(young, widths=[0.5, 1, 2]), 2)
    assert plan.widths["b"] == 1.0
    assert "b" not in plan.moved

    # Few alerts in its few days are no high rate, and no reason to leave the others loud
    series["b"] = past.series["b"].where(past.series["b"].index >= past.end - 6 * DAY)
    series["b"].iloc[[-200, -100, -40]] = 1.0
    noisy = replace(past, series=series, metrics=[replace(m, width=1.0 if m.name == "b" else 0.7) for m in past.metrics])
    plan = choose_widths(noisy, width_curves(noisy, widths=[0.5, 0.7, 1, 1.5, 2]), 4)
    assert plan.table.loc["b", "incidents told"] >= 1
    assert plan.table.loc["b", "a week"] > 4
    assert set(plan.moved) == {"a", "c"}
    assert not plan.exceeded


def test_a_metric_with_fixed_limits_keeps_its_width(clean):
    """No width moves its limits, so none can bring its alerts into a budget."""
    past, _ = clean
    (b,) = [metric for metric in past.metrics if metric.name == "b"]
    for others in ([metric for metric in past.metrics if metric.name != "b"], []):
        limited = replace(past, metrics=[*others, replace(b, rule=Above(float(past.series["b"].quantile(0.99))))])
        curves = width_curves(limited, widths=[0.5, 1, 2])
        plan = choose_widths(limited, curves, 2)
        assert (plan.widths["b"], "b" in plan.moved) == (1.0, False)
        told = curves["b"].alerts.sum(axis=1)
        assert told.iloc[0] > 0
        assert told.nunique() == 1


def test_cost_adds_up_by_week(clean):
    past, made = clean
    plan = choose_widths(past, made, 3)
    table = weekly_cost(past, made, plan)
    assert len(table) == 4
    assert table["false chosen"].sum() == plan.alerts
    assert table["false now"].sum() == sum(c.kind is EventKind.OPENED for c in past.replay_all().events)
    assert (table["messages"] >= table["false chosen"]).all()
    assert table["false unseen"].notna().all()


# power


def test_power_grows_with_the_drop_and_is_certain_of_the_deepest():
    series = {"a": rhythmic(35, 5)}
    past = BacktestData([metric("a")], series, START + 3 * WEEK, START + 5 * WEEK, "Europe/Moscow")
    table = detection_power(past, depths=(0.0, 0.05, 0.15, 0.6), times=12)
    for _, cell in table.groupby("part"):
        assert cell["within 1 h"].is_monotonic_increasing
        assert cell["within 15 min"].is_monotonic_increasing
        assert (cell["within 15 min"] <= cell["within 1 h"]).all()
        assert cell["within 1 h"].iloc[-1] == 1.0
        assert cell["within 1 h"].iloc[0] <= 0.2  # chance
    smallest = smallest_found(table)
    assert smallest.loc["a", "day, 1 h"] in (0.15, 0.6)
    assert np.isnan(smallest_found(table[table["drop"] < 0.1]).loc["a", "day, 1 h"])
    assert power_table(table).loc[("a", "day"), "-60%"] == "100 / 100"


@pytest.mark.parametrize(
    ("rule", "more"),
    [(IQR(over=Change()), {}), (RULE, {}), (RULE, {"form": "ratio", "policy": Policy(min_volume=400)})],
    ids=["plain", "default", "ratio"],
)
def test_power_is_what_a_replay_of_the_whole_past_would_have_told(rule, more):
    series, volume = rhythmic(49, 6), rhythmic(49, 7, level=500)
    past = BacktestData(
        [metric("a", rule, **more)], {"a": series}, START + 6 * WEEK, START + 7 * WEEK, "Europe/Berlin", volumes={"a": volume}
    )
    from alerting.backtest.power import _delays, _known_nights, _moments

    depths, cache, found = (0.0, 0.1, 0.2, 0.5), _known_nights(past, past.metrics[0]), []
    assert len(cache) > 0 or rule != RULE
    midnight = pd.Timestamp(START + 6 * WEEK + 2 * DAY - timedelta(hours=1, minutes=30))  # a night within the hour
    for at in [*_moments(past, past.metrics[0], "day", 5, 0), midnight]:
        delays = _delays(past, past.metrics[0], at, depths, cache)
        for depth, delay in zip(depths, delays, strict=True):
            fault = Fault("drop", at.to_pydatetime(), HOUR, -depth)
            hurt = backtest_power.inject(series, fault) if depth else series
            whole = replace(past, series={"a": hurt}, start=fault.start).replay_all()
            told = [e.bucket for e in whole.events if e.kind is EventKind.OPENED and e.bucket < fault.end]
            assert (told[0] - fault.start) / STEP == delay if told else delay == float("inf")
            found.append(delay)
    assert len(set(found)) > 1


# parity: live, bucket by bucket, is the replay


@pytest.mark.parametrize(
    "rule",
    [
        RULE,
        IQR(over=SameSlot(days=2)),
        Sigma(over=Trailing(hours=12)),
        Quantile(over=SameSlot(days=3, near=0)),
        MAD(over=Change(days=3)),
    ],
    ids=lambda rule: f"{type(rule).__name__} {type(getattr(rule, 'over', rule)).__name__}",
)
@given(data=st.data())
@settings(max_examples=4, deadline=None)
def test_live_bucket_by_bucket_equals_the_replay_bit_for_bit(rule, data):
    step = timedelta(hours=1)
    watched = metric(rule=rule, step=step, policy=Policy(need=1, window=2, recover=2, patience=2))
    values = rhythmic(12, data.draw(st.integers(0, 999), "seed"), noise=0.1, step=step).round(2)
    for _ in range(data.draw(st.integers(0, 4), "gaps")):
        at = data.draw(st.integers(0, len(values) - 1), "at")
        values.iloc[at : at + data.draw(st.integers(1, 30), "long")] = np.nan
    values.iloc[data.draw(st.integers(len(values) - 48, len(values) - 1), "odd")] = data.draw(
        st.sampled_from([0.0, 1e6]), "value"
    )
    first = values.index[-48].to_pydatetime()
    episodes, answers, events = {"a": Episode("a")}, [], []
    for bucket in values.index[-48:]:
        seen = {"a": judge_series(watched, values.loc[:bucket], "Europe/Moscow")}
        answer = verdicts([DueBuckets(watched, bucket.to_pydatetime(), bucket.to_pydatetime())], seen)
        episodes, happened = fold_episodes([watched], answer, episodes)
        answers, events = answers + answer, events + happened
    whole = BacktestData([watched], {"a": values}, first, values.index[-1].to_pydatetime() + step, "Europe/Moscow").replay_all()
    assert repr(answers) == repr(whole.verdicts)
    assert repr(events) == repr(whole.events)
