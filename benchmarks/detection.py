"""`make bench-detection`: score the default detector on labelled series with the scoring script beside the data.

The folder of data has series.csv (series, freq_s) and Parquet files (series, ts, value), one per set of series. Every series is
judged by the catalogue's RULE and the default policy, as in a run; there are no settings per series. Series of the set "app" are
judged as a new team's catalogue judges them: METRICS, together, a ratio with its denominator.
"""

from __future__ import annotations

import json
import operator
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from statistics import fmean, pstdev

import numpy as np
import pandas as pd

from alerting.metrics import METRICS, metrics_of_table
from alerting.model.errors import SettingsError
from alerting.model.metric import Metric
from alerting.model.verdict import EventKind
from alerting.pipeline.advance import fold_episodes
from alerting.pipeline.context import DueBuckets
from alerting.pipeline.judged import judge_whole, verdicts
from benchmarks import app_tables

TOLD_ALREADY = 0.5  # score of an anomalous bucket without a notification
TELLING = (EventKind.OPENED, EventKind.WORSENED, EventKind.REMINDER, EventKind.NO_DATA)
COST = 5.0  # ms per 1,000 buckets: the target
LEAST_EVENTS = 3  # a cluster with fewer events has no figure of its own
APP = "app"  # name of the set of whole apps, and of its table
COMPARE: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}
ASKED: dict[str, dict[str, tuple[str, float]]] = {
    "app": {
        "f1": (">=", 0.88),
        "recall": (">=", 0.88),
        "fa_week": ("<=", 0.12),
        "calm": ("<=", 2),
        "night": ("<=", 0.3),
    },
    "core": {"f1": (">=", 0.76), "macro_f1": (">=", 0.64), "recall_at_1": (">=", 0.88)},
    "core, 5 min": {"f1": (">=", 0.8)},
    "nab": {"f1": (">=", 0.55)},
    "microsoft seasonal": {"f1": (">=", 0.56)},
    "microsoft other": {"f1": (">=", 0.6)},
    "kpi non-seasonal": {"f1": (">=", 0.72)},
    "injected": {"f1": (">=", 0.72), "recall": (">=", 0.8), "fa_week": ("<=", 0.5)},
}
ASKED_KINDS = {  # kind of incident -> which recall in the apps that are big enough, and the least
    "outage_1h": ("recall_1h", 1.0),
    "feed50_1h": ("recall_1h", 1.0),
    "feed30_2h": ("recall_1h", 0.95),
    "ctr30_3h": ("recall_1h", 0.95),
    "duplicates_1h": ("recall_1h", 0.98),
    "messages40_2h": ("recall_1h", 0.95),
    "feed20_6h": ("recall_1h", 0.85),
    "ios_down_2h": ("recall", 0.98),
    "ios_likes45_6h": ("recall", 0.85),
    "ramp40_6h": ("recall", 0.98),
    "feed15_3d": ("recall", 0.92),
}


@dataclass(frozen=True)
class Figure:
    """One line of the result. `asked`: the target, set for the data that is kept back. `holds`: None without a target."""

    name: str
    value: float
    unit: str
    asked: str = "-"
    holds: bool | None = None


@dataclass(frozen=True)
class Related:
    """Metrics that are judged together: metric -> values (float64, full UTC grid), metric -> name of its series in the data."""

    metrics: list[Metric]
    values: Mapping[str, pd.Series]
    names: Mapping[str, str]


def main(data: Path, out: Path, scorer: Path | None = None) -> int:
    """Write OUT/scores.parquet and, if the scoring script exists, OUT/detection.json; print its output and the tables.

    `scorer`: path of score.py (default: DATA/../../bench/score.py). The exit code is 1 if the script fails. Raises SettingsError
    for a folder without series.csv.
    """
    if not (data / "series.csv").is_file():
        raise SettingsError(f"{data} has no series.csv: give the folder of one data set, such as {data / 'dev'}")
    out.mkdir(parents=True, exist_ok=True)
    known = pd.read_csv(data / "series.csv", dtype={"series": str}).set_index("series")
    scores, seconds = _scores(_related(data, known))
    scores.to_parquet(out / "scores.parquet", index=False)
    cost = seconds * 1e6 / max(len(scores), 1)
    figures = [Figure("cost of the default rule", cost, "ms per 1,000 buckets", f"<= {COST:g}", cost <= COST)]
    scorer = scorer or data.resolve().parent.parent / "bench" / "score.py"
    if not scorer.is_file():
        sys.stdout.write(f"no scoring script at {scorer}: wrote {out / 'scores.parquet'} only; name one with --scorer\n")
        return _told(figures, out)
    try:
        figures += _scored_figures(data, out, scorer, known, scores)
    except subprocess.CalledProcessError:  # it has printed the reason
        return 1
    return _told(figures, out)


def _scored_figures(data: Path, out: Path, scorer: Path, known: pd.DataFrame, scores: pd.DataFrame) -> Iterator[Figure]:
    """Yield the figures of all tables. Raises CalledProcessError."""
    subset, fine = "injected" if list(data.glob("*_truth.csv")) else "all", known["freq_s"].min() < 900
    tables = _scored(data, out / "scores.parquet", scorer, subset)
    if _is_app(known):
        yield from _app_figures(data, known, scores, tables["injected"])
        return
    for name, table in tables.items():
        yield from _figures(f"{name}, 5 min" if fine else name, table)
    if "core" in tables and not fine:
        yield from _scale_law(data, out, scorer, known, tables["core"])


def _is_app(known: pd.DataFrame) -> bool:
    return "set" in known and (known["set"] == APP).all()


def _scores(groups: Iterable[Related]) -> tuple[pd.DataFrame, float]:
    """Return a frame (series, ts as naive UTC, score) of all buckets, and the processor time of judging in seconds."""
    parts, seconds = [], 0.0
    for group in groups:
        start = time.process_time()
        counts = pd.DataFrame(group.values)
        volumes = {metric.name: metric.volume(counts) for metric in group.metrics if metric.volume}
        judged = judge_whole(group.metrics, group.values, "UTC", volumes)
        seconds += time.process_time() - start
        for metric in group.metrics:
            ts = judged[metric.name].index.tz_localize(None)
            told = score(metric, judged[metric.name])
            parts.append(pd.DataFrame({"series": group.names[metric.name], "ts": ts, "score": told}))
    return pd.concat(parts, ignore_index=True), seconds


def _related(data: Path, known: pd.DataFrame) -> Iterator[Related]:
    """Yield the series of the data: the metrics of an app together, every other series alone."""
    steps = {str(name): timedelta(seconds=int(seconds)) for name, seconds in known["freq_s"].items()}
    values = _values(data, steps)
    if not _is_app(known):
        alone = {metric.query: metric for metric in metrics_of_table(steps)}
        yield from (Related([alone[name]], {alone[name].name: part}, {alone[name].name: name}) for name, part in values)
        return
    read = dict(values)
    for _, app in known.groupby("cluster", sort=False):
        names = {str(metric): str(name) for name, metric in app["kpi"].items()}
        metrics = [replace(metric, step=steps[names[metric.name]]) for metric in METRICS if metric.name in names]
        yield Related(metrics, {metric.name: read[names[metric.name]] for metric in metrics}, names)


def _values(data: Path, steps: Mapping[str, timedelta]) -> Iterator[tuple[str, pd.Series]]:
    for path in sorted(data.glob("*.parquet")):
        for name, rows in pd.read_parquet(path, columns=["series", "ts", "value"]).groupby("series", sort=False):
            if (step := steps.get(str(name))) is not None:
                values = pd.Series(rows["value"].to_numpy(float), pd.DatetimeIndex(rows["ts"]).tz_localize("UTC"))
                yield str(name), values.sort_index().asfreq(step)


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


def _scored(data: Path, scores: Path, scorer: Path, subset: str) -> dict[str, dict]:
    """Run the scoring script. Return its result: table -> figures. Raises CalledProcessError if it fails."""
    said = scores.with_name(scores.name.replace("scores", "score")).with_suffix(".json")
    told = [str(scorer), "--data", str(data), "--scores", str(scores), "--subset", subset, "--json", str(said)]
    sys.stdout.flush()
    subprocess.run([sys.executable, *told], check=True)
    return json.loads(said.read_text(encoding="utf-8"))


def _figures(name: str, table: dict) -> Iterator[Figure]:
    asked = ASKED.get(name, {})
    for key in ("f1", "recall", "precision", "macro_f1", "recall_at_0.25", "recall_at_1"):
        yield _figure(f"{name}: {key}", table[key], "share", asked.get(key))
    yield _figure(f"{name}: false alerts", table["fa_week"], "per series and week", asked.get("fa_week"))
    yield from _without_a_cluster(name, table["per_series"])
    for kind in table.get("kinds", []):
        for key in ("recall_1h", "recall"):
            if key in kind:
                yield Figure(f"{name}: {kind['kind']} {key}", kind[key], "share")


def _scale_law(data: Path, out: Path, scorer: Path, known: pd.DataFrame, core: dict) -> Iterator[Figure]:
    """Yield the figures of the core series as (x - mean) / sd: those of the plain values, if the scale does not matter."""
    names, path = {series["name"] for series in core["per_series"]}, out / "scores_z.parquet"
    groups = (group for group in _related(data, known) if names.issuperset(group.names.values()))
    scores, _ = _scores(
        replace(group, values={name: (x - x.mean()) / x.std() for name, x in group.values.items()}) for group in groups
    )
    scores.to_parquet(path, index=False)
    table = _scored(data, path, scorer, "core")["core"]
    for key, unit in (("f1", "share"), ("recall", "share"), ("fa_week", "per series and week")):
        yield Figure(f"core z-scored: {key}", table[key], unit)
        yield Figure(f"core z-scored: {key}, minus that of core", table[key] - core[key], unit)


def _app_figures(data: Path, known: pd.DataFrame, scores: pd.DataFrame, table: dict) -> Iterator[Figure]:
    """Print the tables of whole apps and yield their figures."""
    series, told = app_tables.described(known), app_tables.alerts(scores)
    truth = pd.concat(
        [pd.read_csv(path, parse_dates=["start", "end"], dtype={"series": str}) for path in data.glob("*_truth.csv")]
    )
    delayed, asked = app_tables.delays(truth.reset_index(drop=True), told), ASKED[APP]
    by_app = app_tables.counts(series, table["per_series"], "app")
    big = app_tables.by_kind(delayed[delayed["series"].map(series["size"]) >= app_tables.BIG])
    _show("by app", by_app.join(series.groupby("app")["size"].first()))
    _show("by size", app_tables.counts(series, table["per_series"], "class"))
    _show("by metric", app_tables.counts(series, table["per_series"], "metric"))
    _show("by kind of incident, all apps", app_tables.by_kind(delayed))
    _show(f"by kind of incident, apps of {app_tables.BIG:,} users or more", big)
    for key in ("f1", "recall", "precision"):
        yield _figure(f"{APP}: {key}", table[key], "share", asked.get(key))
    yield _figure(f"{APP}: false alerts", table["fa_week"], "per metric and week", asked["fa_week"])
    yield Figure(f"{APP}: macro f1 by app", float(by_app["f1"].mean()), "share")
    yield Figure(f"{APP}: f1 by app, spread", float(by_app["f1"].std(ddof=0)), "standard deviation")
    yield Figure(f"{APP}: f1 by app, lowest", float(by_app["f1"].min()), "share")
    yield Figure(f"{APP}: f1 by app, highest", float(by_app["f1"].max()), "share")
    for kind, row in big.iterrows():
        key, least = ASKED_KINDS.get(str(kind), ("recall", None))
        name = f"{APP}, {app_tables.BIG:,} users or more: {kind} {key}"
        yield _figure(name, float(row[key]), f"of {row['events']:.0f}", None if least is None else (">=", least))
    yield from _calm_figures(app_tables.CalmWeeks.of(series, told))


def _calm_figures(calm: app_tables.CalmWeeks) -> Iterator[Figure]:
    alerts, asked = len(calm.alerts), ASKED[APP]
    _show(f"calm weeks (days 14 to 28): {alerts} alerts in {calm.weeks:g} app-weeks, by hour", calm.by_hour.to_frame("alerts").T)
    yield _figure(f"{APP}, calm weeks: alerts, all metrics", calm.a_week, "per app and week", asked["calm"])
    yield Figure(f"{APP}, calm weeks: moments with alerts", calm.moments_a_week, "per app and week")
    yield _figure(f"{APP}, calm weeks: share from 0:00 to 6:00", calm.night_share, f"of {alerts}; chance .25", asked["night"])
    chance = f"of {alerts}; chance {alerts * 2 / 7 / 24:.1f}"
    yield Figure(f"{APP}, calm weeks: from 10:00 to 11:00 on weekends", calm.at_weekend_step, chance)


def _figure(name: str, value: float, unit: str, asked: tuple[str, float] | None) -> Figure:
    if asked is None:
        return Figure(name, value, unit)
    sign, bound = asked
    return Figure(name, value, unit, f"{sign} {bound:g}", COMPARE[sign](value, bound))


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


def _show(title: str, table: pd.DataFrame) -> None:
    sys.stdout.write(f"\n{title}\n{table.to_string(float_format='{:.3f}'.format)}\n")


def _told(figures: list[Figure], out: Path) -> int:
    sys.stdout.write("\n")
    for f in figures:
        mark = {True: "ok ", False: "BAD", None: "   "}[f.holds]
        sys.stdout.write(f"{mark} {f.name:<64} {f.value:>8.3f} {f.unit:<22} asked {f.asked}\n")
    if any(f.holds is not None for f in figures[1:]):
        sys.stdout.write("What is asked is set for data that is kept back; the figures are those of the data at hand.\n")
    text = json.dumps([asdict(f) for f in figures], indent=1)
    (out / "detection.json").write_text(text + "\n", encoding="utf-8")
    return 0
