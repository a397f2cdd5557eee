"""The command line: `python -m alerting COMMAND`. This module declares the commands; `alerting/cli/` and others implement them.

Exit codes: 0 success; 1 data was not read or a message was not delivered; 2 wrong command or setting; 75 another run is in
progress; 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from types import ModuleType

try:
    import click
except ModuleNotFoundError:
    sys.stderr.write(f"error: {sys.executable} lacks the packages: use .venv/bin/python instead, which `make env` makes\n")
    sys.exit(2)

from alerting import cli, runner
from alerting.model.errors import AlertingError, SettingsError, parse_instant
from alerting.settings import PREFIX, Settings, load_settings, retired


class _Commands(click.Group):
    """A group whose help lists the commands in the order of this file; click's default is by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def _instant(text: str) -> str:
    """Convert an ISO 8601 time with a zone to UTC; "" means now. Raises SettingsError for any other text."""
    return f"{parse_instant(text, datetime.now(UTC)):%Y-%m-%dT%H:%M:%SZ}" if text else ""


DAYS = click.option("--days", default=0, help="Days of history to read (default: as many as the detectors need).")


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
def commands() -> None:
    """Metric alerts: ClickHouse to Telegram."""
    if note := retired():
        click.echo(f"note: {note}", err=True)


@commands.command("run-alerts")
@click.option("--at", metavar="TIME", type=_instant, default="", help="Run as if at TIME: 2026-11-20T12:15Z (default: now).")
@DAYS
@click.option("--dry-run", is_flag=True, help="Save no state and send nothing.")
def run_alerts(at: str, days: int, dry_run: bool) -> int:
    """Check every metric now, send alerts, save the run."""
    return runner.run_alerts(load_settings(), at=at, days=days, dry_run=dry_run)


@commands.command()
@click.argument("at", metavar="TIME", type=_instant)
@DAYS
def rehearse(at: str, days: int) -> int:
    """Show what a run at TIME would have sent. Saves no state and sends nothing. TIME is written as 2026-11-20T12:15Z."""
    return runner.run_alerts(load_settings(), at=at, days=days, dry_run=True)


@commands.command()
@click.option("--days", default=28, show_default=True, help="Days to replay, before the newest closed bucket.")
@click.option("--until", default="", metavar="TIME", help="End of the replay, such as 2026-11-20T12:15Z (default: now).")
@click.option("--metric", multiple=True, metavar="NAME", help="Replay only this metric; may be repeated.")
def backtest(days: int, until: str, metric: tuple[str, ...]) -> int:
    """Replay the last weeks: incidents and number of messages."""
    return cli.backtest.backtest(days, until, list(metric))


@commands.command()
@click.argument("text", metavar="[BUDGET]", default="2 a week")
@click.option("--weeks", default=4, show_default=True, help="Weeks of history to choose the widths on.")
def budget(text: str, weeks: int) -> int:
    """Find band widths that keep false alerts within a budget.

    Prints the widths, the drops they detect and what each week would have cost. BUDGET is for the whole catalogue, such as
    "2 a week", which is the default.
    """
    return cli.backtest.budget(text, weeks)


@commands.command()
def demo() -> int:
    """Show the sample app's planted incidents as alerts."""
    return cli.backtest.demo()


@commands.command("new-metric")
@click.argument("name")
@click.option("--sql", required=True, metavar="FILE", help="File of the query, or - for standard input; see docs/metrics.md.")
@click.option(
    "--value",
    default="",
    help="How to compute the value from the query's columns: \"count('likes')\", total, ratio, mean or measured"
    " (default: the column called NAME).",
)
@click.option("--title", default="", help="Name of the metric in messages (default: derived from NAME).")
@click.option("--step", default="", help="Length of a bucket: 15m, 1h or 1d (default: the step in the query).")
@click.option("--write", is_flag=True, help="Write the query's file and the line in metrics.py; without it they are printed.")
def new_metric(name: str, sql: str, value: str, title: str, step: str, write: bool) -> int:
    """Draft the catalogue line of a new metric from a query.

    Checks the query, prints and draws its history, and names the detector that suits it. NAME is a name such as feed_revenue.
    """
    return cli.new_metric.new_metric(name, sql, value, title, step, write)


@commands.command()
def status() -> int:
    """Show last runs, incidents, outbox, silences, next run. Exits with 1 if the last run failed or the next is overdue."""
    return cli.on_call.status()


@commands.command()
@click.argument("metric")
@click.option("--for", "length", required=True, metavar="LENGTH", help="How long: 90m, 2h, 1d, '1d 6h'; up to 90 days.")
@click.option("--why", default="", help="Reason, shown in `silences`.")
def silence(metric: str, length: str, why: str) -> int:
    """Send nothing about METRIC (or: all) for a while. It is still checked and shown."""
    return cli.on_call.silence(metric, length, why)


@commands.command()
def silences() -> int:
    """List the silences that have not ended."""
    return cli.on_call.silences()


@commands.command()
@click.argument("number", type=int)
def unsilence(number: int) -> int:
    """End a silence now. NUMBER is its number in `silences`."""
    return cli.on_call.unsilence(number)


@commands.command()
@click.option("--weeks", default=8, show_default=True, help="Number of past weeks.")
def labels(weeks: int) -> int:
    """Show people's labels and the precision of each metric."""
    return cli.on_call.labels(weeks)


@commands.command()
@click.option("--turns", default=0, help="Stop after this many requests to the chat (default: never).")
def listen(turns: int) -> int:
    """Process button presses at once, until Ctrl-C. Without this they take effect at the next run."""
    return cli.on_call.listen(turns)


@commands.command()
@click.option("--metric", default="", metavar="NAME", help="Use the table of this metric (default: the first metric).")
def drill(metric: str) -> int:
    """Send a fake incident as a drill; check that it arrives."""
    return cli.drill.drill(metric)


@commands.command()
def doctor() -> int:
    """Check the setup and say how to fix what is wrong. Checks database, tables, columns, chat, disk, clock and folders."""
    return cli.doctor.doctor()


@commands.command()
def settings() -> int:
    """List every setting, its default and its meaning."""
    for field in fields(Settings):
        click.echo(f"{PREFIX + field.name.upper():<31} {field.metadata['default']:<26} {field.metadata['help']}")
    return 0


@commands.command()
def index() -> int:
    """Rebuild reports/index.html and the pages it links to."""
    from alerting.reporting.publish import write_index

    click.echo(write_index(load_settings(), fresh=True))
    return 0


@commands.command()
@click.option("--keep-days", default=90, show_default=True, help="Days after which quiet runs are deleted.")
@click.option("--dry-run", is_flag=True, help="Only print what would be deleted.")
def prune(keep_days: int, dry_run: bool) -> int:
    """Delete or compress old runs. Failed runs and runs that sent a message are kept."""
    from alerting.reporting.prune import prune_records

    click.echo(prune_records(load_settings(), keep_days, dry_run))
    return 0


@commands.command()
def cron() -> int:
    """Print the crontab line that checks every 15 minutes."""
    click.echo(runner.crontab_line(load_settings()))
    return 0


@commands.command()
@click.argument("names", nargs=-1)
def notebooks(names: tuple[str, ...]) -> int:
    """Execute the study notebooks into reports/studies. NAMES selects some of them (default: all)."""
    from alerting import studies

    return studies.execute(load_settings(), list(names))


@commands.command("bench-detection")
@click.option("--data", required=True, metavar="FOLDER", help="Folder with series.csv and one parquet file for each data set.")
@click.option("--out", required=True, metavar="FOLDER", help="Folder for scores.parquet and detection.json.")
def bench_detection(data: str, out: str) -> int:
    """Score the default detector on labelled series. Figures need a scoring script beside the data."""
    return int(_bench("detection").main(Path(data), Path(out)))


@commands.command("bench-rootcause")
@click.option("--data", default="", metavar="FOLDER", help="Folder with NAME.parquet and NAME_truth.csv for each data set.")
@click.option("--out", default="reports/bench", show_default=True, metavar="FOLDER", help="Folder for the result files.")
@click.option("--calm", default=0, metavar="BUCKETS", help="Instead, count false segment alerts in so many normal buckets.")
def bench_rootcause(data: str, out: str, calm: int) -> int:
    """Score the root-cause search on labelled cases. Figures need a scoring script beside the data."""
    return int(_bench("false_segments").main(calm) if calm else _bench("rootcause").main(Path(data), Path(out)))


def _bench(name: str) -> ModuleType:
    """Import a module of `benchmarks/`, which exists only in a checkout. Raises SettingsError elsewhere."""
    try:
        return import_module(f"benchmarks.{name}")
    except ImportError as error:
        if not (error.name or "").startswith("benchmarks"):
            raise
        raise SettingsError("the benches are not installed with the package: run this in the folder of a checkout") from None


@commands.command(hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1)
def rollup(words: tuple[str, ...]) -> int:
    """Raise a SettingsError: the command was removed, and docs/scale.md has the SQL that replaces it."""
    raise SettingsError("`rollup` makes no tables any more: docs/scale.md has SQL that takes its place")


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. An error is printed as one line on stderr. Without arguments, print the help."""
    try:
        return int(commands.main(list(arguments) or ["--help"], prog_name="python -m alerting", standalone_mode=False))
    except click.UsageError as error:
        usage = f"{error.ctx.get_usage()}\n" if error.ctx else ""
        click.echo(f"{usage}error: {error.format_message()}", err=True)
        return 2
    except click.Abort:  # Ctrl-C
        return 130
    except AlertingError as error:
        click.echo(f"error: {error}", err=True)
        return 2 if isinstance(error, SettingsError) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
