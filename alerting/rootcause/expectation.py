"""Find the root cause of a verdict: expectations of segments from the same time of past days, then `explain`. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from alerting.model.incident import RootCause, Segment
from alerting.model.metric import Metric
from alerting.model.verdict import Verdict
from alerting.rootcause.explain import Conclusion, Explanation, explain, new_and_gone_values
from alerting.rootcause.likelihood import NORMAL_MEDIAN, UNIT_CORRELATION
from alerting.rootcause.search import Condition, SearchOptions

HISTORY_DAYS = 28  # days from which the expectation of a segment is made
EXPERIMENT = "exp_group"
EXPERIMENT_SHARE = 0.8  # of the change: experiment groups that explain so much are named ...
EXPERIMENT_SCORE = 0.9  # ... unless another cause is better by more than a tenth
DECAY_DAYS = 14.0  # the weight of a past day falls by e over so many
OTHER_WEEKDAY_WEIGHT = 0.5  # weight of a day six days before against one a week before: the same weekday says more
MAX_TOTAL_RATIO = 2.0  # a past day with less than half, or more than twice, the usual total was itself anomalous
IMBALANCE_SIGMAS = 5.0  # a group is out of balance when its share of the users deviates by so many standard deviations ...
IMBALANCE_SHARE = 0.2  # ... and by this part
MIN_CORRELATION = 0.0005  # of the units of a leaf of a ratio
MAX_OVERLAP = 1.02  # segments that add up to more than so many times the total have users in common
MAX_OTHER_VALUES = 8  # other values of the segment's attribute that are kept
MAX_NEW_VALUES = 2  # new values, and gone ones, that are kept
MIN_NEW_VALUE_SHARE = 0.01  # share of all that a new or gone value must have
MAX_CONDITIONS = 3  # conditions of a cause
MAX_ATTRIBUTES = 3  # attributes of a condition: with more the search is slow, and no real cause had more


@dataclass(frozen=True)
class SegmentHistory:
    """One counted column of the leaves: `now` (n,), and `before` (n, 28) on the days before, newest first."""

    leaves: pd.DataFrame
    now: np.ndarray
    before: np.ndarray

    @classmethod
    def of(cls, rows: pd.DataFrame, attributes: list[str], column: str) -> SegmentHistory:
        """Return the history of a column. `rows`: days_ago (int), attributes (text), numbers; one per leaf and day with rows."""
        codes, size = np.zeros(len(rows), np.int64), 1
        for name in attributes:
            own, different = pd.factorize(rows[name], use_na_sentinel=False)
            if size * len(different) >= 2**62:
                codes, known = pd.factorize(codes)
                size = len(known)
            codes, size = codes * len(different) + own, size * len(different)
        codes = pd.factorize(codes)[0]  # leaves are numbered in the order in which they come

        first = np.flatnonzero(~pd.Series(codes).duplicated().to_numpy())
        days = rows["days_ago"].to_numpy(int).clip(0, HISTORY_DAYS)
        cells = np.bincount(codes * (HISTORY_DAYS + 1) + days, rows[column].to_numpy(float), len(first) * (HISTORY_DAYS + 1))
        table = cells.reshape(len(first), HISTORY_DAYS + 1)
        return cls(rows[attributes].iloc[first].astype(str).reset_index(drop=True), table[:, 0], table[:, 1:])


def find_root_cause(metric: Metric, rows: pd.DataFrame, verdict: Verdict) -> RootCause:
    """Return what explains the verdict.

    `rows`: days_ago (0 is now), attributes as text, counts, as a query of `sql/slices` returns them. Each leaf's expectation is
    its mean over the 28 days before at the same time (recent days and the same weekday weigh more, anomalous days nothing),
    scaled to the total that the band expects (not with fixed limits, which expect none). Experiment groups are tried first.
    """
    explained, leaves, attributes = explain_rows(metric, rows, verdict)
    cause = _root_cause(explained, leaves, attributes)
    amount = leaves if "value" in leaves else leaves.assign(value=leaves["whole"], expected=leaves["expected_whole"])
    new, gone = new_and_gone_values(amount, attributes)
    overlap = not metric.adds and metric.form == "count" and cause.slice is not None
    return replace(
        cause,
        new=tuple(segment for segment in new if segment.value >= MIN_NEW_VALUE_SHARE)[:MAX_NEW_VALUES],
        gone=tuple(segment for segment in gone if segment.expected >= MIN_NEW_VALUE_SHARE)[:MAX_NEW_VALUES],
        overlap=overlap and bool(amount["value"].sum() > MAX_OVERLAP * max(verdict.value, 1)),
        imbalance=_imbalanced_groups(rows) if "users" in rows and EXPERIMENT in attributes else (),
    )


def explain_rows(
    metric: Metric, rows: pd.DataFrame, verdict: Verdict, order: int = MAX_ATTRIBUTES, conditions: int = MAX_CONDITIONS
) -> tuple[Explanation, pd.DataFrame, list[str]]:
    """Return the explanation, the leaves that it is made of (see `explain`), and their attributes.

    The arguments are those of `find_root_cause`; `order`: attributes of a condition at most.
    """
    attributes = [str(name) for name in rows.columns if not pd.api.types.is_numeric_dtype(rows[name])]
    options = SearchOptions(order=order, conditions=conditions)
    kind = "ratio" if len(metric.columns) == 2 else "count"
    if kind == "ratio":
        leaves, correlation = _ratio_leaves(metric, rows, attributes, verdict)
        options = replace(options, correlation=correlation)
    else:
        leaves = _count_leaves(metric, rows, attributes, verdict)

    # The experiment groups alone where they explain about as much as all attributes do
    explained = explain(leaves, attributes, kind, options)
    if EXPERIMENT in attributes:
        groups = explain(leaves, [EXPERIMENT], kind, options)
        enough = groups.answer == Conclusion.CARRIED and groups.causes[0].share >= EXPERIMENT_SHARE
        if enough and not (explained.causes and groups.causes[0].score < EXPERIMENT_SCORE * explained.causes[0].score):
            explained = groups
    return explained, leaves, attributes


def _count_leaves(metric: Metric, rows: pd.DataFrame, attributes: list[str], verdict: Verdict) -> pd.DataFrame:
    """Return leaves with value, expected and spread.

    Expected values are scaled so that total expected / total value equals that of the verdict.
    """
    past = SegmentHistory.of(rows, attributes, metric.columns[0])
    totals = past.before.sum(axis=0)
    weights = _day_weights(totals)
    ratio = verdict.value / verdict.expected if verdict.expected else float("nan")
    expected_total = float(past.now.sum() / ratio) if ratio > 0 else float(totals @ weights)
    scaled = past.before * (expected_total / np.maximum(totals, 1e-9))
    expected = scaled @ weights
    spread = np.sqrt(((scaled - expected[:, None]) ** 2) @ weights)
    return past.leaves.assign(value=past.now, expected=expected, spread=spread)


def _ratio_leaves(metric: Metric, rows: pd.DataFrame, attributes: list[str], verdict: Verdict) -> tuple[pd.DataFrame, float]:
    """Return leaves with part, whole and their expectations, scaled to the verdict's; and how correlated their units are."""
    part, whole = (SegmentHistory.of(rows, attributes, column) for column in metric.columns)
    weights = _day_weights(whole.before.sum(axis=0))
    expected_whole = whole.before @ weights
    expected_part = part.before @ weights
    overall = expected_part.sum() / max(expected_whole.sum(), 1e-9)
    scale = verdict.expected / overall if overall > 0 and verdict.expected > 0 else 1.0
    expected_part = np.minimum(expected_part * scale, expected_whole)
    leaves = part.leaves.assign(part=part.now, whole=whole.now, expected_part=expected_part, expected_whole=expected_whole)
    return leaves, overdispersion(part.before, whole.before)


def _day_weights(totals: np.ndarray) -> np.ndarray:
    """Return (28,) weights of the days before (newest first), summing to 1; 0 for days without rows, and for anomalous ones."""
    days = np.arange(1, len(totals) + 1)
    there = totals > 0
    usual = np.median(totals[there]) if there.any() else 1.0
    normal = there & (totals * MAX_TOTAL_RATIO >= usual) & (totals <= usual * MAX_TOTAL_RATIO)
    weights = np.where(normal, np.exp(-days / DECAY_DAYS) * np.where(days % 7 == 0, 1.0, OTHER_WEEKDAY_WEIGHT), 0.0)
    return weights / weights.sum() if weights.sum() > 0 else weights


def _root_cause(explained: Explanation, leaves: pd.DataFrame, attributes: list[str]) -> RootCause:
    """Return the first cause, with the rest and its attribute's other values, or one whose `answer` says that there is none."""
    if explained.answer != Conclusion.CARRIED:
        return RootCause(explained.answer.value, attributes=tuple(attributes))
    first = explained.causes[0]
    names = {name for condition in first.conditions for name, _ in condition}
    return RootCause(
        "carried",
        first.effect,
        Segment(first.conditions, first.value, first.expected),
        first.share,
        Segment((), first.rest_value, first.rest_expected),
        others=_other_values(first.conditions, leaves) if first.effect != "mix" and len(names) == 1 else (),
        experiment=names == {EXPERIMENT},
        attributes=tuple(attributes),
    )


def _other_values(conditions: tuple[Condition, ...], leaves: pd.DataFrame) -> tuple[Segment, ...]:
    """Return the other values of the one attribute of the conditions, largest first; of a ratio with their ratios."""
    ((name, _),) = conditions[0]
    affected = {value for condition in conditions for _, value in condition}
    sums = leaves.groupby(name).sum(numeric_only=True)
    if "whole" in sums:
        sums = sums[(sums["whole"] > 0) & (sums["expected_whole"] > 0)].sort_values("whole", ascending=False)
        value, expected = sums["part"] / sums["whole"], sums["expected_part"] / sums["expected_whole"]
    else:
        sums = sums.sort_values("expected", ascending=False)
        value, expected = sums["value"], sums["expected"]
    rows = zip(sums.index, value, expected, strict=True)
    others = [Segment((((name, str(v)),),), float(x), float(y)) for v, x, y in rows if v not in affected]
    return tuple(others[:MAX_OTHER_VALUES])


def _imbalanced_groups(rows: pd.DataFrame) -> tuple[Segment, ...]:
    """Return experiment groups whose share of the users is far from that on the days before."""
    past = SegmentHistory.of(rows, [EXPERIMENT], "users")
    if len(past.leaves) < 2 or not past.now.sum():
        return ()
    totals = past.before.sum(axis=0)
    shares = (past.before / np.maximum(totals, 1.0))[:, totals > 0]
    usual, spread = shares.mean(axis=1), shares.std(axis=1)
    now = past.now / past.now.sum()
    noise = np.sqrt(usual * (1 - usual) / past.now.sum())
    deviation = np.abs(now - usual)
    imbalanced = (deviation > IMBALANCE_SIGMAS * np.maximum(spread, noise)) & (deviation > IMBALANCE_SHARE * usual)
    names = past.leaves[EXPERIMENT].to_numpy()
    return tuple(Segment((((EXPERIMENT, str(names[i])),),), float(now[i]), float(usual[i])) for i in np.flatnonzero(imbalanced))


def overdispersion(part: np.ndarray, whole: np.ndarray) -> float:
    """Return how correlated the units of a leaf are (0 = binomial), from past buckets (n, steps) of a ratio.

    The value of `SearchOptions.correlation`. By moments: the excess of each leaf's variance over the binomial, brought to a
    common rate in each bucket; leaves of 20 units and more a bucket. Between 0.0005 and the default, which is also the value
    where nothing can be measured.
    """
    big = (whole.mean(axis=1) >= 20) & (part.sum(axis=1) > 0)
    part, whole = part[big], np.maximum(whole[big], 1e-9)
    if not len(part) or part.shape[1] < 2:
        return UNIT_CORRELATION
    rate = part.sum(axis=1, keepdims=True) / whole.sum(axis=1, keepdims=True)
    due = whole * rate * (part.sum(axis=0) / np.maximum((whole * rate).sum(axis=0), 1e-9))
    binomial = np.maximum(due * (1 - np.minimum(due / whole, 1)), 1e-9)
    degrees = part.shape[1] / (part.shape[1] - 1)
    excess = np.median(((part - due) ** 2 * degrees / binomial / NORMAL_MEDIAN - 1) / np.maximum(whole - 1, 1))
    return float(np.clip(excess, MIN_CORRELATION, UNIT_CORRELATION))
