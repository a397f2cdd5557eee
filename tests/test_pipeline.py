"""The steps of a run with a real table, a real state file and a real chat server."""

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from alerting import backtest, metric_values, pipeline
from alerting import messages as messages_module
from alerting.detectors.limits import Above, Below
from alerting.incidents.grouping import update_incidents
from alerting.messages.compose import run_failed
from alerting.metrics import METRICS, metrics_of_table
from alerting.model.errors import NotDelivered, RunFailed, SettingsError, SourceError
from alerting.model.incident import Incident, Member
from alerting.model.message import Message, Receipt
from alerting.model.metric import Metric, Policy, Query
from alerting.model.protocols import Commit
from alerting.model.run import Reading
from alerting.model.verdict import EventKind, Status, Verdict
from alerting.notifiers.base import Console
from alerting.notifiers.telegram import Telegram
from alerting.pipeline import display
from alerting.pipeline.context import RunContext, last_closed_bucket
from alerting.pipeline.deliver import follow_up
from alerting.pipeline.judged import JudgedMetrics
from alerting.sources.base import BaseSource
from alerting.sources.table import TableSource
from alerting.store.state import StateStore
from tests.waiting import PATIENCE

STEP = timedelta(minutes=15)
END = datetime(2026, 11, 20, 12, tzinfo=UTC)  # start of the last bucket of the table
DAYS = 31


def kpi(rng_seed=0):
    """A daily rhythm with little noise, up to and including END."""
    index = pd.date_range(END - timedelta(days=DAYS), END, freq=STEP)
    rng = np.random.default_rng(rng_seed)
    rhythm = 1000 + 300 * np.sin(2 * np.pi * (index.hour * 60 + index.minute).to_numpy() / 1440)
    return pd.Series((rhythm * rng.normal(1, 0.02, len(index))).round(), index)


@pytest.fixture
def world(tmp_path):
    """Connections to a table of the given series, a memory file and a list of printed messages."""

    def connect(series, notifier=None, store=None, **more):
        path = tmp_path / "kpi.csv"
        rows = [pd.DataFrame({"series": name, "ts": s.index, "value": s.to_numpy()}) for name, s in series.items()]
        pd.concat(rows).to_csv(path, index=False)
        table = TableSource(path)
        return RunContext(
            metrics=more.pop("metrics", None) or metrics_of_table(table.steps()),
            queries={},
            source=table,
            store=store or StateStore(tmp_path / "memory" / "alerts.sqlite"),
            notifier=notifier or Console(),
            **more,
        )

    return connect


def run(ctx, now, days=0):
    """A run as the notebook makes it; gives what was said."""
    pipeline.begin_run(ctx, now)
    due = pipeline.due(ctx, now)
    reading = pipeline.read(ctx, due, days, now)
    pipeline.read_feedback(ctx, now)
    judged = pipeline.judge(ctx, due, reading, now)
    changes = pipeline.advance(ctx, judged, now)
    pipeline.commit(ctx, judged, changes, pipeline.compose(ctx, changes, judged, now))
    receipts = pipeline.deliver(ctx, now)
    return changes.events, receipts, pipeline.finish(ctx, reading, receipts)


def after(bucket):
    """The moment at which a bucket is judged."""
    return bucket + STEP + timedelta(minutes=6)


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("yesterday", "is not a time"),
        ("2026-11-20T12:15", "has no time zone"),
        ("2126-11-20T12:15Z", "lies in the future"),
        ("12:15Z", "is not a time"),
    ],
)
def test_a_moment_is_refused_by_name(at, said):
    with pytest.raises(SettingsError, match=said):
        pipeline.clock(at)


def test_a_moment_is_read():
    noon = datetime(2026, 11, 20, 12, 15, tzinfo=UTC)
    assert pipeline.clock("2026-11-20T12:15Z") == noon
    assert pipeline.clock("2026-11-20T15:15+03:00") == noon
    assert pipeline.clock("", noon) is noon


@pytest.mark.parametrize(
    ("now", "bucket"),
    [("12:20", "12:00"), ("12:19", "11:45"), ("12:34", "12:00"), ("12:35", "12:15"), ("00:03", "23:30")],
)
def test_last_closed_bucket_had_its_delay(now, bucket):
    at = datetime.fromisoformat(f"2026-11-20T{now}+00:00")
    assert f"{last_closed_bucket(at, timedelta(minutes=5)):%H:%M}" == bucket


def test_first_run_tells_what_is_going_on_and_nothing_of_what_is_over(world):
    values = kpi()
    values.iloc[-60:-50] = 10  # over since long
    values.iloc[-3:] = 10  # going on
    events, receipts, _ = run(world({"a": values, "calm": kpi(1)}), after(END))
    assert [(e.metric, e.kind, e.bucket) for e in events] == [("a", EventKind.OPENED, END - 2 * STEP)]
    assert [r.state for r in receipts] == ["sent"]  # a picture with its caption


def test_a_second_run_at_the_same_moment_sends_nothing(world):
    values = kpi()
    values.iloc[-1] = 10
    ctx = world({"a": values})
    assert len(run(ctx, after(END))[0]) == 1
    assert run(ctx, after(END))[:2] == ([], [])


def test_every_bucket_is_judged_once_and_in_order_after_a_dead_cron(world):
    values = kpi()
    values.iloc[-9:-6] = 10
    ctx = world({"a": values})
    run(ctx, after(END - 10 * STEP))
    events, _, _ = run(ctx, after(END))
    assert [(e.kind, e.bucket, e.incident.last_notified) for e in events] == [
        (EventKind.RESOLVED, END - 4 * STEP, None)
    ]  # told once, as over
    (incident,) = ctx.store.all_incidents(END - 10 * STEP)
    assert (incident.opened, incident.root.since, incident.root.until) == (END - 8 * STEP, END - 8 * STEP, END - 5 * STEP)
    judged = [v.bucket for v in ctx.store.judged("a", END - 10 * STEP)]
    assert judged == [END - i * STEP for i in range(10, -1, -1)]


def test_bucket_by_bucket_equals_a_catch_up_equals_a_backtest(world, tmp_path):
    values = kpi(3)
    values.iloc[-120:-110] *= 0.4
    values.iloc[-70:-67] = np.nan
    values.iloc[-35] = 5000
    first = END - 140 * STEP

    def live(moments, name):
        ctx = world({"a": values}, store=StateStore(tmp_path / name))
        run(ctx, after(first))
        return ctx, [e for moment in moments for e in run(ctx, moment)[0]]

    one, single = live([after(first + i * STEP) for i in range(1, 141)], "one")
    many, caught = live([after(END)], "many")
    past = one.source.fetch(Query("a", ""), values.index[0], END + STEP).value.reindex(values.index)
    replay = backtest.BacktestData(one.metrics, {"a": past}, first + STEP, END + STEP).replay_all()
    stories, said = update_incidents([], replay.events, one.metrics, lambda metric, bucket: False)
    told = [(e.kind, e.bucket) for e in single if e.kind is not EventKind.REMINDER]
    assert told == [(e.kind, e.bucket) for e in said if e.kind is not EventKind.REMINDER]
    assert len(told) == 6
    assert [e.kind for e in caught] == [
        EventKind.RESOLVED,
        EventKind.DATA_BACK,
        EventKind.RESOLVED,
    ]  # each once, with its true times
    assert times(one.store.all_incidents(first)) == times(many.store.all_incidents(first)) == times(stories)
    since = first + STEP
    assert repr(one.store.judged("a", since)) == repr(many.store.judged("a", since)) == repr(replay.verdicts)


def times(incidents):
    return [(i.id, i.opened, i.closed, [(m.metric, m.since, m.until, m.lost, m.worst) for m in i.members]) for i in incidents]


def test_no_data_is_said_and_is_never_the_last_row_there_was(world):
    values = kpi()
    values.iloc[-2:] = np.nan
    ctx = world({"a": values})
    events, _, _ = run(ctx, after(END))
    assert [(e.kind, e.bucket) for e in events] == [(EventKind.NO_DATA, END)]
    assert ctx.store.judged("a", END)[0].status is Status.MISSING


def test_a_table_that_ends_is_missing_not_normal(world):
    ctx = world({"a": kpi()})
    run(ctx, after(END))
    events, _, _ = run(ctx, after(END + 3 * STEP))
    assert [(e.kind, e.bucket) for e in events] == [(EventKind.NO_DATA, END + 2 * STEP)]


def broken(counts):
    raise ZeroDivisionError("no such thing")


def test_a_metric_that_raises_hides_no_other_and_ends_red(world):
    catalogue = metrics_of_table({"a": STEP})
    bad = replace(catalogue[0], name="bad", value=broken)
    scalar = replace(catalogue[0], name="scalar", value=lambda counts: 1.0)
    ctx = world({"a": kpi()}, metrics=[bad, *catalogue, scalar])
    with pytest.raises(RunFailed, match="bad was not judged: its value could not be made: ZeroDivisionError: no such thing"):
        run(ctx, after(END))
    assert set(ctx.store.last_judged()) == {"a"}
    reading = pipeline.read(ctx, pipeline.due(ctx, after(END + STEP)))
    shown = display.show_verdicts(ctx, JudgedMetrics(ctx, reading, {}), reading)
    assert shown.loc["bad", "status"] == "missing"
    assert "one number per bucket" in shown.loc["scalar", "why"]


def test_negative_and_infinite_counts_are_missing_and_said(world):
    values = kpi()
    values.iloc[-1], values.iloc[-2] = -5, np.inf
    metric = replace(metrics_of_table({"a": STEP})[0], form="count")
    ctx = world({"a": values}, metrics=[metric])
    reading = pipeline.read(ctx, pipeline.due(ctx, after(END)))
    assert reading.series["a"].iloc[-2:].isna().all()
    assert any("2 impossible values" in note or "1 impossible values" in note for note in reading.notes)


def test_a_metric_that_never_had_a_value_was_not_seen(world):
    ctx = world({"a": kpi(), "empty": kpi() * np.nan})
    with pytest.raises(RunFailed, match="empty was not judged: no value from 2026-"):
        run(ctx, after(END))
    assert set(ctx.store.last_judged()) == {"a"}


def test_fixed_limits_need_no_history_and_make_whole_episodes(world):
    """From the first run over two hours of data on: opened, worsened, resolved, stored and read again."""
    quiet = pd.Series(60.0, pd.date_range(END - 8 * STEP, END, freq=STEP))
    quiet.iloc[-5:-2] = 130, 140, 200
    titles = {"en": "Latency"}
    limits = [
        Metric("above", titles, "latency", metric_values.count("value"), Above(100), form="number"),
        Metric("below", titles, "latency", metric_values.count("value"), Below(0.5), form="number"),
    ]
    ctx, told = world({"latency": quiet}, metrics=limits), []
    for bucket in quiet.index[3:]:
        events, receipts, _ = run(ctx, after(bucket.to_pydatetime()), days=0)
        told += [(event.metric, event.kind, event.verdict.value) for event in events]
        assert {receipt.state for receipt in receipts} <= {"sent"}
    assert told == [
        ("above", EventKind.OPENED, 130),
        ("above", EventKind.WORSENED, 200),
        ("above", EventKind.RESOLVED, 60),
    ]
    above, below = (ctx.store.judged(name, quiet.index[0].to_pydatetime()) for name in ("above", "below"))
    assert [verdict.status for verdict in above] == [Status.NORMAL] * 4 + [Status.ANOMALOUS] * 3 + [Status.NORMAL] * 2
    assert {verdict.status for verdict in below} == {Status.NORMAL}
    assert {(verdict.low, verdict.high) for verdict in above} == {(-np.inf, 100.0)}


def test_a_query_that_is_not_there_is_a_trouble_of_its_metrics(world):
    catalogue = metrics_of_table({"a": STEP})
    lost = replace(catalogue[0], name="lost", query="no_such")
    ctx = world({"a": kpi()}, metrics=[lost, *catalogue])
    reading = pipeline.read(ctx, pipeline.due(ctx, after(END)))
    assert set(reading.series) == {"a"}
    assert "no_such" in reading.errors["lost"]


def test_what_could_not_be_read_stays_due(world, tmp_path):
    ctx = world({"a": kpi()})
    run(ctx, after(END - 4 * STEP))
    (tmp_path / "kpi.csv").rename(tmp_path / "away.csv")
    with pytest.raises(RunFailed, match="a was not judged"):
        run(ctx, after(END - 2 * STEP))
    assert ctx.store.last_judged()["a"] == END - 4 * STEP
    (tmp_path / "away.csv").rename(tmp_path / "kpi.csv")
    run(ctx, after(END))
    assert ctx.store.last_judged()["a"] == END


def test_ratio_divides_here_and_keeps_nothing_over_nothing_as_a_gap():
    counts = pd.DataFrame({"likes": [1.0, 0.0, 3.0, np.nan], "views": [4.0, 0.0, 0.0, 2.0]})
    assert metric_values.ratio("likes", "views")(counts).tolist()[0] == 0.25
    assert metric_values.ratio("likes", "views")(counts).isna().tolist() == [False, True, True, True]


def test_finish_is_red_when_something_was_not_said(world):
    ctx = world({"a": kpi()})
    waiting = Receipt("views/opened/1", "kept", "429 Too Many Requests")
    ctx.store.commit(Commit(messages=[Message(waiting.key, EventKind.OPENED, "views", END, "text")]), after(END))
    with pytest.raises(NotDelivered, match="views/opened/1 was kept: 429"):
        pipeline.finish(ctx, Reading({}), [waiting, Receipt("l", "sent")])
    with pytest.raises(NotDelivered, match="views/opened/1 was kept: not tried"):
        pipeline.finish(ctx, Reading({}), [Receipt("l", "sent")])
    with pytest.raises(RunFailed, match=r"was refused: 400.*views/opened/1 was kept") as refused:
        pipeline.finish(ctx, Reading({}), [waiting, Receipt("l", "refused", "400")])
    assert not isinstance(refused.value, NotDelivered)  # what nobody will ever hear of must be said another way
    ctx.store.record(Receipt(waiting.key, "sent", message_id="7"), after(END))  # kept first, and sent later in the same run
    assert pipeline.finish(ctx, Reading({}), [waiting, Receipt(waiting.key, "sent")]) == "all seen; 1 message sent"


def test_a_memory_that_was_lost_is_said_loudly_and_the_run_goes_on(world, tmp_path):
    file = tmp_path / "memory" / "alerts.sqlite"
    file.parent.mkdir()
    file.write_bytes(b"this is no database at all, but it is long enough to look like one" * 100)
    ctx = world({"a": kpi()})
    with pytest.raises(RunFailed, match="THE STATE DATABASE WAS CORRUPTED"):
        run(ctx, after(END))
    assert ctx.store.last_judged() == {"a": END}


def test_missed_runs_are_said_once_and_not_after_checks_that_failed(world):
    ctx = world({"a": kpi()})
    run(ctx, after(END - 9 * STEP))
    _, receipts, _ = run(ctx, after(END - 6 * STEP))
    assert [r.key.split("/")[1] for r in receipts] == ["caught-up"]
    assert run(ctx, after(END - 4 * STEP))[1] == []  # a little late is not worth a word
    failed = run_failed(after(END - 3 * STEP), "database down", None, None, messages_module.Audience("en", "UTC", after(END)))
    ctx.store.commit(Commit(messages=[failed]))
    _, receipts, _ = run(ctx, after(END))
    assert [r.key.split("/")[1] for r in receipts] == ["run-failed"]


@pytest.mark.parametrize("minutes", [1, 5, 10])
def test_a_run_in_time_judges_several_short_buckets_and_is_not_late(world, minutes):
    index = pd.date_range(END - timedelta(days=3), END + 4 * STEP, freq=f"{minutes}min")
    ctx = world({"a": pd.Series(100.0, index)})
    told = [run(ctx, after(END - number * STEP))[1] for number in (9, 8, 7, 5)]  # one was missed at last
    assert told == [[]] * 4
    (late,) = run(ctx, after(END - 2 * STEP))[1]
    assert late.key.startswith("run/caught-up/")


@pytest.fixture
def chat(bot):
    return Telegram(bot.token, bot.chat, bot.url, timeout=2)


def test_a_refusal_is_kept_and_the_next_run_sends_it_once(world, bot, chat):
    values = kpi()
    values.iloc[-1] = 10
    ctx = world({"a": values}, notifier=chat)
    bot.fail("429", times=1, retry_after=900, method="sendPhoto")
    with pytest.raises(RunFailed, match="was kept"):
        run(ctx, after(END))
    _, receipts, _ = run(ctx, after(END) + timedelta(minutes=16))
    assert [r.state for r in receipts if "opened" in r.key] == ["sent"]
    assert [m.method for m in bot.messages] == ["sendPhoto"]


def test_a_short_429_is_waited_for_within_the_run(world, bot, chat):
    values = kpi()
    values.iloc[-1] = 10
    waited = []
    ctx = world({"a": values}, notifier=chat, wait=waited.append)
    bot.fail("429", times=1, retry_after=3, method="sendPhoto")
    _, receipts, _ = run(ctx, after(END))
    assert waited == [3.0]
    assert [r.state for r in receipts] == ["sent"]


def test_a_picture_that_fails_holds_up_no_text(world, bot, chat):
    one, two = kpi(1), kpi(2)
    one.iloc[-9:] = two.iloc[-1] = 10  # two hours apart: two stories
    ctx = world({"one": one, "two": two}, notifier=chat)
    bot.fail("500", times=2, method="sendPhoto")
    _, _, outcome = run(ctx, after(END))
    assert [m.method for m in bot.messages] == ["sendMessage", "sendMessage"]
    assert str(outcome).count("sent without its picture") == 2


def one_metric(world, bot, chat, language="en"):
    """Runs over two hours of a fall that gets worse in its third bucket, and half an hour after it; yield after each."""
    values, begin = kpi(), END - 12 * STEP
    values.loc[begin : begin + STEP] *= 0.62
    values.loc[begin + 2 * STEP : begin + 7 * STEP] *= 0.3
    ctx = world({"orders": values}, notifier=chat, language=language)
    for bucket in pd.date_range(begin - STEP, END, freq=STEP):
        run(ctx, after(bucket.to_pydatetime()))
        yield ctx


@pytest.mark.parametrize(("language", "back"), [("en", "🟢 orders back to normal"), ("ru", "🟢 orders снова в норме")])
def test_an_incident_is_one_entry_with_replies_for_what_should_ring(world, bot, chat, language, back):
    """The entry is edited with each run; its picture changes when it gets worse and when it has ended."""
    seen = [(bot.messages[0].plain, bot.messages[0].photo) for _ in one_metric(world, bot, chat, language) if bot.messages]
    entry, worse, over = bot.messages
    assert [m.method for m in bot.messages] == ["sendPhoto"] * 3
    assert worse.reply_to == over.reply_to == entry.id
    assert entry.plain.startswith(back)
    assert over.plain.startswith(back)
    assert list(dict.fromkeys(photo for _, photo in seen)) == [seen[0][1], worse.photo, over.photo]
    assert len({text for text, _ in seen}) > 5, "numbers move"
    assert all(len(text.splitlines()) <= 6 for text, _ in seen)


@pytest.mark.parametrize("answer", ["message to edit not found", "message can't be edited", "message is not modified"])
def test_an_entry_that_cannot_be_edited_costs_no_reply_and_no_green_run(world, bot, chat, answer):
    """A person has deleted it, for example: each of its versions is tried once, what rings stands alone, and runs are green."""
    runs = []
    for ctx in one_metric(world, bot, chat):
        runs.append(ctx)
        if len(bot.messages) == 1 and "not found" in answer:
            bot.inside.delete(bot.messages[0].id)
        elif len(bot.messages) == 1:
            for method in ("editMessageCaption", "editMessageMedia"):
                bot.fail("400", times=99, method=method, description=f"Bad Request: {answer}")
    assert [m.plain.split()[0] for m in bot.messages] == ["🟡", "🔴", "🟢"]
    assert runs[-1].store.waiting() == []
    before = len(bot.calls)
    run(runs[-1], after(END) + timedelta(minutes=1))
    assert [method for method, _ in bot.calls[before:] if method.startswith("edit")] == []


def test_when_nothing_gets_through_the_rest_is_not_tried(world, bot, chat):
    drops = {name: kpi(i) for i, name in enumerate("abcdef")}
    for i, values in enumerate(drops.values()):
        values.iloc[-1 - 6 * i :] = 10  # each a story of its own
    ctx = world(drops, notifier=chat)
    bot.fail("500", times=99)
    with pytest.raises(RunFailed) as caught:
        run(ctx, after(END))
    assert str(caught.value).count("not tried") == 3
    assert len(ctx.store.waiting(after(END) + timedelta(hours=1))) >= 6


def test_first_look_and_policy_of_many_steps(world):
    hourly = kpi().resample("1h").mean()
    hourly.iloc[-2] = 10
    ctx = world({"quarter": kpi(), "hour": hourly})
    assert {m.name: m.step for m in ctx.metrics} == {"quarter": STEP, "hour": timedelta(hours=1)}
    events, _, _ = run(ctx, END + timedelta(minutes=20))
    assert [(e.metric, e.bucket.minute) for e in events] == [("hour", 0)]


def test_fine_buckets_are_judged_in_order_by_a_coarse_check_and_told_once(world):
    """Three 5-minute buckets a run: the drop is told with its true time, and once."""
    fine = kpi().resample("5min").interpolate().round()
    last = fine.index[-1]
    fine.iloc[-5:] = 10
    ctx = world({"fine": fine})
    assert ctx.metrics[0].step == timedelta(minutes=5)
    assert run(ctx, last - timedelta(minutes=19))[0] == []
    events = [e for minutes in (4, 11) for e in run(ctx, last + timedelta(minutes=minutes))[0]]
    assert [(e.kind, e.bucket) for e in events] == [(EventKind.OPENED, last - timedelta(minutes=20))]
    assert len(ctx.store.judged("fine", last - timedelta(minutes=30))) == 7


def test_catalogue_names_are_plain_whatever_the_series_are_called():
    names = [m.name for m in metrics_of_table({"a/b": STEP, "a b": STEP, "ё": STEP, "": STEP})]
    assert len(set(names)) == 4
    assert all(isinstance(m, Metric) for m in metrics_of_table({"a/b": STEP}))
    assert METRICS[0].policy == Policy()


class Sliced(BaseSource):
    """A table's counts, and rows of slices that are waited for or fail: all of the drop is in os=iOS."""

    runs_sql = True

    def __init__(self, table, ready=None, fault=None):
        self.table, self.ready, self.fault = table, ready, fault

    def fetch(self, query, start, end):
        return self.table.fetch(query, start, end)

    def rows(self, query, start, end):
        assert self.ready is None or self.ready.wait(PATIENCE)
        if self.fault:
            raise self.fault
        days = [
            [day, system, 0 if day == 0 and system == "iOS" else 1000.0] for day in range(29) for system in ("iOS", "Android")
        ]
        return pd.DataFrame(days, columns=["days_ago", "os", "value"])


def explained(world, **how):
    """A run in which `a` loses half. `patience`: seconds the alert waits for its cause, which is `ready` after the alert."""
    values = kpi()
    values.iloc[-1] = round(values.iloc[-1] / 2)
    patience = how.pop("patience", PATIENCE)
    ctx = world({"a": values}, slices={"a": Query("a", "")}, dashboard="https://bi.example/?at={start}&only={slice}")
    ctx = replace(ctx, source=Sliced(ctx.source, **how))
    now = after(END)
    due = pipeline.due(ctx, now)
    reading = pipeline.read(ctx, due, 29, now)
    judged = pipeline.judge(ctx, due, reading, now)
    began = time.monotonic()
    changes, found = pipeline.explain(ctx, pipeline.advance(ctx, judged, now), judged, patience)
    waited = time.monotonic() - began
    pipeline.commit(ctx, judged, changes, pipeline.compose(ctx, changes, judged, now))
    first = [r.key for r in pipeline.deliver(ctx, now)]
    if "ready" in how:
        how["ready"].set()
    late = [r.key for r in follow_up(ctx, found, now)]
    (incident,) = ctx.store.incidents()
    return ctx, found, waited, first, late, incident


def test_a_cause_is_said_with_the_alert_and_fills_the_dashboard_link(world):
    ctx, found, _, first, late, incident = explained(world)
    text = ctx.store.text(first[0])
    assert "os iOS" in text
    assert "only=os%3DiOS" in text
    assert incident.cause.slice.elements == ((("os", "iOS"),),)
    assert (late, found.pending) == ([], {})


def test_a_slow_explanation_delays_no_alert_and_follows_as_an_edit(world):
    ctx, _found, waited, first, late, incident = explained(world, ready=threading.Event(), patience=0.1)
    assert waited < 4
    assert [key.rsplit("/", 2)[1] for key in first] == ["opened"]  # without a cause
    assert [key.split("/")[1] for key in late] == ["edit"]
    assert "os iOS" in ctx.store.text(incident.key)  # the opening message was edited to say it
    assert incident.cause.answer == "carried"


def test_an_explanation_that_fails_costs_nothing_but_itself(world):
    _to, found, _, first, late, incident = explained(world, fault=SourceError("no column os"))
    assert list(found.errors.values()) == ["SourceError: no column os"]
    assert len(first) == 1
    assert late == []
    assert incident.cause is None
    assert "no column os" in display.show_root_causes(found)["slice"].iloc[0]


def test_a_clock_that_was_ahead_for_one_run_blinds_nobody(world):
    """It has judged a day that was not there yet as missing; as the rows come, they are judged."""
    values = kpi()
    values.iloc[-3:] = 10
    ctx = world({"a": values})
    run(ctx, after(END - 4 * STEP))
    run(ctx, after(END + timedelta(days=1)))  # ahead
    assert ctx.store.judged("a", END)[0].status is not Status.MISSING
    later = values.reindex(pd.date_range(values.index[0], END + 3 * STEP, freq=STEP)).fillna(1000)
    ctx = world({"a": later}, store=ctx.store)
    for n in (2, 3):
        run(ctx, after(END + n * STEP))
    assert all(v.status is not Status.MISSING for v in ctx.store.judged("a", END + STEP)[:3])


def test_a_run_that_cannot_see_takes_nothing_away_from_what_was_said(world, tmp_path):
    values = kpi()
    values.iloc[-1] = 10
    ctx = world({"a": values})
    run(ctx, after(END))
    (incident,) = ctx.store.incidents()
    said = ctx.store.text(incident.key)
    assert "Yesterday" in said
    (tmp_path / "kpi.csv").rename(tmp_path / "away.csv")
    with pytest.raises(RunFailed, match="a was not judged"):
        run(ctx, after(END + STEP))
    assert ctx.store.text(incident.key) == said


class Server(BaseSource):
    """A source whose clock is ahead of this machine's by `ahead`."""

    def __init__(self, source, ahead):
        self.source, self.ahead = source, ahead

    def fetch(self, query, start, end):
        return self.source.fetch(query, start, end)

    def now(self):
        return datetime.now(UTC) + self.ahead


@pytest.mark.parametrize(("hours", "way"), [(24, "behind"), (-24, "ahead of")])
def test_nothing_is_judged_while_the_clock_differs_from_the_sources(world, hours, way):
    ctx = world({"views": kpi()})
    run(replace(ctx, started=after(END - 2 * STEP)), after(END - 2 * STEP))
    known = ctx.store.last_judged()
    wrong = replace(ctx, started=after(END + 96 * STEP), source=Server(ctx.source, timedelta(hours=hours)))
    with pytest.raises(
        RunFailed, match=rf"nothing was judged: this machine's clock .* is 14(39|40) min {way} that of the source"
    ):
        run(wrong, after(END + 96 * STEP))
    assert ctx.store.last_judged() == known


def test_a_run_after_one_whose_clock_was_ahead_says_so_once_and_judges(world):
    ctx, soon = world({"views": kpi()}), after(END - 3 * STEP)
    run(replace(ctx, started=soon), soon)
    run(replace(ctx, started=soon + timedelta(days=1)), soon)  # the rows of that day are not there
    with pytest.raises(RunFailed, match="which is in the future: the clock was ahead then, or it is behind now"):
        run(replace(ctx, started=after(END - 2 * STEP)), after(END - 2 * STEP))
    assert max(ctx.store.last_judged().values()) == END - 2 * STEP
    run(replace(ctx, started=after(END - STEP)), after(END - STEP))
    assert max(ctx.store.last_judged().values()) == END - STEP


def test_a_snooze_pressed_while_the_clock_was_ahead_is_ended(world):
    ctx, now = world({"views": kpi()}), after(END)
    incident = Incident(
        "x", END, (Member("views", END, END, Verdict("views", END, Status.ANOMALOUS)),), snoozed_until=now + timedelta(days=1)
    )
    ctx.store.commit(Commit(incidents=[incident, replace(incident, id="y", snoozed_until=now + timedelta(minutes=59))]), now)
    pipeline.begin_run(replace(ctx, started=now), now)
    assert [found.snoozed_until for found in ctx.store.incidents()] == [None, now + timedelta(minutes=59)]
