"""`python -m alerting demo`: replay the sample app's planted incidents, and print what the runs would have reported."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import copysign
from pathlib import Path
from textwrap import fill
from zoneinfo import ZoneInfo

import click

from alerting import connections, pipeline, studies
from alerting.backtest import BacktestData, Replay
from alerting.backtest.power import detection_power, smallest_found
from alerting.backtest.replay import WEEK
from alerting.backtest.runs import ReplayedRun, WatchSegments, replayed_runs
from alerting.cli.backtest import DROPS_PER_CASE, HOUR, print_faults
from alerting.messages.format import duration, signed_percent
from alerting.model.errors import SettingsError
from alerting.model.incident import Event
from alerting.model.metric import SEGMENTS_SUFFIX
from alerting.model.run import Reading
from alerting.model.verdict import OPENING_KINDS, Status, Verdict
from alerting.notifiers.base import Console
from alerting.pipeline.context import DueBuckets, RunContext
from alerting.pipeline.read import early_ends
from alerting.pipeline.segment_watch import SegmentResult, request_segments, watch_segments
from alerting.sample.folder import planted_truth
from alerting.sample.incidents import PlantedIncident
from alerting.settings import load_settings
from alerting.studies import data

BEFORE, MAX_WEEKS = timedelta(days=1), 6  # the replay begins this long before the first incident, at most 6 weeks ago
AFTER = 3 * HOUR  # an alert within this time after the end of a planted incident is still about it
BUCKET = timedelta(minutes=15)
WIDTH = 100  # columns of a terminal

Alert = tuple[datetime, Event]  # the time of the run, and the opening event that it reports


@click.command()
def demo() -> int:
    """Replay planted incidents: found, missed, false alerts."""
    settings = load_settings()
    ctx = replace(connections.connect(dry_run=True), daily="")
    if settings.source != "embedded":
        raise SettingsError(f"demo shows the embedded app: leave ALERTING_SOURCE unset (it is {settings.source!r})")
    planted = planted_truth(settings.data / "app")
    age = pipeline.clock() - planted[0].start + BEFORE if planted else timedelta()
    past, reading = studies.load_past(max(1, min(MAX_WEEKS, age / WEEK)), ctx=ctx)
    planted = watched_part(planted, past)
    replay = past.replay_all(data.track("replay"))
    early = {scan: set(counts.index[early_ends(counts)].to_pydatetime()) for scan, counts in reading.counts.items()}
    click.echo("replaying the runs", err=True)
    replayed = replayed_runs(replay, ctx.delay, early, ctx.segment_metrics, _segment_watch(ctx, reading, planted))
    runs = [run for run in replayed if run.changes.events]

    days = round((past.end - past.start) / timedelta(days=1))
    click.echo(f"{days} days of the sample app, run by run as cron would have run them. Local times: {ctx.zone}.\n")
    folder, count = settings.reports / "demo", 0
    for incident, during in runs_by_incident(runs, planted):
        click.echo(f"=== {planted_line(incident, ctx.zone) if incident else 'nothing was planted'}\n")
        count += print_messages(ctx, during, replay, reading, folder)
        if not during:
            click.echo("no run had anything to report\n")
    ctx.source.close()
    click.echo("\n".join(summary_lines(replay, runs, planted, ctx.zone)))
    found = sum(bool(alerts_about(runs, incident)) for incident in planted)
    missed, false = len(planted) - found, len(false_alerts(runs, planted))
    click.echo(f"\nfound {found} of {len(planted)} planted incidents, missed {missed}, false alerts {false}; {count} messages")
    if not planted:
        click.echo("No planted incident lies in these weeks. A new app has some: ALERTING_DATA=/tmp/new-app make demo")
    click.echo("Segments were checked once an hour, and only where one was hit; a live run checks them each time.")
    click.echo(f"Pictures: {os.path.relpath(folder)}/\n")
    click.echo("\n".join(power_lines(past)))
    return print_faults(ctx.faults, reading.errors, replay.errors)


def watched_part(planted: Sequence[PlantedIncident], past: BacktestData) -> list[PlantedIncident]:
    """Return the incidents that begin in the replay, with those of their metrics that are watched; without one it is left out."""
    watched = {metric.name for metric in past.metrics}
    parts = [replace(it, metrics=tuple(name for name in it.metrics if name in watched)) for it in planted]
    return [incident for incident in parts if incident.metrics and incident.start >= past.start]


def _segment_watch(ctx: RunContext, reading: Reading, planted: Sequence[PlantedIncident]) -> WatchSegments:
    """Return a function that judges watched segments: to save time, once an hour and only while an incident affects one."""

    def watch(verdicts: Sequence[Verdict]) -> SegmentResult:
        checked = []
        for verdict in verdicts:
            hit = [incident for incident in planted if incident.slice and verdict.metric in incident.metrics]
            in_time = any(incident.start <= verdict.bucket <= incident.end + AFTER for incident in hit)
            if in_time and verdict.bucket.minute == 0 and verdict.status is Status.NORMAL:
                checked.append(verdict)
        rows = request_segments(ctx, [DueBuckets(ctx.metric(v.metric), v.bucket, v.bucket) for v in checked])
        return watch_segments(ctx, checked, replace(reading, slices=rows, incomplete={}))

    return watch


def runs_by_incident(
    runs: Sequence[ReplayedRun], planted: Sequence[PlantedIncident]
) -> Iterator[tuple[PlantedIncident | None, list[ReplayedRun]]]:
    """Yield each planted incident with the runs that report something during it; then None with the other runs, if any."""
    left = list(runs)
    for incident in planted:
        begin, end = incident.start - BUCKET, incident.end + AFTER
        during = [run for run in left if any(begin < event.bucket <= end for event in run.changes.events)]
        left = [run for run in left if run not in during]
        yield incident, during
    if left:
        yield None, left


def alerts_about(runs: Sequence[ReplayedRun], incident: PlantedIncident) -> list[Alert]:
    """Return the openings that are about the incident and in one of its buckets, in the order of the runs."""
    opened = [(run.now, each) for run in runs for event in run.changes.events for each in (event, *event.also)]
    return [(at, each) for at, each in opened if _is_about(each, incident) and each.bucket < incident.end]


def false_alerts(runs: Sequence[ReplayedRun], planted: Sequence[PlantedIncident]) -> list[Alert]:
    """Return the openings that are not about any planted incident, in the order of the runs."""
    opened = [(run.now, event) for run in runs for event in run.changes.events if event.kind in OPENING_KINDS]
    return [
        (at, event)
        for at, event in opened
        if not any(_is_about(each, incident) for each in (event, *event.also) for incident in planted)
    ]


def _is_about(event: Event, incident: PlantedIncident) -> bool:
    """Return whether the event is an opening of a metric that the incident affects, during it or within AFTER after it."""
    in_time = incident.start - BUCKET < event.bucket <= incident.end + AFTER
    is_hit = not event.segment or (incident.slice is not None and "=".join(incident.slice) in event.segment)
    return in_time and event.kind in OPENING_KINDS and event.metric.removesuffix(SEGMENTS_SUFFIX) in incident.metrics and is_hit


def summary_lines(replay: Replay, runs: Sequence[ReplayedRun], planted: Sequence[PlantedIncident], zone: str) -> Iterator[str]:
    """Yield a line per planted incident, which says when it was reported or why it was missed; then a line per false alert."""
    yield f"{'PLANTED':<73}REPORTED AFTER"
    for incident in planted:
        alerts = alerts_about(runs, incident)
        yield f"{planted_line(incident, zone):<73}{_outcome(alerts, incident, replay.end)}"
        if not alerts and incident.end <= replay.end:
            yield fill(why_missed(replay, incident, zone), WIDTH, initial_indent="    ", subsequent_indent="    ")
    for at, event in false_alerts(runs, planted):
        change = signed_percent(event.verdict.value, event.verdict.reference, "en") or event.kind.value
        yield f"{_local(at, zone)}  nothing was planted: FALSE, {event.name} {change}"


def _outcome(alerts: Sequence[Alert], incident: PlantedIncident, now: datetime) -> str:
    if not alerts:
        return "MISSED" if incident.end <= now else "not yet, it goes on"
    first, event = alerts[0]
    metrics = len({each.metric for _, each in alerts})
    what = "its segment" if event.segment else "1 metric" if metrics == 1 else f"{metrics} metrics"
    return f"{duration(first - incident.start, 'en')}, {what}"


def planted_line(incident: PlantedIncident, zone: str) -> str:
    """Return one line: begin (local time), kind, length, affected users and size of the incident."""
    users = "=".join(incident.slice) if incident.slice else "everybody"
    lasts = duration(incident.end - incident.start, "en")
    kind = incident.kind.replace("_", " ")
    return f"{_local(incident.start, zone)}  {kind:<18}  {lasts:<10}  {users} {signed_percent(1 + incident.depth, 1, 'en')}"


def why_missed(replay: Replay, incident: PlantedIncident, zone: str) -> str:
    """Return sentences that say why no run reported the incident: how near its metrics came to the edges of their bands."""
    sign = copysign(1, incident.depth)
    frames = {name: replay.judged[name].loc[incident.start - BUCKET : incident.end] for name in incident.metrics}
    frames = {name: frame for name, frame in frames.items() if frame["score"].notna().any()}
    if not frames:
        return "no bucket of it could be judged: too little history"
    name, frame = max(frames.items(), key=lambda item: (sign * item[1]["score"]).max())
    bucket = (sign * frame["score"]).idxmax()
    row = frame.loc[bucket]
    change, edge = (signed_percent(row[of], row["expected"], "en") for of in ("value", "low" if sign < 0 else "high"))
    if sign * row["score"] > 1:
        return f"{name} was outside its band ({change} at {_local(bucket, zone)}), but for too short a time."
    text = f"{name} came nearest: {change} at {_local(bucket, zone)}, where its noise makes the band reach to {edge}."
    later = frame[["value", "usual", "expected"]].iloc[len(frame) // 2 :].mean()
    usual, expected = (signed_percent(later["value"], later[of], "en") for of in ("usual", "expected"))
    if abs(later["value"] - later["usual"]) > 2 * abs(later["value"] - later["expected"]):  # the band has followed
        text += f" It came slowly: in its second half {name} was {usual} from the usual, but {expected} from the expected value,"
        text += " which follows the last hours."
    return text


def power_lines(past: BacktestData) -> Iterator[str]:
    """Yield lines: for each metric the smallest drop that is found within an hour, by day and by night. Drops are injected."""
    smallest = smallest_found(detection_power(past, times=DROPS_PER_CASE, track=data.track("drops put in")))
    yield "WHAT IT CAN SEE: the smallest drop of a whole metric that is reported within the hour, 9 times in 10"
    yield f"{'':<18}{'8:00 to 24:00':>16}{'0:00 to 8:00':>16}"
    for name, row in smallest.iterrows():
        shares = (row[f"{part}, 1 h"] for part in ("day", "night"))
        depths = ("none to 60 %" if share != share else f"{100 * share:.0f} %" for share in shares)
        yield f"{name:<18}" + "".join(f"{depth:>16}" for depth in depths)
    watched = ", ".join(metric.name for metric in past.metrics if metric.slices == "alert")
    yield "What hits one segment counts by its share: losing half of a segment of 40 % is a drop of 20 %."
    yield f"The segments of {watched} are also watched by themselves, while the whole metric is normal."
    yield "A smaller drop is reported only if it lasts longer, or never."
    yield "Narrower or wider bands: `make budget`. Your own data: `make backtest`."


def _local(at: datetime, zone: str) -> str:
    return f"{at.astimezone(ZoneInfo(zone)):%a %d %b %H:%M}"


def print_messages(ctx: RunContext, runs: Iterable[ReplayedRun], replay: Replay, reading: Reading, folder: Path) -> int:
    """Print the messages of the runs as the chat shows them, and save their pictures in `folder`. Return their number."""
    console, count, ids = Console(), 0, dict[str, str]()  # ids: key of a message -> id that the console gave it
    for run in runs:
        judged = run.judged(ctx, replay, reading)
        changes, _ = pipeline.explain(ctx, replace(run.changes, incidents=[]), judged, HOUR.total_seconds())
        for message in pipeline.compose(ctx, changes, judged, run.now):
            count += 1
            ids[message.key] = console.send(replace(message, photo=None), ids.get(message.reply_to, ""))
            if message.photo:
                path = folder / f"{message.key.replace('/', '-')}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(message.photo)
                click.echo(f"[picture: {os.path.relpath(path)}]\n")
    return count
