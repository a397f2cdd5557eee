"""Every word, in every language. The languages have the same keys, and each key takes the same {fields} (a test holds it)."""

from __future__ import annotations

WORDS: dict[str, dict[str, str]] = {
    "en": {
        # first lines
        "opened": "🔴 <b>{title} {off}</b> · {when}",
        "opened, value": "🔴 <b>{title} {off}</b>, {expected} · {when}",
        "worse": "🔴 <b>{title} {off}</b> (was {before}) · {when}",
        "still": "🟠 <b>{title} still {off}</b> after {lasted}",
        "still odd": "🟠 <b>{title} still not normal</b> after {lasted}",
        "still no data": "⚫ <b>{title}: still no data</b> after {lasted}",
        "resolved": "🟢 <b>{title} normal again</b> since {since} · lasted {lasted}",
        "resolved, start unknown": "🟢 <b>{title} normal again</b> since {since}",
        "no data": "⚫ <b>{title}: no data</b> since {since} · {buckets}, {lasted}",
        "data back": "{icon} <b>{title}: data is back</b> since {since} · gap {lasted}",
        "data back, start unknown": "{icon} <b>{title}: data is back</b> since {since}",
        "failed": "⚠️ <b>The {at} check failed</b>",
        "failed, last": "⚠️ <b>The {at} check failed</b> · nothing judged since {since}",
        "late": "⏱ <b>Late by {late}</b>: the {when} run was missed",
        "late, many": "⏱ <b>Late by {late}</b>: the runs of {when} were missed",
        # the lines below
        "expected": "expected {value}",
        "range": "Expected range {range}",
        "true zero": "a true zero: data arrived",
        "since": "since {since}",
        "since, so far": "Since {since} · {lasted} so far",
        "was off": "Off {when}",
        "was missing": "Missing {when} · {buckets}",
        "deepest": "deepest {change} ({at}: {facts})",
        "highest": "highest {change} ({at}: {facts})",
        "farthest": "farthest {at}: {facts}",
        "yesterday": "yesterday {value}",
        "week ago": "a week ago {value}",
        "others": "Normal: {titles}",
        "rule sudden": "Sudden: a jump from the last buckets that is not usual at this time",
        "rule sustained": "Held for hours: it is the level, not a jump",
        "rule level": "Far from the level of the last four weeks",
        "told late": "⏱ Told {late} late",
        "newest": "{table}: newest row {at}, {ago} ago",
        "newest, ahead": "{table}: newest row {at}, later than now",
        "rows, no value": "{table}: newest row {at}, but no value can be made of its rows",
        "table": "Table: {table}",
        "last value": "Last value {value} ({at}, {state})",
        "again with rows": "Judged again as soon as rows arrive",
        "again with a value": "Judged again as soon as there is a value",
        "reason": "Why: {reason}",
        "next try": "Next try {at}",
        "quiet": "Judged now: nothing unusual",
        "unusual": "Judged now, unusual: {titles}",
        "dashboard": "Dashboard",
        "run": "Run",
        # pieces
        "normal": "normal",
        "anomalous": "anomalous",
        "unknown": "too little history to judge",
        "missing": "no value",
        "moment": "less than a minute",
        "h": "h",
        "min": "min",
        "pp": "pp",
        "more": "{count} more",
        # the pictures
        "legend value": "value",
        "legend band": "expected range",
        "legend yesterday": "yesterday",
        "legend week": "a week ago",
        "legend odd": "anomalous",
        "legend gap": "no data",
    },
    "ru": {
        "opened": "🔴 <b>{title} {off}</b> · {when}",
        "opened, value": "🔴 <b>{title} {off}</b>, {expected} · {when}",
        "worse": "🔴 <b>{title} {off}</b> (было {before}) · {when}",
        "still": "🟠 <b>{title}: всё ещё {off}</b> спустя {lasted}",
        "still odd": "🟠 <b>{title}: всё ещё не в норме</b> спустя {lasted}",
        "still no data": "⚫ <b>{title}: всё ещё нет данных</b> спустя {lasted}",
        "resolved": "🟢 <b>{title} снова в норме</b> с {since} · длилось {lasted}",
        "resolved, start unknown": "🟢 <b>{title} снова в норме</b> с {since}",
        "no data": "⚫ <b>{title}: нет данных</b> с {since} · {buckets}, {lasted}",
        "data back": "{icon} <b>{title}: данные снова есть</b> с {since} · пропуск {lasted}",
        "data back, start unknown": "{icon} <b>{title}: данные снова есть</b> с {since}",
        "failed": "⚠️ <b>Сбой проверки {at}</b>",
        "failed, last": "⚠️ <b>Сбой проверки {at}</b> · с {since} ничего не проверено",
        "late": "⏱ <b>Опоздание {late}</b>: пропущен запуск {when}",
        "late, many": "⏱ <b>Опоздание {late}</b>: пропущены запуски {when}",
        "expected": "ожидалось {value}",
        "range": "Ожидаемый диапазон {range}",
        "true zero": "настоящий ноль: данные пришли",
        "since": "с {since}",
        "since, so far": "С {since} · уже {lasted}",
        "was off": "Не в норме {when}",
        "was missing": "Данных не было {when} · {buckets}",
        "deepest": "ниже всего {change} ({at}: {facts})",
        "highest": "выше всего {change} ({at}: {facts})",
        "farthest": "дальше всего {at}: {facts}",
        "yesterday": "вчера {value}",
        "week ago": "неделю назад {value}",
        "others": "В норме: {titles}",
        "rule sudden": "Резко: такой скачок от последних интервалов в это время необычен",
        "rule sustained": "Держится часами: дело в уровне, а не в скачке",
        "rule level": "Далеко от уровня последних четырёх недель",
        "told late": "⏱ Сообщение опоздало на {late}",
        "newest": "{table}: последняя строка {at}, {ago} назад",
        "newest, ahead": "{table}: последняя строка {at}, позже текущего времени",
        "rows, no value": "{table}: последняя строка {at}, но значение по ним посчитать не удалось",
        "table": "Таблица: {table}",
        "last value": "Последнее значение {value} ({at}, {state})",
        "again with rows": "Проверка продолжится, как только придут данные",
        "again with a value": "Проверка продолжится, как только появится значение",
        "reason": "Почему: {reason}",
        "next try": "Следующая попытка: {at}",
        "quiet": "Проверено сейчас: ничего необычного",
        "unusual": "Проверено сейчас, необычно: {titles}",
        "dashboard": "Дашборд",
        "run": "Запуск",
        "normal": "в норме",
        "anomalous": "не в норме",
        "unknown": "мало истории для оценки",
        "missing": "нет значения",
        "moment": "меньше минуты",
        "h": "ч",
        "min": "мин",
        "pp": "п. п.",
        "more": "ещё {count}",
        "legend value": "значение",
        "legend band": "ожидалось",
        "legend yesterday": "вчера",
        "legend week": "неделю назад",
        "legend odd": "не в норме",
        "legend gap": "нет данных",
    },
}

# The forms a counted noun takes: one, (few,) many.
NOUNS: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {"bucket": ("bucket", "buckets"), "day": ("day", "days"), "minute": ("minute", "minutes")},
    "ru": {
        "bucket": ("интервал", "интервала", "интервалов"),
        "day": ("день", "дня", "дней"),
        "minute": ("минута", "минуты", "минут"),
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
