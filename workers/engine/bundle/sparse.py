"""Holes: finding them without reading them, and GNU's map of what is between them (format 1.0)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence

from workers.engine.bundle.container import BundleDamaged
from workers.engine.bundle.tarheader import BLOCK, padding

# Below this a file's zeros cost less than a map.
SPARSE_BYTES = 64 << 10
# A map of this many pieces takes under 1 MiB; what follows is taken as one piece, zeros included.
_PIECES = 32_768
_MAP_BYTES = 2 << 20

Piece = tuple[int, int]


def may_have_holes(status: os.stat_result) -> bool:
    """Tell whether a file occupies less than its size, which compression can cause too."""
    return status.st_size >= SPARSE_BYTES and status.st_blocks * 512 < status.st_size


def data_pieces(descriptor: int, size: int) -> list[Piece]:
    """Return (offset, length) of the data of a file; [(0, size)] if there are no holes."""
    pieces: list[Piece] = []
    position = 0
    try:
        while position < size:
            if len(pieces) == _PIECES:
                pieces.append((position, size - position))
                return pieces
            start = os.lseek(descriptor, position, os.SEEK_DATA)
            end = min(size, os.lseek(descriptor, start, os.SEEK_HOLE))
            if start >= size:
                break
            pieces.append((start, end - start))
            position = end
    except OSError as error:
        if error.errno != errno.ENXIO:
            return [(0, size)]
    return pieces


def pack_map(pieces: Sequence[Piece], size: int) -> bytes:
    """Return the map that stands before the data; a hole at the end shows as an empty piece."""
    listed = list(pieces)
    if not listed or sum(listed[-1]) < size:
        listed.append((size, 0))
    text = b"%d\n" % len(listed) + b"".join(b"%d\n%d\n" % piece for piece in listed)
    return text + bytes(padding(len(text)))


class SparseExpander:
    """Turns the stored bytes of a sparse file (map, then data) into (offset, data) to write."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._map = bytearray()
        self._pieces: list[Piece] | None = None
        self._position = 0

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield what `data`, the next stored bytes, means. Raises `BundleDamaged`."""
        if self._pieces is None:
            self._map += data
            if (read := self._read_map()) is None:
                return
            data = bytes(self._map[read:])
        assert self._pieces is not None
        while data:
            if not self._pieces:
                raise BundleDamaged("A sparse file has more data than its map says")
            start, length = self._pieces[0]
            taken = data[:length]
            data = data[length:]
            if taken:
                yield start, taken
            if len(taken) == length:
                self._pieces.pop(0)
            else:
                self._pieces[0] = (start + len(taken), length - len(taken))

    def finish(self) -> None:
        """Raise `BundleDamaged` if data that the map announces is missing."""
        if self._pieces is None or any(length for _, length in self._pieces):
            raise BundleDamaged("A sparse file has less data than its map says")

    def _read_map(self) -> int | None:
        """Parse the map once it is complete and return its length, else None."""
        first = self._map.find(b"\n")
        try:
            numbers = 2 * int(self._map[:first]) if first >= 0 else 0
            if not 0 <= numbers <= 2 * (_PIECES + 2) or (
                len(self._map) > _MAP_BYTES and self._map.count(b"\n") <= numbers
            ):
                raise ValueError("the map is longer than any can be")
            if first < 0:
                return None
            lines = self._map.split(b"\n", numbers + 1)
            if len(lines) < numbers + 2:
                return None
            values = [int(line) for line in lines[1:-1]]
        except ValueError as error:
            raise BundleDamaged("A sparse file's map cannot be read") from error
        length = len(self._map) - len(lines[-1])
        length += -length % BLOCK
        if len(self._map) < length:
            return None
        self._pieces = list(zip(values[::2], values[1::2], strict=True))
        free = 0
        for start, size in self._pieces:
            if start < free or size < 0 or start + size > self._size:
                raise BundleDamaged("A sparse file's map points outside of the file, or back")
            free = start + size
        return length
