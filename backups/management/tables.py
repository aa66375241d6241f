"""Rows of text in columns, for a terminal and for awk alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime


def lines_of(header: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Return the lines of a table, each column as wide as its widest cell."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()


def moment(time: datetime | None) -> str:
    """Return a time to the second, as the API writes it; `-` for none."""
    return f"{time.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" if time else "-"
