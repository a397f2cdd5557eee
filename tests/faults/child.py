"""One run, as cron would start it, at a moment of the past: `python -m tests.faults.child MOMENT NOTEBOOK [ROOM]`.

The notice of a failure takes that moment too, so that "once an hour" can be seen within a minute. ROOM: bytes that a file may
have, for a disk that is full.
"""

import resource
import sys
from datetime import UTC, datetime
from pathlib import Path

from alerting import runner
from alerting.model.clock import parse_instant
from alerting.settings import Settings, load_settings


def main(at: str, notebook: str, room: str = "") -> int:
    if room:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), int(room)))  # Python ignores the signal: writing fails
    now = parse_instant(at, datetime.now(UTC))

    def notify(given: Settings, _: datetime, reason: str, run: str) -> str:
        from alerting.failure_notice import notify_failure

        return notify_failure(given, now, reason, run)

    return runner.run_alerts(load_settings(), at=at, notebook=Path(notebook), notify=notify)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
