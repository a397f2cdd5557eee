"""Which past (references) x how wide (fences) -> band -> judged.

A rule is a fence over a reference: `IQR(k=3, over=SameSlot(days=28))`. Prefix law: the row of a band for bucket t is made
of values before t only, so a live run, a catch-up and a backtest are the same computation over 1, k and n buckets.
"""

from alerting.detectors.fences import IQR, Quantile, Sigma
from alerting.detectors.judging import FARTHEST, judge
from alerting.detectors.references import SameSlot, Trailing

__all__ = ["FARTHEST", "IQR", "Quantile", "SameSlot", "Sigma", "Trailing", "judge"]
