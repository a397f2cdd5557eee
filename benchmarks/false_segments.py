"""`make bench-rootcause ARGS="--calm 448"`: count the false alerts of watched segments when nothing is anomalous."""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alerting.connections import SQL, load_queries
from alerting.metrics import METRICS
from alerting.model.verdict import Status, Verdict
from alerting.pipeline.segment_watch import WINDOW, least_evidence, segment_metrics, strongest_segment
from alerting.rootcause.expectation import HISTORY_DAYS
from alerting.sample.folder import simulate_app
from alerting.sources.embedded import EmbeddedSource


def main(buckets: int) -> int:
    """Judge the segments of all metrics in the hour before every third bucket of a sample app without incidents, newest first.
    Print the number of false alerts, and the highest evidence beyond the least that is needed."""
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    beyond = []
    with tempfile.TemporaryDirectory() as folder:
        simulate_app(Path(folder) / "app", end, incidents="none", seed=11)
        source, queries = EmbeddedSource(Path(folder) / "app"), load_queries(SQL / "slices")
        watched = segment_metrics(METRICS)
        for n in range(buckets):
            until = end - 3 * n * timedelta(minutes=15)
            rows = {
                name: source.rows(queries[name], until - timedelta(days=HISTORY_DAYS) - WINDOW, until)
                for name in {metric.query for metric in watched}
            }
            for metric in watched:
                found, attributes = strongest_segment(metric, rows[metric.query], Verdict(metric.name, until, Status.NORMAL))
                beyond.append((found.score if found else 0.0) - least_evidence(len(watched), len(attributes)))
        source.close()
    false = sum(margin >= 0 for margin in beyond)
    far = ", ".join(f"{margin:.1f}" for margin in sorted(beyond, reverse=True)[:5])
    sys.stdout.write(f"{false} of {len(beyond)} calm hours had an anomalous segment; evidence beyond the least (nats): {far}\n")
    return 0
