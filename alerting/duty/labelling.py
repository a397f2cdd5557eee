"""`python -m alerting labels`: what people said of the incidents, and what that makes of each metric's precision."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pandas as pd

from alerting import settings, wiring
from alerting.model import Incident, Label

WEEK = timedelta(weeks=1)


def labels(weeks: int) -> int:
    """Print incidents and labels per metric and week of the last `weeks`. Raises StoreError."""
    since = datetime.now(UTC) - weeks * WEEK
    table = precision(wiring.open_store(settings.load()).all_incidents(since))
    sys.stdout.write(f"{table.to_string(float_format='{:.2f}'.format, na_rep='')}\n" if len(table) else "no incidents\n")
    return 0


def precision(incidents: Sequence[Incident]) -> pd.DataFrame:
    """One row per root metric and week (its Monday, UTC): incidents, each label, and precision: the share of the labelled ones
    that were no false alarm (NaN where nobody has labelled any)."""
    told = [incident for incident in incidents if incident.told and not incident.corrected]
    if not told:
        return pd.DataFrame(columns=["incidents", *(label.value for label in Label), "precision"])
    rows = pd.DataFrame(
        {
            "metric": [incident.root.metric for incident in told],
            "week": [(incident.opened - timedelta(days=incident.opened.weekday())).date() for incident in told],
            "incidents": 1,
            **{label.value: [int(incident.label is label) for incident in told] for label in Label},
        }
    )
    table = rows.groupby(["metric", "week"]).sum()
    labelled = table[[label.value for label in Label]].sum(axis=1)
    return table.assign(precision=1 - table[Label.FALSE_ALARM.value] / labelled.where(labelled > 0))
