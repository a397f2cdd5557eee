"""The command line: `python -m alerting COMMAND`. The commands are declared here and in `alerting/cli/`.

Exit codes: 0 success; 1 data was not read or a message was not delivered; 2 wrong command or setting; 75 another run is in
progress; 130 interrupted.
"""

import codecs
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from io import TextIOWrapper
from pathlib import Path
from types import ModuleType

try:
    from datetime import UTC, datetime  # an old Python has no UTC

    import click
except ImportError:  # another Python, such as the system's
    environment = Path(__file__).resolve().parent.parent / ".venv" / "bin" / "python"
    if environment.exists() and Path(sys.prefix) != environment.parent.parent and __name__ == "__main__":
        os.execv(str(environment), [str(environment), "-m", "alerting", *sys.argv[1:]])
    sys.stderr.write(f"error: {sys.executable} lacks the packages: use .venv/bin/python instead, which `make env` makes\n")
    sys.exit(2)

from alerting import runner
from alerting.model.clock import parse_instant
from alerting.model.errors import AlertingError, SettingsError
from alerting.runner.run import LAB
from alerting.settings import PREFIX, ROOT, Settings, load_settings, retired

CLI = {  # module of alerting/cli -> its commands; it is imported at the first use of one, because most modules load pandas
    "backtest": ["backtest", "budget"],
    "demo": ["demo"],
    "compare": ["compare"],
    "new_metric": ["new-metric"],
    "on_call": ["status", "labels", "retire", "listen", "silence", "silences", "unsilence"],
    "doctor": ["drill", "doctor"],
    "init": ["init"],
}
PLAIN = str.maketrans({"−": "-", "–": "-", "…": "...", "\u202f": " ", "\u00a0": " ", "≤": "<=", "≥": ">=", "×": "x", "·": "-"})
MODULES = {command: module for module, declared in CLI.items() for command in declared}


class _Commands(click.Group):
    """The commands of this file and of `alerting/cli/`, listed with the most used ones first."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(dict.fromkeys(["run-alerts", "rehearse", *MODULES, *self.commands]))

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in MODULES:
            return super().get_command(ctx, name)
        module = import_module(f"alerting.cli.{MODULES[name]}")
        command: click.Command = vars(module)[name.replace("-", "_")]
        return command


def _instant(text: str) -> str:
    """Convert an ISO 8601 time with a zone to UTC; "" means now. Raises SettingsError for any other text."""
    return f"{parse_instant(text, datetime.now(UTC)):%Y-%m-%dT%H:%M:%SZ}" if text else ""


DAYS = click.option(
    "--days", type=click.IntRange(0), default=0, help="Days of history to read (default: as many as the detectors need)."
)


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
    try:
        settings = load_settings()
    except SettingsError as error:
        if not dry_run:
            runner.report_settings_error(str(error))
        raise
    return runner.run_alerts(settings, at=at, days=days, dry_run=dry_run)


@commands.command()
@click.argument("at", metavar="TIME", type=_instant)
@DAYS
def rehearse(at: str, days: int) -> int:
    """Show what a run at TIME would have judged and sent. Saves and sends nothing. TIME is written as 2026-11-20T12:15Z."""
    return runner.run_alerts(load_settings(), at=at, days=days, dry_run=True)


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
    _in_lab("notebooks", *names)
    from alerting import studies
    from alerting.reporting.publish import write_index

    code = studies.execute(load_settings(), list(names))
    click.echo(f"linked from {write_index(load_settings())}")
    return code


@commands.command(context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1, type=click.UNPROCESSED)
def lab(options: tuple[str, ...]) -> None:
    """Open the notebooks in Jupyter Lab. OPTIONS go to Jupyter."""
    if os.geteuid() == 0 and "--allow-root" not in options:
        raise SettingsError("Jupyter does not start as root. Use another user, or: make lab ARGS=--allow-root")
    folder, own = ROOT / "notebooks", Path(__file__).parent / "studies" / "lab"  # `own`: settings of Lab
    first = [f"--notebook-dir={folder}", f"--LabApp.app_settings_dir={own}", "--LabApp.default_url=/lab/tree/README.md"]
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", *first, *options])


@commands.command()
@click.argument("ids", nargs=-1, required=True)
@click.option("--seconds", type=click.FloatRange(1), default=600.0, show_default=True, help="Time limit for all of them.")
def incident(ids: tuple[str, ...], seconds: float) -> int:
    """Execute notebook 2.2 for incidents.

    It goes into reports/incidents. IDS are those in `make status` and in the names of incident pages.
    """
    _in_lab("incident", "--seconds", f"{seconds:g}", *ids)
    from alerting import studies
    from alerting.reporting.publish import write_index

    settings = load_settings()
    code = studies.execute_incidents(settings, ids, seconds)
    write_index(settings)
    return code


def _in_lab(*command: str) -> None:
    """Run the command with the notebooks' Python if this one lacks their packages. Raises SettingsError if it was not made."""
    if find_spec("nbconvert") is None:
        if not LAB.exists():
            raise SettingsError("the packages of the notebooks are not installed: run `make notebooks` once, then this again")
        os.execv(str(LAB), [str(LAB), "-m", "alerting", *command])


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


def in_plain_characters(error: UnicodeError) -> tuple[str, int]:
    """Return what is printed for characters that an encoding lacks: a minus must not become a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(PLAIN)
    return text.encode("ascii", "replace").decode("ascii"), error.end


def replace_what_cannot_be_printed() -> None:
    """Let both streams print a replacement for a character that their encoding lacks. A closed stream prints nothing."""
    if not (sys.stdout and sys.stderr):  # None: closed by whoever started this process
        nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - as long as the process
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    codecs.register_error("plain", in_plain_characters)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="plain")


def main(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. An error is printed as one line on stderr. Without arguments, print the help."""
    replace_what_cannot_be_printed()
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
