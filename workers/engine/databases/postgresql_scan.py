"""Finds in a plain-text dump of PostgreSQL, as it passes, its tables, its rows and its trailer.

Rows stand between `COPY … FROM stdin;` and a line `\\.`, one per line: COPY's text format escapes
line breaks and backslashes in values.
"""

from __future__ import annotations

import re

from workers.engine.databases.base import TableMark
from workers.engine.databases.line_sum import LineSum
from workers.engine.errors import EngineError

# Longer than the longest text that is looked for: the names of 1,600 columns of 63 bytes.
_HOLD_BYTES = 1 << 18

_PART = rb'(?:"(?:[^"]|"")+"|[^\s".(]+)'
_NAME = rb"(" + _PART + rb"\." + _PART + rb")"
_STRUCTURE = re.compile(
    rb"\n--\n-- (?:Data for )?Name: [^\n]*; Type: (?:TABLE DATA|(?:MATERIALIZED )?VIEW);[^\n]*"
    rb"\n--\n\n"
    rb"(?:(?P<copy>COPY )" + _NAME + rb" [^\n]*FROM stdin;\n"
    rb"|CREATE (?:MATERIALIZED )?VIEW " + _NAME + rb"[\s(])"
)
_ROWS_END = b"\n\\.\n"
_EDGE_BYTES = len(_ROWS_END) - 1
# Since the minor releases of August 2025, pg_dump forbids the client's own commands while its text
# is read (\restrict), and allows them again after the trailer.
_TRAILER = re.compile(rb"\n-- PostgreSQL database dump complete\n--\n\s*(?:\\unrestrict \w+\s*)?\Z")
_NAME_PARTS = re.compile(_PART)
_QUOTES = re.compile(rb'\A"|"\Z')


class PostgreSQLScan:
    """Takes a dump in pieces, gives it back in pieces with a `TableMark` before each table's rows.

    `tables` maps each table to its number of rows and each view to None; a name carries its
    schema unless that is "public". `checksums` has the `LineSum` of each, if `sums` are wanted;
    `bytes_total` counts
    what was given back.
    """

    def __init__(self, *, sums: bool = True) -> None:
        self._sums = sums
        self.tables: dict[str, int | None] = {}
        self.checksums: dict[str, str] = {}
        self.bytes_total = 0
        self._sum = LineSum()
        self._held = b""
        self._table = ""
        self._in_rows = False
        self._rows = 0
        self._edge = b""

    def feed(self, chunk: bytes) -> list[bytes | TableMark]:
        """Take the next piece of the dump; return what can be passed on."""
        rest = self._held + chunk if self._held else chunk
        self._held = b""
        pieces: list[bytes | TableMark] = []
        while rest:
            take = self._take_rows if self._in_rows else self._take_statements
            rest = take(rest, pieces)
        return pieces

    def finish(self) -> list[bytes | TableMark]:
        """Return what is left; raises when the dump's last line is missing."""
        if self._in_rows or _TRAILER.search(self._held) is None:
            raise EngineError(
                "The dump ended without its last line, so part of it is missing",
                hint="Look at the database server's log; trying again may help.",
                code="dump_incomplete",
            )
        pieces: list[bytes | TableMark] = []
        self._pass_on(self._held, pieces)
        return pieces

    def rest(self) -> list[bytes | TableMark]:
        """Return what is left of some tables' parts of a dump; raises when one is cut off."""
        if self._in_rows:
            raise EngineError(
                f"The dump ends within the rows of table {self._table}", code="dump_incomplete"
            )
        pieces: list[bytes | TableMark] = []
        self._pass_on(self._held, pieces)
        return pieces

    def _take_statements(self, rest: bytes, pieces: list[bytes | TableMark]) -> bytes:
        found = _STRUCTURE.search(rest)
        if found is None:
            self._pass_on(rest[:-_HOLD_BYTES], pieces)
            self._held = rest[-_HOLD_BYTES:]
            return b""
        if not found["copy"]:
            self.tables[_name(found[3])] = None
            self._pass_on(rest[: found.end()], pieces)
            return rest[found.end() :]
        self._table = _name(found[2])
        self._in_rows, self._rows, self._edge = True, 0, b"\n"
        self._sum = LineSum()
        self._pass_on(rest[: found.start() + 1], pieces)
        pieces.append(TableMark(self._table))
        self._pass_on(rest[found.start() + 1 : found.end()], pieces)
        return rest[found.end() :]

    def _take_rows(self, rest: bytes, pieces: list[bytes | TableMark]) -> bytes:
        end = self._rows_end(rest)
        piece = rest if end in (-1, len(rest)) else rest[:end]
        self._rows += piece.count(b"\n")
        if self._sums:
            self._sum.feed(piece)
        self._edge = (self._edge + piece[-_EDGE_BYTES:])[-_EDGE_BYTES:]
        self._pass_on(piece, pieces)
        if end == -1:
            return b""
        self.tables[self._table] = self._rows - 1  # the last line is the end's
        self.checksums[self._table] = self._sum.text()
        self._in_rows = False
        return rest[end:]

    def _rows_end(self, rest: bytes) -> int:
        """Return where the rows end in `rest`, which may begin within their last line, or -1."""
        across = (self._edge + rest[:_EDGE_BYTES]).find(_ROWS_END)
        if across != -1:
            return across + len(_ROWS_END) - len(self._edge)
        at = rest.find(_ROWS_END)
        return at if at == -1 else at + len(_ROWS_END)

    def _pass_on(self, data: bytes, pieces: list[bytes | TableMark]) -> None:
        if data:
            self.bytes_total += len(data)
            pieces.append(data)


def _name(quoted: bytes) -> str:
    """Return a qualified name as the catalogue has it, without the schema "public"."""
    parts: list[bytes] = _NAME_PARTS.findall(quoted)
    schema, table = (_QUOTES.sub(b"", part).replace(b'""', b'"') for part in parts)
    name = table if schema == b"public" else schema + b"." + table
    return name.decode("utf-8", "replace")
