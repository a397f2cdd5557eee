"""The review of a week, the case of one incident, and the HTML of results in a cell."""

import json
import re
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from alerting import connections, studies
from alerting.backtest.replay import near_misses
from alerting.model.errors import SettingsError
from alerting.model.incident import Incident, Member
from alerting.model.metric import STEP, Query
from alerting.model.protocols import Commit
from alerting.model.tables import DisplayList
from alerting.model.verdict import Label, Status, Verdict
from alerting.pipeline.context import RunContext
from alerting.sample.folder import planted_truth
from alerting.settings import load_settings
from alerting.sources.base import BaseSource
from alerting.sources.cache import CachedSource
from alerting.store.state import StateStore
from alerting.studies.data import reading_bars
from tests.pasts import END, HOUR, dip, past


@pytest.fixture
def nothing(tmp_path):
    """Settings of a folder that no run has been in."""
    return load_settings({"ALERTING_DATA": str(tmp_path)})


def remembered(folder, label):
    """A run has told of the newer dip, and somebody has said what it was."""
    bucket = END - 50 * HOUR
    verdict = Verdict("a", bucket, Status.ANOMALOUS, 500.0, 960.0, 1_000.0, 1_040.0, -12.0)
    member = Member("a", bucket, bucket, verdict, until=bucket + 4 * HOUR)
    incident = Incident("x", bucket, (member,), closed=bucket + 4 * HOUR, last_notified=bucket, label=label)
    with closing(StateStore(folder / "alerts.sqlite")) as store:
        store.commit(Commit(incidents=[incident, replace(incident, id="y", members=(replace(member, metric="other"),))]), END)


def test_a_review_without_a_memory_is_a_replay_and_says_so(nothing):
    review = studies.review(past(), given=nothing)
    assert [incident.root.metric for incident in review.incidents] == ["a", "a"]
    assert "no run has remembered an incident" in review.words()
    assert review.truths == []
    assert review.by_metric().loc[["a", "b"], "incidents"].tolist() == [2, 0]


def test_what_was_planted_makes_the_labels_of_a_replay(nothing):
    review = studies.review(past([dip(50, 46)]), given=nothing)
    assert sorted(incident.label for incident in review.incidents) == [Label.FALSE_ALARM, Label.REAL]
    assert review.by_metric().loc["a", "precision"] == 0.5


def test_what_runs_remember_goes_first_and_its_labels_hold(tmp_path):
    remembered(tmp_path, Label.REAL)
    review = studies.review(past(), given=load_settings({"ALERTING_DATA": str(tmp_path)}))
    assert [(i.id, i.label) for i in review.incidents] == [("x", Label.REAL)]  # another source's metric is not ours
    assert [i.label for i in review.replayed] == [None, Label.REAL]
    assert "runs have remembered 1 incident; a replay of the rules as they stand now makes 2 incidents" in review.words()
    (known,) = review.truths
    assert (known.start, known.metrics) == (END - 50 * HOUR, ("a",))


def test_near_misses_are_the_highest_scores_that_opened_nothing(nothing):
    missed = studies.review(past(), given=nothing).near_misses(3)
    assert all(abs(verdict.score) <= 1 for verdict in missed)
    assert [abs(v.score) for v in missed] == sorted((abs(v.score) for v in missed), reverse=True)
    assert missed[0].bucket == END - 20 * HOUR
    falling = [replace(each, policy=replace(each.policy, direction="up")) for each in past().metrics]
    assert all(v.score > 0 for v in near_misses(replace(past(), metrics=falling).replay_all()))


def test_a_case_of_a_moment_is_the_incident_that_a_run_would_have_opened(sample, app):
    planted = next(each for each in planted_truth(app / "app") if each.kind == "os_down")
    pinned = replace(sample, metrics=[replace(metric, width=0.5) for metric in sample.metrics])  # the app is in its second week
    case = studies.open_case(metric="views", at=f"{planted.start + timedelta(minutes=20):%Y-%m-%dT%H:%MZ}", ctx=pinned)
    assert case.since - STEP < planted.start < case.since + STEP
    assert planted.end - STEP <= case.until <= planted.end + 2 * STEP
    assert next(iter(case.bands)) == case.metric.name
    off = case.bands["views"].loc[pd.Timestamp(planted.start) : pd.Timestamp(planted.end) - STEP]
    assert (off["status"] == "anomalous").sum() >= 3
    rows = case.segments()
    assert set(rows["days_ago"]) >= {0, 1, 7}  # the app is in its second week
    cause = case.root_cause(rows)
    assert cause.slice.elements == ((("os", "iOS"),),)
    since, until = case.window()
    assert f"{int(until.timestamp())} AS until" in case.sql()
    assert f"{int((since - timedelta(days=28)).timestamp())} AS since" in case.sql()
    source = sample.source.source if isinstance(sample.source, CachedSource) else sample.source
    assert source.run_sql(case.sql(), "pasted")["views"].sum() == rows["views"].sum()


def test_a_recorded_incident_is_found_by_its_id(sample, tmp_path, monkeypatch):
    monkeypatch.setenv("ALERTING_DATA", str(tmp_path))
    since = END - timedelta(days=3)
    verdict = Verdict("likes", since, Status.ANOMALOUS, 10.0, 80.0, 100.0, 120.0, -4.5)
    members = (Member("likes", since, since, verdict, until=since + STEP),)
    one = Incident("one", since, members, closed=since + STEP, last_notified=since, label=Label.REAL)
    with closing(StateStore(tmp_path / "alerts.sqlite")) as store:
        later = since + timedelta(days=1)
        moved = replace(members[0], since=later, joined=later, until=later + STEP)
        two = replace(one, id="two", opened=later, members=(moved,), closed=later + STEP, label=None)
        store.commit(Commit(incidents=[one, two]), END)
    case = studies.open_case("two", ctx=sample)
    assert (case.since, case.until, case.metric.name) == (later, later + STEP, "likes")
    assert case.earlier()[["change", "label"]].to_numpy().tolist() == [[-0.9, "real"]]
    with pytest.raises(SettingsError, match="no incident 'three' in the last year; the newest: one, two"):
        studies.open_case("three", ctx=sample)


def test_a_case_that_is_not_there_says_why(sample):
    with pytest.raises(SettingsError, match="no metric 'nothing': there are feed_users"):
        studies.open_case(metric="nothing", at="2026-11-20T12:15Z", ctx=sample)
    with pytest.raises(SettingsError, match="future"):
        studies.open_case(metric="views", at="2999-01-01T00:00Z", ctx=sample)
    with pytest.raises(SettingsError, match="nothing to study"):
        studies.open_case(metric="views", at="2020-01-01T00:00Z", ctx=sample)


def test_a_case_of_a_table_has_no_segments(tmp_path, monkeypatch):
    monkeypatch.setenv("ALERTING_DATA", str(tmp_path))
    index = pd.date_range("2024-01-01", periods=60 * 24, freq="1h", tz="UTC")
    values = np.arange(len(index)) % 24 + 100.0
    values[-30:-26] *= 0.4
    table = pd.DataFrame({"series": "kpi", "ts": index, "value": values})
    table.to_csv(tmp_path / "kpi.csv", index=False)
    given = load_settings({"ALERTING_SOURCE": str(tmp_path / "kpi.csv"), "ALERTING_DATA": str(tmp_path)})
    case = studies.open_case(ctx=connections.connect(dry_run=True, settings=given))
    assert case.since == index[-30]
    assert case.segments().empty
    assert case.root_cause(case.segments()) is None
    assert case.sql() == ""


def test_results_show_themselves_escaped():
    odd = Verdict("a", END, Status.ANOMALOUS, 1.0, 2.0, 3.0, 4.0, -2.0, "<script>")
    html = DisplayList([odd, odd], "verdicts", "Europe/Moscow")._repr_html_()
    assert "Verdicts: 2 anomalous (Europe/Moscow)" in html
    assert "Fri 2026-11-20 03:00" in html
    assert "&lt;script&gt;" in html
    assert "<script>" not in html
    assert "-67 %" in odd._repr_html_()
    incident = Incident("<i>", END, (Member("a", END, END, odd),), last_notified=END, label=Label.REAL)
    assert "Incident &lt;i&gt;" in incident._repr_html_()
    assert "real" in DisplayList([incident], "incidents")._repr_html_()
    assert "(the last 20 of 30)" in DisplayList([odd] * 30, "verdicts")._repr_html_()
    assert "Verdicts: 0 (UTC)" in DisplayList([], "verdicts")._repr_html_()


def test_a_replay_shows_its_incidents_and_their_cost():
    replay = past().replay_all()
    html = replay._repr_html_()
    assert "2 alerts" in html
    assert "incidents a week" in html
    assert "-50 %" in html
    assert not re.search(r"(background|color):\s*#", html)  # nothing that a dark theme would hide
    assert "2 normal" not in html
    assert replay.verdicts._repr_html_().count("<tr") == 21
    assert json.dumps(html)


class Slow(BaseSource):
    """A source of a long past, with nothing in it."""

    def fetch(self, query, start, end):
        return pd.DataFrame({"n": []}, index=pd.DatetimeIndex([], tz="UTC", name="bucket"))


def test_a_first_fill_has_a_bar_and_a_run_its_lines():
    bars, said = [], []

    class Bar:
        def __init__(self, items=None, **options):
            bars.append(self)
            self.options, self.n = options, 0

        def update(self, days):
            self.n += days

        def close(self):
            self.closed = True

    source = CachedSource(Slow(), StateStore(":memory:"), lambda name: "", report=said.append)
    ctx = RunContext([], {}, source, StateStore(":memory:"), None)
    with reading_bars(ctx, Bar):
        source.fetch(Query("q", ""), END - timedelta(days=60), END)
    (bar,) = bars
    assert (bar.n, bar.options["total"], bar.closed) == (60, 60, True)
    assert source.progress is None
    assert said == []
