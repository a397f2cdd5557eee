"""Words that messages share with pages and pictures, in every language. Sentences of one message are in its template.

The languages have the same keys, and each key takes the same {fields}; a test checks it.
"""

from __future__ import annotations

from alerting.messages import words_en, words_ru
from alerting.model.verdict import Label

WORDS: dict[str, dict[str, str]] = {"en": words_en.WORDS, "ru": words_ru.WORDS}
NOUNS: dict[str, dict[str, tuple[str, ...]]] = {"en": words_en.NOUNS, "ru": words_ru.NOUNS}  # forms: one, (few,) many
WEEKDAYS = {"en": words_en.WEEKDAYS, "ru": words_ru.WEEKDAYS}
MONTHS = {"en": words_en.MONTHS, "ru": words_ru.MONTHS}
LABEL_WORDS = {  # keys of WORDS
    Label.REAL: "real",
    Label.FALSE_ALARM: "false alarm",
    Label.EXPECTED: "expected by people",
    Label.NEW_TREND: "new trend",
}
