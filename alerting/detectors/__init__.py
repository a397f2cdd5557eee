"""Which past (references) x how wide (fences) -> band -> judged; and the rules with a question of their own.

A plain rule is a fence over a reference: `IQR(k=3, over=SameSlot(days=28))`. `Sudden` asks whether the metric just changed,
`Sustained` whether it is held wrong, `Level` whether it is further out than it gets; `Chosen` takes what suits the metric.
Prefix law: the row of a band for bucket t is made of values before t only, so a live run, a catch-up and a backtest are the
same computation over 1, k and n buckets.
"""

from alerting.detectors.auto import AutoDetector, Chosen
from alerting.detectors.bands import IQR, MAD, Quantile, Sigma
from alerting.detectors.baselines import Change, SameSlot, Trailing
from alerting.detectors.level import Level
from alerting.detectors.sudden import Sudden
from alerting.detectors.sustained import Sustained
from alerting.detectors.verdicts import judge

__all__ = [
    "IQR",
    "MAD",
    "AutoDetector",
    "Change",
    "Chosen",
    "Level",
    "Quantile",
    "SameSlot",
    "Sigma",
    "Sudden",
    "Sustained",
    "Trailing",
    "judge",
]
