"""Replace secrets in everything that is written: the second line of defence, behind cells that never show one."""

from __future__ import annotations

import base64
import html
import json
import re
from dataclasses import fields
from urllib.parse import quote

from alerting.settings import Settings

MARK = "«secret»"
MIN_LENGTH = 6  # a shorter secret would be found in innocent words


def redact(text: str, settings: Settings) -> tuple[str, int]:
    """Return the text with MARK in place of each secret, in all spellings that a secret takes, and their number."""
    count = 0
    for spelling in _spellings(settings):
        count += text.count(spelling)
        text = text.replace(spelling, MARK)
    return text, count


def _spellings(settings: Settings) -> list[str]:
    """All spellings of all secrets, the longest first."""
    secrets = [str(vars(settings)[f.name]) for f in fields(settings) if f.metadata["secret"]]
    secrets += [secret.partition(":")[2] for secret in secrets]  # the second half of a bot token is the secret one
    # Libraries report an address that cannot be reached by its path.
    secrets += [found[1] for secret in secrets if (found := re.match(r"https?://[^/?#]+(.*)", secret)) and found[1]]
    if settings.clickhouse_password:  # as in the header of a request
        secrets.append(base64.b64encode(f"{settings.clickhouse_user}:{settings.clickhouse_password}".encode()).decode())

    spellings = set()
    for secret in secrets:
        if len(secret) >= MIN_LENGTH:
            for text in (
                secret,
                html.escape(secret),
                html.escape(secret, quote=False),
                quote(secret),
                quote(secret, safe=""),
                repr(secret)[1:-1],
            ):
                spellings |= {text, json.dumps(text, ensure_ascii=False)[1:-1], json.dumps(text)[1:-1]}
    return sorted(spellings, key=len, reverse=True)
