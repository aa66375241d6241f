"""Finds in a dump of MySQL or MariaDB, as it passes, its tables, its rows and its trailer.

The dump tools escape line breaks in values, so between `LOCK TABLES` and `UNLOCK TABLES` a line
break followed by `(` is a row, wherever the tool writes one row per line: MariaDB's does since
10.x, Oracle's puts all rows of a statement on one line, whose rows are then not counted.
"""

from __future__ import annotations

import re

from workers.engine.databases.base import TableMark
from workers.engine.databases.line_sum import LineSum
from workers.engine.errors import EngineError

# The server's and the client's default for max_allowed_packet in MariaDB (16 MiB); MySQL's is 64.
LARGE_ROW_BYTES = 16 << 20

# Longer than the longest text that is looked for: two names of 64 characters of 4 bytes, all of
# which may be quotes, and so doubled.
_HOLD_BYTES = 4096
_HEAD_BYTES = 4096

_NAME = rb"`((?:[^`\n]|``)+)`"
# With the statement that follows it: a trigger's body may hold the comment alone.
_STRUCTURE = re.compile(
    rb"\n(?:--\n-- (?:(?P<kind>Table)|Temporary (?:table|view)) structure for (?:table|view) "
    + _NAME
    + rb"\n--\n\nDROP TABLE IF EXISTS `\2`;\n|LOCK TABLES "
    + _NAME
    + rb" WRITE;\n)"
)
_ROWS_END = b"\nUNLOCK TABLES;\n"
_EDGE_BYTES = len(_ROWS_END) - 1
_TRAILER = re.compile(rb"\n-- Dump completed(?: on [^\n]*)?\n\Z")
# Clients from before 2024 and all of Oracle's stop at this line, which newer ones of MariaDB
# understand as `--sandbox`; the bundle is to restore with any of them.
_SANDBOX = re.compile(rb"\A/\*M?!999999\\- [^\n]*\n")


class MySQLScan:
    """Takes a dump in pieces, gives it back in pieces with a `TableMark` before each table.

    `tables` maps each table or view seen to its number of rows, None where not countable;
    `checksums` has the `LineSum` of each, if `sums` are wanted; `bytes_total` counts what was given
    back; `large_rows`
    maps tables to the bytes of their longest row as SQL, where that is over `LARGE_ROW_BYTES`.
    """

    def __init__(self, *, sums: bool = True) -> None:
        self._sums = sums
        self.tables: dict[str, int | None] = {}
        self.checksums: dict[str, str] = {}
        self.bytes_total = 0
        self.large_rows: dict[str, int] = {}
        self._held = b""
        self._begun = False
        self._table = ""
        self._in_rows = False
        self._rows = 0
        self._head = b""
        self._edge = b""
        self._line_bytes = 0
        self._sum = LineSum()

    def feed(self, chunk: bytes) -> list[bytes | TableMark]:
        """Take the next piece of the dump; return what can be passed on."""
        rest = self._held + chunk if self._held else chunk
        self._held = b""
        if not self._begun:
            if b"\n" not in rest:
                self._held = rest
                return []
            self._begun = True
            rest = _SANDBOX.sub(b"", rest, count=1)
        pieces: list[bytes | TableMark] = []
        while rest:
            take = self._take_rows if self._in_rows else self._take_statements
            rest = take(rest, pieces)
        return pieces

    def finish(self, appendix: bytes = b"") -> list[bytes | TableMark]:
        """Return what is left, with `appendix` before the trailer; raises when that is missing."""
        trailer = _TRAILER.search(self._held)
        if self._in_rows or trailer is None:
            raise EngineError(
                "The dump ended without its last line, so part of it is missing",
                hint="Look at the database server's error log; trying again may help.",
                code="dump_incomplete",
            )
        at = trailer.start() + 1
        pieces: list[bytes | TableMark] = []
        self._pass_on(self._held[:at] + appendix + self._held[at:], pieces)
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
        if found[3] is not None:
            self._pass_on(rest[: found.end()], pieces)
            self._begin_rows(_name(found[3]))
            return rest[found.end() :]
        name = _name(found[2])
        self._pass_on(rest[: found.start() + 1], pieces)
        if found["kind"]:
            self._table = name
            pieces.append(TableMark(name))
        self.tables.setdefault(name, None)
        # The last line break may be the first of the next text that is looked for.
        self._pass_on(rest[found.start() + 1 : found.end() - 1], pieces)
        return rest[found.end() - 1 :]

    def _begin_rows(self, name: str) -> None:
        # Only the table just announced: a trigger's body may hold any text.
        if name == self._table and self.tables.get(name) is None:
            self._in_rows, self._rows, self._head, self._edge = True, 0, b"\n", b"\n"
            self._line_bytes = 0
            self._sum = LineSum(statements=True)

    def _take_rows(self, rest: bytes, pieces: list[bytes | TableMark]) -> bytes:
        end = self._rows_end(rest)
        piece = rest if end in (-1, len(rest)) else rest[:end]
        self._rows += piece.count(b"\n(") + (self._edge[-1:] == b"\n" and piece[:1] == b"(")
        if len(self._head) < _HEAD_BYTES:
            self._head += piece[:_HEAD_BYTES]
        self._measure_lines(piece)
        if self._sums:
            self._sum.feed(piece)
        self._edge = (self._edge + piece[-_EDGE_BYTES:])[-_EDGE_BYTES:]
        self._pass_on(piece, pieces)
        if end == -1:
            return b""
        countable = self._rows > 0 or b"\nINSERT " not in self._head
        self.tables[self._table] = self._rows if countable else None
        self.checksums[self._table] = self._sum.text()
        self._in_rows = False
        # The line break that ends this section may begin the next table's comment.
        return rest[end:]

    def _rows_end(self, rest: bytes) -> int:
        """Return where the rows' section ends in `rest`, which may begin within its last line."""
        across = (self._edge + rest[:_EDGE_BYTES]).find(_ROWS_END)
        if across != -1:
            return across + len(_ROWS_END) - len(self._edge)
        at = rest.find(_ROWS_END)
        return at if at == -1 else at + len(_ROWS_END)

    def _measure_lines(self, piece: bytes) -> None:
        # A row that matters here is longer than a piece, so only pieces without a line break count.
        first = piece.find(b"\n")
        self._line_bytes += len(piece) if first == -1 else first
        if self._line_bytes > LARGE_ROW_BYTES:
            longest = self.large_rows.get(self._table, 0)
            self.large_rows[self._table] = max(longest, self._line_bytes)
        if first != -1:
            self._line_bytes = len(piece) - piece.rfind(b"\n") - 1

    def _pass_on(self, data: bytes, pieces: list[bytes | TableMark]) -> None:
        if data:
            self.bytes_total += len(data)
            pieces.append(data)


def _name(quoted: bytes) -> str:
    return quoted.replace(b"``", b"`").decode("utf-8", "replace")
