"""The markers `fast` (the test starts no process, server, notebook or browser) and `dates` (it depends on the clock).

They are derived from the names that a test, its fixtures and their helpers use, so no test is marked by hand.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator
from typing import Any

import pytest

OUTSIDE = {
    "subprocess", "os.fork", "Popen", "start_notebooks", "EmbeddedSource", "run_alerts", "sync_playwright", "getfixturevalue",
    "connect", "BotApi", "BrokenServer", "Peer", "Web", "MailServer", "running_clickhouse", "running_cluster",
    "ThreadPoolExecutor",
}  # fmt: skip
running: pytest.Item | None = None  # the test in progress
LONG = {  # modules, classes and tests that need too much processor time to be fast
    "test_backtest", "test_batches", "test_bench_detection", "test_causes", "test_claims", "test_deliveries", "test_isolation",
    "test_messages_true", "test_simulate", "test_special_days", "test_store_stateful", "TestLife",
    "test_a_daily_metric_beside_others_is_judged", "test_a_first_fill_in_short_parts_of_a_slow_source_loses_no_bucket",
    "test_a_jump_is_seen_in_its_first_bucket", "test_a_live_run_equals_a_backtest_bit_for_bit",
    "test_a_peer_that_drips_is_given_up_in_time_and_hears_of_it",
    "test_bucket_by_bucket_equals_a_catch_up_equals_a_backtest", "test_odd_input_draws_without_a_warning",
    "test_odd_slices_draw_without_a_warning", "test_prefix_law", "test_prefix_law_on_anything",
    "test_rows_of_one_leaf_are_summed_and_no_answer_is_nan",
    "test_runs_that_sent_a_message_are_kept_and_quiet_ones_are_thinned_out",
    "test_the_order_of_rows_and_attributes_does_not_matter", "test_the_panels_words_lie_on_nothing",
    "test_the_shape_of_the_files_is_counted",
}  # fmt: skip
ALONE = {  # tests that need no fixture of their module: any process may run one, apart from the rest of the module
    "test_a_scenario_of_the_short_form_is_ok", "test_the_notebooks_execute_on_every_source",
}  # fmt: skip
SECONDS = {  # what a module, a class or a test of ALONE takes; the longest begin first, so that two processes end together
    "test_docs": 75, "test_a_scenario_of_the_short_form_is_ok": 60, "test_batches": 55, "test_runner": 50, "test_detectors": 45,
    "test_end_to_end": 45, "test_failures": 40, "test_backtest": 40, "test_messages_true": 35, "test_environment": 35,
    "test_new_metric": 30, "test_plots": 30, "test_destinations": 30, "test_cluster": 25, "test_embedded": 25,
    "test_the_notebooks_execute_on_every_source": 25, "TestLife": 25, "test_shapes": 25, "test_causes": 25, "test_outside": 25,
    "test_pipeline": 20, "test_wiring": 20, "test_duty": 20, "test_isolation": 20, "test_studies": 20, "test_browser": 20,
    "test_deliveries": 15, "test_slices": 15, "test_special_days": 15, "test_command_line": 15, "test_store_stateful": 15,
    "test_simulate": 15, "test_rules": 15, "test_init": 15, "test_parity": 10, "test_destination_contract": 10,
    "test_claims": 10, "test_store_file": 10, "test_schedulers": 10, "test_benchmarks": 10, "test_local_time": 10,
    "test_judged": 10, "test_history": 10, "test_bench_detection": 10, "test_lifecycle": 10, "test_clickhouse": 10,
}  # fmt: skip
CLOCK = {  # modules that read the clock, directly or in the code under test
    "test_completeness", "test_duty", "test_event_calendar", "test_history", "test_history_file", "test_incidents",
    "test_index_page", "test_learning", "test_new_metric", "test_pages", "test_prune", "test_review", "test_settings",
    "test_store", "test_store_file", "test_store_outbox",
}  # fmt: skip


def mark(items: list[pytest.Item]) -> None:
    """Add both markers to their tests, and put the longest scopes first (see tests/scopes.py).

    CI runs the tests marked `dates` at false dates (see .ci/run): those in this process and those on the sample app. Servers,
    browsers and waits of threads with a limit (test_pipeline, test_studies) do not work at a false date.
    """
    for item in items:
        module, alone = item.path.stem, not reaches_outside(item)
        if alone and LONG.isdisjoint((module, *_names_in(item.nodeid))):
            item.add_marker("fast")
        if module in CLOCK and (alone or "sample" in item.fixturenames):
            item.add_marker("dates")
    items.sort(key=lambda item: -_seconds(item))


def is_alone(nodeid: str) -> bool:
    return _names_in(nodeid)[-1] in ALONE


def _names_in(nodeid: str) -> list[str]:
    """Class, if it has one, and test."""
    return nodeid.partition("[")[0].split("::")[1:]


def _seconds(item: pytest.Item) -> int:
    """Return what the scope of the test takes: that of itself, of its class or of its module."""
    parts = _names_in(item.nodeid)
    names = parts if is_alone(item.nodeid) else parts[:-1] or [item.path.stem]
    return SECONDS.get(names[0], 0)


def reaches_outside(item: Any) -> bool:
    fixtures = [found.func for known in item._fixtureinfo.name2fixturedefs.values() for found in known]
    return any(_uses(function) for function in (item.function, *fixtures))


@functools.cache
def _uses(thing: Any) -> bool:
    """Return whether a function, or a helper that it calls, uses something outside of this process."""
    return any(name in OUTSIDE for name in _names(thing, set()))


def _names(thing: Any, seen: set[Any]) -> Iterator[str]:
    thing = getattr(thing, "__wrapped__", thing)
    if not getattr(thing, "__module__", "").startswith(("tests", "benchmarks")) or thing in seen:
        return
    seen.add(thing)
    if isinstance(thing, type):
        for part in (*vars(thing).values(), *thing.__bases__):
            yield from _names(getattr(part, "fget", part), seen) if getattr(part, "__hash__", None) else ()
    if isinstance(thing, types.FunctionType):
        for name in _in_code(thing.__code__):
            yield name
            if name in thing.__globals__ and getattr(thing.__globals__[name], "__hash__", None):
                yield from _names(thing.__globals__[name], seen)


def _in_code(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _in_code(constant)
