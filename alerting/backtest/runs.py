"""The runs of a replayed past: what each run of those weeks would have judged, and what it would have found. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from alerting.backtest.replay import Replay
from alerting.model.metric import Metric
from alerting.model.run import Reading
from alerting.model.verdict import Verdict
from alerting.pipeline.advance import REOPENABLE_FOR, PreviousState, StateChange, advance_state
from alerting.pipeline.context import DueBuckets, RunContext
from alerting.pipeline.judge import JudgedMetrics
from alerting.pipeline.segment_watch import SegmentResult

WatchSegments = Callable[[Sequence[Verdict]], SegmentResult]  # verdicts of a run -> those of the watched segments


@dataclass(frozen=True)
class ReplayedRun:
    """One run: its moment, its changes, the newest judged bucket of each metric, and scan -> the bucket that was incomplete."""

    now: datetime
    changes: StateChange
    judged_until: Mapping[str, datetime]
    incomplete: Mapping[str, datetime]

    def judged(self, ctx: RunContext, replay: Replay, reading: Reading) -> JudgedMetrics:
        """Return the judged metrics as the run had them: nothing after what it judged."""
        frames = {
            name: frame.loc[: self.judged_until[name]] for name, frame in replay.judged.items() if name in self.judged_until
        }
        series = {name: reading.series[name].loc[: self.judged_until[name]] for name in frames}
        return JudgedMetrics.of_frames(ctx, frames, replace(reading, series=series, incomplete=dict(self.incomplete)))


def replayed_runs(
    replay: Replay,
    delay: timedelta,
    early: Mapping[str, Collection[datetime]],
    stand_ins: Sequence[Metric] = (),
    watch: WatchSegments = lambda verdicts: SegmentResult(),
) -> Iterator[ReplayedRun]:
    """Yield the runs in order, one at each moment at which buckets are due.

    `early`: scan -> the buckets whose rows end early: such a bucket is judged once the next one is closed, as by a live run.
    `stand_ins`: of the watched segments (see `pipeline.segment_watch`), which `watch` judges.
    """
    metrics = {metric.name: metric for metric in replay.metrics}
    runs: dict[datetime, list[Verdict]] = {}
    waiting: dict[datetime, dict[str, datetime]] = {}
    for verdict in replay.verdicts:
        metric = metrics[verdict.metric]
        end = verdict.bucket + metric.step
        if verdict.bucket in early.get(metric.scan, ()):
            waiting.setdefault(end, {})[metric.scan] = verdict.bucket
            end += metric.step
        runs.setdefault(end, []).append(verdict)

    before, newest = PreviousState([*replay.metrics, *stand_ins]), dict[str, Verdict]()
    for end, verdicts in sorted(runs.items()):
        spans: dict[str, list[datetime]] = {}
        for verdict in verdicts:
            spans.setdefault(verdict.metric, []).append(verdict.bucket)
        due = [DueBuckets(metrics[name], min(buckets), max(buckets)) for name, buckets in spans.items()]
        changes = advance_state(due, verdicts, replace(before, now=end + delay), watch(verdicts))
        recent = [i for i in changes.incidents if i.open or (i.closed and i.closed > end - REOPENABLE_FOR)]
        before, newest = replace(before, episodes=changes.episodes, incidents=recent), newest | changes.newest
        until = {name: verdict.bucket for name, verdict in newest.items()}
        yield ReplayedRun(end + delay, replace(changes, newest=newest), until, waiting.get(end, {}))
