"""Exchanging two names in one step of the kernel, and what else Python has no function for."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

from workers.engine.errors import EngineError

# renameat2(2), since Linux 3.15.
_AT_FDCWD = -100
_RENAME_NOREPLACE, _RENAME_EXCHANGE = 1, 2
_libc = ctypes.CDLL(None, use_errno=True)

_HINTS = {
    errno.EXDEV: "It is on another file system than the folder it is in: restore a copy elsewhere, "
    "and put it there by hand.",
    errno.EBUSY: "Something is mounted there: restore a copy elsewhere, and put it there by hand.",
    errno.EACCES: "Let the user that runs the worker write to the folder that holds it.",
    errno.EPERM: "Let the user that runs the worker write to the folder that holds it.",
    errno.EROFS: "The file system is mounted read-only.",
    errno.ENOSPC: "Free some space on that disk.",
}


class ExchangeUnsupported(Exception):
    """The file system cannot exchange two names (NFS and a few others)."""


def exchange(one: Path, other: Path) -> None:
    """Exchange what two names stand for, so that at no moment either is missing.

    Raises `ExchangeUnsupported` where the file system cannot, `OSError` as rename(2) does.
    """
    _renameat2(one, other, _RENAME_EXCHANGE)


def move(source: Path, target: Path) -> None:
    """Rename to a name that nothing has yet; raises `FileExistsError` instead of replacing."""
    try:
        _renameat2(source, target, _RENAME_NOREPLACE)
    except ExchangeUnsupported:
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target) from None
        source.rename(target)


def _renameat2(one: Path, other: Path, flags: int) -> None:
    ctypes.set_errno(0)
    names = (os.fsencode(one), os.fsencode(other))
    if _libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], flags) == 0:
        return
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS):
        raise ExchangeUnsupported
    raise OSError(number, os.strerror(number), str(one), None, str(other))


def sync_file_system(folder: Path) -> None:
    """Have everything that was written to the folder's file system reach the disk: syncfs(2)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(folder))
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder reach the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def explained(error: OSError, doing: str) -> EngineError:
    """Return what an error of the file system means while `doing` something there."""
    return EngineError(
        f"{doing}: {error.strerror}",
        hint=_HINTS.get(error.errno or 0, "Look at that disk and at the kernel's log."),
        code="target_unwritable",
    )
