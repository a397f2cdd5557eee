"""A folder of data as `make bench-detection` reads it: two small apps of two metrics, with incidents of known time and kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

START = pd.Timestamp("2026-01-05")  # a Monday
DAYS, PER_DAY = 38, 96
SIZES = {"app0": 400, "app1": 6_000}  # feed users in an evening bucket
METRICS = {"feed_users": 1.0, "views": 2.5}  # metric -> its size per feed user
INCIDENTS = [("outage_1h", 30.5, 4, 0.0), ("feed50_1h", 33.75, 4, 0.5), ("feed15_3d", 35.0, 288, 1.0)]  # the last changes nothing


def at(day: float, hours: float = 0) -> pd.Timestamp:
    return START + pd.Timedelta(days=day, hours=hours)


def series_csv() -> pd.DataFrame:
    """Return series.csv, with its index."""
    rows = [
        {"series": f"{app}_{metric}", "set": "app", "kpi": metric, "cluster": app, "freq_s": 900, "days": DAYS,
         "desc": f"{metric} of an app with about {size} feed users in an evening bucket"}
        for app, size in SIZES.items() for metric in METRICS
    ]  # fmt: skip
    return pd.DataFrame(rows).set_index("series")


def truth() -> pd.DataFrame:
    """Return the incidents of all series."""
    rows = [
        {"series": series, "start": at(day), "end": at(day, (buckets - 1) / 4), "kind": kind, "depth_noise": 3.0}
        for series in series_csv().index for kind, day, buckets, _ in INCIDENTS
    ]  # fmt: skip
    return pd.DataFrame(rows)


def write(data: Path) -> None:
    """Write the folder."""
    data.mkdir(parents=True)
    rng = np.random.default_rng(3)
    hour = np.arange(DAYS * PER_DAY) / 4
    level = 0.55 - 0.4 * np.cos(2 * np.pi * (hour - 8) / 24)
    for _, day, buckets, factor in INCIDENTS:
        level[round(day * PER_DAY) : round(day * PER_DAY) + buckets] *= factor
    parts = []
    for series, row in series_csv().iterrows():
        value = rng.poisson(SIZES[row.cluster] * METRICS[row.kpi] * level).astype(float)
        ts = pd.date_range(START, periods=len(level), freq="15min")
        parts.append(pd.DataFrame({"series": series, "ts": ts, "value": value}))
    pd.concat(parts).to_parquet(data / "dev.parquet", index=False)
    series_csv().to_csv(data / "series.csv")
    truth().to_csv(data / "dev_truth.csv", index=False)
