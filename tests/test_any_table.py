"""Tables of KPIs as other tools write them: which columns are taken, and what the setting and the zone of the file change."""

import csv
import gzip
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from alerting import connections, pipeline
from alerting.cli.doctor import examine
from alerting.model.errors import SettingsError, SourceError
from alerting.model.metric import Query
from alerting.model.verdict import Status
from alerting.settings import load_settings
from alerting.sources.table import TableSource

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
HOURS = pd.date_range("2026-10-01", "2026-11-20", freq="1h", inclusive="left")
DAYS = pd.date_range("2026-08-01", "2026-11-20", freq="1D", inclusive="left")
EVER = (datetime(1900, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


def counts(times, level=1000):
    """Whole numbers with a rhythm, none like the other."""
    n = np.arange(len(times))
    return (level + level / 3 * np.sin(n / 24 * 2 * np.pi) + n % 7 * 3).astype(int)


def rentals():
    """By hour in two columns, with a number for each row and much of the calendar; some hours are absent."""
    frame = pd.DataFrame({
        "dteday": HOURS.strftime("%Y-%m-%d"), "season": 4 - (HOURS.day_of_year < 300), "mnth": HOURS.month, "hr": HOURS.hour,
        "holiday": (HOURS.day == 4).astype(int), "weekday": HOURS.day_of_week, "temp": counts(HOURS) / 5000, "cnt": counts(HOURS),
    })  # fmt: skip
    frame = frame.drop(index=range(50, 60))
    return frame.rename_axis("instant").set_axis(range(1, len(frame) + 1)).to_csv(index_label="instant")


def traffic():
    """By hour, with words about the weather, for each of which an hour has a row."""
    words = ["Clear", "Rain", "Mist"] * (len(HOURS) // 3)
    frame = pd.DataFrame({"holiday": "None", "temp": counts(HOURS) / 4, "weather_main": words})
    frame = frame.assign(date_time=HOURS.strftime("%Y-%m-%d %H:%M:%S"), traffic_volume=counts(HOURS))
    twice = frame.iloc[::7].assign(weather_main="Drizzle")
    return pd.concat([frame, twice]).sort_values("date_time", kind="stable").to_csv(index=False)


def lines(header, rows):
    return "\n".join([header, *rows]) + "\n"


def table(header, times, *rows):
    """`rows`: functions of a time and its count, each of which gives a row."""
    return lines(header, [row(at, n) for at, n in zip(times, counts(times), strict=True) for row in rows])


def shape(form, times=DAYS, header="date,n", value=str):
    return table(header, times, lambda at, n: f"{at:{form}},{value(n)}")


def of_city(city, app):
    return lambda at, n: f"{at:%Y-%m-%d},{city},{app},{n},{n // 2}"


def of_shop(shop):
    return lambda at, n: f"{shop},{at:%Y-%m-%d},{at.day_of_week},{n + shop}"


CITIES = [(city, app) for city in ("Kazan", "NA") for app in ("feed", "chat")]


SAMPLES = pd.date_range("2026-11-10 00:05", "2026-11-20", freq="10min")
SHAPES = {  # file -> setting, series, step
    "rentals": (rentals(), "time=dteday+hr,value=temp+cnt", {"temp", "cnt"}, HOUR),
    "traffic": (traffic(), "time=date_time,value=temp+traffic_volume", {"temp", "traffic_volume"}, HOUR),
    "views": (shape("%Y-%m-%d", header="ds,y"), "time=ds,value=y", {"y"}, DAY),
    "taxi": (
        table("pickup,Yellow,Green", DAYS, lambda at, n: f"{at.month}/{at.day}/{at.year},{n},{n // 9}"),
        "time=pickup,value=Yellow+Green", {"Yellow", "Green"}, DAY,
    ),
    "samples": (shape("%Y-%m-%d %H:%M:%S", SAMPLES, "index,raw"), "time=index,value=raw", {"raw"}, timedelta(minutes=10)),
    "epoch ms": (table("t,n", HOURS, lambda at, n: f"{at.timestamp() * 1000:.0f},{n}"), "time=t,value=n", {"n"}, HOUR),
    "offset": (shape("%Y-%m-%dT%H:%M:%S+03:00", HOURS), "time=date,value=n", {"n"}, HOUR),
    "digits": (shape("%Y%m%d"), "time=date,value=n", {"n"}, DAY),
    "time of day": (shape("%d.%m.%Y,%H:%M", HOURS, "Date,Time,n"), "time=Date+Time,value=n", {"n"}, HOUR),
    "parts": (shape("%Y,%m,%d,%H", HOURS, "year,month,day,hour,n"), "time=year+month+day+hour,value=n", {"n"}, HOUR),
    "half days": (shape("%m/%d/%Y %I:%M:%S %p", HOURS), "time=date,value=n", {"n"}, HOUR),
    "thousands": (shape("%d/%m/%Y", value=lambda n: f'"{n * 1000:,}"'), "time=date,value=n", {"n"}, DAY),
    "percent": (shape("%b %d %Y", value=lambda n: f"{n / 10} %"), "time=date,value=n", {"n"}, DAY),
    "preamble": ("Category: all\n# exported, daily\n\n" + shape("%Y-%m-%d"), "time=date,value=n", {"n"}, DAY),
    "header in a comment": ("#" + shape("%Y-%m-%d"), "time=date,value=n", {"n"}, DAY),
    "unnamed index": (pd.DataFrame({"n": counts(DAYS)}, DAYS).to_csv(), "time=Unnamed: 0,value=n", {"n"}, DAY),
    "flags": (shape("%Y-%m-%d %H:%M", HOURS, "ts,n,is_odd", lambda n: f"{n},False"), "time=ts,value=n", {"n"}, HOUR),
    "a line for Excel": ("sep=;\n" + shape("%d.%m.%Y").replace(",", ";"), "time=date,value=n", {"n"}, DAY),
    "a title as wide as the table": ("Report,\n" + shape("%Y-%m-%d") + "Total,9\n", "time=date,value=n", {"n"}, DAY),
    "years first": (shape("%y-%m-%d %H:%M", HOURS), "time=date,value=n", {"n"}, HOUR),
    "calendar after tabs": (rentals().replace(",", "\t"), "time=dteday+hr,value=temp+cnt", {"temp", "cnt"}, HOUR),
    "newest first": (table("t,n", HOURS[::-1], lambda at, n: f"{at.timestamp() + 0.25},{n}"), "time=t,value=n", {"n"}, HOUR),
    "two times": (shape("%Y-%m-%d,%Y-%m-%dT%H:%M", HOURS, "day,at,n"), "time=at,value=n", {"n"}, HOUR),
    "labels": (
        table("day,city,app,n,m", DAYS, *(of_city(*labels) for labels in CITIES)),
        "time=day,value=n+m,series=city+app", {f"{city} {app} {n}" for city, app in CITIES for n in "nm"}, DAY,
    ),
    "a number as label": (
        table("Store,Date,DayOfWeek,Sales", DAYS, *(of_shop(shop) for shop in (1, 2, 30))),
        "time=Date,value=Sales,series=Store", {"1", "2", "30"}, DAY,
    ),
}  # fmt: skip


def read(source, name):
    step = source.steps()[name]
    return source.fetch(Query(name, "", step, source.phases()[name]), *EVER)["value"]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_table_is_read_as_it_comes_and_says_how(tmp_path, shape):
    text, columns, series, step = SHAPES[shape]
    path = tmp_path / "kpi.csv"
    path.write_text(text, encoding="utf-8")
    source = TableSource(path)
    assert source.steps() == dict.fromkeys(series, step)
    assert f"kpi.csv is read as ALERTING_COLUMNS={columns}" in source.notes[0]
    again = TableSource(path, columns_setting=columns)
    for name in series:
        values = read(source, name)
        assert len(values) >= len(DAYS) - 15
        assert values.index.equals(read(again, name).index)
        assert 2026 == values.index[-1].year == values.index[0].year
        assert values.to_numpy() == pytest.approx(read(again, name).to_numpy())


def test_values_are_those_of_the_cells(tmp_path):
    numbers = {"taxi": (1, "Yellow"), "thousands": (1000, "n"), "percent": (0.1, "n"), "labels": (1, "NA chat n")}
    for shape, (factor, name) in numbers.items():
        (tmp_path / f"{shape}.csv").write_text(SHAPES[shape][0])
        assert read(TableSource(tmp_path / f"{shape}.csv"), name).to_numpy() == pytest.approx(counts(DAYS) * factor)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-8"])
@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_the_export_of_a_spreadsheet_in_russian(tmp_path, encoding, separator):
    def row(city, more):
        def written(at, n):
            number = f"{n * 1000 + more:,.2f}".replace(",", " ").replace(".", ",")
            return separator.join([f"{at:%d.%m.%Y}", city, "#N/A" if at.day == 7 else number])

        return written

    text = table(separator.join(["Дата", "Город", "Выручка, руб."]), DAYS, row("Москва", 0), row("Казань", 1))
    (tmp_path / "kpi.csv").write_bytes(text.encode(encoding))
    source = TableSource(tmp_path / "kpi.csv", "Europe/Moscow")
    values = read(source, "Казань")
    assert values.to_list() == [n * 1000 + 1 for at, n in zip(DAYS, counts(DAYS), strict=True) if at.day != 7]
    assert values.index[0] == datetime(2026, 7, 31, 21, tzinfo=UTC)
    assert source.notes == ["kpi.csv is read as ALERTING_COLUMNS=time=Дата,value=Выручка, руб.,series=Город"]
    assert (
        read(TableSource(tmp_path / "kpi.csv", "UTC", source.notes[0].split("=", 1)[1]), "Москва").iloc[0] == values.iloc[0] - 1
    )


@pytest.mark.parametrize(
    ("written", "separator", "values"),
    [
        (["1.234,5", "999", "1.000.000"], ";", [1234.5, 999, 1_000_000]),
        (["1.234.567", "700.007", "1.000.007"], ";", [1_234_567, 700_007, 1_000_007]),
        (["1.318", "700", "0"], ";", [1318, 700, 0]),
        (["1.318", "0.5", "700"], ";", [1.318, 0.5, 700]),
        (["1.318", "1000", "700"], ";", [1.318, 1000, 700]),
        (["1,234.5", "999", "1,000,000"], ";", [1234.5, 999, 1_000_000]),
        (["1,234", "999", "2,345"], ",", [1234, 999, 2345]),
        (["1,234", "999", "2,345"], ";", [1.234, 999, 2.345]),
        (["-", "n/a", "5", "-", "-"], ";", [5]),
        (["1,2", "0.5", "3"], "\t", [1.2, 0.5, 3]),
        (["12 345", "1\u00a0000\u00a0000", "−7"], ",", [12345, 1_000_000, -7]),
        (["$5", "6 €", "70%"], ",", [5, 6, 70]),
        (["1.234", "0.5", "1e3"], ",", [1.234, 0.5, 1000]),
    ],
)
def test_numbers_as_people_write_them(tmp_path, written, separator, values):
    with (tmp_path / "kpi.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=separator).writerows([["day", "n"], *zip(DAYS.strftime("%Y-%m-%d"), written, strict=False)])
    assert read(TableSource(tmp_path / "kpi.csv"), "n").to_list() == pytest.approx(values)


@pytest.mark.parametrize("separator", ";\t")
def test_thousands_with_dots_beside_decimals_with_commas_and_dates_with_dots(tmp_path, separator):
    def row(at, n):
        return f"{at:%d.%m.%Y};0,{n};{f'{n:,}'.replace(',', '.')}".replace(";", separator)

    (tmp_path / "kpi.csv").write_text(table(f"day{separator}rate{separator}visits", DAYS, row))
    source = TableSource(tmp_path / "kpi.csv")
    assert read(source, "visits").to_list() == counts(DAYS).tolist()
    assert read(source, "rate").to_list() == pytest.approx([float(f"0.{n}") for n in counts(DAYS)])


def test_a_compressed_file_and_a_parquet_file_with_times_as_its_index(tmp_path):
    with gzip.open(tmp_path / "kpi.csv.gz", "wt") as file:
        file.write(shape("%Y-%m-%d"))
    pd.DataFrame({"n": counts(DAYS)}, DAYS).to_parquet(tmp_path / "kpi.parquet")
    for name in ("kpi.csv.gz", "kpi.parquet"):
        assert read(TableSource(tmp_path / name), "n").to_list() == counts(DAYS).tolist()


def test_times_without_a_zone_are_those_of_the_file(tmp_path):
    """The night on which New York's clock goes back has 1:30 twice."""
    local = pd.date_range("2026-10-25", "2026-11-05", freq="30min", tz="America/New_York")
    text = lines("at,n", [f"{at:%Y-%m-%d %H:%M},{n}" for n, at in enumerate(local)])
    (tmp_path / "kpi.csv").write_text(text)
    source = TableSource(tmp_path / "kpi.csv", "Europe/Moscow", file_zone="America/New_York")
    assert read(source, "n").index.equals(local.tz_convert("UTC").rename("bucket"))
    assert "ALERTING_FILE_ZONE" not in source.notes[0]
    elsewhere = TableSource(tmp_path / "kpi.csv")
    assert read(elsewhere, "n").index[0] == datetime(2026, 10, 25, tzinfo=UTC)
    assert "its times have no zone and are read as UTC: ALERTING_FILE_ZONE" in elsewhere.notes[0]
    (tmp_path / "days.csv").write_text(shape("%Y-%m-%d"))
    days = TableSource(tmp_path / "days.csv", "Europe/Moscow", file_zone="America/New_York")
    assert read(days, "n").index[0] == datetime(2026, 8, 1, 5, tzinfo=UTC)  # standard time, as buckets of days have all year


def test_the_setting_names_columns_and_the_order_of_dates(tmp_path):
    (tmp_path / "kpi.csv").write_text(lines("begin,end,a,b", [f"{n}/1/2026,{n}/2/2026,{n},{-n}" for n in range(1, 11)]))
    source = TableSource(tmp_path / "kpi.csv", columns_setting="time=end,value=b,dates=dmy")
    assert read(source, "b").index[0] == datetime(2026, 2, 1, tzinfo=UTC)
    assert read(source, "b").to_list() == [-n for n in range(1, 11)]
    with pytest.raises(SourceError, match="ALERTING_COLUMNS names 'ende', which is no column: did you mean 'end'"):
        TableSource(tmp_path / "kpi.csv", columns_setting="time=ende").steps()


@pytest.mark.parametrize(
    ("step", "form", "word"), [("7D", "%Y-%m-%d", "7 days"), ("MS", "%Y-%m", "30.4 days"), ("MS", "%b %Y", "30.4 days")]
)
def test_longer_steps_than_a_day_are_refused_by_name(tmp_path, step, form, word):
    (tmp_path / "kpi.csv").write_text(shape(form, pd.date_range("2015-01-05", "2026-11-01", freq=step), "period,Sales"))
    with pytest.raises(SourceError, match=f"the step of Sales is {word}; a minute to a day can be watched"):
        read(TableSource(tmp_path / "kpi.csv"), "Sales")


def test_a_column_that_was_watched_stays_though_the_calendar_could_give_it(tmp_path):
    (tmp_path / "kpi.csv").write_text(rentals())
    seen = frozenset({"holiday", "instant"})
    assert seen < TableSource(tmp_path / "kpi.csv", seen=seen).steps().keys()


def test_from_a_file_to_a_verdict(tmp_path):
    """With one setting; other columns later are other series, of which none is missed."""
    text = rentals().splitlines()
    *_, last = text[-1].split(",")
    (tmp_path / "kpi.csv").write_text("\n".join([*text[:-1], text[-1].removesuffix(last) + str(int(last) // 5)]))
    given = {"SOURCE": str(tmp_path / "kpi.csv"), "DATA": str(tmp_path / "data"), "ZONE": "UTC", "COLUMNS": "value=cnt"}
    settings = load_settings({f"ALERTING_{name}": text for name, text in given.items()}, tmp_path / "none.env")
    now = datetime(2026, 11, 20, 0, 10, tzinfo=UTC)
    ctx = connections.connect(settings=settings, now=now)
    due = pipeline.due(ctx, now)
    judged = pipeline.judge(ctx, due, pipeline.read(ctx, due, 0, now), now)
    assert judged.verdict("cnt", due[0].last).status is Status.ANOMALOUS
    ctx.store.close()
    other = load_settings({f"ALERTING_{n}": t for n, t in {**given, "COLUMNS": "value=temp"}.items()}, tmp_path / "none.env")
    later = connections.connect(settings=other, now=now)
    assert ([metric.name for metric in later.metrics], later.source.gone()) == (["temp"], frozenset())
    later.store.close()


def test_the_doctor_says_how_a_file_is_read_and_where_it_ends(tmp_path):
    (tmp_path / "kpi.csv").write_text(shape("%Y-%m-%d", pd.date_range("2019-05-01", "2019-08-20")))
    given = {"SOURCE": str(tmp_path / "kpi.csv"), "DATA": str(tmp_path / "data"), "REPORTS": str(tmp_path / "reports")}
    results = {r.name: r for r in examine(load_settings({f"ALERTING_{n}": t for n, t in given.items()}, tmp_path / "none.env"))}
    assert results["source"].details.endswith("kpi.csv\n    kpi.csv is read as ALERTING_COLUMNS=time=date,value=n")
    assert results["newest rows"].details == "n: Tue 2019-08-20, none within a day (Europe/Moscow)"


@pytest.mark.parametrize("text", ["time", "when=ts", "time=a,time=b", "time=ts,dates=ymd"])
def test_a_malformed_setting_is_refused_with_its_form(tmp_path, text):
    with pytest.raises(SettingsError, match=r"ALERTING_COLUMNS=.*time=date\+hour,value=views"):
        load_settings({"ALERTING_COLUMNS": text}, tmp_path / "none.env")
