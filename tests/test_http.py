"""The HTTP client against hostile servers: limits of time and size, redirects, and failures without secrets."""

import logging
import os
import signal
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from alerting.deadline import Deadline
from alerting.http_client import HttpClient, HttpFailure, HttpFailureKind
from tests.servers import Web, says

SECRET = "verysecretpath"
TIMEOUT = 0.4


@contextmanager
def peer(behave):
    """A server of one thread: `behave(connection, closing)` has the first connection to itself. Gives its port."""
    closing = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def serve():
            with listener.accept()[0] as connection:
                connection.settimeout(5)
                try:
                    behave(connection, closing)
                except OSError:
                    closing.set()  # the caller has gone

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], closing
        closing.set()
        thread.join(5)


def dripping(start, drop):
    """A peer that says `start` once, and then `drop` again and again, sooner than any timeout of a socket."""

    def behave(connection, closing):
        connection.recv(2**16)
        connection.sendall(start)
        while not closing.wait(0.03):
            connection.sendall(drop)

    return behave


def never_reads(connection, closing):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    closing.wait(5)


SLOW = {
    "status line": dripping(b"HTTP/1.1 2", b"0"),
    "headers": dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x"),
    "many headers": dripping(b"HTTP/1.1 200 OK\r\n", b"X-Slow: x\r\n"),
    "body": dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", b"x"),
    "body without length": dripping(b"HTTP/1.0 200 OK\r\n\r\n", b"x"),
    "chunks": dripping(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    "continue": dripping(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "silence": dripping(b"", b""),
    "request not read": never_reads,
}


@pytest.mark.parametrize("slow", SLOW)
def test_a_peer_that_drips_is_given_up_in_time_and_hears_of_it(slow):
    with peer(SLOW[slow]) as (port, gone):
        began = time.monotonic()
        body = b"x" * (2**25 if slow == "request not read" else 9)
        answer = HttpClient(TIMEOUT).request("POST", f"http://127.0.0.1:{port}/{SECRET}", data=body)
        assert TIMEOUT * 0.9 <= time.monotonic() - began < TIMEOUT + 2
        assert answer == HttpFailure(HttpFailureKind.TIMEOUT, "ReadTimeout", answer.reason)
        assert answer.unsure
        assert SECRET not in repr(answer)
        if slow not in ("silence", "request not read"):
            assert gone.wait(2)  # its next drop could not be delivered


def test_a_handshake_that_drips_is_given_up_in_time():
    """The record is announced as 16 kB, and its bytes come one by one."""
    with peer(dripping(b"\x16\x03\x03\x40\x00", b"\x02")) as (port, gone):
        began = time.monotonic()
        answer = HttpClient(2).request("GET", f"https://127.0.0.1:{port}/")  # the CA certificates are loaded meanwhile
        assert time.monotonic() - began < 3
        assert answer.why is HttpFailureKind.TIMEOUT
        assert gone.wait(2)


def test_a_proxy_that_drips_is_given_up_in_time(monkeypatch):
    with peer(dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x")) as (port, _):
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        began = time.monotonic()
        assert HttpClient(TIMEOUT).request("GET", f"https://example.invalid/{SECRET}").why is HttpFailureKind.TIMEOUT
        assert time.monotonic() - began < TIMEOUT + 2


def test_a_socket_that_comes_too_late_is_shut_at_once():
    here, there = socket.socketpair()
    with here, there, Deadline(0.01) as deadline:
        until = time.monotonic() + 2
        while not deadline.expired and time.monotonic() < until:
            time.sleep(0.005)
        deadline.watch(here)
        assert there.recv(1) == b""


def test_an_answer_in_time_leaves_nothing_behind(web):
    web.will(says("all", 418, "text/plain", X_More="1"))
    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(5):
        answer = HttpClient().request("POST", web.url, data=b"body", headers={"X-Own": "2"})
        assert (answer.status, answer.body, answer.headers["x-more"], answer.whole) == (418, b"all", "1", True)
    assert web.asked[0].headers["x-own"] == "2"
    until = time.monotonic() + 2
    while threading.active_count() > threads and time.monotonic() < until:
        time.sleep(0.01)  # the timers and the server's threads are ending
    assert threading.active_count() <= threads
    if files:
        assert len(os.listdir("/proc/self/fd")) <= files


@pytest.mark.parametrize(("limit", "body", "whole"), [(0, b"", True), (9, b"x" * 9, False), (10, b"x" * 10, True)])
def test_a_body_is_read_up_to_its_limit(web, limit, body, whole):
    web.will(says(b"x" * 10))
    answer = HttpClient(max_body=limit).request("GET", web.url)
    assert (answer.body, answer.whole) == (body, whole)


def endless(start):
    def behave(connection, closing):
        connection.recv(2**16)
        connection.sendall(start)
        while not closing.is_set():
            connection.sendall(b"x" * 2**16)

    return behave


@pytest.mark.parametrize("status", ["200 OK", "302 Found"])
def test_a_body_without_end_is_not_waited_for(status):
    start = f"HTTP/1.1 {status}\r\nLocation: http://[bad\r\n\r\n".encode()
    with peer(endless(start)) as (port, _):
        answer = HttpClient(5, max_body=1000).request("GET", f"http://127.0.0.1:{port}/")
        assert (answer.status, len(answer.body), answer.whole) == (int(status[:3]), 1000, False)


def test_a_redirect_is_an_answer(web):
    other = Web().will(says("no"))
    answer = HttpClient().request("GET", web.will(says("", 302, Location=other.url)).url)
    assert (answer.status, answer.headers["Location"], other.asked) == (302, other.url, [])
    other.close()


def test_a_login_of_the_home_folder_is_not_sent_and_one_of_the_url_is(web, monkeypatch, tmp_path):
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password other\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    web.will(says(""))
    HttpClient().request("GET", web.url)
    HttpClient().request("GET", web.url.replace("//", "//me:pw@"))
    assert [asked.headers.get("authorization") for asked in web.asked] == [None, "Basic bWU6cHc="]


def test_the_proxy_of_the_environment_is_used(web, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", web.will(says("by proxy")).url)
    monkeypatch.setenv("http_proxy", web.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert HttpClient().request("GET", "http://example.invalid/").body == b"by proxy"
    assert web.asked[0].path == "http://example.invalid/"


@pytest.mark.parametrize(
    ("url", "more", "why", "unsure"),
    [
        ("http://127.0.0.1:9/", {}, HttpFailureKind.UNREACHABLE, False),
        ("http://nowhere.invalid/", {}, HttpFailureKind.UNREACHABLE, False),
        ("http://[::bad/", {}, HttpFailureKind.REQUEST, False),
        ("ftp://x.invalid/", {}, HttpFailureKind.REQUEST, False),
        ("", {}, HttpFailureKind.REQUEST, False),
        ("{web}/", {"headers": {"X-Key": f" {SECRET}\n"}}, HttpFailureKind.HEADER, False),
        ("https{web}/", {}, HttpFailureKind.TLS, False),
        ("{web}/cut/", {}, HttpFailureKind.BROKEN, True),
    ],
)
def test_a_failure_is_a_value_without_a_secret(web, url, more, why, unsure, caplog):
    caplog.set_level(logging.DEBUG)
    web.will(lambda handler: handler.connection.shutdown(socket.SHUT_RDWR))
    url = f"https{web.url[4:]}/" if url.startswith("https{") else url.format(web=web.url)
    failure = HttpClient(2).request("GET", url + SECRET, **more)
    assert (failure.why, failure.unsure) == (why, unsure)
    assert SECRET not in repr(failure) + caplog.text


def test_a_certificate_file_that_is_none_is_said():
    assert HttpClient(verify="/nowhere.pem").request("GET", "https://127.0.0.1:9/").why is HttpFailureKind.CA_FILE


def test_a_refused_connection_is_tried_again_after_a_pause():
    began = time.monotonic()
    assert HttpClient(2, retry_pause=0.3).request("GET", "http://127.0.0.1:9/").reason == "Connection refused"
    assert 0.3 <= time.monotonic() - began < 2
    began = time.monotonic()
    HttpClient(2).request("GET", "http://127.0.0.1:9/")
    assert time.monotonic() - began < 0.3


def test_an_interrupt_ends_the_connection():
    with peer(dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x")) as (port, gone):
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            HttpClient(20).request("GET", f"http://127.0.0.1:{port}/")
        assert gone.wait(2)


def test_what_is_logged_is_what_may_be(web, caplog):
    caplog.set_level(logging.DEBUG)
    web.will(says(""))
    HttpClient().request("GET", f"{web.url}/{SECRET}")
    assert SECRET not in caplog.text
    HttpClient(log=lambda line: line.replace(SECRET, "<path>")).request("GET", f"{web.url}/{SECRET}")
    assert SECRET not in caplog.text
    assert "/<path>" in caplog.text
