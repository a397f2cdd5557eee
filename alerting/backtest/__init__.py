"""Backtests: replay the steps of a run over a long past, inject faults, score alerts, choose widths for an alert budget. Pure.

The detectors are those of a run: everything here calls the functions of `pipeline.judge`.
"""

from alerting.backtest.replay import BacktestData, Replay

__all__ = ["BacktestData", "Replay"]
