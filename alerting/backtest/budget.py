"""An alert budget: "2 false alerts a week" over the whole catalogue becomes a width for each metric. Pure.

The last weeks are replayed through the steps of a run, episodes included, at widths from a quarter to three times the
detector's own. An alert is a notified incident that is not known to be real.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from alerting.backtest.replay import WEEK, BacktestData, Progress
from alerting.model.errors import SettingsError
from alerting.model.incident import Event
from alerting.model.metric import Metric
from alerting.model.verdict import EventKind

PERIOD_WEEKS = {"day": 1 / 7, "week": 1.0, "month": 365.25 / 7 / 12}
MIN_WEEKS = 1.0  # weeks a metric must have been judged before its width is changed
PSEUDO_COUNT = 1  # alerts added to those counted: few weeks are weak evidence
PLAN_COLUMNS = ["width now", "width chosen", "incidents told", "a week", "weeks judged"]
WIDTHS = tuple(np.geomspace(0.25, 3, 15).round(3).tolist())


def parse_budget(text: str) -> float:
    """Return alerts a week from "2 a week", "1 false alert a month" or "0.5 per week". Raises SettingsError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)(?:\s+(?:false\s+)?alerts?)?\s+(?:a|per)\s+(day|week|month)\s*", text)
    if found is None or float(found[1]) == 0:
        raise SettingsError(
            f"budget={text!r}: write a number above 0 and a time, such as '2 a week', '0.5 a week' or '1 a month'"
        )
    return float(found[1]) / PERIOD_WEEKS[found[2]]


def poisson_upper(count: float, confidence: float = 0.9) -> float:
    """Return the upper Poisson limit of the expected number of events where `count` were observed (0: 2.3, 7: 11.8).

    This is `scipy.stats.chi2.ppf(confidence, 2 * count + 2) / 2` by bisection: a run's environment has no scipy.
    """
    low, high = 0.0, 10.0 + 3 * count
    for _ in range(60):
        middle = (low + high) / 2
        terms = [math.exp(k * math.log(middle) - middle - math.lgamma(k + 1)) for k in range(int(count) + 1)]
        low, high = (middle, high) if sum(terms) > 1 - confidence else (low, middle)
    return high


# Alerts per metric at each band width: the input of a budget.


def width_grid(count: int) -> list[float]:
    """Return `count` widths from a quarter to three times the detector's own, evenly by ratio; 1 is always among them."""
    return sorted({1.0, *np.geomspace(WIDTHS[0], WIDTHS[-1], max(count - 1, 2)).round(3).tolist()})


@dataclass(frozen=True)
class WidthCurve:
    """The alerts of one metric at each width.

    `alerts`: width (index) x week (columns 0, 1 ...). `judged`: share of each week that could be judged, known incidents
    left out (1: all of it). `band`: the detector's band at width 1.
    """

    metric: Metric
    band: pd.DataFrame
    alerts: pd.DataFrame
    judged: pd.Series

    def rates(self, weeks: Sequence[int]) -> np.ndarray:
        """Return cautious alerts a week at each width: the highest count at that width or a wider one, or the count that
        the fitted tail gives, if that is higher. With raw counts, a few weeks' largest alerts would set the widths alone."""
        counts = self.alerts[list(weeks)].sum(axis=1).to_numpy(float)
        highest = np.maximum.accumulate(counts[::-1])[::-1]
        fitted = extrapolate_counts(self.alerts.index.to_numpy(float), counts)
        return np.maximum(highest, fitted) / self.judged[list(weeks)].sum()

    def width(self, rate: float, weeks: Sequence[int]) -> float:
        """Return the smallest width with at most `rate` cautious alerts a week, interpolated linearly; the widest one where
        none has so few."""
        rates, widths = self.rates(weeks), self.alerts.index.to_numpy(float)
        quiet = np.flatnonzero(rates <= rate)
        if not len(quiet) or not quiet[0]:
            return float(widths[quiet[0] if len(quiet) else -1])
        i = quiet[0]
        share = (rates[i - 1] - rate) / (rates[i - 1] - rates[i])
        return float(widths[i - 1] + share * (widths[i] - widths[i - 1]))

    def table(self) -> pd.DataFrame:
        """Return alerts a week at each width: counted (`told`) and cautious (`counted on`)."""
        told = self.alerts.sum(axis=1) / self.judged.sum()
        return pd.DataFrame({"told": told, "counted on": self.rates(list(self.alerts.columns))}, index=self.alerts.index)


def extrapolate_counts(widths: np.ndarray, counts: np.ndarray, many: float = 10) -> np.ndarray:
    """Return fitted counts at each width: a Poisson regression of log(count) on width.

    It begins at the widest width with more than `many` alerts and gives 0 before it; all are 0 where there is no alert.
    """
    if not counts.any():
        return np.zeros(len(widths))
    first = np.flatnonzero(counts > many).max(initial=0)
    x, y = widths[first:], counts[first:]
    design = np.column_stack([np.ones(len(x)), x - x.mean()])
    beta = np.array([np.log(y.mean()), -3.0])
    for _ in range(50):  # Newton's steps, none longer than 1; a small ridge for a tail of one width
        expected = np.exp(np.clip(design @ beta, -30, 12))
        curvature = design.T @ (design * expected[:, None]) + np.diag([1e-6, 1e-2])
        beta = beta + np.clip(np.linalg.solve(curvature, design.T @ (y - expected)), -1, 1)
    expected = np.exp(np.clip(beta[0] + beta[1] * (widths - x.mean()), -30, 12))
    return np.where(np.arange(len(widths)) < first, 0.0, expected)


def width_curves(past: BacktestData, widths: Sequence[float] = WIDTHS, track: Progress = iter) -> dict[str, WidthCurve]:
    """Return each metric's curve over the whole weeks of the past. A band is computed once for all widths."""
    curves, weeks = {}, past.weeks
    for metric in track(past.metrics_with_values):
        band, values = past.band(metric), past.values()[metric.name]
        alerts = {width: weekly_counts(past, false_openings(past, replace(metric, width=width), band)) for width in widths}
        frame = pd.DataFrame.from_dict(alerts, orient="index", columns=list(weeks)).rename_axis("width")

        usable = values.notna() & band["expected"].reindex(values.index).notna() & ~past.in_known(metric, values.index)
        week_of = (values.index - past.start) // WEEK
        judged = [float(usable[week_of == week].sum() * (metric.step / WEEK)) for week in weeks]
        curves[metric.name] = WidthCurve(metric, band, frame, pd.Series(judged, weeks))
    return curves


def false_openings(past: BacktestData, metric: Metric, band: pd.DataFrame) -> list[Event]:
    """Return the openings that are not known to be real. A gap is no false alert: no width would prevent it."""
    events = [event for event in past.replay(metric, band).events if event.kind is EventKind.OPENED]
    known = past.in_known(metric, pd.DatetimeIndex([event.bucket for event in events], tz="UTC"))
    return [event for event, real in zip(events, known, strict=True) if not real]


def weekly_counts(past: BacktestData, events: Sequence[Event]) -> list[int]:
    """Return the number of events in each whole week."""
    weeks = [(event.bucket - past.start) // WEEK for event in events]
    return [weeks.count(week) for week in past.weeks]


# Widths for a budget.


@dataclass(frozen=True)
class BudgetPlan:
    """Widths for a budget (alerts a week, all metrics together).

    `table`: one row per metric with the columns width now, width chosen, incidents told, a week, weeks judged.
    """

    budget: float
    table: pd.DataFrame

    @property
    def widths(self) -> dict[str, float]:
        return self.table["width chosen"].to_dict()

    @property
    def moved(self) -> dict[str, float]:
        """Metrics whose width changed, with the new one."""
        return self.table["width chosen"][self.table["width chosen"] != self.table["width now"]].to_dict()

    @property
    def alerts(self) -> int:
        """Alerts over all the weeks, with these widths."""
        return int(self.table["incidents told"].sum())

    @property
    def rate(self) -> float:
        """Alerts a week, one more than counted; NaN where nothing was judged."""
        weeks = self.table["weeks judged"].max()
        return (self.alerts + PSEUDO_COUNT) / weeks if weeks > 0 else float("nan")

    @property
    def holds(self) -> bool:
        """Return whether the widths keep to the budget."""
        return self.rate <= self.budget

    def applied_to(self, past: BacktestData) -> BacktestData:
        """Return the same past, its metrics with these widths."""
        widths = self.widths
        return replace(past, metrics=[replace(m, width=widths.get(m.name, m.width)) for m in past.metrics])

    def words(self) -> str:
        """Return a sentence: whether the budget holds, and how certain that is."""
        weeks = self.table["weeks judged"].max()
        limit = poisson_upper(self.alerts) / weeks if weeks > 0 else float("nan")
        return (
            f"These widths {'keep' if self.holds else 'do NOT keep'} to {self.budget:.3g} false alerts a week: {self.alerts} "
            f"were told in {weeks:.1f} weeks, so with one that was not seen {self.rate:.2g} a week, and at most {limit:.2g} "
            "(upper 90 % limit, if alerts come one by one)."
        )


def choose_widths(past: BacktestData, curves: Mapping[str, WidthCurve], budget: float, weeks: Sequence[int] = ()) -> BudgetPlan:
    """Choose a width for each metric so that all together keep to `budget` alerts a week, over `weeks` (numbers; default all).

    The metrics get one common limit of alerts a week; what the quieter ones leave goes to the others. The limit is found by
    bisection on the curves, then lowered until a replay at exactly these widths keeps to the budget.
    """
    used = list(weeks) or list(past.weeks)
    tuned = {name: curve for name, curve in curves.items() if curve.judged[used].sum() >= MIN_WEEKS}
    allowed = max(0.0, budget - PSEUDO_COUNT / max([curve.judged[used].sum() for curve in tuned.values()], default=1.0))

    rate, high = 0.0, allowed
    for _ in range(30):
        middle = (rate + high) / 2
        rates = [np.interp(c.width(middle, used), c.alerts.index.to_numpy(float), c.rates(used)) for c in tuned.values()]
        rate, high = (middle, high) if sum(rates) <= allowed else (rate, middle)

    while True:
        rows = {name: _plan_row(past, curve, rate if name in tuned else None, used) for name, curve in curves.items()}
        table = pd.DataFrame.from_dict(rows, orient="index", columns=PLAN_COLUMNS)
        if sum(table.loc[list(tuned), "a week"]) <= allowed or rate < 0.001:
            return BudgetPlan(budget, table)
        rate = rate * 0.9


def _plan_row(past: BacktestData, curve: WidthCurve, rate: float | None, weeks: Sequence[int]) -> list[float]:
    """Choose the metric's width for `rate` alerts a week, rounded up to two decimals; without a rate it keeps its width."""
    present = curve.metric.width
    width = present if rate is None else math.ceil(curve.width(rate, weeks) * 100 - 1e-9) / 100
    counts = weekly_counts(past, false_openings(past, replace(curve.metric, width=width), curve.band))
    alerts, judged = sum(counts[week] for week in weeks), float(curve.judged[list(weeks)].sum())
    return [present, width, alerts, alerts / judged if judged else np.nan, judged]


def weekly_cost(past: BacktestData, curves: Mapping[str, WidthCurve], plan: BudgetPlan, track: Progress = iter) -> pd.DataFrame:
    """Return the cost of each past week, one row per week.

    False incidents with the present widths, with the chosen ones, and with widths chosen without that week (an honest guess
    of the next one); notified known incidents and gaps; messages of all kinds.
    """
    weeks = past.weeks
    present, chosen = past.metrics_with_values, plan.applied_to(past).metrics_with_values
    events = [event for metric in chosen for event in past.replay(metric, curves[metric.name].band).events]

    def count(*kinds: EventKind) -> list[int]:
        return weekly_counts(past, [event for event in events if event.kind in kinds])

    false = {"false now": _false_counts(past, curves, present), "false chosen": _false_counts(past, curves, chosen)}
    frame = pd.DataFrame(false, index=weeks).assign(**{"false unseen": np.nan})
    for week in track(list(weeks)):
        if others := [other for other in weeks if other != week]:
            tuned = choose_widths(past, curves, plan.budget, others).applied_to(past).metrics_with_values
            frame.loc[week, "false unseen"] = _false_counts(past, curves, tuned)[week]
    frame["known told"] = np.subtract(count(EventKind.OPENED), frame["false chosen"])
    frame["no data told"] = count(EventKind.NO_DATA)
    frame["messages"] = count(*EventKind)
    return frame.set_axis(pd.Index([f"{past.start + week * WEEK:%Y-%m-%d}" for week in weeks], name="week from"))


def _false_counts(past: BacktestData, curves: Mapping[str, WidthCurve], metrics: Sequence[Metric]) -> list[int]:
    """Return the false alerts of each week, all metrics together."""
    counts = [weekly_counts(past, false_openings(past, metric, curves[metric.name].band)) for metric in metrics]
    return np.sum(counts, axis=0).astype(int).tolist()
