"""Destinations other than the chat: routes, the common outbox, a whole incident with real settings, and the docs page."""

import json
import os
import re
import shlex
import subprocess
from contextlib import closing
from dataclasses import fields, replace
from datetime import timedelta

import pytest

from alerting import connections, pipeline
from alerting.__main__ import main
from alerting.cli import doctor
from alerting.connections import connect_chat, load_catalogue, open_notifier
from alerting.failure_notice import notify_failure
from alerting.metrics import METRICS
from alerting.model.errors import NotifyError, SettingsError
from alerting.model.incident import Incident, Member
from alerting.model.message import Receipt
from alerting.model.protocols import Commit
from alerting.model.routing import copy_key, destination_of, parse_routes, plain_key
from alerting.model.run import Reading
from alerting.model.verdict import EventKind, Status, Verdict
from alerting.notifiers.base import Console, RoutingNotifier
from alerting.notifiers.slack import Slack
from alerting.notifiers.telegram import Telegram
from alerting.notifiers.webhook import Webhook
from alerting.pipeline.context import RunContext
from alerting.redaction import redact
from alerting.settings import NAMES, ROOT, load_settings
from alerting.store.state import ReadOnlyState, StateStore
from tests.letters import NOW, OUTPUT, PATH, PICTURE, STEP, box, message
from tests.servers import Web, needs_make, says
from tests.test_pipeline import kpi
from tests.waiting import PATIENCE, until

# Routes


@pytest.mark.parametrize(
    ("more", "to"),
    [
        ({"critical": True}, ("telegram", "email")),
        ({}, ("slack",)),  # likes
        ({"kind": EventKind.RUN_FAILED, "critical": True}, ("webhook",)),
        ({"metric": "ctr"}, ("telegram",)),
        ({"metric": "likes.slices"}, ("slack",)),  # a watched segment goes where its metric goes
        ({"metric": "", "kind": EventKind.DIGEST}, ("telegram",)),
    ],
)
def test_the_first_route_that_matches_says_where(more, to):
    routes = parse_routes("critical -> telegram, email; views,likes->slack\ncheck-failed -> webhook; * -> telegram", NAMES)
    metric = "" if more.get("kind") is EventKind.RUN_FAILED else "likes"
    assert routes.of(replace(message(), **{"metric": metric, **more})) == to


def test_without_routes_everything_goes_to_the_chat_or_to_all_there_is():
    def default(**given):
        environ = {f"ALERTING_{name}": text for name, text in given.items()}
        return load_settings(environ, ROOT / "none").effective_routes.default

    chat = {"TELEGRAM_TOKEN": "1:a", "TELEGRAM_CHAT": "-1"}
    assert default() == ("telegram",)
    assert default(**chat, SLACK_URL="https://hooks/x") == ("telegram",)
    assert default(SLACK_URL="https://hooks/x", WEBHOOK_URL="https://take/it") == ("slack", "webhook")
    assert default(**chat, SLACK_URL="https://hooks/x", ROUTES="* -> slack") == ("slack",)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"ROUTES": "critical telegram"}, "it takes routes such as"),
        ({"ROUTES": "* -> pager"}, "there is no destination pager: there are telegram, slack, email, webhook"),
        ({"ROUTES": "* -> slack"}, "leads to slack, which is not set up: set ALERTING_SLACK_URL"),
        ({"ROUTES": "* -> telegram"}, "leads to telegram, which is not set up"),
        ({"SLACK_URL": "hooks/secretpath"}, "ALERTING_SLACK_URL: it takes a URL"),
        ({"WEBHOOK_URL": "https://me:secretpath@host"}, "without user and password"),
        ({"EMAIL_SERVER": "mail.example:25"}, "smtps://host:465"),
        ({"EMAIL_TO": "duty@example.com, anna"}, "mail addresses such as"),
        ({"EMAIL_FROM": "a@b.example\nBcc: x@y.example"}, "mail addresses such as"),
        ({"EMAIL_SERVER": "smtp://host", "EMAIL_TO": "a@b.example"}, "go together: set all three, or none"),
        ({"EMAIL_USER": "me"}, "ALERTING_EMAIL_USER and ALERTING_EMAIL_PASSWORD go together"),
    ],
)
def test_a_wrong_setting_is_named_and_no_secret_is(given, said):
    with pytest.raises(SettingsError) as caught:
        load_settings({f"ALERTING_{name}": text for name, text in given.items()}, ROOT / "none")
    assert said in str(caught.value)
    assert "secretpath" not in str(caught.value)


def test_a_route_for_what_nothing_is_called_is_refused(tmp_path):
    given = load_settings({"ALERTING_SLACK_URL": "https://h/x", "ALERTING_ROUTES": "clicks, likes -> slack"}, ROOT / "none")
    with pytest.raises(SettingsError, match=r"ALERTING_ROUTES names clicks: there are \*, critical, warning"):
        load_catalogue(given)


# All of them, by the outbox


@pytest.fixture
def post(web, mail, bot, tmp_path):
    """Connections to all four, with the default route to all; keywords replace some of them."""
    other = Web()
    other.will(says(""))
    web.will(says("ok"))

    def connect(routes="* -> telegram, slack, email, webhook"):
        chat = Telegram(bot.token, bot.chat, bot.url, timeout=2)
        places = {"telegram": chat, "slack": Slack(web.url), "email": box(mail), "webhook": Webhook(other.url)}
        store = StateStore(tmp_path / "alerts.sqlite", routes=parse_routes(routes, NAMES))
        return RunContext(METRICS, {}, None, store, RoutingNotifier(places), zone="UTC")

    connect.heard = lambda: {
        "telegram": [m.plain for m in bot.messages],
        "slack": [json.loads(asked.body)["text"] for asked in web.asked if asked.path != "/down"],
        "email": [letter.text.strip() for letter in mail.letters],
        "webhook": [json.loads(asked.body)["text"] for asked in other.asked],
    }
    connect.webhook = other
    yield connect
    other.close()


def told(ctx, now, *messages, **memory):
    ctx.store.commit(Commit(messages=messages, **memory), now)
    return {receipt.key: receipt.state for receipt in pipeline.deliver(ctx, now)}


def test_each_message_goes_once_to_each_destination(post):
    ctx = post()
    assert set(told(ctx, NOW, message(text="a")).values()) == {"sent"}
    assert told(ctx, NOW, message(text="a")) == {}
    assert post.heard() == {place: ["a"] for place in NAMES}
    assert ctx.store.was_sent(message().key)
    assert ctx.store.counts().sent == 4


def test_one_that_is_down_neither_stops_nor_repeats_the_others(post, web):
    ctx = post()
    web.will(says("", 500))
    for number in range(5):
        told(ctx, NOW, message(f"m{number}", f"text {number}"))
    assert post.heard()["email"] == [f"text {number}" for number in range(5)]
    slack = [receipt for receipt in pipeline.deliver(ctx, NOW + STEP) if receipt.state == "kept"]
    assert len(slack) == 5
    assert "in a row did not get through" in slack[-1].reason
    web.asked.clear()
    web.will(says("ok"))
    states = {receipt.key: receipt.state for receipt in pipeline.deliver(ctx, NOW + 2 * STEP)}
    assert states == {f"slack:m{number}": "sent" for number in range(5)}
    assert all(texts == [f"text {number}" for number in range(5)] for texts in post.heard().values())


def test_one_that_answers_last_of_all_delays_no_other(post, web):
    """Slack answers its first message when all others have all of theirs."""

    def answers_last(handler):
        others = ("telegram", "email", "webhook")
        until(lambda: all(len(post.heard()[place]) == 3 for place in others), "the others waited for Slack", 60)
        says("ok")(handler)

    web.will(answers_last, says("ok"))
    ctx = post()
    ctx.notifier.destinations["slack"] = Slack(web.url, timeout=PATIENCE)
    states = told(ctx, NOW, *(message(f"m{number}", f"text {number}") for number in range(3)))
    assert set(states.values()) == {"sent"}
    assert post.heard() == {place: ["text 0", "text 1", "text 2"] for place in NAMES}


def test_what_follows_goes_where_the_incident_was_told_of(post):
    ctx = post("critical -> telegram, email; likes -> slack; * -> webhook")
    told(ctx, NOW, message("i/opened/text", "opened", incident="i"))
    told(ctx, NOW, message("i/taken/text", "taken", incident="i", kind=EventKind.TAKEN, reply_to="i/opened/text"))
    assert {place: len(texts) for place, texts in post.heard().items()} == {"telegram": 0, "slack": 2, "email": 0, "webhook": 0}
    worse = message("i/worsened/text", "worse", incident="i", kind=EventKind.WORSENED, critical=True, reply_to="i/opened/text")
    assert set(told(ctx, NOW, replace(worse, photo=PICTURE.photo)).values()) == {"sent"}
    told(ctx, NOW, message("i/resolved/text", "over", incident="i", kind=EventKind.RESOLVED, reply_to="i/opened/text"))
    assert post.heard() == {
        "telegram": ["worse", "over"],
        "slack": ["opened", "taken", "worse", "over"],
        "email": ["worse", "over"],
        "webhook": [],
    }


def test_edits_change_what_waits_and_follow_what_was_sent(post, web, bot):
    ctx = post()
    web.will(says("", 500))
    told(ctx, NOW, message("i/opened/text", "opened", incident="i"))
    told(ctx, NOW, message("i/edit/1", "newer", incident="i", edits="i/opened/text"))
    assert ctx.store.text("i/opened/text") == "newer"
    web.asked.clear()
    web.will(says("ok"))
    pipeline.deliver(ctx, NOW + STEP)
    assert post.heard() == {
        "telegram": ["newer"],  # in place
        "slack": ["newer"],  # it had not seen the first
        "email": ["opened"],
        "webhook": ["opened"],
    }


def test_a_correction_goes_only_where_there_is_something_to_correct(post, web):
    ctx = post()
    web.will(says("", 500))
    told(ctx, NOW, message("i/opened/text", "opened", incident="i"))
    sorry = message("i/corrected/text", "sorry", incident="i", kind=EventKind.CORRECTED, reply_to="i/opened/text")
    web.asked.clear()
    web.will(says("ok"))
    told(ctx, NOW, sorry, withdrawn_keys=ctx.store.unsent("i"))
    assert post.heard()["slack"] == []
    assert post.heard()["email"] == ["opened", "sorry"]


def test_each_destination_has_a_digest_of_its_own(post, web, mail):
    ctx = post()
    web.will(says("", 500))
    mail.will("MAIL", "451 later", times=3)
    old = NOW - timedelta(hours=9)
    verdict = Verdict("likes", old, Status.ANOMALOUS, 7.0, 9.0, 10.0, 11.0, -3.0)
    going_on = Incident("open", old, (Member("likes", old, old, verdict),), last_notified=old)
    said = [message(f"m{number}", f"old {number}") for number in range(2)]
    told(ctx, old, message(going_on.key, "still open", incident=going_on.id), *said, incidents=[going_on])
    web.asked.clear()
    web.will(says("ok"))
    pipeline.deliver(ctx, NOW)
    heard = post.heard()
    assert heard["telegram"] == heard["webhook"] == ["still open", "old 0", "old 1"]
    for place in ("slack", "email"):
        opening, digest = heard[place]
        assert opening == "still open"
        assert "old 0" in digest
        assert "old 1" in digest


def test_a_destination_that_is_taken_away_is_said_once(post, web):
    ctx = post()
    web.will(says("", 500))
    told(ctx, NOW, message("i/opened/text", "opened", incident="i"))
    fewer = replace(post("* -> telegram"), notifier=RoutingNotifier({"telegram": ctx.notifier.destinations["telegram"]}))
    later = told(fewer, NOW + STEP, message("i/resolved/text", "over", incident="i", reply_to="i/opened/text"))
    assert later == {"slack:i/opened/text": "refused", "i/resolved/text": "sent"}
    assert pipeline.deliver(fewer, NOW + 2 * STEP) == []


def test_the_limit_of_the_chat_is_not_that_of_the_others(post):
    ctx = post()
    states = told(ctx, NOW, *(message(f"m{number}", "x") for number in range(40)))
    assert {place: sum(v == "sent" for k, v in states.items() if destination_of(k) == place) for place in NAMES} == {
        "telegram": 36,
        "slack": 40,
        "email": 40,
        "webhook": 40,
    }


def test_a_chat_that_has_waited_long_enough_leaves_the_others_alone(post, bot):
    ctx, waits = post(), []
    bot.fail("429", times=3, retry_after=80)
    ctx = replace(ctx, wait=waits.append)
    states = told(ctx, NOW, message("a", "a"), message("b", "b"))
    assert waits == [80]
    assert [states[key] for key in ("a", "slack:a", "email:b", "webhook:b")] == ["kept", "sent", "sent", "sent"]


def test_what_an_old_memory_holds_is_sent_to_the_chat(post, tmp_path):
    store = StateStore(tmp_path / "alerts.sqlite")
    store.commit(Commit(messages=[message("i/opened/text", "before", incident="i")]), NOW)
    store.close()
    ctx = post()
    told(ctx, NOW, message("i/resolved/text", "over", incident="i", reply_to="i/opened/text"))
    assert {place: len(texts) for place, texts in post.heard().items()} == {"telegram": 2, "slack": 0, "email": 0, "webhook": 0}


def test_who_looks_back_sees_each_message_once_wherever_it_went(post, tmp_path):
    ctx = post("likes -> slack, email; * -> telegram")
    told(ctx, NOW, replace(message("i/opened/text", "opened", incident="i"), photo=PICTURE.photo))
    told(ctx, NOW, message("i/edit/1", "newer", incident="i", edits="i/opened/text"))
    with closing(ReadOnlyState(tmp_path / "alerts.sqlite", destinations=NAMES)) as past:
        assert [(seen.key, seen.edits) for seen in past.thread("i")] == [
            ("i/opened/text", ""),
            ("i/edit/1", "i/opened/text"),
        ]
        assert [seen.has_picture for seen in past.thread("i")] == [True, False]
        assert past.pictures(NOW, NOW) == ["i/opened/text"]
        assert past.open_or_recent_incidents(NOW) == []


def test_the_outbox_serves_whatever_destinations_it_is_handed(tmp_path):
    known = ("telegram", "pager")
    store = StateStore(tmp_path / "alerts.sqlite", routes=parse_routes("likes -> pager; * -> telegram, pager", known))
    opening = message("i/opened/text", "opened", incident="i")
    store.commit(Commit(messages=[opening, replace(message("run/daily/text", "a day"), metric="views")]), NOW)
    assert [m.key for m in store.waiting()] == ["pager:i/opened/text", "run/daily/text", "pager:run/daily/text"]
    store.record(Receipt("pager:i/opened/text", "sent", message_id="1"), NOW)
    assert (store.was_sent("i/opened/text"), store.was_sent("run/daily/text")) == (True, False)
    assert (store.text("i/opened/text"), store.incident_destinations("i")) == ("opened", {"pager": True})
    store.close()
    with closing(ReadOnlyState(tmp_path / "alerts.sqlite", destinations=known)) as past:
        assert [seen.key for seen in past.thread("i")] == ["i/opened/text"]


@pytest.mark.parametrize("key", ["i/opened/text", "20261120T1236Z-views: all/opened/text", ":x", "A:b", ""])
def test_a_plain_key_belongs_to_the_default_destination(key):
    assert (destination_of(key), plain_key(key), copy_key(key, "telegram")) == ("telegram", key, key)


# A whole incident, by the settings


@pytest.fixture
def settings(web, mail, bot, tmp_path):
    other = Web()
    other.will(says(""))
    web.will(says("ok"))
    table = tmp_path / "kpi.csv"

    def given(**more):
        values = {
            "SOURCE": str(table),
            "TELEGRAM_TOKEN": bot.token,
            "TELEGRAM_CHAT": bot.chat,
            "TELEGRAM_URL": bot.url,
            "SLACK_URL": web.url + PATH,
            "EMAIL_SERVER": f"smtp://127.0.0.1:{mail.port}",
            "EMAIL_FROM": "alerts@example.com",
            "EMAIL_TO": "duty@example.com",
            "WEBHOOK_URL": other.url + PATH,
            "WEBHOOK_SECRET": "whisperwhisper",
            "ROUTES": "* -> telegram, slack, email, webhook",
            "DATA": str(tmp_path / "data"),
            "REPORTS": str(tmp_path / "reports"),
            "ZONE": "UTC",
            **more,
        }
        return load_settings({f"ALERTING_{name}": text for name, text in values.items()}, ROOT / "none")

    given.table, given.webhook = table, other
    yield given
    other.close()


def a_run(given, values, now):
    """Make the steps of the notebook."""
    values.loc[:now].rename_axis("ts").rename("value").reset_index().assign(series="likes").to_csv(given.table, index=False)
    ctx = connections.connect(settings=given())
    pipeline.begin_run(ctx, now)
    due = pipeline.due(ctx, now)
    reading = pipeline.read(ctx, due, 0, now)
    pipeline.read_feedback(ctx, now)
    judged = pipeline.judge(ctx, due, reading, now)
    changes = pipeline.advance(ctx, judged, now)
    pipeline.commit(ctx, judged, changes, pipeline.compose(ctx, changes, judged, now))
    receipts = pipeline.deliver(ctx, now)
    ctx.store.close()
    return [receipt for receipt in receipts if receipt.state != "sent"]


def broken(place, bot, web, hook, mail):
    """Takes a destination down; gives what brings it back."""

    def back(server, whole):
        server.asked.clear()  # what it refused
        server.will(says(whole))

    if place == "telegram":
        bot.fail("500", times=99)
        return lambda: bot.faults.clear()
    if place == "email":
        mail.will("connect", "421 busy", times=99)
        return mail.faults.clear
    server, whole = (web, "ok") if place == "slack" else (hook, "")
    server.will(says("", 503))
    return lambda: back(server, whole)


@pytest.mark.parametrize("place", NAMES)
def test_a_whole_incident_reaches_everybody_exactly_once(settings, bot, web, mail, place):
    values = kpi()
    values = values[values.index >= values.index[-1] - timedelta(days=30)]
    odd, well = values.index[-12], values.index[-6]
    values.loc[odd : well - STEP] *= 0.4
    late = timedelta(minutes=21)
    assert a_run(settings, values, odd - STEP + late) == []
    back = broken(place, bot, web, settings.webhook, mail)
    for bucket in (odd, odd + STEP):  # the opening, and its first edit
        assert {destination_of(receipt.key) for receipt in a_run(settings, values, bucket + late)} == {place}
    back()
    for bucket in values.loc[odd + 2 * STEP :].index:
        assert a_run(settings, values, bucket + late) == []
    opening, ending = bot.messages
    assert ending.photo
    assert (opening.photo, ending.reply_to) == (ending.photo, opening.id)  # a picture of the whole of it
    assert [m.plain.split()[0] for m in (opening, ending)] == ["🟢", "🟢"]  # the one edited, the other new
    slack = [json.loads(asked.body)["text"] for asked in web.asked]
    assert [text.split()[0] for text in slack] == ["🔴", "🟢"]
    letters = [letter.mail for letter in mail.letters]
    assert [letter["Subject"].split()[0] for letter in letters] == ["🔴", "🟢"]
    assert letters[1]["In-Reply-To"] == letters[0]["Message-ID"]
    assert all(any(part.get_content_type() == "image/png" for part in letter.walk()) for letter in letters)
    assert ending.plain.splitlines()[0] in mail.letters[1].text
    posted = [json.loads(asked.body) for asked in settings.webhook.asked]
    assert [item["kind"] for item in posted] == ["opened", "resolved"]
    assert all(item["photo"] for item in posted)


def test_a_failing_check_goes_by_its_route_and_to_all_of_it(settings, bot, web, mail):
    given = settings(ROUTES="check-failed -> email, slack; * -> telegram")
    notify_failure(given, NOW, "database down", "run")
    assert (len(bot.messages), len(web.asked), len(mail.letters)) == (0, 1, 1)
    web.will(says("", 500))
    said = notify_failure(settings(ROUTES=given.routes, DATA="/proc/nowhere"), NOW, "disk full", "run")
    assert "told, without a memory; Slack: 500" in said
    assert "disk full" in mail.letters[-1].text
    mail.will("MAIL", "451 later")
    with pytest.raises(NotifyError):
        notify_failure(settings(ROUTES=given.routes, DATA="/proc/nowhere"), NOW, "disk full", "run")


def test_a_failure_notice_without_a_memory_waits_for_no_destination(settings, bot, web):
    def answers_last(handler):
        until(lambda: bot.messages, "the chat waited for Slack", 10)
        says("ok")(handler)

    web.will(answers_last)
    given = settings(ROUTES="check-failed -> slack, telegram; * -> telegram", DATA="/proc/nowhere")
    assert notify_failure(given, NOW, "disk full", "run") == "told, without a memory"
    assert "disk full" in bot.messages[0].plain


def test_the_doctor_checks_each_and_sends_nothing(settings, bot, web, mail):
    checks = {check.name: check for check in doctor._check_destinations(settings())}
    assert list(checks) == ["chat", "slack", "email", "webhook"]
    assert all(check.ok for check in checks.values()), checks
    assert (bot.messages, mail.letters) == ([], [])
    web.will(says("no_service", 404))
    mail.will("RCPT", "550 unknown")
    broken = list(doctor._check_destinations(settings(ROUTES="* -> telegram, slack, email")))
    assert [(check.name, check.ok) for check in broken] == [
        ("chat", True),
        ("slack", False),
        ("email", False),
        ("webhook", True),
        ("webhook", False),
    ]
    assert broken[-1].details == "no route leads there: name webhook in ALERTING_ROUTES"
    assert "verysecretpath" not in str(broken)


def test_a_drill_goes_by_the_default_route_and_says_who_took_it(settings, bot, web, mail, settle, monkeypatch, capsys):
    given = settings(SOURCE="embedded", ROUTES="critical -> webhook; * -> slack, email")
    settle(given.data)
    for name, text in environment(given).items():
        monkeypatch.setenv(name, text)
    mail.will(".", "554 spam")
    assert main(["drill"]) == 1
    said = capsys.readouterr().out
    assert "ok  arrived: 1 of 1 messages at slack" in said
    assert "BAD arrived: 0 of " in said
    assert (bot.messages, settings.webhook.asked) == ([], [])


def test_no_secret_is_left_in_what_is_written(settings):
    given = settings(EMAIL_USER="me", EMAIL_PASSWORD="hunter2hunter2")
    text = f"{given.slack_url} {PATH} max retries with url: {PATH} {given.webhook_secret} {given.email_password} {given.email_to}"
    left, count = redact(text, given)
    assert count >= 5
    assert "verysecretpath" not in left
    assert "whisper" not in left
    assert "hunter2" not in left
    assert "duty@example.com" in left
    assert not any(secret in repr(given) for secret in ("verysecretpath", "whisper", "hunter2"))


def test_without_any_destination_everything_is_printed(tmp_path):
    folders = {"ALERTING_DATA": str(tmp_path / "data"), "ALERTING_REPORTS": str(tmp_path / "reports")}
    given = load_settings(folders, ROOT / "none")
    notifier, note = open_notifier(given)
    assert isinstance(notifier, Console)
    assert note.startswith("No chat is configured")
    assert pipeline.finish(connect_chat(given), Reading({}), []) == "all seen; 0 messages printed, no chat is configured"


# The page about it


def blocks(kind):
    """Lines of the page's code blocks of a kind."""
    page = (ROOT / "docs" / "destinations.md").read_text()
    return [line for block in re.findall(rf"```{kind}\n(.*?)```", page, re.DOTALL) for line in block.splitlines() if line]


def test_the_settings_on_the_page_are_settings(tmp_path):
    for name, text in (("slack", "https://h/x"), ("mail", "pw"), ("webhook", "https://h/y"), ("webhook-key", "k")):
        (tmp_path / name).write_text(text)
    env = tmp_path / ".env"
    env.write_text("\n".join(blocks("ini")).replace("/run/secrets", str(tmp_path)))
    given = load_settings({}, env)
    assert given.destinations == ("slack", "email", "webhook")
    assert given.effective_routes.default == ("webhook",)


def environment(given):
    """The settings as variables."""
    names = [f.name for f in fields(given) if getattr(given, f.name) and f.name not in ("calendar", "telegram_users")]
    return {f"ALERTING_{name.upper()}": str(getattr(given, name)) for name in names}


def test_the_commands_on_the_page_run_and_leave_no_secret_behind(settings, bot, web, mail, settle, tmp_path):
    needs_make()
    given = settings(SOURCE="embedded", ROUTES="* -> slack, email, webhook", DAILY="00:00", INCIDENT_NOTEBOOK="off")
    settle(given.data)
    own = environment(given)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), **own}
    for line in blocks("sh"):
        command = shlex.split(line, comments=True)
        done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
    web.will(says(f"no {PATH}", 403))
    values = kpi()[-30 * 96 :]  # and now a run that surely has something to say, whatever the app has at this hour
    values.iloc[-1] *= 0.4
    values.rename_axis("ts").rename("value").reset_index().assign(series="likes").to_csv(settings.table, index=False)
    env |= {"ALERTING_SOURCE": str(settings.table), "ALERTING_DATA": str(tmp_path / "new")}
    env |= {"ALERTING_REPORTS": str(tmp_path / "reports" / "new")}
    command = ["make", "run-alerts", f"ARGS=--at {values.index[-1] + timedelta(minutes=21):%Y-%m-%dT%H:%M}Z"]
    done = subprocess.run(command, cwd=ROOT, env=env, **OUTPUT)
    assert "check ALERTING_SLACK_URL" in done.stdout
    assert len(mail.letters) >= 2
    written = [path for path in (tmp_path / "reports").rglob("*") if path.is_file()]
    texts = [path.read_text(errors="replace") for path in written] + [done.stdout + done.stderr]
    assert len(written) > 2
    assert not any(secret in text for text in texts for secret in ("verysecretpath", "whisperwhisper"))
