"""The types of the catalogue: a metric with its policy, query, detector, segments and dashboard; calendar events and silences."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from hashlib import blake2b
from string import Formatter
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable
from urllib.parse import quote
from zoneinfo import ZoneInfo

from alerting.model.clock import DAY, day_phase, parse_week_spans, week_windows

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


STEP = timedelta(minutes=15)
MAX_VALUE = 1e30  # a larger number means "no value"; some tools write the largest float for that
NO_NAME_CHARACTER, MAX_NAME_BYTES = re.compile(r"[^\w.-]"), 140  # limits of a metric's name, which is part of file names
NO_END = datetime(9999, 1, 1, tzinfo=UTC)  # end of a weekly silence
SEGMENTS_SUFFIX = ".slices"  # end of the name of a stand-in, which watches the segments of a metric
CHART_SPAN, CHART_BUCKETS = timedelta(days=1), 30  # a chart shows a day, or 30 buckets if those take longer


@dataclass(frozen=True)
class Policy:
    """The rules that decide when messages are sent. Shares are fractions of the expected value, units are those of the metric."""

    need: int = 1  # this many anomalous buckets ...
    window: int = 1  # ... among the last `window` buckets open an episode (m of n)
    recover: int = 2  # this many normal buckets well inside the band (or three times as many, in a row, near its edge) ...
    recover_window: int = 0  # ... among the last `recover_window` normal or anomalous ones resolve it (0: `recover` in a row)
    patience: int = 2  # missing buckets in a row before "no data" is sent
    remind: timedelta = timedelta(hours=6)  # a reminder is sent this long after the last notification
    worsen: float = 0.5  # "worse" is sent when the residual has grown by this share since the last notification
    direction: str = "both"  # which deviations are anomalous: both | down | up
    min_change: float = 0.05  # the band is at least this share of expected on each side ...
    min_units: float = 0.0  # ... and at least this many units
    min_volume: float = 0.0  # a bucket is unknown if a count's expected value, or a ratio's denominator, is below it
    quiet_hours: str = ""  # how messages that are not critical are sent then: ring | silent | wait; "": ALERTING_QUIET_MODE
    critical: float = 0.5  # `Verdict.size` from which an anomaly is critical: half is gone, or 3 times the expected value

    def __post_init__(self) -> None:
        if not 1 <= self.need <= self.window:
            raise ValueError(f"Policy: need={self.need} must lie between 1 and window={self.window}")
        if self.direction not in ("both", "down", "up"):
            raise ValueError(f"Policy: direction={self.direction!r} must be 'both', 'down' or 'up'")
        if self.quiet_hours not in ("", "ring", "silent", "wait"):
            raise ValueError(f"Policy: quiet_hours={self.quiet_hours!r} must be 'ring', 'silent' or 'wait'")
        if self.recover < 1 or self.patience < 1:
            raise ValueError("Policy: recover and patience are at least 1 bucket")
        if 0 < self.recover_window < self.recover:
            raise ValueError(f"Policy: recover={self.recover} cannot be more than recover_window={self.recover_window}")
        if min(self.min_change, self.min_units, self.min_volume, self.worsen) < 0:
            raise ValueError("Policy: min_change, min_units, min_volume and worsen cannot be negative")
        if not self.critical > 0:
            raise ValueError(f"Policy: critical={self.critical:g} must be above 0: the share that is gone, such as 0.5")
        if self.critical >= 1:  # a score of earlier versions
            object.__setattr__(self, "critical", Policy.critical)


@runtime_checkable
class BandDetector(Protocol):
    """The minimum that a detector of your own must have. It is a frozen dataclass of parameters that returns a series' band."""

    @property
    def history(self) -> timedelta:
        """Return the length of the history that the band of one bucket is computed from."""

    def band(self, values: pd.Series, zone: str = "UTC") -> pd.DataFrame:
        """Return the columns low, expected and high (float64, unit of the metric), one row for each bucket of `values`.

        Each row is computed from earlier values only. `values`: float64 on a full grid of aware times, NaN where missing.
        `zone`: IANA name of the local clock.
        """


@runtime_checkable
class Detector(BandDetector, Protocol):
    """A detector. The catalogue wraps a detector that has only the methods of BandDetector (see `detectors.bands.OneByOne`)."""

    def bands(self, grid: Any) -> dict[str, np.ndarray | str]:
        """Return column -> values for the requested buckets of all series of a `detectors.series_grid.SeriesGrid`.

        The columns are those of `band`. Values are an array (series, buckets), or one word that holds for all of them.
        """

    def reason(self, values: pd.Series, zone: str = "UTC", counted: bool = False) -> str:
        """Return why the newest bucket is judged by the rule that was chosen; "" for a detector that does not choose a rule.

        `values`, `zone`: as for `band`. `counted`: the values are counts or ratios of counts.
        """


@runtime_checkable
class Summed(Protocol):
    """A metric's value that is computed from sums, so that the segments of the data add up to it."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the summed columns: one for a sum; numerator and denominator for a ratio."""


@runtime_checkable
class Divided(Protocol):
    """A metric's value that may be a ratio."""

    @property
    def whole(self) -> Callable[[pd.DataFrame], pd.Series] | None:
        """The denominator, from the counts per bucket; None if it is no ratio."""


@dataclass(frozen=True)
class Metric:
    """A metric, one line of the catalogue. Raises ValueError for a field with an impossible value."""

    name: str  # an identifier: used in file names, message keys and on the command line
    title: dict[str, str]  # language -> name for people
    query: str  # name of the SQL file. The part before the first dot is the table: feed_actions, feed_actions.ages
    value: Callable[[pd.DataFrame], pd.Series]  # counts per bucket -> values per bucket
    rule: Detector
    policy: Policy = Policy()
    step: timedelta = STEP
    width: float = 1.0  # band width multiplier; `make budget` tunes it
    form: str = "count"  # count | ratio | number: how a value is written, and which values are possible
    adds: bool = True  # a count can be summed over buckets and segments; False for distinct users
    volume: Callable[[pd.DataFrame], pd.Series] | None = None  # counts -> denominator of a ratio; None: that of `value`
    parents: tuple[str, ...] = ()  # metrics that this one depends on: views on feed users, CTR on likes and views
    product: str = ""  # part of the app; if all products are down at once, the message says that the platform is down
    slices: str = "off"  # off | digest | alert: what is done about an anomalous segment while the total is normal
    segments_of: str = ""  # for a stand-in: the metric whose segments it watches
    owner: str = ""  # mentioned in messages, for example "@duty"
    dashboard: str = ""  # URL; {start}, {end}, {metric} and {segment} are filled in (docs/metrics.md)
    color: str = ""
    phase: timedelta = timedelta()  # how long after the epoch its buckets begin; buckets of a day begin at local midnight

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
        if self.volume is None and self.form == "ratio" and isinstance(self.value, Divided):
            object.__setattr__(self, "volume", self.value.whole)

    def title_in(self, language: str) -> str:
        """Return the title in the language, else the title in English, else the name. Titles that print nothing are skipped."""
        titles = (self.title.get(language, ""), self.title.get("en", ""))
        return next((title for title in titles if any(c.isprintable() and c != " " for c in title)), self.name)

    @property
    def scan(self) -> str:
        """Name of the scan that the metric is computed from. Metrics of the same query and step share a scan."""
        return self.query if self.step == STEP else f"{self.query} by {self.step}"

    @property
    def chart_span(self) -> timedelta:
        """The length of the time that a chart of the metric shows."""
        return max(CHART_SPAN, CHART_BUCKETS * self.step)

    def scan_query(self, sql: str, zone: str) -> Query:
        """Return the query of its scan. If the step is a day, its buckets are the local days of `zone` (IANA name)."""
        return Query(self.query, sql, self.step, self.phase, zone if self.step == DAY else "")

    @property
    def day_start(self) -> timedelta | None:
        """How long after 0:00 UTC its days begin; None if its buckets are shorter than a day."""
        return self.phase if self.step == DAY else None

    @property
    def counted(self) -> bool:
        """Whether it is a count or a ratio of counts, so that its noise depends on the count."""
        return self.form in ("count", "ratio")

    @property
    def table(self) -> str:
        return table_name(self.query)

    @property
    def columns(self) -> tuple[str, ...]:
        """The summed columns that it is computed from; none for a mean or a function."""
        return self.value.columns if isinstance(self.value, Summed) else ()


@dataclass(frozen=True)
class Query:
    """One scan of one source table. `name`: name of the SQL file; the part before its first dot is the table in the SQL."""

    name: str
    sql: str
    step: timedelta = STEP
    phase: timedelta = timedelta()  # how long after the epoch the buckets begin
    zone: str = ""  # IANA name of the zone whose local days are the buckets (see `model.clock`); "": buckets are shorter


def of_local_days(metric: Metric, zone: str) -> Metric:
    """Return the metric. If its step is a day, its buckets begin at local midnight of `zone` (IANA name)."""
    return replace(metric, phase=day_phase(zone)) if metric.step == DAY else metric


def total_name(metric: str) -> str:
    """Return the name of the metric whose segments a stand-in watches; any other name as it is."""
    return metric.removesuffix(SEGMENTS_SUFFIX)


def table_name(query: str) -> str:
    """Return the table that a query reads: `feed_actions` for both `feed_actions` and `feed_actions.ages`."""
    return query.partition(".")[0]


def names_of_series(series: Iterable[str]) -> dict[str, str]:
    """Return series -> name of its metric: the series' name, with '_' for each character that a metric's name cannot have.

    A hash of the series is added to a name that is too long or that another series has. The result does not depend on the
    order: a series whose own name is possible keeps it, and another series that would get the same name gets the hash.
    """
    plain = {name: NO_NAME_CHARACTER.sub("_", name).strip("_") for name in series}
    names: dict[str, str] = {}  # name -> series
    for name in sorted(plain, key=lambda name: (plain[name] != name, name)):
        short = plain[name].encode()[:MAX_NAME_BYTES].decode(errors="ignore")
        chosen = plain[name] if any(map(str.isalnum, plain[name])) else "series"
        if short != plain[name] or chosen in names:
            chosen = f"{short or 'series'}-{blake2b(name.encode(errors='surrogatepass'), digest_size=4).hexdigest()}"
        names[chosen] = name
    return {name: chosen for chosen, name in names.items()}


def unknown_metrics(names: Iterable[str], known: Collection[str]) -> str:
    """Return the error text for names that are not known, such as "no metric 'clicks': there are views, likes"; else ""."""
    absent = ", ".join(dict.fromkeys(repr(name) for name in names if name not in known))
    return f"no metric {absent}: there are {', '.join(known)}" if absent else ""


@dataclass(frozen=True)
class CalendarEvent:
    """One line of the calendar, such as a release or a holiday."""

    start: datetime  # aware UTC
    end: datetime  # aware UTC
    kind: str  # release | push | campaign | holiday | experiment, or any other word
    title: str
    metrics: tuple[str, ...] = ()  # metrics that it may change; empty: all

    @property
    def is_holiday(self) -> bool:
        return self.kind.casefold() in ("holiday", "holidays")

    def concerns(self, metric: str) -> bool:
        """Return whether it may change the metric, or the watched segments of it."""
        return not self.metrics or total_name(metric) in self.metrics

    def holidays(self, zone: str) -> list[date]:
        """Return the local dates that are learned as holidays: whole days, for all metrics."""
        if not self.is_holiday or self.metrics:
            return []
        first, last = (at.astimezone(ZoneInfo(zone)).date() for at in (self.start, self.end))
        days = [first + number * DAY for number in range((last - first).days + 1)]
        begins = [datetime.combine(day, time(), ZoneInfo(zone)).astimezone(UTC) for day in days]
        return [day for day, begin, end in zip(days, begins, begins[1:], strict=False) if self.start <= begin and end <= self.end]


@dataclass(frozen=True)
class Silence:
    """A planned silence: its metrics are judged and shown, but no message about them is sent, not even "no data".

    `weekly`: spans of local time of `zone` (`model.clock.parse_week_spans`). If it is set, only these spans are silent.
    """

    scope: str  # name of a metric, or * for all
    start: datetime
    until: datetime
    why: str = ""
    by: str = ""
    id: int = 0  # number in the store
    weekly: str = ""  # spans such as Sat 02:00-04:00; "": all the time
    zone: str = "UTC"  # IANA name

    def covers(self, metric: str, bucket: datetime, step: timedelta = STEP) -> bool:
        """Return whether the silence overlaps the metric's bucket. A silence of a metric is one of its watched segments, too."""
        begin, end = max(bucket, self.start), min(bucket + step, self.until)
        if self.scope not in (metric, total_name(metric), "*") or not begin < end:
            return False
        return not self.weekly or any(week_windows(parse_week_spans(self.weekly), self.zone, begin, end))

    def lasts_at(self, at: datetime) -> bool:
        """Return whether the silence is in effect at this instant."""
        return self.covers(self.scope, at, timedelta(microseconds=1))


def spell_segment(elements: Iterable[Iterable[tuple[str, str]]], space: str = " ") -> str:
    """Return a segment's conjunctions of (attribute, value) as text, such as `os=iOS & source=ads; os=web`."""
    return f";{space}".join(f"{space}&{space}".join(f"{name}={value}" for name, value in pairs) for pairs in elements)


def parse_segment(text: str) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Return the conjunctions of (attribute, value) from a text of `spell_segment`; an empty tuple for "".

    An attribute is the name of a column, so `&` and `;` within a value do not end it.
    """
    parts = [re.split(r" & (?=\w+=)", part) for part in re.split(r"; (?=\w+=)", text)] if text else []
    return tuple(tuple((name, value) for name, _, value in (pair.partition("=") for pair in pairs)) for pairs in parts)


def metric_with_segment(metric: str, segment: str) -> str:
    """Return the metric's name, followed by the segment if there is one: views os=iOS. The suffix of a stand-in is left out."""
    return f"{total_name(metric)} {segment}" if segment else metric


FIELDS = ("start", "end", "metric", "segment", "slice")
ANY_TIME = datetime(2026, 1, 1, tzinfo=UTC)
FORM = "a URL with no other braces than {start}, {end}, {metric}, {segment} and {slice}"


class LinkTime(datetime):
    """A time in a link: {start} is 2026-11-20T12:00:00Z, {start:ms} and {start:s} are milliseconds and seconds since 1970."""

    def __format__(self, form: str) -> str:
        if form not in ("", "s", "ms"):
            raise ValueError(f"{form!r}: a time is written as {{start}}, {{start:ms}} or {{start:s}}")
        seconds = int(self.timestamp())
        return str(seconds * (1000 if form == "ms" else 1)) if form else quote(f"{self.isoformat()[:19]}Z")


class LinkSegment(dict[str, list[str]]):
    """Attribute -> values in a link: {segment} is os=iOS&source=ads, {segment:var-} is var-os=iOS&var-source=ads."""

    def __format__(self, prefix: str) -> str:
        return "&".join(f"{prefix}{quote(name)}={quote(value, safe='')}" for name, values in self.items() for value in values)


def check_template(template: str) -> None:
    """Raise ValueError for a template whose braces contain another name than those of `FIELDS`."""
    try:
        parts = [(name, form, conversion) for _, name, form, conversion in Formatter().parse(template) if name is not None]
        if any(name not in FIELDS or conversion or (form and name in ("metric", "slice")) for name, form, conversion in parts):
            raise ValueError
        dashboard_link(template, "", ANY_TIME, ANY_TIME)
    except (KeyError, ValueError):
        raise ValueError(FORM) from None


def dashboard_link(
    template: str, metric: str, start: datetime, end: datetime, elements: Iterable[Iterable[tuple[str, str]]] = ()
) -> str:
    """Return the template with the names in braces replaced: a URL.

    `start`, `end`: aware UTC. `elements`: conjunctions of (attribute, value) pairs; several for a set of segments. Raises
    ValueError for a template that `check_template` refuses.
    """
    conjunctions = [tuple(pairs) for pairs in elements]
    segment = LinkSegment()
    for name, value in dict.fromkeys(pair for pairs in conjunctions for pair in pairs):
        segment.setdefault(name, []).append(value)
    return template.format(
        metric=quote(metric, safe=""),
        start=LinkTime.fromtimestamp(start.timestamp(), start.tzinfo),
        end=LinkTime.fromtimestamp(end.timestamp(), end.tzinfo),
        segment=segment,
        slice=quote(spell_segment(conjunctions, space=""), safe=""),
    )
