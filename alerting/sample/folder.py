"""The app on disk: one Parquet file per table and UTC day, and a small state file.

    data/app/feed_actions/2026-11-20.parquet
    data/app/message_actions/2026-11-20.parquet
    data/app/state.json                          which app this is, and until when it has been written

`time` is a Parquet timestamp in milliseconds, UTC, since Parquet knows no whole seconds. chDB's file() reads it as
DateTime64(3, 'UTC'): toUInt32(time) is the epoch, `time >= toDateTime(...)` works. pandas reads it as aware UTC.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from alerting.sample.app import SEED, SampleApp, day_number, epoch, instant
from alerting.sample.generate import LATE, NAMES, EventRows, People, feed_events, make_population, message_events
from alerting.sample.incidents import PlantedIncident, apply_incidents, planted_incidents

VERSION = 2  # of the app's recipe: a folder written by another one is started over
KEPT_BEYOND = 14  # days a file is kept after the app's own length: 10 weeks for an app of 8
ATTRIBUTES = ("gender", "age", "country", "city", "os", "source", "exp_group")
LAYOUT = {  # the column orders of the real source; "reciever_id" is the source's spelling
    "feed_actions": ("user_id", "post_id", "action", "time", *ATTRIBUTES),
    "message_actions": ("user_id", "reciever_id", "time", "source", "exp_group", *ATTRIBUTES[:5]),
}
WORDS = NAMES | {"action": ("view", "like")}
TIME = pa.timestamp("ms", tz="UTC")
EPOCH = date(1970, 1, 1)
SHAPE = {  # name in state.json -> parameter of the app
    "seed": "seed",
    "days": "days",
    "users": "users",
    "events_per_day": "events_per_day",
    "incidents": "incidents",
}
ROW_GROUP = 65_536  # rows: a query of a quarter of an hour reads one or two groups, however busy the day


@dataclass(frozen=True)
class FolderState:
    """Which app a folder holds, and the instant until which its rows have arrived (aware UTC)."""

    app: SampleApp
    extended: datetime


def simulate_app(folder: str | os.PathLike[str], now: datetime, **shape: Any) -> list[PlantedIncident]:
    """Write a new app, born at `now`, in place of whatever the folder holds; gives the truth about it.

    `shape`: seed, days, users, events_per_day, incidents ("default" or "none"), as in App.
    """
    app = SampleApp(instant(now), **shape)
    with _locked(Path(folder)) as place:
        return _start_over(place, app)


def extend_app(folder: str | os.PathLike[str], now: datetime, seed: int | None = None) -> list[PlantedIncident]:
    """Let the folder's app live on to `now`, or create one; gives the truth about it.

    Started over: an app of another seed (if one is asked for) or version, and one left alone for longer than its own
    length. A `now` that is not later than the last one changes nothing.
    """
    now = instant(now)
    with _locked(Path(folder)) as place:
        state = _read(place)
        if state is None or seed not in (None, state.app.seed):
            return _start_over(place, SampleApp(now, SEED if seed is None else seed))
        if now - state.extended > timedelta(days=state.app.days):
            return _start_over(place, replace(state.app, birth=now))
        if now > state.extended:
            late = timedelta(seconds=LATE[1])
            write_days(place, state.app, day_number(state.extended - late), now)
        return planted_incidents(state.app)


def planted_truth(folder: str | os.PathLike[str]) -> list[PlantedIncident]:
    """The incidents planted into the folder's app, oldest first."""
    state = _read(Path(folder))
    if state is None:
        raise FileNotFoundError(f"{folder} holds no simulated app (or one of another version)")
    return planted_incidents(state.app)


def write_days(place: Path, app: SampleApp, first: int, now: datetime) -> None:
    """Write the days from `first` (UTC day number) to `now`, as far as they had arrived; then remember that, and prune.

    The only way rows are made: a day is always written whole, from nothing but `app`, its number and `now`.
    """
    people, incidents = make_population(app, day_number(now)), planted_incidents(app)
    for day in range(first, day_number(now) + 1):
        crowd = people.first(app.users_on(day))
        for table, happened in (("feed_actions", feed_events), ("message_actions", message_events)):
            rows = apply_incidents(happened(app, crowd, day), crowd, incidents)
            arrived = rows.take(rows.arrival <= epoch(now))
            _write_table(_day_file(place, table, day), table, crowd, arrived)
    _remember(place, FolderState(app, now))
    oldest = day_number(now) - app.days - KEPT_BEYOND
    for path in _day_files(place):
        if _day_of(path) < oldest:
            path.unlink()


def _start_over(place: Path, app: SampleApp) -> list[PlantedIncident]:
    """The app's whole life until its birth. Without a state in between: what is half done will be started over."""
    (place / "state.json").unlink(missing_ok=True)
    for path in _day_files(place):
        path.unlink()
    write_days(place, app, app.first_day, app.birth)
    return planted_incidents(app)


def _write_table(path: Path, table: str, people: People, rows: EventRows) -> None:
    """Put one day's file in place.

    By pyarrow, which chDB and pandas have imported already: on 90,000 rows it takes 12 ms and 6.8 bytes a row with
    these encodings, chDB's INSERT INTO FUNCTION file() from Python(df) 56 ms and 10.9 bytes.
    """
    columns = _columns(people, rows)
    fields = [_field(name, columns[name]) for name in LAYOUT[table]]
    arrays = [_array(field, columns[field.name]) for field in fields]
    with _replacing(path) as temporary:
        pq.write_table(
            pa.Table.from_arrays(arrays, schema=pa.schema(fields)),
            temporary,
            compression="zstd",
            row_group_size=ROW_GROUP,
            use_dictionary=[field.name for field in fields if field.name != "time"],
            column_encoding={"time": "DELTA_BINARY_PACKED"},  # sorted seconds: next to nothing as differences
        )


def _columns(people: People, rows: EventRows) -> dict[str, np.ndarray]:
    """Every column either table may want, by name; words still as positions in WORDS."""
    attributes = {name: column[rows.user] for name, column in people.columns.items()}
    own = {"user_id": people.ids(rows.user), "action": rows.kind.astype(np.uint8), "time": rows.time}
    return attributes | own | {"post_id": rows.target.astype(np.uint32), "reciever_id": people.ids(rows.target)}


def _field(name: str, column: np.ndarray) -> pa.Field:
    """Never nullable, or chDB would read every column as Nullable(...)."""
    kind = TIME if name == "time" else pa.dictionary(pa.int8(), pa.string()) if name in WORDS else None
    return pa.field(name, kind or pa.from_numpy_dtype(column.dtype), nullable=False)


def _array(field: pa.Field, column: np.ndarray) -> pa.Array:
    if field.name == "time":
        return pa.array(column * 1_000).cast(TIME)
    if field.name in WORDS:
        return pa.DictionaryArray.from_arrays(pa.array(column.astype(np.int8)), pa.array(WORDS[field.name]))
    return pa.array(column)


def _day_file(place: Path, table: str, day: int) -> Path:
    return place / table / f"{EPOCH + timedelta(days=day)}.parquet"


def _day_of(path: Path) -> int:
    """UTC day number of a day's file."""
    return (date.fromisoformat(path.stem) - EPOCH).days


def _day_files(place: Path) -> list[Path]:
    """Our files and nobody else's: only these are ever deleted."""
    pattern = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9].parquet"
    return [path for table in LAYOUT for path in sorted((place / table).glob(pattern))]


def _read(place: Path) -> FolderState | None:
    """The folder's state; None if there is none that this version can go on from."""
    try:
        stored = json.loads((place / "state.json").read_text(encoding="utf-8"))
        if stored["version"] != VERSION:
            return None
        birth, extended = (datetime.fromisoformat(stored[name]) for name in ("birth", "extended"))
        return FolderState(SampleApp(birth, **{SHAPE[name]: value for name, value in stored["shape"].items()}), extended)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _remember(place: Path, state: FolderState) -> None:
    shape = {name: getattr(state.app, parameter) for name, parameter in SHAPE.items()}
    birth, extended = state.app.birth.isoformat(), state.extended.isoformat()
    stored = {"version": VERSION, "birth": birth, "extended": extended, "shape": shape}
    with _replacing(place / "state.json") as temporary:
        temporary.write_text(json.dumps(stored, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary path that takes the real one's place when all is written: no reader ever sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")  # not *.parquet, so that no glob finds it
    yield temporary
    os.replace(temporary, path)


@contextmanager
def _locked(place: Path) -> Iterator[Path]:
    """The folder, for one writer at a time; the others wait, and then find the work done."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / ".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield place
