"""Loads a dump into a fresh SQLite file and compares it with the database it came from."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class DatabaseComparison:
    """How many tables and rows were compared, and a sentence for each difference."""

    tables: int
    rows: int
    differences: tuple[str, ...]


def load_dump(dump: Path, database: Path) -> None:
    """Run the statements of `dump` on the new SQLite file `database`, one at a time.

    Raises `sqlite3.Error` for a statement that fails, `ValueError` for text that is not UTF-8 or
    ends in the middle of a statement.
    """
    with contextlib.closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement in _statements(dump):
            connection.execute(statement)


def compare_databases(source: Path, restored: Path) -> DatabaseComparison:
    """Compare schema and every row of two SQLite files; neither is written to.

    Values count as equal only with the same type: text and a blob of the same bytes differ. White
    space at a definition's end does not count: SQLite keeps what stood before the semicolon.
    """
    with (
        contextlib.closing(_open(source)) as before,
        contextlib.closing(_open(restored)) as after,
    ):
        old, new = _schema(before), _schema(after)
        differences = [
            f"{kind} {name} is missing" for kind, name in sorted(old.keys() - new.keys())
        ]
        differences += [f"{kind} {name} is new" for kind, name in sorted(new.keys() - old.keys())]
        common = sorted(old.keys() & new.keys())
        differences += [
            f"{kind} {name} is defined differently"
            for kind, name in common
            if old[kind, name] != new[kind, name]
        ]
        tables = [name for kind, name in common if kind == "table"]
        rows = 0
        for table in tables:
            count, difference = _compare_table(before, after, table)
            rows += count
            differences += [f"table {table}: {difference}"] if difference else []
    return DatabaseComparison(len(tables), rows, tuple(differences))


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)
    # Marks what was text, and accepts text that is not UTF-8.
    connection.text_factory = lambda value: ("text", value)
    return connection


def _schema(connection: sqlite3.Connection) -> dict[tuple[str, str], bytes]:
    rows = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_master")
    return {
        (kind[1].decode(), name[1].decode("utf-8", "replace")): sql[1].rstrip()
        for kind, name, sql in rows
    }


def _compare_table(
    before: sqlite3.Connection, after: sqlite3.Connection, table: str
) -> tuple[int, str]:
    """Return how many rows were compared, and the first difference or an empty text."""
    count = 0
    try:
        for old, new in zip_longest(_rows(before, table), _rows(after, table)):
            if old is None or new is None:
                return count, f"rows are missing or new from row {count + 1} on"
            count += 1
            # repr, since 1 == 1.0 but an integer that became a real is a difference.
            if old != new or repr(old) != repr(new):
                return count, f"row {count} differs"
    except sqlite3.Error as error:
        return count, f"cannot be read: {error}"
    return count, ""


def _rows(connection: sqlite3.Connection, table: str) -> Iterator[tuple[object, ...]]:
    quoted = '"' + table.replace('"', '""') + '"'
    # By every column, since a table without rowid has no other order that both files share.
    columns = connection.execute(f"SELECT * FROM {quoted} LIMIT 0").description  # noqa: S608
    order = ", ".join(str(number) for number in range(1, len(columns) + 1))
    return connection.execute(f"SELECT * FROM {quoted} ORDER BY {order}")  # noqa: S608


def _statements(dump: Path) -> Iterator[str]:
    collected: list[str] = []
    with dump.open(encoding="utf-8", newline="") as lines:
        for line in lines:
            collected.append(line)
            # Only a line with a semicolon can end a statement; asking at each is slow.
            if ";" in line and sqlite3.complete_statement(statement := "".join(collected)):
                yield statement
                collected.clear()
    rest = "".join(collected)
    if any(line.strip() and not line.lstrip().startswith("--") for line in rest.splitlines()):
        raise ValueError(f"{dump.name} ends in the middle of a statement")
