"""Every word of the pages that is ours. The languages have the same keys, each with the same {fields} (a test holds it)."""

from __future__ import annotations

from alerting.pages import english, russian

WORDS: dict[str, dict[str, str]] = {"en": english.WORDS, "ru": russian.WORDS}
