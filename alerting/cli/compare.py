"""`python -m alerting compare`: replay the last weeks with the detector of version 1 and with the present catalogue."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import IO
from zoneinfo import ZoneInfo

import click
import numpy as np
import pandas as pd

from alerting import connections, detectors
from alerting.backtest.replay import WEEK, BacktestData, Progress, Replay, is_found, replay_judged
from alerting.cli.backtest import DAYS, UNTIL, chosen_metrics
from alerting.detectors.auto import AutoDetector, Chosen
from alerting.incidents.grouping import update_incidents
from alerting.model.incident import Incident
from alerting.model.metric import Metric
from alerting.model.run import Reading
from alerting.model.tables import percent_change
from alerting.model.verdict import Label
from alerting.pipeline.context import RunContext
from alerting.settings import Settings
from alerting.studies import data
from alerting.studies.review import Review, review

OLD, NEW, BOTH = "old", "new", "both"
WIDTHS_OF_VERSION_1 = {  # query -> metric -> the width that its shipped entry had
    "feed_actions": {"feed_users": 0.5, "views": 0.45, "likes": 0.55, "ctr": 0.85},
    "message_actions": {"messenger_users": 0.5, "messages": 0.6},
}
SAME_MOMENT = timedelta(hours=1)  # incidents with at most this time between them are one moment, one line of the output
NIGHT_ENDS = 6  # local hour
KNOWN_COLUMNS = ["found", "missed", "false"]
MOMENT_COLUMNS = ["from", "until", "metrics", "change", "told by", OLD, NEW, "old openings", "new openings"]
MAX_MOMENTS_PRINTED = 200
SIDES = {
    OLD: "as version 1 watched it: its default detector and shipped widths, each metric by itself",
    NEW: "the catalogue as it is now",
}


@click.command()
@DAYS
@UNTIL
@click.option("--metric", "names", multiple=True, metavar="NAME", help="Compare only this metric; may be repeated.")
@click.option(
    "--csv", type=click.File("w", "utf-8", lazy=False, atomic=True), metavar="FILE", help="Also write the moments to this file."
)
def compare(days: int, until: str, names: tuple[str, ...], csv: IO[str] | None) -> int:
    """Compare the old default detector with the catalogue.

    Replays the last weeks by both and prints what each would have reported, side by side. Saves and sends nothing. A metric
    that --metric leaves out is no evidence about a related one.
    """
    ctx = connections.connect(dry_run=True)
    ctx = replace(ctx, metrics=chosen_metrics(ctx, names))
    click.echo(f"reading {days} days of {len(ctx.metrics)} metrics, and the history that the detectors need", err=True)
    past, reading = load_past_of_both(days / 7, until, ctx)

    def announced(side: str) -> Progress:
        click.echo(f"replaying {side}: {SIDES[side]}", err=True)  # also in a log, where no bar is
        return data.track(f"replaying {side}")

    compared = compare_sides(past, announced)
    click.echo("\n".join(comparison_lines(compared)))
    if csv:
        compared.moments().to_csv(csv, index=False)
    for metric, reason in reading.errors.items():
        click.echo(f"{metric} was not compared: {reason}", err=True)
    return 1 if reading.errors else 0


def comparison_lines(compared: "Comparison") -> Iterator[str]:
    """Yield the printed lines: one per moment (local time), then the totals, then the rules and widths that both sides share."""
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
    """Return the moments as texts: short local times, and one column per side. `moments`: at least one row."""

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


def old_metric(metric: Metric) -> Metric:
    """Return the metric as version 1 watched it: with its default detector and shipped width, unless the catalogue sets them."""
    if metric.rule != AutoDetector():
        return metric
    shipped = WIDTHS_OF_VERSION_1.get(metric.query, {}).get(metric.name, 1.0)
    return replace(metric, rule=Chosen(), width=shipped if metric.width == 1 else metric.width)


def load_past_of_both(weeks: float, at: str, ctx: RunContext) -> tuple[BacktestData, Reading]:
    """Read a past like `studies.load_past`, with a history that is long enough for both detectors. It raises the same errors."""
    patient = [max(metric, old_metric(metric), key=lambda one: one.rule.history) for metric in ctx.metrics]
    past, reading = data.load_past(weeks, at, replace(ctx, metrics=patient))
    return replace(past, metrics=[metric for metric in ctx.metrics if metric.name in past.series]), reading


@dataclass(frozen=True)
class Comparison:
    """The same past replayed by the catalogue of version 1 (`old`) and by the present one (`new`)."""

    old: Review
    new: Review

    @property
    def pinned(self) -> dict[str, list[str]]:
        """ "rule" and "width" -> names of the metrics for which the catalogue sets it, so that it is the same on both sides."""
        metrics = self.new.past.metrics
        rules = [metric.name for metric in metrics if metric.rule != AutoDetector()]
        return {"rule": rules, "width": [metric.name for metric in metrics if metric.width != 1]}

    @property
    def judged(self) -> bool:
        """Whether incidents of the past are known: some were planted, or people labelled some."""
        labelled = any(incident.label for incident in (*self.old.replayed, *self.new.replayed))
        return labelled or bool(self.new.truths)

    def moments(self) -> pd.DataFrame:
        """Return one row per moment, oldest first.

        Columns: `from`, `until`: aware local times of its first opening and its last end (NaT: it goes on). `metrics`: names; the
        first is the one that `change` is about. `change`: share of expected in the worst bucket (float64; NaN: a gap). `told by`:
        old, new or both. `old`, `new`: time of each side's first opening (NaT: none). `old openings`, `new openings`: their
        number (int). With labels or planted incidents also `known`: real, false alarm or "".
        """
        told = [(side, incident) for side, one in ((OLD, self.old), (NEW, self.new)) for incident in one.replayed]
        told.sort(key=lambda pair: pair[1].opened)
        rows = [self._moment(group) for group in _groups(told, self.new.past.end)]
        columns = [*MOMENT_COLUMNS, *(["known"] if self.judged else [])]
        return pd.DataFrame(rows, columns=columns)

    def totals(self) -> pd.DataFrame:
        """Return one row per side. Columns: messages a week (float64), openings, openings between 0:00 and 6:00 local time (int).

        With labels or planted incidents also `found` and `missed` (known incidents) and `false` (openings), as counts (int).
        """
        table = pd.DataFrame.from_dict({OLD: _totals(self.old), NEW: _totals(self.new)}, orient="index")
        return table if self.judged else table.drop(columns=KNOWN_COLUMNS)

    def _moment(self, group: Sequence[tuple[str, Incident]]) -> dict[str, object]:
        """Return the row of one moment. `group`: (side, incident). The new side's worst incident, else the old's, comes first."""
        zone = self.new.past.zone
        by_side = {side: [incident for told, incident in group if told == side] for side in (OLD, NEW)}

        # The score of a gap is NaN.
        lead = max(by_side[NEW] or by_side[OLD], key=lambda it: np.nan_to_num(abs((it.root.worst or it.root.first).score)))
        members = [lead.root, *(member for incident in (lead, *(it for _, it in group)) for member in incident.members)]
        first = {side: pd.Timestamp(ours[0].opened).tz_convert(zone) if ours else pd.NaT for side, ours in by_side.items()}
        ends = [incident.closed for _, incident in group]
        told = BOTH if by_side[OLD] and by_side[NEW] else OLD if by_side[OLD] else NEW
        labels = {incident.label for _, incident in group if incident.label}
        real = labels - {Label.FALSE_ALARM}
        return {
            "from": pd.Timestamp(min(incident.opened for _, incident in group)).tz_convert(zone),
            "until": pd.Timestamp(max(end for end in ends if end)).tz_convert(zone) if all(ends) else pd.NaT,
            "metrics": ", ".join(dict.fromkeys(member.metric for member in members)),
            "change": float("nan") if lead.root.gap else (lead.root.worst or lead.root.first).change,
            "told by": told,
            OLD: first[OLD],
            NEW: first[NEW],
            "old openings": len(by_side[OLD]),
            "new openings": len(by_side[NEW]),
            "known": Label.REAL.value if real else Label.FALSE_ALARM.value if labels else "",
        }


@dataclass(frozen=True)
class PastOfVersion1(BacktestData):
    """A past that is judged as version 1 did it: each metric alone, and without the default detector's rules for counts."""

    def replay_all(self, track: Progress = iter) -> Replay:
        """Judge every metric that has values as version 1 did. The episodes are built as in the present version."""
        judged, metrics = dict[str, pd.DataFrame](), self.metrics_with_values
        for metric in track(metrics):
            values, volume = self.series[metric.name], self.volumes.get(metric.name)
            band = metric.rule.band(values, self.zone) if metric.rule == Chosen() else self.band(metric)
            judged[metric.name] = detectors.judge(values, band, metric, volume)
        return replace(replay_judged(metrics, judged, self.start, self.end), zone=self.zone)


def compare_sides(
    past: BacktestData, track: Callable[[str], Progress] = lambda side: iter, given: Settings | None = None
) -> Comparison:
    """Replay the past by both sides and return the comparison. `track`: "old" or "new" -> progress bar over the metrics.

    `given`: the settings whose state database has people's labels (None: the configured ones). Raises StoreError.
    """
    old = PastOfVersion1(**vars(past) | {"metrics": [old_metric(metric) for metric in past.metrics]})
    return Comparison(review(old, track(OLD), given), review(past, track(NEW), given))


def _groups(told: Sequence[tuple[str, Incident]], end: datetime) -> Iterator[list[tuple[str, Incident]]]:
    """Yield lists of (side, incident) that are one moment. `told`: ordered by opening. An open incident lasts until `end`."""
    group, over = list[tuple[str, Incident]](), end
    for side, incident in told:
        if group and incident.opened > over + SAME_MOMENT:
            yield group
            group = []
        until = incident.closed or end
        over = max(over, until) if group else until
        group.append((side, incident))
    if group:
        yield group


def _totals(one: Review) -> dict[str, float]:
    """Return column -> value: the row of one side in `Comparison.totals`."""
    metrics, events, zone = one.replay.metrics, one.replay.events, ZoneInfo(one.past.zone)
    messages = update_incidents([], events, metrics, lambda metric, bucket: False)[1]
    steps = {metric.name: metric.step for metric in metrics}
    found = sum(any(is_found(event, truth, steps[event.metric]) for event in events) for truth in one.truths)
    return {
        "messages a week": len(messages) / ((one.past.end - one.past.start) / WEEK),
        "openings": len(one.replayed),
        "openings 0:00 to 6:00": sum(incident.opened.astimezone(zone).hour < NIGHT_ENDS for incident in one.replayed),
        "found": found,
        "missed": len(one.truths) - found,
        "false": sum(incident.label is Label.FALSE_ALARM for incident in one.replayed),
    }
