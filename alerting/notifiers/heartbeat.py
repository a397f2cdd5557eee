"""A sign of life to a watchdog elsewhere, which complains when it stays away.

Its address is a secret: whoever knows it can feign a life.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

CONNECT_TIMEOUT = 5.0  # seconds


def ping(url: str, timeout: float = 10.0) -> str:
    """One GET. "" when it was answered with 2xx, otherwise one line saying what came. Never raises, never tells the URL."""
    import requests  # 0.1 s that most runs do not need
    from urllib3.exceptions import HTTPError

    wait = (min(CONNECT_TIMEOUT, timeout), timeout)
    try:
        with unlogged(), requests.get(url, timeout=wait, allow_redirects=False, stream=True) as response:
            code = response.status_code  # what the body says does not matter, and may be long
    except (OSError, ValueError, HTTPError) as error:  # RequestException is an OSError
        return f"heartbeat: no answer from {_host(url)} ({type(error).__name__}): check ALERTING_HEARTBEAT_URL"
    if 200 <= code < 300:
        return ""
    advice = "set ALERTING_HEARTBEAT_URL to where it redirects" if 300 <= code < 400 else "check ALERTING_HEARTBEAT_URL"
    return f"heartbeat: {_host(url)} answered {code}: {advice}"


def _host(url: str) -> str:
    with suppress(ValueError):
        return urlsplit(url).hostname or "nowhere"
    return "nowhere"


@contextmanager
def unlogged() -> Iterator[None]:
    """The HTTP library logs paths at DEBUG, and whole URLs where it warns: not those of this thread."""
    logger, here = logging.getLogger("urllib3.connectionpool"), threading.get_ident()

    def of_others(record: logging.LogRecord) -> bool:
        return record.thread != here

    logger.addFilter(of_others)
    try:
        yield
    finally:
        logger.removeFilter(of_others)
