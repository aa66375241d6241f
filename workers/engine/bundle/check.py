"""Checking a bundle from its first byte to its last: every frame, every header, every sha256."""

from __future__ import annotations

import contextlib
import hashlib
import queue
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from workers.engine.bundle.container import (
    FORMAT_VERSION,
    BundleDamaged,
    Frame,
    decode_frame,
)
from workers.engine.bundle.header_check import check_header
from workers.engine.bundle.index import BundleIndex
from workers.engine.bundle.manifest import Member
from workers.engine.bundle.tarheader import END_OF_ARCHIVE, padding
from workers.engine.progress import Reporter
from workers.engine.sources import ByteSource, chunks_of

_READ_BYTES = 4 << 20
_FRAMES_AHEAD = 3
_CHECK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """A bundle that is whole: its size in bytes and sha256 (hex), and what is in it.

    `content_size` is the size of the tar; `members` counts the manifest too.
    """

    size: int
    sha256: str
    members: int
    frames: int
    content_size: int
    manifest_sha256: str
    format_version: int = FORMAT_VERSION


def verify(source: ByteSource, *, reporter: Reporter) -> VerifyReport:
    """Read all of `source`, decode every frame, and check every byte of it.

    `reporter.advance` counts bytes of the bundle. Raises `BundleDamaged` saying what is wrong
    first. Memory: a few frames. `source` is read by one thread at a time, not always the same.
    """
    locked = _LockedSource(source)
    index = BundleIndex(locked)
    walk = _MemberWalk(index.members())
    hasher = hashlib.sha256()
    reporter.total(source.size)
    with contextlib.closing(_Ahead(locked, index, hasher, reporter.check)) as frames:
        for frame, data in frames:
            walk.feed(decode_frame(data, frame.content_size), frame.positions)
            reporter.advance(frame.size)
    walk.finish(index.footer.content_size)
    for data in chunks_of(locked, index.footer.index_offset):
        hasher.update(data)
        reporter.advance(len(data))
    return VerifyReport(
        size=source.size,
        sha256=hasher.hexdigest(),
        members=index.footer.members,
        frames=index.footer.frames,
        content_size=index.footer.content_size,
        manifest_sha256=index.footer.manifest_sha256.hex(),
    )


class _LockedSource:
    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._lock = threading.Lock()
        self.size = source.size

    def read_at(self, offset: int, length: int) -> bytes:
        with self._lock:
            return self._source.read_at(offset, length)


class _Ahead:
    """Frames with their bytes, read, hashed and compared with their CRC by a thread of its own."""

    def __init__(
        self,
        source: ByteSource,
        index: BundleIndex,
        hasher: hashlib._Hash,
        check: Callable[[], None],
    ) -> None:
        self._source = source
        self._check = check
        self._index = index
        self._hasher = hasher
        self._ready: queue.Queue[tuple[Frame, bytes] | BaseException | None] = queue.Queue(
            _FRAMES_AHEAD
        )
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bundle-check", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[Frame, bytes]]:
        while True:
            try:
                item = self._ready.get(timeout=_CHECK_SECONDS)
            except queue.Empty:
                self._check()
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        """End the thread, whatever it is doing."""
        self._closed.set()
        while self._thread.is_alive():
            with contextlib.suppress(queue.Empty):
                self._ready.get(timeout=0.05)
        self._thread.join()

    def _run(self) -> None:
        end: BaseException | None = None
        try:
            self._read()
        # Whatever happens here is raised where the frames are used.
        except BaseException as error:
            end = error
        self._ready.put(end)

    def _read(self) -> None:
        pending = bytearray()
        chunks = chunks_of(self._source, 0, self._index.footer.index_offset, _READ_BYTES)
        for number, frame in enumerate(self._index.frames()):
            while len(pending) < frame.size:
                if self._closed.is_set():
                    return
                chunk = next(chunks, b"")
                if not chunk:
                    raise BundleDamaged(f"The bundle ends within its frame {number}")
                self._hasher.update(chunk)
                pending += chunk
            data = bytes(pending[: frame.size])
            del pending[: frame.size]
            if zlib.crc32(data) != frame.crc32:
                raise BundleDamaged(
                    f"Frame {number}, at byte {self._index.offsets[number]}, is damaged"
                )
            self._ready.put((frame, data))


class _MemberWalk:
    """Follows the tar through its frames and holds it against the manifest."""

    def __init__(self, members: Iterator[Member]) -> None:
        self._members = members
        self._member: Member | None = None
        self._hasher = hashlib.sha256()
        self._data_left = 0
        self._zeros_left = 0
        self._position = 0
        self._ended = False

    def feed(self, content: bytes, positions: tuple[tuple[int, int], ...]) -> None:
        """Take the next frame's content, in which members begin at `positions`."""
        view = memoryview(content)
        done = 0
        for start, header_length in positions:
            if start < done:
                raise BundleDamaged("The index has two members in the same place")
            self._follow(view[done:start])
            self._end_member()
            done = start + header_length
            self._begin_member(bytes(view[start:done]))
        self._follow(view[done:])
        self._position += len(content)

    def finish(self, content_size: int) -> None:
        """Check that the tar ended as a tar ends, after the last member."""
        if next(self._members, None) is not None:
            raise BundleDamaged("The manifest lists more members than there are")
        whole = self._ended and self._position == content_size
        if self._data_left or self._zeros_left or not whole:
            raise BundleDamaged("The tar in the bundle is cut short")

    def _begin_member(self, header: bytes) -> None:
        member = next(self._members, None)
        if member is None:
            raise BundleDamaged("The manifest lists fewer members than there are")
        check_header(header, member)
        self._member = member
        self._hasher = hashlib.sha256()
        self._data_left = member.stored_size
        self._zeros_left = padding(member.stored_size)
        if not self._data_left:
            self._check_sum()

    def _follow(self, view: memoryview) -> None:
        """Take data and padding of the present member."""
        data = view[: self._data_left]
        if data:
            self._hasher.update(data)
            self._data_left -= len(data)
            if not self._data_left:
                self._check_sum()
        zeros = view[len(data) :]
        if not zeros:
            return
        if not self._zeros_left and len(zeros) == len(END_OF_ARCHIVE) and not self._ended:
            if next(self._members, None) is None and zeros == END_OF_ARCHIVE:
                self._ended = True
                return
            raise BundleDamaged("The tar in the bundle ends too early")
        if len(zeros) > self._zeros_left or any(zeros):
            raise BundleDamaged(f"Something else follows the data of {self._shown()}")
        self._zeros_left -= len(zeros)

    def _end_member(self) -> None:
        if self._data_left or self._zeros_left:
            raise BundleDamaged(f"The data of {self._shown()} is cut short")

    def _check_sum(self) -> None:
        member = self._member
        assert member is not None
        if member.kind == "file" and self._hasher.hexdigest() != member.sha256:
            raise BundleDamaged(f"The content of {member.name} is not what was backed up")

    def _shown(self) -> str:
        return self._member.name if self._member else "nothing"
