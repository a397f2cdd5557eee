"""The words of the pages in English and Russian, and those of the alert notebook, whose own language is English, in Russian."""

import re
from collections.abc import Mapping
from html import escape, unescape

from markupsafe import Markup

from alerting.messages.words import WEEKDAYS

_WORDS = {  # key -> English, Russian
    "title": ("Metrics", "Метрики"),
    "skip": ("Skip to the content", "К содержанию"),
    "all runs": ("All metrics", "Все метрики"),
    "newest": ("Newest check {at}", "Последняя проверка {at}"),
    "no runs": ("No check has run yet.", "Проверок ещё не было."),
    "none open": ("Nothing is open", "Открытых инцидентов нет"),
    "written": (
        "Written {at} ({zone}); all times are of that zone.",
        "Записано {at} ({zone}); время на странице — в этом поясе.",
    ),
    "stale": (
        "No check for {minutes} min: this page is written by every check. Is cron running?",
        "Проверок не было {minutes} мин: эту страницу пишет каждая проверка. Работает ли cron?",
    ),
    "no memory": (
        "The state database could not be read, so incidents are as they were when it last could: {why}",
        "База состояния не читается, инциденты показаны такими, какими были при последнем чтении: {why}",
    ),
    "strip": ("One row per day, one cell per 15 min", "Строка — день, клетка — 15 минут"),
    "calendar": ("Day by day", "День за днём"),
    "day": ("Day", "День"),
    "quarters": ("Checks", "Проверки"),
    "sum": ("In short", "Коротко"),
    "tally": ("{count} {state}", "{state} {count}"),
    "ok": ("normal", "норма"),
    "alert": ("alert", "алерт"),
    "failed": ("failed", "сбой"),
    "missing": ("missing", "пропуск"),
    "unknown": ("unknown", "неизвестно"),
    "rehearsal": ("rehearsal", "репетиция"),
    "thinned": ("no longer kept", "уже не хранится"),
    "legend ok": ("all data read, nothing anomalous", "все данные прочитаны, отклонений нет"),
    "legend alert": ("anomaly found or message sent", "было отклонение или сообщение о нём"),
    "legend failed": ("the check failed", "проверка не удалась"),
    "legend missing": ("no check, though cron was running", "проверки не было, хотя cron работал"),
    "incidents": ("Incidents", "Инциденты"),
    "no incidents": ("No incidents yet.", "Инцидентов пока не было."),
    "incident": ("Incident", "Инцидент"),
    "runs": ("Checks", "Проверки"),
    "its notebook": ("Notebook of this incident", "Ноутбук этого инцидента"),
    "studies": ("Study notebooks", "Исследования"),
    "count": ("checks: {count}", "проверок: {count}"),
    "filter": ("Filter", "Фильтр"),
    "metric": ("Metric", "Метрика"),
    "state": ("State", "Состояние"),
    "any state": ("any", "любое"),
    "with alert": ("anomalous or with an alert", "с отклонением или алертом"),
    "only failed": ("failed checks", "сбои проверок"),
    "only quiet": ("quiet checks", "тихие проверки"),
    "only open": ("open now", "открытые сейчас"),
    "from": ("From", "С даты"),
    "until": ("Until", "По дату"),
    "reset": ("Show all", "Показать всё"),
    "shown": (
        "Shown: metrics {metrics}, incidents {incidents}, checks {runs}",
        "Показано: метрик {metrics}, инцидентов {incidents}, проверок {runs}",
    ),
    "time": ("Time", "Время"),
    "off": ("Anomalous", "Отклонились"),
    "said": ("Result", "Итог"),
    "took": ("Took", "Длительность"),
    "notebook": ("notebook", "ноутбук"),
    "seconds": ("{count} s", "{count} с"),
    # metrics as they are now
    "open now": ("Open incidents: {count}", "Открыто инцидентов: {count}"),
    "metrics now": ("Metrics now", "Метрики сейчас"),
    "ended incidents": ("Ended incidents", "Завершённые инциденты"),
    "search": ("Search", "Поиск"),
    "nothing fits": ("Nothing here fits the filter.", "Под фильтр здесь ничего не подходит."),
    "segments of": ("{metric}: segments", "{metric}: срезы"),
    "is anomalous": ("anomalous", "отклонение"),
    "is missing": ("no data", "нет данных"),
    "is recovering": ("recovering", "восстанавливается"),
    "is normal": ("normal", "норма"),
    "is unknown": ("unknown", "неизвестно"),
    "is not judged": ("not checked yet", "ещё не проверена"),
    "day of": ("24 h", "24 ч"),
    "last alert": ("Last alert", "Последний алерт"),
    "next check": ("Next check", "Следующая проверка"),
    "over a day": ("over a day ago", "больше суток назад"),
    "silent until": ("silent until {at}", "без сообщений до {at}"),
    "silent from": ("silent from {at}", "без сообщений с {at}"),
    "silent now": ("silent", "без сообщений"),
    "silent weekly": ("silent {weekly}", "без сообщений {weekly}"),
    "sparkline": ("24 h with the expected range; anomalous: {count}", "24 ч с ожидаемым диапазоном; отклонений: {count}"),
    # the page of a metric
    "four weeks": ("Last four weeks", "Последние четыре недели"),
    "chart of": (
        "{metric}: value and expected range of the last four weeks; incidents: {count}",
        "{metric}: значение и ожидаемый диапазон за последние четыре недели; инцидентов: {count}",
    ),
    "band": ("expected range", "ожидаемый диапазон"),
    "bucket": ("Time", "Время"),
    "odd buckets": ("Anomalous or without data, four weeks", "С отклонением или без данных за четыре недели"),
    "newest buckets": ("Newest values", "Последние значения"),
    "entry": ("Entry in alerting/metrics.py", "Строка в alerting/metrics.py"),
    "its checks": ("Checks and incidents of this metric", "Проверки и инциденты этой метрики"),
    "finds": ("Outside the range", "За пределами диапазона"),
    "finds words": (
        "a drop of {drop} or a rise of {rise} (median of four weeks)",
        "падение на {drop} или рост на {rise} (медиана за четыре недели)",
    ),
    "no drop": ("100 % or more", "100 % и больше"),
    # an incident
    "going on": ("going on for {lasted}", "длится {lasted}"),
    "lasted": ("lasted {lasted}", "длился {lasted}"),
    "since": ("Since", "Начало"),
    "ended": ("Recovered", "Снова в норме"),
    "duration": ("Duration", "Длительность"),
    "cause": ("Cause", "Причина"),
    "taken": ("Taken by", "Занимается"),
    "label": ("Label", "Оценка"),
    "labelled": ("{label}, by {who}", "{label}, {who}"),
    "silent": ("Silence", "Без сообщений"),
    "muted": ("until it is resolved", "до конца инцидента"),
    "until at": ("until {at}", "до {at}"),
    "corrected": ("withdrawn: late data made it normal", "отменён: с опоздавшими данными всё в норме"),
    "unchecked": ("closed: not checked any more", "закрыт: больше не проверяется"),
    "nobody": ("nobody yet", "пока никто"),
    "no label": ("none yet", "пока нет"),
    "metrics": ("Metrics", "Метрики"),
    "gap": ("no data", "нет данных"),
    "still": ("still anomalous", "ещё не в норме"),
    "worst": ("Largest deviation", "Макс. отклонение"),
    "value": ("Value", "Значение"),
    "usual": ("Expected", "Ожидалось"),
    "change": ("Change", "Изменение"),
    "slices": ("Segments", "Срезы"),
    "slice": ("Segment", "Срез"),
    "explains": ("explains {share} of it", "объясняет {share} изменения"),
    "explains all": ("explains the whole change", "объясняет всё изменение"),
    "rest": ("the rest", "остальные"),
    "new": ("new", "новое"),
    "gone": ("gone", "пропало"),
    "group": ("out of balance", "нарушен баланс"),
    "alike": ("all segments changed alike", "все срезы изменились одинаково"),
    "unclear": ("no segment stands out", "ни один срез не выделяется"),
    "no cause": ("not known", "неизвестна"),
    "thread": ("Messages in the chat", "Сообщения в чате"),
    "no thread": ("No message was sent about it.", "Сообщений о нём не было."),
    "opening": ("Opening message, as it reads now", "Первое сообщение в нынешнем виде"),
    "first": ("As it was first sent", "Как было отправлено сначала"),
    "edited": ("edited {at} (edits: {count})", "изменено {at} (правок: {count})"),
    "reply": ("Reply", "Ответ"),
    "picture": ("Picture", "Картинка"),
    "picture of": ("Picture: {first}", "Картинка: {first}"),
    "picture elsewhere": ("The picture is in the check's record.", "Картинка — в записи проверки."),
    "buttons": ("Buttons under it", "Кнопки под ним"),
    "state sent": ("sent {at}", "отправлено {at}"),
    "state waiting": ("waits since {at}", "ждёт с {at}"),
    "state refused": ("refused {at}: {why}", "отклонено {at}: {why}"),
    "state held": ("waits for the end of quiet hours", "ждёт конца тихих часов"),
    "state withdrawn": ("withdrawn {at}", "отозвано {at}"),
    "state folded": ("sent in a digest {at}", "вошло в сводку {at}"),
    "its runs": ("Checks that reported it", "Проверки, которые о нём сообщили"),
    "run": ("check of {at}", "проверка {at}"),
    "address": ("Its first check", "Его первая проверка"),
    # a run
    "check of": ("Check of {at}", "Проверка {at}"),
    "rehearsal of": ("Rehearsal of {at}", "Репетиция {at}"),
    "quiet": ("nothing anomalous", "отклонений нет"),
    "nothing new": ("no new message; still open: {names}", "новых сообщений нет; открыто: {names}"),
    "its messages": ("Messages", "Сообщения"),
    "still open": ("Open incidents", "Открытые инциденты"),
    "messages sent": ("sent: {count}", "отправлено: {count}"),
    "stood at": ("stood at {at}", "на момент {at}"),
    "code": ("Code", "Код"),
    "nothing": ("none", "нет"),
    "table of": ("Table: {heading}", "Таблица: {heading}"),
    "picture in": ("Picture: {heading}", "Картинка: {heading}"),
    "more": ("Details", "Подробности"),
    "start": ("Beginning", "Начало"),
}
WORDS = {language: {key: words[n] for key, words in _WORDS.items()} for n, language in enumerate(("en", "ru"))}

# The alert notebook

SECTIONS = {  # tag of a heading's cell -> the heading and the words below it, in Russian
    "about": ("Проверка метрик", ""),
    "start": ("Начало", "Момент запуска и подключения."),
    "data": ("Данные", "Последние прочитанные значения, местное время; «нет» — в интервале нет строк."),
    "feedback": ("Ответы", "Кнопки, нажатые в чате после прошлого запуска."),
    "due": ("Интервалы", "Все закрытые интервалы после последнего проверенного и те, которые изменились из-за опоздавших строк."),
    "open": ("Открытые инциденты", "Какие они сейчас: главная метрика, её последнее отклонение, важность, другие метрики."),
    "verdicts": (
        "Оценки",
        "Последний интервал каждой метрики и её диапазон; о каком интервале сообщение. Оценка за пределами ±1 — вне диапазона.",
    ),
    "chart": (
        "График",
        "Последний день (при длинном шаге 30 интервалов), ожидаемый диапазон и значения вне его. "
        "Точкой отмечен интервал, о котором сообщение.",
    ),
    "changes": ("Изменения", "События этого запуска и метрики с открытым отклонением."),
    "causes": (
        "Причины",
        "Срезы, которые объясняют отклонение, каждый в сравнении со своим прошлым. Долгий поиск придёт ответом на сообщение.",
    ),
    "messages": ("Сообщения", ""),
    "delivery": (
        "Доставка",
        "Оценки и сообщения сохраняются одной транзакцией, затем сообщения отправляются; отправленным считается только принятое.",
    ),
    "slow": ("Медленные таблицы", "Те же шаги для таблиц, которые читались дольше других, после отправки остального."),
    "outcome": ("Результат", "Сбой, если данные или доставка неполны."),
}
_PRINTED, _WOULD_BE_SENT = "printed, no chat is configured", "would have been sent"
_TEXTS = {
    # heads of tables
    "who": "кто", "pressed": "нажал(а)", "times": "раз", "incident": "инцидент", "answered": "ответ",
    "first bucket": "первый интервал", "last bucket": "последний интервал", "buckets": "интервалов", "note": "примечание",
    "now": "сейчас", "bucket": "интервал", "severity": "важность", "since": "с", "also": "также",
    "status": "состояние", "value": "значение", "low": "нижняя граница", "expected": "ожидалось", "high": "верхняя граница",
    "score": "оценка", "message about": "сообщение об интервале", "read s": "чтение, с", "judged s": "оценка, с", "why": "почему",
    "metric": "метрика", "what": "что", "answer": "ответ", "slice": "срез", "share": "доля", "message": "сообщение",
    "state": "состояние", "nan": "нет",
    # cells
    "normal": "норма", "anomalous": "отклонение", "missing": "нет данных", "no data": "нет данных", "unknown": "неизвестно",
    "critical": "критично", "warning": "предупреждение", "first look": "первая проверка",
    "nothing new: judged already": "нового нет: уже проверено", "its table is slow: see below": "таблица медленная: см. ниже",
    "pending": "начинается", "firing": "отклонение", "recovering": "восстанавливается", "ok": "норма",
    "carried": "найдена", "watched": "срез под наблюдением", "alike": "всё одинаково", "unclear": "не ясна", "failed": "сбой",
    "still asked": "ещё ищется", "it follows as an edit": "придёт правкой сообщения",
    "sent": "отправлено", "kept": "ждёт", "waiting": "ждёт", "refused": "отклонено", _PRINTED: "напечатано: чат не настроен",
    _WOULD_BE_SENT: "было бы отправлено",
    "take": "беру", "snooze": "отложить", "mute": "без звука", "real": "подтверждено", "false": "ложная тревога",
    "trend": "новый уровень",
    "event: opened": "событие: открыт", "event: worsened": "событие: хуже", "event: reminder": "событие: напоминание",
    "event: resolved": "событие: завершён", "event: no data": "событие: нет данных",
    "event: data back": "событие: данные вернулись",
    "event: corrected": "событие: отменён", "event: cause": "событие: причина", "event: taken": "событие: взят в работу",
    # sentences
    "Nothing to say: silence means health.": "Сообщать нечего: всё в порядке.",
    # a failed run
    "This run failed": "Сбой этого запуска", "What": "Что", "Where": "Где", "What to do": "Что делать", "More": "Подробнее",
    "To the cell": "К ячейке", "The run stopped in this cell:": "Запуск остановился в этой ячейке:",
    "not executed: the run had stopped before this cell": "не выполнялась: запуск остановился раньше",
}  # fmt: skip
_FORMS = {  # texts with a part that varies
    r"late rows: judged again from (.*)": r"опоздавшие строки: проверено заново с \1",
    r"(\d+) more": r"ещё \1",
    r"(\d+) metrics": r"метрик: \1",
    r"Still being read: (.*)\. Their verdicts and messages follow in Slow tables\.": (
        r"Ещё читаются: \1. Их оценки и сообщения — в разделе «Медленные таблицы»."
    ),
}
_OUTCOME = r"all seen; (\d+) messages? ([^;]*)"
_DAYS = dict(zip(WEEKDAYS["en"], WEEKDAYS["ru"], strict=True))
_DATE = rf"\b({'|'.join(_DAYS)}) (?=\d{{4}}-\d\d-\d\d)"
_MESSAGE = re.compile(r'(<div class="message">.*?</div>)', re.DOTALL)  # its text is in the language already, but for this:
_EDIT = ("<i>edits the opening message:</i>", "<i>изменяет первое сообщение:</i>")
_TEXT = re.compile(r"(?<=>)[^<>]+(?=<)")


def outcome_words(said: str, language: str) -> str:
    """Return the outcome of a run in the language. Only its first sentence is translated; notes after it stay unchanged."""
    if language != "ru":
        return said
    return re.sub(_OUTCOME, lambda it: f"всё прочитано; сообщений — {it[1]}: {_TEXTS.get(it[2], it[2])}", said)


def translated(html: Markup, language: str, titles: Mapping[str, str]) -> Markup:
    """Return sanitized HTML in the language, with titles for metric names (`titles`). Messages in it stay unchanged."""

    def replace(match: re.Match[str]) -> str:
        text = unescape(match[0].strip())
        words = text_words(text, language, titles)
        return match[0] if words == text else match[0].replace(match[0].strip(), escape(words))

    parts = _MESSAGE.split(f"<i>{html}</i>")
    parts[::2] = [_TEXT.sub(replace, part) for part in parts[::2]]
    html = Markup("".join(parts)[3:-4])
    return html.replace(_EDIT[0], Markup(_EDIT[1])) if language == "ru" else html


def text_words(text: str, language: str, titles: Mapping[str, str]) -> str:
    """Return a text of the notebook with titles in place of metric names and, in Russian, translated if it is known."""
    names = [part.partition(" ") for part in text.split(", ")]
    if all(name in titles for name, _, _ in names):
        return ", ".join(titles[name] + space + rest for name, space, rest in names)
    if language != "ru":
        return text
    if text in _TEXTS:
        return _TEXTS[text]
    for form, words in _FORMS.items():
        if re.fullmatch(form, text):
            text = re.sub(form, words, text)
    return re.sub(_DATE, lambda it: f"{_DAYS[it[1]]} ", text)
