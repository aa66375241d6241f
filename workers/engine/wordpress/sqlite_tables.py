"""Rewrites a SQLite file, as the plugin "SQLite Database Integration" keeps one."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from workers.engine.databases.base import DatabaseSpec
from workers.engine.errors import EngineError
from workers.engine.wordpress.tables import FoundRow, Key, TableShape, TextColumn

BUSY_SECONDS = 20.0
CHECK_INSTRUCTIONS = 100_000


class SQLiteTables:
    """See `TableClient`. Made by `opened` only; keys are row ids."""

    most_value_bytes = 500_000_000

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def tables(self) -> list[TableShape]:
        """See `TableClient.tables`."""
        names = self._connection.execute(
            "SELECT name, sql LIKE '%WITHOUT ROWID%' OR sql LIKE 'CREATE VIRTUAL%'"
            " FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
            " ORDER BY name"
        ).fetchall()
        return [
            TableShape(name, not without_row_ids, tuple(self._text_columns(name)))
            for name, without_row_ids in names
        ]

    def rows(self, table: TableShape, needles: Sequence[bytes]) -> Iterator[FoundRow]:
        """See `TableClient.rows`."""
        columns = [_quoted(column.name) for column in table.columns]
        conditions = " OR ".join(
            f"(typeof({column}) = 'text' AND instr(CAST({column} AS BLOB), ?))"
            for column in columns
            for _needle in needles
        )
        name = _quoted(table.name)
        statement = f"SELECT rowid FROM {name} WHERE {conditions}"  # noqa: S608
        found = self._connection.execute(statement, [*needles] * len(columns)).fetchall()
        texts = (f"iif(typeof({c}) = 'text', CAST({c} AS BLOB), NULL)" for c in columns)
        statement = f"SELECT {', '.join(texts)} FROM {name} WHERE rowid = ?"  # noqa: S608
        for (number,) in found:
            [values] = self._connection.execute(statement, (number,)).fetchall()
            yield FoundRow((b"%d" % number,), tuple(values))

    def update(self, table: TableShape, key: Key, changes: Mapping[str, bytes]) -> None:
        """See `TableClient.update`."""
        named = ", ".join(f"{_quoted(name)} = CAST(? AS TEXT)" for name in changes)
        statement = f"UPDATE {_quoted(table.name)} SET {named} WHERE rowid = ?"  # noqa: S608
        self._connection.execute(statement, [*changes.values(), int(key[0])])

    def change_whole(self, table: str, column: str, old: str, new: str) -> None:
        """See `TableClient.change_whole`."""
        name = _quoted(column)
        self._connection.execute(
            f"UPDATE {_quoted(table)} SET {name} = ? WHERE {name} = ?",  # noqa: S608
            (new, old),
        )

    def commit(self) -> None:
        """See `TableClient.commit`."""
        self._connection.execute("COMMIT")

    def _text_columns(self, table: str) -> Iterator[TextColumn]:
        for row in self._connection.execute(f"PRAGMA table_info({_quoted(table)})"):
            name, is_key = row[1], row[5]
            if not is_key:
                yield TextColumn(name)


@contextlib.contextmanager
def opened(
    spec: DatabaseSpec, check: Callable[[], None], _scratch_directory: str | None
) -> Iterator[SQLiteTables]:
    """Yield the tables of the file that `spec` names, in a transaction."""
    raised: list[BaseException] = []

    def handler() -> int:
        # What a handler raises is lost in SQLite: kept here, and raised once SQLite has stopped.
        try:
            check()
        except BaseException as error:
            raised.append(error)
            return 1
        return 0

    try:
        uri = f"{Path(spec.name).absolute().as_uri()}?mode=rw"
        with contextlib.closing(
            sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        ) as connection:
            connection.set_progress_handler(handler, CHECK_INSTRUCTIONS)
            connection.execute("BEGIN IMMEDIATE")
            yield SQLiteTables(connection)
    except sqlite3.Error as error:
        if raised:
            raise raised[0] from None
        raise EngineError(
            f"Rewriting the SQLite database {spec.name} failed: {error}",
            hint="Check that the worker's user may write the file and its folder.",
            code="database_failed",
        ) from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
