"""What is watched: a line of the catalogue, when its verdicts are worth a message, where its counts come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from alerting.model.verdict import Verdict

STEP = timedelta(minutes=15)
CHART_SPAN, CHART_BUCKETS = timedelta(days=2), 30  # a chart shows two days, or 30 buckets where those take longer


@dataclass(frozen=True)
class Policy:
    """When a verdict is worth a message. Shares are fractions of the expected value, units are the metric's own."""

    need: int = 1  # anomalous buckets ...
    window: int = 1  # ... among the last `window` that open an episode (m of n)
    recover: int = 2  # normal buckets ...
    recover_window: int = 0  # ... among the last so many answers that resolve it (0: as many as `recover`, so in a row)
    patience: int = 2  # missing buckets in a row before "no data" is said
    remind: timedelta = timedelta(hours=6)
    worsen: float = 0.5  # "worse" is said when the deviation has grown by this share since it was last told
    direction: str = "both"  # both | down | up
    min_change: float = 0.05  # the band is never narrower than this share of expected
    min_units: float = 0.0  # nor than this many units
    min_volume: float = 0.0  # what is made of less than this is unknown: a count's expected value, a ratio's denominator
    critical: float = 2.0  # a score this far out is critical, anything nearer a warning

    def __post_init__(self) -> None:
        if not 1 <= self.need <= self.window:
            raise ValueError(f"Policy: need={self.need} must lie between 1 and window={self.window}")
        if self.direction not in ("both", "down", "up"):
            raise ValueError(f"Policy: direction={self.direction!r} must be 'both', 'down' or 'up'")
        if self.recover < 1 or self.patience < 1:
            raise ValueError("Policy: recover and patience are at least 1 bucket")
        if 0 < self.recover_window < self.recover:
            raise ValueError(f"Policy: recover={self.recover} cannot be more than recover_window={self.recover_window}")
        if min(self.min_change, self.min_units, self.min_volume, self.worsen) < 0:
            raise ValueError("Policy: min_change, min_units, min_volume and worsen cannot be negative")
        if self.critical < 1:
            raise ValueError(f"Policy: critical={self.critical:g} must be at least 1, the edge of normal")

    def is_critical(self, verdict: Verdict) -> bool:
        """Whether the score is far out, or unknown (NaN)."""
        return not abs(verdict.score) < self.critical


@runtime_checkable
class BandDetector(Protocol):
    """The least that a rule of an analyst's own has: a frozen parameter object that draws the band of one series."""

    @property
    def history(self) -> timedelta:
        """How far back the band of one bucket looks."""

    def band(self, values: pd.Series, zone: str = "UTC") -> pd.DataFrame:
        """low, expected, high for every bucket, each row from earlier values only."""


@runtime_checkable
class Detector(BandDetector, Protocol):
    """A detector. The catalogue makes one of a rule that has no more than a band (see `detectors.OneByOne`)."""

    def bands(self, grid: Any) -> dict[str, np.ndarray | str]:
        """The columns of `band` for the buckets that a `detectors.Grid` asks for: (series, buckets) each, or one word for all."""

    def reason(self, values: pd.Series, zone: str = "UTC") -> str:
        """Why the newest bucket is judged as it is; "" for a rule that does not choose."""


@runtime_checkable
class Summed(Protocol):
    """A metric's value that is made of sums, so that the segments of the data add up to it."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The column, or part and whole of a ratio."""


@dataclass(frozen=True)
class Metric:
    """One line of the catalogue."""

    name: str  # a plain identifier: file names, message keys, the command line
    title: dict[str, str]  # language -> words people read
    query: str  # name of the SQL file, and of the table in it: feed_actions, or feed_actions.ages for another of its queries
    value: Callable[[pd.DataFrame], pd.Series]  # counts per bucket -> values per bucket
    rule: Detector
    policy: Policy = Policy()
    step: timedelta = STEP
    width: float = 1.0  # the rule's half-widths times this: what an alert budget is spent with
    form: str = "count"  # count | ratio | number: how a value is written and what it may be
    adds: bool = True  # buckets and slices of a count can be summed; False for distinct users
    volume: Callable[[pd.DataFrame], pd.Series] | None = None  # counts -> what a ratio divides by, for `policy.min_volume`
    parents: tuple[str, ...] = ()  # metrics this one hangs on: views on feed users, CTR on likes and views
    product: str = ""  # part of the app it belongs to; when all parts are down together, it is the platform
    slices: str = "off"  # off | digest | alert: what is done about a slice that breaks while the total is calm
    segments_of: str = ""  # of a stand-in for slices: the metric they are of
    owner: str = ""  # mentioned in messages, for example "@duty"
    dashboard: str = ""  # URL; {start} and {end} become ISO times, {metric} the name, {slice} os=iOS
    color: str = ""

    def __post_init__(self) -> None:
        if not self.name.replace("_", "").replace("-", "").replace(".", "").isalnum():
            raise ValueError(f"Metric name {self.name!r}: use letters, digits, '_', '-' and '.' only")
        if self.form not in ("count", "ratio", "number"):
            raise ValueError(f"Metric {self.name}: form={self.form!r} must be 'count', 'ratio' or 'number'")
        if self.slices not in ("off", "digest", "alert"):
            raise ValueError(f"Metric {self.name}: slices={self.slices!r} must be 'off', 'digest' or 'alert'")
        if not 0 < self.width < float("inf"):
            raise ValueError(f"Metric {self.name}: width={self.width!r} must be above 0")
        if not timedelta(minutes=1) <= self.step <= timedelta(days=1):
            raise ValueError(f"Metric {self.name}: step={self.step} must lie between 1 minute and 1 day")

    @property
    def scan(self) -> str:
        """Name of the scan it is made of, which metrics of one query and step share."""
        return self.query if self.step == STEP else f"{self.query} by {self.step}"

    @property
    def chart_span(self) -> timedelta:
        """The time before its bucket that a chart of the metric shows."""
        return max(CHART_SPAN, CHART_BUCKETS * self.step)

    @property
    def table(self) -> str:
        return table_name(self.query)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that its slices are made of; none for a mean or a function, which they do not add up to."""
        return self.value.columns if isinstance(self.value, Summed) else ()


@dataclass(frozen=True)
class Query:
    """One scan of one source table. `name`: of the file, up to its first dot the table's identifier in the text."""

    name: str
    sql: str
    step: timedelta = STEP

    @property
    def table(self) -> str:
        return table_name(self.name)


def table_name(query: str) -> str:
    """The table that a query reads: `feed_actions`, and `feed_actions.ages` beside it."""
    return query.partition(".")[0]


@dataclass(frozen=True)
class CalendarEvent:
    """One line of the calendar: a release, a push, a campaign, a holiday, the start of an experiment."""

    start: datetime  # aware UTC
    end: datetime
    kind: str  # release | push | campaign | holiday | experiment, or any other word
    title: str
    metrics: tuple[str, ...] = ()  # which metrics it may move; none: all


@dataclass(frozen=True)
class Silence:
    """Nothing is told of what lies in its scope; it is judged and shown all the same. No data obeys it, too."""

    scope: str  # name of a metric, or * for all
    start: datetime
    until: datetime
    why: str = ""
    by: str = ""
    id: int = 0  # as the store counts them

    def covers(self, metric: str, bucket: datetime, step: timedelta = STEP) -> bool:
        """Whether some of the metric's bucket lies in it."""
        return self.scope in (metric, "*") and bucket < self.until and bucket + step > self.start
