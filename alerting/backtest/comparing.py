"""Rules side by side on the same past: a table, and each rule's best width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from alerting.backtest.replaying import Past, Track
from alerting.backtest.scoring import FAULTS, NOTHING, Score, Tolerance, score
from alerting.backtest.spans import Covers
from alerting.model import Metric, Rule

ALL = "all"


def compare(
    past: Past, events: Sequence[Covers], rules: Mapping[str, Rule], tolerance: Tolerance = FAULTS, track: Track = iter
) -> pd.DataFrame:
    """One row per rule and metric (and "all", pooled): recall, precision, F1, false alerts a series and week, median delay."""
    return sweep(past, events, rules, [1.0], tolerance, track).droplevel("width")


def sweep(
    past: Past,
    events: Sequence[Covers],
    rules: Mapping[str, Rule],
    widths: Sequence[float],
    tolerance: Tolerance = FAULTS,
    track: Track = iter,
) -> pd.DataFrame:
    """As `compare`, for every width: a rule's half-widths times that. Each band is made once."""
    rows: dict[tuple[str, str, float], dict[str, float]] = {}
    for name, rule in track(list(rules.items())):
        mine = [replace(metric, rule=rule) for metric in past.metrics if metric.name in past.series]
        parts = {metric.name: _scores(past, events, metric, widths, tolerance) for metric in mine}
        pooled = [sum(column, NOTHING) for column in zip(*parts.values(), strict=True)]
        for metric, scores in (parts | {ALL: pooled}).items():
            rows |= {(name, metric, width): s.row() for width, s in zip(widths, scores, strict=True)}
    index = pd.MultiIndex.from_tuples(list(rows), names=["rule", "metric", "width"])
    return pd.DataFrame(list(rows.values()), index=index)


def _scores(past: Past, events: Sequence[Covers], metric: Metric, widths: Sequence[float], tolerance: Tolerance) -> list[Score]:
    band = past.band(metric)
    replays = [past.replay(replace(metric, width=width), band) for width in widths]
    return [score(each, events, tolerance, past.known) for each in replays]


def families(leading: pd.DataFrame) -> pd.DataFrame:
    """The F1 of `best` as fence x past, for rules that are named "fence, past"."""
    named = leading[leading.index.str.count(", ") == 1]
    pairs = pd.MultiIndex.from_tuples([tuple(name.split(", ")) for name in named.index], names=["fence", "past"])
    table = named["F1"].set_axis(pairs).unstack()
    return table.loc[table.max(axis=1).sort_values(ascending=False).index]


def by_metric(table: pd.DataFrame, leading: pd.DataFrame, rule: str) -> pd.DataFrame:
    """A rule's figures by metric, at the width that is best for it over all of them."""
    width = leading.loc[rule, "width"] if rule in leading.index else 1.0
    mine = table.xs(rule, level="rule")
    widths = mine.index.get_level_values("width")
    return mine[np.isclose(widths, widths[np.abs(widths - width).argmin()])].droplevel("width")


def best(table: pd.DataFrame, most: float = np.inf) -> pd.DataFrame:
    """Each rule's best row of `sweep`, over all metrics: the highest F1 with at most `most` false alerts a series and week.

    A rule without any such width is left out; the narrower width wins a tie.
    """
    pooled = table.xs(ALL, level="metric")
    allowed = pooled[pooled["false a week"] <= most]
    ranked = allowed.sort_values(["F1", "recall"], ascending=False, kind="stable").reset_index("width")
    return ranked[~ranked.index.duplicated()]
