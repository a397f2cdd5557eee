"""The words of the pages in each language. The languages have the same keys with the same {fields} (a test compares them)."""

from __future__ import annotations

from alerting.reporting import words_en, words_ru

WORDS: dict[str, dict[str, str]] = {"en": words_en.WORDS, "ru": words_ru.WORDS}
