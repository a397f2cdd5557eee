"""What each past week would have cost in messages. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import pandas as pd

from alerting.backtest.budget import Plan, choose
from alerting.backtest.curves import Curve, opened, weekly
from alerting.backtest.replaying import WEEK, Past, Track
from alerting.model import Event, Kind, Metric


def cost(past: Past, made: Mapping[str, Curve], plan: Plan, track: Track = iter) -> pd.DataFrame:
    """What each past week would have cost: false incidents with the present widths, with the chosen ones, and with widths
    chosen without that week (an honest guess of the next one); known incidents told; messages of all kinds."""
    weeks = range((past.end - past.start) // WEEK)
    now = [curve.metric for curve in made.values()]
    chosen = plan.metrics(now)
    frame = pd.DataFrame({"false now": _false(past, made, now), "false chosen": _false(past, made, chosen)}, index=weeks)
    frame["false unseen"] = [_unseen(past, made, plan.budget, week) for week in track(list(weeks))]
    told = _told(past, made, chosen)
    frame["known told"] = np.subtract(_kinds(past, told, (Kind.OPENED,)), frame["false chosen"])
    frame["no data told"] = _kinds(past, told, (Kind.NO_DATA,))
    frame["messages"] = _kinds(past, told, tuple(Kind))
    frame.index = pd.Index([_day(past.start + week * WEEK) for week in weeks], name="week from")
    return frame


def _day(at: datetime) -> str:
    return f"{at:%Y-%m-%d}"


def _false(past: Past, made: Mapping[str, Curve], metrics: Sequence[Metric]) -> list[int]:
    each = [weekly(past, opened(past, metric, made[metric.name].band)) for metric in metrics]
    return np.sum(each, axis=0).astype(int).tolist()


def _told(past: Past, made: Mapping[str, Curve], metrics: Sequence[Metric]) -> list[Event]:
    return [event for metric in metrics for event in past.replay(metric, made[metric.name].band).events]


def _kinds(past: Past, events: Sequence[Event], kinds: tuple[Kind, ...]) -> list[int]:
    return weekly(past, [event for event in events if event.kind in kinds])


def _unseen(past: Past, made: Mapping[str, Curve], budget: float, week: int) -> float:
    """The week's false incidents with widths that were chosen on the other weeks."""
    others = [w for w in range((past.end - past.start) // WEEK) if w != week]
    if not others:
        return float("nan")
    metrics = choose(past, made, budget, others).metrics([curve.metric for curve in made.values()])
    return float(_false(past, made, metrics)[week])
