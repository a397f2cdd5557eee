"""Fixed limits: verdicts, scores, and what a person is told of a whole episode."""

import math
import re
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from alerting import messages
from alerting.backtest.replay import replay_judged
from alerting.detectors import Above, Below, Outside, judge
from alerting.model.metric import Metric, Policy
from alerting.model.verdict import EventKind, Status, Verdict
from alerting.store.codec import from_json, from_row, to_json, to_row
from tests.texts import plain, plain_spaces, reader

INF, NAN = float("inf"), float("nan")
STEP = timedelta(minutes=15)
LIMITS = [Above(100), Below(0.5), Outside(low=0.5, high=100)]


def metric(rule, form="number", width=1.0, **policy):
    title, policy = {"en": "Latency", "ru": "Задержка"}, Policy(**policy)
    return Metric("latency", title, "q", lambda c: c.m, rule, policy, form=form, width=width)


def series(*numbers):
    return pd.Series(numbers, pd.date_range("2026-11-20T09:00Z", periods=len(numbers), freq=STEP), dtype=float)


def judged(values, rule, **more):
    return judge(values, rule.band(values), metric(rule, **more))


@pytest.mark.parametrize(
    ("rule", "scores"),
    [
        (Above(100), {130: 1.3, 200: 2, 100: 1, 50: 0.5, 0: 0, -1e9: 0, 1e9: 1000}),
        (Above(-5), {-4: 1.2, 0: 2, -5: 1, -10: 0, -100: 0}),
        (Above(0), {1e-9: 1000, 3: 1000, 0: 0, -3: 0}),  # zero has no size: how far beyond cannot be said
        (Below(0.5), {0.4: -1.2, 0: -2, 0.5: -1, 0.75: -0.5, 1: 0, 1e9: 0}),
        (Below(-5), {-6: -1.2, -5: -1, -4: -0.8, 0: 0, 7: 0}),
        (Below(0), {-1: -1000, 0: 0, 5: 0}),
        (Outside(low=0.5, high=100), {0: -2, 0.5: -1, 50.25: 0.0, 100: 1, 149.75: 2}),  # half the band is 49.75
        (Outside(low=0.9, high=1.0), {0.85: -2, 0.9: -1, 0.95: 0, 1.0: 1, 1.05: 2}),  # half the band is less than a limit
        (Outside(low=0, high=10), {-5: -2, 0: -1, 2.5: -0.5, 10: 1, 15: 2}),
        (Outside(low=-3, high=-1), {-4: -2, -3: -1, -2: 0, 0: 2}),
    ],
    ids=repr,
)
def test_the_score_is_one_at_a_limit_and_the_other_side_never_fires(rule, scores):
    answer = judged(series(*scores), rule)
    assert answer["score"].tolist() == pytest.approx([*scores.values()], abs=1e-12)
    assert answer["status"].tolist() == ["anomalous" if abs(score) > 1 else "normal" for score in scores.values()]
    assert answer["rule"].tolist() == ["limit" if abs(score) > 1 else "" for score in scores.values()]


@pytest.mark.parametrize("rule", LIMITS, ids=repr)
def test_no_width_and_no_smallest_change_moves_a_limit(rule):
    values = series(*np.linspace(-10, 210, 400), NAN)
    plain_ones = judged(values, rule)
    for more in ({"width": 1e6}, {"width": 0.01}, {"min_change": 9.0}, {"min_units": 1e6}):
        pd.testing.assert_frame_equal(judged(values, rule, **more), plain_ones, check_exact=True)
    low, high = rule.limits()
    assert set(plain_ones["low"]) == {low}
    assert set(plain_ones["high"]) == {high}
    assert plain_ones["expected"].isna().all()
    outside = (values < low) | (values > high)
    assert ((plain_ones["status"] == "anomalous") == outside).all()
    assert 0 < outside.sum() < 400


@pytest.mark.parametrize("rule", LIMITS, ids=repr)
def test_it_judges_the_first_bucket_alone(rule):
    assert rule.history == timedelta(0)
    beyond = 0.1 if rule.limits()[0] > -INF else 101
    assert judged(series(beyond), rule)["status"].tolist() == ["anomalous"]
    assert judged(series(50), rule)["status"].tolist() == ["normal"]


def test_the_direction_and_the_volume_of_a_policy_still_hold():
    values = series(0.1, 50, 130)
    rule = Outside(low=0.5, high=100)
    assert judged(values, rule, direction="up")["status"].tolist() == ["normal", "normal", "anomalous"]
    assert judged(values, rule, direction="down")["status"].tolist() == ["anomalous", "normal", "normal"]
    ratio, volume = metric(Below(0.5), form="ratio", min_volume=100), series(99, 100, 100)
    answer = judge(series(0.1, 0.1, 0.6), Below(0.5).band(values), ratio, volume)
    assert answer["status"].tolist() == ["unknown", "anomalous", "normal"]


@pytest.mark.parametrize("scale", [10, 0.001])
def test_values_and_limits_in_another_unit_have_the_same_scores(scale):
    values = series(*np.random.default_rng(0).lognormal(4, 1, 300))
    for rule, scaled in ((Above(90), Above(90 * scale)), (Outside(20, 90), Outside(20 * scale, 90 * scale))):
        np.testing.assert_allclose(judged(values * scale, scaled)["score"], judged(values, rule)["score"], atol=1e-12)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Above(INF), "Above: limit=inf must be a finite number"),
        (lambda: Below(NAN), "Below: limit=nan must be a finite number"),
        (lambda: Outside(low=5, high=5), "Outside: low=5 must be less than high=5"),
        (lambda: Outside(low=-INF, high=5), "both finite numbers"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(make, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        make()


def replayed(rule, *numbers, **policy):
    """Return the events of all buckets, the first of which begins at 9:00 UTC."""
    values, watched = series(*numbers), metric(rule, **policy)
    answer = judge(values, rule.band(values), watched)
    start, end = values.index[0].to_pydatetime(), (values.index[-1] + STEP).to_pydatetime()
    return replay_judged([watched], {"latency": answer}, start, end).events


def texts(events, rule, language, form="number"):
    """Return the lines of each event's message, composed as its bucket ends."""
    watched, out = metric(rule, form), []
    for event in events:
        here = reader(language, now=event.bucket + STEP, run_link="", owner="")
        message = messages.compose(event, messages.MessageContext(watched, here))
        out.append(plain_spaces(plain(message.text)).splitlines())
    return out


def told(event):
    return event.kind.value, f"{event.bucket:%H:%M}"


def test_an_episode_is_that_of_any_detector():
    """It opens at once, gets worse as the excess grows by half, reminds, stays open over a gap and needs two normal buckets."""
    seen = 60, 130, 135, 146, 140, NAN, NAN, 150, 90, 120, 100, 99, 60
    events = replayed(Above(100), *seen, remind=timedelta(hours=1))
    assert [told(event) for event in events] == [
        ("opened", "09:15"),
        ("worsened", "09:45"),
        ("no data", "10:30"),
        ("data back", "10:45"),
        ("resolved", "11:45"),
    ]
    last = events[-1].episode
    assert (last.worst.value, last.worst.score, last.lost) == (150, 1.5, 0.0)  # a limit does not tell what was lost
    assert math.isnan(last.worst.expected)


def test_a_value_beyond_the_other_limit_is_no_worse():
    """Each value is compared with the limit that it passed."""
    kinds = [event.kind for event in replayed(Outside(low=0.5, high=100), 50, 130, 0.4, 0.1, 135, 50, 50)]
    assert kinds == [EventKind.OPENED, EventKind.RESOLVED]


@pytest.mark.parametrize(
    ("language", "opened", "worse", "over"),
    [
        (
            "en",
            ["🟡 Latency 130 · 12:15–12:30, expected ≤ 100", "Beyond a limit that is set by hand"],
            ["🟡 Latency 160 (was 130) · 12:30–12:45", "160, expected ≤ 100 (+60)"],
            ["Worst 160 at 12:30"],
        ),
        (
            "ru",
            ["🟡 Задержка 130 · 12:15–12:30, ожидалось ≤ 100", "За пределом, который задан вручную"],
            ["🟡 Задержка 160 (было 130) · 12:30–12:45", "160, ожидалось ≤ 100 (+60)"],
            ["Максимум отклонения: 160 в 12:30"],
        ),
    ],
)
def test_messages_name_the_limit_and_no_expected_value(language, opened, worse, over):
    rule = Above(100)
    first, second, last = texts(replayed(rule, 60, 130, 160, 60, 61), rule, language)
    first, second, last = ([re.sub(r"\b(Fri|[Пп]т) ", "", line) for line in lines] for lines in (first, second, last))
    assert (first, second[:2], last[1:2]) == (opened, worse, over)


@pytest.mark.parametrize(
    ("rule", "form", "value", "said"),
    [
        (Below(0.5), "ratio", 0.4, ("🟡 Latency 40.0 % · ", ", expected ≥ 50.0 %")),
        (Below(0.5), "ratio", 0.0, ("🔴 Latency 0 % · ", ", expected ≥ 50.0 %")),
        (Outside(low=0.5, high=100), "count", 0, ("🔴 Latency 0 · ", ", expected 0.5–100")),
        (Outside(low=0.5, high=100), "count", 120, ("🟡 Latency 120 · ", ", expected 0.5–100")),
        (Above(0), "count", 3, ("🔴 Latency 3 · ", ", expected ≤ 0")),
        (Above(-5), "number", -3, ("🟡 Latency −3 · ", ", expected ≤ −5")),
    ],
)
def test_the_first_line_of_an_alert(rule, form, value, said):
    (lines,) = texts(replayed(rule, value), rule, "en", form)
    assert lines[0].startswith(said[0])
    assert lines[0].endswith(said[1])
    assert ("Really zero: data did arrive" in lines) == (value == 0)


def test_a_stored_verdict_keeps_a_limit_that_does_not_exist():
    verdict = Verdict("latency", series(1).index[0].to_pydatetime(), Status.ANOMALOUS, 130.0, -INF, NAN, 100.0, 1.3, "limit")
    for back in (from_row(Verdict)(*to_row(verdict)), from_json(Verdict)(to_json(verdict))):
        assert (back.low, back.high, back.residual, back.change) == (-INF, 100.0, 30.0, 0.3)
        assert back.reference == 100.0
    within = replace(verdict, value=99.0)
    assert math.isnan(within.reference)
    assert math.isnan(replace(verdict, low=NAN, high=NAN).reference)  # nothing is known
