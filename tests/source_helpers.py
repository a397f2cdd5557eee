"""Events for tests of sources: in ClickHouse, in Parquet files, and the expected counts computed by pandas."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from alerting.model.metric import Query
from alerting.sources.embedded import EmbeddedSource

ROOT = Path(__file__).resolve().parent.parent
SQL = {path.stem: path.read_text() for path in (ROOT / "alerting" / "sql").glob("*.sql")}
FEED, MESSAGES = Query("feed_actions", SQL["feed_actions"]), Query("message_actions", SQL["message_actions"])
START, END = datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 10, 27, tzinfo=UTC)  # the clocks of Europe change on the 25th
QUARTER, DAY = timedelta(minutes=15), timedelta(days=1)
WITH = "WITH 0 AS since, 0 AS until, 900 AS step "
SINCE, UNTIL = int(START.timestamp()), int(START.timestamp()) + 3600


def columns(source, name):
    """Column -> type of the table that the query `name` reads."""
    found = source.run_sql(f"DESCRIBE TABLE {source.table(name)}", name)
    return dict(zip(found["name"], found["type"], strict=True))


@pytest.fixture(scope="session")
def events():
    """40,000 events of three days, none of them between 03:00 and 04:00 of the second day; `time` in epoch seconds."""
    rng = np.random.default_rng(16)
    size = 40_000
    frame = pd.DataFrame(
        {
            "user_id": rng.integers(1, 3_000, size).astype("uint32"),
            "post_id": rng.integers(1, 500, size).astype("uint32"),
            "action": rng.choice(["view", "like"], size, p=[0.8, 0.2]),
            "time": np.sort(rng.integers(START.timestamp(), END.timestamp(), size)),
            "city": rng.choice(["Москва", "N'Djamena", 'a\tb\\n"c"', "{}"], size),
        }
    )
    quiet = START.timestamp() + 27 * 3600
    return frame[~frame["time"].between(quiet, quiet + 3599)].reset_index(drop=True)


@pytest.fixture(scope="session")
def tables(clickhouse, events):
    """The events in ClickHouse, and a table of messages without a row."""
    own = "user_id UInt32, post_id UInt32, action Enum8('view' = 1, 'like' = 2), time DateTime, city String"
    clickhouse.execute("CREATE DATABASE app")
    clickhouse.execute(f"CREATE TABLE app.feed_actions ({own}) ENGINE = MergeTree ORDER BY time PARTITION BY toDate(time)")
    clickhouse.execute("CREATE TABLE app.message_actions (user_id UInt32, time DateTime) ENGINE = Memory")
    rows = events.assign(city=events["city"].str.replace("\\", "\\\\").str.replace("\t", "\\t"))
    clickhouse.execute(
        "INSERT INTO app.feed_actions FORMAT TSV", "".join("\t".join(map(str, row)) + "\n" for row in rows.to_numpy())
    )
    return clickhouse


@pytest.fixture(scope="session")
def folder(events, tmp_path_factory):
    """The events as daily Parquet files, under a path with a space and a quote in it."""
    folder = tmp_path_factory.mktemp("the app's data")
    times = pd.to_datetime(events["time"], unit="s", utc=True)
    for day, rows in events.assign(time=times).groupby(times.dt.date):
        write_parquet(rows, folder / "feed_actions" / f"{day}.parquet")
    empty = pd.DataFrame({"user_id": np.empty(0, "uint32"), "time": pd.DatetimeIndex([], dtype="datetime64[ms, UTC]")})
    write_parquet(empty, folder / "message_actions" / "2026-10-24.parquet")
    return folder


def write_parquet(frame, path):
    path.parent.mkdir(exist_ok=True)
    frame.to_parquet(path, index=False)


@pytest.fixture(scope="session")
def embedded(folder):
    source = EmbeddedSource(folder)
    yield source
    source.close()


@pytest.fixture(scope="session")
def views(events):
    """The truth about one column, by pandas."""
    bucket = pd.to_datetime(events["time"] // 900 * 900, unit="s", utc=True).astype("datetime64[ns, UTC]").rename("bucket")
    return (events["action"] == "view").groupby(bucket).sum().rename("views")


@pytest.fixture(scope="session")
def one_row(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    write_parquet(pd.DataFrame({"x": [1]}), folder / "t" / "t.parquet")
    return EmbeddedSource(folder)


def as_promised(frame):
    return (
        frame.index.name == "bucket"
        and frame.index.dtype == "datetime64[ns, UTC]"
        and frame.index.is_monotonic_increasing
        and frame.index.is_unique
        and all(dtype.kind in "fui" for dtype in frame.dtypes)
    )
