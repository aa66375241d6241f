"""Exchanges the rows of some tables of a PostgreSQL database with those of a dump.

Tables are known by number to views, foreign keys, functions and grants, so another table cannot
take their place. Instead the dump's rows are loaded into a schema of ours, and one transaction puts
the live rows aside and copies those in. It keeps the live tables' structure; a dump whose columns
are others is refused. Foreign keys are dropped and made again in it: where rows would contradict
them, nothing changes. Sequences and materialized views stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from workers.engine.databases.base import DatabaseSpec, TableMark, unchecked
from workers.engine.databases.postgresql import ask
from workers.engine.databases.postgresql_load import counted, run_client
from workers.engine.databases.postgresql_scan import PostgreSQLScan
from workers.engine.databases.postgresql_switch import lock_statement
from workers.engine.databases.sqlite_text import quote_name
from workers.engine.errors import EngineError
from workers.engine.progress import Reporter

# Names in answers carry their schema, rows are read in the order in which they were written.
_SETTINGS = "-c search_path= -c synchronize_seqscans=off"
_COPY = re.compile(rb"\nCOPY ((?:\"(?:[^\"]|\"\")+\"|[^\"(])+) (\([^\n]*\))? ?FROM stdin;\n\Z")
_ROWS_END = b"\n\\.\n"  # the scan gives a piece that ends here
_ENCODING = re.compile(rb"\nSET client_encoding = '([\w-]+)';\n")
_TRIGGER_WORDS = {"O": "", "R": "REPLICA ", "A": "ALWAYS "}


class RowsSwitch:
    """See `base.DatabaseSwitch`; for some tables, given by name, columns and number."""

    def __init__(
        self,
        spec: DatabaseSpec,
        schema: str,
        chosen: list[tuple[str, str]],
        tables: Mapping[str, int | None] | None = None,
        check: Callable[[], None] = unchecked,
    ) -> None:
        self.tables: Mapping[str, int | None] = tables or {}
        self._spec = spec
        self._schema = schema
        self._chosen = chosen
        self._check = check

    @property
    def loaded(self) -> DatabaseSpec | None:
        """See `DatabaseSwitch.loaded`."""
        return None

    def record(self) -> Mapping[str, Any]:
        """See `Switch.record`."""
        return {
            "engine": "postgresql",
            "what": "rows",
            "schema": self._schema,
            "chosen": [list(each) for each in self._chosen],
        }

    def switch(self) -> None:
        """See `Switch.switch`."""
        if self._has("switched"):
            return
        schema = quote_name(self._schema)
        keep = [
            f"CREATE TABLE {schema}.old_{n} AS SELECT {_listed(columns)} FROM {table};"  # noqa: S608
            for n, (table, columns) in enumerate(self._chosen)
        ]
        self._exchange("new", before=keep, after=[f"CREATE TABLE {schema}.switched ();"])

    def revert(self) -> None:
        """See `Switch.revert`."""
        if not self._has("switched"):
            return
        schema = quote_name(self._schema)
        drop = [f"DROP TABLE {schema}.old_{n};" for n in range(len(self._chosen))]
        self._exchange("old", before=[], after=[*drop, f"DROP TABLE {schema}.switched;"])

    def discard(self) -> None:
        """See `Switch.discard`."""
        self._write(f"DROP SCHEMA IF EXISTS {quote_name(self._schema)} CASCADE")

    def _has(self, table: str) -> bool:
        name = f"{quote_name(self._schema)}.{table}"
        return self._read(f"SELECT to_regclass('{name}') IS NOT NULL") == [("t",)]

    def _read(self, statement: str) -> list[tuple[str, ...]]:
        statements = f"{lock_statement(self._schema)};\n{statement}"
        return ask(self._spec, statements, check=self._check, settings=_SETTINGS)

    def _write(self, statements: str) -> None:
        settings = f"{_SETTINGS} -c client_min_messages=warning"
        statements = f"{lock_statement(self._schema)};\n{statements}"
        ask(self._spec, statements, check=self._check, is_writing=True, settings=settings)

    def _exchange(self, prefix: str, *, before: list[str], after: list[str]) -> None:
        listed = ", ".join(table for table, _columns in self._chosen)
        drop_keys, add_keys = self._foreign_keys()
        disable, enable = self._triggers()
        schema = quote_name(self._schema)
        rows = [
            f"TRUNCATE ONLY {table}; INSERT INTO {table} {columns} OVERRIDING SYSTEM VALUE"  # noqa: S608
            f" SELECT {_listed(columns)} FROM {schema}.{prefix}_{n};"
            for n, (table, columns) in enumerate(self._chosen)
        ]
        lock = f"BEGIN; LOCK TABLE ONLY {listed} IN ACCESS EXCLUSIVE MODE;"
        steps = [lock, *before, *drop_keys, *disable, *rows, *enable, *add_keys, *after, "COMMIT"]
        self._write("\n".join(steps))

    def _foreign_keys(self) -> tuple[list[str], list[str]]:
        """Return statements that drop and that make again the keys from and to these tables."""
        numbers = self._numbers()
        rows = self._read(
            "SELECT conrelid::regclass, quote_ident(conname), pg_get_constraintdef(oid)"  # noqa: S608
            " FROM pg_constraint WHERE contype = 'f' AND conparentid = 0"
            f" AND (conrelid IN ({numbers}) OR confrelid IN ({numbers})) ORDER BY 1, 2"
        )
        return (
            [f"ALTER TABLE {table} DROP CONSTRAINT {name};" for table, name, _ in rows],
            [f"ALTER TABLE {table} ADD CONSTRAINT {name} {text};" for table, name, text in rows],
        )

    def _triggers(self) -> tuple[list[str], list[str]]:
        """Return statements that switch the tables' triggers off, and on as they were."""
        rows = self._read(
            "SELECT tgrelid::regclass, quote_ident(tgname), tgenabled FROM pg_trigger"  # noqa: S608
            f" WHERE NOT tgisinternal AND tgenabled <> 'D' AND tgrelid IN ({self._numbers()})"
        )
        return (
            [f"ALTER TABLE ONLY {table} DISABLE TRIGGER {name};" for table, name, _ in rows],
            [
                f"ALTER TABLE ONLY {table} ENABLE {_TRIGGER_WORDS[state]}TRIGGER {name};"
                for table, name, state in rows
            ],
        )

    def _numbers(self) -> str:
        return ", ".join(
            "'" + table.replace("'", "''") + "'::regclass" for table, _columns in self._chosen
        )


def load_rows(
    spec: DatabaseSpec,
    schema: str,
    pieces: Iterable[bytes],
    tables: Collection[str],
    *,
    check: Callable[[], None],
    reporter: Reporter,
    scratch_directory: str,
) -> tuple[list[tuple[str, str]], dict[str, int | None]]:
    """Load the rows of `tables` into a new schema; return their names and columns, and the counts.

    `pieces` may be the dump's head and the parts of these tables alone.
    """
    scan = PostgreSQLScan(sums=False)
    chosen: list[tuple[str, str]] = []
    text = _staged(counted(pieces, reporter), scan, schema, frozenset(tables), chosen)
    run_client(spec, text, check=check, scratch_directory=scratch_directory)
    if missing := sorted(name for name in tables if scan.tables.get(name) is None):
        raise EngineError(
            f"The dump has no rows of {', '.join(missing[:5])}",
            hint="Choose among the tables that the backup lists; views come with whole restores.",
            permanent=True,
            code="table_missing",
        )
    return chosen, {name: rows for name, rows in scan.tables.items() if name in tables}


def _staged(
    pieces: Iterable[bytes],
    scan: PostgreSQLScan,
    schema: str,
    tables: Collection[str],
    chosen: list[tuple[str, str]],
) -> Iterator[bytes]:
    """Yield statements that make a table for each of `tables` and copy its rows into it."""
    quoted = quote_name(schema).encode()
    yield (
        b"SET client_min_messages = warning; SET DateStyle = ISO; SET IntervalStyle = postgres;\n"
        b"DROP SCHEMA IF EXISTS " + quoted + b" CASCADE; CREATE SCHEMA " + quoted + b";\n"
    )
    head = b""
    is_head, is_chosen, edge = True, False, _ROWS_END
    for part in _marked(pieces, scan):
        if isinstance(part, TableMark):
            if is_head and (encoding := _ENCODING.search(head)):
                yield b"SET client_encoding = '" + encoding[1] + b"';\n"
            is_head, is_chosen = False, part.name in tables
        elif is_head:
            head = (head + part)[:65536]
        elif is_chosen and (found := _COPY.search(part)):
            name, columns, edge = found[1].strip(), found[2] or b"", b"\n"
            staging = quoted + b".new_%d" % len(chosen)
            chosen.append((name.decode(), columns.decode()))
            selected = columns.removeprefix(b"(").removesuffix(b")")
            yield b"CREATE TABLE %b AS SELECT %b FROM %b WITH NO DATA;\n" % (
                *(staging, selected, name),
            )
            yield b"COPY %b %b FROM stdin;\n" % (staging, columns)
        elif is_chosen and edge != _ROWS_END:
            edge = (edge + part[-len(_ROWS_END) :])[-len(_ROWS_END) :]
            yield part


def _marked(pieces: Iterable[bytes], scan: PostgreSQLScan) -> Iterator[bytes | TableMark]:
    for piece in pieces:
        yield from scan.feed(piece)
    yield from scan.rest()


def _listed(columns: str) -> str:
    return columns.removeprefix("(").removesuffix(")")
