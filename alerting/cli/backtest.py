"""Commands that replay the past and print the results: backtest, budget. They save no state and send nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from shlex import quote

import click
import numpy as np
import pandas as pd

from alerting import catalogue, connections, pipeline, studies
from alerting.backtest import BacktestData
from alerting.backtest.budget import BudgetPlan, parse_budget, propose_widths, weekly_cost, width_curves
from alerting.backtest.power import detection_power, power_table, smallest_found
from alerting.model.errors import SettingsError
from alerting.model.metric import Metric, unknown_metrics
from alerting.model.tables import cell_text
from alerting.pipeline.context import RunContext, end_of_rows, newest_end
from alerting.pipeline.finish import fault_texts
from alerting.settings import load_settings
from alerting.studies import data

HOUR = timedelta(hours=1)
DROPS_PER_CASE = 20  # injected drops per metric, depth and part of the day; all of them take some ten seconds

AT_LEAST_ONE = click.IntRange(1)
DAYS = click.option(
    "--days", type=AT_LEAST_ONE, default=28, show_default=True, help="Days to replay, before the newest closed bucket."
)
UNTIL = click.option("--until", default="", metavar="TIME", help="End of the replay, such as 2026-11-20T12:15Z (default: now).")


def chosen_metrics(ctx: RunContext, names: Sequence[str]) -> list[Metric]:
    """Return the metrics with these names; all metrics if `names` is empty. Raises SettingsError for an unknown name."""
    if error := unknown_metrics(names, [metric.name for metric in ctx.metrics]):
        raise SettingsError(error)
    return [metric for metric in ctx.metrics if not names or metric.name in names]


@click.command()
@DAYS
@UNTIL
@click.option("--metric", "names", multiple=True, metavar="NAME", help="Replay only this metric; may be repeated.")
def backtest(days: int, until: str, names: tuple[str, ...]) -> int:
    """Replay the last weeks: incidents and number of messages."""
    ctx = connections.connect(dry_run=True)
    ctx = replace(ctx, metrics=chosen_metrics(ctx, names))
    now = pipeline.clock(until) if until else end_of_rows(ctx, ctx.metrics, pipeline.clock())
    end = newest_end(ctx, ctx.metrics, now)
    start = end - timedelta(days=days)
    reading = data.read_span(ctx, start, end)
    past = BacktestData(ctx.metrics, reading.series, start, end, ctx.zone, volumes=reading.volumes, holidays=ctx.holidays)
    replay = past.replay_all(data.track("replay"))  # judged as one run would judge all of it

    first, last = (cell_text(at, ctx.zone) for at in (replay.start, replay.end))
    _print_table(f"Incidents from {first} to {last} ({ctx.zone})", replay.local_incidents())
    _print_table("Cost", replay.budget())
    return print_faults(ctx.faults, reading.errors, replay.errors)


@click.command()
@click.argument("text", metavar="[BUDGET]", default="2 a week")
@click.option("--weeks", type=AT_LEAST_ONE, default=4, show_default=True, help="Weeks of history to choose the widths on.")
@click.option("--write", is_flag=True, help="Write the proposed widths into alerting/metrics.py.")
@click.option("--all", "every", is_flag=True, help="Propose widths also for metrics whose entry has a width= already.")
def budget(text: str, weeks: int, write: bool, every: bool) -> int:
    """Check an alert budget, and propose widths.

    Prints the widths, the drops they detect and what each week would have cost. BUDGET is for the whole catalogue, such as
    "2 a week", which is the default.
    """
    allowed, settings = parse_budget(text), load_settings()
    if write and not settings.has_catalogue:
        raise SettingsError("--write: the metrics of a table have no entries in alerting/metrics.py: leave --write out")
    click.echo(f"reading the last {weeks} weeks and the history before them", err=True)
    past, reading = studies.load_past(weeks)
    pinned = catalogue.pinned(past.metrics)
    curves = width_curves(past, track=data.track("false alerts at each width"), pinned=() if every else pinned)
    measure = partial(detection_power, times=DROPS_PER_CASE, track=data.track("drops put in"))
    plan, power = propose_widths(past, curves, allowed, measure)
    cost = weekly_cost(past, curves, plan, track=data.track("weeks"))

    start, end = (cell_text(at, past.zone) for at in (past.start, past.end))
    _print_table(f"Widths for {text} ({weeks} weeks from {start} to {end}, {past.zone})", plan.table)
    if pinned:
        table, treated = plan.table.loc[pinned], "proposed for too" if every else "left alone without --all"
        widths = ", ".join(f"{name} {width:g}" for name, width in table["width now"].items())
        cost_now = f"{table['a week'].sum():.2g} false alerts a week"
        click.echo(f"\nPinned by width= in alerting/metrics.py, {treated}: {widths}; {cost_now}")
    click.echo(f"\nIn alerting/metrics.py\n{catalogue.width_lines(plan.moved)}")
    heading = "Drops reported within 15 minutes / 1 hour, % of those put in, by day (8 to 24 local time) and night"
    _print_table(heading, power_table(power))
    _print_table("What each week would have cost (unseen: with widths chosen on the other weeks)", cost)
    click.echo(f"\n{plan.words()}")
    for line in blind_metrics(smallest_found(power)):
        click.echo(line)
    if write:
        click.echo(f"\n{_write_widths(plan, settings.data / 'metrics.before-budget.py')}")
    return max(print_faults({}, reading.errors), 1 if plan.exceeded else 0)


def blind_metrics(smallest: pd.DataFrame) -> list[str]:
    """Return a line for each metric for which no drop that was tried is found reliably. `smallest`: `power.smallest_found`."""
    lines = []
    for name, row in smallest.iterrows():
        parts = " and by ".join(part for part in ("day", "night") if np.isnan(row.get(f"{part}, 1 h", 0.0)))
        if parts:
            lines.append(f"{name} is BLIND by {parts}: none of the drops tried is reported reliably within the hour.")
    return lines


def _write_widths(plan: BudgetPlan, backup: Path) -> str:
    """Write the plan's widths into the catalogue, and its present text into `backup`. Return a text that says how to undo it."""
    if not plan.moved:
        return "Nothing was written: every width stays as it is."
    file = catalogue.FILE
    source = file.read_bytes()
    edited = catalogue.with_widths(source, plan.moved, plan.table["width now"].to_dict())
    catalogue.write_files({backup: source, file: edited}, ": no width was changed")
    widths = ", ".join(f"{name} width={width:g}" for name, width in plan.moved.items())
    return f"Written to {file}: {widths}. The next run uses them.\nTo undo: cp {quote(str(backup))} {quote(str(file))}"


def _print_table(title: str, frame: pd.DataFrame) -> None:
    table = frame.to_string(max_rows=200, float_format="{:.3g}".format, na_rep="") if len(frame) else "none"
    click.echo(f"\n{title}\n{table}")


def print_faults(faults: Mapping[str, Mapping[str, str]], *unjudged: Mapping[str, str]) -> int:
    """Print the metrics that could not be read, judged or drawn. Return the exit code: 1 if there are any, otherwise 0."""
    texts = [text for errors in unjudged for text in fault_texts("judged", errors)]
    texts += [text for what, errors in faults.items() for text in fault_texts(what, errors)]
    for text in texts:
        click.echo(text, err=True)
    return 1 if texts else 0
