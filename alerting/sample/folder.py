"""The app on disk: one Parquet file per table and UTC day, and a small state file.

    data/app/feed_actions/2026-11-20.parquet
    data/app/message_actions/2026-11-20.parquet
    data/app/state.json                          which app this is, and until when it has been written

`time` is a Parquet timestamp in milliseconds, UTC, since Parquet has no whole seconds. chDB's file() reads it as
DateTime64(3, 'UTC'): toUInt32(time) is the epoch, `time >= toDateTime(...)` works. pandas reads it as aware UTC.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from alerting.model.errors import SourceError
from alerting.sample import generate
from alerting.sample.generate import FIRST_USER_ID, LATE, NAMES, SEED, SampleApp, day_number, epoch
from alerting.sample.incidents import PlantedIncident, apply_incidents, planted_incidents

VERSION = 2  # version of the code that makes rows; an app of another version is created again
EXTRA_DAYS = 14  # a file is kept for so long after the app's own length: 10 weeks for an app of 8
ATTRIBUTES = ("gender", "age", "country", "city", "os", "source", "exp_group")
LAYOUT = {  # the column orders of the real source; "reciever_id" is the source's spelling
    "feed_actions": ("user_id", "post_id", "action", "time", *ATTRIBUTES),
    "message_actions": ("user_id", "reciever_id", "time", "source", "exp_group", *ATTRIBUTES[:5]),
}
WORDS = NAMES | {"action": ("view", "like")}
EPOCH = date(1970, 1, 1)
ROW_GROUP = 65_536  # rows: a query of a quarter of an hour reads one or two groups, however busy the day


def simulate_app(folder: str | os.PathLike[str], now: datetime, **shape: Any) -> list[PlantedIncident]:
    """Write a new app, created at `now`, over whatever the folder contains. Return its planted incidents.

    `shape`: seed, days, users, events_per_day, incidents ("default" or "none"), as in SampleApp.
    """
    app = SampleApp(_whole_seconds(now), **shape)
    with _locked(Path(folder)) as root:
        return _start_over(root, app)


def extend_app(folder: str | os.PathLike[str], now: datetime, seed: int | None = None) -> list[PlantedIncident]:
    """Extend the folder's app to `now`, or create one. Return its planted incidents.

    An app is created again if it has another seed (if one is given) or another version, or if it was not extended for longer than
    its own length. A `now` that is not later than the last one changes nothing.
    """
    now = _whole_seconds(now)
    with _locked(Path(folder)) as root:
        state = _read_state(root)
        if state is None or seed not in (None, state[0].seed):
            return _start_over(root, SampleApp(now, SEED if seed is None else seed))
        app, extended = state
        if now - extended > timedelta(days=app.days):
            return _start_over(root, replace(app, birth=now))
        if now > extended:
            late = timedelta(seconds=LATE[1])
            write_days(root, app, day_number(extended - late), now)
        return planted_incidents(app)


def planted_truth(folder: str | os.PathLike[str]) -> list[PlantedIncident]:
    """Return the incidents planted into the folder's app, oldest first. Raises FileNotFoundError if there is no app."""
    state = _read_state(Path(folder))
    if state is None:
        raise FileNotFoundError(f"{folder} holds no simulated app (or one of another version)")
    return planted_incidents(state[0])


def write_days(root: Path, app: SampleApp, first: int, now: datetime) -> None:
    """Write the rows that arrived by `now`, from the day `first` (UTC day number) on; then write the state and delete old days.

    Rows are made only here. A day is always written whole, and depends only on `app`, its number and `now`.
    """
    people, incidents = generate.make_population(app, day_number(now)), planted_incidents(app)
    for day in range(first, day_number(now) + 1):
        present = people.iloc[: app.users_on(day)]
        for table, make_events in (("feed_actions", generate.feed_events), ("message_actions", generate.message_events)):
            rows = apply_incidents(make_events(app, present, day), present, incidents)
            path = root / table / f"{EPOCH + timedelta(days=day)}.parquet"
            _write_table(path, table, present, rows[rows["arrival"] <= epoch(now)])
    shape = {name: value for name, value in asdict(app).items() if name != "birth"}
    state = {"version": VERSION, "birth": app.birth.isoformat(), "extended": now.isoformat(), "shape": shape}
    with _replacing(root / "state.json") as temporary:
        temporary.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    oldest = day_number(now) - app.days - EXTRA_DAYS
    for path in _day_files(root):
        if (date.fromisoformat(path.stem) - EPOCH).days < oldest:
            path.unlink()


def _whole_seconds(at: datetime) -> datetime:
    """Return `at` in UTC and whole seconds. Raises ValueError for a time without a zone."""
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone; give an aware datetime")
    return at.astimezone(UTC).replace(microsecond=0)


def _start_over(root: Path, app: SampleApp) -> list[PlantedIncident]:
    """Write all days of the app until its creation. The state file is written last, so after a crash the app is created again."""
    (root / "state.json").unlink(missing_ok=True)
    for path in _day_files(root):
        path.unlink()
    write_days(root, app, app.first_day, app.birth)
    return planted_incidents(app)


def _write_table(path: Path, table: str, people: pd.DataFrame, rows: pd.DataFrame) -> None:
    """Write one day's file. No column is nullable, because chDB would read it as Nullable(...).

    pyarrow writes it, which chDB and pandas have imported already. With these encodings 90,000 rows take 12 ms and 6.8 bytes a
    row; chDB's INSERT INTO FUNCTION file() from Python(df) takes 56 ms and 10.9 bytes. Raises SourceError if pyarrow is absent.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        absent = "the sample app needs chdb and pyarrow: `make env EXTRAS=app` installs them"
        raise SourceError(f"{absent}, or set ALERTING_SOURCE to your ClickHouse") from None

    user, kind, target = (rows[name].to_numpy() for name in ("user", "kind", "target"))
    columns = {name: people[name].to_numpy()[user] for name in ATTRIBUTES}
    columns |= {"user_id": (user + FIRST_USER_ID).astype(np.uint32), "time": rows["time"].to_numpy()}
    columns |= {"action": kind.astype(np.uint8), "post_id": target.astype(np.uint32)}
    columns |= {"reciever_id": (target + FIRST_USER_ID).astype(np.uint32)}
    arrays = []
    for name in LAYOUT[table]:
        column = columns[name]
        if name == "time":
            arrays.append(pa.array(column * 1_000).cast(pa.timestamp("ms", tz="UTC")))
        elif name in WORDS:
            arrays.append(pa.DictionaryArray.from_arrays(pa.array(column.astype(np.int8)), pa.array(WORDS[name])))
        else:
            arrays.append(pa.array(column))
    fields = [pa.field(name, array.type, nullable=False) for name, array in zip(LAYOUT[table], arrays, strict=True)]
    with _replacing(path) as temporary:
        pq.write_table(
            pa.Table.from_arrays(arrays, schema=pa.schema(fields)),
            temporary,
            compression="zstd",
            row_group_size=ROW_GROUP,
            use_dictionary=[name for name in LAYOUT[table] if name != "time"],
            column_encoding={"time": "DELTA_BINARY_PACKED"},  # sorted seconds: next to nothing as differences
        )


def _day_files(root: Path) -> list[Path]:
    """Return the files of days. Only these files are ever deleted."""
    pattern = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].parquet"
    return [path for table in LAYOUT for path in sorted((root / table).glob(pattern))]


def _read_state(root: Path) -> tuple[SampleApp, datetime] | None:
    """Return the folder's app and the end of its rows (aware UTC); None if this version cannot continue it."""
    try:
        stored = json.loads((root / "state.json").read_text(encoding="utf-8"))
        birth, extended = (datetime.fromisoformat(stored[name]) for name in ("birth", "extended"))
        return (SampleApp(birth, **stored["shape"]), extended) if stored["version"] == VERSION else None
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path; at the end of the block it replaces `path`. No reader ever sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")  # not *.parquet, so that no glob finds it
    yield temporary
    os.replace(temporary, path)


@contextmanager
def _locked(root: Path) -> Iterator[Path]:
    """Hold the folder's lock inside the block. Another writer waits, and then finds that nothing is left to write."""
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield root
