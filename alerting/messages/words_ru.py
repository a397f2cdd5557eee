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
    "real": "по делу",
    "false alarm": "ложная тревога",
    "expected by people": "ожидаемо",
    "new trend": "новый уровень",
    # buttons
    "button take": "Беру",
    "button snooze": "Тихо 1 ч",
    "button mute": "До конца",
    "button real": "По делу",
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
    "attribute exp_group": "exp_group",
    # pictures
    "legend value": "значение",
    "legend band": "ожидалось",
    "legend yesterday": "вчера",
    "legend week": "неделю назад",
    "legend odd": "не в норме",
    "legend gap": "нет данных",
    "panel": "Отклонение от ожидаемого: {attributes}",
    "panel, mix": "Изменение доли от всего: {attributes}",
}

NOUNS: dict[str, tuple[str, ...]] = {
    "bucket": ("интервал", "интервала", "интервалов"),
    "day": ("день", "дня", "дней"),
    "incident": ("инцидент", "инцидента", "инцидентов"),
    "message": ("сообщение", "сообщения", "сообщений"),
    "times": ("раз", "раза", "раз"),
    "week": ("неделю", "недели", "недель"),  # in or during so many
    "occurrence": ("раз", "раза", "раз"),
    "monday": ("понедельника", "понедельников", "понедельников"),  # of so many, after "ниже всех"
    "tuesday": ("вторника", "вторников", "вторников"),
    "wednesday": ("среды", "сред", "сред"),
    "thursday": ("четверга", "четвергов", "четвергов"),
    "friday": ("пятницы", "пятниц", "пятниц"),
    "saturday": ("субботы", "суббот", "суббот"),
    "sunday": ("воскресенья", "воскресений", "воскресений"),
}

WEEKDAYS = ("пн", "вт", "ср", "чт", "пт", "сб", "вс")
MONTHS = ("янв", "фев", "мар", "апр", "мая", "июн", "июл", "авг", "сен", "окт", "ноя", "дек")
