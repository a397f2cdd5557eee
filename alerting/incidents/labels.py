"""The precision of alerts, computed from people's labels of incidents. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from alerting.model.incident import Incident
from alerting.model.verdict import Label

if TYPE_CHECKING:
    import pandas as pd


def precision(incidents: Sequence[Incident], by: Sequence[str] = ("metric", "week"), zone: str = "UTC") -> pd.DataFrame:
    """Return one row per root metric and week (its Monday, local), or per metric or week alone, as `by` says.

    Columns: number of incidents (int), number of each label (int), and precision (float64): the share of labelled incidents
    that are not false alarms, NaN if none is labelled. Incidents that were not notified or were corrected are left out.
    """
    import pandas as pd

    counted = ["incidents", *(label.value for label in Label)]
    notified = [incident for incident in incidents if incident.last_notified and not incident.corrected]
    if not notified:
        return pd.DataFrame(columns=[*counted, "precision"])
    days = [incident.opened.astimezone(ZoneInfo(zone)).date() for incident in notified]
    rows = pd.DataFrame(
        {
            "metric": [incident.root.name for incident in notified],
            "week": [day - timedelta(days=day.weekday()) for day in days],
            "incidents": 1,
            **{label.value: [int(incident.label is label) for incident in notified] for label in Label},
        }
    )
    table = rows.groupby(list(by))[counted].sum()
    labelled = table[counted[1:]].sum(axis=1)
    return table.assign(precision=1 - table[Label.FALSE_ALARM.value] / labelled.where(labelled > 0))
