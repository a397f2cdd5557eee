"""Real servers for tests: ClickHouse, an HTTP server, Telegram's Bot API and a mail server, all on this machine.

Each module has a fixture (`clickhouse`, `web`, `bot`, `mail`); `python -m tests.servers` starts a server as a process.
"""

from tests.servers.botapi import BotApi
from tests.servers.broken import BrokenServer
from tests.servers.clickhouse import (
    PASSWORD,
    ZONE,
    ClickHouseServer,
    clickhouse_binary,
    needs_clickhouse,
    running_clickhouse,
    running_cluster,
)
from tests.servers.http import Asked, Reply, Web, says
from tests.servers.mail import MailServer
from tests.servers.peer import DRIPS, FLOODS, Peer
from tests.servers.required import needs, needs_make
from tests.servers.telegram_chat import ANNA, CHAT, OTHER_POLL, TOKEN, Refused, read_html, units

__all__ = [
    "ANNA",
    "CHAT",
    "DRIPS",
    "FLOODS",
    "OTHER_POLL",
    "PASSWORD",
    "TOKEN",
    "ZONE",
    "Asked",
    "BotApi",
    "BrokenServer",
    "ClickHouseServer",
    "MailServer",
    "Peer",
    "Refused",
    "Reply",
    "Web",
    "clickhouse_binary",
    "needs",
    "needs_clickhouse",
    "needs_make",
    "read_html",
    "running_clickhouse",
    "running_cluster",
    "says",
    "units",
]
