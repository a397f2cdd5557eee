"""The words of the pages in each language. All languages have the same keys and the same {fields}; a test compares them."""

from __future__ import annotations

from alerting.reporting import words_en, words_ru

WORDS: dict[str, dict[str, str]] = {"en": words_en.WORDS, "ru": words_ru.WORDS}
