"""`python -m alerting labels`: what people said of the incidents, and what that makes of each metric's precision."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from alerting import settings, wiring
from alerting.incidents import precision

WEEK = timedelta(weeks=1)


def labels(weeks: int) -> int:
    """Print incidents and labels per metric and week of the last `weeks`. Raises StoreError."""
    since = datetime.now(UTC) - weeks * WEEK
    table = precision(wiring.open_store(settings.load()).all_incidents(since))
    sys.stdout.write(f"{table.to_string(float_format='{:.2f}'.format, na_rep='')}\n" if len(table) else "no incidents\n")
    return 0
