"""The live steps over a long past: inject, replay, score, compare, choose widths for an alert budget, state the power. Pure.

There is no research version of a rule: whatever is measured here is `pipeline.judge_one` and `pipeline.fold`.
"""

from alerting.backtest.budget import Plan, Share, choose, per_week, upper, with_widths
from alerting.backtest.comparing import best, by_metric, compare, families, sweep
from alerting.backtest.costs import cost
from alerting.backtest.curves import WIDTHS, Curve, curves, some_widths
from alerting.backtest.faults import Fault, inject, inject_all, scattered
from alerting.backtest.power import power, power_lines, smallest, told
from alerting.backtest.replaying import Past, Replay, replay
from alerting.backtest.reviewing import FACTORS, at_widths, found, near_misses, stories
from alerting.backtest.scoring import FAULTS, LABELS, Score, Tolerance, score
from alerting.backtest.spans import Span
from alerting.backtest.trials import around, by_kind, hurt, label, leaders, listed, usual_faults

__all__ = [
    "FACTORS", "FAULTS", "LABELS", "WIDTHS", "Curve", "Fault", "Past", "Plan", "Replay", "Score", "Share", "Span",
    "Tolerance", "around", "at_widths", "best", "by_kind", "by_metric", "choose", "compare", "cost", "curves", "families",
    "found", "hurt", "inject", "inject_all", "label", "leaders", "listed", "near_misses", "per_week", "power",
    "power_lines", "replay", "scattered", "score", "smallest", "some_widths", "stories", "sweep", "told", "upper",
    "usual_faults", "with_widths",
]  # fmt: skip
