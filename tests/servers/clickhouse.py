"""The installed ClickHouse, started for a test as one server or as a cluster."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import pytest
import requests

from tests.servers.required import needs
from tests.waiting import PATIENCE

PASSWORD = "s3cret & <long>:pass/word"  # every character that some form of a URL, XML or HTML writes differently
ZONE = "Europe/Moscow"  # not UTC, so that a time read in the wrong zone is seen
CONFIG = """<yandex>
    <logger><level>warning</level><log>{folder}/server.log</log><errorlog>{folder}/errors.log</errorlog></logger>
    <http_port>{port}</http_port>
    <listen_host>127.0.0.1</listen_host>
    <path>{folder}/data/</path>
    <tmp_path>{folder}/tmp/</tmp_path>
    <users_config>{folder}/users.xml</users_config>
    <default_profile>default</default_profile>
    <default_database>default</default_database>
    <timezone>{zone}</timezone>
    <mark_cache_size>67108864</mark_cache_size>
    <uncompressed_cache_size>0</uncompressed_cache_size>{more}
</yandex>
"""
CLUSTER = """
    <tcp_port>{port}</tcp_port><remote_servers><{name}>{shards}</{name}></remote_servers>"""
SHARD = "<shard><replica><host>127.0.0.1</host><port>{port}</port></replica></shard>"
USER = """<{name}>
    <password>{password}</password><networks><ip>127.0.0.1</ip></networks><profile>{profile}</profile><quota>default</quota>
</{name}>"""
USERS = """<yandex>
    <profiles>
        <default/>
        <readonly><readonly>1</readonly></readonly>
        <settable><readonly>2</readonly></settable>
        <half><timeout_overflow_mode>break</timeout_overflow_mode><max_rows_to_read>1000</max_rows_to_read>
              <read_overflow_mode>break</read_overflow_mode></half>
        <skipping><readonly>1</readonly><skip_unavailable_shards>1</skip_unavailable_shards></skipping>
        <breaking><readonly>1</readonly><max_rows_to_read>1000</max_rows_to_read>
                  <read_overflow_mode>break</read_overflow_mode></breaking>
    </profiles>
    <quotas><default/></quotas>
    <users>{users}</users>
</yandex>
"""


@dataclass(frozen=True)
class ClickHouseServer:
    """A running ClickHouse. `user` may do everything, `reader` only read, `setter` only read and change settings; the profile
    of `half` allows half an answer, and so do those of `skipping` (shards) and `breaking` (at a limit), who only read.

    All have the same `password`; a user `default` without one exists too.
    """

    url: str
    pid: int
    user: str = "analyst"
    reader: str = "reader"
    setter: str = "setter"
    half: str = "half"
    skipping: str = "skipping"
    breaking: str = "breaking"
    password: str = PASSWORD

    def execute(self, sql: str, data: str | bytes | None = None, user: str = "", **settings: str) -> str:
        """Return the server's answer to `sql` of `user`; `data` follows an INSERT. Raises AssertionError with its error."""
        body = data.encode() if isinstance(data, str) else data
        headers = {"X-ClickHouse-User": user or self.user, "X-ClickHouse-Key": self.password}
        answer = requests.post(self.url, params={"query": sql, **settings}, data=body or b"", headers=headers, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text
        return answer.text

    def kill(self) -> None:
        """End it at once, as a machine that fails does; who started it sweeps up."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def clickhouse_binary() -> str:
    """Path of the server's program, "" if it is not installed."""
    return shutil.which("clickhouse-server") or shutil.which("clickhouse-server", path="/usr/sbin:/usr/bin") or ""


@contextmanager
def running_clickhouse(folder: Path, more: str = "") -> Iterator[ClickHouseServer]:
    """A server of its own on a free port over `folder`; ended, with all its data, when the block is left. `more`: XML that
    its configuration gets besides.

    Root may run it on a folder of root's: the server only minds data that belong to somebody else.
    """
    port = _free_port()
    users = [("analyst", "default"), ("reader", "readonly"), ("setter", "settable")]
    users += [(name, name) for name in ("half", "skipping", "breaking")]
    declared = [USER.format(name=name, password=escape(PASSWORD), profile=profile) for name, profile in users]
    declared.append(USER.format(name="default", password="", profile="default"))
    config = folder / "config.xml"
    config.write_text(CONFIG.format(folder=escape(str(folder)), port=port, zone=ZONE, more=more), encoding="utf-8")
    (folder / "users.xml").write_text(USERS.format(users="".join(declared)), encoding="utf-8")
    with (folder / "output.log").open("wb") as output:
        process = subprocess.Popen(
            [*_dying_with_us(), clickhouse_binary(), f"--config-file={config}"],
            stdout=output,
            stderr=output,
            cwd=folder,
            start_new_session=True,  # Ctrl-C is for pytest, which then ends it
        )
    try:
        _wait_for(f"http://127.0.0.1:{port}", process, folder)
        yield ClickHouseServer(f"http://127.0.0.1:{port}", process.pid)
    finally:
        _end(process)


@contextmanager
def running_cluster(folder: Path, name: str = "app", shards: int = 2) -> Iterator[list[ClickHouseServer]]:
    """So many servers that know each other as the shards of a cluster of that name."""
    ports = [_free_port() for _ in range(shards)]
    known = "".join(SHARD.format(port=port) for port in ports)
    with ExitStack() as stack:
        servers = []
        for port in ports:
            place = folder / f"shard-{len(servers)}"
            place.mkdir()
            config = CLUSTER.format(port=port, name=name, shards=known)
            servers.append(stack.enter_context(running_clickhouse(place, config)))
        try:
            yield servers
        finally:
            for server in servers:
                server.kill()  # asked to end, each would wait ten seconds for the connections of the others


def _dying_with_us() -> list[str]:
    """A prefix of the command that ends it also when pytest is killed and ends nothing itself (util-linux has it)."""
    return ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str, process: subprocess.Popen[bytes], folder: Path, seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if requests.get(url, timeout=1).text == "Ok.\n":
                return
        except requests.RequestException:
            time.sleep(0.02)
    logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in folder.glob("*.log"))
    raise RuntimeError(f"ClickHouse did not start (exit code {process.poll()}):\n{logs}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def needs_clickhouse() -> None:
    needs(clickhouse_binary(), "ClickHouse is not installed: apt-get install clickhouse-server")


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    """A real ClickHouse, one for the whole test session: tables need names of their own, or a DROP."""
    needs_clickhouse()
    with running_clickhouse(tmp_path_factory.mktemp("clickhouse")) as server:
        yield server
