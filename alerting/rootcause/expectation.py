"""Rows of slices, now and on the days before -> a cause. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from alerting import rootcause
from alerting.model.incident import RootCause, Segment
from alerting.model.metric import Metric
from alerting.model.verdict import Verdict
from alerting.rootcause import segments
from alerting.rootcause.search import SearchOptions
from alerting.rootcause.types import Conclusion, Explanation

HISTORY_DAYS = 28  # behind what is expected of a slice
EXPERIMENT = "exp_group"
DECAY_DAYS = 14.0  # days after which a past day counts a third
OTHER_WEEKDAY_WEIGHT = 0.5  # weight of a day six days before compared with one a week before: the same weekday says more
MAX_TOTAL_RATIO = 2.0  # a past day with less than half, or more than twice, the usual total was itself in trouble
IMBALANCE_SIGMAS = 5.0  # standard deviations of its own past beyond which a group's share of the users is out of balance ...
IMBALANCE_SHARE = 0.2  # ... and it is off by this part
MAX_OTHER_VALUES = 8  # other values of the slice's attribute that are kept
MIN_NEW_VALUE_SHARE = 0.01  # share of all from which a new or vanished value is worth a word
MAX_ELEMENTS = 3  # elements of a cause
MAX_ATTRIBUTES = 3  # attributes in one element: more is slow, and nobody's cause


@dataclass(frozen=True)
class SegmentHistory:
    """Leaves (n) by days (28, newest first) of one counted column."""

    leaves: pd.DataFrame
    now: np.ndarray
    before: np.ndarray

    @classmethod
    def of(cls, rows: pd.DataFrame, attributes: list[str], column: str) -> SegmentHistory:
        """`rows`: days_ago (int), the attributes (text), the column (number); a row per leaf and day that has rows."""
        codes = _leaf(rows, attributes)
        first = np.flatnonzero(~pd.Series(codes).duplicated().to_numpy())
        days = rows["days_ago"].to_numpy(int).clip(0, HISTORY_DAYS)
        cells = np.bincount(codes * (HISTORY_DAYS + 1) + days, rows[column].to_numpy(float), len(first) * (HISTORY_DAYS + 1))
        table = cells.reshape(len(first), HISTORY_DAYS + 1)
        return cls(rows[attributes].iloc[first].astype(str).reset_index(drop=True), table[:, 0], table[:, 1:])


def _leaf(rows: pd.DataFrame, attributes: list[str]) -> np.ndarray:
    """(n,) number of each row's leaf, in the order in which they come."""
    codes, size = np.zeros(len(rows), np.int64), 1
    for name in attributes:
        own, different = pd.factorize(rows[name], use_na_sentinel=False)
        if size * len(different) >= 2**62:
            codes, known = pd.factorize(codes)
            size = len(known)
        codes, size = codes * len(different) + own, size * len(different)
    return pd.factorize(codes)[0]


def find_root_cause(metric: Metric, rows: pd.DataFrame, verdict: Verdict) -> RootCause:
    """What explains the verdict. `rows`: days_ago (0 is now), attributes as text, counts, as `sql/slices` gives them.

    Each leaf's expectation is its mean over the 28 days before at the same time (recent days and the same weekday weigh more,
    days that were in trouble nothing), brought to the total that the band expects. Experiment groups are tried first.
    """
    told, leaves, attributes = explain_rows(metric, rows, verdict)
    cause = _said(told, attributes)
    others = _others(cause, leaves) if cause.slice and cause.effect != "mix" else ()
    amount = leaves if "value" in leaves else leaves.assign(value=leaves["whole"], expected=leaves["expected_whole"])
    return _with_news(replace(cause, others=others), amount, attributes, rows, metric, verdict)


def explain_rows(
    metric: Metric, rows: pd.DataFrame, verdict: Verdict, order: int = MAX_ATTRIBUTES, elements: int = MAX_ELEMENTS
) -> tuple[Explanation, pd.DataFrame, list[str]]:
    """The explanation, the leaves it is made of (see `slices.explain`), and their attributes; from what `caused` is given."""
    attributes = [str(name) for name in rows.columns if not pd.api.types.is_numeric_dtype(rows[name])]
    made = _ratio if len(metric.columns) == 2 else _count
    told, leaves = made(metric, rows, attributes, verdict, SearchOptions(order=order, elements=elements))
    return told, leaves, attributes


def _count(
    metric: Metric, rows: pd.DataFrame, attributes: list[str], verdict: Verdict, search: SearchOptions
) -> tuple[Explanation, pd.DataFrame]:
    past = SegmentHistory.of(rows, attributes, metric.columns[0])
    weights = _weights(past.before.sum(axis=0))
    scaled = past.before * (_due(past, weights, verdict) / np.maximum(past.before.sum(axis=0), 1e-9))
    expected = scaled @ weights
    spread = np.sqrt(((scaled - expected[:, None]) ** 2) @ weights)
    leaves = past.leaves.assign(value=past.now, expected=expected, spread=spread)
    return _first_experiments(leaves, attributes, "count", search), leaves


def _ratio(
    metric: Metric, rows: pd.DataFrame, attributes: list[str], verdict: Verdict, search: SearchOptions
) -> tuple[Explanation, pd.DataFrame]:
    part, whole = (SegmentHistory.of(rows, attributes, column) for column in metric.columns)
    weights = _weights(whole.before.sum(axis=0))
    expected_whole = whole.before @ weights
    expected_part = part.before @ weights
    overall = expected_part.sum() / max(expected_whole.sum(), 1e-9)
    due = verdict.expected / overall if overall > 0 and verdict.expected > 0 else 1.0
    expected_part = np.minimum(expected_part * due, expected_whole)
    leaves = part.leaves.assign(part=part.now, whole=whole.now, expected_part=expected_part, expected_whole=expected_whole)
    search = replace(search, unequal=segments.overdispersion(part.before, whole.before))
    return _first_experiments(leaves, attributes, "ratio", search), leaves


def _weights(totals: np.ndarray) -> np.ndarray:
    """(28,) summing to 1, of the days before (newest first); 0 for days without rows, or in trouble themselves."""
    days = np.arange(1, len(totals) + 1)
    there = totals > 0
    usual = np.median(totals[there]) if there.any() else 1.0
    fine = there & (totals * MAX_TOTAL_RATIO >= usual) & (totals <= usual * MAX_TOTAL_RATIO)
    weights = np.where(fine, np.exp(-days / DECAY_DAYS) * np.where(days % 7 == 0, 1.0, OTHER_WEEKDAY_WEIGHT), 0.0)
    return weights / weights.sum() if weights.sum() > 0 else weights


def _due(past: SegmentHistory, weights: np.ndarray, verdict: Verdict) -> float:
    """The total that was expected: as far from what there is as the verdict is, else the mean of the days before."""
    usual = float(past.before.sum(axis=0) @ weights)
    ratio = verdict.value / verdict.expected if verdict.expected else float("nan")
    return float(past.now.sum() / ratio) if ratio > 0 else usual


def _first_experiments(leaves: pd.DataFrame, attributes: list[str], kind: str, search: SearchOptions) -> Explanation:
    """The explanation by all attributes; by the experiment groups alone, if these carry it as well."""
    whole = rootcause.explain(leaves, attributes, kind, search)
    if EXPERIMENT not in attributes:
        return whole
    groups = rootcause.explain(leaves, [EXPERIMENT], kind, search)
    if groups.answer != Conclusion.CARRIED or groups.causes[0].share < 0.8:
        return whole
    return groups if not whole.causes or groups.causes[0].score >= 0.9 * whole.causes[0].score else whole


def _said(told: Explanation, attributes: list[str]) -> RootCause:
    if told.answer != Conclusion.CARRIED:
        return RootCause(told.answer.value, attributes=tuple(attributes))
    first = told.causes[0]
    names = {name for element in first.elements for name, _ in element}
    return RootCause(
        "carried",
        first.effect,
        Segment(first.elements, first.value, first.expected),
        first.share,
        Segment((), first.rest_value, first.rest_expected),
        experiment=names == {EXPERIMENT},
        attributes=tuple(attributes),
    )


def _with_news(
    cause: RootCause, amount: pd.DataFrame, attributes: list[str], rows: pd.DataFrame, metric: Metric, verdict: Verdict
) -> RootCause:
    news = [a for a in rootcause.new_and_gone_values(amount, attributes) if a.share >= MIN_NEW_VALUE_SHARE]
    new = tuple(Segment((((a.attribute, a.value),),), a.share, 0.0) for a in news if not a.gone)[:2]
    gone = tuple(Segment((((a.attribute, a.value),),), 0.0, a.share) for a in news if a.gone)[:2]
    overlap = (
        not metric.adds and "value" in amount and amount["value"].sum() > 1.02 * max(verdict.value, 1) and cause.slice is not None
    )
    users = _imbalance(rows) if "users" in rows and EXPERIMENT in attributes else ()
    return replace(cause, new=new, gone=gone, overlap=bool(overlap and metric.form == "count"), imbalance=users)


def _others(cause: RootCause, leaves: pd.DataFrame) -> tuple[Segment, ...]:
    """The other values of the attribute that tells the slice apart, where it is one: largest first; of a ratio its ratios."""
    elements = cause.slice.elements if cause.slice else ()
    names = {name for element in elements for name, _ in element}
    if len(names) != 1:
        return ()
    (name,) = names
    hit = {value for element in elements for _, value in element}
    sums = leaves.groupby(name).sum(numeric_only=True)
    if "whole" in sums:
        sums = sums[(sums["whole"] > 0) & (sums["expected_whole"] > 0)].sort_values("whole", ascending=False)
        value, expected = sums["part"] / sums["whole"], sums["expected_part"] / sums["expected_whole"]
    else:
        sums = sums.sort_values("expected", ascending=False)
        value, expected = sums["value"], sums["expected"]
    pairs = zip(sums.index, value, expected, strict=True)
    return tuple(Segment((((name, str(v)),),), float(x), float(y)) for v, x, y in pairs if v not in hit)[:MAX_OTHER_VALUES]


def _imbalance(rows: pd.DataFrame) -> tuple[Segment, ...]:
    """Experiment groups whose share of the users is far from what it was on the days before."""
    past = SegmentHistory.of(rows, [EXPERIMENT], "users")
    if len(past.leaves) < 2 or not past.now.sum():
        return ()
    shares = past.before / np.maximum(past.before.sum(axis=0), 1.0)
    known = past.before.sum(axis=0) > 0
    usual, spread = shares[:, known].mean(axis=1), shares[:, known].std(axis=1)
    now = past.now / past.now.sum()
    noise = np.sqrt(usual * (1 - usual) / past.now.sum())
    off = np.abs(now - usual)
    odd = (off > IMBALANCE_SIGMAS * np.maximum(spread, noise)) & (off > IMBALANCE_SHARE * usual)
    groups = past.leaves[EXPERIMENT].to_numpy()
    return tuple(Segment((((EXPERIMENT, str(groups[i])),),), float(now[i]), float(usual[i])) for i in np.flatnonzero(odd))
