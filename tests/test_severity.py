"""The severity of an incident: how much is gone or how far beyond, and how many roots; never the distance to the edge."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from alerting.metrics import METRICS
from alerting.model.incident import MetricTree, RootCause, Segment, is_critical
from alerting.model.metric import Policy
from alerting.model.verdict import Status, Verdict

AT = datetime(2026, 11, 20, 12, tzinfo=UTC)
NAN, INFINITE = float("nan"), float("inf")
TREE = MetricTree(METRICS)


def verdict(name="likes", change=-0.3, status=Status.ANOMALOUS, expected=1000.0, low=950.0, high=1050.0, score=-1.1):
    return Verdict(name, AT, status, expected * (1 + change), low, expected, high, score)


def critical(*verdicts, cause=None, policy=None):
    metrics = {m.name: replace(m, policy=policy) if policy else m for m in METRICS}
    return is_critical([(metrics[v.metric], v) for v in verdicts], TREE.roots, cause)


@pytest.mark.parametrize(
    ("change", "size"),
    [(-1.0, 1.0), (-0.64, 0.64), (-0.3, 0.3), (0.0, 0.0), (1.0, 1 / 3), (2.0, 0.5), (8.0, 0.8), (INFINITE, 1.0), (NAN, NAN)],
)
def test_the_size_of_a_deviation(change, size):
    assert verdict(change=change).size == pytest.approx(size, nan_ok=True)


@pytest.mark.parametrize(
    ("value", "low", "expected", "high", "size"),
    [
        (-1500.0, -900.0, -1000.0, -1100.0, 0.5),  # a number below zero
        (35.0, 0.0, 0.0, 4.0, 31 / 39),  # nothing was expected: beyond the edge
        (3.0, -INFINITE, NAN, 0.0, 1.0),  # a limit of 0
        (130.0, -INFINITE, NAN, 100.0, 0.3 / 2.3),
        (0.1, 0.4, NAN, INFINITE, 0.75),
        (0.5, 0.4, NAN, INFINITE, NAN),  # within fixed limits
    ],
)
def test_the_size_where_there_is_no_share_of_the_expected(value, low, expected, high, size):
    assert Verdict("likes", AT, Status.ANOMALOUS, value, low, expected, high).size == pytest.approx(size, nan_ok=True)


@pytest.mark.parametrize("score", [-1.01, -2.0, -50.0, NAN])
def test_an_outage_is_critical_and_rows_that_came_twice_are_not_whatever_the_score(score):
    assert critical(verdict(change=-1.0, score=score))
    assert critical(verdict(change=-0.64, score=score))
    assert not critical(verdict(change=-0.29, score=score))
    assert not critical(verdict("views", 1.0, score=-score), verdict("likes", 1.13, score=-score))
    assert critical(verdict(change=4.0, score=-score))


def test_several_roots_at_once_are_critical_and_one_root_with_what_depends_on_it_is_not():
    feed, chat = verdict("feed_users", -0.38), verdict("messenger_users", -0.31)
    assert critical(feed, chat)
    assert critical(verdict("views", -0.2), verdict("messages", -0.2))
    assert not critical(feed, verdict("views", -0.4), verdict("likes", -0.44), verdict("ctr", -0.2))
    assert not critical(feed, verdict("messenger_users", -0.06))
    assert not critical(feed, replace(chat, status=Status.NORMAL))
    gone = [replace(v, status=Status.MISSING, value=NAN) for v in (feed, chat)]
    assert (critical(*gone), critical(gone[0])) == (True, False)


def cause(value, expected, share, **more):
    return RootCause("carried", slice=Segment(((("os", "iOS"),),), value, expected), share=share, **more)


@pytest.mark.parametrize(
    ("found", "change", "is_outage"),
    [
        (cause(0, 410, 1.05), -0.38, True),  # iOS -100 %
        (cause(5, 410, 1.05), -0.38, True),
        (cause(120, 410, 0.98), -0.28, False),  # iOS -71 %
        (cause(0, 60, 1.0), -0.06, False),  # of a small part
        (cause(0, 170, 0.61), -0.29, False),  # the rest has fallen, too
        (cause(0.0, 0.41, 1.0, effect="mix"), -0.38, False),
        (RootCause("alike"), -0.38, False),
    ],
)
def test_a_segment_that_is_gone_is_an_outage(found, change, is_outage):
    assert critical(verdict("feed_users", change), cause=found) is is_outage


def test_the_policy_of_a_metric_says_what_is_critical():
    third = verdict(change=-0.3)
    assert [critical(third, policy=Policy(critical=c)) for c in (0.2, 0.5, 2.0)] == [True, False, False]


def test_the_worst_leads_or_a_metric_above_it_that_is_at_least_half_as_far_off():
    def lead(root="", **changes):
        return TREE.lead({name: verdict(name, change) for name, change in changes.items()}, root)

    assert lead(feed_users=-0.13, likes=-1.0, ctr=-1.0) == "likes"
    assert lead("feed_users", feed_users=-0.13, likes=-1.0) == "likes"
    assert lead(feed_users=-0.38, likes=-0.44, messages=-0.52) == "feed_users"
    assert lead("views", feed_users=-0.6, views=-0.6) == "views"  # as it was
    assert lead(views=1.0, likes=-0.2) == "views"
    silent = {"likes": verdict(change=-0.39), "messages": replace(verdict("messages"), status=Status.MISSING, value=NAN)}
    assert TREE.lead(silent, "likes") == "likes"
