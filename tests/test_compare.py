"""The comparison of the detector of version 1 with the present catalogue, which people run before they upgrade."""

from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from alerting.__main__ import main
from alerting.backtest.replay import group_events
from alerting.cli.compare import Comparison, comparison_lines, load_past_of_both, old_metric
from alerting.cli.compare import compare_sides as compare
from alerting.detectors.auto import AutoDetector, Chosen
from alerting.metrics import METRICS
from alerting.model.incident import Incident, Member
from alerting.model.protocols import Commit
from alerting.model.tables import DisplayList
from alerting.model.verdict import Label, Status, Verdict
from alerting.sample.folder import planted_truth
from alerting.settings import load_settings
from alerting.store.state import StateStore
from alerting.studies.review import Review
from tests.pasts import END, HOUR, RULE, dip, metric, past

DAY, QUARTER = timedelta(days=1), timedelta(minutes=15)


@pytest.fixture
def nothing(tmp_path):
    """Settings of a folder that no run has been in."""
    return load_settings({"ALERTING_DATA": str(tmp_path)})


# The catalogue of version 1


def test_version_1_had_its_detector_and_its_widths():
    old = [old_metric(each) for each in METRICS]
    assert {each.name: each.width for each in old} == {
        "feed_users": 0.5,
        "messenger_users": 0.5,
        "views": 0.45,
        "likes": 0.55,
        "ctr": 0.85,
        "messages": 0.6,
    }
    assert {each.rule for each in old} == {Chosen()}
    assert [replace(each, rule=AutoDetector(), width=1.0) for each in old] == METRICS


@pytest.mark.parametrize(
    ("given", "rule", "width"),
    [
        ({"rule": AutoDetector()}, Chosen(), 1.0),  # a metric of one's own: version 1 shipped no width for it
        ({"rule": AutoDetector(), "name": "views"}, Chosen(), 1.0),  # nor for the same name in another table
        ({"rule": AutoDetector(), "name": "views", "query": "feed_actions"}, Chosen(), 0.45),
        ({"rule": AutoDetector(), "name": "views", "query": "feed_actions", "width": 1.2}, Chosen(), 1.2),
        ({"rule": RULE, "name": "views", "query": "feed_actions"}, RULE, 1.0),
        ({"rule": Chosen(), "width": 0.7}, Chosen(), 0.7),
        ({"rule": AutoDetector(days=14)}, AutoDetector(days=14), 1.0),
    ],
)
def test_what_the_catalogue_sets_itself_stays(given, rule, width):
    old = old_metric(replace(metric("a"), **given))
    assert (old.rule, old.width) == (rule, width)


def test_the_reading_is_as_long_as_the_longer_history(sample):
    read, _ = load_past_of_both(1, END.isoformat(), sample)
    assert read.metrics == sample.metrics
    longest = max(AutoDetector().history, Chosen().history)
    assert all(read.start - values.index[0] >= longest for values in read.series.values())


# Moments


def told(opened, hours, name="a", value=500.0, score=-4.0, label=None, also=(), gap=False):
    """An incident `opened` so many hours after the start of the past, open if `hours` is None."""
    bucket = past().start + opened * HOUR
    until = None if hours is None else bucket + hours * HOUR
    verdict = Verdict(name, bucket, Status.ANOMALOUS, value, 900.0, 1_000.0, 1_100.0, score)
    members = [Member(each, bucket, bucket, replace(verdict, metric=each), gap, until) for each in (name, *also)]
    return Incident(f"{bucket:%d%H%M}-{name}", bucket, tuple(members), closed=until, label=label)


def compared(old, new, zone="UTC", truths=()):
    """A comparison of two lists of incidents."""
    replay = past().replay_all()
    both = (Review(replace(past(), zone=zone), replay, DisplayList(), DisplayList(each), truths) for each in (old, new))
    return Comparison(*both)


def rows(comparison):
    return [tuple(row) for row in comparison.moments()[["told by", "old openings", "new openings", "metrics"]].to_numpy()]


def test_incidents_within_an_hour_of_each_other_are_one_moment():
    assert rows(compared([told(10, 2)], [told(13, 1, "b")])) == [("both", 1, 1, "b, a")]
    assert rows(compared([told(10, 2)], [told(13.25, 1, "b")])) == [("old", 1, 0, "a"), ("new", 0, 1, "b")]
    # The long one covers the second, which ends first; the third is near the long one's end
    assert rows(compared([told(10, 20), told(12, 1, "b")], [told(30.5, 1)])) == [("both", 2, 1, "a, b")]
    assert rows(compared([], [])) == []


def test_an_incident_that_goes_on_lasts_until_the_end_of_the_past():
    moments = compared([told(10, None)], [told(100, 1, "b")]).moments()
    assert moments[["metrics", "told by"]].to_numpy().tolist() == [["b, a", "both"]]
    assert moments["until"].isna().all()


def test_a_moment_has_the_change_of_the_worst_incident_of_the_new_side():
    old, new = [told(10, 1, value=100.0, score=-9)], [told(10, 1, "b", 1_300, 3.0, also=["c"]), told(10.5, 1, "d", 700, -5.0)]
    (row,) = compared(old, new).moments().to_dict("records")
    assert row["metrics"] == "d, a, b, c"
    assert row["change"] == pytest.approx(-0.3)
    assert compared(old, []).moments()["change"].tolist() == pytest.approx([-0.9])
    assert compared([], [told(10, 1, gap=True)]).moments()["change"].isna().all()


def test_times_are_local_also_where_the_clock_changes():
    """The past begins on 13 November 2026, so that this one begins two weeks earlier, before the clock of New York changes."""
    early = [told(24 * -13 + 5.5, 2)]  # 2026-10-31 05:30 UTC
    late = [told(24 * -11 + 5.5, None)]  # 2026-11-02 05:30 UTC
    moments = compared(early, late, "America/New_York").moments()
    assert [at.isoformat() for at in moments["from"]] == ["2026-10-31T01:30:00-04:00", "2026-11-02T00:30:00-05:00"]
    assert moments["until"].iloc[0].isoformat() == "2026-10-31T03:30:00-04:00"
    assert pd.isna(moments["old"].iloc[1])
    assert moments["new"].iloc[1] == moments["from"].iloc[1]
    assert compared(early, late, "America/New_York").totals()["openings 0:00 to 6:00"].tolist() == [1, 1]
    assert compared(early, late, "Asia/Tokyo").totals()["openings 0:00 to 6:00"].tolist() == [0, 0]


def test_a_moment_is_real_if_one_of_its_incidents_is():
    old = [told(10, 1, label=Label.FALSE_ALARM), told(20, 1, label=Label.FALSE_ALARM), told(40, 1)]
    new = [told(10, 1, label=Label.NEW_TREND), told(60, 1, label=Label.EXPECTED)]
    assert compared(old, new).moments()["known"].tolist() == ["real", "false alarm", "", "real"]
    assert "known" not in compared([told(10, 1)], [told(10, 1)]).moments()


# What is printed


def test_the_printed_lines_show_both_sides_and_name_the_zone_once():
    old = [told(10, 1, label=Label.FALSE_ALARM), told(40, 3), told(41, 1, "b")]
    new = [told(42, 36, value=1_250.0), told(66, 1, "b", 700, -2.0, also=["c"])]
    lines = "\n".join(comparison_lines(compared(old, new, "Europe/Moscow"))).splitlines()
    assert lines[1] == "Alerts from 2026-11-13 03:00 to 2026-11-20 03:00. All times: Europe/Moscow."
    assert [line.split() for line in lines[3:6]] == [
        ["when", "change", "reported", "by", "old", "new", "known", "metrics"],
        ["Fri", "13", "Nov", "13:00", "-50", "%", "old", "13:00", "false", "alarm", "a"],
        ["Sat", "14", "Nov", "19:00", "+25", "%", "both", "19:00", "x2", "21:00", "x2", "a,", "b,", "c"],
    ]
    assert lines[7] == "Moments reported by both: 1, by old alone: 1, by new alone: 0"
    assert lines[-1] == "The same rule on both sides, because the catalogue sets it: a, b"
    assert "\n".join(lines).count("Moscow") == 1


def test_an_opening_on_another_day_has_its_weekday_and_a_gap_has_no_change():
    (line,) = list(comparison_lines(compared([told(20, 30)], [told(44, 1, gap=True)])))[2].splitlines()[1:]
    assert line.split() == ["Fri", "13", "Nov", "20:00", "no", "data", "both", "20:00", "Sat", "20:00", "a"]


def test_nothing_told_is_said():
    lines = list(comparison_lines(compared([], [])))
    assert "nothing, by either" in lines
    assert "\nMoments reported by both: 0, by old alone: 0, by new alone: 0" in lines


def test_of_many_moments_the_newest_are_printed():
    many = [told(3 * hour, 1) for hour in range(-400, 0)]
    text = "\n".join(comparison_lines(compared(many, [])))
    assert "The newest 200 of 400 moments; --csv FILE writes them all." in text
    assert text.count("-50 %") == 200


# Totals


def test_totals_of_a_past_that_both_sides_judge_alike(nothing):
    both = compare(past([dip(50, 46)]), given=nothing)  # `a` halves twice, and one dip is known to be real
    table = both.totals()
    assert table.index.tolist() == ["old", "new"]
    assert table.loc["old"].equals(table.loc["new"])
    assert table.loc["new"].to_dict() == {
        "messages a week": 4,  # two openings, two ends
        "openings": 2,
        "openings 0:00 to 6:00": 0,
        "found": 1,
        "missed": 0,
        "false": 1,
    }
    assert both.moments()["known"].tolist() == ["false alarm", "real"]
    assert both.pinned == {"rule": ["a", "b"], "width": []}


def test_a_rule_that_the_catalogue_sets_is_judged_alike_also_if_it_knows_counts(nothing):
    pinned = [replace(each, rule=AutoDetector(days=14)) for each in past().metrics]
    both = compare(replace(past(), metrics=pinned), given=nothing)
    assert both.pinned["rule"] == ["a", "b"]
    for name in "ab":
        pd.testing.assert_frame_equal(both.old.replay.judged[name], both.new.replay.judged[name])


def test_without_labels_nothing_is_found_or_false(nothing):
    both = compare(past(), given=nothing)
    assert both.totals().columns.tolist() == ["messages a week", "openings", "openings 0:00 to 6:00"]


@pytest.mark.parametrize(
    ("label", "known", "counts"),
    [(Label.REAL, "real", [1, 0, 0]), (Label.FALSE_ALARM, "false alarm", [0, 0, 1])],
)
def test_peoples_labels_judge_both_sides(tmp_path, label, known, counts):
    bucket = END - 50 * HOUR
    verdict = Verdict("a", bucket, Status.ANOMALOUS, 500.0, 960.0, 1_000.0, 1_040.0, -12.0)
    member = Member("a", bucket, bucket, verdict, until=bucket + 4 * HOUR)
    incident = Incident("x", bucket, (member,), closed=bucket + 4 * HOUR, last_notified=bucket, label=label)
    with closing(StateStore(tmp_path / "alerts.sqlite")) as store:
        store.commit(Commit(incidents=[incident]), END)
    both = compare(past(), given=load_settings({"ALERTING_DATA": str(tmp_path)}))
    assert both.moments()["known"].tolist() == ["", known]
    assert both.totals()[["found", "missed", "false"]].to_numpy().tolist() == [counts, counts]


# The sample app


def test_the_sample_app_is_judged_by_both_and_what_was_planted_is_counted(sample, app):
    read, reading = load_past_of_both(2, END.isoformat(), sample)
    assert not reading.errors
    both = compare(read, given=load_settings({"ALERTING_DATA": str(app)}))
    planted = [each for each in planted_truth(app / "app") if END - 14 * DAY <= each.start < END]
    assert [each.kind for each in planted] == ["ctr_drop", "messenger_down", "duplicates", "like_button_broken"]
    totals, moments = both.totals(), both.moments()
    assert (totals["found"] + totals["missed"]).tolist() == [4, 4]
    for side, one in (("old", both.old), ("new", both.new)):
        incidents = group_events(one.replay.metrics, one.replay.events)
        local = [incident.opened + 3 * HOUR for incident in incidents]  # the zone of the app is Moscow's
        assert totals.loc[side, "openings"] == len(incidents) == moments[f"{side} openings"].sum()
        assert totals.loc[side, "openings 0:00 to 6:00"] == sum(at.hour < 6 for at in local)
        assert {at.tz_localize(None) for at in moments[side].dropna()} <= {at.replace(tzinfo=None) for at in local}

    for truth in planted[1:3]:  # the messenger is down; everything comes twice
        meanwhile = (moments["from"] <= truth.end) & ~(moments["until"] < truth.start - QUARTER)  # it may join one that was open
        (row,) = moments[meanwhile].to_dict("records")
        assert (row["told by"], row["known"]) == ("both", "real"), truth.kind
        assert set(row["metrics"].split(", ")) & set(truth.metrics)

    # The code of version 1 told 148, 74 and 45 on the same rows: it told of a level again after a day, not after six hours, and
    # had another incident where metrics were off again; and two values near the edge of a band ended an incident.
    events = both.old.replay.events
    openings = [event for event in events if event.kind.value in ("opened", "no data")]
    assert (len(events), len(openings), len(both.old.replayed)) == (151, 72, 41)
    assert totals.loc["old", "messages a week"] == 98 / 2


def test_the_command_compares_a_table_and_writes_the_moments(tmp_path, capsys, monkeypatch):
    index = pd.date_range("2024-01-01", periods=63 * 24, freq="1h", tz="UTC")
    values = 1_000 + np.random.default_rng(2).normal(0, 10, len(index))
    values[-40:-30] *= 0.4
    pd.DataFrame({"ts": index, "series": "sales", "value": values}).to_csv(tmp_path / "kpis.csv", index=False)
    monkeypatch.setenv("ALERTING_SOURCE", str(tmp_path / "kpis.csv"))
    monkeypatch.setenv("ALERTING_DATA", str(tmp_path / "data"))
    file = tmp_path / "moments.csv"
    assert main(["compare", "--days", "7", "--csv", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "from 2024-02-26 03:00 to 2024-03-04 03:00. All times: Europe/Moscow." in out
    stages = list(dict.fromkeys(line.split(":")[0] for line in err.splitlines()))
    assert stages[:3] == [
        "reading 7 days of 1 metrics, and the history that the detectors need",
        "replaying old",
        "replaying new",
    ]
    written = pd.read_csv(file)
    assert "2024-03-02 11:00:00+03:00" in written["from"].tolist()
    assert written.loc[written["from"] == "2024-03-02 11:00:00+03:00", "told by"].tolist() == ["both"]
    assert not (tmp_path / "data" / "alerts.sqlite").exists(), "nothing is stored"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--days", "0"], "error: Invalid value for '--days': 0 is not in the range x>=1."),
        (["--metric", "nothing"], "error: no metric 'nothing': there are a, b"),
        (["--csv", "nowhere/moments.csv"], "error: Invalid value for '--csv': 'nowhere/moments.csv': No such file or directory"),
    ],
)
def test_the_command_refuses(tmp_path, capsys, monkeypatch, arguments, said):
    index = pd.date_range("2024-01-01", periods=14 * 24, freq="1h", tz="UTC")
    rows = [pd.DataFrame({"ts": index, "series": name, "value": 100.0}) for name in "ab"]
    pd.concat(rows).to_csv(tmp_path / "kpis.csv", index=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ALERTING_SOURCE", str(tmp_path / "kpis.csv"))
    monkeypatch.setenv("ALERTING_DATA", str(tmp_path / "data"))
    assert main(["compare", *arguments]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == said
