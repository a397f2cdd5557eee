"""A past with faults put in, to try rules on; and what each of them finds by kind of fault. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pandas as pd

from alerting.backtest.faults import Fault, inject_all, scattered
from alerting.backtest.replaying import RECOVERY, Past, Track
from alerting.backtest.scoring import FAULTS, NOTHING, Score, score
from alerting.backtest.spans import Covers
from alerting.model import Rule

HOUR = timedelta(hours=1)
KINDS: tuple[tuple[str, timedelta, float | None], ...] = (
    ("outage", HOUR, None),
    ("missing", HOUR, None),
    ("duplicates", HOUR, None),
    ("drop", 2 * HOUR, -0.2),
    ("drop", 2 * HOUR, -0.3),
    ("drop", 2 * HOUR, -0.5),
    ("spike", HOUR, 0.5),
    ("ramp", 6 * HOUR, -0.4),
    ("drop", 24 * HOUR, -0.15),
)


def usual_faults(past: Past, seed: int = 0, kinds: Sequence[tuple[str, timedelta, float | None]] = KINDS) -> list[Fault]:
    """One of each usual fault in every two weeks of the past (at least one of each), at random moments, none near anything
    known. None is shorter than two of the longest buckets; those too long for so short a past are left out."""
    rounds = max(1, round((past.end - past.start) / timedelta(weeks=2)))
    shortest = 2 * max(metric.step for metric in past.metrics)
    longest = (past.end - past.start) / (2 * rounds * len(kinds))
    fit = [(kind, max(length, shortest), depth) for kind, length, depth in kinds if length <= longest]
    faults = scattered(past.start, past.end, fit * rounds, seed)
    return [fault for fault in faults if not any(_near(fault, each) for each in past.known)]


def _near(fault: Fault, known: Covers) -> bool:
    return fault.start - RECOVERY < known.end and known.start < fault.end + RECOVERY


def hurt(past: Past, faults: Sequence[Fault]) -> Past:
    """The same past, every metric with the faults in it."""
    return replace(past, series={name: inject_all(values, faults) for name, values in past.series.items()})


def label(fault: Fault) -> str:
    """Its kind, depth and length, such as "drop -30 %, 2 h"."""
    depth = "" if fault.kind in ("missing", "outage") else f" {100 * fault.change:+.0f} %"
    return f"{fault.kind}{depth}, {fault.length / HOUR:g} h"


def listed(faults: Sequence[Fault], zone: str) -> pd.DataFrame:
    """One row per fault, in local time."""
    local = [pd.Timestamp(fault.start).tz_convert(zone) for fault in faults]
    rows = {"fault": [label(fault) for fault in faults], "from": [f"{at:%a %Y-%m-%d %H:%M}" for at in local]}
    return pd.DataFrame(rows)


def around(past: Past, faults: Sequence[Fault], hours: float) -> Past:
    """The past cut to some hours around its deepest drop (or else its first fault): a view to draw."""
    drops = [fault for fault in faults if fault.kind == "drop"] or list(faults[:1])
    middle = min(drops, key=lambda fault: fault.change).start if drops else past.end
    start = max(past.start, min(middle - hours / 2 * HOUR, past.end - hours * HOUR))
    return replace(past, start=start, end=min(past.end, start + hours * HOUR))


def leaders(leading: pd.DataFrame, rules: Mapping[str, Rule]) -> dict[str, tuple[Rule, float]]:
    """Of the rules of `best`, the first of each fence (and every rule that is no "fence, past"), with its width."""
    first = {name.split(", ")[0]: name for name in reversed(leading.index)}
    return {name: (rules[name], float(leading.loc[name, "width"])) for name in leading.index if name in first.values()}


def by_kind(past: Past, faults: Sequence[Fault], rules: Mapping[str, tuple[Rule, float]], track: Track = iter) -> pd.DataFrame:
    """Share of the faults found, one row per kind of fault and one column per rule (with its width), over all metrics."""
    tables = {name: _by_kind(past, faults, *rules[name]) for name in track(list(rules))}
    return pd.DataFrame(tables).rename_axis("fault")


def _by_kind(past: Past, faults: Sequence[Fault], rule: Rule, width: float) -> dict[str, float]:
    found: dict[str, Score] = dict.fromkeys(map(label, faults), NOTHING)
    for metric in (replace(metric, rule=rule, width=width) for metric in past.metrics):
        alerts = past.replay(metric, past.band(metric))
        for name in found:
            found[name] += score(alerts, [fault.span() for fault in faults if label(fault) == name], FAULTS)
    return {name: each.recall for name, each in found.items()}
