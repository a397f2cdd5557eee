"""The conclusions of the study notebooks, in sentences that are written from the figures."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pandas as pd

from alerting.backtest.budget import BudgetPlan
from alerting.model.verdict import Label
from alerting.studies.review import Review, incident_count
from alerting.studies.suggest import widest_harmless


def of_history(behaviour: pd.DataFrame, nearest: pd.DataFrame) -> str:
    """Return the conclusions of notebook 0.1, a sentence each.

    `behaviour`: metric x `history.summary`; `nearest`: `history.references`.
    """
    rhythm, days = behaviour["time of day"].median(), behaviour["day of week"].median()
    chance = behaviour["times chance"].dropna()
    counts = f"; counts vary {chance.min():.1f} to {chance.max():.1f} times as much as pure chance" if len(chance) else ""
    middle = nearest.median(axis=1).sort_values()
    return (
        f"The time of day explains {rhythm:.0%} of what a metric does and the day of the week {days:.0%} more; it grows by "
        f"{behaviour['growth a week'].median():.1%} a week. Around the usual level lies a noise of "
        f"{behaviour['noise'].min():.1%} to {behaviour['noise'].max():.1%}{counts}. The next bucket shares "
        f"{behaviour['after 1 bucket'].median():.2f} of a surprise. The past that tells best what comes is {middle.index[0]}: "
        f"it is off by {middle.iloc[0]:.1%}, {middle.index[-1]} by {middle.iloc[-1]:.1%}."
    )


def of_rules(best: pd.DataFrame, most: float) -> str:
    """Return the conclusions of notebook 1.1. `best`: the rules' best rows of a sweep, the best first."""
    if best.empty:
        return f"No rule stays within {most:g} false alerts a series and week at any width."
    name, row = best.index[0], best.iloc[0]
    others = [f"{other} {line['F1']:.2f}" for other, line in best.iloc[1:4].iterrows()]
    return (
        f"At its best width ({row['width']:g}), {name} finds {row['recall']:.0%} of the faults at {row['false a week']:.2f} "
        f"false alerts a series and week, {row['delay, min']:.0f} min after their first bucket at the median: F1 {row['F1']:.2f}"
        f"{'; then ' + ', '.join(others) if others else ''}."
    )


def of_budget(plan: BudgetPlan, smallest: pd.DataFrame, unseen: float) -> str:
    """Return the conclusions of notebook 1.2. `unseen`: incidents a week in weeks that the widths were not chosen on, or NaN."""
    found = [f"{name} {drop:.0%}" for name, drop in smallest["day, 1 h"].items() if drop == drop]
    cost = f" In weeks they were not chosen on, widths cost {unseen:.2g} a week." if unseen == unseen else ""
    return (
        f"{plan.words()}{cost} By day, nine of ten drops are told within the hour from these "
        f"depths on: {', '.join(found) or 'none'}.{''.join(f' {line}' for line in blind_metrics(smallest))}"
    )


def blind_metrics(smallest: pd.DataFrame) -> list[str]:
    """Return a line for each metric that finds no drop surely, of those tried. `smallest`: `power.smallest_found`."""
    lines = []
    for name, row in smallest.iterrows():
        parts = [part for part in ("day", "night") if row.get(f"{part}, 1 h", 0.0) != row.get(f"{part}, 1 h", 0.0)]
        if parts:
            lines.append(f"{name} is BLIND by {' and by '.join(parts)}: no drop that was tried is told surely within the hour.")
    return lines


def of_week(review: Review, widths: pd.DataFrame) -> str:
    """Return the conclusions of notebook 2.1. `widths`: `review.at_widths`."""
    table, factor = review.by_metric(), widest_harmless(widths)
    return " ".join(filter(None, [_told(review, table), _loudest(review, table), _at_widths(review, widths, factor)]))


def _told(review: Review, table: pd.DataFrame) -> str:
    source = "that runs have remembered" if review.recorded else "in a replay, as no run has remembered any"
    labelled = table[[label.value for label in Label]].sum().sum()
    right = labelled - table[Label.FALSE_ALARM.value].sum()
    said = "nobody has said what they were"
    if labelled:
        said = f"{labelled} labelled, {right} of them no false alarm, a precision of {right / labelled:.0%}"
    days = " to ".join(f"{at.astimezone(ZoneInfo(review.past.zone)):%Y-%m-%d}" for at in (review.past.start, review.past.end))
    return f"{days}: {incident_count(review.incidents)} {source}; {said}."


def _loudest(review: Review, table: pd.DataFrame) -> str:
    loud, calm = table.index[0], table.index[-1]
    near = review.near_misses(1)
    missed = f" The nearest miss was {near[0].metric} at a score of {near[0].score:+.3g}." if near else ""
    if len(table) < 2 or table["incidents a week"].nunique() < 2:
        return f"No metric is louder than another.{missed}" if len(table) > 1 else missed.strip()
    return f"The noisiest metric is {loud}, the quietest {calm}.{missed}"


def _at_widths(review: Review, widths: pd.DataFrame, factor: float) -> str:
    now, least, most = widths.loc[1.0], widths.iloc[0], widths.iloc[-1]
    rates = f"{least['incidents a week']:.3g}, {now['incidents a week']:.3g} and {most['incidents a week']:.3g} incidents a week"
    said = f"At {widths.index[0]:g}, 1 and {widths.index[-1]:g} times the widths {rates} would be told"
    if not review.truths:
        return f"{said}; as nothing is known to be real, no width can be said to lose anything."
    known = f"{least['found']}, {now['found']} and {most['found']} of the {len(review.truths)} that are known found"
    better = f"; {factor:g} times loses none of those found now" if factor > 1 else "; no wider ones tell less without a loss"
    return f"{said}, and {known}{better}."
