"""Programs that a test needs: it is skipped where they are absent, or fails where all have to be there."""

from __future__ import annotations

import os
import shutil

import pytest


def needs(there: object, absent: str) -> None:
    """Skip the test, saying what is absent, or fail it where everything has to be there (REQUIRE_SERVICES=1)."""
    if not there:
        report = pytest.fail if os.environ.get("REQUIRE_SERVICES") == "1" else pytest.skip
        report(absent)


def needs_make() -> None:
    needs(shutil.which("make"), "make is not installed")
