"""The outside of a bundle: zstd frames, the index behind them, and the footer at the very end.

Everything here is specified in docs/bundle-format.md. Integers are little-endian; "stored" sizes
count bytes of the bundle, "content" sizes count bytes of the tar that the frames decode to.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import zstandard

from workers.engine.errors import EngineError

FORMAT_NAME = "holdfast-bundle"
FORMAT_VERSION = 1
FRAME_BYTES = 4 << 20
TAR_BLOCK = 512
LEVEL = 3

# RFC 8878: magic number, then a descriptor that says "one segment, content size in four bytes".
_FRAME_MAGIC = b"\x28\xb5\x2f\xfd"
_STORED_START = _FRAME_MAGIC + b"\xa0"
_STORED_OVERHEAD = 9
# The largest block that RFC 8878 allows.
BLOCK_BYTES = 128 << 10

# Two of the sixteen magic numbers that RFC 8878 sets aside for skippable frames.
INDEX_MAGIC = 0x184D2A58
FOOTER_MAGIC = 0x184D2A59
INDEX_CHUNK_BYTES = 1 << 20
# What a reader takes at most, so that no bundle, whoever made it, fills the memory: zstd's own
# bound for a frame that does not compress, a chunk and the largest entry after it, and the whole
# index (64 million files).
_FRAME_LIMIT = FRAME_BYTES + (FRAME_BYTES >> 8) + 64
_CHUNK_LIMIT = 2 * INDEX_CHUNK_BYTES
_INDEX_LIMIT = 512 << 20

_SKIPPABLE = struct.Struct("<II")
_INDEX_FRAME = struct.Struct("<IIII")
_POSITION = struct.Struct("<II")
POSITION_BYTES = _POSITION.size
_FOOTER = struct.Struct("<III6Q32s32s")
_FOOTER_END = struct.Struct("<I8s")
_END_MARK = b"HOLDFAST"
FOOTER_BYTES = _FOOTER.size + _FOOTER_END.size

TAR_ADVICE = (
    "What is whole in it can still be read without Holdfast: "
    "tar --zstd -xf <bundle> (or zstd -dc <bundle> | tar -x)."
)


class BundleDamaged(EngineError):
    """The bytes of a bundle are not those that were written."""

    code = "bundle_damaged"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint or TAR_ADVICE, permanent=True)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as the index describes it.

    `positions` are (offset of the header within the frame's content, length of the header) of the
    members that begin in it. `crc32` is that of the frame's stored bytes.
    """

    size: int
    content_size: int
    crc32: int
    positions: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Footer:
    """The last bytes of a bundle: where the index is, and what the whole must add up to."""

    frames: int
    members: int
    content_size: int
    index_offset: int
    index_size: int
    manifest_size: int
    manifest_sha256: bytes
    index_sha256: bytes
    version: int = FORMAT_VERSION


def new_compressor() -> zstandard.ZstdCompressor:
    """Return a compressor whose frames carry their size and zstd's own checksum."""
    return zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True)


def stored_size(length: int) -> int:
    """Return how many bytes `length` bytes (at least one) take as a frame of raw blocks."""
    return _STORED_OVERHEAD + length + 3 * -(-length // BLOCK_BYTES)


def stored_frame(content: memoryview) -> list[bytes | memoryview]:
    """Return the pieces of a frame that holds `content` (at least one byte) in raw blocks."""
    length = len(content)
    pieces: list[bytes | memoryview] = [_STORED_START + length.to_bytes(4, "little")]
    for start in range(0, length, BLOCK_BYTES):
        block = min(BLOCK_BYTES, length - start)
        last = start + block == length
        pieces.append((block << 3 | last).to_bytes(3, "little"))
        pieces.append(content[start : start + block])
    return pieces


def decode_frame(data: bytes, content_size: int) -> bytes:
    """Return the content of one frame, which must be exactly `content_size` bytes.

    Raises `BundleDamaged` for anything else than one whole frame of that size.
    """
    told = _told_size(data)
    if told != content_size:
        raise BundleDamaged(f"A frame says it holds {told} bytes instead of {content_size}")
    return _decompress(data, told)


def _told_size(data: bytes) -> int:
    """Return the content size in the header of a zstd frame (2^64 - 1: not told)."""
    try:
        return int(zstandard.get_frame_parameters(data).content_size)
    except zstandard.ZstdError as error:
        raise BundleDamaged(f"A frame cannot be decoded: {error}") from error


def _decompress(data: bytes, told: int) -> bytes:
    """Return the content of a frame whose header says `told`, which is known to fit the memory."""
    try:
        content = zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise BundleDamaged(f"A frame cannot be decoded: {error}") from error
    if len(content) != told:
        raise BundleDamaged(f"A frame holds {len(content)} bytes instead of {told}")
    return content


def pack_index_frame(
    size: int, content_size: int, crc32: int, positions: bytes | bytearray
) -> bytes:
    """Return one frame's entry of the index; `positions` are packed by `pack_position`."""
    count = len(positions) // _POSITION.size
    return _INDEX_FRAME.pack(size, content_size, crc32, count) + positions


def pack_position(start: int, header_length: int) -> bytes:
    """Return one member's position within its frame, as the index and the sidecar hold it."""
    return _POSITION.pack(start, header_length)


def pack_index(entries: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the skippable frames that hold the index entries."""
    compressor = new_compressor()
    chunk = bytearray()
    for entry in entries:
        chunk += entry
        if len(chunk) >= INDEX_CHUNK_BYTES:
            yield _skippable(INDEX_MAGIC, compressor.compress(chunk))
            chunk.clear()
    if chunk:
        yield _skippable(INDEX_MAGIC, compressor.compress(chunk))


def unpack_index(index: bytes) -> Iterator[Frame]:
    """Yield the frames that the index (all its skippable frames, checked before) describes.

    Raises `BundleDamaged` for frames and positions that no bundle has.
    """
    start = 0
    while start < len(index):
        if start + _SKIPPABLE.size > len(index):
            raise BundleDamaged("The index is cut short")
        magic, length = _SKIPPABLE.unpack_from(index, start)
        start += _SKIPPABLE.size
        if magic != INDEX_MAGIC or start + length > len(index):
            raise BundleDamaged("The index holds something that is not an index")
        packed = index[start : start + length]
        told = _told_size(packed)
        if told > _CHUNK_LIMIT:
            raise BundleDamaged("A part of the index is larger than any can be")
        yield from _unpack_chunk(_decompress(packed, told))
        start += length


def pack_footer(footer: Footer) -> bytes:
    """Return the last bytes of a bundle."""
    packed = _FOOTER.pack(
        FOOTER_MAGIC,
        FOOTER_BYTES - _SKIPPABLE.size,
        footer.version,
        footer.frames,
        footer.members,
        footer.content_size,
        footer.index_offset,
        footer.index_size,
        footer.manifest_size,
        footer.manifest_sha256,
        footer.index_sha256,
    )
    return packed + _FOOTER_END.pack(zlib.crc32(packed), _END_MARK)


def unpack_footer(data: bytes) -> Footer:
    """Return what `data` (the last `FOOTER_BYTES` of a bundle) says.

    Raises `BundleDamaged` when it is no footer, or `EngineError` for a format newer than this.
    """
    if len(data) != FOOTER_BYTES or data[-len(_END_MARK) :] != _END_MARK:
        raise BundleDamaged("The bundle's index is missing: the file is cut short or no bundle")
    magic, length, version, *numbers = _FOOTER.unpack_from(data)
    crc32, _ = _FOOTER_END.unpack_from(data, _FOOTER.size)
    if (
        crc32 != zlib.crc32(data[: _FOOTER.size])
        or magic != FOOTER_MAGIC
        or length != FOOTER_BYTES - _SKIPPABLE.size
    ):
        raise BundleDamaged("The bundle's last bytes are damaged, so its index cannot be found")
    if version != FORMAT_VERSION:
        raise EngineError(
            f"The bundle has format version {version}; this Holdfast reads {FORMAT_VERSION}",
            hint=f"Use a newer Holdfast. {TAR_ADVICE}",
            permanent=True,
            code="bundle_too_new",
        )
    footer = Footer(*numbers)
    if footer.index_size > _INDEX_LIMIT:
        raise BundleDamaged("The bundle's index is larger than any can be")
    return footer


def _unpack_chunk(chunk: bytes) -> Iterator[Frame]:
    start = 0
    while start < len(chunk):
        if start + _INDEX_FRAME.size > len(chunk):
            raise BundleDamaged("The index is cut short")
        size, content_size, crc32, count = _INDEX_FRAME.unpack_from(chunk, start)
        start += _INDEX_FRAME.size
        end = start + count * _POSITION.size
        if end > len(chunk):
            raise BundleDamaged("The index is cut short")
        if not (0 < size <= _FRAME_LIMIT and 0 < content_size <= FRAME_BYTES):
            raise BundleDamaged(f"The index has a frame of {size} bytes, {content_size} decoded")
        positions = tuple(_POSITION.iter_unpack(chunk[start:end]))
        _check_positions(positions, content_size)
        yield Frame(size, content_size, crc32, positions)
        start = end


def _check_positions(positions: tuple[tuple[int, int], ...], content_size: int) -> None:
    """Raise unless the headers stand in the frame one after the other, in whole tar blocks."""
    free = 0
    for start, length in positions:
        if start < free or not length or (start | length) % TAR_BLOCK:
            raise BundleDamaged("The index has a tar header where none can be")
        free = start + length
    if free > content_size:
        raise BundleDamaged("The index has a tar header that leaves its frame")


def _skippable(magic: int, payload: bytes) -> bytes:
    return _SKIPPABLE.pack(magic, len(payload)) + payload
