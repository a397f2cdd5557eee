"""Backtests: replay the live steps over a long past, inject faults, score, choose widths for an alert budget. Pure.

There is no research version of a detector: all of this runs `pipeline.judge`.
"""

from alerting.backtest.replay import BacktestData, Replay

__all__ = ["BacktestData", "Replay"]
