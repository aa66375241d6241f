"""The last part of a bundle: manifest, end of the tar, index; then the proof that all is there."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workers.engine.bundle import container, manifest
from workers.engine.bundle.check import VerifyReport, verify
from workers.engine.bundle.container import BundleDamaged, Footer, pack_footer, pack_index
from workers.engine.bundle.manifest import JSON, MANIFEST_NAME, SEPARATOR
from workers.engine.bundle.segment import (
    LEFT_OUT_NAME,
    MEMBERS_NAME,
    SEGMENT_NAME,
    FrameBlock,
    SegmentFacts,
    closing,
    open_segment,
    read_blocks,
    write_pieces,
)
from workers.engine.bundle.streamed import StreamedMember
from workers.engine.bundle.tarheader import END_OF_ARCHIVE, Entry
from workers.engine.progress import Reporter
from workers.engine.room import out_of_room
from workers.engine.sources import FilesSource

_COPY_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class SealedBundle:
    """A whole bundle that was read back: the files in `paths`, end to end.

    Sizes are in bytes, checksums in hex; `content_size` is the size of the tar, and `members`
    counts the manifest too.
    """

    paths: tuple[Path, ...]
    size: int
    sha256: str
    members: int
    frames: int
    content_size: int
    manifest_sha256: str


def seal(
    directory: Path, parts: Sequence[Path], *, facts: Mapping[str, JSON], reporter: Reporter
) -> SealedBundle:
    """Complete the bundle whose segments are in the folders `parts`, in order, and read it back.

    Writes the last segment into `directory`, which exists and holds none yet. `facts` stand at the
    beginning of the manifest. Raises `BundleDamaged` when what is on the disk is not what was
    written, `EngineError` when there is no room.
    """
    write_seal(directory, parts, facts=facts, reporter=reporter)
    paths = tuple(folder / SEGMENT_NAME for folder in (*parts, directory))
    with FilesSource(paths) as source:
        try:
            report = verify(source, reporter=reporter)
        except BundleDamaged as error:
            raise _failed_proof(error) from error
    return _sealed(paths, report)


def write_seal(
    directory: Path, parts: Sequence[Path], *, facts: Mapping[str, JSON], reporter: Reporter
) -> None:
    """Write the last segment and sync all of them, without reading anything back."""
    with (
        out_of_room(directory),
        closing(open_segment(directory)) as descriptor,
    ):
        written = _write_manifest(directory, descriptor, parts, facts, reporter)
        end = _end_frame(written.segment_size)
        write_pieces(descriptor, [_END_FRAME], end.offset)
        position = end.offset + end.size
        hasher = hashlib.sha256()
        totals = _Totals()
        folders = (*parts, directory)
        for chunk in pack_index(totals.count(_blocks(folders, reporter), end)):
            write_pieces(descriptor, [chunk], position)
            position += len(chunk)
            hasher.update(chunk)
        footer = Footer(
            frames=totals.frames,
            members=totals.members,
            content_size=totals.content_size,
            index_offset=totals.size,
            index_size=position - end.offset - end.size,
            manifest_size=written.data_size,
            manifest_sha256=bytes.fromhex(written.sha256),
            index_sha256=hasher.digest(),
        )
        write_pieces(descriptor, [pack_footer(footer)], position)
        for folder in folders:
            _sync(folder / SEGMENT_NAME)
            _sync(folder)
            reporter.check()


def _write_manifest(
    directory: Path,
    descriptor: int,
    parts: Sequence[Path],
    facts: Mapping[str, JSON],
    reporter: Reporter,
) -> SegmentFacts:
    entry = Entry(MANIFEST_NAME, user=b"root", group=b"root", mtime_ns=time.time_ns())
    with (
        (directory / MEMBERS_NAME).open("xb") as sidecar,
        StreamedMember(descriptor, sidecar, entry) as member,
    ):
        member.write(manifest.head_lines(facts))
        lines = (block.lines for block in _blocks(parts, reporter) if block.lines)
        for number, group in enumerate(lines):
            member.write(SEPARATOR + group if number else group)
        member.write(b"\n" + manifest.LEFT_OUT_LINE)
        for piece in _left_out(parts):
            member.write(piece)
            reporter.check()
        member.write(manifest.END_LINES)
        return member.finish()


def _blocks(folders: Iterable[Path], reporter: Reporter) -> Iterator[FrameBlock]:
    """Yield the frames of all segments in order; their offsets are those in their own segment."""
    for folder in folders:
        with (folder / MEMBERS_NAME).open("rb") as sidecar:
            for block in read_blocks(sidecar):
                reporter.check()
                yield block


def _left_out(parts: Iterable[Path]) -> Iterator[bytes]:
    """Yield the lists of what was left out as one, without the separator at the very end."""
    held = b""
    for path in (folder / LEFT_OUT_NAME for folder in parts):
        if not path.exists():
            continue
        with path.open("rb") as file:
            while piece := file.read(_COPY_BYTES):
                piece = held + piece
                held = piece[-len(SEPARATOR) :]
                yield piece[: -len(SEPARATOR)]
    if held:
        yield b"\n"


class _Totals:
    """Adds up what the index lists, while it is listed."""

    def __init__(self) -> None:
        self.frames = 0
        self.members = 0
        self.size = 0
        self.content_size = 0

    def count(self, blocks: Iterable[FrameBlock], end: FrameBlock) -> Iterator[bytes]:
        """Yield the index entries of `blocks` and of the frame that ends the tar."""
        for block in itertools.chain(blocks, (end,)):
            self.frames += 1
            self.members += len(block.positions) // container.POSITION_BYTES
            self.size += block.size
            self.content_size += block.content_size
            yield container.pack_index_frame(
                block.size, block.content_size, block.crc32, block.positions
            )


_END_FRAME = container.new_compressor().compress(END_OF_ARCHIVE)


def _end_frame(offset: int) -> FrameBlock:
    return FrameBlock(
        offset, len(_END_FRAME), len(END_OF_ARCHIVE), zlib.crc32(_END_FRAME), b"", b""
    )


def _sync(path: Path) -> None:
    with closing(os.open(path, os.O_RDONLY | os.O_CLOEXEC)) as descriptor:
        os.fsync(descriptor)


def _failed_proof(error: BundleDamaged) -> BundleDamaged:
    return BundleDamaged(
        f"The finished bundle could not be read back as it was written: {error.message}",
        hint="The node's disk or memory may be failing: look at its system log. "
        "Nothing was uploaded.",
    )


def _sealed(paths: tuple[Path, ...], report: VerifyReport) -> SealedBundle:
    return SealedBundle(
        paths=paths,
        size=report.size,
        sha256=report.sha256,
        members=report.members,
        frames=report.frames,
        content_size=report.content_size,
        manifest_sha256=report.manifest_sha256,
    )
