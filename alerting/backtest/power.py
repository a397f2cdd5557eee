"""Detection power: drops injected at random moments of the past, each judged as a run would have judged it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from alerting import detectors
from alerting.backtest.faults import Fault, inject
from alerting.backtest.replay import BacktestData, Progress, covered_buckets, replay_judged
from alerting.detectors.bands import series_columns
from alerting.detectors.series_grid import NightlyCache, SeriesGrid
from alerting.model.clock import DAY
from alerting.model.metric import Metric
from alerting.model.verdict import EventKind

DEPTHS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6)
HORIZONS = {"within 15 min": timedelta(minutes=15), "within 1 h": timedelta(hours=1)}
HOUR = timedelta(hours=1)
PARTS = {"day": range(8, 24), "night": range(0, 8)}  # local hours


def detection_power(
    past: BacktestData, depths: Sequence[float] = DEPTHS, times: int = 40, seed: int = 0, track: Progress = iter
) -> pd.DataFrame:
    """Return one row per metric, part of the day and drop (a share), with the columns of `HORIZONS` and `tried`.

    A horizon's column is the share of the drops notified within it, of `tried` drops at random moments outside of the known
    incidents, in this metric alone. The band follows each drop as a run's would, so a detector that adapts to the drop is seen
    doing so. A drop of 0 gives what chance finds.
    """
    cells = [(metric, part) for metric in past.metrics_with_values for part in PARTS]
    caches = {metric.name: _known_nights(past, metric) for metric in past.metrics_with_values}
    rows: list[list[object]] = []
    for metric, part in track(cells):
        moments = _moments(past, metric, part, times, seed)
        delays = np.array([_delays(past, metric, at, sorted(depths), caches[metric.name]) for at in moments])
        for depth, delay in zip(sorted(depths), delays.reshape(-1, len(depths)).T, strict=True):
            found = [(delay < limit / metric.step).sum() / max(len(moments), 1) for limit in HORIZONS.values()]
            rows.append([metric.name, part, depth, *found, len(moments)])
    return pd.DataFrame(rows, columns=["metric", "part", "drop", *HORIZONS, "tried"])


def _known_nights(past: BacktestData, metric: Metric) -> NightlyCache:
    """Return the metric's nightly statistics of the past, which a drop does not change before its first midnight."""
    cache: NightlyCache = {}
    values = past.series[metric.name].loc[: past.end - metric.step]
    metric.rule.bands(_grid(past, metric, values, values.to_numpy(float)[None, :], past.start, cache))
    return cache


def _grid(
    past: BacktestData, metric: Metric, like: pd.Series, rows: np.ndarray, since: datetime, cache: NightlyCache
) -> SeriesGrid:
    """Return a grid of some variants of the metric's series: (variants, buckets of `like`), requested from `since` on."""
    first, counts = int(like.index.searchsorted(pd.Timestamp(since))), np.full(len(rows), metric.counted)
    volume = past.volumes.get(metric.name)
    trials = None if volume is None else np.tile(volume.reindex(like.index).to_numpy(float), (len(rows), 1))
    return SeriesGrid.at(like.index, rows, past.zone, first, cache, counts, trials)


def _moments(past: BacktestData, metric: Metric, part: str, times: int, seed: int) -> list[pd.Timestamp]:
    """Return random buckets that have a value and an hour after them, outside of the known incidents."""
    values = past.series[metric.name].loc[past.start : past.end - max(HOUR, metric.step)]
    hours = (values.index + metric.step / 2).tz_convert(past.zone).hour
    in_part = hours.isin(list(PARTS[part])) | (metric.step >= DAY)  # a day is in both
    fit = values.notna() & in_part & ~covered_buckets(values.index, past.known, metric.name, HOUR)
    rng = np.random.default_rng([seed, list(PARTS).index(part)])
    pool = values.index[fit]
    return sorted(rng.choice(pool, min(times, len(pool)), replace=False)) if len(pool) else []


def _delays(
    past: BacktestData, metric: Metric, at: pd.Timestamp, depths: Sequence[float], cache: NightlyCache | None = None
) -> list[float]:
    """Return for each drop the buckets from its start to its alert; infinite where there is none within the hour.

    All depths are judged at once: they have one past. `cache`: of `_known_nights`.
    """
    start = pd.Timestamp(at).to_pydatetime()
    end = start + max(HOUR // metric.step, 1) * metric.step
    values = past.series[metric.name].loc[: end - metric.step]
    after = values.loc[start:]
    dropped = [inject(after, Fault("drop", start, end - start, -depth)) for depth in depths]
    rows = np.tile(values.to_numpy(float), (len(depths), 1))
    rows[:, -len(after) :] = dropped
    bands = metric.rule.bands(_grid(past, metric, values, rows, start, {} if cache is None else cache))
    volume, delays = past.volumes.get(metric.name), []
    for number, series in enumerate(dropped):
        limits = pd.DataFrame(series_columns(bands, number), index=series.index)
        judged = detectors.judge(series, limits, metric, None if volume is None else volume.reindex(series.index))
        events = replay_judged([metric], {metric.name: judged}, start, end).events
        opened = [(event.bucket - start) / metric.step for event in events if event.kind is EventKind.OPENED]
        delays.append(min(opened, default=float("inf")))
    return delays


def smallest_found(table: pd.DataFrame, share: float = 0.9) -> pd.DataFrame:
    """Return one row per metric: the smallest drop from which on at least `share` of the drops is found; NaN for none."""
    rows: dict[str, dict[str, float]] = {str(metric): {} for metric in dict.fromkeys(table["metric"])}
    for metric in rows:
        for part in PARTS:
            cell = table[(table["metric"] == metric) & (table["part"] == part)].sort_values("drop")
            for name in HORIZONS:
                found = (cell[name] >= share).to_numpy()
                from_here_on = np.logical_and.accumulate(found[::-1])[::-1]
                smallest = cell["drop"].to_numpy()[from_here_on].min() if from_here_on.any() else np.nan
                rows[metric][f"{part}, {name.removeprefix('within ')}"] = float(smallest)
    return pd.DataFrame.from_dict(rows, orient="index")


def power_table(table: pd.DataFrame) -> pd.DataFrame:
    """Return, to read, one row per metric and part of the day: "within 15 min / within 1 h" in percent for each drop."""
    text = [" / ".join(f"{100 * share:.0f}" for share in shares) for shares in table[list(HORIZONS)].to_numpy()]
    shown = table.assign(text=text, drop=[f"-{drop:.0%}" for drop in table["drop"]])
    wide = shown.pivot(index=["metric", "part"], columns="drop", values="text")
    order = shown[["metric", "part"]].drop_duplicates()
    return wide.loc[pd.MultiIndex.from_frame(order), list(dict.fromkeys(shown["drop"]))]
