"""The detection benchmark on a small folder of data, with a scoring script that counts anomalous buckets."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alerting.detectors.sustained import Sustained
from alerting.metrics import metrics_of_table
from alerting.model.errors import SettingsError
from alerting.pipeline.judged import judge_series
from benchmarks import app_tables, detection
from benchmarks.detection import TOLD_ALREADY
from tests import small_apps

SCORER = """
import json, sys
import pandas as pd
args = dict(zip(sys.argv[1::2], sys.argv[2::2]))
scores = pd.read_parquet(args["--scores"])
assert args["--subset"] in SUBSETS, args
flags = scores[scores.score.abs() > 1].groupby("series").size()
series = [dict(name=n, cluster=n[0], events=4, hit=3, false=int(flags.get(n, 0)), weeks=2.0) for n in scores.series.unique()]
table = dict(f1=0.81, recall=0.79, precision=0.8, macro_f1=0.5, fa_week=0.2, per_series=series)
table |= {"recall_at_0.25": 0.7, "recall_at_1": 0.95}
table["kinds"] = [dict(kind="outage_2h", recall_1h=0.9, recall=1.0), dict(kind="ALL")]
print("scored", len(scores))
json.dump({"injected" if args["--subset"] == "injected" else "core": table}, open(args["--json"], "w"))
"""


def folder(path, injected=False, days=40):
    """data/dev as the shared sets are laid out: two files of series, and the script two folders up."""
    data = path / "data" / "dev"
    data.mkdir(parents=True)
    rng = np.random.default_rng(0)
    ts = pd.date_range("2026-01-05", periods=96 * days, freq="15min")
    for name in ("a1", "b1"):
        value = (100 + 30 * np.sin(np.arange(len(ts)) / 96 * 2 * np.pi)) * rng.lognormal(0, 0.02, len(ts))
        value[-50:-46] = 0.0
        value[-30:-20] = np.nan
        pd.DataFrame({"series": name, "ts": ts, "value": value}).to_parquet(data / f"{name}.parquet")
    pd.DataFrame({"series": ["a1", "b1"], "freq_s": 900}).to_csv(data / "series.csv", index=False)
    if injected:
        (data / "dev_truth.csv").write_text("series,start,end,kind,depth_noise\n")
    bench = path / "bench"
    bench.mkdir()
    (bench / "score.py").write_text(f"SUBSETS = {('injected',) if injected else ('all', 'core')!r}\n{SCORER}")
    return data


@pytest.mark.parametrize("injected", [False, True])
def test_every_bucket_is_scored_and_the_figures_are_kept(tmp_path, capfd, injected):
    data, out = folder(tmp_path, injected), tmp_path / "out"
    assert detection.main(data, out) == 0
    scores = pd.read_parquet(out / "scores.parquet")
    assert scores.columns.tolist() == ["series", "ts", "score"]
    assert scores.groupby("series").size().to_dict() == {"a1": 3840, "b1": 3840}
    assert scores.ts.dt.tz is None
    told = scores[(scores.series == "a1") & (scores.score.abs() > 1)].ts
    start = pd.Timestamp("2026-01-05") + pd.Timedelta(days=40)
    assert start - 29 * pd.Timedelta("15min") in set(told)  # the second missing bucket: "no data" is said
    assert start - 50 * pd.Timedelta("15min") in set(told)  # the outage
    figures = {f["name"]: f for f in json.loads((out / "detection.json").read_text())}
    table = "injected" if injected else "core"
    assert figures[f"{table}: f1"] == {"name": f"{table}: f1", "value": 0.81, "unit": "share",
                                       "asked": ">= 0.72" if injected else ">= 0.76", "holds": True}  # fmt: skip
    assert figures[f"{table}: outage_2h recall_1h"]["value"] == 0.9
    assert figures["injected: recall" if injected else "core: macro_f1"]["holds"] is False
    assert figures["cost of the default rule"]["value"] > 0
    each = [figures[f"{table}: f1 of cluster {c}"]["value"] for c in "ab"]  # the mean without each: of two, that of the others
    assert figures[f"{table}: f1 with a cluster left out, mean"]["value"] == pytest.approx(np.mean(each))
    printed = capfd.readouterr().out
    assert "scored 7680" in printed
    assert "BAD" in printed
    assert "set for data that is kept back" in printed


def test_core_is_judged_z_scored_as_well(tmp_path):
    """The values times a constant plus another are judged alike: the outage is found, and few other buckets change."""
    data, out = folder(tmp_path), tmp_path / "out"
    assert detection.main(data, out) == 0
    plain, scaled = (pd.read_parquet(out / f"{name}.parquet") for name in ("scores", "scores_z"))
    assert len(plain) == len(scaled) == 7680
    flags = scaled[(scaled.series == "a1") & (scaled.score.abs() > 1)].ts
    assert pd.Timestamp("2026-01-05") + pd.Timedelta(days=40) - 50 * pd.Timedelta("15min") in set(flags)
    figures = {f["name"]: f["value"] for f in json.loads((out / "detection.json").read_text())}
    assert figures["core z-scored: f1"] == 0.81
    assert figures["core z-scored: f1, minus that of core"] == 0


def test_the_metrics_of_an_app_are_judged_together_and_counted_by_kind(tmp_path, capfd):
    data, out = tmp_path / "data" / "app", tmp_path / "out"
    small_apps.write(data)
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "score.py").write_text(f"SUBSETS = ('injected',)\n{SCORER}")
    assert detection.main(data, out) == 0
    figures = {f["name"]: f for f in json.loads((out / "detection.json").read_text())}
    outage = figures["app, 1,000 users or more: outage_1h recall_1h"]
    assert outage == {"name": outage["name"], "value": 1.0, "unit": "of 2", "asked": ">= 1", "holds": True}
    assert figures["app, 1,000 users or more: feed50_1h recall_1h"]["value"] == 1.0
    assert figures["app, 1,000 users or more: feed15_3d recall"]["holds"] is False  # it changes nothing
    assert figures["app: false alerts"]["asked"] == "<= 0.12"
    assert figures["app: false alerts"]["holds"] is False
    assert figures["app, calm weeks: alerts, all metrics"]["asked"] == "<= 2"
    flags = pd.read_parquet(out / "scores.parquet").query("abs(score) > 1").groupby("series").size()
    f1 = [6 / (4 + 3 + flags[[f"{app}_feed_users", f"{app}_views"]].sum() / 2) for app in small_apps.SIZES]
    assert figures["app: macro f1 by app"]["value"] == pytest.approx(np.mean(f1))
    printed = capfd.readouterr().out
    assert "by kind of incident, apps of 1,000 users or more" in printed
    assert "10,000 users or more" not in printed  # no such app


def scores(*flags, score=2.0):
    """Scores of every bucket of the small apps: 0, and `score` where (series, ts) is in `flags`."""
    ts = pd.date_range(small_apps.START, periods=small_apps.DAYS * small_apps.PER_DAY, freq="15min")
    frame = pd.concat([pd.DataFrame({"series": name, "ts": ts, "score": 0.0}) for name in small_apps.series_csv().index])
    flagged = pd.MultiIndex.from_frame(frame[["series", "ts"]]).isin(flags)
    return frame.assign(score=np.where(flagged, score, frame.score)).reset_index(drop=True)


def test_flags_within_an_hour_are_one_alert_that_counts_again_after_six_hours():
    day = [("app0_views", small_apps.at(20, quarter / 4)) for quarter in range(0, 49, 4)]  # twelve hours, once an hour
    apart = [("app1_views", small_apps.at(20, hours)) for hours in (3, 4.25)]
    warmup = [("app0_views", small_apps.at(13.99))]
    told = app_tables.alerts(scores(*day, *apart, *warmup))
    assert [*zip(told.series, told.ts, strict=True)] == [
        *(("app0_views", small_apps.at(20, hours)) for hours in (0, 6, 12)),
        *apart,
    ]
    assert app_tables.alerts(scores()).empty


def test_an_incident_is_found_by_the_first_alert_within_it():
    outage, half, slow = (small_apps.at(day) for _, day, _, _ in small_apps.INCIDENTS)
    told = app_tables.alerts(
        scores(
            ("app0_views", outage),
            ("app1_views", outage - pd.Timedelta("15min")),  # too early
            ("app1_views", half + pd.Timedelta("45min")),  # its last bucket
            ("app0_views", half + pd.Timedelta("1h")),  # too late
            ("app0_views", slow + pd.Timedelta("20h")),
        )
    )
    delayed = app_tables.delays(small_apps.truth(), told)
    kinds = app_tables.by_kind(delayed)
    assert kinds.loc["outage_1h"].to_dict() == {"events": 4, "recall_1h": 0.25, "recall": 0.25, "delay_min": 0}
    assert kinds.loc["feed50_1h"].to_dict() == {"events": 4, "recall_1h": 0.25, "recall": 0.25, "delay_min": 45}
    assert kinds.loc["feed15_3d"].to_dict() == {"events": 4, "recall_1h": 0.0, "recall": 0.25, "delay_min": 20 * 60}


def test_an_alert_without_a_value_finds_an_outage_and_is_not_false():
    flags = [("app0_views", small_apps.at(20)), ("app0_views", small_apps.at(30.5))]
    told = app_tables.alerts(scores(*flags, score=-np.inf))
    assert len(told) == 2
    assert app_tables.CalmWeeks.of(app_tables.described(small_apps.series_csv()), told).a_week == 0
    assert app_tables.by_kind(app_tables.delays(small_apps.truth(), told)).recall["outage_1h"] == 0.25


def test_calm_weeks_count_alerts_moments_and_hours():
    saturday = 19
    told = app_tables.alerts(
        scores(
            ("app0_feed_users", small_apps.at(15, 3)),
            ("app0_views", small_apps.at(15, 3)),  # the same moment
            ("app1_views", small_apps.at(15, 3)),  # another app
            ("app0_views", small_apps.at(saturday, 10.5)),
            ("app0_views", small_apps.at(saturday, 12)),
            ("app0_views", small_apps.at(saturday - 1, 10)),  # a Friday
            ("app0_views", small_apps.at(28)),  # after the calm weeks
        )
    )
    calm = app_tables.CalmWeeks.of(app_tables.described(small_apps.series_csv()), told)
    assert calm.weeks == 4  # two apps, two weeks
    assert (calm.a_week, calm.moments_a_week) == (6 / 4, 5 / 4)
    assert calm.night_share == 0.5
    assert calm.at_weekend_step == 1
    assert calm.by_hour[calm.by_hour > 0].to_dict() == {3: 3, 10: 2, 12: 1}


def test_counts_are_pooled_by_app_size_and_metric():
    series = app_tables.described(small_apps.series_csv())
    assert series.loc["app1_views"].to_dict() == {
        "app": "app1", "metric": "views", "size": 6_000, "class": "1,000 to 10,000 users",
    }  # fmt: skip
    scored = [
        {"name": name, "cluster": "-", "events": 4, "hit": hit, "false": false, "weeks": 2.0}
        for name, hit, false in zip(series.index, (4, 2, 3, 3), (0, 2, 1, 1), strict=True)
    ]
    assert app_tables.counts(series, scored, "app").loc["app0"].to_dict() == pytest.approx(
        {"events": 8, "hit": 6, "false": 2, "weeks": 4, "f1": 12 / 16, "recall": 6 / 8, "precision": 6 / 8, "fa_week": 0.5}
    )
    assert app_tables.counts(series, scored, "metric").hit.to_dict() == {"feed_users": 7, "views": 5}
    assert app_tables.counts(series, scored, "class").index.tolist() == ["under 1,000 users", "1,000 to 10,000 users"]


def test_without_a_scoring_script_the_scores_are_written_and_that_is_said(tmp_path, capsys):
    data = folder(tmp_path)
    (tmp_path / "bench" / "score.py").unlink()
    assert detection.main(data, tmp_path / "out") == 0
    assert "no scoring script at" in capsys.readouterr().out
    assert (tmp_path / "out" / "scores.parquet").is_file()


def test_a_folder_without_series_says_what_to_give(tmp_path):
    with pytest.raises(SettingsError, match=r"has no series\.csv: give the folder of one data set"):
        detection.main(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_scoring_script_that_fails_fails_the_bench(tmp_path, capfd):
    data = folder(tmp_path)
    (tmp_path / "bench" / "score.py").write_text("raise SystemExit(2)")
    assert detection.main(data, tmp_path / "out") == 1
    assert detection.main(data, tmp_path / "out", scorer=Path(tmp_path / "none.py")) == 0


def test_an_anomaly_without_a_notification_scores_below_one():
    """A level held wrong for two days is one opening, reminders six hours apart, and nothing between."""
    index = pd.date_range("2026-01-05", periods=96 * 60, freq="15min", tz="UTC")
    values = pd.Series((100 + 30 * np.sin(np.arange(len(index)) / 96 * 2 * np.pi)), index)
    values *= np.random.default_rng(0).lognormal(0, 0.02, len(index))
    values.iloc[-192:] *= 0.7  # at once: what grows is told as worse
    metric = replace(metrics_of_table({"x": pd.Timedelta("15min")})[0], rule=Sustained())
    told = pd.Series(detection.score(metric, judge_series(metric, values, "UTC")), index).iloc[-192:]
    flags = told.index[told < -1]
    assert 1 <= len(flags) <= 8
    assert (flags[1:] - flags[:-1] >= pd.Timedelta("6h")).all()
    assert (told == -TOLD_ALREADY).sum() > 60
