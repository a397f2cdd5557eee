"""The detection benchmark on a small folder of data, with a scoring script that counts anomalous buckets."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alerting.metrics import metrics_of_table
from alerting.pipeline.judge import judge_series
from benchmarks import detection
from benchmarks.detection import TOLD_ALREADY

SCORER = """
import json, sys
import pandas as pd
args = dict(zip(sys.argv[1::2], sys.argv[2::2]))
scores = pd.read_parquet(args["--scores"])
assert args["--subset"] == SUBSET, args
flags = scores[scores.score.abs() > 1].groupby("series").size()
series = [dict(name=n, cluster=n[0], events=4, hit=3, false=int(flags.get(n, 0)), weeks=2.0) for n in scores.series.unique()]
table = dict(f1=0.81, recall=0.8, precision=0.8, macro_f1=0.5, fa_week=0.2, per_series=series)
table |= {"recall_at_0.25": 0.7, "recall_at_1": 0.95}
table["kinds"] = [dict(kind="outage_2h", recall_1h=0.9, recall=1.0), dict(kind="ALL")]
print("scored", len(scores))
json.dump({"injected" if SUBSET == "injected" else "core": table}, open(args["--json"], "w"))
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
    (bench / "score.py").write_text(f"SUBSET = {'injected' if injected else 'all'!r}\n{SCORER}")
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
                                       "asked": ">= 0.7" if injected else ">= 0.8", "holds": True}  # fmt: skip
    assert figures[f"{table}: outage_2h recall_1h"]["holds"] is False
    assert figures["cost of the default rule"]["value"] > 0
    each = [figures[f"{table}: f1 of cluster {c}"]["value"] for c in "ab"]  # the mean without each: of two, that of the others
    assert figures[f"{table}: f1 with a cluster left out, mean"]["value"] == pytest.approx(np.mean(each))
    printed = capfd.readouterr().out
    assert "scored 7680" in printed
    assert "BAD" in printed


def test_without_a_scoring_script_the_scores_are_written_and_that_is_said(tmp_path, capsys):
    data = folder(tmp_path)
    (tmp_path / "bench" / "score.py").unlink()
    assert detection.main(data, tmp_path / "out") == 0
    assert "no scoring script at" in capsys.readouterr().out
    assert (tmp_path / "out" / "scores.parquet").is_file()


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
    values.iloc[-192:] *= np.linspace(1, 0.6, 192)
    metric = metrics_of_table({"x": pd.Timedelta("15min")})[0]
    told = pd.Series(detection.score(metric, judge_series(metric, values, "UTC")), index).iloc[-192:]
    flags = told.index[told < -1]
    assert 1 <= len(flags) <= 8
    assert (flags[1:] - flags[:-1] >= pd.Timedelta("6h")).all()
    assert (told == -TOLD_ALREADY).sum() > 60
