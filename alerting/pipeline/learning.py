"""What normal is learned from, after what people said of incidents. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd

from alerting.model import Incident, Label, Member

AFTER = timedelta(hours=1)  # an incident's buckets are left out once it is over so long: the newest values are the level
LEFT_OUT = (Label.REAL, Label.EXPECTED)
WEEK, DAY = timedelta(days=7), timedelta(days=1)
LEAST = 4  # buckets that say what a new level is


def learned(name: str, series: pd.Series, incidents: Sequence[Incident], first: datetime) -> pd.Series:
    """The series (float64, full UTC grid) as bands are to see it, of buckets from `first` on.

    Real and expected incidents are left out (NaN), as they say nothing of normal; a false alarm stays, as it is normal; before
    a new level, the past is taken at that level (times the median of its first day over the same times a week before).
    """
    for incident in incidents:
        member = incident.member(name)
        if member is None or incident.label is None:
            continue
        if incident.label in LEFT_OUT and member.until and member.until + AFTER <= first:
            series = series.where((series.index < member.since) | (series.index >= member.until))
        elif incident.label is Label.NEW_TREND:
            series = _at_the_new_level(series, member)
    return series


def _at_the_new_level(series: pd.Series, member: Member) -> pd.Series:
    new = series.loc[member.since : member.since + DAY]
    ratios = (new.to_numpy() / series.reindex(new.index - WEEK).to_numpy())[1:]  # the first bucket is half of each
    ratios = ratios[np.isfinite(ratios) & (ratios > 0)]
    if len(ratios) < LEAST:
        return series
    return series.where(series.index >= member.since, series * float(np.median(ratios)))
