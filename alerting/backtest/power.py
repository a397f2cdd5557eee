"""What the rules can find: drops put at random moments of the past, each judged as a run would have judged it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pandas as pd

from alerting import detectors
from alerting.backtest.faults import Fault, inject
from alerting.backtest.replay import BacktestData, Progress, covered_buckets, replay_judged
from alerting.model.metric import Metric
from alerting.model.verdict import EventKind

DEPTHS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6)
SOON, LATER = timedelta(minutes=15), timedelta(hours=1)
PARTS = {"day": range(8, 24), "night": range(0, 8)}  # local hours
COLUMNS = ["metric", "part", "drop", "within 15 min", "within 1 h", "tried"]


def detection_power(
    past: BacktestData, depths: Sequence[float] = DEPTHS, times: int = 40, seed: int = 0, track: Progress = iter
) -> pd.DataFrame:
    """One row per metric, part of the day and drop (a share): which share of them is told within 15 minutes and an hour of
    its beginning, of `tried` ones at random moments that are not known to be odd already.

    The band is made anew for every drop from what would have been read then, so a rule that follows the drop is seen doing
    so. A drop of 0 tells what chance finds.
    """
    known = [metric for metric in past.metrics if metric.name in past.series]
    cells = [(metric, part) for metric in known for part in PARTS]
    rows = [row for metric, part in track(cells) for row in _rows(past, metric, part, depths, times, seed)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _rows(past: BacktestData, metric: Metric, part: str, depths: Sequence[float], times: int, seed: int) -> list[list[object]]:
    moments = _moments(past, metric, part, times, seed)
    found = np.array([_delays(past, metric, at, sorted(depths)) for at in moments]).reshape(-1, len(depths)).T
    within = [(found < limit / metric.step).sum(axis=1) for limit in (SOON, LATER)]
    tried = max(len(moments), 1)
    return [
        [metric.name, part, depth, soon / tried, later / tried, len(moments)]
        for depth, soon, later in zip(sorted(depths), *within, strict=True)
    ]


def _moments(past: BacktestData, metric: Metric, part: str, times: int, seed: int) -> list[pd.Timestamp]:
    """Random buckets that have a value and an hour to go, and are not known to be odd."""
    values = past.series[metric.name].loc[past.start : past.end - max(LATER, metric.step)]
    hours = values.index.tz_convert(past.zone).hour
    fit = values.notna() & hours.isin(list(PARTS[part])) & ~covered_buckets(values.index, past.known, metric.name, LATER)
    rng = np.random.default_rng([seed, list(PARTS).index(part)])
    pool = values.index[fit]
    return sorted(rng.choice(pool, min(times, len(pool)), replace=False)) if len(pool) else []


def _delays(past: BacktestData, metric: Metric, at: pd.Timestamp, depths: Sequence[float]) -> list[float]:
    """Of each drop, from the smallest to the deepest. What is told at its first bucket, whose band is made of the past
    before it, would be told there of any deeper drop too."""
    delays: list[float] = []
    for depth in depths:
        at_once = metric.policy.direction != "up" and delays[-1:] == [0.0]
        delays.append(0.0 if at_once and depths[len(delays) - 1] > 0 else _delay(past, metric, at, depth))
    return delays


def _delay(past: BacktestData, metric: Metric, at: pd.Timestamp, depth: float) -> float:
    """Buckets from the beginning of a drop to the one that tells it; infinite where none does within the hour."""
    start = pd.Timestamp(at).to_pydatetime()
    end = start + max(LATER // metric.step, 1) * metric.step
    values = past.series[metric.name].loc[start - metric.rule.history : end - metric.step]
    values = inject(values, Fault("drop", start, end - start, -depth))
    band = metric.rule.band(values, past.zone)
    judged = detectors.judge(values.loc[start:], band.loc[start:], metric)
    events = replay_judged([metric], {metric.name: judged}, start, end).events
    return next(((e.bucket - start) / metric.step for e in events if e.kind is EventKind.OPENED), float("inf"))


def power_lines(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """metric -> drop x "day, 1 h", "day, 15 min", "night, 1 h", "night, 15 min": the share told."""
    wide = table.pivot(index=["metric", "drop"], columns="part", values=COLUMNS[3:5])
    lines = {f"{part}, {name.removeprefix('within ')}": wide[name, part] for part in PARTS for name in reversed(COLUMNS[3:5])}
    return {str(metric): pd.DataFrame(lines).loc[metric] for metric in dict.fromkeys(table["metric"])}


def smallest_found(table: pd.DataFrame, share: float = 0.9) -> pd.DataFrame:
    """One row per metric: the smallest drop of which (with every deeper one) at least `share` is told; NaN where none is."""
    horizons = {"15 min": "within 15 min", "1 h": "within 1 h"}
    cells = {(m, part): group.sort_values("drop") for (m, part), group in table.groupby(["metric", "part"], sort=False)}
    rows = {
        metric: {
            f"{part}, {name}": _smallest(cells[metric, part], column, share)
            for part in PARTS
            for name, column in horizons.items()
        }
        for metric in dict.fromkeys(table["metric"])
    }
    return pd.DataFrame.from_dict(rows, orient="index")


def _smallest(cell: pd.DataFrame, column: str, share: float) -> float:
    good = (cell[column] >= share).to_numpy()
    from_here_on = np.logical_and.accumulate(good[::-1])[::-1]
    return float(cell["drop"].to_numpy()[from_here_on].min(initial=np.inf)) if from_here_on.any() else float("nan")


def power_table(table: pd.DataFrame) -> pd.DataFrame:
    """To read: one row per metric and part of the day, one column per drop, "within 15 min / within 1 h" in per cent."""
    text = [f"{100 * soon:.0f} / {100 * later:.0f}" for soon, later in zip(table[COLUMNS[3]], table[COLUMNS[4]], strict=True)]
    shown = table.assign(text=text, drop=[f"-{drop:.0%}" for drop in table["drop"]])
    wide = shown.pivot(index=["metric", "part"], columns="drop", values="text")
    order = shown[["metric", "part"]].drop_duplicates()
    return wide.loc[pd.MultiIndex.from_frame(order), list(dict.fromkeys(shown["drop"]))]
