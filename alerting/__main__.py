"""The command line: `python -m alerting COMMAND`. Logic lives in the rooms; here are words, arguments and exit codes.

Exit codes: 0 all well; 1 something was not seen or not said; 2 the command or a setting is wrong; 75 another run is going on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from alerting.model.errors import AlertingError, SettingsError, parse_instant

Function = Callable[[argparse.Namespace], int]
Argument = tuple[str, dict[str, Any]]
COMMANDS: dict[str, tuple[Function, str, tuple[Argument, ...]]] = {}


def command(words: str, *arguments: Argument) -> Callable[[Function], Function]:
    """Register a function as a subcommand: its name, its help, its arguments."""

    def register(function: Function) -> Function:
        COMMANDS[function.__name__.replace("_", "-")] = (function, words, arguments)
        return function

    return register


AT: Argument = ("--at", {"default": "", "help": "the moment to stand at, such as 2026-11-20T12:15Z; empty: now"})
DAYS: Argument = ("--days", {"type": int, "default": 0, "help": "days of history a run reads (default: what the rules need)"})
DRY: Argument = ("--dry-run", {"action": "store_true", "help": "remember nothing, tell nobody"})


@command("the main job: check every metric now, tell the chat, save the run", AT, DAYS, DRY)
def run_alerts(args: argparse.Namespace) -> int:
    from alerting import runner
    from alerting.settings import load_settings

    return runner.run_alerts(load_settings(), at=_moment(args.at), days=args.days, dry_run=args.dry_run)


@command("what a run would have said at a moment; nothing is remembered or sent", ("at", {"help": "2026-11-20T12:15Z"}), DAYS)
def rehearse(args: argparse.Namespace) -> int:
    from alerting import runner
    from alerting.settings import load_settings

    return runner.run_alerts(load_settings(), at=_moment(args.at), days=args.days, dry_run=True)


def _moment(at: str) -> str:
    """Refuse what is no moment here: a slip of the keyboard is no failed check."""
    return f"{parse_instant(at, datetime.now(UTC)):%Y-%m-%dT%H:%M:%SZ}" if at else ""


@command(
    "what the rules would have said over the last weeks",
    ("--days", {"type": int, "default": 28, "help": "days to replay, before the newest closed bucket (default 28)"}),
    ("--until", {"default": "", "help": "the moment the replay ends, such as 2026-11-20T12:15Z; empty: now"}),
    ("--metric", {"action": "append", "help": "only this metric; may be repeated"}),
)
def backtest(args: argparse.Namespace) -> int:
    from alerting.cli import backtest as cli_backtest

    return cli_backtest.backtest(args.days, args.until, args.metric or [])


@command("the planted incidents of the embedded app, told as the chat would hear of them")
def demo(args: argparse.Namespace) -> int:
    from alerting.cli import backtest as cli_backtest

    return cli_backtest.demo()


@command("last runs, open incidents, outbox, silences, disk use, what is due next")
def status(args: argparse.Namespace) -> int:
    from alerting.cli import on_call

    return on_call.status()


@command(
    "say nothing of a metric for a while; it is judged and shown all the same",
    ("metric", {"help": "its name, or all"}),
    ("--for", {"dest": "length", "required": True, "help": "how long: 90m, 2h, 1d, '1d 6h'"}),
    ("--why", {"default": "", "help": "for those who read the list"}),
)
def silence(args: argparse.Namespace) -> int:
    from alerting.cli import on_call

    return on_call.silence(args.metric, args.length, args.why)


@command("the silences that are not over")
def silences(args: argparse.Namespace) -> int:
    from alerting.cli import on_call

    return on_call.silences()


@command("end a silence now", ("number", {"type": int, "help": "as `silences` lists it"}))
def unsilence(args: argparse.Namespace) -> int:
    from alerting.cli import on_call

    return on_call.unsilence(args.number)


@command(
    "what people said of the incidents: labels and precision per metric and week",
    ("--weeks", {"type": int, "default": 8, "help": "weeks back (default 8)"}),
)
def labels(args: argparse.Namespace) -> int:
    from alerting.cli import on_call

    return on_call.labels(args.weeks)


@command(
    "take answers in the chat as they come, instead of with the next run",
    ("--turns", {"type": int, "default": 0, "help": "requests before it ends by itself (default: never)"}),
)
def listen(args: argparse.Namespace) -> int:
    from alerting.cli import on_call

    return on_call.listen(args.turns)


@command(
    "send a fake incident, marked as a drill, the whole way, and check that it arrived",
    ("--metric", {"default": "", "help": "one of the table that is cut (default: the first of the catalogue)"}),
)
def drill(args: argparse.Namespace) -> int:
    from alerting.cli import drill as cli_drill

    return cli_drill.drill(args.metric)


@command("check database, tables, columns, chat, disk, clock and folders, and say what to do about each")
def doctor(args: argparse.Namespace) -> int:
    from alerting.cli import doctor as cli_doctor
    from alerting.settings import load_settings

    checks = []
    for check in cli_doctor.examine(load_settings()):
        print(f"{'ok ' if check.well else 'BAD'} {check.what}: {check.said}")
        checks.append(check.well)
    return 0 if all(checks) else 1


@command(
    "gone: docs/scale.md has the SQL that takes its place",
    ("action", {"nargs": "*", "help": argparse.SUPPRESS}),
    ("--users", {"help": argparse.SUPPRESS}),
    ("--days", {"help": argparse.SUPPRESS}),
    ("--stale", {"action": "store_true", "help": argparse.SUPPRESS}),
)
def rollup(args: argparse.Namespace) -> int:
    raise SettingsError("`rollup` makes no tables any more: docs/scale.md has SQL that takes its place")


@command("every setting, its default and what it is for")
def settings(args: argparse.Namespace) -> int:
    from dataclasses import fields

    from alerting.settings import PREFIX, Settings

    for field in fields(Settings):
        print(f"{PREFIX + field.name.upper():<31} {field.metadata['default']:<26} {field.metadata['help']}")
    return 0


@command("rebuild reports/index.html and the pages of incidents; runs that have no page get one")
def index(args: argparse.Namespace) -> int:
    from alerting.reporting.publish import write_index
    from alerting.settings import load_settings

    print(write_index(load_settings(), fresh=True))
    return 0


@command(
    "thin out and pack old runs; those that were red or told something stay",
    ("--keep-days", {"type": int, "default": 90, "help": "days after which quiet runs are gone altogether (default 90)"}),
    ("--dry-run", {"action": "store_true", "help": "only say what would go"}),
)
def prune(args: argparse.Namespace) -> int:
    from alerting.reporting.prune import prune_records
    from alerting.settings import load_settings

    print(prune_records(load_settings(), args.keep_days, args.dry_run))
    return 0


@command("the crontab line that runs the check every 15 minutes")
def cron(args: argparse.Namespace) -> int:
    from alerting import runner
    from alerting.settings import load_settings

    print(runner.crontab_line(load_settings()))
    return 0


@command("execute the study notebooks into reports/studies", ("names", {"nargs": "*", "help": "which ones (default all)"}))
def notebooks(args: argparse.Namespace) -> int:
    from alerting import studies
    from alerting.settings import load_settings

    return studies.execute(load_settings(), args.names)


@contextmanager
def _checkout() -> Iterator[None]:
    """Imports from `benchmarks/`, which lies beside the package in a checkout and is not installed with it."""
    try:
        yield
    except ImportError as error:
        if not (error.name or "").startswith("benchmarks"):
            raise
        raise SettingsError("the benches are not installed with the package: run this in the folder of a checkout") from None


@command(
    "the default rule on labelled series: scores, and figures where a scorer lies beside the data",
    ("--data", {"required": True, "help": "folder with series.csv and one parquet per set"}),
    ("--out", {"required": True, "help": "folder for scores.parquet and detection.json"}),
)
def bench_detection(args: argparse.Namespace) -> int:
    from pathlib import Path

    with _checkout():
        from benchmarks import detection

    return detection.main(Path(args.data), Path(args.out))


@command(
    "which slice explains a change, on labelled cases: the figures, where a scorer lies beside the data",
    ("--data", {"default": "", "help": "folder with NAME.parquet and NAME_truth.csv for each set"}),
    ("--out", {"default": "reports/bench", "help": "folder for predictions.csv and rootcause.json"}),
    (
        "--calm",
        {"type": int, "default": 0, "help": "instead: so many buckets of a calm app, and how often a watched slice is odd"},
    ),
)
def bench_rootcause(args: argparse.Namespace) -> int:
    from pathlib import Path

    with _checkout():
        from benchmarks import false_segments, rootcause

    return false_segments.main(args.calm) if args.calm else rootcause.main(Path(args.data), Path(args.out))


@command(
    "a query becomes a metric: check it, show its history and the rule that suits it, and draft (or write) its line",
    ("name", {"help": "of the metric, such as feed_revenue"}),
    ("--sql", {"required": True, "help": "file of the query, or - for what comes in; docs/metrics.md says what it must hold"}),
    ("--value", {"default": "", "help": "\"count('likes')\", total, ratio, mean or measured (default: the column of that name)"}),
    ("--title", {"default": "", "help": "words people read (default: the name)"}),
    ("--step", {"default": "", "help": "15m, 1h or 1d (default: what the query says)"}),
    ("--write", {"action": "store_true", "help": "write the query and the line; without it they are printed"}),
)
def new_metric(args: argparse.Namespace) -> int:
    from alerting.cli import new_metric as cli_new_metric
    from alerting.cli.on_call import parse_length

    step = parse_length(args.step, "--step") if args.step else None
    return cli_new_metric.new_metric(args.name, args.sql, args.value, args.title, step, args.write)


@command(
    "the widths that a budget of false alerts buys, and what they would find",
    ("text", {"nargs": "?", "default": "2 a week", "help": "such as '2 a week' (default), over the whole catalogue"}),
    ("--weeks", {"type": int, "default": 4, "help": "weeks of the past to spend it on (default 4)"}),
)
def budget(args: argparse.Namespace) -> int:
    from alerting.cli import backtest as cli_backtest

    return cli_backtest.budget(args.text, args.weeks)


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, run, and turn what the rooms raise into one line and an exit code."""
    from alerting.settings import retired

    parser = argparse.ArgumentParser(prog="python -m alerting", description="Metric alerts: ClickHouse to Telegram.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, (function, words, arguments) in COMMANDS.items():
        sub = commands.add_parser(name, help=words, description=words)
        for flag, options in arguments:
            sub.add_argument(flag, **options)
        sub.set_defaults(function=function)
    args = parser.parse_args(argv)
    if note := retired():
        print(f"note: {note}", file=sys.stderr)
    try:
        return int(args.function(args))
    except AlertingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, SettingsError) else 1


if __name__ == "__main__":
    sys.exit(main())
