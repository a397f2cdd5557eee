"""A typical first alerting script, for comparison with a run, which does more.

    python course_script.py APP_FOLDER AT      (chat: TELEGRAM_URL, TELEGRAM_TOKEN, TELEGRAM_CHAT)

For each metric: one query over two days, a band from the interquartile range of the last five buckets, and a chart and a message
for a value outside it. It has no state, no notebook, no daily rhythm and no incidents.
"""

import io
import os
import sys
from datetime import datetime

import chdb
import matplotlib.pyplot as plt
import pandas as pd
import requests
import seaborn as sns

A, N = 4, 5
FEED, CHAT = "feed_actions", "message_actions"
METRICS = {
    "feed_users": (FEED, "uniqExact(user_id)"),
    "messenger_users": (CHAT, "uniqExact(user_id)"),
    "views": (FEED, "countIf(action = 'view')"),
    "likes": (FEED, "countIf(action = 'like')"),
    "ctr": (FEED, "countIf(action = 'like') / countIf(action = 'view')"),
    "messages": (CHAT, "count()"),
}


def read(folder: str, table: str, expression: str, at: int) -> pd.DataFrame:
    days = ",".join(str(day.date()) for day in pd.date_range(end=pd.Timestamp(at, unit="s"), periods=3, freq="D"))
    sql = f"""SELECT toStartOfFifteenMinutes(time) AS ts, {expression} AS value
        FROM file('{folder}/{table}/{{{days}}}.parquet', Parquet)
        WHERE time >= toDateTime({at} - 172800) AND time < toDateTime(intDiv({at}, 900) * 900)
        GROUP BY ts ORDER BY ts"""
    frame = pd.read_csv(io.StringIO(str(chdb.query(sql, "CSVWithNames"))))
    return frame.assign(ts=pd.to_datetime(frame["ts"]))


def check(frame: pd.DataFrame) -> tuple[pd.DataFrame, bool]:
    past = frame["value"].shift(1).rolling(N)
    q25, q75 = past.quantile(0.25), past.quantile(0.75)
    frame = frame.assign(up=q75 + A * (q75 - q25), low=q25 - A * (q75 - q25))
    frame[["up", "low"]] = frame[["up", "low"]].rolling(N, center=True, min_periods=1).mean()
    last = frame.iloc[-1]
    return frame, not last["low"] <= last["value"] <= last["up"]


def picture(frame: pd.DataFrame, name: str) -> io.BytesIO:
    sns.set(rc={"figure.figsize": (16, 10)})
    plt.figure()
    for column in ("value", "up", "low"):
        axes = sns.lineplot(x=frame["ts"], y=frame[column], label=column)
    axes.set(xlabel="time", ylabel=name, title=name, ylim=(0, None))
    out = io.BytesIO()
    plt.savefig(out)
    plt.close()
    out.seek(0)
    return out


def send(name: str, frame: pd.DataFrame) -> None:
    value, before = frame["value"].iloc[-1], frame["value"].iloc[-2]
    text = f"Metric {name}:\ncurrent value {value:.2f}\ndeviation from the last value {abs(1 - value / before):.2%}"
    url = f"{os.environ['TELEGRAM_URL']}/bot{os.environ['TELEGRAM_TOKEN']}"
    ctx = {"chat_id": os.environ["TELEGRAM_CHAT"]}
    requests.post(f"{url}/sendMessage", data={**ctx, "text": text}, timeout=30).raise_for_status()
    photo = {"photo": ("plot.png", picture(frame, name))}
    requests.post(f"{url}/sendPhoto", data=ctx, files=photo, timeout=30).raise_for_status()


def main(folder: str, at: str) -> None:
    told = 0
    for name, (table, expression) in METRICS.items():
        frame, is_alert = check(read(folder, table, expression, int(datetime.fromisoformat(at).timestamp())))
        if is_alert or os.environ.get("EVERY_METRIC"):
            send(name, frame)
            told += 1
    sys.stdout.write(f"{told} alerts\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
