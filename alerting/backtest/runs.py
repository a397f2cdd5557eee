"""The runs of a replayed past: which buckets each run would have judged, and which changes it would have stored. Pure."""

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
from alerting.pipeline.judged import JudgedMetrics
from alerting.pipeline.segment_watch import SegmentResult

WatchSegments = Callable[[Sequence[Verdict]], SegmentResult]  # verdicts of a run -> result for its watched segments


@dataclass(frozen=True)
class ReplayedRun:
    """One replayed run."""

    now: datetime  # the time of the run
    changes: StateChange
    judged_until: Mapping[str, datetime]  # metric -> its newest judged bucket
    incomplete: Mapping[str, datetime]  # scan -> the bucket that was incomplete

    def judged(self, ctx: RunContext, replay: Replay, reading: Reading) -> JudgedMetrics:
        """Return the judged metrics as the run had them: without the buckets after its newest judged ones."""
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
    """Yield the runs in time order, one for each time at which buckets are due.

    `delay`: how long after the end of a bucket the run starts. `early`: scan -> the buckets whose rows end early; such a bucket
    is judged once the next one is closed, as in a live run. `stand_ins`: the metrics that stand for the watched segments (see
    `pipeline.segment_watch`); `watch` judges them.
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
