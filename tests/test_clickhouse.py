"""ClickHouse over HTTP: the requests, the refusals of a real server, and that the password does not leak."""

import os
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from alerting.model.errors import SourceError
from alerting.model.metric import Query
from alerting.sources.clickhouse import ClickHouseSource
from tests.servers import PASSWORD, needs, says
from tests.source_helpers import END, FEED, SINCE, START, WITH, columns
from tests.waiting import PATIENCE

ROW = "bucket\tusers\nUInt32\tUInt64\n" + f"{SINCE}\t5\n"
COUNTS = Query("feed_actions", WITH + "SELECT 1 AS bucket, 2 AS users FROM feed_actions")


class Naps(list):
    """Sleeps nobody has to wait for."""

    def __call__(self, seconds):
        self.append(seconds)


def asking(url, **more):
    """A ClickHouse with the password that must never be seen, and the naps it takes."""
    naps = Naps()
    return ClickHouseSource(
        url, **{"user": "analyst", "password": PASSWORD, "database": "app", "timeout": 10, **more}, sleep=naps
    ), naps


def refused(source, query=COUNTS):
    """The error, after a look at everything that a saved notebook would show of it."""
    with pytest.raises(SourceError) as caught:
        source.fetch(query, START, END)
    shown = "".join(traceback.format_exception(caught.value)) + repr(source) + repr(caught.value)
    assert PASSWORD not in shown
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


def reset(handler):
    handler.close_connection = True
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close sends RST
    os.close(handler.connection.detach())


def broken_off(handler):
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(ROW) + 100))
    handler.end_headers()
    handler.wfile.write(ROW.encode())


def chunk_missing(handler):
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"%x\r\n%s\r\n" % (len(ROW), ROW.encode()))


EXCEPTION = "Code: 241. DB::Exception: Memory limit (total) exceeded: would use 9.3 GiB. (MEMORY_LIMIT_EXCEEDED) (version 23.8)"
HTML = "<!DOCTYPE html><html><head><title>Sign in\n to the VPN</title></head></html>"
ANSWERS = [  # reply, what is said, worth another try
    (says(HTML, kind="text/html; charset=utf-8"), "a web page, titled 'Sign in to the VPN'", False),
    (says(f"\n{HTML}"), "a web page", False),
    (says(HTML, 502, "text/html"), "HTTP 502 with a web page", True),
    (says("upstream is away", 503), "HTTP 503: upstream is away", True),
    (says("", 504), "HTTP 504: no text", True),
    (says("slow down", 429), "HTTP 429", True),
    (says("", 404), "HTTP 404", False),
    (says("", 401, WWW_Authenticate="Basic"), "asks for a login", False),
    (says(HTML, 403, "text/html"), "asks for a login", False),
    (says("", 302, Location="http://user:pass@elsewhere.example/?password=x"), "redirects to elsewhere.example", False),
    (says(""), "empty", True),
    (says("\n"), "empty", True),
    (says("Ok.\n"), "'Ok.'", False),
    (says('{"rows": []}\n'), "no names and types", False),
    (says(ROW[:-3]), "breaks off in the middle of its line 3", True),
    (says("bucket\tusers\nUInt32"), "breaks off in the middle of its line 2", True),
    (says(ROW + "1792800000\n"), "row 2 has 1 columns and not 2", True),
    (says(ROW + "1792800000\t1\t2\n"), "row 2 has 3 columns and not 2", True),
    (says(ROW + "17928x0000\t1\n"), "whole numbers cannot be read", True),
    (says(ROW.replace("UInt32", "UInt8")), "whole numbers cannot be read", True),
    (says(ROW.replace("UInt64", "Float64").replace("5\n", "five\n")), "column `users` (Float64) cannot be read", False),
    (says(ROW.replace("users", "bucket")), "two columns of one name", False),
    (says(ROW.replace("bucket", "at")), "column `bucket`", False),
    (says(ROW + EXCEPTION + "\n"), "Memory limit (total) exceeded: would use 9.3 GiB (code 241)", True),
    (says(ROW[:-2] + "Code: 395, e.displayText() = DB::Exception: thrown, e.what() = DB::Exception"), "thrown (code 395)", False),
    (says(EXCEPTION, 500), "Memory limit (total) exceeded: would use 9.3 GiB (code 241)", True),
    (
        says("Code: 516. DB::Exception: analyst: Authentication failed: password is incorrect", 403),
        "ALERTING_CLICKHOUSE_PASSWORD",
        False,
    ),
    (says("Code: 497. DB::Exception: analyst: Not enough privileges", 403), "GRANT SELECT", False),
    (broken_off, "the connection failed", True),
    (chunk_missing, "the connection failed", True),
    (reset, "the connection failed", True),
]


@pytest.mark.parametrize(("reply", "said", "passing"), ANSWERS)
def test_an_answer_that_is_none_is_named_and_tried_again_where_that_may_help(web, reply, said, passing):
    source, naps = asking(web.will(reply).url)
    error = refused(source)
    assert said in str(error)
    assert error.passing is passing
    assert (len(web.asked), naps) == ((3, [1.0, 4.0]) if passing else (1, []))
    assert "column `bucket`" in str(error) or str(error).startswith(f"ClickHouse at {web.url} (feed_actions): ")


@pytest.mark.parametrize(
    "fault", [says("", 503), says(HTML, 502, "text/html"), reset, broken_off, says(ROW[:-2]), says(EXCEPTION, 500)]
)
def test_a_passing_fault_passes(web, fault):
    source, naps = asking(web.will(fault, says(ROW)).url)
    assert source.fetch(COUNTS, START, END)["users"].tolist() == [5]
    assert naps == [1.0]


def test_what_a_server_repeats_of_the_password_is_hidden(web):
    for text in (
        f"debug: {PASSWORD}",
        "debug: s3cret &amp; &lt;long&gt;:pass/word",
        "debug: s3cret%20%26%20%3Clong%3E%3Apass/word",
    ):
        error = refused(asking(web.will(says(text, 400)).url)[0])
        assert "debug: ***" in str(error)


def test_the_password_is_in_a_header_and_nowhere_else(web, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"  # requests would send this login beside ours
    netrc.write_text("machine 127.0.0.1 login somebody password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    asking(web.will(says(ROW)).url)[0].fetch(COUNTS, START, END)
    asked = web.asked[0]
    assert asked.headers["x-clickhouse-key"] == PASSWORD
    assert "authorization" not in asked.headers
    assert PASSWORD not in asked.path + asked.body.decode()
    assert "s3cret" not in asked.path
    for part in (
        "readonly=2",
        "skip_unavailable_shards=0",
        "timeout_overflow_mode=throw",
        "max_execution_time=10",
        "database=app",
    ):
        assert part in asked.path


def test_a_redirect_takes_no_password_with_it(web):
    from tests.servers import Web

    other = Web().will(says(ROW))
    try:
        refused(asking(web.will(says("", 307, Location=other.url)).url)[0])
        assert other.asked == []
    finally:
        other.close()


def test_a_url_with_a_password_is_refused_without_showing_it():
    with_password = "https://analyst:{}@ch.example:8443/".format("s3cret")
    with pytest.raises(SourceError) as caught:
        ClickHouseSource(with_password)
    assert "https://ch.example:8443/" in str(caught.value)
    assert "s3cret" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("password", ["line\nbreak", " leading", "пароль"])
def test_a_password_of_odd_characters(web, password):
    source, _ = asking(web.will(says(ROW)).url, password=password)
    if password.isalpha():
        source.fetch(COUNTS, START, END)
        assert web.asked[0].headers["x-clickhouse-key"].encode("latin-1").decode() == password
    else:
        with pytest.raises(SourceError, match="user or password cannot be sent") as caught:
            source.fetch(COUNTS, START, END)
        assert password not in str(caught.value)


def drips(handler):
    """One byte at a time, for longer than anybody waits."""
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    web = handler.server.web
    while not web.closing.wait(0.05):
        handler.wfile.write(b"1")


def drips_chunks(handler):
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    web = handler.server.web
    while not web.closing.wait(0.05):
        handler.wfile.write(b"1\r\n1\r\n")


def hangs(handler):
    handler.close_connection = True
    handler.server.web.closing.wait(PATIENCE)


@pytest.mark.parametrize("reply", [hangs, drips, drips_chunks])
def test_a_slow_server_is_given_up_in_time(web, reply):
    began = time.monotonic()
    error = refused(asking(web.will(reply).url, timeout=0.4)[0])
    assert time.monotonic() - began < PATIENCE / 2
    assert "did not answer in time" in str(error)
    assert error.passing


def test_a_server_that_is_down_is_tried_three_times():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    source, naps = asking(url)
    error = refused(source)
    assert "Connection refused" in str(error)
    assert error.passing
    assert naps == [1.0, 4.0]


def test_a_name_that_is_none_is_said():
    error = refused(asking("http://no-such-host.invalid:8123")[0])
    assert "the connection failed (" in str(error)
    assert error.passing


def test_tries_end_with_the_time_there_is(web):
    source, naps = asking(web.will(says("", 503)).url, timeout=3)
    refused(source)
    assert naps == [1.0]  # four more seconds would be too late


def test_an_answer_without_end_is_cut(web, monkeypatch):
    monkeypatch.setattr("alerting.sources.clickhouse.MAX_BODY", 2**20)
    error = refused(asking(web.will(says(b"x" * 2**21)).url)[0])
    assert "over 1 MiB" in str(error)
    assert not error.passing


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1"
    needs(shutil.which("openssl"), "openssl is not installed")
    subprocess.run([*command.split(), "-keyout", folder / "key.pem", "-out", folder / "ca.pem"], check=True, capture_output=True)
    return folder


def test_tls_is_verified(web, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "ca.pem", certificate / "key.pem")
    web.will(says(ROW)).wrap(context)
    url = web.url.replace("http:", "https:")
    error = refused(asking(url)[0])
    assert "ALERTING_CLICKHOUSE_CA" in str(error)
    assert not error.passing
    assert web.asked == []
    assert len(asking(url, ca=str(certificate / "ca.pem"))[0].fetch(COUNTS, START, END)) == 1
    assert "give the path of a PEM file" in str(refused(asking(url, ca=str(certificate / "none.pem"))[0]))


def says_no(listener):
    with listener.accept()[0] as peer:
        peer.recv(4096)
        peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_https_where_there_is_none_is_said():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=says_no, args=(listener,))
        thread.start()
        assert "is https:// right" in str(refused(asking(f"https://127.0.0.1:{listener.getsockname()[1]}")[0]))
        thread.join()


# The real server's refusals


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"password": "wrong"}, "ALERTING_CLICKHOUSE_PASSWORD"),
        ({"user": "nobody"}, "ALERTING_CLICKHOUSE_USER"),
        ({"password": ""}, "ALERTING_CLICKHOUSE_PASSWORD"),
        ({"database": "elsewhere"}, "ALERTING_CLICKHOUSE_DATABASE"),
        ({"tables": {"feed_actions": "feed"}}, "a table was not found: check ALERTING_FEED_TABLE (now app.feed)"),
        ({"tables": {"feed_actions": "app.feed"}, "database": "default"}, "(now app.feed)"),
    ],
)
def test_the_server_s_refusal_says_what_to_set(tables, how, said):
    source, naps = asking(tables.url, **how)
    error = refused(source, FEED)
    assert said in str(error)
    assert not error.passing
    assert naps == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("user_id", "usr_id", "usr_id"),
        ("countIf", "countWhenever", "countWhenever"),
        ("GROUP BY bucket", "GROUP GROUP", "Syntax error"),
    ],
)
def test_a_query_that_does_not_fit_the_server_says_where(tables, old, new, said):
    error = refused(asking(tables.url)[0], replace(FEED, sql=FEED.sql.replace(old, new)))
    assert said in str(error)
    assert len(str(error)) < 600
    assert not error.passing


def test_a_user_who_is_read_only_anyway_is_not_told_so_again(web):
    readonly = "Code: 164, e.displayText() = DB::Exception: Cannot override setting (readonly) in readonly mode, e.what() = x"
    source, naps = asking(web.will(says(readonly, 500), says(ROW)).url)
    source.fetch(COUNTS, START, END)
    source.fetch(COUNTS, START, END)
    assert ["readonly=2" in asked.path for asked in web.asked] == [True, False, False]
    assert ["skip_unavailable_shards=0" in asked.path for asked in web.asked] == [True, True, True]
    assert naps == []


def test_users_of_every_right_to_settings_are_served(tables):
    for user in (tables.user, tables.setter, tables.reader):
        assert len(asking(tables.url, user=user)[0].fetch(FEED, START, END)) == 284


def test_the_server_is_asked_to_allow_reading_only(web):
    """A refused write must not be sent again without that."""
    refusal = "Code: 164, e.displayText() = DB::Exception: Cannot create table in readonly mode, e.what() = x"
    refused(asking(web.will(says(refusal, 500)).url)[0])
    assert len(web.asked) == 1


def test_half_an_answer_is_an_error(tables):
    """A profile may let the server stop early and call that an answer."""
    whole, half = (int(tables.execute("SELECT count() FROM app.feed_actions", user=user)) for user in ("", tables.half))
    assert half < whole
    error = refused(asking(tables.url, user=tables.half)[0], FEED)
    assert "code 158" in str(error)


def test_the_server_s_clock_and_columns(tables):
    source, _ = asking(tables.url)
    assert abs(source.now() - datetime.now(UTC)) < timedelta(minutes=1)
    assert source.now().tzinfo is UTC
    assert columns(source, "feed_actions") | {"action": ""} == {
        "user_id": "UInt32",
        "post_id": "UInt32",
        "action": "",
        "time": "DateTime",
        "city": "String",
    }
    with pytest.raises(SourceError, match=r"now app\.nothing"):
        columns(source, "nothing")


def test_a_query_has_an_id_of_its_own_each_time(web):
    source, _ = asking(web.will(says("", 503), says(ROW)).url)
    source.fetch(COUNTS, START, END)
    ids = [re.search(r"query_id=(alerting-feed_actions-\w+)", asked.path)[1] for asked in web.asked]
    assert len(set(ids)) == 2
