"""Find the root cause of a verdict: expected values of segments from the same time on past days, then `explain`. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from alerting.model.incident import RootCause, Segment
from alerting.model.metric import Metric
from alerting.model.verdict import Verdict
from alerting.rootcause.explain import Candidate, Conclusion, Explanation, explain, new_and_gone_values
from alerting.rootcause.search import NORMAL_MEDIAN, UNIT_CORRELATION, SearchOptions

HISTORY_DAYS = 28  # days from which the expectation of a segment is made
EXPERIMENT = "exp_group"
EXPERIMENT_SHARE = 0.8  # share of the change; experiment groups that explain this much are named ...
EXPERIMENT_SCORE = 0.9  # ... unless the score of another cause is higher by more than a tenth
DECAY_DAYS = 14.0  # the weight of a past day falls by the factor e in this many days
OTHER_WEEKDAY_WEIGHT = 0.5  # weight of another weekday against the same weekday
MAX_TOTAL_RATIO = 2.0  # a past day with less than half, or more than twice, the usual total was itself anomalous
IMBALANCE_SIGMAS = 5.0  # a group is out of balance if its share of the users deviates by this many standard deviations ...
IMBALANCE_SHARE = 0.2  # ... and by this part of the share
MIN_CORRELATION = 0.0005  # least correlation of the units of a leaf of a ratio
MAX_OVERLAP = 1.02  # if segments add up to more than this times the total, they have users in common
MAX_OTHER_VALUES = 8  # other values of the segment's attribute to keep
MAX_NEW_VALUES = 2  # new values, and gone values, to keep
MIN_NEW_VALUE_SHARE = 0.01  # least share of all for a new or gone value
MIN_SIGMAS = 3.0  # least change of a count, in standard deviations: 1 in 370 by chance
ALIKE = 0.2  # values changed alike if they differ from the total's change by less than this part of it
MIN_COMPARED_SHARE = 0.5  # share of the expected total that the compared values of an attribute must exceed
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
        """Return the history of a column. `rows`: days_ago (int), attributes (text), numbers; one per leaf and day with rows.

        A missing attribute is an empty text in the leaves, so that a condition on it finds them.
        """
        texts = rows[attributes].fillna("").astype(str)
        codes, size = np.zeros(len(rows), np.int64), 1
        for name in attributes:
            own, different = pd.factorize(texts[name])
            if size * len(different) >= 2**62:
                codes, known = pd.factorize(codes)
                size = len(known)
            codes, size = codes * len(different) + own, size * len(different)
        codes = pd.factorize(codes)[0]  # leaves are numbered in the order in which they come

        first = np.flatnonzero(~pd.Series(codes).duplicated().to_numpy())
        days = rows["days_ago"].to_numpy(int).clip(0, HISTORY_DAYS)
        cells = np.bincount(codes * (HISTORY_DAYS + 1) + days, rows[column].to_numpy(float), len(first) * (HISTORY_DAYS + 1))
        table = cells.reshape(len(first), HISTORY_DAYS + 1)
        return cls(texts.iloc[first].reset_index(drop=True), table[:, 0], table[:, 1:])


def find_root_cause(metric: Metric, rows: pd.DataFrame, verdict: Verdict) -> RootCause:
    """Return the root cause of the verdict.

    `rows`: days_ago (int, 0 is now), attributes as text, counts, as a query of `sql/slices` returns them; one row per leaf and
    day. The expected value of a leaf is its mean at the same time of the 28 days before. Recent days and the same weekday weigh
    more, anomalous days nothing. The values are scaled to the expected total of the band, if it has one. Experiment groups are
    preferred if they explain about as much as all attributes.
    """
    explained, leaves, attributes = explain_rows(metric, rows, verdict)
    # Units that come together are those of one user: what varies by chance is the number of users
    users = float(rows["users"].sum()) if "users" in rows else 0.0
    bunches = [max(1.0, float(rows[column].sum()) / users) if users else 1.0 for column in metric.columns]
    cause = _root_cause(explained, leaves, attributes, bunches)
    amount = leaves if "value" in leaves else leaves.assign(value=leaves["whole"], expected=leaves["expected_whole"])
    new, gone = new_and_gone_values(amount, attributes, bunch=bunches[-1])
    overlap = not metric.adds and metric.form == "count" and cause.slice is not None
    return replace(
        cause,
        new=tuple(segment for segment in new if segment.value >= MIN_NEW_VALUE_SHARE)[:MAX_NEW_VALUES],
        gone=tuple(segment for segment in gone if segment.expected >= MIN_NEW_VALUE_SHARE)[:MAX_NEW_VALUES],
        overlap=overlap and bool(amount["value"].sum() > MAX_OVERLAP * max(verdict.value, 1)),
        imbalance=_imbalanced_groups(rows) if "users" in rows and EXPERIMENT in attributes else (),
        metric=metric.name,
        at=verdict.bucket,
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
    """Return leaves with part, whole and their expected values, scaled to the verdict; and the correlation of their units."""
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
    """Return (28,) weights of the days before, newest first. Their sum is 1; days without rows and anomalous days have 0."""
    days = np.arange(1, len(totals) + 1)
    there = totals > 0
    usual = np.median(totals[there]) if there.any() else 1.0
    normal = there & (totals * MAX_TOTAL_RATIO >= usual) & (totals <= usual * MAX_TOTAL_RATIO)
    weights = np.where(normal, np.exp(-days / DECAY_DAYS) * np.where(days % 7 == 0, 1.0, OTHER_WEEKDAY_WEIGHT), 0.0)
    return weights / weights.sum() if weights.sum() > 0 else weights


def _root_cause(explained: Explanation, leaves: pd.DataFrame, attributes: list[str], bunches: list[float]) -> RootCause:
    """Return the first cause with the rest and the other values of its attribute; `answer` is alike or unclear without one.

    A change within the noise of counting is no cause. `bunches`: for each column of the metric, how many units come together.
    """
    unclear = RootCause("unclear", attributes=tuple(attributes))
    if explained.answer != Conclusion.CARRIED:
        alike = _alike_attributes(leaves, attributes, bunches[0]) if explained.answer == Conclusion.ALIKE else ()
        return RootCause("alike", attributes=alike) if alike else unclear

    first = explained.causes[0]
    bunch = bunches[-1] if first.effect == "mix" else bunches[0]
    units, total = _units(leaves, first.effect), _units(leaves)
    inside = pd.Series(False, leaves.index)
    for condition in first.conditions:
        inside |= np.logical_and.reduce([leaves[name] == value for name, value in condition])
    if not _is_beyond_noise(units[inside], bunch):
        return unclear
    names = {name for condition in first.conditions for name, _ in condition}
    cause = RootCause(
        "carried",
        first.effect,
        Segment(first.conditions, first.value, first.expected),
        first.share if _is_beyond_noise(total, bunches[0]) else float("nan"),
        Segment((), first.rest_value, first.rest_expected),
        others=_other_values(first, leaves, bunch) if first.effect != "mix" and len(names) == 1 else (),
        experiment=names == {EXPERIMENT},
        attributes=tuple(attributes),
    )
    shown = cause.effect == "mix" or _would_show(first.change, units.loc[~inside, "usual"].sum(), bunch)
    if shown and not cause.is_everywhere:
        return cause
    alike = _alike_attributes(leaves, attributes, bunch)
    has_rest = _is_beyond_noise(units[~inside], bunch)
    most = cause.claim.others if cause.is_everywhere and has_rest and not names <= {*alike} else ()
    everywhere = replace(cause, answer="alike", slice=None, share=float("nan"), attributes=alike, others=most)
    return everywhere if everywhere.attributes or everywhere.others else unclear


def _units(leaves: pd.DataFrame, effect: str = "") -> pd.DataFrame:
    """Return the counted units of each leaf: `now`, and `usual` (expected).

    For a rate they are the units of the part, expected at the usual rate of the present whole. For a mix they are the units of
    the whole, expected at the usual share.
    """
    if "whole" not in leaves:
        return pd.DataFrame({"now": leaves["value"], "usual": leaves["expected"]})
    if effect == "mix":
        scale = leaves["whole"].sum() / max(leaves["expected_whole"].sum(), 1e-9)
        return pd.DataFrame({"now": leaves["whole"], "usual": leaves["expected_whole"] * scale})
    rate = leaves["expected_part"] / leaves["expected_whole"].clip(lower=1e-9)
    return pd.DataFrame({"now": leaves["part"], "usual": leaves["whole"] * rate})


def _is_beyond_noise(units: pd.DataFrame, bunch: float) -> bool:
    """Return whether the sum of the units differs from the expected sum by MIN_SIGMAS standard deviations of a count or more."""
    now, usual = units["now"].sum(), units["usual"].sum()
    return bool(abs(now - usual) >= MIN_SIGMAS * np.sqrt(bunch * max(now, usual)))


def _would_show(change: float, usual: Any, bunch: float) -> Any:
    """Return whether such a change would be beyond the noise of `usual` expected units. If not, they cannot be called normal."""
    return min(abs(change), 1.0) * np.sqrt(usual) >= MIN_SIGMAS * np.sqrt(bunch)


def _alike_attributes(leaves: pd.DataFrame, attributes: list[str], bunch: float) -> tuple[str, ...]:
    """Return the attributes whose values all changed by about the same share.

    Compared are the values in which half of the change would be beyond noise. There must be two of them, with more than
    MIN_COMPARED_SHARE of the expected total. They are alike if each differs from the total's change by less than ALIKE of it, or
    by less than half of the noise.
    """
    units, out = _units(leaves), []
    expected = units["usual"].sum()
    change = units["now"].sum() / expected - 1 if expected else 0.0
    for name in attributes:
        sums = units.groupby(leaves[name]).sum()
        noise = MIN_SIGMAS * np.sqrt(bunch * max(1.0, 1 + change) / sums["usual"].clip(lower=1e-9))  # as a share of expected
        large = sums[noise <= abs(change) / 2]
        off = (large["now"] / large["usual"] - 1 - change).abs()
        same = (off <= np.maximum(ALIKE * abs(change), noise[large.index] / 2)).all()
        if len(large) > 1 and large["usual"].sum() > MIN_COMPARED_SHARE * expected and same:
            out.append(name)
    return tuple(out)


def _other_values(found: Candidate, leaves: pd.DataFrame, bunch: float) -> tuple[Segment, ...]:
    """Return the other values of the one attribute of the conditions, largest first; for a ratio with their ratios.

    Values in which the same change would be within the noise are left out: they cannot be called normal.
    """
    ((name, _),) = found.conditions[0]
    affected = {value for condition in found.conditions for _, value in condition}
    sums = leaves.assign(usual=_units(leaves)["usual"]).groupby(name).sum(numeric_only=True)
    if "whole" in sums:
        sums = sums[(sums["whole"] > 0) & (sums["expected_whole"] > 0)].sort_values("whole", ascending=False)
        value, expected = sums["part"] / sums["whole"], sums["expected_part"] / sums["expected_whole"]
    else:
        sums = sums.sort_values("expected", ascending=False)
        value, expected = sums["value"], sums["expected"]
    told = _would_show(found.change, sums["usual"], bunch)
    rows = zip(sums.index, value, expected, told, strict=True)
    others = [Segment((((name, str(v)),),), float(x), float(y)) for v, x, y, large in rows if v not in affected and large]
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
    """Return the correlation of the units of a leaf (0 is binomial), from past buckets (n, steps) of a ratio.

    It is the value for `SearchOptions.correlation`. It is estimated by moments: the excess of each leaf's variance over the
    binomial, at a common rate in each bucket, from leaves with at least 20 units a bucket. It lies between MIN_CORRELATION and
    UNIT_CORRELATION, which is also the value if nothing can be measured.
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
