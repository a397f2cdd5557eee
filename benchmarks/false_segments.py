"""`make bench-rootcause ARGS="--calm 448"`: count the false alerts of watched segments when nothing is anomalous."""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from alerting.connections import SQL, load_queries
from alerting.metrics import METRICS
from alerting.model.metric import Metric
from alerting.model.verdict import Status, Verdict
from alerting.pipeline.segment_watch import MIN_EVIDENCE, judge_segments, segment_metrics
from alerting.rootcause.expectation import HISTORY_DAYS
from alerting.sample.folder import simulate_app
from alerting.sources.embedded import EmbeddedSource


def main(buckets: int) -> int:
    """Count the false alerts of watched segments in every third bucket of a sample app without incidents, newest
    first. Print the number of false alerts, and the highest evidence."""
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    scores = []
    with tempfile.TemporaryDirectory() as folder:
        simulate_app(Path(folder) / "app", end, incidents="none", seed=11)
        source, queries = EmbeddedSource(Path(folder) / "app"), load_queries(SQL / "slices")
        for n in range(buckets):
            until = end - 3 * n * timedelta(minutes=15)
            for metric in segment_metrics(METRICS):
                rows = source.rows(queries[metric.query], until - timedelta(days=HISTORY_DAYS, minutes=15), until)
                value = float(rows.loc[rows["days_ago"] == 0, metric.columns[0]].sum())
                total = Verdict(metric.name, until, Status.NORMAL, value, value, value, value, 0.0)
                scores.append(highest_evidence(metric, rows, total))
        source.close()
    found = sum(score >= MIN_EVIDENCE for score in scores)
    far = ", ".join(f"{score:.1f}" for score in sorted(scores, reverse=True)[:5])
    sys.stdout.write(f"{found} of {len(scores)} calm buckets were called odd (from {MIN_EVIDENCE:g} on); furthest {far}\n")
    return 0


def highest_evidence(metric: Metric, rows: pd.DataFrame, total: Verdict) -> float:
    """Return the highest evidence (nats) for a segment; 0 where none is big and changed enough."""
    smallest = 1e-9
    verdict, _ = judge_segments(metric, rows, total, smallest)
    return abs(verdict.score) * smallest
