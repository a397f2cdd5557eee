"""The demo says of each planted incident when a run reported it, or why none did, and lists what was reported without one."""

import re
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from alerting.backtest.replay import Replay
from alerting.backtest.runs import replayed_runs
from alerting.cli.demo import (
    alerts_about,
    false_alerts,
    print_messages,
    runs_by_incident,
    summary_lines,
    watched_part,
    why_missed,
)
from alerting.model.run import Reading
from alerting.model.verdict import Status, Verdict
from alerting.notifiers.base import Console
from alerting.pipeline.context import RunContext
from alerting.pipeline.segment_watch import SegmentResult, segment_metrics
from alerting.sample.incidents import PlantedIncident
from alerting.store.state import StateStore
from tests.ledger import NoSource
from tests.pasts import END, HOUR, past

DELAY = timedelta(minutes=5)


def planted(first, last, *metrics, segment=None):
    return PlantedIncident("outage", END - first * HOUR, END - last * HOUR, metrics, segment, -0.5)


@pytest.fixture(scope="module")
def replay():
    return past().replay_all()


@pytest.fixture(scope="module")
def runs(replay):
    return reporting(replay, {})


def reporting(replay, early, **watched):
    return [run for run in replayed_runs(replay, DELAY, early, **watched) if run.changes.events]


def line(replay, runs, incident):
    return list(summary_lines(replay, runs, [incident], "UTC"))[1].replace("\N{NO-BREAK SPACE}", " ")


def test_an_incident_is_found_by_the_run_that_reports_it_while_it_lasts(replay, runs):
    text = line(replay, runs, planted(50, 46, "a", "b"))
    assert re.fullmatch(r"Tue 17 Nov 22:00  outage +4 h +everybody −50\u202f% +1 h 5 min, 1 metric", text)
    assert [at for at, _ in alerts_about(runs, planted(50, 46, "a"))] == [END - 49 * HOUR + DELAY]


def test_only_what_is_watched_can_be_found_or_missed(replay):
    """ALERTING_METRICS may name some metrics, and an incident may lie before the replay."""
    incidents = [planted(3, 1, "a", "gone"), planted(3, 1, "gone"), planted(10_000, 9_999, "a")]
    (left,) = watched_part(incidents, past())
    assert left.metrics == ("a",)
    assert why_missed(replay, left, "UTC")


def test_rows_that_end_early_are_reported_a_bucket_later(replay):
    late = reporting(replay, {replay.metrics[0].scan: [END - 50 * HOUR]})
    assert line(replay, late, planted(50, 46, "a")).endswith("2 h 5 min, 1 metric")


@pytest.mark.parametrize("incident", [planted(50, 46, "b"), planted(46, 40, "a"), planted(80, 75, "a", "b")])
def test_an_alert_about_another_metric_or_time_finds_nothing(replay, runs, incident):
    assert line(replay, runs, incident).endswith("MISSED")
    assert len(false_alerts(runs, [incident])) == 2


def test_what_goes_on_may_still_be_found(replay, runs):
    assert line(replay, runs, planted(2, -3, "a")).endswith("not yet, it goes on")


def test_alerts_without_a_planted_incident_are_false_and_shown_apart(replay, runs):
    one, both = [planted(50, 46, "a")], [planted(100, 98, "a"), planted(50, 46, "a")]
    assert [event.bucket for _, event in false_alerts(runs, one)] == [END - 100 * HOUR]
    assert "nothing was planted: FALSE, a −" in list(summary_lines(replay, runs, one, "UTC"))[-1]
    assert false_alerts(runs, both) == []
    assert [incident for incident, _ in runs_by_incident(runs, one)] == [*one, None]
    assert [incident for incident, _ in runs_by_incident(runs, both)] == both
    assert sum(len(during) for _, during in runs_by_incident(runs, one)) == len(runs)


def test_the_number_of_messages_is_that_of_the_printed_ones(replay, runs, tmp_path, capsys):
    """Those with a picture were left out."""
    with closing(StateStore(tmp_path / "alerts.sqlite")) as store:
        ctx = RunContext(replay.metrics, {}, NoSource(), store, Console(), "UTC")
        count = print_messages(ctx, runs, replay, Reading({m.name: past().series[m.name] for m in replay.metrics}), tmp_path)
    assert list(tmp_path.glob("*.png"))
    assert count == len(re.findall("^--- console-", capsys.readouterr().out, re.MULTILINE)) > 2


def test_a_watched_segment_finds_an_incident_that_hits_it(replay):
    (stand_in,) = segment_metrics([replace(replay.metrics[1], slices="alert")])

    def watch(verdicts):
        odd = [v for v in verdicts if v.metric == "b" and END - 80 * HOUR <= v.bucket < END - 76 * HOUR]
        return SegmentResult([Verdict(stand_in.name, v.bucket, Status.ANOMALOUS, 10, 40, 50, 60, -4, "os=iOS") for v in odd])

    runs = reporting(replay, {}, stand_ins=[stand_in], watch=watch)
    hit = planted(80, 76, "b", segment=("os", "iOS"))
    assert line(replay, runs, hit).endswith("2 h 5 min, its segment")
    other = planted(80, 76, "b", segment=("os", "Android"))
    assert line(replay, runs, other).endswith("MISSED")
    assert END - 79 * HOUR in [event.bucket for _, event in false_alerts(runs, [other])]


def test_what_was_missed_has_the_bucket_that_came_nearest(replay):
    text = why_missed(replay, planted(22, 18, "a", "b"), "UTC")
    assert text.startswith("a came nearest: −4")
    assert "at Thu 19 Nov 04:00, where its noise makes the band reach to −" in text
    assert "slowly" not in text


@pytest.mark.parametrize(
    ("value", "usual", "low", "said"),
    [
        (
            80,
            100,
            70,
            "It came slowly: in its second half a was −20\u202f% from the usual, but −2.4\u202f% from the expected value",
        ),
        (60, 100, 70, "a was outside its band (−27\u202f% at Thu 19 Nov 00:00), but for too short a time."),
        (80, 100, np.nan, "no bucket of it could be judged: too little history"),
    ],
)
def test_what_was_missed_has_a_reason(value, usual, low, said):
    index = pd.date_range(END - 24 * HOUR, END, freq="1h", inclusive="left")
    score = (value - 82) / (82 - low)
    frame = pd.DataFrame({"value": value, "low": low, "expected": 82.0, "usual": usual, "score": score}, index)
    replay = Replay([], {"a": frame}, [], [], END - 24 * HOUR, END)
    assert said in why_missed(replay, planted(24, 0, "a"), "UTC")
