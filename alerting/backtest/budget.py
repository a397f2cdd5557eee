"""An alert budget: "2 false alerts a week" over the whole catalogue becomes a width for each metric. Pure.

The last weeks are replayed through the steps of a run, with related metrics together and with episodes, at widths from 0.25 to 3
times the detector's own. An alert here is a notified episode of one metric that is not known to be real. Widths that keep to the
budget are not changed, because a few weeks are weak evidence and a width that follows their noise makes alerts worse.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from alerting.backtest.power import smallest_found
from alerting.backtest.replay import WEEK, BacktestData, Progress, Replay, replay_judged
from alerting.model.errors import SettingsError
from alerting.model.incident import Event, MetricTree
from alerting.model.metric import Metric
from alerting.model.verdict import EventKind
from alerting.pipeline.judged import Banded, judge_related

PERIOD_WEEKS = {"day": 1 / 7, "week": 1.0, "month": 365.25 / 7 / 12}
MIN_WEEKS = 1.0  # weeks that a metric must have been judged before its width is changed
PSEUDO_COUNT = 1  # alerts added to the counted ones, because few weeks are weak evidence
ROOM = 0.5  # narrower widths are tried if less than this share of the budget is used ...
CLEARLY = 2 / 3  # ... and kept if both the width and the smallest drop found are at most this multiple of the present one
PLAN_COLUMNS = ["width now", "width chosen", "incidents told", "a week", "weeks judged"]
WIDTHS = tuple(np.geomspace(0.25, 3, 15).round(3).tolist())


def parse_budget(text: str) -> float:
    """Return the alerts a week of a text such as "2 a week", "1 false alert a month" or "0.5 per week". Raises SettingsError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)(?:\s+(?:false\s+)?alerts?)?\s+(?:a|per)\s+(day|week|month)\s*", text)
    if found is None or float(found[1]) == 0:
        raise SettingsError(
            f"budget={text!r}: write a number above 0 and a time, such as '2 a week', '0.5 a week' or '1 a month'"
        )
    return float(found[1]) / PERIOD_WEEKS[found[2]]


def poisson_upper(count: float, confidence: float = 0.9) -> float:
    """Return the one-sided upper confidence limit of a Poisson mean after `count` observed events (0: 2.3, 7: 11.8).

    It equals `scipy.stats.chi2.ppf(confidence, 2 * count + 2) / 2` (Garwood 1936). Bisection replaces scipy, which the
    environment of a run does not have.
    """
    low, high = 0.0, 10.0 + 3 * count
    for _ in range(60):
        middle = (low + high) / 2
        terms = [math.exp(k * math.log(middle) - middle - math.lgamma(k + 1)) for k in range(int(count) + 1)]
        low, high = (middle, high) if sum(terms) > 1 - confidence else (low, middle)
    return high


# Alerts per metric at each band width: the input of a budget.


@dataclass(frozen=True)
class WidthCurve:
    """The false alerts of one metric at each width.

    `alerts`: number of alerts; index: width, columns: number of the week (0, 1 ...). `judged`: share of each week that could be
    judged (1: all of it), without known incidents. `band`: the detector's band at width 1. `pinned`: the width must not change.
    """

    metric: Metric
    band: pd.DataFrame
    alerts: pd.DataFrame
    judged: pd.Series
    pinned: bool = False

    def rates(self, weeks: Sequence[int]) -> np.ndarray:
        """Return a cautious estimate of alerts a week at each width: float64, in the order of the widths.

        It is the highest count at that width or at a wider one, or the count of `extrapolate_counts`, if that is higher. Raw
        counts would let the largest alerts of a few weeks decide the width.
        """
        counts = self.alerts[list(weeks)].sum(axis=1).to_numpy(float)
        highest = np.maximum.accumulate(counts[::-1])[::-1]
        fitted = extrapolate_counts(self.alerts.index.to_numpy(float), counts)
        return np.maximum(highest, fitted) / self.judged[list(weeks)].sum()

    def width(self, rate: float, weeks: Sequence[int]) -> float:
        """Return the smallest width with at most `rate` alerts a week by `rates`, interpolated linearly.

        If no width has so few, return the widest one.
        """
        rates, widths = self.rates(weeks), self.alerts.index.to_numpy(float)
        quiet = np.flatnonzero(rates <= rate)
        if not len(quiet) or not quiet[0]:
            return float(widths[quiet[0] if len(quiet) else -1])
        i = quiet[0]
        share = (rates[i - 1] - rate) / (rates[i - 1] - rates[i])
        return float(widths[i - 1] + share * (widths[i] - widths[i - 1]))

    def table(self) -> pd.DataFrame:
        """Return one row per width with two columns, in alerts a week: `told` (counted) and `counted on` (by `rates`)."""
        told = self.alerts.sum(axis=1) / self.judged.sum()
        return pd.DataFrame({"told": told, "counted on": self.rates(list(self.alerts.columns))}, index=self.alerts.index)


def extrapolate_counts(widths: np.ndarray, counts: np.ndarray, many: float = 10) -> np.ndarray:
    """Return counts at each width, fitted by a Poisson regression with a log link: log(expected count) is linear in the width.

    Only widths from the widest one with more than `many` alerts on are fitted; narrower widths get 0. Without any alert all are
    0. Method: McCullagh and Nelder, Generalized Linear Models, 1989.
    """
    if not counts.any():
        return np.zeros(len(widths))
    first = np.flatnonzero(counts > many).max(initial=0)
    x, y = widths[first:], counts[first:]
    design = np.column_stack([np.ones(len(x)), x - x.mean()])
    beta = np.array([np.log(y.mean()), -3.0])
    for _ in range(50):  # Newton's steps, none longer than 1; the small ridge makes one single width solvable
        expected = np.exp(np.clip(design @ beta, -30, 12))
        curvature = design.T @ (design * expected[:, None]) + np.diag([1e-6, 1e-2])
        beta = beta + np.clip(np.linalg.solve(curvature, design.T @ (y - expected)), -1, 1)
    expected = np.exp(np.clip(beta[0] + beta[1] * (widths - x.mean()), -30, 12))
    return np.where(np.arange(len(widths)) < first, 0.0, expected)


def width_curves(
    past: BacktestData, widths: Sequence[float] = WIDTHS, track: Progress = iter, pinned: Collection[str] = ()
) -> dict[str, WidthCurve]:
    """Return metric -> its curve over the whole weeks of the past. Each band is computed once for all widths.

    A replay gives the same width to all metrics, because related metrics are judged together. `pinned`: names of the metrics
    whose width must not change.
    """
    metrics, weeks = past.metrics_with_values, list(past.weeks)
    bands = {metric.name: past.band(metric) for metric in track(metrics)}
    alerts: dict[float, dict[str, list[int]]] = {}
    for width in track(list(widths)):
        alerts[width] = false_counts(past, replay_at(past, bands, {metric.name: width for metric in metrics}))

    curves = {}
    for metric in metrics:
        name, values = metric.name, past.values()[metric.name]
        counts = {width: by_metric[name] for width, by_metric in alerts.items()}
        frame = pd.DataFrame.from_dict(counts, orient="index", columns=weeks).rename_axis("width")
        usable = values.notna() & bands[name]["expected"].reindex(values.index).notna() & ~past.in_known(metric, values.index)
        week_of = (values.index - past.start) // WEEK
        judged = [float(usable[week_of == week].sum() * (metric.step / WEEK)) for week in weeks]
        curves[name] = WidthCurve(metric, bands[name], frame, pd.Series(judged, weeks), name in pinned)
    return curves


def replay_at(past: BacktestData, bands: Mapping[str, pd.DataFrame], widths: Mapping[str, float]) -> Replay:
    """Replay the metrics of `bands`, related metrics together, as a run judges them. Return the replay.

    `bands`: metric -> the band of its whole series at width 1. `widths`: metric -> width; other metrics keep their own.
    """
    parts = []
    for metric in past.metrics_with_values:
        if metric.name in bands:
            columns = {str(name): column.to_numpy() for name, column in bands[metric.name].items()}
            wide = replace(metric, width=widths.get(metric.name, metric.width))
            parts.append(Banded(wide, past.series[metric.name], columns, past.volumes.get(metric.name), 0, 0))
    metrics = [part.metric for part in parts]
    judged = {
        name: pd.DataFrame(columns, index=past.series[name].index)
        for name, columns in judge_related(MetricTree(metrics), parts).items()
    }
    return replay_judged(metrics, judged, past.start, past.end)


def false_openings(past: BacktestData, replay: Replay) -> list[Event]:
    """Return the opening events that are not in a known incident. A gap is no false alert, because no width would prevent it."""
    known, values = {}, past.values()
    for metric in replay.metrics:
        index = values[metric.name].index
        known[metric.name] = set(index[past.in_known(metric, index)])
    opened = [event for event in replay.events if event.kind is EventKind.OPENED]
    return [event for event in opened if event.bucket not in known[event.metric]]


def false_counts(past: BacktestData, replay: Replay) -> dict[str, list[int]]:
    """Return metric -> the number of its false alerts in each whole week."""
    false = false_openings(past, replay)
    return {m.name: weekly_counts(past, [event for event in false if event.metric == m.name]) for m in replay.metrics}


def weekly_counts(past: BacktestData, events: Sequence[Event]) -> list[int]:
    """Return the number of events in each whole week."""
    weeks = [(event.bucket - past.start) // WEEK for event in events]
    return [weeks.count(week) for week in past.weeks]


# Widths for a budget.


@dataclass
class BudgetPlan:
    """The widths for a budget. `budget`: false alerts a week of all metrics together.

    `table`: one row per metric with the columns width now, width chosen, incidents told, a week, weeks judged. `finds`: metric
    whose width is narrower than before -> the smallest drop that is notified within an hour by day, before and after (shares;
    NaN: no drop that was tried).
    """

    budget: float
    table: pd.DataFrame
    finds: dict[str, tuple[float, float]] = field(default_factory=dict)
    widths: dict[str, float] = field(init=False)
    moved: dict[str, float] = field(init=False)  # metrics whose width changed, with the new one
    alerts: int = field(init=False)  # counted over all the weeks, with these widths
    weeks: float = field(init=False)  # the longest time that one of the metrics was judged
    rate: float = field(init=False)  # alerts a week, with one alert more than counted; NaN if nothing was judged
    exceeded: bool = field(init=False)  # whether more alerts were counted than the budget allows for these weeks
    holds: bool = field(init=False)  # whether `rate` is within the budget

    def __post_init__(self) -> None:
        chosen = self.table["width chosen"]
        self.widths, self.moved = chosen.to_dict(), chosen[chosen != self.table["width now"]].to_dict()
        self.alerts, self.weeks = int(self.table["incidents told"].sum()), float(self.table["weeks judged"].max())
        self.rate = (self.alerts + PSEUDO_COUNT) / self.weeks if self.weeks > 0 else float("nan")
        self.exceeded = self.alerts > self.budget * self.weeks
        self.holds = self.rate <= self.budget

    def applied_to(self, past: BacktestData) -> BacktestData:
        """Return the same past; its metrics have the widths of this plan."""
        return replace(past, metrics=[replace(m, width=self.widths.get(m.name, m.width)) for m in past.metrics])

    def words(self) -> str:
        """Return sentences that say whether the budget holds, how certain that is, and which drops narrower widths find."""
        limit = poisson_upper(self.alerts) / self.weeks if self.weeks > 0 else float("nan")
        held = "keep" if self.holds else "do NOT keep" if self.exceeded else "kept"
        few = "" if self.holds or self.exceeded else "; so few weeks cannot promise that they will"
        found = "".join(
            f" {name} finds drops from {after:.0%} on, {f'not {before:.0%}' if before == before else 'where it found none'}."
            for name, (before, after) in self.finds.items()
        )
        subject = "These widths" if self.moved or self.exceeded else "Nothing to change: the widths as they are"
        return (
            f"{subject} {held} to {self.budget:.3g} false alerts a week{few}: {self.alerts} were told in {self.weeks:.1f} weeks, "
            f"so with one that was not seen {self.rate:.2g} a week, and at most {limit:.2g} (upper 90 % limit, if alerts come "
            f"one by one).{found}"
        )


def choose_widths(
    past: BacktestData,
    curves: Mapping[str, WidthCurve],
    budget: float,
    weeks: Sequence[int] = (),
    narrower: Collection[str] = (),
) -> BudgetPlan:
    """Choose a width for each metric so that all metrics together keep to `budget` alerts a week. Return the plan.

    `weeks`: numbers of the weeks whose alerts are counted; default: all. If the present widths keep to the budget, they stay.
    Otherwise all metrics get one common limit of alerts a week, and the metrics above the limit become wider. Pinned metrics
    keep their widths; if they alone use up the budget, no width changes.

    Only metrics in `narrower` can become narrower, and only if less than half of the budget is used. Then the 90 % limit of the
    alerts must keep to the budget, and a width that is not clearly narrower stays.
    """
    used = list(weeks) or list(past.weeks)
    free = {n: c for n, c in curves.items() if not c.pinned and c.judged[used].sum() >= MIN_WEEKS}
    plan = _plan(past, curves, budget, {}, used)
    if plan.exceeded:
        return _search(past, curves, plan, free, used)
    narrow = {name: curve for name, curve in free.items() if name in narrower}
    expected = budget * plan.weeks
    room = plan.alerts < ROOM * expected and poisson_upper(0) <= expected
    return _search(past, curves, plan, narrow, used) if narrow and room else plan


def _search(
    past: BacktestData, curves: Mapping[str, WidthCurve], plan: BudgetPlan, free: Mapping[str, WidthCurve], used: Sequence[int]
) -> BudgetPlan:
    """Return a plan in which the `free` metrics have one common limit of alerts a week.

    Bisection on the curves finds the limit. It is then lowered until a replay at exactly these widths keeps to the budget.
    """
    if not plan.weeks:  # all rules are fixed limits: there is no expected value, so no week was judged
        return plan
    allowed = _surely_allowed(plan.budget * plan.weeks) / plan.weeks
    if plan.exceeded:  # the second term is for a budget of less than one alert in all these weeks
        allowed = max(plan.budget - PSEUDO_COUNT / plan.weeks, plan.budget / 2)
    fixed = float(plan.table["incidents told"].drop(list(free)).sum()) / plan.weeks
    if fixed >= allowed:  # no width of the free metrics could keep to the budget
        return plan

    def widths_for(rate: float) -> dict[str, float]:
        out = {}
        for name, curve in free.items():
            present, width = curve.metric.width, math.ceil(curve.width(rate, used) * 100 - 1e-9) / 100
            out[name] = max(present, width) if plan.exceeded else width if width <= CLEARLY * present else present
        return out

    rate, high = 0.0, allowed
    for _ in range(30):
        middle, total = (rate + high) / 2, fixed
        for name, width in widths_for(middle).items():
            total += float(np.interp(width, curves[name].alerts.index.to_numpy(float), curves[name].rates(used)))
        rate, high = (middle, high) if total <= allowed else (rate, middle)

    tried: dict[str, float] | None = None
    while True:
        widths = widths_for(rate)
        if widths != tried:
            found, tried = _plan(past, curves, plan.budget, widths, used), widths
        if found.alerts / plan.weeks <= allowed or rate < 0.001:
            return found
        rate = rate * 0.9


def _surely_allowed(expected: float) -> int:
    """Return the largest count of alerts whose upper 90 % limit is at most `expected`; 0 if there is no such count."""
    count = 0
    while poisson_upper(count + 1) <= expected:
        count += 1
    return count


def _plan(
    past: BacktestData, curves: Mapping[str, WidthCurve], budget: float, widths: Mapping[str, float], weeks: Sequence[int]
) -> BudgetPlan:
    """Return the plan with these widths; other metrics keep theirs. A replay counts its alerts in `weeks`."""
    counts = false_counts(past, replay_at(past, {name: curve.band for name, curve in curves.items()}, widths))
    rows = {}
    for name, curve in curves.items():
        alerts, judged = sum(counts[name][week] for week in weeks), float(curve.judged[list(weeks)].sum())
        width = widths.get(name, curve.metric.width)
        rows[name] = [curve.metric.width, width, alerts, alerts / judged if judged else np.nan, judged]
    return BudgetPlan(budget, pd.DataFrame.from_dict(rows, orient="index", columns=PLAN_COLUMNS))


def propose_widths(
    past: BacktestData, curves: Mapping[str, WidthCurve], budget: float, measure: Callable[[BacktestData], pd.DataFrame]
) -> tuple[BudgetPlan, pd.DataFrame]:
    """Return a plan that changes only the widths that must change, and the power table with its widths.

    Narrower widths are kept only for metrics that find clearly smaller drops with them. `measure`: `power.detection_power`.
    """
    plan = choose_widths(past, curves, budget)
    power = measure(plan.applied_to(past))
    bold = choose_widths(past, curves, budget, narrower=list(curves))
    if plan.moved or not bold.moved:
        return plan, power
    metrics = [metric for metric in bold.applied_to(past).metrics if metric.name in bold.moved]
    before, after = (smallest_found(table)["day, 1 h"] for table in (power, measure(replace(past, metrics=metrics))))
    better = [name for name in bold.moved if after[name] <= before.fillna(np.inf)[name] * CLEARLY + 1e-9]
    if not better:
        return plan, power
    plan = choose_widths(past, curves, budget, narrower=better)
    power = measure(plan.applied_to(past))
    after = smallest_found(power)["day, 1 h"]
    return replace(plan, finds={name: (float(before[name]), float(after[name])) for name in plan.moved}), power


def weekly_cost(past: BacktestData, curves: Mapping[str, WidthCurve], plan: BudgetPlan, track: Progress = iter) -> pd.DataFrame:
    """Return one row of counts per past week. Index: local date on which the week begins.

    Columns: `false now` (false alerts with the present widths), `false chosen` (with the chosen widths), `false unseen` (with
    widths that were chosen without this week: an estimate for a future week), `known told` (notified known incidents), `no data
    told` (notified gaps) and `messages` (of all kinds).
    """
    weeks, bands = list(past.weeks), {name: curve.band for name, curve in curves.items()}
    present, chosen = replay_at(past, bands, {}), replay_at(past, bands, plan.widths)
    now, then = (weekly_counts(past, false_openings(past, replay)) for replay in (present, chosen))
    frame = pd.DataFrame({"false now": now, "false chosen": then, "false unseen": np.nan}, index=weeks)
    for week in track(weeks):
        if others := [other for other in weeks if other != week]:
            tuned = choose_widths(past, curves, plan.budget, others, list(plan.finds))
            unseen = false_openings(past, replay_at(past, bands, tuned.widths))
            frame.loc[week, "false unseen"] = weekly_counts(past, unseen)[week]
    opened, gaps = ([e for e in chosen.events if e.kind is kind] for kind in (EventKind.OPENED, EventKind.NO_DATA))
    frame["known told"] = np.subtract(weekly_counts(past, opened), frame["false chosen"])
    frame["no data told"] = weekly_counts(past, gaps)
    frame["messages"] = weekly_counts(past, chosen.events)
    begins = [(past.start + week * WEEK).astimezone(ZoneInfo(past.zone)) for week in weeks]
    return frame.set_axis(pd.Index([f"{begin:%Y-%m-%d}" for begin in begins], name="week from"))
