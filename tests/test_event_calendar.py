"""The calendar file and the public holidays. A wrong line loses only that line."""

from datetime import UTC, date, datetime, timedelta

import pytest

from alerting.event_calendar import public_holidays, read_calendar
from alerting.model.metric import CalendarEvent
from alerting.settings import ROOT

NAMES = ["views", "likes"]


def read(tmp_path, text):
    path = tmp_path / "calendar.csv"
    path.write_text(text, encoding="utf-8")
    return read_calendar(path, "Europe/Moscow", NAMES)


def test_a_calendar_is_read_in_local_time(tmp_path):
    found, notes = read(
        tmp_path,
        "# a comment\n\nstart,end,kind,title,metrics\n"
        "2026-11-20 14:05,,release,Release 2.3,\n"
        '2026-11-27,2026-11-30,campaign,"Black Friday, all of it",views likes\n'
        "2026-11-20T14:05Z,2026-11-20T15:00+03:00,push,Evening push\n",
    )
    assert notes == ["calendar calendar.csv, line 6: its end 2026-11-20T15:00+03:00 lies before its start 2026-11-20T14:05Z"]
    release, campaign = found
    assert release == CalendarEvent(
        datetime(2026, 11, 20, 11, 5, tzinfo=UTC), datetime(2026, 11, 20, 11, 5, tzinfo=UTC), "release", "Release 2.3"
    )
    assert campaign.end - campaign.start == timedelta(days=4)  # the whole of the last day
    assert (campaign.title, campaign.metrics) == ("Black Friday, all of it", ("views", "likes"))
    about = ("views", "views.slices", "ctr")  # the metric, its watched segments, another one
    assert [[event.concerns(name) for name in about] for event in found] == [[True] * 3, [True, True, False]]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("yesterday,,release,x", "'yesterday' is not a time"),
        ("2026-11-20,,release", "it has 3 columns"),
        ("2026-11-20,,release,", "no title"),
        ("2026-11-20,,release,x,clicks", "no metric 'clicks': there are views, likes"),
        ("2026-11-20,,release,x,clicks likes ctr clicks", "no metric 'clicks', 'ctr': there are views, likes"),
    ],
)
def test_a_line_that_is_wrong_is_named_and_the_others_count(tmp_path, line, said):
    found, (note,) = read(tmp_path, f"{line}\n2026-11-20,,holiday,Day off\n")
    assert note.startswith("calendar calendar.csv, line 1: ")
    assert said in note
    assert [event.title for event in found] == ["Day off"]


NOT_LEARNED = (
    "calendar calendar.csv, line 1: this holiday is shown, but not learned: that takes whole days (dates without a time) "
    "and no metrics"
)


@pytest.mark.parametrize(
    ("line", "days"),
    [
        ("2026-11-04,,holiday,Unity Day", [4]),
        ("2026-11-04,2026-11-05,Holiday,Unity Day", [4, 5]),
        ("20261104,,holidays,Unity Day", [4]),
        ("2026-11-03 18:00,2026-11-05 12:00,holiday,Unity Day", [4]),
        ("2026-11-03T21:00Z,2026-11-05 00:00,HOLIDAY,Unity Day", [4]),
        ("2026-11-04 00:00,,holiday,Unity Day", []),
        ("2026-11-04 18:00,2026-11-04 20:00,holiday,Concert", []),
        ("2026-11-04,,holiday,Unity Day,views", []),
    ],
)
def test_whole_days_are_holidays_and_the_others_are_shown_with_a_note(tmp_path, line, days):
    (event,), notes = read(tmp_path, line)
    assert event.holidays("Europe/Moscow") == [date(2026, 11, day) for day in days]
    assert notes == ([] if days else [NOT_LEARNED])


def test_a_holiday_that_begins_without_a_midnight_is_a_whole_day(tmp_path):
    """In Cairo clocks go from 0:00 to 1:00 on the last Friday of April."""
    path = tmp_path / "calendar.csv"
    path.write_text("2026-04-24,2026-04-25,holiday,Sinai Liberation Day", encoding="utf-8")
    (event,), notes = read_calendar(path, "Africa/Cairo", NAMES)
    assert (event.holidays("Africa/Cairo"), notes) == ([date(2026, 4, 24), date(2026, 4, 25)], [])


def test_no_file_and_a_file_that_is_no_text(tmp_path):
    assert read_calendar(tmp_path / "none.csv", "UTC", NAMES) == ([], [])
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\xd8")
    found, (note,) = read_calendar(tmp_path / "binary.csv", "UTC", NAMES)
    assert found == []
    assert "save it as UTF-8" in note


def test_the_calendar_that_comes_along_is_empty_and_right():
    assert read_calendar(ROOT / "alerting" / "calendar.csv", "UTC", NAMES) == ([], [])


def test_the_holidays_of_the_year_before_are_known_for_a_long_replay():
    found, _ = public_holidays("DE", "Europe/Berlin", datetime(2026, 4, 30, tzinfo=UTC))
    assert datetime(2025, 12, 24, 23, tzinfo=UTC) in {event.start for event in found}


def test_public_holidays_are_whole_local_days():
    found, notes = public_holidays("RU,XX", "Europe/Moscow", datetime(2026, 11, 20, tzinfo=UTC))
    assert notes == ["ALERTING_HOLIDAYS=XX: the package holidays does not know it"]
    new_year = next(o for o in found if o.start == datetime(2025, 12, 31, 21, tzinfo=UTC) or o.start.year == 2026)
    assert new_year.end - new_year.start == timedelta(days=1)
    assert new_year.kind == "holiday"
    assert public_holidays("", "UTC", datetime(2026, 11, 20, tzinfo=UTC)) == ([], [])
