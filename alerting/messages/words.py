"""Words that messages share with pages and pictures, in every language. The sentences of a message are in its template.

All languages have the same keys, and a key has the same {fields} in each; a test checks this. Russian titles are in the
nominative case: no phrase may need another case of a title.
"""

from __future__ import annotations

from alerting.model.verdict import Label

LABEL_WORDS = {  # keys of WORDS
    Label.REAL: "real",
    Label.FALSE_ALARM: "false alarm",
    Label.EXPECTED: "expected by people",
    Label.NEW_TREND: "new trend",
}

WORDS: dict[str, dict[str, str]] = {
    "en": {
        # pieces of several texts
        "expected": "expected {value}",
        "more": "{count} more",
        "and": "and",
        "empty": "(empty)",
        "the rest": "the rest",
        "drill": "🧪 DRILL",
        # presses that change nothing
        "incident unknown": "this incident is not known any more",
        "incident over": "this incident is over: nothing was changed",
        # silences
        "all metrics": "all metrics",
        "until": "until {at}",
        "from": "from {at}",
        "weekly": "every week {spans}",
        # units
        "moment": "less than a minute",
        "h": "h",
        "min": "min",
        "pp": "pp",
        # labels
        "real": "real",
        "false alarm": "false alarm",
        "expected by people": "expected",
        "new trend": "new level",
        # buttons
        "button take": "I'm on it",
        "button snooze": "Snooze 1 h",
        "button mute": "Mute",
        "button real": "Real",
        "button false": "False alarm",
        "button expected": "Expected",
        "button trend": "New level",
        # attributes
        "attribute os": "os",
        "attribute source": "source",
        "attribute country": "country",
        "attribute city": "city",
        "attribute gender": "gender",
        "attribute age": "age",
        "attribute age_band": "age",
        "attribute exp_group": "exp_group",
        # pictures
        "legend value": "value",
        "legend expected": "expected",
        "legend band": "normal range",
        "legend span": "incident",
        "legend odd": "anomalous",
        "legend gap": "no data",
        "panel": "By {attributes}: expected → now",
        "panel, mix": "Share of all by {attributes}: usual → now",
    },
    "ru": {
        # pieces of several texts
        "expected": "ожидалось {value}",
        "more": "ещё {count}",
        "and": "и",
        "empty": "(пусто)",
        "the rest": "остальное",
        "drill": "🧪 УЧЕБНАЯ ТРЕВОГА",
        # presses that change nothing
        "incident unknown": "этот инцидент уже неизвестен",
        "incident over": "этот инцидент уже завершён, ничего не изменено",
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
    },
}

NOUNS: dict[str, dict[str, tuple[str, ...]]] = {  # forms: one, (few,) many
    "en": {
        "bucket": ("bucket", "buckets"),
        "day": ("day", "days"),
        "incident": ("incident", "incidents"),
        "message": ("message", "messages"),
        "week": ("week", "weeks"),
        "occurrence": ("time", "times"),
    },
    "ru": {
        "bucket": ("интервал", "интервала", "интервалов"),
        "day": ("день", "дня", "дней"),
        "incident": ("инцидент", "инцидента", "инцидентов"),
        "message": ("сообщение", "сообщения", "сообщений"),
        "week": ("неделю", "недели", "недель"),  # in or during so many
        "occurrence": ("раз", "раза", "раз"),
    },
}

WEEKDAYS = {
    "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
    "ru": ("пн", "вт", "ср", "чт", "пт", "сб", "вс"),
}
MONTHS = {
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
    "ru": ("янв", "фев", "мар", "апр", "мая", "июн", "июл", "авг", "сен", "окт", "ноя", "дек"),
}
