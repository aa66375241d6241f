"""Writing frames into a segment, and what is known of each frame into the sidecar beside it.

A segment is a part of a bundle in a file of its own; its sidecar (`members`) holds one block for
each frame, in the order of the segment: offset, sizes, CRC-32, the positions of the members that
begin in the frame, and their lines of the manifest. Both are written as they come, so memory does
not grow with the number of files.
"""

from __future__ import annotations

import contextlib
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from workers.engine.bundle import container
from workers.engine.bundle.container import FRAME_BYTES, stored_frame, stored_size
from workers.engine.bundle.manifest import SEPARATOR
from workers.engine.bundle.tarheader import BLOCK
from workers.engine.errors import EngineError
from workers.engine.room import writing

SEGMENT_NAME = "segment"
MEMBERS_NAME = "members"
LEFT_OUT_NAME = "left-out"

_BLOCK_HEAD = struct.Struct("<QIIIII")
_TOKEN = struct.Struct("<Q")
# Three pieces are a block's header, its 128 KiB and the next header: larger writes make ext4
# allocate huge folios, which we measured at up to ten times the time for the same bytes.
_PIECES_PER_WRITE = 3


@dataclass(frozen=True, slots=True)
class FrameBlock:
    """A frame in a sidecar: where it is in its segment, and the members that begin in it.

    `positions` are packed as in the index; `lines` are the members' lines of the manifest, joined.
    """

    offset: int
    size: int
    content_size: int
    crc32: int
    positions: bytes
    lines: bytes

    def pack(self) -> bytes:
        """Return the block as the sidecar holds it."""
        head = _BLOCK_HEAD.pack(
            self.offset,
            self.size,
            self.content_size,
            self.crc32,
            len(self.positions) // container.POSITION_BYTES,
            len(self.lines),
        )
        return head + self.positions + self.lines


def read_blocks(sidecar: BinaryIO) -> Iterator[FrameBlock]:
    """Yield the blocks of a sidecar from where it stands.

    Raises `EngineError` for one that is cut short, as a host that went down may leave it.
    """
    while head := sidecar.read(_BLOCK_HEAD.size):
        if len(head) < _BLOCK_HEAD.size:
            raise _cut_short()
        offset, size, content_size, crc32, count, length = _BLOCK_HEAD.unpack(head)
        positions = sidecar.read(count * container.POSITION_BYTES)
        lines = sidecar.read(length)
        if len(positions) < count * container.POSITION_BYTES or len(lines) < length:
            raise _cut_short()
        yield FrameBlock(offset, size, content_size, crc32, positions, lines)


def _cut_short() -> EngineError:
    return EngineError(
        "The list of what is in a part of the bundle is cut short",
        hint="Did the node go down in the middle? Start the backup again.",
        permanent=True,
        code="spool_damaged",
    )


class Allocator(Protocol):
    """Who says where in the segment the next frame goes."""

    def take(self) -> int:
        """Return the offset of the segment's end, and keep everybody else from taking it."""

    def give(self, end: int) -> None:
        """Let others continue at `end`."""


class Sidecar(Protocol):
    """Where the blocks of a sidecar go."""

    def write(self, block: bytes, /) -> object:
        """Take one block."""


class OwnAllocator:
    """For a segment with a single writer."""

    def __init__(self, start: int = 0) -> None:
        self._end = start

    def take(self) -> int:
        """See `Allocator.take`."""
        return self._end

    def give(self, end: int) -> None:
        """See `Allocator.give`."""
        self._end = end


class SharedAllocator:
    """For several processes: the end of the segment travels through a pipe that they share.

    Reading eight bytes from a pipe is atomic, so whoever holds them holds the end.
    """

    def __init__(self, read_end: int, write_end: int) -> None:
        self._read_end = read_end
        self._write_end = write_end

    def take(self) -> int:
        """See `Allocator.take`."""
        (end,) = _TOKEN.unpack(os.read(self._read_end, _TOKEN.size))
        return int(end)

    def give(self, end: int) -> None:
        """See `Allocator.give`."""
        os.write(self._write_end, _TOKEN.pack(end))


class Buffer:
    """The content of one frame while it fills: tar headers, data, and who begins where."""

    __slots__ = ("length", "lines", "positions", "stored", "view")

    def __init__(self, stored: bool) -> None:
        self.view = memoryview(bytearray(FRAME_BYTES))
        self.stored = stored
        self.length = 0
        self.positions = bytearray()
        self.lines: list[bytes] = []

    def append(self, data: bytes | memoryview) -> None:
        """Add bytes that are known to fit."""
        self.view[self.length : self.length + len(data)] = data
        self.length += len(data)

    def pad(self, size: int) -> None:
        """Fill up to whole tar blocks after `size` bytes of data."""
        if count := -size % BLOCK:
            self.view[self.length : self.length + count] = bytes(count)
            self.length += count

    def add_member(self, start: int, header_length: int, line: bytes) -> None:
        """Note that a member begins at `start`."""
        self.positions += container.pack_position(start, header_length)
        self.lines.append(line)

    def clear(self) -> None:
        """Make ready for the next frame."""
        self.length = 0
        self.positions.clear()
        self.lines.clear()


class SegmentWriter:
    """Turns full buffers into frames; `on_content(bytes)` hears of each once it is written."""

    def __init__(
        self,
        descriptor: int,
        sidecar: Sidecar,
        allocator: Allocator,
        on_content: Callable[[int], None],
    ) -> None:
        self._descriptor = descriptor
        self._sidecar = sidecar
        self._allocator = allocator
        self._on_content = on_content
        self._compressor = container.new_compressor()

    def write(self, buffer: Buffer) -> None:
        """Write the buffer (if anything is in it) as the segment's next frame, and clear it."""
        if not buffer.length:
            return
        pieces = self._encode(buffer)
        size = sum(map(len, pieces))
        offset = self._allocator.take()
        self._allocator.give(offset + size)
        block = self._put(buffer, pieces, size, offset)
        with writing():
            self._sidecar.write(block.pack())
        self._on_content(buffer.length)
        buffer.clear()

    def large(self, content_size: int, *, stored: bool) -> LargeMember:
        """Begin a member of `content_size` bytes, header and padding included."""
        return LargeMember(self, content_size, stored)

    def _encode(self, buffer: Buffer) -> Sequence[bytes | memoryview]:
        content = buffer.view[: buffer.length]
        return stored_frame(content) if buffer.stored else [self._compressor.compress(content)]

    def _put(
        self, buffer: Buffer, pieces: Sequence[bytes | memoryview], size: int, offset: int
    ) -> FrameBlock:
        crc32 = 0
        for piece in pieces:
            crc32 = zlib.crc32(piece, crc32)
        with writing():
            write_pieces(self._descriptor, pieces, offset)
        return FrameBlock(
            offset,
            size,
            buffer.length,
            crc32,
            bytes(buffer.positions),
            SEPARATOR.join(buffer.lines),
        )


class LargeMember:
    """A member that fills frames of its own, one after the other without a gap.

    Stored frames have a size that is known before, so their place is taken at once and other
    writers go on behind it; compressed ones keep the segment's end to themselves until `finish`.
    `rewind` begins again at the same place; `finish` must follow whatever happens.
    """

    def __init__(self, writer: SegmentWriter, content_size: int, stored: bool) -> None:
        self._writer = writer
        self._stored = stored
        self._start = self._end = writer._allocator.take()
        if stored:
            whole, rest = divmod(content_size, FRAME_BYTES)
            total = whole * stored_size(FRAME_BYTES) + (stored_size(rest) if rest else 0)
            writer._allocator.give(self._start + total)
        self._blocks: list[FrameBlock] = []
        self._told = 0

    def write(self, buffer: Buffer) -> None:
        """Write the next frame of the member and clear the buffer."""
        pieces = self._writer._encode(buffer)
        size = sum(map(len, pieces))
        self._blocks.append(self._writer._put(buffer, pieces, size, self._end))
        self._end += size
        if len(self._blocks) > self._told:
            self._told += 1
            self._writer._on_content(buffer.length)
        buffer.clear()

    def rewind(self) -> None:
        """Forget what was written, to begin again."""
        self._end = self._start
        self._blocks.clear()

    def finish(self, header_length: int, line: bytes) -> None:
        """Let others go on, and note the member in the sidecar."""
        if not self._stored:
            self._writer._allocator.give(self._end)
        position = container.pack_position(0, header_length)
        for block in self._blocks:
            with writing():
                self._writer._sidecar.write(_with_member(block, position, line).pack())
            position = line = b""


def write_pieces(descriptor: int, pieces: Sequence[bytes | memoryview], offset: int) -> None:
    """Write all pieces at `offset`, few at a time."""
    for start in range(0, len(pieces), _PIECES_PER_WRITE):
        group = pieces[start : start + _PIECES_PER_WRITE]
        size = sum(map(len, group))
        if size <= FRAME_BYTES // 8 and (written := os.pwritev(descriptor, group, offset)) == size:
            offset += written
            continue
        for piece in group:
            offset = _write_piece(descriptor, memoryview(piece), offset)


def _write_piece(descriptor: int, view: memoryview, offset: int) -> int:
    while view:
        written = os.pwrite(descriptor, view[: container.BLOCK_BYTES], offset)
        view = view[written:]
        offset += written
    return offset


def _with_member(block: FrameBlock, position: bytes, line: bytes) -> FrameBlock:
    return FrameBlock(block.offset, block.size, block.content_size, block.crc32, position, line)


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """A finished segment: `segment_size` stored bytes and `content_size` bytes of tar in `frames`.

    `data_size` and `sha256` (hex) are those of the data of a segment that holds a single member.
    """

    segment_size: int
    content_size: int
    frames: int
    data_size: int = 0
    sha256: str = ""


def open_segment(directory: Path) -> int:
    """Create the segment of an attempt, which must not have one yet, and return its descriptor."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.open(directory / SEGMENT_NAME, flags, 0o600)


@contextlib.contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Yield `descriptor` and close it."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)
