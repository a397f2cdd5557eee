"""Which past (references) x how wide (fences) -> band -> judged; and the rules with a question of their own.

A plain rule is a fence over a reference: `IQR(k=3, over=SameSlot(days=28))`. `Sudden` asks whether the metric just changed,
`Sustained` whether it is held wrong, `Level` whether it is further out than it gets; `Chosen` takes what suits the metric.
Prefix law: the row of a band for bucket t is made of values before t only, so a live run, a catch-up and a backtest are the
same computation over 1, k and n buckets.
"""

from alerting.detectors import limits
from alerting.detectors.base import OneByOne
from alerting.detectors.chosen import Chosen
from alerting.detectors.fences import IQR, MAD, Fence, Quantile, Sigma
from alerting.detectors.grid import Figures, Grid
from alerting.detectors.judging import FARTHEST, REARM, Before, answers, gap_told, judge, looks_back, news
from alerting.detectors.level import Level
from alerting.detectors.references import Change, SameSlot, Trailing
from alerting.detectors.sudden import Sudden
from alerting.detectors.sustained import Sustained, Window

__all__ = [
    "FARTHEST", "IQR", "MAD", "REARM", "Before", "Change", "Chosen", "Fence", "Figures", "Grid", "Level", "OneByOne", "Quantile",
    "SameSlot", "Sigma", "Sudden", "Sustained", "Trailing", "Window", "answers", "gap_told", "judge", "limits",
    "looks_back", "news",
]  # fmt: skip
