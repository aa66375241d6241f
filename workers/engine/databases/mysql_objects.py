"""Views, triggers, routines and events of MySQL and MariaDB: read as text, dropped, made again.

`RENAME TABLE` moves tables alone between databases, and refuses those with triggers.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from workers.engine.databases.mysql_client import MySQLClient, quote_name, quote_text

# How MySQL's character sets are called in Python; others are sent as utf8mb4.
_ENCODINGS = {"utf8mb4": "utf-8", "utf8mb3": "utf-8", "utf8": "utf-8", "latin1": "cp1252"}

_LISTS = {
    "FUNCTION": "SELECT ROUTINE_NAME FROM information_schema.ROUTINES"
    " WHERE ROUTINE_SCHEMA = DATABASE() AND ROUTINE_TYPE = 'FUNCTION'",
    "PROCEDURE": "SELECT ROUTINE_NAME FROM information_schema.ROUTINES"
    " WHERE ROUTINE_SCHEMA = DATABASE() AND ROUTINE_TYPE = 'PROCEDURE'",
    "VIEW": "SELECT TABLE_NAME FROM information_schema.TABLES"
    " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE LIKE '%VIEW'",
    "TRIGGER": "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS"
    " WHERE TRIGGER_SCHEMA = DATABASE()"
    " ORDER BY EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER",
    "EVENT": "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE()",
}
# Where SHOW CREATE has what: definition, character set, sql_mode, time zone. Collations follow.
_COLUMNS = {
    "FUNCTION": (2, 3, 1, None),
    "PROCEDURE": (2, 3, 1, None),
    "VIEW": (1, 2, None, None),
    "TRIGGER": (2, 3, 1, None),
    "EVENT": (3, 4, 1, 2),
}


@dataclass(frozen=True, slots=True)
class CodeObject:
    """One view, trigger, routine or event, with all that is needed to make it again."""

    kind: str
    name: str
    definition: str
    settings: dict[str, str] = field(default_factory=dict)
    table: str = ""  # a trigger's
    columns: tuple[str, ...] = ()  # a view's


def read_objects(client: MySQLClient, *, kinds: Iterable[str] = tuple(_LISTS)) -> list[CodeObject]:
    """Return those that the client's user may read, in an order in which they can be made."""
    found: list[CodeObject] = []
    for kind in kinds:
        names = client.query(_LISTS[kind])
        columns = _columns(client) if kind == "VIEW" and names else {}
        tables = {row[0]: row[-1] for row in names} if kind == "TRIGGER" else {}
        statements = (f"SHOW CREATE {kind} {quote_name(row[0])}" for row in names)
        for row in client.query(";\n".join(statements), force=True) if names else ():
            definition, charset, mode, zone = _COLUMNS[kind]
            if row[definition] == "NULL":
                continue  # the user may not read it: it stays as it is
            settings = {"charset": row[charset], "collation": row[charset + 1]}
            if mode is not None:
                settings["sql_mode"] = row[mode]
            if zone is not None:
                settings["time_zone"] = row[zone]
            text = row[definition].replace(f"{quote_name(client.spec.name)}.", "")
            found.append(
                CodeObject(
                    kind, row[0], text, settings, tables.get(row[0], ""), columns.get(row[0], ())
                )
            )
    return found


def drop_statements(objects: Iterable[CodeObject]) -> str:
    """Return the statements that drop `objects`, as far as they are there."""
    return "".join(f"DROP {o.kind} IF EXISTS {quote_name(o.name)};\n" for o in reversed([*objects]))


def create_statements(objects: Iterable[CodeObject]) -> str:
    """Return the statements that make `objects` anew; they run on their own, to the same effect."""
    objects = list(objects)
    delimiter = f"$hf{secrets.token_hex(4)}$"  # the client knows 15 characters
    lines = [f"DELIMITER {delimiter}", *_placeholders(objects, delimiter)]
    for each in objects:
        encoding = _ENCODINGS.get(each.settings["charset"])
        charset = each.settings["charset"]
        try:
            text = each.definition.encode(encoding or "utf-8")
        except UnicodeEncodeError:
            encoding = None
        if encoding is None:
            charset, text = "utf8mb4", each.definition.encode("utf-8", "replace")
        settings = [f"character_set_client = {charset}"]
        if charset == each.settings["charset"]:
            settings.append(f"collation_connection = {each.settings['collation']}")
        for name in ("sql_mode", "time_zone"):
            if name in each.settings:
                settings.append(f"{name} = {quote_text(each.settings[name])}")
        if each.kind == "VIEW":
            text = text.replace(b"CREATE ", b"CREATE OR REPLACE ", 1)
        else:
            lines.append(f"DROP {each.kind} IF EXISTS {quote_name(each.name)} {delimiter}")
        lines.append(f"SET SESSION {', '.join(settings)} {delimiter}")
        lines.append(f"{text.decode('utf-8', 'surrogateescape')}\n{delimiter}")
        lines.append(f"SET NAMES utf8mb4 {delimiter}")
    return "\n".join([*lines, "DELIMITER ;", ""])


def _placeholders(objects: list[CodeObject], delimiter: str) -> Iterator[str]:
    """Yield views of constants: views that refer to each other can then be made in any order."""
    for each in objects:
        if each.kind == "VIEW":
            columns = ", ".join(f"1 AS {quote_name(column)}" for column in each.columns)
            yield f"CREATE OR REPLACE VIEW {quote_name(each.name)} AS SELECT {columns} {delimiter}"


def _columns(client: MySQLClient) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for view, column in client.query(
        "SELECT c.TABLE_NAME, c.COLUMN_NAME FROM information_schema.COLUMNS c"
        " JOIN information_schema.TABLES t USING (TABLE_SCHEMA, TABLE_NAME)"
        " WHERE c.TABLE_SCHEMA = DATABASE() AND t.TABLE_TYPE LIKE '%VIEW'"
        " ORDER BY c.TABLE_NAME, c.ORDINAL_POSITION"
    ):
        found[view] = (*found.get(view, ()), column)
    return found
