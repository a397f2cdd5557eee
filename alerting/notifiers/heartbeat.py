"""A ping to a watchdog service, which raises an alarm when the pings stop.

Its URL is a secret: anyone who has it can fake a heartbeat.
"""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit


def ping(url: str, timeout: float = 10.0) -> str:
    """Send one GET. Return "" for an answer of 2xx, otherwise a line about the failure, without the URL. Never raises."""
    from alerting.http_client import HttpClient, HttpFailure  # 0.1 s that most runs do not need

    host = "nowhere"
    with suppress(ValueError):
        host = urlsplit(url).hostname or host
    answer = HttpClient(timeout, max_body=0).request("GET", url)  # the body is of no use
    if isinstance(answer, HttpFailure):
        return f"heartbeat: no answer from {host} ({answer.error}): check ALERTING_HEARTBEAT_URL"
    if answer.ok:
        return ""
    redirected = 300 <= answer.status < 400
    advice = "set ALERTING_HEARTBEAT_URL to where it redirects" if redirected else "check ALERTING_HEARTBEAT_URL"
    return f"heartbeat: {host} answered {answer.status}: {advice}"
