"""Writes a SQLite database as SQL that any SQLite, shell or library, reads back exactly.

The shell's own `.dump` and Python's `iterdump` lose text after a NUL, fail on text that is not
UTF-8, round some reals, and the shell reads "\\r\\n" within text back as "\\n"; so values are
written here in forms that survive all of that.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from workers.engine.databases.base import TableMark
from workers.engine.databases.line_sum import LineSum

TRAILER = "-- Holdfast dump of SQLite complete\n"
PIECE_CHARACTERS = 1 << 18
STATEMENT_CHARACTERS = 1 << 16

_NEWER_SHELLS = (
    "-- This database has virtual tables. In a shell that refuses to write their tables, first say"
    " .dbconfig defensive off\n"
)


@dataclass(frozen=True, slots=True)
class Raw:
    """A text value whose bytes are not text in the database's encoding."""

    data: bytes


def text_or_raw(data: bytes) -> str | Raw:
    """Return what a text cell holds; to be a connection's `text_factory`."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return Raw(data)


def text_as_is(data: bytes) -> str:
    """Return a statement of the schema so that encoding it gives the same bytes again."""
    return data.decode("utf-8", "surrogateescape")


def quote_name(name: str) -> str:
    """Return a table's or column's name as it must stand in a statement."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: int | float | str | bytes | Raw | None, encoding: str) -> str:
    """Return `value` as SQL that reads back as the same value of the same type."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return _text(value, encoding)
    if isinstance(value, bytes):
        return f"X'{value.hex()}'"
    if isinstance(value, float):
        return _real(value)
    if isinstance(value, Raw):
        return f"CAST(X'{value.data.hex()}' AS TEXT)"
    return str(value)


def _text(value: str, encoding: str) -> str:
    if "\0" in value:
        return f"CAST(X'{value.encode(encoding).hex()}' AS TEXT)"
    quoted = "'" + value.replace("'", "''") + "'"
    if "\r" not in value:
        return quoted
    number = 0
    while (mark := f"<r{number}>") in value:
        number += 1
    return f"replace({quoted.replace(chr(13), mark)},'{mark}',char(13))"


def _real(value: float) -> str:
    """Return a real exactly, whatever the reading SQLite's decimal conversion is like.

    Those before 3.47 round a few decimals wrongly, even short ones (-569763563.652888). So whole
    numbers are written as decimals, and others as an integer below 2^53 and powers of two, where
    no step rounds.
    """
    if math.isinf(value):
        return "9e999" if value > 0 else "-9e999"
    if value.is_integer() and abs(value) < 1e15:
        return repr(value)
    fraction, exponent = math.frexp(value)
    factors = f"{int(fraction * 2**53)}.0"
    operator, left = ("*", exponent - 53) if exponent > 53 else ("/", 53 - exponent)
    while left > 0:
        factors += f"{operator}{2 ** min(left, 52)}.0"
        left -= 52
    return f"({factors})"


class SQLiteText:
    """The text of one database, read through `connection`, whose content must not change.

    Sets the connection's `text_factory`. `rows` holds each finished table's number of rows,
    `checksums` the `LineSum` of each.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._connection.text_factory = text_as_is
        [(self._encoding,)] = connection.execute("PRAGMA encoding")
        self._schema: list[tuple[str, str, str]] = connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
        ).fetchall()
        self.rows: dict[str, int | None] = {}
        self.checksums: dict[str, str] = {}

    def __iter__(self) -> Iterator[bytes | TableMark]:
        """Yield the text in pieces of some 256 KiB, a `TableMark` before each table."""
        pieces: list[str] = []
        size = 0
        for line in self._lines():
            if isinstance(line, str):
                pieces.append(line)
                size += len(line)
            if pieces and (size >= PIECE_CHARACTERS or not isinstance(line, str)):
                yield "".join(pieces).encode("utf-8", "surrogateescape")
                pieces, size = [], 0
            if isinstance(line, TableMark):
                yield line
        yield "".join(pieces).encode("utf-8", "surrogateescape")

    def _lines(self) -> Iterator[str | TableMark]:
        tables = [(name, sql) for kind, name, sql in self._schema if kind == "table"]
        virtual = [(name, sql) for name, sql in tables if _is_virtual(sql)]
        yield from self._header(bool(virtual))
        for name, sql in tables:
            if not name.startswith("sqlite_") and not _is_virtual(sql):
                yield TableMark(name)
                yield f"{sql}\n;\n"
                yield from self._rows(name)
        yield from self._internal({name for name, _ in tables})
        yield from self._virtual(virtual)
        for wanted in ("index", "view", "trigger"):
            for kind, name, sql in self._schema:
                if kind == wanted:
                    if kind == "view":
                        self.rows[name] = None
                    yield f"{sql}\n;\n"
        yield "COMMIT;\n"
        yield TRAILER

    def _header(self, has_virtual: bool) -> Iterator[str]:
        yield "-- Holdfast dump of SQLite\n"
        if has_virtual:
            yield _NEWER_SHELLS
        yield f"PRAGMA encoding = '{self._encoding}';\n"
        yield "PRAGMA foreign_keys = OFF;\n"
        yield "BEGIN TRANSACTION;\n"
        for pragma in ("user_version", "application_id"):
            [(number,)] = self._connection.execute(f"PRAGMA {pragma}")
            yield f"PRAGMA {pragma} = {number};\n"

    def _internal(self, names: set[str]) -> Iterator[str]:
        """Write SQLite's own tables of the next numbers and of the planner's statistics."""
        if "sqlite_stat1" in names:
            yield "ANALYZE sqlite_master;\n"
        for name in ("sqlite_sequence", "sqlite_stat1"):
            if name in names:
                yield f"DELETE FROM {name};\n"  # noqa: S608
                yield from self._rows(name)
                del self.rows[name], self.checksums[name]

    def _virtual(self, tables: list[tuple[str, str]]) -> Iterator[str]:
        """Enter virtual tables in the schema alone: what they hold is in ordinary tables.

        So their modules need not be known here, and their content comes back bit by bit.
        """
        if not tables:
            return
        yield "PRAGMA writable_schema = ON;\n"
        for name, sql in tables:
            self.rows[name] = None
            values = ",".join(_text(part, self._encoding) for part in ("table", name, name))
            yield (
                "INSERT INTO sqlite_master(type,name,tbl_name,rootpage,sql)"
                f" VALUES({values},0,{_text(sql, self._encoding)});\n"
            )
        yield "PRAGMA writable_schema = OFF;\n"

    def _rows(self, table: str) -> Iterator[str]:
        columns = self.columns(table)
        names = ",".join(columns)
        count = 0
        batch: list[str] = []
        size = 0
        quoted = quote_name(table)
        summed = LineSum()
        self._connection.text_factory = text_or_raw
        for values in self._connection.execute(f"SELECT {names} FROM {quoted} NOT INDEXED"):  # noqa: S608
            batch.append(f"({','.join([literal(value, self._encoding) for value in values])})")
            size += len(batch[-1])
            count += 1
            if size >= STATEMENT_CHARACTERS:
                summed.add([row.encode("utf-8", "surrogateescape") for row in batch])
                yield _insert(quoted, names, batch)
                batch, size = [], 0
        if batch:
            summed.add([row.encode("utf-8", "surrogateescape") for row in batch])
            yield _insert(quoted, names, batch)
        self.rows[table] = count
        self.checksums[table] = summed.text()

    def columns(self, table: str) -> list[str]:
        """Return the quoted names of the columns to write, the row's own number first."""
        self._connection.text_factory = text_as_is
        found = self._connection.execute(
            "SELECT name, type, pk, hidden FROM pragma_table_xinfo(?)", (table,)
        ).fetchall()
        columns = [quote_name(name) for name, _, _, hidden in found if hidden == 0]
        keys = [kind.upper() for _, kind, key, _ in found if key]
        if keys == ["INTEGER"] or table.startswith("sqlite_"):
            return columns  # the row's number is that column
        taken = {name.lower() for name, _, _, _ in found}
        for number in ("rowid", "_rowid_", "oid"):
            if number not in taken:
                try:
                    self._connection.execute(f"SELECT {number} FROM {quote_name(table)} LIMIT 0")  # noqa: S608
                except sqlite3.OperationalError:
                    return columns  # a table WITHOUT ROWID
                return [number, *columns]
        return columns


def _is_virtual(sql: str) -> bool:
    return sql.upper().startswith("CREATE VIRTUAL TABLE")


def _insert(table: str, columns: str, rows: list[str]) -> str:
    lines = ",\n".join(rows)
    return f"INSERT INTO {table}({columns}) VALUES\n{lines};\n"
