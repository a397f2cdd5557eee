"""The demo says of each planted incident whether it was found, and counts what was told where nothing was planted."""

import pytest

from alerting.cli.backtest import _finding_openings, _found_line
from alerting.sample.incidents import PlantedIncident
from tests.pasts import END, HOUR, past


def planted(first, last, *metrics):
    return PlantedIncident("outage", END - first * HOUR, END - last * HOUR, metrics, None, -0.5)


@pytest.fixture(scope="module")
def replay():
    return past().replay_all()


def test_an_incident_is_found_by_an_alert_while_it_lasts(replay):
    assert _found_line(replay, planted(50, 46, "a", "b")) == "found 60 min after its start: a"
    assert [event.bucket for event in _finding_openings(replay, planted(50, 46, "a"))] == [END - 50 * HOUR]


@pytest.mark.parametrize("incident", [planted(50, 46, "b"), planted(46, 40, "a"), planted(80, 75, "a", "b")])
def test_an_alert_about_another_metric_or_time_finds_nothing(replay, incident):
    assert _found_line(replay, incident) == "MISSED: nothing was told of it while it lasted"


def test_what_goes_on_may_still_be_found(replay):
    assert _found_line(replay, planted(2, -3, "a")) == "not found yet: it is still going on"
