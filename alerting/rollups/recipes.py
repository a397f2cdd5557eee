"""An analyst's query -> the table that keeps its sums by quarter of an hour, how rows get there, and the query that reads it.

A column of the query that is no count and does not depend on the window is a key of the rollup; each call of an aggregate
function is a state. So the numbers are those of the query's own text, and another text has another rollup, by its fingerprint.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, replace

from alerting.model import Query, SourceError
from alerting.sources.binding import Span, masked

SLOT = 900  # seconds; a window or a step that is no multiple of it is not served
PREFIX = "alerting_rollup_"
EXACT, COMBINED = "uniqExact", "uniqCombined"
VERSION = 1  # of the recipe: what was made by another one is not read

_CALL = re.compile(r"\b((?:count|sum|min|max|avg|any|uniq|uniqExact|uniqCombined)(?:If)?)\s*\(")
_CLAUSE = re.compile(r"\b(SELECT|FROM|WHERE|GROUP\s+BY|ORDER\s+BY|HAVING|LIMIT)\b|[()]", re.IGNORECASE)
_ALIAS = re.compile(r"^(.*)\bAS\s+(\w+)\s*$", re.IGNORECASE | re.DOTALL)
_GIVEN = re.compile(r"\bAS\s+(\w+)", re.IGNORECASE)
_WORD = re.compile(r"\b[A-Za-z_]\w*\b(?!\s*\()")
_KNOWN = {"and", "or", "not", "in", "as", "is", "null", "like", "between", "interval"}


@dataclass(frozen=True)
class Recipe:
    """One rollup. `keys` and `states`: column -> the expression that makes it; `served`: the query that reads the table;
    `inexact`: columns of its answer that are an estimate."""

    query: Query
    name: str  # of the table, without the database
    keys: dict[str, str]
    states: dict[str, str]
    served: Query
    inexact: frozenset[str] = frozenset()

    def select(self, raw: str, where: str, live: int) -> str:
        """The rows of the rollup that the rows of `raw` with `where` make; `live`: whether they come as the raw ones do."""
        columns = [f"toDateTime(toUInt32(intDiv(toUInt32(time), {SLOT}) * {SLOT})) AS slot", f"toUInt8({live}) AS live"]
        columns += [expression if expression == name else f"{expression} AS {name}" for name, expression in self.keys.items()]
        columns += [f"{expression} AS {name}" for name, expression in self.states.items()]
        return f"SELECT {', '.join(columns)} FROM {raw} WHERE {where} GROUP BY {', '.join(['slot', *self.keys])}"

    def table(self, at: str, raw: str) -> str:
        """Its CREATE TABLE. A partition is a UTC day, apart for what was filled in and what came live."""
        order = ", ".join(["slot", *self.keys])
        engine = f"AggregatingMergeTree PARTITION BY (intDiv(toUInt32(slot), 86400), live) ORDER BY ({order})"
        return f"CREATE TABLE {at} ENGINE = {engine} AS {self.select(raw, '0', 0)}"


def recipe(query: Query, kind: str, table: str, users: str = EXACT) -> Recipe:
    """`kind`: totals or slices; `table`: the raw one; `users`: what counts distinct users. Raises SourceError where the query
    is none that a rollup can serve."""
    sql, text = query.sql, masked(query.sql)
    parts = _clauses(query, text)
    given = {"time", *_GIVEN.findall(text, 0, parts["SELECT"][0])}  # since, until, step, and what the analyst made of them
    keys: dict[str, str] = {}
    states: dict[str, str] = {"rows": "countState()"}
    edits, inexact = _slots(text, *parts["WHERE"]), set()
    for left, right in _items(text, *parts["SELECT"]):
        expression, name = _named(sql[left:right])
        if calls := _calls(text, left, right):
            merged = [(a, b, _merged(sql[a:b], states, users)) for a, b in calls]
            edits += merged
            inexact |= {name for _, _, new in merged if COMBINED in new}
        elif given & set(_WORD.findall(masked(expression))):
            edits += _slots(text, left, right)
        else:
            keys[_plain(query, name)] = expression
            edits.append((left, right, sql[left:right].replace(sql[left:right].strip(), name)))
    _check(query, text[slice(*parts["WHERE"])], {*given, *(name for name, made in keys.items() if name == made)})
    served = replace(query, sql=_edited(sql, edits))
    mark = hashlib.sha256(json.dumps([query.sql, table, users, VERSION]).encode()).hexdigest()[:10]
    return Recipe(query, f"{PREFIX}{kind}_{query.name.replace('.', '_')}_{mark}", keys, states, served, frozenset(inexact))


def _named(item: str) -> tuple[str, str]:
    """An expression and its name, which is itself where it has none."""
    found = _ALIAS.match(item.strip())
    return (found[1].strip(), found[2]) if found else (item.strip(), item.strip())


def _edited(sql: str, edits: list[Span]) -> str:
    for left, right, new in sorted(edits, reverse=True):
        sql = sql[:left] + new + sql[right:]
    return sql


def _clauses(query: Query, text: str) -> dict[str, tuple[int, int]]:
    """Where the text of each clause begins and ends."""
    depth, marks = 0, []
    for mark in _CLAUSE.finditer(text):
        if mark[0] in "()":
            depth += 1 if mark[0] == "(" else -1
        elif depth == 0:
            marks.append((mark[0].upper().split()[0], mark.start(), mark.end()))
    names = [name for name, _, _ in marks]
    if names[:4] != ["SELECT", "FROM", "WHERE", "GROUP"] or set(names[4:]) - {"ORDER"} or len(set(names)) < len(names):
        raise _fault(query, "it must be SELECT ... FROM ... WHERE ... GROUP BY, with nothing but ORDER BY after it")
    ends = [*(start for _, start, _ in marks[1:]), len(text)]
    return {name: (begin, end) for (name, _, begin), end in zip(marks, ends, strict=True)}


def _items(text: str, left: int, right: int) -> list[tuple[int, int]]:
    """The expressions between commas."""
    depth, cuts = 0, [left]
    for place in range(left, right):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(text[place], 0)
        if text[place] == "," and depth == 0:
            cuts += [place, place + 1]
    return list(zip(cuts[::2], [*cuts[1::2], right], strict=True))


def _calls(text: str, left: int, right: int) -> list[tuple[int, int]]:
    """Where aggregate functions are called, with their arguments."""
    found = []
    for call in _CALL.finditer(text, left, right):
        depth, end = 1, call.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        found.append((call.start(), end))
    return found


def _merged(call: str, states: dict[str, str], users: str) -> str:
    """What reads the state of a call, which is noted among `states`."""
    function, arguments = call.split("(", 1)
    function = function.strip()
    if function.startswith(EXACT):
        function = users + function.removeprefix(EXACT)
    made = f"{function}State({arguments}"
    name = next((name for name, known in states.items() if known == made), f"state_{len(states)}")
    states[name] = made
    return f"{function}Merge({name})"


def _slots(text: str, left: int, right: int) -> list[Span]:
    return [(found.start(), found.end(), "slot") for found in re.compile(r"\btime\b").finditer(text, left, right)]


def _plain(query: Query, name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_]\w*", name) or name in ("slot", "live", "rows"):
        raise _fault(query, f"its column `{name}` needs a name of its own, with AS")
    return name


def _check(query: Query, where: str, kept: set[str]) -> None:
    """WHERE may ask for the window, and for columns that the rollup keeps as they are."""
    absent = {word for word in _WORD.findall(where) if word.lower() not in _KNOWN} - kept
    if absent:
        raise _fault(query, f"WHERE asks for {', '.join(sorted(absent))}, which the rollup does not keep")


def _fault(query: Query, text: str) -> SourceError:
    return SourceError(f"the query {query.name}.sql cannot be rolled up: {text}")
