"""An alert budget: "2 false alerts a week" over the whole catalogue becomes a width for each metric. Pure.

The last weeks are replayed through the live steps, episodes included, at widths from a quarter to three times the rule's own.
What is counted are incidents that would have been told, without those that are known to be real.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from alerting.backtest.curves import Curve, opened, weekly
from alerting.backtest.replaying import WEEK, Past
from alerting.model import Metric, SettingsError

WEEKS = {"day": 1 / 7, "week": 1.0, "month": 365.25 / 7 / 12}
ENOUGH = 1.0  # weeks a metric must have been judged before its width is moved
PSEUDO = 1  # an alert that was not seen is counted as if it had been: few weeks promise little


def per_week(text: str) -> float:
    """Alerts a week from "2 a week", "1 false alert a month" or "0.5 per week". Raises SettingsError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)(?:\s+(?:false\s+)?alerts?)?\s+(?:a|per)\s+(day|week|month)\s*", text)
    if found is None or float(found[1]) == 0:
        raise SettingsError(
            f"budget={text!r}: write a number above 0 and a time, such as '2 a week', '0.5 a week' or '1 a month'"
        )
    return float(found[1]) / WEEKS[found[2]]


def upper(count: float, sure: float = 0.9) -> float:
    """The most events that could be expected where `count` were seen: the upper Poisson limit (0 seen: 2.3, 7 seen: 11.8)."""
    low, high = 0.0, 10.0 + 3 * count
    for _ in range(60):
        middle = (low + high) / 2
        terms = [math.exp(k * math.log(middle) - middle - math.lgamma(k + 1)) for k in range(int(count) + 1)]
        low, high = (middle, high) if sum(terms) > 1 - sure else (low, middle)
    return high


@dataclass(frozen=True)
class Share:
    """One metric's part of a budget: its width before and now, and what that would have told in `weeks` of judged time."""

    metric: str
    before: float
    width: float
    told: int
    weeks: float


@dataclass(frozen=True)
class Plan:
    """Widths for a budget (alerts a week, all metrics together)."""

    budget: float
    shares: tuple[Share, ...]

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
        return upper(self.told) / self.weeks if self.weeks else float("nan")

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


def choose(past: Past, made: Mapping[str, Curve], budget: float, weeks: Sequence[int] = ()) -> Plan:
    """A width for each metric so that all together keep to `budget` incidents a week, over `weeks` (places; all by default).

    Every metric may tell as often as any other, and those that are quiet anyway leave their part to the rest: the common
    rate is found by bisection on the curves, and then lowered until a replay at exactly these widths keeps to the budget.
    """
    used = list(weeks) or list(range((past.end - past.start) // WEEK))
    able = {name: curve for name, curve in made.items() if curve.seen[used].sum() >= ENOUGH}
    allowed = max(0.0, budget - PSEUDO / max([c.seen[used].sum() for c in able.values()], default=1.0))
    rate = _common_rate(able, allowed, used)
    while True:
        plan = Plan(budget, tuple(_share(past, curve, rate if name in able else None, used) for name, curve in made.items()))
        if sum(s.told / s.weeks for s in plan.shares if s.metric in able) <= allowed or rate < 0.001:
            return plan
        rate = rate * 0.9


def _common_rate(able: Mapping[str, Curve], allowed: float, weeks: Sequence[int]) -> float:
    def total(rate: float) -> float:
        return sum(curve.rate(curve.width(rate, weeks), weeks) for curve in able.values())

    low, high = 0.0, allowed
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if total(middle) <= allowed else (low, middle)
    return low


def _share(past: Past, curve: Curve, rate: float | None, weeks: Sequence[int]) -> Share:
    """Rounded up, as it will stand in metrics.py; without a rate the metric keeps its width."""
    before = curve.metric.width
    width = before if rate is None else math.ceil(curve.width(rate, weeks) * 100 - 1e-9) / 100
    told = weekly(past, opened(past, replace(curve.metric, width=width), curve.band))
    return Share(curve.metric.name, before, width, sum(told[w] for w in weeks), float(curve.seen[list(weeks)].sum()))


def with_widths(past: Past, plan: Plan) -> Past:
    """The same past, its metrics with the plan's widths."""
    return replace(past, metrics=plan.metrics(past.metrics))
