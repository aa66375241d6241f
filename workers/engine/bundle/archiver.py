"""Puts members into frames: files as they are read, and whatever is a header alone.

A file that fits a frame is read straight into the frame's buffer. It counts only once a second look
at it shows that nothing changed meanwhile; else the buffer goes back to where the file began.
"""

from __future__ import annotations

import hashlib
import os

from workers.engine.bundle import large, sparse
from workers.engine.bundle.container import FRAME_BYTES
from workers.engine.bundle.facts import ATTRIBUTES, CHANGED, UNREADABLE, LeftOut, Tally
from workers.engine.bundle.headers import FolderHeaders, read_attributes
from workers.engine.bundle.manifest import member_front, member_line
from workers.engine.bundle.reading import is_unchanged, read_into
from workers.engine.bundle.segment import Buffer, SegmentWriter
from workers.engine.bundle.tarheader import BLOCK, Entry, build_header

# Types whose content is compressed already. The list is by names, since looking inside costs more.
STORED_TYPES = frozenset(
    b"7z aac apk avif br bz2 docx epub flac gif gz heic heif jar jpeg jpg jxl lz4 m4a m4v mkv mov "
    b"mp3 mp4 mpeg mpg odp ods odt ogg ogv opus pdf png pptx rar tbz2 tgz txz weba webm webp wma "
    b"wmv woff woff2 xlsx xz zip zst".split()
)
# Smaller ones are not worth a raw block: their tar headers, beside which they stand, compress.
STORED_FROM_BYTES = 64 << 10


def is_stored(name: bytes, size: int) -> bool:
    """Tell whether a file of this name and size goes into a frame that is not compressed."""
    return size >= STORED_FROM_BYTES and name[name.rfind(b".") + 1 :].lower() in STORED_TYPES


class Archiver:
    """Fills frames with members and hands them to `writer`; `finish` hands over the last ones."""

    def __init__(self, writer: SegmentWriter, left_out: LeftOut, tally: Tally) -> None:
        self._writer = writer
        self._left_out = left_out
        self._tally = tally
        self._buffers = (Buffer(stored=False), Buffer(stored=True))
        self._large = large.LargeArchiver(writer, left_out)

    def finish(self) -> None:
        """Write the frames that are not full."""
        for buffer in self._buffers:
            self._writer.write(buffer)

    def add_entry(self, entry: Entry, *, stored: bool = False) -> None:
        """Add a member that has no data. A link comes after its target if `stored` is the same."""
        header = build_header(entry)
        buffer = self._room(len(header), stored)
        buffer.add_member(buffer.length, len(header), member_line(member_front(entry)))
        buffer.append(header)

    def add_file(
        self, descriptor: int, folder: FolderHeaders, name: bytes, status: os.stat_result
    ) -> bool | None:
        """Read an open regular file and add it; return whether its frame is a stored one.

        `status` is what `fstat` said just now. None means that it could not be read: noted then.
        """
        stored = is_stored(name, status.st_size)
        try:
            attributes = read_attributes(descriptor)
        except (OSError, ValueError) as error:
            self._left_out.note(ATTRIBUTES, folder.start + name, str(error))
            attributes = ()
        if (
            status.st_size > FRAME_BYTES - large.HEADER_ROOM
            or sparse.may_have_holes(status)
            or len(folder.start) > large.HEADER_ROOM // 4
        ):
            self._large.add(descriptor, folder.start + name, status, attributes, stored)
        elif not self._add_small(descriptor, folder, name, status, attributes, stored):
            return None
        self._tally.files += 1
        self._tally.bytes_total += status.st_size
        return stored

    def _add_small(
        self,
        descriptor: int,
        folder: FolderHeaders,
        name: bytes,
        status: os.stat_result,
        attributes: tuple[tuple[bytes, bytes], ...],
        stored: bool,
    ) -> bool:
        problem = ""
        for last_try in (False, True):
            header, front = folder.build(name, status, attributes)
            size = status.st_size
            buffer = self._room(len(header) + size + BLOCK, stored)
            start = buffer.length
            data = start + len(header)
            buffer.view[start:data] = header
            view = buffer.view[data : data + size]
            try:
                got = read_into(descriptor, view, 0)
            except OSError as error:
                path = folder.start + name
                self._left_out.note(UNREADABLE, path, error.strerror or "cannot be read")
                return False
            after = os.fstat(descriptor)
            if got == size and is_unchanged(status, after):
                break
            if last_try or after.st_size > FRAME_BYTES - large.HEADER_ROOM:
                problem = CHANGED
                view[got:] = bytes(size - got)
                self._left_out.note(CHANGED, folder.start + name, "changed while it was read")
                break
            status = after
        line = member_line(front, sha256=hashlib.sha256(view).hexdigest(), status=problem)
        buffer.add_member(start, len(header), line)
        buffer.length = data + size
        buffer.pad(size)
        return True

    def _room(self, size: int, stored: bool) -> Buffer:
        """Return the buffer for this kind of frame once `size` bytes fit into it."""
        buffer = self._buffers[stored]
        if buffer.length + size > FRAME_BYTES:
            self._writer.write(buffer)
        return buffer
