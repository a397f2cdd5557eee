"""`python -m alerting compare`: replay the last weeks by the detector of version 1 and by the present catalogue, side by side.

It saves no state and sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import click
import pandas as pd

from alerting import connections
from alerting.backtest.replay import Progress
from alerting.model.errors import SettingsError
from alerting.model.metric import unknown_metrics
from alerting.model.tables import percent_change
from alerting.studies import data
from alerting.studies.compare import BOTH, NEW, OLD, Comparison, load_past_of_both
from alerting.studies.compare import compare as compare_sides

MAX_MOMENTS_PRINTED = 200
SIDES = {
    OLD: "as version 1 watched it: its default detector and shipped widths, each metric by itself",
    NEW: "the catalogue as it is now",
}


@click.command()
@click.option("--days", default=28, show_default=True, help="Days to replay, before the newest closed bucket.")
@click.option("--until", default="", metavar="TIME", help="End of the replay, such as 2026-11-20T12:15Z (default: now).")
@click.option("--metric", "names", multiple=True, metavar="NAME", help="Compare only this metric; may be repeated.")
@click.option("--csv", default="", metavar="FILE", help="Also write the moments to this file.")
def compare(days: int, until: str, names: tuple[str, ...], csv: str) -> int:
    """Compare the old default detector with the catalogue.

    Replays the last weeks by both and prints what each would have reported, side by side. Saves and sends nothing. A metric
    that --metric leaves out is no evidence about a related one.
    """
    if days < 1:
        raise SettingsError(f"--days {days}: compare at least one day")
    ctx = connections.connect(dry_run=True)
    if unknown := unknown_metrics(names, [metric.name for metric in ctx.metrics]):
        raise SettingsError(unknown)
    ctx = replace(ctx, metrics=[metric for metric in ctx.metrics if not names or metric.name in names])

    click.echo(f"reading {days} days of {len(ctx.metrics)} metrics, and the history that the detectors need", err=True)
    past, reading = load_past_of_both(days / 7, until, ctx)
    compared = compare_sides(past, _replay_progress)
    click.echo("\n".join(comparison_lines(compared)))
    if csv:
        try:
            Path(csv).write_text(compared.moments().to_csv(index=False), encoding="utf-8")
        except OSError as error:
            raise SettingsError(f"--csv {csv}: {error.strerror}") from None
    for metric, reason in reading.errors.items():
        click.echo(f"{metric} was not compared: {reason}", err=True)
    return 1 if reading.errors else 0


def _replay_progress(side: str) -> Progress:
    """Print which side is replayed, also in a log. Return its progress bar."""
    click.echo(f"replaying {side}: {SIDES[side]}", err=True)
    return data.track(f"replaying {side}")


def comparison_lines(compared: Comparison) -> Iterator[str]:
    """Yield the printed lines: one per moment, in local time, then the totals and what the catalogue pins."""
    past, moments = compared.new.past, compared.moments()
    start, end = (pd.Timestamp(at).tz_convert(past.zone) for at in (past.start, past.end))
    yield f"\nAlerts from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}. All times: {past.zone}."
    yield "Under old and new: when each opened an incident first; x2: so many within this moment."
    if len(moments) > MAX_MOMENTS_PRINTED:
        yield f"The newest {MAX_MOMENTS_PRINTED} of {len(moments):,} moments; --csv FILE writes them all."
    yield printed_moments(moments.tail(MAX_MOMENTS_PRINTED)).to_string(index=False) if len(moments) else "nothing, by either"

    counts = moments["told by"].value_counts()
    by_both, by_old, by_new = (counts.get(side, 0) for side in (BOTH, OLD, NEW))
    yield f"\nMoments reported by both: {by_both}, by old alone: {by_old}, by new alone: {by_new}"
    yield compared.totals().round(1).T.map("{:g}".format).to_string()
    if compared.judged:
        yield "found, missed: incidents planted or labelled as real; false: openings known to be false alarms"
    for what, names in compared.pinned.items():
        if names:
            yield f"The same {what} on both sides, because the catalogue sets it: {', '.join(names)}"


def printed_moments(moments: pd.DataFrame) -> pd.DataFrame:
    """Return the moments (one at least) as text: times short, one column for each side."""

    def opened(row: pd.Series, side: str) -> str:
        if pd.isna(row[side]):
            return ""
        short = "%H:%M" if row[side].date() == row["from"].date() else "%a %H:%M"
        return f"{row[side]:{short}}" + (f" x{row[f'{side} openings']}" if row[f"{side} openings"] > 1 else "")

    shown = {
        "when": [f"{at:%a %d %b %H:%M}" for at in moments["from"]],
        "change": [percent_change(change) or "no data" for change in moments["change"]],
        "reported by": moments["told by"],
        **{side: moments.apply(opened, axis=1, side=side) for side in (OLD, NEW)},
        **({"known": moments["known"]} if "known" in moments else {}),
        "metrics": moments["metrics"],
    }
    return pd.DataFrame(shown)
