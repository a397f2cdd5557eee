"""Values that are there for the first time, and values that are gone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from alerting.slices.leaves import leaves_of

LEAST = 5.0  # units: of so many expected, none by chance happens once in 150


@dataclass(frozen=True)
class Arrival:
    """A value of an attribute that is new (expected 0) or gone (0 now)."""

    attribute: str
    value: str
    gone: bool
    amount: float  # units now, or units that were expected
    share: float  # of all units now, or of all that were expected


def arrivals(leaves: pd.DataFrame, attributes: Sequence[str], least: float = LEAST) -> tuple[Arrival, ...]:
    """Single values never expected that came with `least` units, or that were expected with as many and did not come.

    `leaves`: columns `value` and `expected` as of a count in `explain`. Largest share first. Raises ValueError as it.
    """
    found = leaves_of(leaves, attributes, ["value", "expected"], spread=False)
    value, expected = found.numbers["value"], found.numbers["expected"]
    told = []
    for place, attribute in enumerate(found.attributes):
        names, codes = found.names[place], found.codes[:, place]
        now = np.bincount(codes, value, len(names))
        then = np.bincount(codes, expected, len(names))
        told += [Arrival(attribute, n, False, float(x), float(x / value.sum()))
                 for n, x, y in zip(names, now, then, strict=True) if y == 0 and x >= least]  # fmt: skip
        told += [Arrival(attribute, n, True, float(y), float(y / expected.sum()))
                 for n, x, y in zip(names, now, then, strict=True) if x == 0 and y >= least]  # fmt: skip
    return tuple(sorted(told, key=lambda a: (-a.share, a.attribute, a.value)))
