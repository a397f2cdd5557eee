"""`make bench-rootcause ARGS="--calm 448"`: how often a watched slice is called odd where nothing is."""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alerting import wiring
from alerting.metrics import METRICS
from alerting.model import Status, Verdict
from alerting.pipeline import stand_ins, watching
from alerting.pipeline.causes import DAYS
from alerting.simulate import simulate
from alerting.sources.embedded import Embedded


def main(buckets: int) -> int:
    """How often a watched slice is called odd where nothing is: every third bucket of a sample app without incidents, newest
    first. Prints how many findings there were, and the furthest."""
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    scores = []
    with tempfile.TemporaryDirectory() as folder:
        simulate(Path(folder) / "app", end, incidents="none", seed=11)
        source, queries = Embedded(Path(folder) / "app"), wiring.queries(wiring.SQL / "slices")
        for n in range(buckets):
            until = end - 3 * n * timedelta(minutes=15)
            for metric in stand_ins(METRICS):
                rows = source.rows(queries[metric.query], until - timedelta(days=DAYS, minutes=15), until)
                value = float(rows.loc[rows["days_ago"] == 0, metric.columns[0]].sum())
                total = Verdict(metric.name, until, Status.NORMAL, value, value, value, value, 0.0)
                scores.append(watching.furthest(metric, rows, total))
        source.close()
    found = sum(score >= watching.FURTHEST for score in scores)
    far = ", ".join(f"{score:.1f}" for score in sorted(scores, reverse=True)[:5])
    sys.stdout.write(f"{found} of {len(scores)} calm buckets were called odd (from {watching.FURTHEST:g} on); furthest {far}\n")
    return 0
