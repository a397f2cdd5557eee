"""A cluster of real servers with a shard that dies; limits and names of our queries, and that none is left running."""

import re
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from pandas.testing import assert_frame_equal

from alerting import connections, pipeline
from alerting.connections import SQL, load_queries
from alerting.model.errors import SourceError
from alerting.model.metric import Query
from alerting.settings import ROOT, load_settings
from alerting.sources.clickhouse import ClickHouseSource, check_profile, tagged_query
from tests.servers import PASSWORD, needs_clickhouse, running_cluster, says
from tests.waiting import PATIENCE, ended, until

START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 11, 20, 12, tzinfo=UTC)
NOW = END + timedelta(minutes=22)
COLUMNS = """user_id UInt32, post_id UInt32, action Enum8('view' = 1, 'like' = 2), time DateTime, gender UInt8, age UInt8,
country String, city String, os String, source String, exp_group UInt8"""
ROWS = f"""SELECT toUInt32(intHash64(number) % 5000) AS user_id, toUInt32(number % 700) AS post_id,
    if(intHash64(number + 1) % 5 = 0, 'like', 'view') AS action,
    toDateTime(toUInt32({int(START.timestamp())} + intHash64(number + 2) % {int((END - START).total_seconds())})) AS time,
    toUInt8(user_id % 2) AS gender, toUInt8(14 + user_id % 50) AS age, if(user_id % 10 = 0, 'KZ', 'RU') AS country,
    concat('city ', toString(user_id % 7)) AS city, if(user_id % 3 = 0, 'iOS', 'Android') AS os,
    if(user_id % 4 = 0, 'ads', 'organic') AS source, toUInt8(user_id % 5) AS exp_group
FROM numbers(60000)"""
FEED, SLICES = load_queries()["feed_actions"], load_queries(SQL / "slices")["feed_actions"]
ENDLESS = Query("endless", "WITH 0 AS since, 0 AS until, 900 AS step SELECT count() AS bucket, 1 AS n FROM endless")


def filled(servers):
    """On every shard a part of the rows, by user; on the first one a Distributed table over them, and a table of all rows."""
    for server in servers:
        server.execute("CREATE DATABASE app")
        server.execute(f"CREATE TABLE app.part ({COLUMNS}) ENGINE = MergeTree PARTITION BY toYYYYMM(time) ORDER BY time")
    first = servers[0]
    first.execute("CREATE TABLE app.feed_actions AS app.part ENGINE = Distributed(app, app, part, cityHash64(user_id))")
    first.execute("CREATE TABLE app.forever (number UInt64) ENGINE = Distributed(app, system, numbers)")
    first.execute(f"CREATE TABLE app.whole ({COLUMNS}) ENGINE = MergeTree PARTITION BY toYYYYMM(time) ORDER BY time")
    first.execute(f"INSERT INTO app.whole {ROWS}")
    first.execute("INSERT INTO app.feed_actions SELECT * FROM app.whole", insert_distributed_sync="1")
    parts = [int(server.execute("SELECT count() FROM app.part")) for server in servers]
    assert sum(parts) == 60_000
    assert min(parts) > 10_000
    return servers


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    needs_clickhouse()
    with running_cluster(tmp_path_factory.mktemp("cluster")) as servers:
        yield filled(servers)


@pytest.fixture
def maimed(tmp_path):
    """A cluster whose second server is killed by the test."""
    needs_clickhouse()
    with running_cluster(tmp_path) as servers:
        yield filled(servers)


def asking(server, user="", **more):
    naps = []
    given = {"database": "app", "timeout": 20, **more}
    return ClickHouseSource(server.url, user or server.user, server.password, sleep=naps.append, **given), naps


def in_order(rows):
    return rows.sort_values(list(rows.columns)).reset_index(drop=True)


@pytest.mark.parametrize("user", ["analyst", "reader", "setter"])
def test_a_distributed_table_gives_what_one_server_with_all_rows_gives(cluster, user):
    spread, _ = asking(cluster[0], user)
    single, _ = asking(cluster[0], user, tables={"feed_actions": "whole"})
    series = spread.fetch(FEED, START, END)
    assert len(series) == (END - START) / FEED.step
    assert series[["views", "likes"]].to_numpy().sum() == 60_000
    assert_frame_equal(series, single.fetch(FEED, START, END))
    window = (END - timedelta(days=18), END - timedelta(days=1))
    for query, start in ((SLICES, window[0] - timedelta(hours=1)), (SLICES, window[0] - timedelta(minutes=15))):
        rows = spread.rows(query, start, window[1])
        assert len(rows) > 300
        assert_frame_equal(in_order(rows), in_order(single.rows(query, start, window[1])))


@pytest.mark.parametrize("user", ["analyst", "reader", "setter"])
def test_a_dead_shard_is_an_error_that_says_what_and_where(maimed, user):
    first, second = maimed
    source, naps = asking(first, user)
    source.fetch(FEED, START, END)
    second.kill()
    for ask in (lambda: source.fetch(FEED, START, END), lambda: source.rows(SLICES, START, END)):
        with pytest.raises(SourceError) as caught:
            ask()
        assert re.search(
            r"ClickHouse at http://127\.0\.0\.1:\d+ \(feed_actions\): a shard of the cluster does not answer "
            r"\(127\.0\.0\.1:\d+\): see to that server; without it no count would be whole\.",
            str(caught.value),
        )
        assert caught.value.passing
    assert naps == [1.0, 4.0] * 2


def test_a_shard_that_dies_in_the_middle_of_a_query(maimed):
    first, second = maimed
    source, _ = asking(first, tables={"endless": "forever"})
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(source.fetch, ENDLESS, START, END)
        until(lambda: processes(second, "numbers"))
        second.kill()
        with pytest.raises(SourceError, match=r"a shard of the cluster does not answer \(127\.0\.0\.1:\d+\)"):
            asked.result()


@pytest.fixture
def given(maimed, bot, tmp_path):
    def settings(user):
        values = {
            "SOURCE": maimed[0].url,
            "CLICKHOUSE_USER": user,
            "CLICKHOUSE_PASSWORD": PASSWORD,
            "CLICKHOUSE_DATABASE": "app",
            "CLICKHOUSE_TIMEOUT": "3",
            "METRICS": "feed_users,views,likes,ctr",
            "TELEGRAM_TOKEN": bot.token,
            "TELEGRAM_CHAT": bot.chat,
            "TELEGRAM_URL": bot.url,
            "DATA": str(tmp_path / "data"),
        }
        return load_settings({f"ALERTING_{name}": text for name, text in values.items()}, ROOT / "no-such-file")

    return settings


@pytest.mark.parametrize(
    ("user", "said"), [("reader", "a shard of the cluster does not answer"), ("skipping", "skip_unavailable_shards=1")]
)
def test_with_a_dead_shard_the_metrics_of_a_run_are_not_seen_rather_than_half(maimed, given, user, said):
    maimed[1].kill()
    ctx = connections.connect(settings=given(user))
    reading = pipeline.read(ctx, pipeline.due(ctx, NOW), now=NOW)
    assert reading.series == {}
    assert reading.counts == {}
    assert set(reading.errors) >= {"feed_users", "views", "likes", "ctr"}
    assert all(said in reading.errors[name] for name in ("feed_users", "views", "likes", "ctr"))


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ("skipping", "the profile of the user has skip_unavailable_shards=1, which counts half when a shard is down"),
        ("breaking", "has read_overflow_mode=break with max_rows_to_read=1000, which gives a part as if it were all"),
    ],
)
def test_a_profile_that_allows_half_and_no_other_settings_is_refused(cluster, user, said):
    """Also while all shards are there: nobody would notice the day one is not."""
    source, naps = asking(cluster[0], user)
    for _ in range(2):
        with pytest.raises(SourceError) as caught:
            source.fetch(FEED, START, END)
        assert said in str(caught.value)
        assert "let the user change settings (readonly = 2)" in str(caught.value)
        assert not caught.value.passing
    assert naps == []


def test_a_limit_that_is_not_set_breaks_nothing():
    check_profile({"read_overflow_mode": "break", "max_rows_to_read": "0", "skip_unavailable_shards": "0"})
    with pytest.raises(SourceError, match="timeout_overflow_mode=break with max_execution_time=60"):
        check_profile({"timeout_overflow_mode": "break", "max_execution_time": "60"})


# Manners


def processes(server, text):
    """Queries that run on the server and have `text` in them, our question apart."""
    sql = f"SELECT query_id, query FROM system.processes WHERE query LIKE '%{text}%' AND query NOT LIKE '%system.processes%'"
    return [line.split("\t") for line in server.execute(sql).splitlines()]


def endless(server, user="", **more):
    return asking(server, user, database="system", tables={"endless": "numbers"}, **more)[0]


def test_a_comment_before_the_query_names_the_program(cluster):
    server = cluster[0]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(endless(server, timeout=2).fetch, ENDLESS, START, END)
        until(lambda: processes(server, "endless"))
        ((name, query),) = processes(server, "endless")
        assert re.fullmatch(r"alerting-endless-\w{12}", name)
        assert query.startswith("/* alerting: metric-alert run, query endless */ WITH 1793491200 AS since")
        assert isinstance(asked.exception(), SourceError)


def test_a_name_cannot_end_the_comment():
    _, sql = tagged_query("SELECT 1", "*/ SELECT 2 --")
    assert sql == "/* alerting: metric-alert run, query ___SELECT_2_-- */ SELECT 1"


@pytest.mark.parametrize("user", ["analyst", "setter", "reader"])
def test_a_query_whose_time_is_over_does_not_go_on(cluster, user):
    """Each may end what is his own; the profile of `reader` sets no limit of time, and he may set none."""
    server = cluster[0]
    with pytest.raises(SourceError, match=r"did not answer in time|Timeout exceeded"):
        endless(server, user, timeout=1).fetch(ENDLESS, START, END)
    until(lambda: not processes(server, "endless"))


def test_a_query_on_all_shards_ends_on_all(cluster):
    source, _ = asking(cluster[0], tables={"endless": "forever"}, timeout=2)
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(source.fetch, ENDLESS, START, END)
        until(lambda: all(processes(server, "1 AS n") for server in cluster))
        assert "did not answer in time" in str(asked.exception())
    until(lambda: not any(processes(server, "1 AS n") for server in cluster))


INTERRUPTED = """
import signal, sys
from tests.test_cluster import *
if sys.argv[4] == "SIGTERM":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
source = ClickHouseSource(sys.argv[1], sys.argv[2], PASSWORD, "system", tables={"endless": "numbers"}, timeout=float(sys.argv[3]))
source.fetch(ENDLESS, START, END)
"""


def asking_process(server, user, timeout, how):
    command = [sys.executable, "-c", INTERRUPTED, server.url, user, str(timeout), how.name]
    return ended(subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL))


@pytest.mark.parametrize("user", ["analyst", "reader"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_ends_its_query(cluster, user, how):
    server = cluster[0]
    with asking_process(server, user, 60, how) as process:
        until(lambda: processes(server, "endless"))
        process.send_signal(how)
        assert process.wait(PATIENCE) != 0
    until(lambda: not processes(server, "endless"))


def test_the_query_of_a_run_that_was_killed_ends_with_its_time(cluster):
    """Servers since 19 end it at once: they are asked to look whether anybody still waits."""
    server = cluster[0]
    with asking_process(server, "analyst", 3, signal.SIGKILL) as process:
        until(lambda: processes(server, "endless"))
        process.kill()
    until(lambda: not processes(server, "endless"))


def test_what_a_server_does_not_know_is_not_sent_again_and_the_rest_is(web):
    unknown = (
        "Code: 115, e.displayText() = DB::Exception: Unknown setting cancel_http_readonly_queries_on_client_close, e.what() = x"
    )
    above = "Code: 452. DB::Exception: Setting max_memory_usage shouldn't be greater than 1000. (SETTING_CONSTRAINT_VIOLATION)"
    row = says("bucket\tn\nUInt32\tUInt8\n")
    source = ClickHouseSource(web.will(says(unknown, 404), says(above, 500), row).url, memory=2000)
    source.rows(ENDLESS, START, END)
    source.rows(ENDLESS, START, END)
    sent = [
        [name in asked.path for name in ("cancel_http", "max_memory_usage", "readonly=2", "skip_unavailable_shards=0")]
        for asked in web.asked
    ]
    assert sent == [[True, True, True, True], [False, True, True, True], [False, False, True, True], [False, False, True, True]]


def test_a_query_may_not_take_more_memory_than_it_was_given(cluster):
    source, naps = asking(cluster[0], memory=5_000_000)
    greedy = (
        "WITH 0 AS since, 0 AS until, 900 AS step SELECT uniqExact(user_id, time, post_id) AS bucket, 1 AS n FROM feed_actions"
    )
    with pytest.raises(SourceError, match="raise ALERTING_CLICKHOUSE_MEMORY") as caught:
        source.rows(Query("feed_actions", greedy), START, END)
    assert not caught.value.passing
    assert naps == []
    assert len(asking(cluster[0], memory=500_000_000)[0].fetch(FEED, START, END))


# Threads


@pytest.mark.parametrize("user", ["analyst", "reader", "setter"])
def test_eight_threads_may_ask_one_source_at_once(cluster, user):
    source, _ = asking(cluster[0], user)
    wanted = asking(cluster[0], user)[0].fetch(FEED, START, END)
    start = threading.Barrier(8, timeout=PATIENCE)

    def ask(turn):
        start.wait()
        return [source.fetch(FEED, START, END - turn * FEED.step) for _ in range(3)]

    with ThreadPoolExecutor(8) as pool:
        frames = list(pool.map(ask, range(8)))
    for turn, three in enumerate(frames):
        for frame in three:
            assert_frame_equal(frame, wanted[: len(wanted) - turn])


def test_a_refusal_that_several_threads_hear_takes_nothing_more_away(web):
    """Each has sent `readonly` before the first has heard that it is refused."""
    readonly = "Code: 164, e.displayText() = DB::Exception: Cannot override setting (readonly) in readonly mode, e.what() = x"
    together, row = threading.Barrier(8, timeout=PATIENCE), says("bucket\tn\nUInt32\tUInt8\n")

    def reply(handler):
        if "readonly=2" in handler.path:
            together.wait()
            says(readonly, 500)(handler)
        else:
            row(handler)

    source = ClickHouseSource(web.will(reply).url)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: source.rows(ENDLESS, START, END), range(8)))
    assert len(web.asked) == 16
    assert sum("readonly=2" in asked.path for asked in web.asked) == 8
    assert all("skip_unavailable_shards=0" in asked.path for asked in web.asked)


def test_the_first_answers_of_a_process_may_come_at_once():
    """pandahouse is loaded by whoever is first."""
    code = r"""
import threading
from concurrent.futures import ThreadPoolExecutor
from alerting.sources.clickhouse_answer import decode
start = threading.Barrier(8)
body = b"n\tx\nUInt32\tString\n1\ta\n"
def ask(_):
    start.wait()
    return decode(body, lambda: "UTC")["n"].tolist()
with ThreadPoolExecutor(8) as pool:
    assert list(pool.map(ask, range(8))) == [[1]] * 8
"""
    for _ in range(3):
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
