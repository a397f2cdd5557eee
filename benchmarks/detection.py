"""`make bench-detection`: score the default detector on labelled series with the scoring script beside the data.

The folder of data has series.csv (series, freq_s) and Parquet files (series, ts, value), one per set of series. Every series is
judged by the catalogue's RULE and the default policy, as in a run; there are no settings per series.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from statistics import fmean, pstdev

import numpy as np
import pandas as pd

from alerting.metrics import metrics_of_table
from alerting.model.metric import Metric
from alerting.model.verdict import EventKind
from alerting.pipeline.advance import fold_episodes
from alerting.pipeline.context import DueBuckets
from alerting.pipeline.judge import judge_series, verdicts

TOLD_ALREADY = 0.5  # score of an anomalous bucket without a notification
TELLING = (EventKind.OPENED, EventKind.WORSENED, EventKind.REMINDER, EventKind.NO_DATA)
COST = 5.0  # ms per 1,000 buckets: the target
LEAST_EVENTS = 3  # a cluster with fewer events has no figure of its own
INJECTED = {  # kind of fault -> which recall, and its target
    "missing_1h": ("recall_1h", 1.0),
    "outage_2h": ("recall_1h", 1.0),
    "drop50_2h": ("recall_1h", 0.9),
    "spike50_2h": ("recall_1h", 0.9),
    "drop30_4h": ("recall_1h", 0.8),
    "drop20_6h": ("recall_1h", 0.55),
    "ramp40_6h": ("recall", 0.7),
    "ramp30_24h": ("recall", 0.4),
    "level15_3d": ("recall", 0.4),
}
ASKED = {
    "core": {"f1": 0.8, "macro_f1": 0.7, "recall_at_0.25": 0.82, "recall_at_1": 0.9},
    "core, 5 min": {"f1": 0.85, "recall_at_1": 0.93},
    "nab": {"f1": 0.6},
    "microsoft seasonal": {"f1": 0.7},
    "microsoft other": {"f1": 0.66},
    "kpi non-seasonal": {"f1": 0.7},
    "injected": {"f1": 0.7, "recall": 0.75},
}


@dataclass(frozen=True)
class Figure:
    """One line of the result. `asked`: the target, set for the hidden half of the data. `holds`: None without a target."""

    name: str
    value: float
    unit: str
    asked: str = "-"
    holds: bool | None = None


def main(data: Path, out: Path, scorer: Path | None = None) -> int:
    """Write OUT/scores.parquet and, if the scoring script exists, OUT/detection.json; print its output.

    `scorer`: path of score.py (default: DATA/../../bench/score.py). The exit code is 1 if the script fails.
    """
    out.mkdir(parents=True, exist_ok=True)
    scores, seconds = _scores(data)
    scores.to_parquet(out / "scores.parquet", index=False)
    cost = seconds * 1e6 / max(len(scores), 1)
    figures = [Figure("cost of the default rule", cost, "ms per 1,000 buckets", f"<= {COST:g}", cost <= COST)]
    scorer = scorer or data.resolve().parent.parent / "bench" / "score.py"
    if not scorer.is_file():
        sys.stdout.write(f"no scoring script at {scorer}: wrote {out / 'scores.parquet'} only; name one with --scorer\n")
        return _told(figures, out)
    tables = _scored(data, out, scorer)
    if tables is None:
        return 1
    fine = pd.read_csv(data / "series.csv").freq_s.min() < 900
    return _told([*figures, *(f for name, table in tables.items() for f in _figures(name, table, fine))], out)


def _scores(data: Path) -> tuple[pd.DataFrame, float]:
    """Return a frame (series, ts as naive UTC, score) of all buckets, and the processor time of judging in seconds."""
    parts, seconds = [], 0.0
    for metric, series in _series(data):
        start = time.process_time()
        judged = judge_series(metric, series, "UTC")
        seconds += time.process_time() - start
        told = score(metric, judged)
        ts = series.index.tz_localize(None)
        parts.append(pd.DataFrame({"series": metric.query, "ts": ts, "score": told}))
    return pd.concat(parts, ignore_index=True), seconds


def _series(data: Path) -> Iterator[tuple[Metric, pd.Series]]:
    known = pd.read_csv(data / "series.csv", dtype={"series": str}).set_index("series")
    metrics = {m.query: m for m in metrics_of_table({str(n): timedelta(seconds=int(s)) for n, s in known.freq_s.items()})}
    for path in sorted(data.glob("*.parquet")):
        for name, rows in pd.read_parquet(path, columns=["series", "ts", "value"]).groupby("series", sort=False):
            if (metric := metrics.get(str(name))) is not None:
                values = pd.Series(rows["value"].to_numpy(float), pd.DatetimeIndex(rows["ts"]).tz_localize("UTC"))
                yield metric, values.sort_index().asfreq(metric.step)


def score(metric: Metric, judged: pd.DataFrame) -> np.ndarray:
    """Return (n,) scores: |score| > 1 exactly in the buckets with a notification, by the episodes of a live run.

    Opened, worsened, reminder and "no data" count as notifications. An anomalous bucket without a notification gets +-0.5; a
    missing bucket with a notification gets -inf, without one NaN.
    """
    whole = DueBuckets(metric, judged.index[0].to_pydatetime(), judged.index[-1].to_pydatetime())
    events = fold_episodes([metric], verdicts([whole], {metric.name: judged}), {})[1]
    told = judged.index.isin([event.bucket for event in events if event.kind in TELLING])
    scores = judged["score"].to_numpy(float)
    scores = np.where((np.abs(scores) > 1) & ~told, np.sign(scores) * TOLD_ALREADY, scores)
    return np.where(told & ~(np.abs(scores) > 1), -np.inf, scores)


def _scored(data: Path, out: Path, scorer: Path) -> dict[str, dict] | None:
    """Run the scoring script. Return its result: table -> figures; None if it fails."""
    subset, said = "injected" if list(data.glob("*_truth.csv")) else "all", out / "score.json"
    told = [str(scorer), "--data", str(data), "--scores", str(out / "scores.parquet"), "--subset", subset, "--json", str(said)]
    sys.stdout.flush()
    if subprocess.run([sys.executable, *told], check=False).returncode:
        return None
    return json.loads(said.read_text(encoding="utf-8"))


def _figures(name: str, table: dict, fine: bool) -> Iterator[Figure]:
    name = f"{name}, 5 min" if fine else name
    asked = ASKED.get(name, {})
    for key in ("f1", "recall", "precision", "macro_f1", "recall_at_0.25", "recall_at_1"):
        yield _figure(f"{name}: {key}", table[key], "share", asked.get(key))
    yield Figure(f"{name}: false alerts", table["fa_week"], "per series and week")
    yield from _without_a_cluster(name, table["per_series"])
    for kind in table.get("kinds", []):
        if kind["kind"] in INJECTED:
            key, least = INJECTED[kind["kind"]]
            yield _figure(f"{name}: {kind['kind']} {key}", kind[key], "share", least)


def _figure(name: str, value: float, unit: str, least: float | None) -> Figure:
    return Figure(name, value, unit) if least is None else Figure(name, value, unit, f">= {least:g}", value >= least)


def _without_a_cluster(name: str, series: list[dict]) -> Iterator[Figure]:
    """Yield F1 with each cluster of sibling series left out, which shows whether the figure depends on one cluster."""
    counts = pd.DataFrame(series).groupby("cluster")[["events", "hit", "false"]].sum()
    if len(counts) < 2:
        return
    each = [float(_f1(counts.sum() - counts.loc[cluster])) for cluster in counts.index]
    yield Figure(f"{name}: f1 with a cluster left out, mean", fmean(each), "share")
    yield Figure(f"{name}: f1 with a cluster left out, spread", pstdev(each), "standard deviation")
    yield Figure(f"{name}: f1 with a cluster left out, lowest", min(each), "share")
    for cluster, row in counts[counts.events >= LEAST_EVENTS].iterrows():
        yield Figure(f"{name}: f1 of cluster {cluster}", float(_f1(row)), "share")


def _f1(counts: pd.Series) -> float:
    return 2 * counts.hit / max(counts.events + counts.hit + counts.false, 1)


def _told(figures: list[Figure], out: Path) -> int:
    sys.stdout.write("\n")
    for f in figures:
        mark = {True: "ok ", False: "BAD", None: "   "}[f.holds]
        sys.stdout.write(f"{mark} {f.name:<64} {f.value:>8.3f} {f.unit:<22} asked {f.asked}\n")
    text = json.dumps([asdict(f) for f in figures], indent=1)
    (out / "detection.json").write_text(text + "\n", encoding="utf-8")
    return 0
