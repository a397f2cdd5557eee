"""The review of a week, the explanation of a moment, sliders for widths, and the HTML of results in a cell."""

import json
import re
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alerting import connections, studies
from alerting.backtest.review import at_widths, near_misses
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
from alerting.studies.suggest import widest_harmless
from alerting.studies.widgets import WidthTuning
from tests.pasts import END, HOUR, RULE, dip, past
from tests.servers import needs

ROOT = Path(__file__).resolve().parent.parent
LAB = ROOT / ".venv-lab" / "bin" / "python"


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
    assert review.moment["metric"] == "a"
    widths = review.at_widths()
    said = studies.sentences.of_week(review, widths)
    assert "The noisiest metric is a, the quietest b" in said
    assert "nobody has said what they were" in said
    assert "no width can be said to lose anything" in said
    assert studies.suggest.week_lines(review.past, widths).startswith("no line: every width stays")


def test_what_was_planted_makes_the_labels_of_a_replay(nothing):
    review = studies.review(past([dip(50, 46)]), given=nothing)
    assert sorted(incident.label for incident in review.incidents) == [Label.FALSE_ALARM, Label.REAL]
    assert review.by_metric().loc["a", "precision"] == 0.5
    assert "2 labelled, 1 of them no false alarm, a precision of 50%" in studies.sentences.of_week(review, review.at_widths())


def test_what_runs_remember_goes_first_and_its_labels_hold(tmp_path):
    remembered(tmp_path, Label.REAL)
    review = studies.review(past(), given=load_settings({"ALERTING_DATA": str(tmp_path)}))
    assert [(i.id, i.label) for i in review.incidents] == [("x", Label.REAL)]  # another source's metric is not ours
    assert [i.label for i in review.replayed] == [None, Label.REAL]
    assert "runs have remembered 1 incident; a replay of the rules as they stand now makes 2 incidents" in review.words()
    assert review.moment == {"at": "2026-11-17T22:00Z", "metric": "a"}
    (known,) = review.truths
    assert (known.start, known.metrics) == (END - 50 * HOUR, ("a",))


def test_near_misses_are_the_highest_scores_that_opened_nothing(nothing):
    missed = studies.review(past(), given=nothing).near_misses(3)
    assert all(abs(verdict.score) <= 1 for verdict in missed)
    assert [abs(v.score) for v in missed] == sorted((abs(v.score) for v in missed), reverse=True)
    assert missed[0].bucket == END - 20 * HOUR
    falling = [replace(each, policy=replace(each.policy, direction="up")) for each in past().metrics]
    assert all(v.score > 0 for v in near_misses(replace(past(), metrics=falling).replay_all()))


def test_wider_bands_find_fewer_incidents_and_name_the_lost_ones():
    shallow = replace(past(), series={**past().series, "a": past().series["a"].where(past().series["a"] > 600, 930)})
    table = at_widths(shallow, [dip(50, 46), dip(100, 98)], [0.7, 1.0, 9.0])
    assert table["incidents a week"].is_monotonic_decreasing
    assert table["found"].tolist() == [2, 2, 0]
    assert table.loc[9.0, "lost"] == "a Tue 17 Nov 22:00; a Sun 15 Nov 20:00"


def test_a_wider_band_is_proposed_only_where_it_loses_nothing():
    table = pd.DataFrame({"incidents a week": [9.0, 5.0, 3.0, 1.0], "found": [2, 2, 2, 1]}, index=[0.7, 1.0, 1.2, 1.5])
    assert widest_harmless(table) == 1.2
    lines = studies.suggest.week_lines(past(), table)
    assert lines.splitlines()[:2] == ["a: width=1.2", "b: width=1.2"]
    assert widest_harmless(table.assign(found=0)) == 1.0


def test_a_moment_is_explained_as_a_run_would_have(sample, app):
    planted = next(each for each in planted_truth(app / "app") if each.kind == "os_down")
    at = planted.start + timedelta(minutes=10)
    pinned = replace(sample, metrics=[replace(metric, width=0.5) for metric in sample.metrics])  # the app is in its second week
    moment = studies.explain(f"{at:%Y-%m-%dT%H:%MZ}", "views", pinned)
    assert moment.verdict.status is Status.ANOMALOUS
    assert moment.verdict.bucket <= at < moment.verdict.bucket + STEP
    assert moment.cause
    assert "iOS" in moment.facts["slices"]
    facts = moment.facts
    assert set(facts) == {"bucket", "value", "expected (band)", "off", "answer", "rule", "how unusual", "slices"}
    assert "anomalous" in facts["answer"]
    assert "score -" in facts["off"]
    html = moment._repr_html_()
    assert 'src="data:image/png;base64,' in html
    assert "Slices" in html


def test_a_moment_has_the_verdict_of_a_replay_related_metrics_included(sample, app):
    """Likes at a rise of views: their band is narrower, because views are off."""
    planted = next(each for each in planted_truth(app / "app") if each.kind == "duplicates")
    moment = studies.explain(f"{planted.start + timedelta(minutes=40):%Y-%m-%dT%H:%MZ}", "likes", sample).verdict
    past, _ = studies.load_past(1, f"{planted.end + timedelta(hours=1):%Y-%m-%dT%H:%MZ}", sample)
    replayed = past.replay_all().judged["likes"].loc[moment.bucket]
    alone = past.replay(sample.metric("likes"), past.band(sample.metric("likes"))).judged["likes"].loc[moment.bucket]
    assert (moment.low, moment.expected, moment.high, moment.status.value) == tuple(
        replayed[["low", "expected", "high", "status"]]
    )
    assert moment.high < alone["high"]


def test_what_cannot_be_explained_says_why(sample):
    with pytest.raises(SettingsError, match="no metric 'nothing': there are feed_users"):
        studies.explain("2026-11-20T12:15Z", "nothing", sample)
    with pytest.raises(SettingsError, match="future"):
        studies.explain("2999-01-01T00:00Z", "views", sample)
    with pytest.raises(SettingsError, match="not over yet"):
        studies.explain(f"{datetime.now(UTC):%Y-%m-%dT%H:%MZ}", "views", sample)
    with pytest.raises(SettingsError, match="views has no value in the bucket 2020-01-01T00:00Z; nor is there one before"):
        studies.explain("2020-01-01T00:00Z", "views", sample)


def test_a_moment_of_a_table_has_no_slices_and_a_gap_none_at_all(tmp_path):
    index = pd.date_range("2024-01-01", periods=60 * 24, freq="1h", tz="UTC")
    table = pd.DataFrame({"series": "kpi", "ts": index, "value": np.arange(len(index)) % 24 + 100.0})
    table.drop(index=1_400).to_csv(tmp_path / "kpi.csv", index=False)
    given = load_settings({"ALERTING_SOURCE": str(tmp_path / "kpi.csv"), "ALERTING_DATA": str(tmp_path)})
    ctx = connections.connect(dry_run=True, settings=given)
    moment = studies.explain(f"{index[-1]:%Y-%m-%dT%H:%MZ}", "kpi", ctx)
    assert moment.facts["answer"] == "normal: nothing was told"
    assert "no slices" in moment.facts["slices"]
    with pytest.raises(SettingsError, match=f"the last bucket before it with one is {index[1_399]:%Y-%m-%dT%H:%MZ}"):
        studies.explain(f"{index[1_400]:%Y-%m-%dT%H:%MZ}", "kpi", ctx)


def test_what_the_sliders_draw():
    tuning = WidthTuning(past())
    narrow, wide = tuning.drawn("a", 1.0, 7, 1.0), tuning.drawn("a", 20.0, 7, 1.0)
    assert [span.start for span in narrow.spans] == [END - 100 * HOUR, END - 50 * HOUR]
    assert wide.spans == []
    assert (wide.judged["high"] > narrow.judged["high"]).all()
    assert len(tuning.drawn("a", 1.0, 2, 1.0).judged) == 48
    assert "a at width 1 (metrics.py has 1): 2 incidents in the days shown; over 1.0 weeks 2 a week" in narrow.words
    assert "MORE THAN the budget of 1" in narrow.words
    assert "within the budget" in wide.words
    assert tuning.width_for("a", 0.5) >= tuning.width_for("a", 5.0)


def test_sliders_without_ipywidgets_say_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(SettingsError, match="make lab"):
        studies.tune(past())
    with pytest.raises(SettingsError, match="pip install ipywidgets"):
        studies.explore(past(), {"rule": RULE})


SLIDERS = """
from tests.pasts import past
from alerting import studies
box = studies.tune(past())
(metric, width), (days, budget) = (row.children for row in box.children[:2])
said, picture = box.children[2:]
seen = [(said.value, bytes(picture.value))]
for slider, value in ((width, 3.0), (days, 3), (budget, 0.5), (metric, "b")):
    slider.value = value
    seen.append((said.value, bytes(picture.value)))
print(len(set(seen)), all(p.startswith(b"\\x89PNG") for _, p in seen), width.value, said.value[:1])
"""


def test_moving_a_slider_redraws():
    needs(LAB.exists(), "the lab environment is not there: make .venv-lab/.ready")
    done = subprocess.run([LAB, "-c", SLIDERS], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == ["5", "True", "1.0", "b"], done.stderr


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
    assert "2 troubles that would have been told" in html
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
