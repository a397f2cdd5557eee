"""A sign of life to a watchdog elsewhere, which complains when it stays away.

Its address is a secret: whoever knows it can feign a life.
"""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit


def ping(url: str, timeout: float = 10.0) -> str:
    """One GET. "" when it was answered with 2xx, otherwise one line saying what came. Never raises, never tells the URL."""
    from alerting.http_client import HttpClient, HttpFailure  # 0.1 s that most runs do not need

    answer = HttpClient(timeout, max_body=0).request("GET", url)  # what the body says does not matter
    if isinstance(answer, HttpFailure):
        return f"heartbeat: no answer from {_host(url)} ({answer.error}): check ALERTING_HEARTBEAT_URL"
    if answer.ok:
        return ""
    redirected = 300 <= answer.status < 400
    advice = "set ALERTING_HEARTBEAT_URL to where it redirects" if redirected else "check ALERTING_HEARTBEAT_URL"
    return f"heartbeat: {_host(url)} answered {answer.status}: {advice}"


def _host(url: str) -> str:
    with suppress(ValueError):
        return urlsplit(url).hostname or "nowhere"
    return "nowhere"
