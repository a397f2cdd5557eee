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


def plural(count: int, noun: str, language: str) -> str:
    """Return the number and the noun in the form that goes with it: 1 минута, 2 минуты, 5 минут, 11 минут, 21 минута."""
    tens, ones = abs(count) // 10 % 10, abs(count) % 10
    if language != "ru":
        form = 0 if abs(count) == 1 else 1
    elif tens != 1 and ones == 1:
        form = 0
    else:
        form = 1 if tens != 1 and ones in (2, 3, 4) else 2
    return f"{count}\N{NO-BREAK SPACE}{NOUNS[language][noun][form]}"
