"""What people said of incidents, as figures. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from alerting.model.incident import Incident
from alerting.model.verdict import Label

if TYPE_CHECKING:
    import pandas as pd


def precision(incidents: Sequence[Incident], by: Sequence[str] = ("metric", "week")) -> pd.DataFrame:
    """One row per root metric and week (its Monday, UTC), or by one of them: incidents, each label, and precision: the share of
    the labelled ones that were no false alarm (NaN where nobody has labelled any)."""
    import pandas as pd

    counted = ["incidents", *(label.value for label in Label)]
    told = [incident for incident in incidents if incident.last_notified and not incident.corrected]
    if not told:
        return pd.DataFrame(columns=[*counted, "precision"])
    rows = pd.DataFrame(
        {
            "metric": [incident.root.metric for incident in told],
            "week": [(incident.opened - timedelta(days=incident.opened.weekday())).date() for incident in told],
            "incidents": 1,
            **{label.value: [int(incident.label is label) for incident in told] for label in Label},
        }
    )
    table = rows.groupby(list(by))[counted].sum()
    labelled = table[counted[1:]].sum(axis=1)
    return table.assign(precision=1 - table[Label.FALSE_ALARM.value] / labelled.where(labelled > 0))
