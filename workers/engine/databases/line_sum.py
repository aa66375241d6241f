"""A checksum of a table's rows, taken from the text of its dump while that passes.

The sum of the CRC-32s of all rows, each a line of the text. A sum does not depend on the order in
which the server gives the rows, which nobody promises for a table without a key. It is made for
accidents, as a row that was lost, doubled or changed; who wants to deceive is stopped by the
bundle's sha256.

Why not CHECKSUM TABLE or a query over all columns: a live site writes, and no other connection sees
the snapshot that the dump sees, so such sums would differ where nothing is wrong. The text of the
dump has each value as a restore gets it (a FLOAT that was rounded, a NULL that is no empty text),
and is read anyway.
"""

from __future__ import annotations

from zlib import crc32

# Says how the sum was made: sums that were made in another way are not compared.
METHOD = "crc32-lines-1"


class LineSum:
    """Adds up lines of text that comes in pieces.

    With `statements`, lines are rows of SQL statements that begin with a line of their own. Where
    one statement ends and the next begins depends on the rows' order, so that is left out.
    """

    def __init__(self, *, statements: bool = False) -> None:
        self._total = 0
        self._rest = b""
        self._statements = statements
        self._beginning = b""

    def feed(self, piece: bytes) -> None:
        """Add the lines that end in `piece`."""
        at = piece.rfind(b"\n") + 1
        if not at:
            self._rest += piece
            return
        whole = self._rest + piece[:at] if self._rest else piece[:at]
        self._rest = piece[at:]
        if self._statements:
            whole = whole.replace(b");\n", b"),\n")
        lines = whole.split(b"\n")
        self._total += sum(map(crc32, lines))
        if self._statements:
            self._leave_out_beginnings(lines)

    def add(self, lines: list[bytes]) -> None:
        """Add whole lines, which may hold line breaks."""
        self._total += sum(map(crc32, lines))

    def text(self) -> str:
        """Return the sum of what was fed, with the name of the method."""
        total = self._total + (crc32(self._rest) if self._rest else 0)
        return f"{METHOD}:{total & (1 << 64) - 1:016x}"

    def _leave_out_beginnings(self, lines: list[bytes]) -> None:
        if not self._beginning:
            found = (line for line in lines[:10] if line.startswith(b"INSERT "))
            self._beginning = next(found, b"")
        if self._beginning:
            self._total -= crc32(self._beginning) * lines.count(self._beginning)
