"""The settings in the environment are read strictly: errors and their texts."""

import pytest

from alerting.model.errors import SettingsError
from alerting.settings import ROOT, Settings, load_settings

NONE = ROOT / "no-such-file"


def read(**given):
    return load_settings({f"ALERTING_{name}": text for name, text in given.items()}, NONE)


def test_nothing_set_is_the_embedded_app_and_the_console():
    got = read()
    assert (got.source, got.telegram_token, got.language) == ("embedded", "", "en")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"SOURCE": "clickhouse"}, "ALERTING_SOURCE='clickhouse': it takes 'embedded', a ClickHouse URL"),
        ({"SOURCE": "http://user:secret@host:8123"}, "without user and password"),
        ({"TELEGRAM_TOKEN": "123:abc"}, "ALERTING_TELEGRAM_TOKEN and ALERTING_TELEGRAM_CHAT go together"),
        ({"TELEGRAM_CHAT": "my chat"}, "a chat id such as -1001234567890, or @channel"),
        ({"TELEGRAM_TOPIC": "news"}, "the number of a topic"),
        ({"ZONE": "Mars/Base"}, "a time zone name such as Europe/Moscow"),
        ({"ZONE": "../../etc/passwd"}, "a time zone name"),
        ({"LANGUAGE": "de"}, "'en' or 'ru'"),
        ({"DELAY": "soon"}, "a number from 0 to 120"),
        ({"DELAY": "nan"}, "a number from 0 to 120"),
        ({"FEED_TABLE": "feed; DROP TABLE x"}, "a table name"),
        ({"CLICKHOUSE_DATABASE": "a.b"}, "a database name"),
        ({"CLICKHOUSE_MEMORY": "much"}, "bytes, or a size such as 500M or 4G"),
        ({"DASHBOARD": "https://bi/?d={day}"}, "no other braces than {start}, {end}, {metric}, {segment} and {slice}"),
        ({"DASHBOARD": "https://bi/?d={start.day}"}, "no other braces than"),
        ({"DASHBOARD": "https://bi/?m={metric!r}"}, "no other braces than"),
        ({"SOURCES": "embedded"}, "ALERTING_SOURCES is not a setting (did you mean ALERTING_SOURCE?)"),
        ({"CLICKHOUSE_PASSWORD": "a", "CLICKHOUSE_PASSWORD_FILE": "/b"}, "both set: keep one"),
        ({"CLICKHOUSE_PASSWORD_FILE": "/no/such"}, "cannot be read (FileNotFoundError)"),
    ],
)
def test_refused_by_name_with_the_accepted_form(given, said):
    with pytest.raises(SettingsError) as caught:
        read(**given)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value).replace("SECRET", "") or "user and password" in said


def test_all_faults_are_said_at_once():
    with pytest.raises(SettingsError) as caught:
        read(DELAY="x", LANGUAGE="y", NONSENSE="z")
    assert str(caught.value).count(";") == 2


def test_a_malformed_secret_is_not_repeated():
    with pytest.raises(SettingsError) as caught:
        read(TELEGRAM_TOKEN="hunter2", TELEGRAM_CHAT="-1")
    assert "ALERTING_TELEGRAM_TOKEN" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("4000000000", 4_000_000_000), ("4G", 4 * 2**30), ("1.5 GiB", 3 * 2**29), ("500m", 500 * 2**20), ("1kb", 1024)],
)
def test_a_size_is_bytes_or_with_a_letter(text, size):
    assert read(CLICKHOUSE_MEMORY=text).clickhouse_memory == size


def test_secrets_come_from_files_and_are_not_shown(tmp_path):
    file = tmp_path / "password"
    file.write_text("correct horse\n")
    got = read(CLICKHOUSE_PASSWORD_FILE=str(file))
    assert got.clickhouse_password == "correct horse"
    assert "correct horse" not in repr(got)


def test_env_file_is_read_and_the_environment_goes_before_it(tmp_path):
    file = tmp_path / ".env"
    file.write_text("ALERTING_LANGUAGE=ru\nALERTING_ZONE='Asia/Tokyo'  # a comment\nPATH=ignored\nALERTING_OWNER='a $HOME b'\n")
    got = load_settings({"ALERTING_LANGUAGE": "en"}, file)
    assert (got.language, got.zone, got.owner) == ("en", "Asia/Tokyo", "a $HOME b")


def test_every_setting_says_what_it_is_for():
    import dataclasses

    assert all(f.metadata["help"] for f in dataclasses.fields(Settings))


def test_relative_folders_lie_in_the_repository_whatever_the_working_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert read().data == ROOT / "data"
    assert read(DATA=str(tmp_path)).data == tmp_path


def test_only_the_metrics_asked_for_are_watched():
    from alerting.connections import load_catalogue

    assert [m.name for m in load_catalogue(read(METRICS="ctr, likes"))] == ["likes", "ctr"]
    with pytest.raises(SettingsError, match="ALERTING_METRICS names clicks: there are feed_users"):
        load_catalogue(read(METRICS="ctr,clicks"))


LINES = [  # a `.env` file, and what is said of it
    ("ALERTING_SOURCE: https://hunter2.example", "env, line 1: ALERTING_SOURCE cannot be read"),
    ("ALERTING_SOURCE:https://hunter2.example", "env, line 1: ALERTING_SOURCE does not begin with a name and '='"),
    ("# a comment\n\nALERTING_OWNER='hunter2\nALERTING_ZONE=UTC\n", "env, line 3: ALERTING_OWNER cannot be read"),
    ("\nALERTING_OWNER='hunter2\nALERTING_ZONE='\n", "env, line 2: the quote after ALERTING_OWNER= is not closed on its line"),
    ("PEM='hunter2\nALERTING_ZONE=UTC\n'\n", "env, line 1: the quote after PEM= is not closed on its line"),
    ("ALERTING_LANGUAGE\n", "env, line 1: ALERTING_LANGUAGE has no '='"),
    ("ALERTING_ZONE=UTC\r\nset ALERTING_TELEGRAM_TOKEN=hunter2\r\n", "env, line 2: the line cannot be read"),
    ("- ALERTING_TELEGRAM_TOKEN=hunter2", "env, line 1: the line cannot be read"),
    ("=hunter2", "env, line 1: the line cannot be read"),
    ("\u200bALERTING_LANGUAGE=ru", "env, line 1: the line does not begin with a name"),
    ("alerting_language=ru", "alerting_language is not a setting (did you mean ALERTING_LANGUAGE?)"),
    ("ALERTING-LANGUAGE=ru", "ALERTING-LANGUAGE is not a setting (did you mean ALERTING_LANGUAGE?)"),
    ("ALERTNG_SOURCE=https://hunter2.example", "ALERTNG_SOURCE is not a setting (did you mean ALERTING_SOURCE?)"),
]


@pytest.mark.parametrize(("text", "said"), LINES)
def test_each_line_of_the_env_file_is_a_binding_or_an_error_without_its_value(tmp_path, text, said):
    file = tmp_path / "env"
    file.write_text(text, newline="")
    with pytest.raises(SettingsError) as caught:
        load_settings({}, file)
    assert str(caught.value).startswith(said)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["\ufeffALERTING_LANGUAGE=ru\n", "export ALERTING_LANGUAGE = 'ru' # Russian\r\n", "MORE.x='a\nb'\nALERTING_LANGUAGE=ru"],
)
def test_every_way_to_write_a_binding_is_read(tmp_path, text):
    file = tmp_path / "env"
    file.write_text(text, encoding="utf-8", newline="")
    assert load_settings({}, file).language == "ru"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("ALERTING_LANGUAGE=ru".encode("utf-16"), "it looks like UTF-16"),
        ("ALERTING_LANGUAGE=ru".encode("utf-16-le"), "it looks like UTF-16"),
        ("ALERTING_LANGUAGE=ru\n# привет\n".encode("cp1251"), "line 2: not UTF-8 text"),
        (None, "is not a file"),
    ],
)
def test_an_env_file_that_cannot_be_read_is_one_error(tmp_path, content, said):
    file = tmp_path / "env"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_settings({}, file)
    assert said in str(caught.value)
    assert ";" not in str(caught.value)


@pytest.mark.parametrize(("content", "said"), [(b"", "is empty"), ("https://x".encode("utf-16-le"), "is not UTF-8 text")])
def test_a_file_without_a_secret_is_no_destination_that_is_not_set_up(tmp_path, content, said):
    (tmp_path / "slack").write_bytes(content)
    with pytest.raises(SettingsError, match=said):
        read(SLACK_URL_FILE=str(tmp_path / "slack"))
