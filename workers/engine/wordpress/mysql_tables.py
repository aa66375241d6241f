"""Rewrites MySQL and MariaDB through the server's own client.

Values travel as hexadecimal digits in both directions, so no byte needs quoting. What is to change
is gathered in a file and then run as one transaction; a rewrite that is cut off changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from workers.engine.databases.base import DatabaseSpec
from workers.engine.databases.mysql_client import MySQLClient, connected, explain, quote_name
from workers.engine.process import ProcessFailed, find_program, run, spawn
from workers.engine.wordpress.tables import FoundRow, Key, TableShape, TextColumn

_TEXT_TYPES = frozenset(("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "json"))
_INTEGER_TYPES = frozenset(("tinyint", "smallint", "mediumint", "int", "bigint"))
_BINARY_TYPES = frozenset(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"))
_INTEGER = re.compile(rb"-?\d+\Z")
# Room for names and the rest of a statement beside the value.
_STATEMENT_BYTES = 64 << 10
# Strict, so that what does not fit is an error and no silent cut; every date that is there stays.
_BEGIN = (
    b"SET SESSION sql_mode = 'STRICT_ALL_TABLES', foreign_key_checks = 0;\nSTART TRANSACTION;\n"
)

# The client sends what stands before this at once, however many statements it is: an answer to
# each would take longer than the work. No name or value of ours holds it outside of quotes.
_DELIMITER = b"$$"
_BATCH_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class _Column:
    name: str
    kind: str
    charset: str
    is_key: bool
    follows_updates: bool

    def literal(self, value: bytes) -> bytes:
        """Return a value of this column, as bytes of its own encoding, for a statement."""
        if self.kind in _INTEGER_TYPES and _INTEGER.match(value):
            return value
        digits = b"X'%b'" % value.hex().encode()
        if self.kind in _BINARY_TYPES:
            return digits
        return b"_%b %b" % ((self.charset or "utf8mb4").encode(), digits)


class MySQLTables:
    """See `TableClient`. Made by `opened` only."""

    def __init__(self, client: MySQLClient, spool: BinaryIO) -> None:
        self._client = client
        self._spool = spool
        self._spool.write(_BEGIN + b"DELIMITER %b\n" % _DELIMITER)
        self._batched = 0
        self._columns: dict[str, list[_Column]] = {}
        [(packet,)] = client.query("SELECT @@max_allowed_packet")
        self._batch_bytes = min(_BATCH_BYTES, int(packet) // 2)
        self.most_value_bytes = max(0, (int(packet) - _STATEMENT_BYTES) // 2)

    def tables(self) -> list[TableShape]:
        """See `TableClient.tables`."""
        # One query: a site with many plugins has some thousand columns.
        rows = self._client.query(
            "SELECT TABLE_NAME, COLUMN_NAME, DATA_TYPE, IFNULL(CHARACTER_SET_NAME, ''),"
            " COLUMN_KEY = 'PRI', EXTRA, IFNULL(CHARACTER_MAXIMUM_LENGTH, ''),"
            " IFNULL(CHARACTER_OCTET_LENGTH, '')"
            " FROM information_schema.COLUMNS JOIN information_schema.TABLES"
            " USING (TABLE_SCHEMA, TABLE_NAME)"
            " WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE'"
            " ORDER BY TABLE_NAME, ORDINAL_POSITION"
        )
        texts: dict[str, list[TextColumn]] = {}
        self._columns = {}
        for table, name, kind, charset, is_key, extra, characters, octets in rows:
            extra = extra.upper()
            follows = "ON UPDATE" in extra
            column = _Column(name, kind.lower(), charset, is_key == "1", follows)
            self._columns.setdefault(table, []).append(column)
            found = texts.setdefault(table, [])
            is_text = column.kind in _TEXT_TYPES and "GENERATED" not in extra
            if is_text and not column.is_key:
                found.append(TextColumn(name, _number(characters), _number(octets)))
        return [
            TableShape(table, any(column.is_key for column in columns), tuple(texts[table]))
            for table, columns in self._columns.items()
        ]

    def rows(self, table: TableShape, needles: Sequence[bytes]) -> Iterator[FoundRow]:
        """See `TableClient.rows`."""
        keys = [column for column in self._columns[table.name] if column.is_key]
        names = [quote_name(column.name) for column in table.columns]
        wanted = [f"HEX(CAST({quote_name(key.name)} AS BINARY))" for key in keys]
        for name in names:
            wanted += [f"HEX({name})", f"LENGTH({name})"]
        # A binary needle makes the comparison one of bytes.
        found = " OR ".join(
            f"INSTR({name}, X'{needle.hex()}')" for name in names for needle in needles
        )
        statement = f"SELECT {', '.join(wanted)} FROM {quote_name(table.name)} WHERE {found};\n"  # noqa: S608
        for line in self._lines(statement):
            cells = line.split(b"\t")
            key = tuple(bytes.fromhex(cell.decode()) for cell in cells[: len(keys)])
            digits, lengths = cells[len(keys) :: 2], cells[len(keys) + 1 :: 2]
            # The server gives nothing instead of an answer that is larger than its packets.
            unread = tuple(
                column.name
                for column, cell, length in zip(table.columns, digits, lengths, strict=True)
                if cell == b"NULL" and length != b"NULL"
            )
            values = (None if c == b"NULL" else bytes.fromhex(c.decode()) for c in digits)
            yield FoundRow(key, tuple(values), unread)

    def update(self, table: TableShape, key: Key, changes: Mapping[str, bytes]) -> None:
        """See `TableClient.update`."""
        columns = self._columns[table.name]
        keys = [column for column in columns if column.is_key]
        named = [
            b"%b = %b" % (quote_name(column.name).encode(), column.literal(changes[column.name]))
            for column in columns
            if column.name in changes
        ]
        # Or the server would note this moment as that of the last change.
        named += [
            b"%b = %b" % ((quote_name(column.name).encode(),) * 2)
            for column in columns
            if column.follows_updates and column.name not in changes
        ]
        where = b" AND ".join(
            b"%b = %b" % (quote_name(column.name).encode(), column.literal(value))
            for column, value in zip(keys, key, strict=True)
        )
        name = quote_name(table.name).encode()
        self._note(b"UPDATE %b SET %b WHERE %b;\n" % (name, b", ".join(named), where))

    def change_whole(self, table: str, column: str, old: str, new: str) -> None:
        """See `TableClient.change_whole`."""
        name = quote_name(column)
        statement = (
            f"UPDATE {quote_name(table)} SET {name} = {_text(new)}"  # noqa: S608
            f" WHERE {name} = BINARY {_text(old)};\n"
        )
        self._note(statement.encode())

    def commit(self) -> None:
        """See `TableClient.commit`."""
        self._end_batch()
        self._spool.write(b"DELIMITER ;\nCOMMIT;\n")
        self._spool.flush()
        self._spool.seek(0)
        try:
            run(
                self._argv(),
                environment=self._client.environment,
                secrets=self._client.secrets,
                check=self._client.check,
                stdin=self._spool.fileno(),
            )
        except ProcessFailed as failure:
            name = self._client.spec.name
            raise explain(failure, f"Rewriting the database {name}") from failure

    def _note(self, statement: bytes) -> None:
        if self._batched + len(statement) > self._batch_bytes:
            self._end_batch()
        self._spool.write(statement)
        self._batched += len(statement)

    def _end_batch(self) -> None:
        if self._batched:
            self._spool.write(_DELIMITER + b"\n")
        self._batched = 0

    def _lines(self, statement: str) -> Iterator[bytes]:
        """Run a statement and yield its rows as they come."""
        with tempfile.TemporaryFile() as file:
            file.write(statement.encode())
            file.flush()
            file.seek(0)
            with spawn(
                [*self._argv(), "--quick"],
                environment=self._client.environment,
                secrets=self._client.secrets,
                check=self._client.check,
                stdin=file.fileno(),
            ) as process:
                held: list[bytes] = []
                try:
                    for chunk in process.chunks():
                        *whole, rest = chunk.split(b"\n")
                        if whole:
                            yield b"".join([*held, whole[0]])
                            yield from whole[1:]
                            held.clear()
                        held.append(rest)
                except ProcessFailed as failure:
                    name = self._client.spec.name
                    raise explain(failure, f"Reading the database {name}") from failure

    def _argv(self) -> list[str]:
        return [
            find_program("mariadb", "mysql", hint="Install mariadb-client on the node."),
            *self._client.arguments,
            "--batch",
            "--skip-column-names",
            "--default-character-set=utf8mb4",
            "--max-allowed-packet=1G",
            "--local-infile=0",
            f"--database={self._client.spec.name}",
        ]


@contextlib.contextmanager
def opened(
    spec: DatabaseSpec, check: Callable[[], None], scratch_directory: str | None
) -> Iterator[MySQLTables]:
    """Yield the tables of `spec`."""
    with (
        connected(spec, check, scratch_directory) as client,
        tempfile.TemporaryFile(dir=scratch_directory) as spool,
    ):
        os.fchmod(spool.fileno(), 0o600)
        yield MySQLTables(client, spool)


def _text(text: str) -> str:
    return f"_utf8mb4 X'{text.encode().hex()}'"


def _number(text: str) -> int | None:
    return int(text) if text else None
