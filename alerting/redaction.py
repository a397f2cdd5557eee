"""Take secrets out of whatever is written: the second line of defence, behind cells that never show one."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from urllib.parse import quote

from alerting.settings import Settings

MARK = "«secret»"
GUESSABLE = 6  # a secret shorter than this would be found in innocent words


def redact(text: str, settings: Settings) -> tuple[str, int]:
    """Return the text without any secret, in the spellings that a secret takes, and how many there were."""
    count = 0
    for spelling in _spellings(settings):
        count += text.count(spelling)
        text = text.replace(spelling, MARK)
    return text, count


def _spellings(settings: Settings) -> list[str]:
    secrets = [str(vars(settings)[f.name]) for f in fields(settings) if f.metadata["secret"]]
    secrets += [secret.partition(":")[2] for secret in secrets]  # of a bot token, the half that is secret
    secrets += [path for secret in secrets if (path := _path(secret))]  # as a library tells an address that it cannot reach
    secrets += [_basic(f"{settings.clickhouse_user}:{settings.clickhouse_password}")] if settings.clickhouse_password else []
    found = {spelling for secret in secrets if len(secret) >= GUESSABLE for spelling in _spelled(secret)}
    return sorted(found, key=len, reverse=True)


def _spelled(secret: str) -> Iterator[str]:
    in_html = html.escape(secret), html.escape(secret, quote=False)
    for text in (secret, *in_html, quote(secret), quote(secret, safe=""), repr(secret)[1:-1]):
        yield from (text, json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1])


def _path(secret: str) -> str:
    """What follows the host of a URL."""
    found = re.match(r"https?://[^/?#]+(.*)", secret)
    return found[1] if found else ""


def _basic(pair: str) -> str:
    """As in the header of a request."""
    return base64.b64encode(pair.encode()).decode()
