"""Redact the secrets of the settings in texts that are written. This is a second protection: no cell prints a secret."""

from __future__ import annotations

import base64
import html
import json
import re
from dataclasses import fields
from urllib.parse import quote

from alerting.settings import Settings

MARK = "«secret»"
MIN_LENGTH = 6  # a shorter secret may be part of an ordinary word


def redact(text: str, settings: Settings) -> tuple[str, int]:
    """Return the text with MARK in place of each secret (plain or encoded), and the number of replacements."""
    count = 0
    for spelling in _spellings(settings):
        count += text.count(spelling)
        text = text.replace(spelling, MARK)
    return text, count


def _spellings(settings: Settings) -> list[str]:
    """Return every secret in each encoding that a text may contain, the longest first."""
    secrets = [str(vars(settings)[f.name]) for f in fields(settings) if f.metadata["secret"]]
    secrets += [secret.partition(":")[2] for secret in secrets]  # only the second half of a bot token is secret
    # For an unreachable address, libraries print the path of the URL alone.
    secrets += [found[1] for secret in secrets if (found := re.match(r"https?://[^/?#]+(.*)", secret)) and found[1]]
    if settings.clickhouse_password:  # the encoding in the header of a request
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
