"""Slack and the webhook: the requests that they receive, and the meaning of an HTTP answer."""

import base64
import email.utils
import hmac
import json
import logging
import time
from hashlib import sha256

import pytest

from alerting.notifiers.slack import Slack, mrkdwn
from alerting.notifiers.webhook import Webhook
from tests.letters import HTML, PATH, PICTURE, PNG, message, refused
from tests.servers import says

# Slack


@pytest.mark.parametrize(
    ("html", "text"),
    [
        (HTML, "🔴 *Likes −38 %* · Mon 14:15\n1&lt;2 &amp; _so_\n<https://bi/?a=1&amp;b=2%7C3|Dashboard> · Run `a_b`"),
        ("&quot;a&quot; &#39;b&#39; <u>c</u>", "\"a\" 'b' c"),
        ("<a>no address</a> <!channel>", "no address &lt;!channel&gt;"),
    ],
)
def test_html_becomes_mrkdwn(html, text):
    assert mrkdwn(html) == text


def test_slack_is_given_texts_and_no_pictures_nor_edits(web):
    web.will(says("ok", kind="text/plain"))
    chat = Slack(web.url + PATH)
    assert chat.send(message(photo=PNG), "any id") == "likes/opened/text"
    chat.edit(message(), "any id")
    (asked,) = web.asked
    assert (asked.path, asked.headers["content-type"]) == (PATH, "application/json; charset=utf-8")
    assert json.loads(asked.body)["text"] == mrkdwn(HTML)


def test_a_text_too_long_for_slack_is_cut(web):
    web.will(says("ok"))
    Slack(web.url).send(message(text="<b>" + "&lt;" * 9000 + "</b>"))
    assert json.loads(web.asked[0].body)["text"].endswith("&lt;…*")


# What an answer over HTTP means, for Slack and the webhook alike


def hooks(url, timeout=15.0):
    return [Slack(url, timeout), Webhook(url, "whisper", timeout=timeout)]


@pytest.mark.parametrize(
    ("status", "more", "permanent", "again", "said"),
    [
        (400, {}, True, 0, "400 invalid_payload"),
        (413, {}, True, 0, "413"),
        (403, {}, False, 0, "403 invalid_payload <address> <address>: check ALERTING_"),
        (404, {}, False, 0, "check ALERTING_"),
        (410, {}, False, 0, "check ALERTING_"),
        (408, {}, False, 0, "408"),
        (429, {"Retry_After": "7"}, False, 7, "429"),
        (429, {}, False, 1, "429"),
        (429, {"Retry_After": "9" * 30}, False, 86_400, "429"),
        (500, {}, False, 0, "500"),
        (503, {"Retry_After": "soon"}, False, 0, "503"),
        (302, {"Location": "https://elsewhere/"}, False, 0, "it redirects, which is not followed"),
    ],
)
def test_a_refusal_is_for_good_only_when_the_message_is_at_fault(web, status, more, permanent, again, said, caplog):
    caplog.set_level(logging.DEBUG)
    for hook in hooks(web.url + PATH):
        web.will(says(f"invalid_payload {PATH} {web.url}{PATH}", status, "text/plain", **more))
        error = refused(hook.send, message())
        assert (error.permanent, error.retry_after) == (permanent, again)
        assert said in str(error)
        assert "verysecretpath" not in str(error)
    assert len(web.asked) == 2  # nothing was tried twice, nothing followed
    assert "verysecretpath" not in caplog.text


def test_a_date_to_come_back_at_is_understood(web):
    web.will(says("", 429, Retry_After=email.utils.formatdate(time.time() + 60, usegmt=True)))
    assert 50 < refused(Slack(web.url).send, message()).retry_after <= 60


@pytest.mark.parametrize("trouble", ["no answer", "cut", "refused", "no such host"])
def test_a_broken_line_is_passing_and_keeps_the_secret(web, trouble, caplog):
    caplog.set_level(logging.DEBUG)
    web.will(lambda handler: web.closing.wait(5) if trouble == "no answer" else handler.connection.close())
    base = {"refused": "http://127.0.0.1:9", "no such host": "http://nowhere.invalid"}.get(trouble, web.url)
    for hook in hooks(base + PATH, timeout=0.3):
        error = refused(hook.send, message())
        assert not error.permanent
        assert ("may have arrived" in str(error)) == (trouble in ("no answer", "cut"))
        assert "verysecretpath" not in str(error) + caplog.text


def test_a_page_of_html_is_not_repeated(web):
    web.will(says("<!DOCTYPE html><title>Bad gateway</title>", 502, "text/html"))
    assert str(refused(Slack(web.url).send, message())).strip() == "Slack: 502"


@pytest.mark.parametrize(("status", "well"), [(400, True), (200, True), (404, False), (403, False), (500, False)])
def test_slack_is_checked_without_a_message(web, status, well):
    web.will(says("no_text", status))
    chat = Slack(web.url + PATH)
    assert "webhook at 127.0.0.1" in (chat.check() if well else f"{refused(chat.check)} webhook at 127.0.0.1")
    assert [json.loads(asked.body) for asked in web.asked] == [{"text": ""}]


# The webhook


def test_the_schema_is_what_it_says_it_is(web):
    web.will(says("", 204))
    hook = Webhook(web.url + PATH, "whisper")
    assert hook.send(message(incident="likes"), "id") == "likes/opened/text"
    hook.send(PICTURE)
    hook.edit(message("likes/edit/1", "newer", edits="likes/opened/text"), "id")  # what cannot edit is not flooded
    text, picture = (json.loads(asked.body) for asked in web.asked)
    assert text == {
        "version": 1,
        "key": "likes/opened/text",
        "kind": "opened",
        "metric": "likes",
        "severity": "warning",
        "bucket": "2026-11-20T12:36:00Z",
        "text": HTML,
        "text_plain": "🔴 Likes −38 % · Mon 14:15\n1<2 & so\nDashboard (https://bi/?a=1&b=2|3) · Run a_b",
        "incident": "likes",
        "reply_to": "",
        "edits": "",
        "quiet": False,
        "photo": None,
    }
    assert (picture["reply_to"], base64.b64decode(picture["photo"])) == ("likes/opened/text", PNG)
    assert [asked.headers["idempotency-key"] for asked in web.asked] == [t["key"] for t in (text, picture)]
    for asked in web.asked:
        signed = hmac.new(b"whisper", asked.body, sha256).hexdigest()
        assert asked.headers["x-alerting-signature"] == f"sha256={signed}"


def test_pictures_and_signature_can_be_left_out(web):
    web.will(says(""))
    hook = Webhook(web.url, photos=False)
    hook.send(message("ключ/opened/text", photo=PNG))
    (asked,) = web.asked
    assert json.loads(asked.body)["photo"] is None
    assert "x-alerting-signature" not in asked.headers
    assert asked.headers["idempotency-key"] == "%D0%BA%D0%BB%D1%8E%D1%87/opened/text"


@pytest.mark.parametrize(("status", "well"), [(405, True), (200, True), (404, True), (401, False), (502, False)])
def test_the_webhook_is_checked_without_a_message(web, status, well):
    web.will(says("", status))
    hook = Webhook(web.url + PATH)
    assert f"HEAD: {status}" in hook.check() if well else str(status) in str(refused(hook.check))
    assert [asked.body for asked in web.asked] == [b""]
