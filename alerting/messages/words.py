"""Every word, in every language. The languages have the same keys, and each key takes the same {fields} (a test holds it)."""

from __future__ import annotations

from alerting.messages import words_en, words_ru

WORDS: dict[str, dict[str, str]] = {"en": words_en.WORDS, "ru": words_ru.WORDS}
NOUNS: dict[str, dict[str, tuple[str, ...]]] = {"en": words_en.NOUNS, "ru": words_ru.NOUNS}  # forms: one, (few,) many
WEEKDAYS = {"en": words_en.WEEKDAYS, "ru": words_ru.WEEKDAYS}
MONTHS = {"en": words_en.MONTHS, "ru": words_ru.MONTHS}


def plural(count: int, noun: str, language: str) -> str:
    """The number and the noun in the form that goes with it: 1 минута, 2 минуты, 5 минут, 11 минут, 21 минута."""
    forms = NOUNS[language][noun]
    return f"{count}\N{NO-BREAK SPACE}{forms[_form(abs(count), language)]}"


def _form(count: int, language: str) -> int:
    if language != "ru":
        return 0 if count == 1 else 1
    if count % 10 == 1 and count % 100 != 11:
        return 0
    return 1 if count % 10 in (2, 3, 4) and count % 100 not in (12, 13, 14) else 2
