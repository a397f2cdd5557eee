"""`make listen`: answers in the chat count at once instead of with the next run. Optional; no server, no open port."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from alerting import pipeline, settings, wiring
from alerting.model import NotifyError, SettingsError
from alerting.runner.lock import HeldError, locked

WAIT = 25.0  # seconds one request waits for an answer
REST = 5.0  # seconds after a request that failed


def listen(turns: int = 0, rest: Callable[[float], None] = time.sleep) -> int:
    """Read answers until it is stopped (or for so many requests). Raises SettingsError without a chat, StoreError."""
    given = settings.load()
    if not given.telegram_token:
        raise SettingsError("listen: no chat is configured: set ALERTING_TELEGRAM_TOKEN and ALERTING_TELEGRAM_CHAT")
    to, turn = wiring.connect_chat(given), 0
    sys.stdout.write("listening for answers in the chat; Ctrl-C ends it\n")
    while not turns or turn < turns:
        turn += 1
        try:
            if to.notifier.answers(to.store.heard(), wait=WAIT):
                _apply(given, to, rest)
        except NotifyError as error:
            sys.stderr.write(f"{error}\n")
            rest(REST)
        except KeyboardInterrupt:
            break
    return 0


def _apply(given: settings.Settings, to: pipeline.Connections, rest: Callable[[float], None]) -> None:
    """Under the lock of a run: one that goes on has read the incidents already, and would write over the answers."""
    while True:
        now = datetime.now(UTC)
        try:
            with locked(given.data / "run.lock", now):
                heard, trouble = pipeline.hear(to, now)
                receipts = pipeline.send_waiting(to.store, to.notifier, now, rest)
        except HeldError:
            rest(1.0)
            continue
        sys.stdout.writelines(f"{now:%H:%M:%SZ} {item.answer.who}: {item.said}\n" for item in heard)
        sys.stderr.writelines(f"{receipt.key} {receipt.state}: {receipt.reason}\n" for receipt in receipts if receipt.reason)
        sys.stderr.write(f"{trouble}\n" if trouble else "")
        sys.stdout.flush()
        return
