"""Every request to the outside ends at its deadline and reads a bounded answer, whatever its peer does."""

import shutil
import subprocess
import sys
import textwrap
import time
from contextlib import suppress

import pytest

from alerting.model.errors import AlertingError
from alerting.notifiers.base import ping
from alerting.notifiers.email import Mailbox, SmtpServer
from alerting.notifiers.slack import Slack
from alerting.notifiers.telegram import Telegram
from alerting.notifiers.webhook import Webhook
from alerting.settings import ROOT
from alerting.sources.clickhouse import ClickHouseSource
from tests.letters import message
from tests.servers import CHAT, DRIPS, FLOODS, TOKEN, Peer, needs
from tests.waiting import PATIENCE

TIMEOUT = 0.5  # seconds
SPARE = 4.0  # seconds: a query is cancelled, certificates are loaded, the machine is busy
REQUESTS = {
    "telegram": lambda url: Telegram(TOKEN, CHAT, url, timeout=TIMEOUT).send(message()),
    "presses": lambda url: Telegram(TOKEN, CHAT, url, timeout=TIMEOUT).button_presses(0),
    "slack": lambda url: Slack(url, TIMEOUT).send(message()),
    "webhook": lambda url: Webhook(url, timeout=TIMEOUT).send(message()),
    "heartbeat": lambda url: ping(url, TIMEOUT),
    "clickhouse": lambda url: ClickHouseSource(url, timeout=2 * TIMEOUT).run_sql("SELECT 1", "one"),
}
OVER_HTTP = [kind for kind in (*DRIPS, *FLOODS) if "greeting" not in kind and "handshake" not in kind]
MAX_BYTES = {"clickhouse": 64 * 2**20}  # of an answer that are read
BUFFERS = 16 * 2**20  # bytes that the system may take before anybody reads


def seconds_of(request, url):
    """How long it took to give a result or an error of ours."""
    began = time.monotonic()
    with suppress(AlertingError):
        request(url)
    return time.monotonic() - began


@pytest.mark.parametrize("kind", OVER_HTTP)
@pytest.mark.parametrize("name", REQUESTS)
def test_a_peer_that_drips_or_floods_costs_one_deadline_and_little_memory(name, kind):
    with Peer(kind, pause=0.02) as peer:
        assert seconds_of(REQUESTS[name], f"{peer.url}/a/path") < 2 * TIMEOUT + SPARE
        assert peer.met
        assert peer.is_left()
        assert peer.longest < MAX_BYTES.get(name, 8 * 2**20) + BUFFERS


@pytest.mark.parametrize("name", ["slack", "webhook", "heartbeat"])
@pytest.mark.parametrize("kind", ["body drips", "endless body", "endless chunks"])
def test_a_receiver_that_accepts_and_drips_has_accepted(name, kind):
    """Nothing is in its answer that is not in its status, and what is not accepted is posted again."""
    with Peer(kind, pause=0.02) as peer:
        assert REQUESTS[name](peer.url) == ("" if name == "heartbeat" else message().key)


@pytest.mark.parametrize("name", REQUESTS)
def test_a_handshake_or_a_proxy_that_drips_costs_one_deadline(name, monkeypatch):
    with Peer("handshake drips", pause=0.02) as peer:
        assert seconds_of(REQUESTS[name], peer.url.replace("http", "https")) < 2 * TIMEOUT + SPARE
        assert peer.met
        assert peer.is_left()
    with Peer("headers drip", pause=0.02) as peer:
        monkeypatch.setenv("HTTPS_PROXY", peer.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert seconds_of(REQUESTS[name], "https://example.invalid/a/path") < 2 * TIMEOUT + SPARE
        assert peer.met
        assert peer.is_left()


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
@pytest.mark.parametrize("kind", ["greeting drips", "endless greeting", "silence", "handshake drips"])
def test_a_mail_server_that_drips_or_floods_costs_one_deadline_and_little_memory(scheme, kind):
    with Peer(kind, pause=0.02) as peer:
        server = SmtpServer(f"{scheme}://127.0.0.1:{peer.port}", timeout=TIMEOUT)
        box = Mailbox(server, "alerts@example.com", "duty@example.com")
        assert seconds_of(lambda url: box.send(message()), "") < 3 * TIMEOUT + SPARE
        assert peer.met
        assert peer.is_left()
        assert peer.longest < 8 * 2**20 + BUFFERS


LOOK_UP = """
import socket, sys, time
from alerting.http_client import HttpClient
from alerting.model.errors import NotifyError
from alerting.notifiers.email import Mailbox, SmtpServer
from tests.letters import message

silent = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
silent.bind(("127.0.0.9", 53))
began = time.monotonic()
answer = HttpClient(1.0, retry_pause=0.1).request("GET", "http://alerts.example.com/")
print(answer.why.name, answer.unsure, time.monotonic() - began < 4)
began = time.monotonic()
try:
    Mailbox(SmtpServer("smtp://mail.example.com:25", timeout=0.5), "a@b.example", "c@d.example").send(message())
except NotifyError as error:
    print("connection TimeoutError" in str(error), time.monotonic() - began < 5)
"""


def test_a_name_server_that_says_nothing_costs_one_deadline_and_keeps_no_process(tmp_path):
    """In a mount namespace of its own, where the name server is a socket that never answers; it would be asked for 90 s."""
    needs(shutil.which("unshare"), "unshare is not installed")
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 127.0.0.9\noptions timeout:30 attempts:3\n")
    mount = f"mount --bind {resolv} /etc/resolv.conf"
    alone = subprocess.run(["unshare", "--mount", "sh", "-c", mount], capture_output=True, timeout=PATIENCE, check=False)
    needs(not alone.returncode, "this user may not mount")
    command = ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, "-c", textwrap.dedent(LOOK_UP)]
    began = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=80, check=False)
    assert done.stdout.splitlines() == ["CONNECT_TIMEOUT False True", "True True"], done.stderr
    assert time.monotonic() - began < 30
