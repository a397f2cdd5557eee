"""The texts: golden files for every kind and language, tables for numbers, plurals and times, laws for escaping and length.

After a change of words: GOLDEN_UPDATE=1 make test, then read the difference as a person woken at 3 a.m.
"""

from __future__ import annotations

import os
import re
import string
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from alerting import messages
from alerting.messages.numbers import Numbers, change, written
from alerting.messages.times import Clock, duration
from alerting.messages.words import MONTHS, NOUNS, WEEKDAYS, WORDS, plural
from alerting.model import Episode, Event, Kind, Metric, State, Status, Verdict

GOLDEN = Path(__file__).parent / "golden"
NAN = float("nan")
MONDAY = datetime(2026, 10, 12, tzinfo=UTC)  # times below are Moscow's, three hours ahead
STEP = timedelta(minutes=15)


def moscow(clock: str, days: int = 0) -> datetime:
    hour, minute = map(int, clock.split(":"))
    return MONDAY + timedelta(days=days, hours=hour - 3, minutes=minute)


def metric(name: str = "likes", form: str = "count", **more) -> Metric:
    titles = {
        "likes": {"en": "Likes", "ru": "Лайки"},
        "ctr": {"en": "CTR", "ru": "CTR"},
        "views": {"en": "Views", "ru": "Просмотры"},
    }
    return Metric(name, titles[name], "feed_actions", lambda counts: counts, None, form=form, **more)


def anomalous(bucket: datetime, value: float, low: float, expected: float, high: float) -> Verdict:
    return Verdict("likes", bucket, Status.ANOMALOUS, value, low, expected, high, score=-3.0)


def normal(bucket: datetime, value: float = 2015, low: float = 1930, expected: float = 2020, high: float = 2110) -> Verdict:
    return Verdict("likes", bucket, Status.NORMAL, value, low, expected, high, score=0.1)


def missing(bucket: datetime, reason: str = "") -> Verdict:
    return Verdict("likes", bucket, Status.MISSING, low=1930, expected=2020, high=2110, reason=reason)


def event(kind: Kind, verdict: Verdict, **episode) -> Event:
    return Event(kind, verdict.metric, verdict.bucket, verdict, Episode(verdict.metric, State.FIRING, **episode))


def reader(language: str = "en", now: datetime | None = None, **more) -> messages.Reader:
    run = "https://alerts.example.org/runs/2026-10-12/alert-1135Z.html"
    return messages.Reader(language, "Europe/Moscow", now or moscow("14:35"), **{"run": run, "owner": "@duty", **more})


def context(metric: Metric, reader: messages.Reader, **more) -> messages.Context:
    return messages.Context(metric, reader, dashboard="https://bi.example.org/d/feed?from=1&to=2", **more)


DROP = anomalous(moscow("14:15"), 1240, 1930, 2020.4, 2110)
WORST = anomalous(moscow("15:30"), 960, 1910, 2000, 2090)
NORMALS = {"en": ("Views", "Feed users", "Messages"), "ru": ("Просмотры", "Пользователи ленты", "Сообщения")}


def opened(language: str) -> messages.Message:
    said = event(Kind.OPENED, DROP, since=moscow("14:00"), worst=DROP, last=DROP)
    about = context(metric(), reader(language), yesterday=2015, week_ago=1960, others=NORMALS[language])
    return messages.compose(said, about)


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("rule", ["sudden", "sustained", "level"])
def test_which_rule_fired_is_said_in_words(rule, language):
    fired = event(Kind.OPENED, replace(DROP, reason=rule))
    told = messages.compose(fired, context(metric(), reader(language))).text.splitlines()
    assert WORDS[language][f"rule {rule}"] in told
    assert WORDS[language][f"rule {rule}"] not in opened(language).text


def worsened(language: str) -> messages.Message:
    said = event(Kind.WORSENED, WORST, since=moscow("14:00"), worst=WORST, last=WORST, said=DROP)
    return messages.compose(said, context(metric(), reader(language, moscow("15:50")), yesterday=2015, week_ago=1960))


def opened_late_ratio(language: str) -> messages.Message:
    verdict = anomalous(moscow("14:15"), 0.131, 0.204, 0.21, 0.216)
    here = reader(language, now=moscow("15:20"), run="/srv/alerts/reports/runs/2026-10-12/alert-20261012T1220Z.ipynb")
    said = event(Kind.OPENED, verdict, since=moscow("14:15"), worst=verdict, last=verdict)
    return messages.compose(said, context(metric("ctr", "ratio"), here, week_ago=0.2112))


def opened_zero(language: str) -> messages.Message:
    verdict = anomalous(moscow("14:15"), 0.0, 41_000, 42_512, 44_000)
    said = event(Kind.OPENED, verdict, since=moscow("14:15"), worst=verdict, last=verdict)
    return messages.compose(said, context(metric("views"), reader(language), yesterday=42_201, week_ago=41_990))


def opened_spike(language: str) -> messages.Message:
    verdict = anomalous(moscow("23:45", -1), 24_310, -310, 2020, 4110)
    said = event(Kind.OPENED, verdict, since=moscow("23:45", -1), worst=verdict, last=verdict)
    return messages.compose(said, context(metric(), reader(language, now=moscow("00:05"))))


def opened_from_nothing(language: str) -> messages.Message:
    verdict = anomalous(moscow("14:15"), 35, 0, 0, 4)
    said = event(Kind.OPENED, verdict, since=moscow("14:15"), worst=verdict, last=verdict)
    return messages.compose(said, messages.Context(metric(), reader(language, run="", owner=""), yesterday=0, week_ago=0))


def reminder(language: str) -> messages.Message:
    verdict = anomalous(moscow("17:00"), 1240, 2010, 2102, 2200)
    said = event(Kind.REMINDER, verdict, since=moscow("14:00"), worst=WORST, last=verdict)
    here = reader(language, now=moscow("17:20"))
    return messages.compose(said, context(metric(), here, yesterday=2015, week_ago=1960))


def reminder_no_data(language: str) -> messages.Message:
    said = event(Kind.REMINDER, missing(moscow("15:15")), gap=moscow("12:15"), last=normal(moscow("12:00")))
    here = reader(language, now=moscow("15:35"))
    return messages.compose(said, context(metric(), here, table="feed_actions", newest=moscow("12:09")))


def resolved(language: str) -> messages.Message:
    said = event(Kind.RESOLVED, normal(moscow("17:00")), since=moscow("14:00"), worst=WORST, calm_since=moscow("16:45"))
    return messages.compose(said, context(metric(), reader(language, now=moscow("17:20"))))


def no_data(language: str) -> messages.Message:
    said = event(Kind.NO_DATA, missing(moscow("12:30")), gap=moscow("12:15"), last=normal(moscow("12:00")))
    here = reader(language, now=moscow("12:50"))
    return messages.compose(said, context(metric(), here, table="feed_actions", newest=moscow("12:09")))


def no_data_of_one_metric(language: str) -> messages.Message:
    trouble = "ValueError: could not convert string to float: 'n/a'"
    said = event(Kind.NO_DATA, missing(moscow("12:30"), trouble), gap=moscow("12:15"), last=normal(moscow("12:00")))
    here = reader(language, now=moscow("12:50"))
    return messages.compose(said, context(metric(), here, table="feed_actions", newest=moscow("12:44")))


def data_back(language: str) -> messages.Message:
    said = event(Kind.DATA_BACK, normal(moscow("13:00")), gap=moscow("12:15"), gap_told=True, last=normal(moscow("12:00")))
    return messages.compose(said, context(metric(), reader(language, now=moscow("13:20"))))


def data_back_low(language: str) -> messages.Message:
    said = event(Kind.DATA_BACK, replace(DROP, bucket=moscow("13:00")), gap=moscow("11:45"), gap_told=True)
    return messages.compose(said, context(metric(), reader(language, now=moscow("13:20"))))


def run_failed(language: str) -> messages.Message:
    reason = "ClickHouse did not answer within 10 s (3 tries)"
    here = reader(language, now=moscow("12:16"))
    return messages.run_failed(moscow("12:15"), reason, moscow("12:00"), moscow("12:30"), here)


def caught_up(language: str) -> messages.Message:
    return messages.caught_up(moscow("11:30"), moscow("12:00"), (), reader(language, now=moscow("12:15")))


def caught_up_unusual(language: str) -> messages.Message:
    titles = {"en": ("Likes", "CTR"), "ru": ("Лайки", "CTR")}[language]
    return messages.caught_up(moscow("12:00"), moscow("12:00"), titles, reader(language, now=moscow("12:15")))


TEXTS = [
    opened, worsened, opened_late_ratio, opened_zero, opened_spike, opened_from_nothing, reminder, reminder_no_data, resolved,
    no_data, no_data_of_one_metric, data_back, data_back_low, run_failed, caught_up, caught_up_unusual,
]  # fmt: skip


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("make", TEXTS, ids=lambda make: make.__name__)
def test_golden_text(make, language):
    path, text = GOLDEN / f"{make.__name__}.{language}.txt", make(language).text
    if os.environ.get("GOLDEN_UPDATE"):
        path.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("make", TEXTS, ids=lambda make: make.__name__)
def test_the_first_line_fits_a_lock_screen(make, language):
    assert len(plain(make(language).text).splitlines()[0]) <= 60


class Tags(HTMLParser):
    """What Telegram would show, and which tags it would meet."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.shown = [], set(), ""

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.add((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.shown += data


def parse(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert tags.open == []
    assert tags.seen <= {("b",), ("code",), ("a", "href")}
    return tags


def plain(text: str) -> str:
    return parse(text).shown


@pytest.mark.parametrize("language", ["ru"])
def test_languages_have_the_same_keys_and_fields(language):
    def fields(text):
        return {name for _, name, _, _ in string.Formatter().parse(text) if name}

    here, english = ({key: fields(text) for key, text in WORDS[chosen].items()} for chosen in (language, "en"))
    assert here == english
    assert NOUNS[language].keys() == NOUNS["en"].keys()
    assert len(WEEKDAYS[language]) == 7
    assert len(MONTHS[language]) == 12


@pytest.mark.parametrize(
    ("count", "noun", "en", "ru"),
    [
        (0, "minute", "0 minutes", "0 минут"),
        (1, "minute", "1 minute", "1 минута"),
        (2, "minute", "2 minutes", "2 минуты"),
        (5, "minute", "5 minutes", "5 минут"),
        (11, "minute", "11 minutes", "11 минут"),
        (12, "minute", "12 minutes", "12 минут"),
        (21, "minute", "21 minutes", "21 минута"),
        (22, "bucket", "22 buckets", "22 интервала"),
        (101, "bucket", "101 buckets", "101 интервал"),
        (111, "bucket", "111 buckets", "111 интервалов"),
        (114, "day", "114 days", "114 дней"),
        (3, "day", "3 days", "3 дня"),
    ],
)
def test_plural(count, noun, en, ru):
    assert [plain_spaces(plural(count, noun, language)) for language in ("en", "ru")] == [en, ru]


def plain_spaces(text: str) -> str:
    return re.sub(r"[\u00a0\u202f]", " ", text)


@pytest.mark.parametrize(
    ("minutes", "en", "ru"),
    [
        (0, "less than a minute", "меньше минуты"),
        (45, "45 min", "45 мин"),
        (60, "1 h", "1 ч"),
        (165, "2 h 45 min", "2 ч 45 мин"),
        (1440, "1 day", "1 день"),
        (1440 * 2 + 185, "2 days 3 h", "2 дня 3 ч"),
        (1440 * 12 + 185, "12 days", "12 дней"),
    ],
)
def test_duration(minutes, en, ru):
    assert [plain_spaces(duration(timedelta(minutes=minutes), language)) for language in ("en", "ru")] == [en, ru]


@pytest.mark.parametrize(
    ("form", "band", "value", "said"),
    [
        ("count", (1930, 2020, 2110), 1240, "1,240 | 1,930–2,110 | −780"),
        ("count", (-40, 300.4, 640), 0, "0 | 0–640 | −300"),
        ("count", (0.5, 2.5, 4.5), 7, "7 | 0.5–4.5 | +4.5"),
        ("count", (0, 0.02, 0.1), 3, "3 | 0–0.1 | +3"),
        ("count", (9e5, 1e6, 1.1e6), 1234567, "1,234,567 | 900,000–1,100,000 | +234,567"),
        ("count", (1e9, 2e9, 3e9), 12.34e12, "12.3 tn | 1.00 bn–3.00 bn | +12.3 tn"),
        ("ratio", (0.204, 0.21, 0.216), 0.131, "13.1 % | 20.4–21.6 % | −7.9 pp"),
        ("ratio", (0.99950, 0.99970, 0.99990), 0.998, "99.80 % | 99.95–99.99 % | −0.17 pp"),
        ("ratio", (-0.001, 0.0021, 0.0042), 0.0, "0 % | 0–0.42 % | −0.21 pp"),
        ("ratio", (0.2, 0.3, 0.4), 0.00001, "0.001 % | 20.0–40.0 % | −30.0 pp"),
        ("number", (-5, -2, 1), -7.25, "−7.25 | −5.00…1.00 | −5.25"),
        ("number", (-5, -4, -3), -7, "−7 | −5…−3 | −3"),
        ("number", (36.1, 36.6, 37.1), 39, "39.0 | 36.1–37.1 | +2.4"),
        ("number", (10, 20, 30), 7, "7 | 10–30 | −13"),
        ("number", (0.0030, 0.0032, 0.0034), 0.001, "0.00100 | 0.00300–0.00340 | −0.00220"),
        ("number", (1e-12, 2e-12, 3e-12), 1.25e17, "1.2·10¹⁷ | 1.0·10⁻¹²–3.0·10⁻¹² | +1.2·10¹⁷"),
        ("number", (0, 1, 2), float("inf"), "∞ | 0–2 | +∞"),
        ("count", (NAN, NAN, NAN), 12, "12 |  | "),
        ("count", (0, 4, 9), NAN, " | 0–9 | "),
        ("count", (0, 0, 0), 9, "9 | 0 | +9"),
        ("count", (3, 4, 5), 4, "4 | 3–5 | "),
    ],
)
def test_numbers(form, band, value, said):
    low, expected, high = band
    n = Numbers.of(form, "en", anomalous(MONDAY, value, *band))
    assert plain_spaces(f"{n.value(value)} | {n.range(low, high)} | {n.difference(value - expected)}") == said


def test_numbers_in_russian():
    n = Numbers.of("ratio", "ru", anomalous(MONDAY, 0.131, 0.204, 0.21, 0.216))
    assert [n.value(0.131), n.difference(-0.079)] == ["13,1\u202f%", "−7,9\u00a0п. п."]
    n = Numbers.of("count", "ru", anomalous(MONDAY, 12.34e12, 1e9, 2e9, 3e9))
    assert n.range(1e9, 1234567) == "1,00\u00a0млрд–1\u202f234\u202f567"


def test_groups_and_units_never_break_a_line():
    assert written(1234567, 0, "ru") == "1\u202f234\u202f567"
    assert change(DROP, "en") == "−39\u202f%"
    assert duration(timedelta(minutes=165), "ru") == "2\u00a0ч\u00a045\u00a0мин"


@pytest.mark.parametrize(
    ("value", "expected", "said"),
    [
        (1240, 2000, "−38 %"),
        (2084, 2000, "+4.2 %"),
        (1999, 2000, "−0.05 %"),
        (2000, 2000, "0 %"),
        (2000.01, 2000, "0 %"),
        (0, 2000, "−100 %"),
        (1, 2000, "−99.9 %"),
        (1, 2_000_000, "−99.9 %"),
        (8000, 2000, "+300 %"),
        (10_400, 2000, "×5.2"),
        (24_310, 2000, "×12"),
        (2_468_000, 2, "×1,234,000"),
        (5e12, 1, "×5.00 tn"),
        (-3, 2, "−250 %"),
        (-3, -2, "−50 %"),
        (3, -2, "+250 %"),
        (35, 0, ""),
        (35, NAN, ""),
        (NAN, 35, ""),
        (float("inf"), 35, ""),
        (1e308, 1e-308, ""),
    ],
)
def test_change(value, expected, said):
    assert plain_spaces(change(anomalous(MONDAY, value, NAN, expected, NAN), "en")) == said


BERLIN_BACK = datetime(2026, 10, 25, tzinfo=UTC)  # 01:00 UTC: 03:00 becomes 02:00
BERLIN_ON = datetime(2026, 3, 29, tzinfo=UTC)  # 01:00 UTC: 02:00 becomes 03:00


@pytest.mark.parametrize(
    ("start", "minutes", "said"),
    [
        (BERLIN_BACK - timedelta(minutes=15), 15, "Sun 01:45–02:00"),
        (BERLIN_BACK + timedelta(minutes=30), 15, "Sun 02:30–02:45 UTC+2"),
        (BERLIN_BACK + timedelta(minutes=45), 15, "Sun 02:45–03:00 UTC+2"),
        (BERLIN_BACK + timedelta(minutes=60), 15, "Sun 02:00–02:15 UTC+1"),
        (BERLIN_BACK + timedelta(minutes=90), 15, "Sun 02:30–02:45 UTC+1"),
        (BERLIN_BACK + timedelta(minutes=120), 15, "Sun 03:00–03:15"),
        (BERLIN_ON + timedelta(minutes=45), 15, "Sun 01:45–03:00"),
        (BERLIN_ON + timedelta(minutes=60), 15, "Sun 03:00–03:15"),
    ],
)
def test_a_bucket_around_a_clock_change_has_its_true_local_time(start, minutes, said):
    clock = Clock("Europe/Berlin", "en", start + timedelta(hours=1))
    assert plain_spaces(clock.span(start, start + timedelta(minutes=minutes))) == said


def test_time_across_a_clock_change_is_counted_true():
    said = event(Kind.RESOLVED, normal(BERLIN_BACK + timedelta(hours=5)), since=BERLIN_BACK - timedelta(hours=1))
    here = messages.Reader("en", "Europe/Berlin", BERLIN_BACK + timedelta(hours=5, minutes=20))
    assert plain_spaces(messages.compose(said, messages.Context(metric(), here)).text).splitlines()[::2] == [
        "🟢 <b>Likes normal again</b> since 06:00 · lasted 6 h",
        "Off Sun 01:00–06:00",  # six hours, though the clock says five
    ]


@pytest.mark.parametrize(
    ("start", "hours", "now_days", "zone", "said"),
    [
        (MONDAY, 0.25, 0, "Asia/Kathmandu", "Mon 05:45–06:00"),
        (MONDAY + timedelta(hours=20.75), 0.25, 0, "Europe/Moscow", "Mon 23:45–00:00"),
        (MONDAY + timedelta(hours=20.5), 2, 0, "Europe/Moscow", "Mon 23:30–Tue 01:30"),
        (MONDAY, 24, 1, "Europe/Moscow", "Mon 03:00–Tue 03:00"),
        (MONDAY, 0.25, 6, "UTC", "Mon 00:00–00:15"),
        (MONDAY, 0.25, 7, "UTC", "12 Oct 00:00–00:15"),
        (MONDAY, 0.25, 100, "UTC", "12 Oct 2026 00:00–00:15"),
    ],
)
def test_span(start, hours, now_days, zone, said):
    clock = Clock(zone, "en", MONDAY + timedelta(days=now_days, hours=1))
    assert plain_spaces(clock.span(start, start + timedelta(hours=hours))) == said


def test_an_instant_names_its_day_only_when_it_must():
    clock = Clock("Europe/Moscow", "ru", moscow("14:35"))
    assert clock.at(moscow("14:00"), near=moscow("14:15")) == "14:00"
    assert clock.at(moscow("23:45", -1), near=moscow("14:15")) == "вс 23:45"
    assert plain_spaces(clock.at(moscow("23:45", -20), near=moscow("14:15"))) == "22 сен 23:45"


NASTY = """<b>&"'</b> {title} <script>\n\r\t</code></a>\u202e\x00\ud800 🔥"""


@pytest.mark.parametrize("kind", list(Kind)[:5])
@pytest.mark.parametrize("odd", [NASTY, *(c * 10_000 for c in "й&🔥 "), ""], ids=["html", "й", "&", "🔥", "space", "none"])
@pytest.mark.parametrize("language", ["en", "ru"])
def test_no_name_breaks_the_text(kind, odd, language):
    likes = replace(metric(owner=odd), title={"en": odd, "ru": odd})
    verdict = missing(moscow("14:15"), reason=odd) if kind is Kind.NO_DATA else DROP
    said = event(kind, verdict, since=moscow("14:00"), gap=moscow("13:45"), worst=WORST, last=normal(moscow("12:00")))
    web = f"https://x.org/?q={odd}"
    about = messages.Context(
        likes, reader(language, now=moscow("18:00"), run=odd, owner=odd), 1e14, 1e14, web, odd, moscow("12:09"), (odd,) * 50
    )
    for message, limit in ((messages.compose(said, about), 4096), (messages.picture(said, b"png", about), 1024)):
        assert len(message.text.encode("utf-16-le")) // 2 < limit  # as Telegram counts
        shown = plain(message.text)
        assert shown.strip()
        assert "\u202e" not in shown
        assert "\x00" not in shown


def test_a_name_is_shown_as_it_is():
    text = messages.compose(event(Kind.OPENED, DROP), context(replace(metric(), title={"en": 'A <b>&"'}), reader())).text
    assert '🔴 <b>A &lt;b&gt;&amp;" −39' in text
    assert plain(text).startswith('🔴 A <b>&" −39')


def test_a_reason_is_cut_and_escaped():
    message = messages.run_failed(moscow("12:15"), "<html>" * 10_000, None, None, reader())
    assert plain(message.text).splitlines()[0] == "⚠️ The Mon 12:15 check failed"
    assert len(message.text) < 1024


def test_an_address_that_is_no_web_address_is_shown_not_linked():
    text = messages.compose(event(Kind.OPENED, DROP), messages.Context(metric(), reader(run="javascript:alert(1)"))).text
    assert "href" not in text
    assert "<code>javascript:alert(1)</code>" in text


def test_keys_say_what_a_message_is_about():
    likes = context(metric(), reader())
    said = event(Kind.OPENED, DROP)
    text, shown = messages.compose(said, likes), messages.picture(said, b"png", likes)
    assert (text.key, text.photo, text.reply_to) == ("likes/opened/20261012T1115Z/text", None, "")
    assert (shown.key, shown.photo, shown.reply_to) == ("likes/opened/20261012T1115Z/picture", b"png", text.key)
    assert plain_spaces(shown.text) == "🔴 <b>Likes −39 %</b> · Mon 14:15–14:30"


def test_failures_of_one_hour_share_a_key():
    keys = [messages.run_failed(moscow(at), "down", None, None, reader()).key for at in ("12:00", "12:15", "12:45", "13:00")]
    assert keys[0] == keys[1] == keys[2] == "run/run-failed/20261012T09Z/text"
    assert keys[3] == "run/run-failed/20261012T10Z/text"


@pytest.mark.parametrize(
    ("now", "step", "late"),
    [("14:50", 15, ""), ("15:00", 15, ""), ("15:01", 15, "31 min"), ("14:46", 1, ""), ("14:47", 1, "31 min"), ("16:00", 60, "")],
)
def test_late_is_said_when_it_is_unusual(now, step, late):
    about = messages.Context(metric(step=timedelta(minutes=step)), reader(now=moscow(now)))
    text = plain_spaces(messages.compose(event(Kind.OPENED, DROP), about).text)
    assert ("⏱" in text) == bool(late)
    assert late in text


@pytest.mark.parametrize("kind", list(Kind)[:5])
def test_little_known_is_little_said(kind):
    """An event with nothing but its verdict, and a context with nothing but the metric, still make a text."""
    for verdict in (Verdict("likes", moscow("14:15"), status) for status in Status):
        about = messages.Context(metric(), reader(run="", owner=""))
        text = messages.compose(event(kind, verdict), about).text
        assert text
        assert not re.search(r"nan|None|\{|· *$|· ·|\( *\)|: *$|^ | $|  ", text, re.M), text


def test_a_value_that_cannot_be_made_is_told_from_rows_that_do_not_come():
    assert "no value can be made" in no_data_of_one_metric("en").text
    assert "as soon as rows arrive" in no_data("en").text


def test_rows_from_the_future_are_not_ago():
    said = event(Kind.NO_DATA, missing(moscow("12:30")), gap=moscow("12:15"))
    about = context(metric(), reader(now=moscow("12:50")), table="feed_actions", newest=moscow("13:30"))
    assert "feed_actions: newest row 13:30, later than now" in messages.compose(said, about).text


def test_the_import_is_light():
    code = "import sys, alerting.messages; print(sorted({'pandas', 'numpy', 'matplotlib', 'scipy'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], cwd=GOLDEN.parent.parent, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
