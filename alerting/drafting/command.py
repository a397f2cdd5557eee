"""From a query to a line of the catalogue, with what its history says."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from alerting import catalogue, settings, wiring
from alerting.drafting.drafts import Draft, draft
from alerting.drafting.looking import Look, look
from alerting.drafting.writing import line, with_line, write
from alerting.model import Query, SettingsError
from alerting.settings import Settings

PICTURE = timedelta(days=14)  # that are drawn


def new_metric(name: str, sql: str, value: str = "", title: str = "", step: timedelta | None = None, keep: bool = False) -> int:
    """Check the query, ask the source, say what it is like, and print the line (`keep`: write it, and the query's file).

    Raises SettingsError with what is wrong, SourceError when the source cannot be asked.
    """
    given = settings.load()
    if given.source != "embedded" and not given.source.startswith("http"):
        raise SettingsError("new-metric: a table's series are its metrics already; a query needs a ClickHouse or the sample app")
    queries, slices = wiring.queries(), wiring.queries(wiring.SQL / "slices")
    known = catalogue.metrics(given.language, queries, slices)
    made = draft(name, _read(sql), title, step, queries, [metric.name for metric in known])
    seen = _seen(given, made, value)
    written = line(seen.metric, seen.written)
    queries |= {made.query: Query(made.query, made.sql)} if made.new else {}
    catalogue.check([*known, seen.metric], given.language, queries, slices)
    with_line(catalogue.FILE.read_text(encoding="utf-8"), written)  # whether it can be added at all
    sys.stdout.writelines(f"{said}\n" for said in seen.lines())
    sys.stdout.write(f"picture: {_drawn(given, seen)}\n\n")
    sys.stdout.write(_written(made, written) if keep else _told(made, written))
    return 0


def _read(sql: str) -> str:
    """The query's text: of a file, or of what comes in for "-"."""
    try:
        return sys.stdin.read() if sql == "-" else Path(sql).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"--sql {sql}: it cannot be read ({type(error).__name__}): the path of a file, or - for what comes in"
        ) from None


def _seen(given: Settings, made: Draft, value: str) -> Look:
    source, _ = wiring.open_source(given)
    try:
        return look(made, value, source, datetime.now(UTC), timedelta(minutes=given.delay), given.zone)
    finally:
        source.close()


def _drawn(given: Settings, seen: Look) -> Path:
    """Its last two weeks with the band, as a file."""
    from alerting import plots

    span = max(PICTURE, 60 * seen.metric.step)
    recent = seen.judged.loc[seen.judged.index[-1] - span :]
    file = given.reports / "new-metrics" / f"{seen.metric.name}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(plots.png(plots.band(seen.metric, recent, given.zone, given.language)))
    return file


def _told(made: Draft, written: str) -> str:
    """What --write would write."""
    file = f"alerting/sql/{made.query}.sql, new:\n\n{made.sql}\n" if made.new else f"alerting/sql/{made.query}.sql, as it is\n\n"
    return f"{file}alerting/metrics.py, at the end of METRICS:\n\n{written}\nNothing was changed: --write does.\n"


def _written(made: Draft, written: str) -> str:
    files = write(made, written, catalogue.FILE, wiring.SQL)
    names = ", ".join(f"alerting/{file.relative_to(catalogue.FILE.parent)}" for file in files)
    return f"{written}\nWritten: {names}. `make run-alerts` watches it from now on; `make budget` says which width suits it.\n"
