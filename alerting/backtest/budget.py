"""An alert budget: "2 false alerts a week" over the whole catalogue becomes a width for each metric. Pure.

The last weeks are replayed through the live steps, episodes included, at widths from a quarter to three times the rule's own.
What is counted are incidents that would have been told, without those that are known to be real.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import pandas as pd

from alerting.backtest.replay import WEEK, BacktestData, Progress
from alerting.model.errors import SettingsError
from alerting.model.incident import Event
from alerting.model.metric import Metric
from alerting.model.verdict import EventKind

PERIOD_WEEKS = {"day": 1 / 7, "week": 1.0, "month": 365.25 / 7 / 12}
ENOUGH = 1.0  # weeks a metric must have been judged before its width is moved
PSEUDO = 1  # an alert that was not seen is counted as if it had been: few weeks promise little


def parse_budget(text: str) -> float:
    """Alerts a week from "2 a week", "1 false alert a month" or "0.5 per week". Raises SettingsError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)(?:\s+(?:false\s+)?alerts?)?\s+(?:a|per)\s+(day|week|month)\s*", text)
    if found is None or float(found[1]) == 0:
        raise SettingsError(
            f"budget={text!r}: write a number above 0 and a time, such as '2 a week', '0.5 a week' or '1 a month'"
        )
    return float(found[1]) / PERIOD_WEEKS[found[2]]


def poisson_upper(count: float, sure: float = 0.9) -> float:
    """The most events that could be expected where `count` were seen: the upper Poisson limit (0 seen: 2.3, 7 seen: 11.8)."""
    low, high = 0.0, 10.0 + 3 * count
    for _ in range(60):
        middle = (low + high) / 2
        terms = [math.exp(k * math.log(middle) - middle - math.lgamma(k + 1)) for k in range(int(count) + 1)]
        low, high = (middle, high) if sum(terms) > 1 - sure else (low, middle)
    return high


@dataclass(frozen=True)
class MetricShare:
    """One metric's part of a budget: its width before and now, and what that would have told in `weeks` of judged time."""

    metric: str
    before: float
    width: float
    told: int
    weeks: float


@dataclass(frozen=True)
class BudgetPlan:
    """Widths for a budget (alerts a week, all metrics together)."""

    budget: float
    shares: tuple[MetricShare, ...]

    @property
    def told(self) -> int:
        """Incidents told over all the weeks, with these widths."""
        return sum(share.told for share in self.shares)

    @property
    def weeks(self) -> float:
        """Judged time, of the metric that has most of it."""
        return max((share.weeks for share in self.shares), default=0.0)

    @property
    def rate(self) -> float:
        """Incidents a week, one that was not seen among them."""
        return (self.told + PSEUDO) / self.weeks if self.weeks else float("nan")

    @property
    def limit(self) -> float:
        """Incidents a week at the most, as far as so few weeks can tell: upper 90 % Poisson limit."""
        return poisson_upper(self.told) / self.weeks if self.weeks else float("nan")

    @property
    def holds(self) -> bool:
        """Whether the widths keep to the budget."""
        return self.rate <= self.budget

    @property
    def widths(self) -> dict[str, float]:
        return {share.metric: share.width for share in self.shares}

    @property
    def moved(self) -> dict[str, float]:
        """Those that are not what they were."""
        return {share.metric: share.width for share in self.shares if share.width != share.before}

    def words(self) -> str:
        """Whether it holds, and how sure that is."""
        held = f"{'keep' if self.holds else 'do NOT keep'} to {self.budget:.3g} false alerts a week"
        return (
            f"These widths {held}: {self.told} were told in {self.weeks:.1f} weeks, so with one that was not seen "
            f"{self.rate:.2g} a week, and at most {self.limit:.2g} (upper 90 % limit, if alerts come one by one)."
        )

    def metrics(self, catalogue: Sequence[Metric]) -> list[Metric]:
        """The catalogue with these widths."""
        return [replace(metric, width=self.widths.get(metric.name, metric.width)) for metric in catalogue]

    def table(self) -> pd.DataFrame:
        """One row per metric: width now and then, incidents told, a week."""
        rows = [[s.before, s.width, s.told, s.told / s.weeks if s.weeks else np.nan, s.weeks] for s in self.shares]
        columns = ["width now", "width chosen", "incidents told", "a week", "weeks judged"]
        return pd.DataFrame(rows, index=[s.metric for s in self.shares], columns=columns)


def choose_widths(past: BacktestData, made: Mapping[str, WidthCurve], budget: float, weeks: Sequence[int] = ()) -> BudgetPlan:
    """A width for each metric so that all together keep to `budget` incidents a week, over `weeks` (places; all by default).

    Every metric may tell as often as any other, and those that are quiet anyway leave their part to the rest: the common
    rate is found by bisection on the curves, and then lowered until a replay at exactly these widths keeps to the budget.
    """
    used = list(weeks) or list(range((past.end - past.start) // WEEK))
    able = {name: curve for name, curve in made.items() if curve.seen[used].sum() >= ENOUGH}
    allowed = max(0.0, budget - PSEUDO / max([c.seen[used].sum() for c in able.values()], default=1.0))
    rate = _common_rate(able, allowed, used)
    while True:
        plan = BudgetPlan(
            budget, tuple(_share(past, curve, rate if name in able else None, used) for name, curve in made.items())
        )
        if sum(s.told / s.weeks for s in plan.shares if s.metric in able) <= allowed or rate < 0.001:
            return plan
        rate = rate * 0.9


def _common_rate(able: Mapping[str, WidthCurve], allowed: float, weeks: Sequence[int]) -> float:
    def total(rate: float) -> float:
        return sum(curve.rate(curve.width(rate, weeks), weeks) for curve in able.values())

    low, high = 0.0, allowed
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if total(middle) <= allowed else (low, middle)
    return low


def _share(past: BacktestData, curve: WidthCurve, rate: float | None, weeks: Sequence[int]) -> MetricShare:
    """Rounded up, as it will stand in metrics.py; without a rate the metric keeps its width."""
    before = curve.metric.width
    width = before if rate is None else math.ceil(curve.width(rate, weeks) * 100 - 1e-9) / 100
    told = weekly_counts(past, false_openings(past, replace(curve.metric, width=width), curve.band))
    return MetricShare(curve.metric.name, before, width, sum(told[w] for w in weeks), float(curve.seen[list(weeks)].sum()))


def with_widths(past: BacktestData, plan: BudgetPlan) -> BacktestData:
    """The same past, its metrics with the plan's widths."""
    return replace(past, metrics=plan.metrics(past.metrics))


# How many incidents a metric would have had told at each width: what a budget is shared out by. Pure.

WIDTHS = tuple(np.geomspace(0.25, 3, 15).round(3).tolist())


def width_grid(count: int) -> list[float]:
    """So many widths from a quarter to three times a rule's own, evenly by ratio, and its own among them."""
    return sorted({1.0, *np.geomspace(WIDTHS[0], WIDTHS[-1], max(count - 1, 2)).round(3).tolist()})


@dataclass(frozen=True)
class WidthCurve:
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
        return (
            np.maximum(widest_worst, extrapolate_counts(self.told.index.to_numpy(float), counts)) / self.seen[list(weeks)].sum()
        )

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


def extrapolate_counts(widths: np.ndarray, counts: np.ndarray, many: float = 10) -> np.ndarray:
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


def width_curves(past: BacktestData, widths: Sequence[float] = WIDTHS, track: Progress = iter) -> dict[str, WidthCurve]:
    """Each metric's curve over the whole weeks of the past. A band is made once, then judged and folded at every width."""
    known = [metric for metric in past.metrics if metric.name in past.series]
    return {metric.name: _curve(past, metric, widths) for metric in track(known)}


def _curve(past: BacktestData, metric: Metric, widths: Sequence[float]) -> WidthCurve:
    band, weeks = past.band(metric), range((past.end - past.start) // WEEK)
    told = {width: weekly_counts(past, false_openings(past, replace(metric, width=width), band)) for width in widths}
    frame = pd.DataFrame.from_dict(told, orient="index", columns=list(weeks))
    return WidthCurve(metric, band, frame.rename_axis("width"), pd.Series(_seen(past, metric, band), weeks))


def false_openings(past: BacktestData, metric: Metric, band: pd.DataFrame) -> list[Event]:
    """The incidents that would have been told and are not known to be real. A gap is no false alert, whatever the width."""
    events = [event for event in past.replay(metric, band).events if event.kind is EventKind.OPENED]
    known = past.known_to(metric, pd.DatetimeIndex([event.bucket for event in events], tz="UTC"))
    return [event for event, real in zip(events, known, strict=True) if not real]


def weekly_counts(past: BacktestData, events: Sequence[Event]) -> list[int]:
    """How many of them fell into each whole week."""
    places = [(event.bucket - past.start) // WEEK for event in events]
    return [places.count(week) for week in range((past.end - past.start) // WEEK)]


def _seen(past: BacktestData, metric: Metric, band: pd.DataFrame) -> list[float]:
    values = past.series[metric.name].loc[past.start : past.end - metric.step]
    judged = values.notna() & band["expected"].reindex(values.index).notna()
    use = judged & ~past.known_to(metric, values.index)
    week = (values.index - past.start) // WEEK
    return [float(use[week == i].sum() * (metric.step / WEEK)) for i in range((past.end - past.start) // WEEK)]


# What each past week would have cost in messages. Pure.


def weekly_cost(past: BacktestData, made: Mapping[str, WidthCurve], plan: BudgetPlan, track: Progress = iter) -> pd.DataFrame:
    """What each past week would have cost: false incidents with the present widths, with the chosen ones, and with widths
    chosen without that week (an honest guess of the next one); known incidents told; messages of all kinds."""
    weeks = range((past.end - past.start) // WEEK)
    now = [curve.metric for curve in made.values()]
    chosen = plan.metrics(now)
    frame = pd.DataFrame({"false now": _false(past, made, now), "false chosen": _false(past, made, chosen)}, index=weeks)
    frame["false unseen"] = [_unseen(past, made, plan.budget, week) for week in track(list(weeks))]
    told = _told(past, made, chosen)
    frame["known told"] = np.subtract(_kinds(past, told, (EventKind.OPENED,)), frame["false chosen"])
    frame["no data told"] = _kinds(past, told, (EventKind.NO_DATA,))
    frame["messages"] = _kinds(past, told, tuple(EventKind))
    frame.index = pd.Index([_day(past.start + week * WEEK) for week in weeks], name="week from")
    return frame


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"


def _false(past: BacktestData, made: Mapping[str, WidthCurve], metrics: Sequence[Metric]) -> list[int]:
    each = [weekly_counts(past, false_openings(past, metric, made[metric.name].band)) for metric in metrics]
    return np.sum(each, axis=0).astype(int).tolist()


def _told(past: BacktestData, made: Mapping[str, WidthCurve], metrics: Sequence[Metric]) -> list[Event]:
    return [event for metric in metrics for event in past.replay(metric, made[metric.name].band).events]


def _kinds(past: BacktestData, events: Sequence[Event], kinds: tuple[EventKind, ...]) -> list[int]:
    return weekly_counts(past, [event for event in events if event.kind in kinds])


def _unseen(past: BacktestData, made: Mapping[str, WidthCurve], budget: float, week: int) -> float:
    """The week's false incidents with widths that were chosen on the other weeks."""
    others = [w for w in range((past.end - past.start) // WEEK) if w != week]
    if not others:
        return float("nan")
    metrics = choose_widths(past, made, budget, others).metrics([curve.metric for curve in made.values()])
    return float(_false(past, made, metrics)[week])
