"""Detectors: a detector combines a baseline and a width rule into a band; values are judged against it.

A plain detector is a width rule over a baseline: `IQR(k=3, over=SameSlot(days=28))`. `Sudden` finds abrupt changes,
`SeasonalLevel` a level that is off, `Level` values beyond all earlier ones; `AutoDetector` chooses what suits the metric.
`Above`, `Below` and `Outside` are fixed limits.

Prefix law: the row of a band for bucket t is computed from values before t only, so a live run, a catch-up and a backtest are
the same computation over 1, k and n buckets.
"""

from alerting.detectors.auto import AutoDetector, Chosen, Level
from alerting.detectors.bands import IQR, MAD, Quantile, Sigma
from alerting.detectors.baselines import Change, SameSlot, Trailing
from alerting.detectors.limits import Above, Below, Outside
from alerting.detectors.seasonal_level import SeasonalLevel
from alerting.detectors.sudden import Sudden
from alerting.detectors.sustained import Sustained
from alerting.detectors.verdicts import judge

__all__ = [
    "IQR", "MAD", "Above", "AutoDetector", "Below", "Change", "Chosen", "Level", "Outside", "Quantile", "SameSlot",
    "SeasonalLevel", "Sigma", "Sudden", "Sustained", "Trailing", "judge",
]  # fmt: skip
