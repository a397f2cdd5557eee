"""The words of the alert notebook in the language of a page. The notebook itself is written, and shows its tables, in English."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape, unescape

from markupsafe import Markup

from alerting.messages.words import WEEKDAYS

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
    "chart": ("График", "Два дня, ожидаемый диапазон и значения вне его. Точкой отмечен интервал, о котором сообщение."),
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
    "still asked": "ещё ищется", "it follows as a reply": "придёт ответом",
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
_FORMS = {  # whole texts with a part that varies
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


def heading_words(tags: Sequence[str], language: str) -> tuple[str, str] | None:
    """Return the heading and the words of a cell with such a tag; None where the notebook's own are to be shown."""
    return next((SECTIONS[tag] for tag in tags if tag in SECTIONS), None) if language == "ru" else None


def outcome_words(said: str, language: str) -> str:
    """Return the outcome of a run; what follows its first sentence are notes, which stay as they are."""
    if language != "ru":
        return said
    return re.sub(_OUTCOME, lambda it: f"всё прочитано; сообщений — {it[1]}: {_TEXTS.get(it[2], it[2])}", said)


def translated(html: Markup, language: str, titles: Mapping[str, str]) -> Markup:
    """Return sanitized HTML with each text that is one of the notebook's, or names metrics, in the words of the page.

    Messages stay as they are. `titles`: name of a metric -> its title.
    """

    def replace(match: re.Match[str]) -> str:
        text = unescape(match[0].strip())
        words = text_words(text, language, titles)
        return match[0] if words == text else match[0].replace(match[0].strip(), escape(words))

    parts = _MESSAGE.split(f"<i>{html}</i>")
    parts[::2] = [_TEXT.sub(replace, part) for part in parts[::2]]
    html = Markup("".join(parts)[3:-4])
    return html.replace(_EDIT[0], Markup(_EDIT[1])) if language == "ru" else html


def text_words(text: str, language: str, titles: Mapping[str, str]) -> str:
    """Return a text of the notebook in the words of the page: metrics by their titles and, in Russian, all that is known."""
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
