"""Words in Russian. Titles come in the nominative: no phrase may need another case of them."""

from __future__ import annotations

WORDS = {
    # pieces of several texts
    "expected": "ожидалось {value}",
    "more": "ещё {count}",
    "and": "и",
    "empty": "(пусто)",
    "the rest": "остальное",
    "drill": "🧪 УЧЕБНАЯ ТРЕВОГА",
    # silences
    "all metrics": "все метрики",
    "until": "до {at}",
    "from": "с {at}",
    "weekly": "еженедельно {spans}",
    # units
    "moment": "меньше минуты",
    "h": "ч",
    "min": "мин",
    "pp": "п. п.",
    # labels
    "real": "подтверждена",
    "false alarm": "ложная тревога",
    "expected by people": "ожидаемо",
    "new trend": "новый уровень",
    # buttons
    "button take": "Беру в работу",
    "button snooze": "Отложить на 1 ч",
    "button mute": "Без звука до конца",
    "button real": "Подтверждаю",
    "button false": "Ложная",
    "button expected": "Ожидаемо",
    "button trend": "Новый уровень",
    # attributes
    "attribute os": "ОС",
    "attribute source": "источник",
    "attribute country": "страна",
    "attribute city": "город",
    "attribute gender": "пол",
    "attribute age": "возраст",
    "attribute age_band": "возраст",
    "attribute exp_group": "группа эксперимента",
    # pictures
    "legend value": "значение",
    "legend expected": "ожидалось",
    "legend band": "норма",
    "legend span": "инцидент",
    "legend odd": "не в норме",
    "legend gap": "нет данных",
    "panel": "{attributes}: ожидалось → сейчас",
    "panel, mix": "Доля от всего, {attributes}: обычно → сейчас",
}

NOUNS: dict[str, tuple[str, ...]] = {
    "bucket": ("интервал", "интервала", "интервалов"),
    "day": ("день", "дня", "дней"),
    "incident": ("инцидент", "инцидента", "инцидентов"),
    "message": ("сообщение", "сообщения", "сообщений"),
    "week": ("неделю", "недели", "недель"),  # in or during so many
    "occurrence": ("раз", "раза", "раз"),
}

WEEKDAYS = ("пн", "вт", "ср", "чт", "пт", "сб", "вс")
MONTHS = ("янв", "фев", "мар", "апр", "мая", "июн", "июл", "авг", "сен", "окт", "ноя", "дек")
