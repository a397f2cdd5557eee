"""What is sent along with every query to a server that others use too: settings, an id, a word for who looks at its processes."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping

from alerting.model import SourceError

# A profile may allow half an answer as if it were one ("break", "any", shards skipped), or more than the rows that were asked
# for (extremes): not here.
_LIMITS = {  # kind of limit -> the settings that set it
    "timeout": ("max_execution_time",),
    "read": ("max_rows_to_read", "max_bytes_to_read"),
    "result": ("max_result_rows", "max_result_bytes"),
    "group_by": ("max_rows_to_group_by",),
    "sort": ("max_rows_to_sort", "max_bytes_to_sort"),
    "distinct": ("max_rows_in_distinct", "max_bytes_in_distinct"),
    "join": ("max_rows_in_join", "max_bytes_in_join"),
    "set": ("max_rows_in_set", "max_bytes_in_set"),
    "transfer": ("max_rows_to_transfer", "max_bytes_to_transfer"),
}
WHOLE = {
    "skip_unavailable_shards": "0",
    "extremes": "0",
    **{f"{kind}_overflow_mode": "throw" for kind in _LIMITS},
}
SENT = {
    "readonly": "2",  # 1 would also forbid a SETTINGS clause in an analyst's query
    "cancel_http_readonly_queries_on_client_close": "1",  # a run that is killed cannot say KILL; servers before 19 do not know it
    **WHOLE,
}
_ASKED = [*WHOLE, *(name for names in _LIMITS.values() for name in names)]
IN_FORCE = "SELECT name, value FROM system.settings WHERE name IN ({})".format(", ".join(f"'{name}'" for name in _ASKED))

_ODD = re.compile(r"[^\w.-]")  # in a query's name
_ADVICE = "have that set for this user's profile, or let the user change settings (readonly = 2)"


def introduced(sql: str, name: str) -> str:
    """The SQL behind a comment that says who asks: the list of processes and the query log begin with it."""
    return f"/* alerting: metric-alert run, query {_ODD.sub('_', name)} */ {sql}"


def query_id(name: str) -> str:
    """One of its own for each try: one that hangs on the server keeps its id, and a second of that id would be refused."""
    return f"alerting-{_ODD.sub('_', name)}-{uuid.uuid4().hex[:12]}"


def check_whole(in_force: Mapping[str, str]) -> None:
    """Raises SourceError where the settings in force let the server give half an answer as if it were a whole one."""
    if in_force.get("skip_unavailable_shards", "0") not in ("0", "false"):
        raise SourceError(
            "the profile of the user has skip_unavailable_shards=1, which counts half when a shard is down, and refuses "
            f"another value: it must be 0, {_ADVICE}"
        )
    for kind, limits in _LIMITS.items():
        mode = in_force.get(f"{kind}_overflow_mode", "throw")
        limited = [name for name in limits if in_force.get(name, "0") not in ("0", "0.0", "")]
        if mode != "throw" and limited:
            raise SourceError(
                f"the profile of the user has {kind}_overflow_mode={mode} with {limited[0]}={in_force[limited[0]]}, which gives "
                f"a part as if it were all, and refuses another value: it must be throw, {_ADVICE}"
            )
