"""The local Bot API server: it runs as a process, can stall, and limits the rate as Telegram does."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from alerting.model.message import Action
from alerting.notifiers.telegram import Telegram
from tests.chats import failure, picture, question, refusal, telegram, text
from tests.pictures import png
from tests.servers import TOKEN, BotApi
from tests.waiting import ended, until


def test_a_stall_that_is_sat_out_is_an_answer(bot):
    bot.fail("stall", seconds=0.05, method="sendPhoto")
    chat = telegram(bot)
    chat.send(picture(), reply_to=chat.send(text()))
    assert bot.calls == [("sendMessage", "as usual"), ("sendPhoto", "stall")]
    assert len(bot.messages) == 2


def test_edits_and_updates_are_answered_as_by_telegram(bot):
    def request(method, fields):
        kind = {"Content-Type": "application/json"}
        return urllib.request.Request(f"{bot.url}/bot{bot.token}/{method}", json.dumps(fields).encode(), kind)

    def ask(method, **fields):
        try:
            with urllib.request.urlopen(request(method, fields)) as answer:
                return json.load(answer)["result"]
        except urllib.error.HTTPError as error:
            with error:
                return json.load(error)["description"]

    number = ask("sendMessage", chat_id=bot.chat, text="a")["message_id"]
    bot.inside.updates += [{"update_id": 4}, {"update_id": 5}]
    assert ask("editMessageText", chat_id=bot.chat, message_id=str(number), text="b")["text"] == "b"
    assert "message is not modified" in ask("editMessageText", chat_id=bot.chat, message_id=str(number), text="b")
    assert ask("getUpdates", limit=1) == [{"update_id": 4}]
    assert ask("getUpdates", offset=-1) == [{"update_id": 5}]
    assert ask("getUpdates") == [{"update_id": 5}]
    assert "query ID is invalid" in ask("answerCallbackQuery", callback_query_id="1")
    bot.inside.queue.webhook = "https://example.org"
    assert "while webhook is active" in ask("getUpdates", offset=5)
    assert (ask("getWebhookInfo")["url"], ask("deleteWebhook"), ask("getWebhookInfo")["url"]) == ("https://example.org", True, "")
    too_long = {"inline_keyboard": [[{"text": "a", "callback_data": "я" * 33}]]}
    assert ask("sendMessage", chat_id=bot.chat, text="a", reply_markup=too_long) == "Bad Request: BUTTON_DATA_INVALID"
    assert ask("banChatMember") == "Not Found: method not found"


def test_the_fake_takes_no_more_than_so_many_a_minute(bot):
    bot.inside.per_minute, now = 3, [0.0]
    bot.inside.clock = lambda: now[0]
    chat = telegram(bot)
    number = chat.send(text())
    now[0] = 20.0
    chat.send(picture())
    chat.edit(text("b"), number)
    assert failure(chat).retry_after == 40.0
    assert refusal(chat, lambda: chat.edit(text("c"), number)).retry_after == 40.0
    now[0] = 60.0
    chat.edit(text("c"), number)
    assert failure(chat).retry_after == 20.0


def test_the_fake_serves_as_a_process(tmp_path):
    port, log = tmp_path / "port", tmp_path / "log"
    command = [sys.executable, "-m", "tests.servers", "botapi", str(port), str(log)]
    with ended(subprocess.Popen(command, cwd=Path(__file__).parent.parent)) as server:
        try:
            until(lambda: port.exists() or server.poll() is not None)
            url = f"http://127.0.0.1:{port.read_text()}"

            def control(**order):
                with urllib.request.urlopen(f"{url}/control", data=json.dumps(order).encode() if order else None) as told:
                    return json.load(told)

            control(kind="429", retry_after=3, method="sendMessage")
            chat = Telegram(TOKEN, "-1001234567890", url, users="4242")
            assert failure(chat).retry_after == 3
            chat.send(picture(), reply_to=chat.send(question()))
            (seen,) = control()["keyboards"]
            assert (seen["id"], seen["plain"]) == ("101", "Views fell by 40 %")
            assert seen["keyboard"][0][0]["text"] == "Кнопка take"
            pressed = control(press={"message_id": 101, "button": "Кнопка take"})["update"]["update_id"]
            (told,) = chat.button_presses(0)
            assert (told.update_id, told.action, told.refused) == (pressed, Action.TAKE, "")
            chat.confirm(told, "taken")
            assert control(per_minute=1)["answered"][0]["text"] == "taken"
            assert failure(chat).retry_after > 50
            with pytest.raises(urllib.error.HTTPError) as refused:
                control(press={"message_id": 101, "button": "?"})
            refused.value.close()
        finally:
            os.kill(server.pid, signal.SIGTERM)
    first, second = map(json.loads, log.read_text().splitlines())
    assert (first["plain"], second["reply_to"], second["photo"]) == ("Views fell by 40 %", first["id"], len(png()))
    with BotApi(log) as again, socket.create_connection(("127.0.0.1", again.port)):
        assert [m.id for m in again.messages] == ["101", "102"]
