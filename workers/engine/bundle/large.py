"""Files that fill frames of their own, and files with holes.

What the first look at such a file says (its size, its holes) stays the layout of its member, since
others may already write behind it; a second reading must find the same, or the file is `changed`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace

from workers.engine.bundle import sparse
from workers.engine.bundle.container import BLOCK_BYTES, FRAME_BYTES
from workers.engine.bundle.facts import CHANGED, UNREADABLE, LeftOut
from workers.engine.bundle.headers import Attributes, file_entry
from workers.engine.bundle.manifest import member_front, member_line
from workers.engine.bundle.reading import is_unchanged, read_into
from workers.engine.bundle.segment import Buffer, LargeMember, SegmentWriter
from workers.engine.bundle.tarheader import build_header, padding

# Left free in a frame for headers, so that one of a path of any usual length always fits.
HEADER_ROOM = BLOCK_BYTES


class LargeArchiver:
    """Adds large and sparse files, one at a time."""

    def __init__(self, writer: SegmentWriter, left_out: LeftOut) -> None:
        self._writer = writer
        self._left_out = left_out
        self._buffers: dict[bool, Buffer] = {}

    def add(
        self,
        descriptor: int,
        path: bytes,
        status: os.stat_result,
        attributes: Attributes,
        stored: bool,
    ) -> None:
        """Read an open file twice if need be, and add it whatever happens to it meanwhile."""
        pieces = sparse.data_pieces(descriptor, status.st_size)
        has_holes = pieces != [(0, status.st_size)]
        map_bytes = sparse.pack_map(pieces, status.st_size) if has_holes else b""
        size = len(map_bytes) + sum(length for _, length in pieces)
        entry = replace(
            file_entry(path, status, attributes),
            size=size,
            sparse_size=status.st_size if has_holes else None,
        )
        header = build_header(entry, records_at_least=True)
        member = self._writer.large(len(header) + size + padding(size), stored=stored)
        content = _Content(descriptor, map_bytes, pieces)
        problem, checksum = self._read(member, header, content, stored)
        after = os.fstat(descriptor)
        if not problem and not is_unchanged(status, after):
            member.rewind()
            before = after
            # The same number of blocks: only the record of the time differs, and it has room.
            again = replace(entry, mtime_ns=before.st_mtime_ns)
            if len(later := build_header(again, records_at_least=True)) == len(header):
                header, entry = later, again
            problem, checksum = self._read(member, header, content, stored)
            same_layout = sparse.data_pieces(descriptor, status.st_size) == pieces
            if not problem and not (same_layout and before.st_size == status.st_size):
                problem = (CHANGED, "changed its size while it was read")
            if not problem and not is_unchanged(before, os.fstat(descriptor)):
                problem = (CHANGED, "changed while it was read")
        front = member_front(entry, size=status.st_size if has_holes else None)
        if problem:
            self._left_out.note(problem[0], path, problem[1])
        member.finish(
            len(header),
            member_line(front, sha256=checksum, status=problem[0] if problem else ""),
        )

    def _read(
        self, member: LargeMember, header: bytes, content: _Content, stored: bool
    ) -> tuple[tuple[str, str] | None, str]:
        """Write the member's frames; return the problem, if any, and the data's sha256."""
        content.restart()
        hasher = hashlib.sha256()
        buffer = self._buffers.setdefault(stored, Buffer(stored))
        buffer.clear()
        buffer.append(header)
        left = content.size
        while left:
            count = min(left, FRAME_BYTES - buffer.length)
            view = buffer.view[buffer.length : buffer.length + count]
            content.read(view)
            hasher.update(view)
            buffer.length += count
            left -= count
            if buffer.length == FRAME_BYTES:
                member.write(buffer)
        # Padding never crosses a frame's end: frames and headers are whole tar blocks.
        buffer.pad(content.size)
        if buffer.length:
            member.write(buffer)
        return content.problem, hasher.hexdigest()


class _Content:
    """The stored bytes of a file in order: its map, if it has holes, then its pieces.

    Where the file ends early or cannot be read, zeros stand, and `problem` says why.
    """

    def __init__(self, descriptor: int, head: bytes, pieces: Sequence[sparse.Piece]) -> None:
        self._descriptor = descriptor
        self._head = head
        self._pieces = pieces
        self.size = len(head) + sum(length for _, length in pieces)
        self.restart()

    def restart(self) -> None:
        """Begin again."""
        self.problem: tuple[str, str] | None = None
        self._head_read = 0
        self._piece = 0
        self._piece_read = 0

    def read(self, view: memoryview) -> None:
        """Fill `view` with what comes next, of which there must be enough."""
        if self._head_read < len(self._head):
            taken = self._head[self._head_read : self._head_read + len(view)]
            view[: len(taken)] = taken
            self._head_read += len(taken)
            view = view[len(taken) :]
        while view:
            start, length = self._pieces[self._piece]
            count = min(len(view), length - self._piece_read)
            self._read_piece(view[:count], start + self._piece_read)
            view = view[count:]
            self._piece_read += count
            if self._piece_read == length:
                self._piece += 1
                self._piece_read = 0

    def _read_piece(self, view: memoryview, offset: int) -> None:
        got = 0
        try:
            if self.problem is None:
                got = read_into(self._descriptor, view, offset)
                if got < len(view):
                    self.problem = (CHANGED, "became shorter while it was read")
        except OSError as error:
            self.problem = (UNREADABLE, f"{error.strerror} at byte {offset}; zeros stand for it")
        view[got:] = bytes(len(view) - got)
