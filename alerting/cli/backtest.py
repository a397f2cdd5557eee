"""What the command line shows of the past and the present: backtest, budget, demo. Reads, and prints; changes nothing."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd

from alerting import backtest as backtest_module
from alerting import connections, pipeline, studies
from alerting.backtest.budget import choose_widths, parse_budget, weekly_cost, width_curves
from alerting.backtest.power import detection_power, power_table, smallest_found
from alerting.incidents.grouping import update_incidents
from alerting.model.errors import SettingsError
from alerting.model.incident import Event
from alerting.model.metric import Metric
from alerting.model.run import Reading
from alerting.notifiers.console import Console
from alerting.pipeline.context import DueBuckets, RunContext, last_closed_bucket
from alerting.pipeline.judge import StateChange
from alerting.sample.folder import planted_truth
from alerting.sample.incidents import PlantedIncident
from alerting.settings import load_settings
from alerting.studies import data
from alerting.studies.data import reading_bars

HOUR = timedelta(hours=1)
TIMES = 20  # drops put in per metric, depth and part of the day: a minute's work


def backtest(days: int, until: str, names: list[str]) -> int:
    """Print what the rules would have said in the `days` before `until`: incidents, then the cost in messages.

    Raises SettingsError for a metric that the catalogue does not have.
    """
    ctx = connections.connect(dry_run=True)
    absent = sorted(set(names) - {metric.name for metric in ctx.metrics})
    if absent:
        raise SettingsError(f"no metric {', '.join(absent)}: there are {', '.join(m.name for m in ctx.metrics)}")
    chosen = [metric for metric in ctx.metrics if not names or metric.name in names]
    now = pipeline.clock(until) if until else _newest(ctx, chosen)
    replay, reading = _replay(ctx, chosen, now, timedelta(days=days))
    _print(f"Incidents from {replay.start:%Y-%m-%d} to {replay.end:%Y-%m-%d} (UTC)", replay.incidents())
    _print("Cost", replay.budget())
    return _said(reading)


def budget(text: str, weeks: int = 4) -> int:
    """Print the widths for a budget such as "2 a week", the lines of metrics.py they change, what they can find, and what each
    of the last `weeks` would have cost.

    Raises SettingsError for a budget that cannot be read, or less than a week.
    """
    allowed = parse_budget(text)
    if weeks < 1:
        raise SettingsError(f"--weeks {weeks}: a budget is chosen on at least one whole week")
    past, reading = studies.load_past(weeks)
    made = width_curves(past, track=data.track("widths"))
    plan = choose_widths(past, made, allowed)
    spent = weekly_cost(past, made, plan, track=data.track("weeks"))
    found = detection_power(plan.applied_to(past), times=TIMES, track=data.track("drops put in"))
    _print(f"Widths for {text} ({weeks} weeks from {past.start:%Y-%m-%d} to {past.end:%Y-%m-%d}, UTC)", plan.table)
    sys.stdout.write(f"\nIn alerting/metrics.py\n{studies.suggest.width_lines(plan.moved)}\n")
    _print("Drops told within 15 minutes / 1 hour, % of those put in, by day (8 to 24 local time) and night", power_table(found))
    _print("What each week would have cost (unseen: with widths chosen on the other weeks)", spent)
    sys.stdout.write(f"\n{studies.sentences.of_budget(plan, smallest_found(found), spent['false unseen'].mean())}\n")
    return max(_said(reading), 0 if plan.holds else 1)


def _newest(ctx: RunContext, metrics: list[Metric]) -> datetime:
    """Now; for a table of the past, when the newest of its series ends."""
    now = pipeline.clock()
    ends = ctx.source.ends()
    return min(now, max((ends[m.query] + ctx.delay for m in metrics if m.query in ends), default=now))


def _replay(ctx: RunContext, metrics: list[Metric], now: datetime, span: timedelta) -> tuple[backtest_module.Replay, Reading]:
    last = max(last_closed_bucket(now, ctx.delay, metric.step) + metric.step for metric in metrics)
    start = last - span
    due = [DueBuckets(metric, start, last - metric.step) for metric in metrics]
    with reading_bars(ctx):
        reading = pipeline.read(ctx, due)
    past = backtest_module.BacktestData(metrics, reading.series, start, last, ctx.zone)
    return past.replay_all(data.track("replay")), reading


def _print(title: str, frame: pd.DataFrame) -> None:
    sys.stdout.write(f"\n{title}\n")
    sys.stdout.write((frame.to_string(max_rows=200, float_format="{:.3g}".format, na_rep="") if len(frame) else "none") + "\n")


def _said(reading: Reading) -> int:
    for metric, reason in reading.errors.items():
        sys.stderr.write(f"{metric} was not judged: {reason}\n")
    return 1 if reading.errors else 0


def demo() -> int:
    """Tell the embedded app's planted incidents as the chat would have heard of them, each beside the truth."""
    given = load_settings()
    ctx = connections.connect(dry_run=True)
    if given.source != "embedded":
        raise SettingsError(f"demo shows the embedded app: leave ALERTING_SOURCE unset (it is {given.source!r})")
    replay, reading = _replay(ctx, ctx.metrics, pipeline.clock(), timedelta(days=27))
    printer = Console()
    for incident in planted_truth(given.data / "app"):
        sys.stdout.write(f"\n=== {_planted(incident)}\n\n")
        during = [e for e in replay.events if incident.start - HOUR <= e.bucket <= incident.end + 2 * HOUR]
        _tell(ctx, replay, reading, during, printer, given.reports / "demo")
    ctx.source.close()
    return _said(reading)


def _planted(incident: PlantedIncident) -> str:
    """The truth about an incident, in one line."""
    hit = "=".join(incident.slice) if incident.slice else "everybody"
    span = f"{incident.start:%Y-%m-%d %H:%M} to {incident.end:%Y-%m-%d %H:%M} UTC"
    return (
        f"planted: {incident.kind.replace('_', ' ')}, {span}, {hit} {incident.depth:+.0%}; it moves {', '.join(incident.metrics)}"
    )


def _tell(
    ctx: RunContext, replay: backtest_module.Replay, reading: Reading, events: list[Event], printer: Console, folder: Path
) -> None:
    """Print the messages of the events as the chat would get them, and keep their pictures in `folder`."""
    ids: dict[str, str] = {}
    for event in update_incidents([], events, ctx.metrics, lambda metric, bucket: False)[1]:
        told_at = event.bucket + ctx.metric(event.metric).step + ctx.delay
        changes, _ = pipeline.explain(ctx, _as_of(ctx, event, replay), replay.judged, HOUR.total_seconds())
        for message in pipeline.compose(ctx, changes, replay.judged, reading, told_at):
            ids[message.key] = printer.send(message, ids.get(message.reply_to, ""))
            if message.photo:
                _keep(message.photo, folder / f"{message.key.replace('/', '-')}.png")


def _as_of(ctx: RunContext, event: Event, replay: backtest_module.Replay) -> StateChange:
    """What the run that judged the event's bucket knew."""
    newest = {verdict.metric: verdict for verdict in replay.verdicts if verdict.bucket == event.bucket}
    episodes = {other.metric: other.episode for other in (event, *event.also)}
    due = [DueBuckets(metric, event.bucket, event.bucket) for metric in ctx.metrics]
    return StateChange(episodes, [event], due, newest=newest)


def _keep(photo: bytes, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(photo)
    sys.stdout.write(f"{path}\n\n")
