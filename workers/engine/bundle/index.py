"""Finding one's way in a bundle: its footer, its index, and the lines of its manifest."""

from __future__ import annotations

import hashlib
import threading
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property

from workers.engine.bundle import container
from workers.engine.bundle.container import (
    FOOTER_BYTES,
    TAR_ADVICE,
    BundleDamaged,
    Footer,
    Frame,
    decode_frame,
)
from workers.engine.bundle.manifest import (
    LINE_BYTES,
    MANIFEST_NAME,
    Member,
    items,
    parse_head,
    parse_member,
)
from workers.engine.sources import ByteSource

# One request for this much from the end fetches footer, index and manifest of most sites at once.
TAIL_BYTES = 512 << 10
# A longer manifest is read several times in one restore: it is kept up to this many bytes, which is
# a million files.
KEPT_BYTES = 48 << 20


class TailSource:
    """A source whose end is fetched once and kept; counts the bytes that are really fetched.

    Before its tail was read by one, only one thread may read it.
    """

    def __init__(self, source: ByteSource, end: bytes = b"") -> None:
        """`end` is what an earlier one kept of the same source; empty for nothing."""
        self._source = source
        # What is kept begins at the second, and once it is asked for at the first of these.
        self._kept_from = self._tail_start = max(0, source.size - (len(end) or TAIL_BYTES))
        self._tail = end or None
        self._lock = threading.Lock()
        self._growing = threading.Lock()
        self._fetched = 0

    @property
    def bytes_fetched(self) -> int:
        """How many bytes came from where the bundle is stored.

        A source that is decrypted on the way counts itself: more comes than it gives out.
        """
        counted: int | None = getattr(self._source, "bytes_fetched", None)
        return self._fetched if counted is None else counted

    @property
    def size(self) -> int:
        """The number of bytes in all."""
        return self._source.size

    def keep_from(self, offset: int) -> None:
        """Have more of the end kept once some of it is read, unless that is too much to hold."""
        if self.size - offset <= KEPT_BYTES:
            self._kept_from = min(offset, self._tail_start)

    def end(self) -> bytes:
        """Return the bytes at the end of the source that are kept."""
        return self._tail or b""

    def read_at(self, offset: int, length: int) -> bytes:
        """See `ByteSource.read_at`."""
        if offset < self._kept_from:
            return self._fetch(offset, length)
        with self._growing:
            tail_start, tail = self._grown(offset)
        start = offset - tail_start
        return tail[start : start + length]

    def _grown(self, offset: int) -> tuple[int, bytes]:
        """Return what is kept and where it begins, with `offset` in it."""
        if self._tail is None:
            self._tail = self._fetch(self._tail_start, self.size - self._tail_start)
        if offset < self._tail_start:
            more = self._fetch(self._kept_from, self._tail_start - self._kept_from)
            self._tail, self._tail_start = more + self._tail, self._kept_from
        return self._tail_start, self._tail

    def _fetch(self, offset: int, length: int) -> bytes:
        data = self._source.read_at(offset, length)
        with self._lock:
            self._fetched += len(data)
        return data


class BundleIndex:
    """The footer and the index of a bundle, checked against their checksums.

    Raises `BundleDamaged` with advice when they are missing or damaged. Holds the index in its
    compressed form, and 16 bytes a frame.
    """

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self.footer = _read_footer(source)
        self._packed = source.read_at(self.footer.index_offset, self.footer.index_size)
        if hashlib.sha256(self._packed).digest() != self.footer.index_sha256:
            raise BundleDamaged("The bundle's index is damaged")
        # Where each frame begins: in the bundle, and in the tar. The last item is the end.
        self.offsets = array("Q", [0])
        self.content_offsets = array("Q", [0])
        self._manifest_frame = -1
        self._last_frame: tuple[int, bytes] = (-1, b"")
        self._ahead: tuple[int, Future[bytes]] | None = None
        members = 0
        for number, frame in enumerate(self.frames()):
            self.offsets.append(self.offsets[-1] + frame.size)
            if self.offsets[-1] > self.footer.index_offset:
                break
            self.content_offsets.append(self.content_offsets[-1] + frame.content_size)
            members += len(frame.positions)
            if frame.positions:
                self._manifest_frame = number
                self._manifest_position = frame.positions[-1]
        if self.offsets[-1] != self.footer.index_offset:
            raise BundleDamaged("The bundle's frames do not end where its index begins")
        told = (self.footer.frames, self.footer.members, self.footer.content_size)
        if told != (len(self.offsets) - 1, members, self.content_offsets[-1]) or not members:
            raise BundleDamaged("The bundle's index does not hold what its footer says")

    @property
    def manifest_offset(self) -> int:
        """Where in the bundle the first frame with a part of the manifest begins."""
        return self.offsets[self._manifest_frame]

    def frames(self) -> Iterator[Frame]:
        """Yield every frame's entry in order."""
        return container.unpack_index(self._packed)

    def frame(self, number: int) -> bytes:
        """Fetch and decode one frame; the last one is kept, since small files share theirs.

        Whoever goes from frame to frame finds the next one fetched and decoded meanwhile.
        """
        if self._last_frame[0] == number:
            return self._last_frame[1]
        is_next = number == self._last_frame[0] + 1 and number > 0
        self._last_frame = (-1, b"")
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == number:
            content = ahead[1].result()
        else:
            content = self._decoded(number)
        if is_next and number + 2 < len(self.offsets):
            following = number + 1
            self._ahead = (following, self._helper.submit(self._decoded, following))
        self._last_frame = (number, content)
        return content

    @cached_property
    def _helper(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1, thread_name_prefix="bundle-ahead")

    def _decoded(self, number: int) -> bytes:
        start, end = self.offsets[number], self.offsets[number + 1]
        data = self._source.read_at(start, end - start)
        content_size = self.content_offsets[number + 1] - self.content_offsets[number]
        if len(data) != end - start:
            raise BundleDamaged(f"The bundle ends within its frame {number}")
        return decode_frame(data, content_size)

    def content(self, start: int, length: int) -> Iterator[bytes]:
        """Yield `length` bytes of the tar from `start`, fetching only the frames that hold them."""
        if start + length > self.content_offsets[-1]:
            raise BundleDamaged("The manifest has a member that is longer than the bundle")
        number = bisect_right(self.content_offsets, start) - 1
        while length:
            content = self.frame(number)
            skipped = start - self.content_offsets[number]
            piece = content[skipped : skipped + length]
            yield piece
            start += len(piece)
            length -= len(piece)
            number += 1

    def manifest_member(self) -> Member:
        """Return the manifest as a member: it is the last one and does not list itself."""
        start, header_length = self._manifest_position
        size = self.footer.manifest_size
        return Member(
            MANIFEST_NAME,
            "file",
            mode=0o644,
            uid=0,
            gid=0,
            user="",
            group="",
            size=size,
            stored_size=size,
            mtime_ns=0,
            sha256=self.footer.manifest_sha256.hex(),
            content_offset=self.content_offsets[self._manifest_frame] + start,
            header_length=header_length,
            frame=self._manifest_frame,
        )

    def manifest(self) -> Iterator[bytes]:
        """Yield the bytes of manifest.json; raises `BundleDamaged` at its end if they differ."""
        member = self.manifest_member()
        hasher = hashlib.sha256()
        for piece in self.content(member.content_offset + member.header_length, member.size):
            hasher.update(piece)
            yield piece
        if hasher.digest() != self.footer.manifest_sha256:
            raise BundleDamaged("The bundle's manifest is damaged")

    def manifest_lines(self) -> Iterator[bytes]:
        """Yield the lines of manifest.json, each with its newline."""
        rest = b""
        for piece in self.manifest():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line + b"\n"
            if len(rest) > LINE_BYTES:
                raise BundleDamaged("The manifest has a line that is longer than any can be")
        if rest:
            yield rest

    def members(self) -> Iterator[Member]:
        """Yield every member in the order of the tar, the manifest last."""
        lines = self.manifest_lines()
        parse_head(lines)
        described = items(lines)
        left = self.footer.members - 1
        for number, frame in enumerate(self.frames()):
            for start, header_length in frame.positions[:left]:
                line = next(described, None)
                if line is None:
                    raise BundleDamaged("The manifest lists fewer members than the index")
                yield parse_member(
                    line,
                    content_offset=self.content_offsets[number] + start,
                    header_length=header_length,
                    frame=number,
                )
                left -= 1
        if next(described, None) is not None:
            raise BundleDamaged("The manifest lists more members than the index")
        for _ in lines:
            pass
        yield self.manifest_member()


def _read_footer(source: ByteSource) -> Footer:
    size = source.size
    footer = container.unpack_footer(source.read_at(max(0, size - FOOTER_BYTES), FOOTER_BYTES))
    if footer.index_offset + footer.index_size + FOOTER_BYTES != size:
        raise BundleDamaged(
            "The bundle's size is not what its last bytes say",
            hint=f"Bytes are missing from it, or too many. {TAR_ADVICE}",
        )
    return footer
