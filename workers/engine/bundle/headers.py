"""The headers and manifest lines of ordinary files, built fast.

What is the same for all files of a folder or an owner is formatted and summed up once. Whatever is
not ordinary takes the way through `tarheader.build_header`, whose result is the same.
"""

from __future__ import annotations

import grp
import os
import pwd
from functools import lru_cache

from workers.engine.bundle import tarheader
from workers.engine.bundle.manifest import is_plain, member_front, owner_fields
from workers.engine.bundle.tarheader import NANO, Entry, back_half, half_sum, join_halves

# SELinux labels are the target system's to give (restorecon), and every file has one there.
_ATTRIBUTES_LEFT_OUT = frozenset({"security.selinux"})

# With ten digits of seconds the record of a time always has 30 bytes, so that the block that
# announces it never changes. From 2001 on, and to 2242, where ustar's eleven octal digits end.
_TIME_RECORD = b"30 mtime=%d.%09d\n"
_TIME_HEADER = tarheader.extended_header([(b"mtime", b"1000000000.000000001")])[: tarheader.BLOCK]
_TIME_PADDING = bytes(tarheader.BLOCK - 30)
_TEN_DIGITS = range(10**9, 8**11)
_ID_LIMIT = 8**7

_ATTRIBUTES_BYTES = 64 << 10

Attributes = tuple[tuple[bytes, bytes], ...]


class FolderHeaders:
    """Makes headers for the files of the folder `path` (its path in the archive, b"" for none)."""

    def __init__(self, path: bytes) -> None:
        self.path = path
        self.start = path + b"/" if path else b""
        self._plain = is_plain(path)
        self._ustar = len(path) <= tarheader.PREFIX_BYTES
        self._owners: dict[tuple[int, int], tuple[tuple[bytes, int], tuple[bytes, int], bytes]] = {}

    def build(
        self, name: bytes, status: os.stat_result, attributes: Attributes
    ) -> tuple[bytes, bytes]:
        """Return the tar header of a file and the front of its line for the manifest."""
        seconds, fraction = divmod(status.st_mtime_ns, NANO)
        path = self.start + name
        short = len(path) <= 100
        if (
            attributes
            or not (short or (self._ustar and len(name) <= 100))
            or seconds not in _TEN_DIGITS
            or not (self._plain and is_plain(name))
        ):
            entry = file_entry(path, status, attributes)
            return tarheader.build_header(entry), member_front(entry)
        owner = (status.st_uid, status.st_gid)
        short_back, long_back, fields = self._owners.get(owner) or self._owner(owner)
        back, back_sum = short_back if short else long_back
        if not back:
            entry = file_entry(path, status, attributes)
            return tarheader.build_header(entry), member_front(entry)
        mode = status.st_mode & 0o7777
        size = status.st_size
        front = tarheader.front_half(path if short else name, mode, *owner, size, seconds)
        header = join_halves(front, back, back_sum)
        if fraction:
            record = _TIME_RECORD % (seconds, fraction)
            header = b"%b%b%b%b" % (_TIME_HEADER, record, _TIME_PADDING, header)
        line = b'{"path":"%b","type":"file","mode":"%04o",%b,"size":%d,"mtime":"%d.%09d"' % (
            path,
            mode,
            fields,
            size,
            seconds,
            fraction,
        )
        return header, line

    def _owner(self, owner: tuple[int, int]) -> tuple[tuple[bytes, int], tuple[bytes, int], bytes]:
        """Remember what is the same for all files of this owner; b"" where ustar cannot say it."""
        user, group = user_name(owner[0]), group_name(owner[1])
        fits = max(owner) < _ID_LIMIT and all(
            len(text) <= tarheader.OWNER_BYTES and text.isascii() for text in (user, group)
        )
        halves = []
        for prefix in (b"", self.path):
            back = back_half(tarheader.FILE, b"", user, group, prefix) if fits else b""
            halves.append((back, half_sum(back)))
        self._owners[owner] = (halves[0], halves[1], owner_fields(*owner, user, group))
        return self._owners[owner]


def file_entry(path: bytes, status: os.stat_result, attributes: Attributes = ()) -> Entry:
    """Return the entry of a regular file (or, with another `kind` put in, of anything else)."""
    return Entry(
        path,
        mode=status.st_mode & 0o7777,
        uid=status.st_uid,
        gid=status.st_gid,
        user=user_name(status.st_uid),
        group=group_name(status.st_gid),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        xattrs=attributes,
    )


def read_attributes(descriptor: int) -> Attributes:
    """Return the extended attributes of an open file that a bundle keeps, sorted.

    Raises `ValueError` for what a tar cannot hold and `OSError` for what cannot be read.
    File systems without any are fine.
    """
    try:
        names = os.listxattr(descriptor)
    except OSError:
        return ()
    if not names:
        return ()
    found = []
    for name in sorted(names):
        if name in _ATTRIBUTES_LEFT_OUT:
            continue
        if "=" in name or not name.isprintable():
            raise ValueError(f"extended attribute {name!a} has a name that no tar can hold")
        found.append((name.encode(), os.getxattr(descriptor, name)))
    if sum(len(value) for _, value in found) > _ATTRIBUTES_BYTES:
        raise ValueError("extended attributes take more than 64 KiB")
    return tuple(found)


@lru_cache(maxsize=4096)
def user_name(uid: int) -> bytes:
    """Return the name of a user of this host, b"" if it has none."""
    try:
        return os.fsencode(pwd.getpwuid(uid).pw_name)
    except (KeyError, OverflowError):
        return b""


@lru_cache(maxsize=4096)
def group_name(gid: int) -> bytes:
    """Return the name of a group of this host, b"" if it has none."""
    try:
        return os.fsencode(grp.getgrgid(gid).gr_name)
    except (KeyError, OverflowError):
        return b""
