"""The live steps over a long past: inject, replay, score, compare, choose widths for an alert budget, state the power. Pure.

There is no research version of a rule: whatever is measured here is `pipeline.judge_one` and `pipeline.fold`.
"""

from alerting.backtest.replay import BacktestData, Replay, replay

__all__ = ["BacktestData", "Replay", "replay"]
