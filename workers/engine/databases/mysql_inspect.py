"""What the catalogue of MySQL or MariaDB tells before a dump, and what would make one fail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from workers.engine.databases.base import TableEstimate
from workers.engine.databases.causes import AWAY, BUSY, LOST, REFUSED
from workers.engine.databases.mysql_client import MySQLClient, quote_name
from workers.engine.errors import EngineError

_CONNECTION_CODES = {cause.code for cause in (AWAY, LOST, BUSY)}


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the catalogue says before a dump, and which parts the user may not read."""

    server_version: str
    tables: tuple[TableEstimate, ...]
    broken_views: dict[str, str]
    arguments: tuple[str, ...]
    warnings: list[str] = field(default_factory=list)


def inspect(client: MySQLClient) -> Inspection:
    """Read the catalogue, and find out what a dump by this user would stumble over."""
    [(version,)] = client.query("SELECT VERSION()")
    tables = tuple(_tables(client))
    views = [table.name for table in tables if table.storage_engine == "VIEW"]
    broken = broken_views(client, views)
    warnings = [
        f"View {name} cannot be read ({reason}): its definition is in the dump as a comment only."
        for name, reason in broken.items()
    ]
    warnings += _untransactional(client, tables)
    warnings += _imprecise(client)
    arguments, refusals = _readable_code(client)
    return Inspection(version, tables, _definitions(client, broken), arguments, warnings + refusals)


def _tables(client: MySQLClient) -> Iterator[TableEstimate]:
    # An empty InnoDB table has one page of 16 KiB, which is nothing in a dump.
    rows = client.query(
        "SELECT TABLE_NAME, IF(TABLE_TYPE LIKE '%VIEW', 'VIEW', IFNULL(ENGINE, '')),"
        " IF(TABLE_ROWS = 0 AND DATA_LENGTH <= 16384, 0, IFNULL(DATA_LENGTH, 0)),"
        " IFNULL(TABLE_ROWS, '') FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE <> 'SEQUENCE' ORDER BY TABLE_NAME"
    )
    for name, engine, size, count in rows:
        is_view = engine == "VIEW"
        yield TableEstimate(name, int(size), None if is_view or not count else int(count), engine)


def _untransactional(client: MySQLClient, tables: tuple[TableEstimate, ...]) -> list[str]:
    """Return a warning for tables that a transaction does not hold still."""
    rows = client.query("SELECT ENGINE FROM information_schema.ENGINES WHERE TRANSACTIONS = 'YES'")
    steady = {engine for (engine,) in rows} | {"VIEW"}
    names = [f"{table.name} ({table.storage_engine or 'unknown engine'})" for table in tables
             if table.storage_engine not in steady]  # fmt: skip
    if not names:
        return []
    return [
        f"{len(names)} tables are of a kind without transactions. Each is whole in the dump, but"
        " not of the same moment as the others; ALTER TABLE … ENGINE=InnoDB changes that: "
        + _listed(names)
    ]


def _imprecise(client: MySQLClient) -> list[str]:
    """Return a warning for columns whose values the server does not write out exactly."""
    rows = client.query(
        "SELECT CONCAT(c.TABLE_NAME, '.', c.COLUMN_NAME) FROM information_schema.COLUMNS c"
        " JOIN information_schema.TABLES t USING (TABLE_SCHEMA, TABLE_NAME) WHERE"
        " c.TABLE_SCHEMA = DATABASE() AND c.DATA_TYPE = 'float' AND t.TABLE_TYPE = 'BASE TABLE'"
    )
    if not rows:
        return []
    return [
        "The server writes values of type FLOAT with 6 digits, so a restore may round them"
        " (DOUBLE is exact): " + _listed([name for (name,) in rows])
    ]


def _listed(names: list[str]) -> str:
    return ", ".join(names[:20]) + (", …" if len(names) > 20 else "")


def broken_views(client: MySQLClient, views: list[str]) -> dict[str, str]:
    """Return the views that cannot be read, with the reason.

    One that lacks a table would end the dump; one that lacks its definer would end the restore,
    since SHOW CREATE VIEW then puts the old database's name before every column.
    All are tried at once, and halves of those that fail, so that the usual case is one query.
    """
    if not views:
        return {}
    statements = (
        f"SELECT 1 FROM {quote_name(view)} LIMIT 0; SHOW CREATE VIEW {quote_name(view)}"  # noqa: S608
        for view in views
    )
    try:
        client.query(";\n".join(statements))
    except EngineError as error:
        if error.code in _CONNECTION_CODES | {REFUSED.code}:
            raise
        if len(views) == 1:
            return {views[0]: _reason(error)}
        half = len(views) // 2
        return broken_views(client, views[:half]) | broken_views(client, views[half:])
    return {}


def _reason(error: EngineError) -> str:
    """Return the server's own words of a client's error."""
    return error.message.rstrip().rsplit("\n", 1)[-1].rsplit(": ", 1)[-1]


def _definitions(client: MySQLClient, views: dict[str, str]) -> dict[str, str]:
    """Return what the catalogue keeps of the broken views' definitions."""
    if not views:
        return {}
    rows = client.query(
        "SELECT TABLE_NAME, DEFINER, SECURITY_TYPE, VIEW_DEFINITION FROM information_schema.VIEWS"
        " WHERE TABLE_SCHEMA = DATABASE()"
    )
    found = {
        name: f"definer {definer}, security {security}: CREATE VIEW {quote_name(name)} AS {text}"
        for name, definer, security, text in rows
    }
    return {view: found.get(view, "no definition readable") for view in views}


def _readable_code(client: MySQLClient) -> tuple[tuple[str, ...], list[str]]:
    """Return the arguments for routines and events, leaving out what the user may not read."""
    arguments, warnings = [], []
    rows = client.query(
        "SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE()"
        " AND ROUTINE_DEFINITION IS NULL"
    )
    if rows:
        names = _listed([name for (name,) in rows])
        warnings.append(
            f"The user may not read the routines {names}, so no routine is in the dump:"
            " grant SELECT on mysql.proc (MariaDB) or SHOW_ROUTINE (MySQL)."
        )
    else:
        arguments.append("--routines")
    try:
        client.query("SHOW EVENTS")
        arguments.append("--events")
    except EngineError as error:
        if error.code in _CONNECTION_CODES:
            raise
        warnings.append(
            "The user may not read events, so none is in the dump: grant EVENT on the database."
        )
    return tuple(arguments), warnings
