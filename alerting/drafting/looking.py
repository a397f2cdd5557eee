"""What the source says of a draft: its history, and what the default rule makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from alerting import pipeline
from alerting.drafting.drafts import Draft, Written, is_distinct, written
from alerting.messages.numbers import Numbers
from alerting.messages.times import duration
from alerting.metrics import RULE
from alerting.model import Metric, Query, SettingsError, Source, Status
from alerting.model.metric import table_of

BARS = "▁▂▃▄▅▆▇█"
SHOWN, LAST = 60, 5  # buckets in the line of bars; values that are told
WEEKS = timedelta(days=28)  # in which odd buckets are counted
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Look:
    """A draft, and its history. `judged`: as `detectors.judge` gives it."""

    metric: Metric
    written: Written
    values: pd.Series
    judged: pd.DataFrame
    zone: str

    def lines(self) -> Iterator[str]:
        """What there is to know of it before it is watched."""
        known = self.values.dropna()
        grid = self.values.loc[known.index[0] :]
        numbers = Numbers.fitting(self.metric.form, "en", *known.tail(LAST))
        span = f"{self._at(known.index[0])} to {self._at(known.index[-1])}"
        yield f"history: {len(known):,} buckets of {duration(self.metric.step, 'en')}, {span} ({self.zone})"
        yield f"missing since then: {grid.isna().mean():.1%}"
        yield f"last values: {', '.join(numbers.value(value) for value in known.tail(LAST))}"
        yield f"median: {numbers.value(known.median())}; {bars(grid.tail(SHOWN))}"
        yield f"rule: {RULE.reason(self.values, self.zone)}"
        recent = self.judged.loc[self.judged.index[-1] - WEEKS :]
        odd = (recent["status"] == Status.ANOMALOUS.value) & recent["news"].astype(bool)
        unknown = (recent["status"] == Status.UNKNOWN.value).mean()
        more = f", {unknown:.0%} of the buckets had too little history" if unknown else ""
        yield f"width {self.metric.width:g} (the default): {int(odd.sum())} odd buckets with news in the last 4 weeks{more}"

    def _at(self, bucket: pd.Timestamp) -> str:
        return f"{bucket.tz_convert(self.zone):%Y-%m-%d %H:%M}"


def look(draft: Draft, expression: str, source: Source, now: datetime, delay: timedelta, zone: str) -> Look:
    """Raises SettingsError for a query or a value that will not do, SourceError when it cannot be asked."""
    last = pipeline.last_closed_bucket(now, delay, draft.step)
    first = last - (RULE.history + 3 * DAY) // draft.step * draft.step
    counts = source.fetch(Query(table_of(draft.query), draft.sql, draft.step), first, last + draft.step)
    if not len(counts):
        raise SettingsError(f"the query gives no rows from {first:%Y-%m-%d} on: is the table empty, or are its times elsewhere?")
    value = written(expression, draft.name, [str(column) for column in counts])
    counts = counts.reindex(pd.date_range(first, last, freq=draft.step)).astype(float).rename_axis("bucket")
    values = value.value(counts).replace([np.inf, -np.inf], np.nan)
    if not values.notna().any():
        raise SettingsError(f"--value {value}: it never has a value")
    metric = _shaped(draft, value, values)
    return Look(metric, value, values, pipeline.judge_one(metric, values, zone), zone)


def _shaped(draft: Draft, value: Written, values: pd.Series) -> Metric:
    """The form that suits what the values are."""
    known = values.dropna()
    if value.function == "ratio":
        form = "ratio" if known.between(0, 1).all() else "number"
    else:
        whole = bool((known == known.round()).all() and (known >= 0).all())
        form = "count" if whole and value.function in ("count", "total") else "number"
    adds = value.function in ("count", "total") and not is_distinct(draft.sql, value.columns[0])
    return draft.metric(value, form, adds)


def bars(values: pd.Series) -> str:
    """▁▂▅▇: from nothing (or the lowest below it) to the highest; a gap is a space."""
    low, high = min(0.0, float(values.min())), float(values.max())
    width = (high - low) or 1.0
    return "".join(" " if value != value else BARS[min(7, int((value - low) / width * 8))] for value in values)
