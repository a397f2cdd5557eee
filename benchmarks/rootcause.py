"""`make bench-rootcause`: score the root-cause search on real incidents with the scoring script beside the data.

The folder of data has NAME_*.parquet (the leaves of the cases) and NAME_*_truth.csv (only case, ts and attributes are read here).
A set with the columns value and cnt is a ratio per minute; a set with m05 ... is a count with its past values in columns. All
sets use the defaults of `alerting.rootcause`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from alerting.model.metric import spell_segment
from alerting.rootcause.explain import Candidate, explain

TOP = 3
MINUTES = 10  # minutes of history of a ratio
DECAY_BUCKETS = 1.25  # the weight of a past bucket falls by e over so many; best of 0.5 .. 4 for segments of 2 % and more
FORECAST_ERRORS = 6  # past buckets that are forecast to measure each leaf's spread
SECONDS = 1.0  # target per case
ASKED = {
    "rs": {"top1": 0.75, "top3": 0.9, "f1": 0.75},
    "slices": {"top1": 0.6, "top3": 0.75, "f1": 0.65},
}


@dataclass(frozen=True)
class Figure:
    """One line of the result. `holds`: None without a target."""

    name: str
    value: float
    unit: str
    asked: str = "-"
    holds: bool | None = None


def main(data: Path, out: Path, scorer: Path | None = None) -> int:
    """Write OUT/predictions.csv (dataset, case, rank, root_cause) and, if the scoring script exists, OUT/rootcause.json.

    `scorer`: path of rootcause_score.py (default: DATA/../../bench/rootcause_score.py). The exit code is 1 if the script
    fails, or if the folder has no cases.
    """
    out.mkdir(parents=True, exist_ok=True)
    found, seconds = _predictions(data)
    if found.empty:
        sys.stdout.write(f"no NAME_truth.csv with NAME.parquet beside it in {data}\n")
        return 1
    found.to_csv(out / "predictions.csv", index=False)
    cost = [_cost(name, times) for name, times in seconds.items()]
    scorer = scorer or data.resolve().parent.parent / "bench" / "rootcause_score.py"
    if not scorer.is_file():
        sys.stdout.write(f"no scoring script at {scorer}: wrote {out / 'predictions.csv'} only; name one with --scorer\n")
        return _told(cost, out)
    scores = _scored(data, out, scorer)
    if scores is None:
        return 1
    return _told([*cost, *(f for name, score in scores.items() for f in _figures(name, score))], out)


def _predictions(data: Path) -> tuple[pd.DataFrame, dict[str, list[float]]]:
    """Return the ranked causes of all cases, and the processor time in seconds per case of each set."""
    rows: list[tuple[str, str, int, str]] = []
    seconds: dict[str, list[float]] = {}
    for path in sorted(data.glob("*_truth.csv")):
        table = path.with_name(path.name.replace("_truth.csv", ".parquet"))
        if not table.is_file():
            continue
        for dataset, case, leaves, attributes in _cases(table, path):
            start = time.process_time()
            causes = answers(leaves, attributes)
            seconds.setdefault(dataset, []).append(time.process_time() - start)
            rows += [(dataset, case, rank + 1, spell_segment(cause.conditions, space="")) for rank, cause in enumerate(causes)]
    return pd.DataFrame(rows, columns=["dataset", "case", "rank", "root_cause"]), seconds


def _cases(table: Path, truth: Path) -> Iterator[tuple[str, str, pd.DataFrame, list[str]]]:
    """Yield each case: data set, case, rows before and at the anomaly, attributes. The recorded cause is not read."""
    known = pd.read_csv(truth, dtype=str, usecols=["dataset", "case", "ts", "attributes"])
    cases = dict(list(pd.read_parquet(table).groupby("case", sort=False)))
    for case in known.itertuples():
        if case.case not in cases:
            continue
        rows = cases[case.case]
        if "cnt" in rows:
            back = ((pd.Timestamp(case.ts) - rows["ts"]) / pd.Timedelta("1min")).round()
            rows = rows.assign(back=back.astype(int))[back.to_numpy() >= 0].drop(columns="ts")
        yield str(case.dataset), str(case.case), rows, str(case.attributes).split("|")


def answers(rows: pd.DataFrame, attributes: list[str]) -> tuple[Candidate, ...]:
    """Return up to three ranked causes of one case, even if the evidence is below the threshold: an empty answer scores 0.

    Of a ratio only those that rose, because higher is worse.
    """
    if "cnt" not in rows:
        return explain(count_leaves(rows, attributes), attributes).candidates[:TOP]
    candidates = explain(ratio_leaves(rows, attributes), attributes, "ratio").candidates
    return tuple(cause for cause in candidates if cause.value > cause.expected)[:TOP]


def ratio_leaves(rows: pd.DataFrame, attributes: list[str]) -> pd.DataFrame:
    """Return the leaves of a ratio (higher is worse). Expected is the lower half of up to ten minutes before.

    `rows`: value, cnt, the attributes, and `back`, the minutes before the anomaly (0).
    """
    rows = rows[rows["back"] <= MINUTES]
    wide = rows.groupby([*attributes, "back"], dropna=False)[["value", "cnt"]].sum().unstack("back", fill_value=0.0)
    past = [b for b in wide["value"].columns if b > 0]
    part, whole = expected_ratio(wide["value"][past].to_numpy(float), wide["cnt"][past].to_numpy(float))
    now = {name: wide[column].get(0, pd.Series(0.0, wide.index)).to_numpy(float) for name, column in _NOW.items()}
    return wide.index.to_frame(index=False).assign(**now, expected_part=part, expected_whole=whole)


_NOW = {"part": "value", "whole": "cnt"}


def count_leaves(rows: pd.DataFrame, attributes: list[str]) -> pd.DataFrame:
    """Return the leaves of a count with a forecast from the hour before (columns m05 .. m60: minutes before)."""
    past = sorted(c for c in rows if c[0] == "m" and c[1:].isdigit())
    expected, spread = expected_counts(np.nan_to_num(rows[past].to_numpy(float)))
    return rows[attributes].assign(value=rows["value"].to_numpy(float), expected=expected, spread=spread)


def expected_counts(past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) expected and (n,) spread of the next bucket of counts.

    `past` (n, steps): the buckets before, newest first, 0 where a leaf had none. Each bucket is scaled to the newest one's
    total, then averaged with weights that fall with age; the spread is the root mean square of the same forecast's errors
    of the newest `FORECAST_ERRORS` buckets. Raises ValueError under 2 buckets.
    """
    if past.ndim != 2 or past.shape[1] < 2:
        raise ValueError(f"recent: past must have two buckets or more, has shape {past.shape}")

    def forecast(buckets: np.ndarray, total: float) -> np.ndarray:
        weights = np.exp(-np.arange(buckets.shape[1]) / DECAY_BUCKETS)
        return (buckets * (total / np.maximum(buckets.sum(axis=0), 1e-9))) @ (weights / weights.sum())

    errors = range(min(FORECAST_ERRORS, past.shape[1] - 1))
    squares = [(past[:, i] - forecast(past[:, i + 1 :], past[:, i].sum())) ** 2 for i in errors]
    return forecast(past, past[:, 0].sum()), np.sqrt(np.mean(squares, axis=0))


def expected_ratio(part: np.ndarray, whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (n,) expected part and whole of a ratio where higher is worse: the mean of the better half of the past buckets.

    `part`, `whole` (n, steps). The worse half may hold the beginning of this incident, or the last one.
    """
    used = np.flatnonzero(whole.sum(axis=0) > 0)
    if not len(used):
        return np.zeros(len(part)), np.zeros(len(part))
    overall = part[:, used].sum(axis=0) / whole[:, used].sum(axis=0)
    better = used[np.argsort(overall, kind="stable")[: (len(used) + 1) // 2]]
    return part[:, better].mean(axis=1), whole[:, better].mean(axis=1)


def _cost(name: str, times: list[float]) -> Figure:
    cost = float(np.mean(times))
    return Figure(f"{name}: time", cost, f"s per case, at most {max(times):.2f}", f"< {SECONDS:g}", max(times) < SECONDS)


def _scored(data: Path, out: Path, scorer: Path) -> dict[str, dict] | None:
    """Run the scoring script. Return its result: data set -> figures; None if it fails."""
    said = out / "rootcause_score.json"
    told = [str(scorer), "--data", str(data), "--predictions", str(out / "predictions.csv"), "--json", str(said)]
    sys.stdout.flush()
    if subprocess.run([sys.executable, *told], check=False).returncode:
        return None
    return json.loads(said.read_text(encoding="utf-8"))


def _figures(name: str, score: dict) -> Iterator[Figure]:
    for key in ("top1", "top3", "f1"):
        least = ASKED.get(name, {}).get(key)
        if least is None:
            yield Figure(f"{name}: {key}", score[key], "share")
        else:
            yield Figure(f"{name}: {key}", score[key], "share", f">= {least:g}", score[key] >= least)


def _told(figures: list[Figure], out: Path) -> int:
    sys.stdout.write("\n")
    for f in figures:
        mark = {True: "ok ", False: "BAD", None: "   "}[f.holds]
        sys.stdout.write(f"{mark} {f.name:<24} {f.value:>8.3f} {f.unit:<30} asked {f.asked}\n")
    text = json.dumps([asdict(f) for f in figures], indent=1)
    (out / "rootcause.json").write_text(text + "\n", encoding="utf-8")
    return 0
