"""Commands that replay the past and print the results: backtest, budget, demo. They save no state and send nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from shlex import quote

import click
import pandas as pd

from alerting import connections, pipeline, studies
from alerting.backtest import BacktestData, Replay
from alerting.backtest.budget import BudgetPlan, parse_budget, propose_widths, weekly_cost, width_curves
from alerting.backtest.power import detection_power, power_table, smallest_found
from alerting.backtest.runs import ReplayedRun, replayed_runs
from alerting.catalogue import replace_file
from alerting.model.errors import SettingsError
from alerting.model.metric import Metric, unknown_metrics
from alerting.model.run import Reading
from alerting.notifiers.console import Console
from alerting.pipeline.context import DueBuckets, RunContext, last_closed_bucket
from alerting.pipeline.judge import JudgedMetrics
from alerting.pipeline.read import early_ends
from alerting.sample.folder import planted_truth
from alerting.sample.incidents import PlantedIncident
from alerting.settings import load_settings
from alerting.studies import data
from alerting.studies.data import reading_bars

HOUR = timedelta(hours=1)
DEMO_SPAN = timedelta(days=27)  # the sample app's planted incidents lie in its last four weeks
DROPS_PER_CASE = 20  # injected drops per metric, depth and part of the day: takes some ten seconds


@click.command()
@click.option("--days", default=28, show_default=True, help="Days to replay, before the newest closed bucket.")
@click.option("--until", default="", metavar="TIME", help="End of the replay, such as 2026-11-20T12:15Z (default: now).")
@click.option("--metric", "names", multiple=True, metavar="NAME", help="Replay only this metric; may be repeated.")
def backtest(days: int, until: str, names: tuple[str, ...]) -> int:
    """Replay the last weeks: incidents and number of messages."""
    ctx = connections.connect(dry_run=True)
    if error := unknown_metrics(names, [metric.name for metric in ctx.metrics]):
        raise SettingsError(error)
    metrics = [metric for metric in ctx.metrics if not names or metric.name in names]

    now = pipeline.clock(until)
    if not until:  # a table file may end in the past
        ends = ctx.source.ends()
        now = min(now, max((ends[m.query] + ctx.delay for m in metrics if m.query in ends), default=now))
    replay, reading = _replay(ctx, metrics, now, timedelta(days=days))
    _print_table(f"Incidents from {replay.start:%Y-%m-%d} to {replay.end:%Y-%m-%d} (UTC)", replay.incidents())
    _print_table("Cost", replay.budget())
    return _print_errors(reading)


@click.command()
@click.argument("text", metavar="[BUDGET]", default="2 a week")
@click.option("--weeks", default=4, show_default=True, help="Weeks of history to choose the widths on.")
@click.option("--write", is_flag=True, help="Write the proposed widths into alerting/metrics.py.")
@click.option("--all", "every", is_flag=True, help="Propose widths also for metrics whose entry has a width= already.")
def budget(text: str, weeks: int, write: bool, every: bool) -> int:
    """Check an alert budget, and propose widths.

    Prints the widths, the drops they detect and what each week would have cost. BUDGET is for the whole catalogue, such as
    "2 a week", which is the default.
    """
    allowed, settings = parse_budget(text), load_settings()
    if weeks < 1:
        raise SettingsError(f"--weeks {weeks}: a budget is chosen on at least one whole week")
    if write and not settings.has_catalogue:
        raise SettingsError("--write: the metrics of a table have no entries in alerting/metrics.py: leave --write out")
    click.echo(f"reading the last {weeks} weeks and the history before them", err=True)
    past, reading = studies.load_past(weeks)
    pinned = studies.suggest.pinned(past.metrics)
    curves = width_curves(past, track=data.track("false alerts at each width"), pinned=() if every else pinned)
    measure = partial(detection_power, times=DROPS_PER_CASE, track=data.track("drops put in"))
    plan, power = propose_widths(past, curves, allowed, measure)
    cost = weekly_cost(past, curves, plan, track=data.track("weeks"))

    _print_table(f"Widths for {text} ({weeks} weeks from {past.start:%Y-%m-%d} to {past.end:%Y-%m-%d}, UTC)", plan.table)
    if pinned:
        click.echo(f"\n{_pinned_line(plan.table.loc[pinned], 'proposed for too' if every else 'left alone without --all')}")
    click.echo(f"\nIn alerting/metrics.py\n{studies.suggest.width_lines(plan.moved)}")
    heading = "Drops told within 15 minutes / 1 hour, % of those put in, by day (8 to 24 local time) and night"
    _print_table(heading, power_table(power))
    _print_table("What each week would have cost (unseen: with widths chosen on the other weeks)", cost)
    click.echo(f"\n{studies.sentences.of_budget(plan, smallest_found(power), cost['false unseen'].mean())}")
    if write:
        click.echo(f"\n{_write_widths(plan, settings.data / 'metrics.before-budget.py')}")
    return max(_print_errors(reading), 1 if plan.exceeded else 0)


def _pinned_line(table: pd.DataFrame, treated: str) -> str:
    widths = ", ".join(f"{name} {width:g}" for name, width in table["width now"].items())
    return f"Pinned by width= in alerting/metrics.py, {treated}: {widths}; {table['a week'].sum():.2g} false alerts a week"


def _write_widths(plan: BudgetPlan, backup: Path) -> str:
    """Write the plan's widths into the catalogue, its present text into `backup`; return what was done and how to undo it.

    Raises SettingsError; then the catalogue is as it was.
    """
    if not plan.moved:
        return "Nothing was written: every width stays as it is."
    file = studies.suggest.CATALOGUE
    source = file.read_bytes()
    edited = studies.suggest.with_widths(source, plan.moved, plan.table["width now"].to_dict())
    try:
        backup.parent.mkdir(parents=True, exist_ok=True)
        backup.write_bytes(source)
        replace_file(file, edited)
    except OSError as error:
        raise SettingsError(f"{error.filename or file} cannot be written ({error.strerror}): no width was changed") from None
    widths = ", ".join(f"{name} width={width:g}" for name, width in plan.moved.items())
    return f"Written to {file}: {widths}. The next run uses them.\nTo undo: cp {quote(str(backup))} {quote(str(file))}"


@click.command()
def demo() -> int:
    """Show the sample app's planted incidents as alerts."""
    settings = load_settings()
    ctx = replace(connections.connect(dry_run=True), daily="")
    if settings.source != "embedded":
        raise SettingsError(f"demo shows the embedded app: leave ALERTING_SOURCE unset (it is {settings.source!r})")
    replay, reading = _replay(ctx, ctx.metrics, pipeline.clock(), DEMO_SPAN)
    console = Console()
    early = {scan: set(counts.index[early_ends(counts)].to_pydatetime()) for scan, counts in reading.counts.items()}
    runs = [run for run in replayed_runs(replay, ctx.delay, early) if run.changes.events]
    for incident in planted_truth(settings.data / "app"):
        click.echo(f"\n=== {_planted_line(incident)}\n")
        ids: dict[str, str] = {}  # key of a message -> id that the console gave it
        for run in runs:
            during = [event for event in run.changes.events if incident.start - HOUR <= event.bucket <= incident.end + 2 * HOUR]
            changes = replace(run.changes, events=during, incidents=[])
            _print_messages(
                ctx, replace(run, changes=changes), run.judged(ctx, replay, reading), console, ids, settings.reports / "demo"
            )
    ctx.source.close()
    return _print_errors(reading)


def _replay(ctx: RunContext, metrics: list[Metric], now: datetime, span: timedelta) -> tuple[Replay, Reading]:
    """Read the `span` before the newest closed bucket, and replay it as one run."""
    end = max(last_closed_bucket(now, ctx.delay, metric.step) + metric.step for metric in metrics)
    start = end - span
    due = [DueBuckets(metric, start, end - metric.step) for metric in metrics]
    with reading_bars(ctx):
        reading = pipeline.read(ctx, due)
    past = BacktestData(metrics, reading.series, start, end, ctx.zone, volumes=reading.volumes)
    return past.replay_all(data.track("replay")), reading


def _print_table(title: str, frame: pd.DataFrame) -> None:
    table = frame.to_string(max_rows=200, float_format="{:.3g}".format, na_rep="") if len(frame) else "none"
    click.echo(f"\n{title}\n{table}")


def _print_errors(reading: Reading) -> int:
    """Print the metrics that could not be read. Return the exit code: 1 if there are any, otherwise 0."""
    for metric, reason in reading.errors.items():
        click.echo(f"{metric} was not judged: {reason}", err=True)
    return 1 if reading.errors else 0


def _planted_line(incident: PlantedIncident) -> str:
    users = "=".join(incident.slice) if incident.slice else "everybody"
    span = f"{incident.start:%Y-%m-%d %H:%M} to {incident.end:%Y-%m-%d %H:%M} UTC"
    kind, metrics = incident.kind.replace("_", " "), ", ".join(incident.metrics)
    return f"planted: {kind}, {span}, {users} {incident.depth:+.0%}; it moves {metrics}"


def _print_messages(
    ctx: RunContext, run: ReplayedRun, judged: JudgedMetrics, console: Console, ids: dict[str, str], folder: Path
) -> None:
    """Print the messages of a run as in the chat, and save their pictures in `folder`. `ids`: of the messages before."""
    changes, _ = pipeline.explain(ctx, run.changes, judged, HOUR.total_seconds())
    for message in pipeline.compose(ctx, changes, judged, run.now):
        ids[message.key] = console.send(message, ids.get(message.reply_to, ""))
        if message.photo:
            path = folder / f"{message.key.replace('/', '-')}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(message.photo)
            click.echo(f"{path}\n")
