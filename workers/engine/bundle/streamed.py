"""A member whose size is known only at its end: the database's dump, and the manifest.

Its tar header has a frame of its own, of a length known beforehand, at the segment's beginning;
that frame is written last. The data's frames are compressed and hashed by a thread (both release
the interpreter's lock) while the caller produces the next ones.
"""

from __future__ import annotations

import hashlib
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from types import TracebackType
from typing import BinaryIO, Self

from workers.engine.bundle import tarheader
from workers.engine.bundle.container import FRAME_BYTES, pack_position, stored_frame, stored_size
from workers.engine.bundle.manifest import member_front, member_line
from workers.engine.bundle.segment import (
    Buffer,
    FrameBlock,
    OwnAllocator,
    SegmentFacts,
    SegmentWriter,
    write_pieces,
)

# An extended header, its records (a time, and a size from 8 GiB on) and the header itself.
HEADER_BYTES = 3 * tarheader.BLOCK
HEADER_FRAME_BYTES = stored_size(HEADER_BYTES)


class StreamedMember:
    """Takes a member's data in pieces. A context manager; `finish` completes the segment's part.

    Only a member that `finish` has returned for is whole. Memory: two frames.
    """

    def __init__(self, descriptor: int, sidecar: BinaryIO, entry: tarheader.Entry) -> None:
        self._descriptor = descriptor
        self._entry = entry
        self._sidecar = sidecar
        self._blocks = _Blocks()
        self._allocator = OwnAllocator(HEADER_FRAME_BYTES)
        self._writer = SegmentWriter(descriptor, self._blocks, self._allocator, lambda _: None)
        self._hasher = hashlib.sha256()
        self._buffers = [Buffer(stored=False), Buffer(stored=False)]
        self._pending: Future[None] | None = None
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="bundle-frames")
        self._size = 0

    def write(self, data: bytes) -> None:
        """Add `data` to the member."""
        rest = memoryview(data)
        while rest:
            buffer = self._buffers[0]
            taken = rest[: FRAME_BYTES - buffer.length]
            buffer.append(taken)
            rest = rest[len(taken) :]
            self._size += len(taken)
            if buffer.length == FRAME_BYTES:
                self.cut()

    def cut(self) -> None:
        """Begin a new frame, if there is anything in the present one."""
        if not self._buffers[0].length:
            return
        self._settle()
        self._pending = self._thread.submit(self._write_frame, self._buffers[0])
        self._buffers.reverse()

    def finish(self) -> SegmentFacts:
        """Write what is left, then the header, and the sidecar; return what the member became."""
        self.cut()
        self._settle()
        if count := tarheader.padding(self._size):
            padding = self._buffers[0]
            padding.append(bytes(count))
            self._writer.write(padding)
        entry = replace(self._entry, size=self._size)
        header = tarheader.build_header(entry, records_at_least=True)
        assert len(header) == HEADER_BYTES
        line = member_line(member_front(entry), sha256=self._hasher.hexdigest())
        self._sidecar.write(_put_header(self._descriptor, header, line).pack())
        self._sidecar.write(self._blocks.data)
        return SegmentFacts(
            segment_size=self._allocator.take(),
            content_size=HEADER_BYTES + self._size + tarheader.padding(self._size),
            frames=1 + self._blocks.count,
            data_size=self._size,
            sha256=self._hasher.hexdigest(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _write_frame(self, buffer: Buffer) -> None:
        self._hasher.update(buffer.view[: buffer.length])
        self._writer.write(buffer)

    def _settle(self) -> None:
        if self._pending is not None:
            self._pending.result()
            self._pending = None


class _Blocks:
    """Keeps sidecar blocks until the header's, which goes first, is known: 28 bytes a frame."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.count = 0

    def write(self, block: bytes) -> None:
        self.data += block
        self.count += 1


def _put_header(descriptor: int, header: bytes, line: bytes) -> FrameBlock:
    pieces = stored_frame(memoryview(header))
    write_pieces(descriptor, pieces, 0)
    return FrameBlock(
        offset=0,
        size=HEADER_FRAME_BYTES,
        content_size=HEADER_BYTES,
        crc32=zlib.crc32(b"".join(pieces)),
        positions=pack_position(0, HEADER_BYTES),
        lines=line,
    )
