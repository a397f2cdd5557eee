"""A tidy table of normal metrics with planted incidents: the incidents that must be reported, and their starts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

STEP = timedelta(minutes=15)
START = datetime(2026, 10, 1, tzinfo=UTC)  # of the time that is watched
HISTORY = timedelta(days=35)  # before it
METRICS = ("alpha", "bravo", "charlie", "delta", "echo", "foxtrot")
SPACING = (6, 9)  # buckets between two beginnings: more than an hour, so that each is a story of its own
LENGTH = (5, 18)  # buckets: less than six hours, after which the band alone decides
QUIET = 6  # buckets after an incident until its end must have been told
FIRST = 4  # bucket at which the one incident of a scenario begins
PATIENCE = 2  # missing buckets until "no data" is said
ASIDE = timedelta(minutes=6)  # after its end a bucket is complete


@dataclass(frozen=True)
class Planted:
    """One incident of the table. `kind`: drop, worse (a drop that becomes a deeper one) or gap; `start`: its first bucket."""

    metric: str
    start: datetime
    length: int
    kind: str

    @property
    def end(self) -> datetime:
        """First bucket that is well again."""
        return self.start + self.length * STEP

    @property
    def told_at(self) -> datetime:
        """Bucket at which it can be told first."""
        return self.start + (PATIENCE - 1) * STEP if self.kind == "gap" else self.start

    @property
    def id(self) -> str:
        return f"{self.told_at:%Y%m%dT%H%MZ}-{self.metric}"

    @property
    def ref(self) -> str:
        """The reference to the incident in the buttons of its opening message."""
        return blake2b(self.id.encode(), digest_size=8).hexdigest()


def bucket(number: int, start: datetime = START) -> datetime:
    """Start of the watched time's bucket of this number."""
    return start + number * STEP


def moment(number: int, start: datetime = START) -> datetime:
    """Return the moment at which a run judges this bucket as its newest."""
    return bucket(number + 1, start) + ASIDE


def plan(count: int, rng: random.Random) -> list[Planted]:
    """Incidents over the first `count` buckets, one metric after the other, all over before the end."""
    out, at, number = list[Planted](), 3, 0
    while at + LENGTH[1] + QUIET < count:
        kind = ("drop", "worse", "gap")[number % 3]
        out.append(Planted(METRICS[number % len(METRICS)], bucket(at), rng.randint(*LENGTH), kind))
        at += rng.randint(*SPACING)
        number += 1
    return out


def one() -> list[Planted]:
    """A single incident that is first bad, then worse, then over: what most scenarios disturb."""
    return [Planted("bravo", bucket(FIRST), 8, "worse")]


def table(path: Path, planted: Sequence[Planted], count: int, seed: int, zone: str = "UTC", start: datetime = START) -> Path:
    """Write the history and `count` watched buckets to `path` (.parquet); the rhythm of the day is that of `zone`."""
    index = pd.date_range(start - HISTORY, start + count * STEP, freq=STEP)
    noise = np.random.default_rng(seed)
    frames = []
    for metric in METRICS:
        values = pd.Series(_rhythm(index, zone) * (1 + 0.01 * noise.standard_normal(len(index))), index)
        for incident in (one for one in planted if one.metric == metric):
            _plant(values, incident)
        frames.append(pd.DataFrame({"series": metric, "ts": index, "value": values.to_numpy()}).dropna())
    pd.concat(frames).to_parquet(path)
    return path


def _rhythm(index: pd.DatetimeIndex, zone: str) -> np.ndarray:
    """Few at night, a steep morning, most in the day."""
    local = index.tz_convert(ZoneInfo(zone))
    hour = (local.hour + local.minute / 60).to_numpy()
    morning = np.tanh(8 * np.sin(2 * np.pi * (hour - 7.5) / 24))  # steep, and no jump at midnight: an incident may begin there
    return np.asarray(1000 * (1 + 0.35 * np.sin(2 * np.pi * (hour - 10) / 24) + 0.15 * morning))


def _plant(values: pd.Series, incident: Planted) -> None:
    last = incident.end - STEP
    values[incident.start : last] *= {"drop": 0.4, "worse": 0.6, "gap": np.nan}[incident.kind]
    if incident.kind == "worse":
        values[incident.start + 3 * STEP : last] *= 0.3
