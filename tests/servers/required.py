"""Programs that a test needs. Without them it is skipped, or it fails if REQUIRE_SERVICES is set."""

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
