"""`python -m alerting init`: propose settings and queries for a team's own ClickHouse tables; --write saves them."""

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from alerting.catalogue import write_files
from alerting.connections import SQL, load_queries, open_source, source_tables
from alerting.model.clock import DAY
from alerting.model.errors import SettingsError
from alerting.model.metric import STEP, Query
from alerting.model.tables import bucket_text
from alerting.settings import ROOT, Settings, load_settings
from alerting.sources.base import SqlSource, bind, to_counts

COLUMNS = {  # column of the shipped queries -> names that it has elsewhere, the likeliest first
    "time": ("time", "event_time", "timestamp", "ts", "datetime", "created_at", "date_time", "event_date_time"),
    "user_id": ("user_id", "uid", "userid", "user", "sender_id", "from_user_id", "from_id", "account_id", "client_id"),
    "action": ("action", "event", "event_type", "event_name", "action_type", "type"),
    "reciever_id": ("reciever_id", "receiver_id", "recipient_id", "to_user_id", "to_id", "addressee_id", "peer_id"),
    "os": ("os", "platform", "os_name", "device_os"),
    "source": ("source", "utm_source", "traffic_source", "channel"),
    "country": ("country", "country_code", "geo_country"),
    "city": ("city", "geo_city"),
    "gender": ("gender", "sex"),
    "age": ("age", "user_age"),
    "exp_group": ("exp_group", "experiment_group", "ab_group", "test_group", "variant"),
}
ATTRIBUTES = ("os", "source", "country", "city", "gender", "age", "exp_group")
ACTIONS = {"view": r"view|show|impression|seen", "like": r"(?<!dis)(?<!un)like|heart|fav"}  # shipped value -> similar values
TABLES = {  # query -> the columns that its table must have, and a pattern of likely table names
    "feed_actions": (("time", "user_id", "action"), r"feed|action|event|post"),
    "message_actions": (("time", "user_id", "reciever_id"), r"messag|chat|\bdm"),
}
KINDS = {"time": " (a DateTime)", "action": " (a text)"}
SETTINGS = {"feed_actions": "ALERTING_FEED_TABLE", "message_actions": "ALERTING_MESSAGE_TABLE"}
NUMBERS_SHOWN = 4


@dataclass(frozen=True)
class TableProposal:
    """A table that fits one of the shipped queries."""

    query: str
    table: str
    columns: Mapping[str, str]  # name in the shipped query -> name in the table
    actions: Mapping[str, str]  # value in the shipped query -> value in the table
    others: tuple[str, ...] = ()  # other tables that fit
    codes: tuple[str, ...] = ()  # attributes whose column is not a text
    values: tuple[str, ...] = ()  # values of the column `action`, the most frequent first

    @property
    def absent(self) -> tuple[str, ...]:
        """The attributes that the table does not have."""
        return tuple(name for name in ATTRIBUTES if name not in self.columns)

    def rewrite(self, sql: str) -> str:
        """Return a shipped query (counts or segments) with the table's columns and actions, and without absent attributes."""
        outputs = {"age": "age_band"}
        absent = {outputs.get(name, name) for name in self.absent}
        lines = []
        for line in sql.splitlines():
            code, mark, comment = line.partition("--")
            output = re.fullmatch(r"\s+(?:.*\bAS )?(\w+),\s*", code)
            if output and output[1] in absent:
                continue
            if code.startswith("GROUP BY days_ago"):
                kept = [name for name in code.removeprefix("GROUP BY ").split(", ") if name.strip() not in absent]
                lines.append("GROUP BY " + ", ".join(kept))
                continue
            lines.append(self._rewrite_code(code) + mark + comment)
        return "\n".join(lines) + "\n"

    def _rewrite_code(self, code: str) -> str:
        before, alias, after = code.rpartition(" AS ")
        plain = re.fullmatch(r"(\s+)(\w+),\s*", code)
        if plain and plain[2] in ATTRIBUTES and (plain[2] in self.codes or self.columns[plain[2]] != plain[2]):
            column = _quoted(self.columns[plain[2]])
            return f"{plain[1]}{f'toString({column})' if plain[2] in self.codes else column} AS {plain[2]},"
        names = "|".join(self.columns)
        changed = re.sub(rf"\b({names})\b", lambda found: _quoted(self.columns[found[1]]), before if alias else code)
        for shipped, own in self.actions.items():
            escaped = own.replace("\\", "\\\\").replace("'", "\\'")
            changed = changed.replace(f"'{shipped}'", f"'{escaped}'")
        return changed + alias + after if alias else changed


@click.command()
@click.option("--write", is_flag=True, help="Write the queries into alerting/sql and the settings into .env.")
def init(write: bool) -> int:
    """Propose settings and queries for your tables.

    Finds the tables of feed actions and of messages in ALERTING_CLICKHOUSE_DATABASE, their columns and the names of views and
    likes, and shows the first numbers. ALERTING_FEED_TABLE and ALERTING_MESSAGE_TABLE name a table where the choice is wrong.
    """
    settings = load_settings()
    source = open_source(settings)[0] if settings.source.startswith("http") else None
    if not isinstance(source, SqlSource):
        raise SettingsError("init: set ALERTING_SOURCE to your ClickHouse, such as https://host:8443, with user and password")
    texts, lines = dict[Path, str](), dict[str, str]()
    with closing(source):
        for proposal in propose(source, settings):
            texts |= _show(source, proposal, settings)
            if proposal.table != source_tables(settings)[proposal.query]:
                lines[SETTINGS[proposal.query]] = proposal.table
    if write:
        _write(texts, lines)
    else:
        _print(texts, lines)
    return 0


def propose(source: SqlSource, settings: Settings) -> list[TableProposal]:
    """Return a proposal for each shipped query for which a table fits. Raises SourceError; SettingsError if no table fits."""
    databases = {settings.clickhouse_database}
    databases |= {table.partition(".")[0] for table in (settings.feed_table, settings.message_table) if "." in table}
    wanted = ", ".join(f"'{name}'" for name in sorted(databases))
    found = source.run_sql(f"SELECT database, table, name, type FROM system.columns WHERE database IN ({wanted})", "columns")
    tables = dict[str, dict[str, str]]()
    for (database, table), rows in found.groupby(["database", "table"]):
        name = table if database == settings.clickhouse_database else f"{database}.{table}"
        tables[name] = dict(zip(rows["name"], rows["type"], strict=True))
    out, taken = list[TableProposal](), set[str]()
    for query, (needed, words) in TABLES.items():
        mapped = {table: _columns(types) for table, types in tables.items() if table not in taken and not table.startswith(".")}
        fitting = {table: columns for table, columns in mapped.items() if set(needed) <= columns.keys()}
        chosen = source_tables(settings)[query]
        if chosen in mapped and set(needed) - {"reciever_id"} <= mapped[chosen].keys():  # no query uses the receiver
            fitting = {chosen: mapped[chosen]} | fitting
        if not fitting:
            advice = f"set {SETTINGS[query]}, or take its metrics out of alerting/metrics.py"
            names = ", ".join(f"{name}{KINDS.get(name, '')}" for name in needed)
            click.echo(f"{query}: no table has {names} or the like: {advice}")
            continue
        named = [table for table in fitting if re.search(words, table, re.IGNORECASE)]
        best = chosen if chosen in fitting else max(named or fitting, key=lambda table: len(fitting[table]))
        taken.add(best)
        columns, types = fitting[best], tables[best]
        has_actions = "action" in needed and "action" in columns
        actions, values = _actions(source, best, columns, settings) if has_actions else ({}, [])
        others = tuple(table for table in fitting if table != best)
        codes = tuple(name for name in ATTRIBUTES if name in columns and not re.search("String|Enum", types[columns[name]]))
        out.append(TableProposal(query, best, columns, actions, others, codes, tuple(values)))
    if not out:
        names = ", ".join(sorted(tables)[:20]) or "no table that this user may read"
        raise SettingsError(f"init: no table has a time, a user and an action or a receiver: there is {names}")
    return out


def _columns(types: Mapping[str, str]) -> dict[str, str]:
    """Return shipped name -> column of the table. `types`: column -> type in ClickHouse.

    An action must be a text. A time must be a DateTime; if there is only one, its name does not matter.
    """
    lower = {name.lower(): name for name in types}
    out = dict[str, str]()
    for shipped, names in COLUMNS.items():
        known = [lower[name] for name in names if name in lower]
        if shipped == "time":
            times = [name for name, kind in types.items() if "DateTime" in kind]
            known = [name for name in known if name in times] or (times if len(times) == 1 else [])
        if shipped == "action":
            known = [name for name in known if re.search("String|Enum", types[name])]
        if known:
            out[shipped] = known[0]
    return out


def _actions(source: SqlSource, table: str, columns: Mapping[str, str], settings: Settings) -> tuple[dict[str, str], list[str]]:
    """Return shipped action -> action of the table, and the actions of the table's last week, the most frequent first."""
    name, time, action = _full_name(table, settings), _quoted(columns["time"]), _quoted(columns["action"])
    found = source.run_sql(
        f"SELECT toString({action}) AS value, count() AS rows FROM {name} "
        f"WHERE {time} >= (SELECT max({time}) FROM {name}) - INTERVAL 7 DAY GROUP BY value ORDER BY rows DESC LIMIT 50",
        table,
    )
    values = [str(value) for value in found["value"].dropna()]
    actions = dict[str, str]()
    for shipped in ACTIONS if values else ():
        alike = _alike(shipped, values)
        actions[shipped] = shipped if shipped in values or not alike else alike[0]
    return actions, values


def _alike(shipped: str, values: Sequence[str]) -> list[str]:
    return [value for value in values if re.search(ACTIONS[shipped], value, re.IGNORECASE)]


def _full_name(table: str, settings: Settings) -> str:
    full = table if "." in table else f"{settings.clickhouse_database}.{table}"
    return ".".join(f"`{part}`" for part in full.split("."))


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else "`" + name.replace("`", "\\`") + "`"


def _show(source: SqlSource, proposal: TableProposal, settings: Settings) -> dict[Path, str]:
    """Print the proposal with its first numbers. Return file -> text of the queries that change. Raises SourceError."""
    click.echo(f"{proposal.query}: table {proposal.table}")
    if proposal.others:
        click.echo(f"  {', '.join(proposal.others[:8])} would do as well: {SETTINGS[proposal.query]} names another")
    for shipped, own in [*proposal.columns.items(), *proposal.actions.items()]:
        if shipped not in (own, "reciever_id"):
            click.echo(f"  {shipped} is {own}")
    for shipped, own in proposal.actions.items():
        rest = [value for value in _alike(shipped, proposal.values) if value != own]
        if own not in proposal.values:
            there = ", ".join(proposal.values[:8])
            click.echo(f"  no action is like {shipped!r}: there are {there}; edit alerting/sql/{proposal.query}.sql")
        elif rest:
            click.echo(f"  {shipped} is {own!r} alone, without {', '.join(map(repr, rest[:8]))}")
    if proposal.absent:
        click.echo(f"  without {', '.join(proposal.absent)}: root causes go by the other attributes")
    out = dict[Path, str]()
    for folder in (SQL, SQL / "slices"):
        query = load_queries(folder).get(proposal.query)
        text = proposal.rewrite(query.sql) if query else ""
        if query and text.strip() != query.sql.strip():
            out[folder / f"{proposal.query}.sql"] = text
        if query and folder == SQL:
            click.echo(_first_numbers(source, proposal, text, settings))
    return out


def _first_numbers(source: SqlSource, proposal: TableProposal, sql: str, settings: Settings) -> str:
    """Return the newest buckets of the table as lines of text. Raises SourceError."""
    table, time = _full_name(proposal.table, settings), _quoted(proposal.columns["time"])
    newest = source.run_sql(f"SELECT toUInt32(max({time})) AS at, count() AS rows FROM {table}", proposal.query)
    if not int(newest["rows"].iloc[0]):
        return "  the table has no rows yet"
    end = datetime.fromtimestamp(int(newest["at"].iloc[0]) // 900 * 900 + 900, UTC)
    query = Query(proposal.query, sql)
    counts = to_counts(source.run_sql(bind(query, table, end - NUMBERS_SHOWN * STEP, end), query.name), query, end - DAY, end)
    lines = []
    for at, row in counts.drop(columns="newest", errors="ignore").iterrows():
        numbers = ", ".join(f"{name} {value:,.0f}" for name, value in row.items())
        lines.append(f"  {bucket_text(at, STEP, settings.zone)}: {numbers}")
    return "\n".join(lines)


def _print(texts: Mapping[Path, str], lines: Mapping[str, str]) -> None:
    if not texts and not lines:
        click.echo("Nothing has to be changed: settings and queries fit these tables.")
        return
    if lines:
        click.echo("\n.env:\n\n" + "".join(f"{name}={table}\n" for name, table in lines.items()))
    for path, text in texts.items():
        shown = f":\n\n{text}" if path.parent == SQL else ", with the same columns"
        click.echo(f"alerting/{path.relative_to(SQL.parent)}{shown}")
    click.echo("\nNothing was changed: --write does.")


def _write(texts: Mapping[Path, str], lines: Mapping[str, str]) -> None:
    """Write the queries, and the settings into `.env`; a new value replaces an earlier one. Raises SettingsError."""
    files = {path: text.encode() for path, text in texts.items()}
    if lines:
        environment = ROOT / ".env"
        before = environment.read_text(encoding="utf-8").splitlines() if environment.exists() else []
        kept = [line for line in before if line.partition("=")[0].strip() not in lines]
        after = [*kept, *(f"{name}={table}" for name, table in lines.items())]
        files[environment] = ("\n".join(after) + "\n").encode()
    write_files(files)
    for path in files:
        click.echo(f"Written: {path.relative_to(ROOT)}")
    click.echo("`make doctor` checks them." if files else "Nothing had to be changed.")
