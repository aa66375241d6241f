"""Tar headers as POSIX.1-2001 (pax) lays them down, and the little that checking one needs.

A member whose facts fit the old ustar block gets that block alone; whatever does not fit (names
over 255 bytes, fractions of a second, sizes from 8 GiB, extended attributes, holes) goes into an
extended header before it. Sparse files follow GNU's format 1.0, the one that GNU tar, bsdtar and
Python's tarfile all restore.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from workers.engine.bundle.container import TAR_BLOCK

BLOCK = TAR_BLOCK
ZERO_BLOCK = bytes(BLOCK)
END_OF_ARCHIVE = bytes(2 * BLOCK)

FILE, HARD_LINK, SYMBOLIC_LINK, FOLDER = b"0", b"1", b"2", b"5"
_EXTENDED = b"x"

# The widths of ustar's fields: octal digits and bytes.
_ID_LIMIT = 8**7
_SIZE_LIMIT = 8**11
_NAME_BYTES, PREFIX_BYTES, OWNER_BYTES = 100, 155, 31
NANO = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Entry:
    """What a tar header says about one member.

    `size` counts the bytes that follow the header; for a sparse file these are its map and its
    data, and `sparse_size` is the size of the file itself. Names are bytes without NUL.
    """

    path: bytes
    kind: bytes = FILE
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    user: bytes = b""
    group: bytes = b""
    size: int = 0
    mtime_ns: int = 0
    link: bytes = b""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    sparse_size: int | None = None


def build_header(entry: Entry, *, records_at_least: bool = False) -> bytes:
    """Return the header blocks of `entry`; `records_at_least` forces an extended header.

    A forced one always has a record of the time, so that the length does not depend on it.
    """
    seconds, fraction = divmod(entry.mtime_ns, NANO)
    records: list[tuple[bytes, bytes]] = []
    name, prefix = entry.path, b""
    if entry.sparse_size is not None:
        records += _sparse_records(entry.path, entry.sparse_size)
        name = b"GNUSparseFile.0/" + entry.path.rpartition(b"/")[2]
        name = name[:_NAME_BYTES]
    elif (split := split_path(entry.path)) is not None:
        prefix, name = split
    else:
        records.append((b"path", entry.path))
    if len(entry.link) > _NAME_BYTES:
        records.append((b"linkpath", entry.link))
    if fraction or records_at_least or not 0 <= seconds < _SIZE_LIMIT:
        records.append((b"mtime", decimal_time(entry.mtime_ns)))
    for key, number, limit in (
        (b"uid", entry.uid, _ID_LIMIT),
        (b"gid", entry.gid, _ID_LIMIT),
        (b"size", entry.size, _SIZE_LIMIT),
    ):
        if number >= limit:
            records.append((key, b"%d" % number))
    for key, text in ((b"uname", entry.user), (b"gname", entry.group)):
        if len(text) > OWNER_BYTES or not text.isascii():
            records.append((key, text))
    records += [(b"SCHILY.xattr." + key, value) for key, value in entry.xattrs]
    return extended_header(records) + ustar_block(
        name,
        prefix,
        entry,
        seconds if 0 <= seconds < _SIZE_LIMIT else 0,
    )


def split_path(path: bytes) -> tuple[bytes, bytes] | None:
    """Return (prefix, name) as ustar splits a path, or None if it does not fit."""
    if len(path) <= _NAME_BYTES:
        return b"", path
    # A folder's closing slash belongs to the name, which must not become empty.
    cut = path.find(b"/", len(path) - _NAME_BYTES - 1, len(path) - 1)
    if 0 < cut <= PREFIX_BYTES:
        return path[:cut], path[cut + 1 :]
    return None


def ustar_block(name: bytes, prefix: bytes, entry: Entry, seconds: int) -> bytes:
    """Return the 512 bytes of a ustar header; what does not fit is 0, for the records to give."""
    uid, gid = (number if number < _ID_LIMIT else 0 for number in (entry.uid, entry.gid))
    front = front_half(
        name, entry.mode, uid, gid, entry.size if entry.size < _SIZE_LIMIT else 0, seconds
    )
    back = back_half(entry.kind, entry.link, entry.user, entry.group, prefix)
    return join_halves(front, back, half_sum(back))


def front_half(name: bytes, mode: int, uid: int, gid: int, size: int, seconds: int) -> bytes:
    """Return the 148 bytes before the checksum."""
    return b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (
        name[:_NAME_BYTES].ljust(100, b"\0"),
        mode,
        uid,
        gid,
        size,
        seconds,
    )


def back_half(kind: bytes, link: bytes, user: bytes, group: bytes, prefix: bytes) -> bytes:
    """Return the 356 bytes after the checksum."""
    return b"%b%bustar\x0000%b%b0000000\x000000000\x00%b" % (
        kind,
        link[:_NAME_BYTES].ljust(100, b"\0"),
        (user if len(user) <= OWNER_BYTES else b"").ljust(32, b"\0"),
        (group if len(group) <= OWNER_BYTES else b"").ljust(32, b"\0"),
        prefix.ljust(167, b"\0"),
    )


def half_sum(half: bytes) -> int:
    """Return the sum of the bytes of a half header.

    Adler-32's low word is 1 + the sum modulo 65,521; taken over at most 256 bytes at a time it is
    never reduced, and it is twenty times as fast as `sum`.
    """
    total = 0
    for start in range(0, len(half), 256):
        total += (zlib.adler32(half[start : start + 256]) & 0xFFFF) - 1
    return total


def join_halves(front: bytes, back: bytes, back_sum: int) -> bytes:
    """Return the whole block; the checksum counts its own field as eight spaces."""
    return b"%b%06o\0 %b" % (front, half_sum(front) + back_sum + 8 * 0x20, back)


def decimal_time(nanoseconds: int) -> bytes:
    """Return a time as pax writes it: decimal seconds, no trailing zeros lost or added."""
    seconds, fraction = divmod(abs(nanoseconds), NANO)
    sign = b"-" if nanoseconds < 0 else b""
    return b"%b%d.%09d" % (sign, seconds, fraction)


def padding(size: int) -> int:
    """Return how many zero bytes follow `size` bytes of data."""
    return -size % BLOCK


def _sparse_records(path: bytes, size: int) -> list[tuple[bytes, bytes]]:
    return [
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", path),
        (b"GNU.sparse.realsize", b"%d" % size),
    ]


def extended_header(records: list[tuple[bytes, bytes]]) -> bytes:
    """Return the blocks that hold `records` for the header after them; b"" for none."""
    if not records:
        return b""
    names = (b"path", b"linkpath", b"uname", b"gname", b"GNU.sparse.name")
    if any(key in names and not _is_utf8(value) for key, value in records):
        records.insert(0, (b"hdrcharset", b"BINARY"))
    data = b"".join(_record(key, value) for key, value in records)
    front = front_half(b"././@PaxHeader", 0o644, 0, 0, len(data), 0)
    back = back_half(_EXTENDED, b"", b"", b"", b"")
    return join_halves(front, back, half_sum(back)) + data + bytes(padding(len(data)))


def _record(key: bytes, value: bytes) -> bytes:
    """Return "length key=value\\n", where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %b=%b\n" % (length, key, value)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
