"""How many incidents a metric would have had told at each width: what a budget is shared out by. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from alerting.backtest.replaying import WEEK, Past, Track
from alerting.model import Event, Kind, Metric

WIDTHS = tuple(np.geomspace(0.25, 3, 15).round(3).tolist())


def some_widths(count: int) -> list[float]:
    """So many widths from a quarter to three times a rule's own, evenly by ratio, and its own among them."""
    return sorted({1.0, *np.geomspace(WIDTHS[0], WIDTHS[-1], max(count - 1, 2)).round(3).tolist()})


@dataclass(frozen=True)
class Curve:
    """What one metric would have told. `told`: width (index) x week (columns 0, 1 ...) -> incidents that are not known.
    `seen`: how much of each week could be judged (1: all of it). `band` is the rule's own, made once."""

    metric: Metric
    band: pd.DataFrame
    told: pd.DataFrame
    seen: pd.Series

    def rates(self, weeks: Sequence[int]) -> np.ndarray:
        """Incidents a week to count on at each width, cautiously: what was seen at that width or any wider one, or what the
        whole tail says where that is more. A few weeks' largest alerts alone would set widths just above themselves."""
        counts = self.told[list(weeks)].sum(axis=1).to_numpy(float)
        widest_worst = np.maximum.accumulate(counts[::-1])[::-1]
        return np.maximum(widest_worst, tail(self.told.index.to_numpy(float), counts)) / self.seen[list(weeks)].sum()

    def table(self) -> pd.DataFrame:
        """Incidents a week at each width, as they were and as they are counted on."""
        weeks = list(self.told.columns)
        seen = self.told.sum(axis=1) / self.seen.sum()
        return pd.DataFrame({"told": seen, "counted on": self.rates(weeks)}, index=self.told.index)

    def width(self, rate: float, weeks: Sequence[int]) -> float:
        """The smallest width at which no more than `rate` incidents a week are to be counted on; between two widths of the
        curve by the straight line. The widest where none is wide enough."""
        rates, widths = self.rates(weeks), self.told.index.to_numpy(float)
        quiet = np.flatnonzero(rates <= rate)
        if not len(quiet) or not quiet[0]:
            return float(widths[quiet[0] if len(quiet) else -1])
        i = quiet[0]
        share = (rates[i - 1] - rate) / (rates[i - 1] - rates[i])
        return float(widths[i - 1] + share * (widths[i] - widths[i - 1]))

    def rate(self, width: float, weeks: Sequence[int]) -> float:
        """Incidents a week to count on at a width."""
        return float(np.interp(width, self.told.index.to_numpy(float), self.rates(weeks)))


def tail(widths: np.ndarray, counts: np.ndarray, many: float = 10) -> np.ndarray:
    """Expected counts at each width where log(count) falls evenly: Poisson regression from the last width that told more
    than `many` on. Zero before that width, and throughout where nothing was told."""
    if not counts.any():
        return np.zeros(len(widths))
    first = np.flatnonzero(counts > many).max(initial=0)
    x, y = widths[first:], counts[first:]
    design = np.column_stack([np.ones(len(x)), x - x.mean()])
    beta = np.array([np.log(y.mean()), -3.0])
    for _ in range(50):  # Newton's steps, none longer than 1; a little ridge for a tail of one width
        expected = np.exp(np.clip(design @ beta, -30, 12))
        curvature = design.T @ (design * expected[:, None]) + np.diag([1e-6, 1e-2])
        beta = beta + np.clip(np.linalg.solve(curvature, design.T @ (y - expected)), -1, 1)
    expected = np.exp(np.clip(beta[0] + beta[1] * (widths - x.mean()), -30, 12))
    return np.where(np.arange(len(widths)) < first, 0.0, expected)


def curves(past: Past, widths: Sequence[float] = WIDTHS, track: Track = iter) -> dict[str, Curve]:
    """Each metric's curve over the whole weeks of the past. A band is made once, then judged and folded at every width."""
    known = [metric for metric in past.metrics if metric.name in past.series]
    return {metric.name: _curve(past, metric, widths) for metric in track(known)}


def _curve(past: Past, metric: Metric, widths: Sequence[float]) -> Curve:
    band, weeks = past.band(metric), range((past.end - past.start) // WEEK)
    told = {width: weekly(past, opened(past, replace(metric, width=width), band)) for width in widths}
    frame = pd.DataFrame.from_dict(told, orient="index", columns=list(weeks))
    return Curve(metric, band, frame.rename_axis("width"), pd.Series(_seen(past, metric, band), weeks))


def opened(past: Past, metric: Metric, band: pd.DataFrame) -> list[Event]:
    """The incidents that would have been told and are not known to be real. A gap is no false alert, whatever the width."""
    events = [event for event in past.replay(metric, band).events if event.kind is Kind.OPENED]
    known = past.known_to(metric, pd.DatetimeIndex([event.bucket for event in events], tz="UTC"))
    return [event for event, real in zip(events, known, strict=True) if not real]


def weekly(past: Past, events: Sequence[Event]) -> list[int]:
    """How many of them fell into each whole week."""
    places = [(event.bucket - past.start) // WEEK for event in events]
    return [places.count(week) for week in range((past.end - past.start) // WEEK)]


def _seen(past: Past, metric: Metric, band: pd.DataFrame) -> list[float]:
    values = past.series[metric.name].loc[past.start : past.end - metric.step]
    judged = values.notna() & band["expected"].reindex(values.index).notna()
    use = judged & ~past.known_to(metric, values.index)
    week = (values.index - past.start) // WEEK
    return [float(use[week == i].sum() * (metric.step / WEEK)) for i in range((past.end - past.start) // WEEK)]
