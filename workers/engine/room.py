"""How much room a disk has, and what to say where there is none."""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.engine.errors import EngineError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_SQLITE_FULL = 13  # the primary result code: https://www.sqlite.org/rescode.html
_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Room:
    """The size of a disk, and what of it an ordinary user may still fill, both in bytes.

    Disks can be full of files too: then they have no inode for another one.
    """

    size: int
    free: int
    has_inodes: bool = True

    def __str__(self) -> str:
        numbers = f"{_megabytes(self.size)} in all, {_megabytes(self.free)} free"
        return numbers if self.has_inodes else f"{numbers}, but no inodes for more files"


class DiskFull(EngineError):
    """Nothing more can be written until somebody makes room: trying again would only fail again."""

    code = "disk_full"


class NotEnoughSpace(EngineError):
    """What is about to be written would not fit; nothing was written."""

    code = "not_enough_space"


class WriteFailed(Exception):
    """A write to the spool failed, as `__cause__` says.

    Not an `OSError`: whoever reads a site's files takes those for the fault of a single file.
    """


def room_of(folder: Path) -> Room:
    """Return the room of the disk that a folder is on. Raises `OSError`."""
    found = os.statvfs(folder)
    # File systems without a limit for files count none at all.
    has_inodes = found.f_favail > 0 or found.f_files == 0
    return Room(found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize, has_inodes)


def require_room(folder: Path, needed: int, *, reserve: int, purpose: str) -> None:
    """Raise `NotEnoughSpace` unless the disk of `folder` has `needed` bytes beside a reserve.

    `purpose` completes "There is no room for …". A disk that does not answer is no reason to
    refuse: what is written to it will say what is wrong.
    """
    try:
        room = room_of(folder)
    except OSError:
        return
    if needed <= room.free - reserve:
        return
    kept = f", of which {_megabytes(reserve)} are kept free" if reserve else ""
    raise NotEnoughSpace(
        f"There is no room for {purpose}: about {_megabytes(needed)} are needed, but the disk of "
        f"{folder} has {room}{kept}",
        hint="Free some room on the node, or point HOLDFAST_SPOOL_DIRECTORY to a larger disk.",
        permanent=True,
    )


def is_full(error: BaseException | None) -> bool:
    """Tell whether an error of the system or of SQLite says that a disk is full."""
    if isinstance(error, WriteFailed):
        error = error.__cause__
    if isinstance(error, sqlite3.Error):
        return getattr(error, "sqlite_errorcode", 0) & 0xFF == _SQLITE_FULL
    return isinstance(error, OSError) and error.errno in FULL


def folder_that_filled(error: Exception, default: Path) -> Path:
    """Return the folder of the file that an error names, if it names one."""
    name = error.filename if isinstance(error, OSError) else None
    return Path(name).parent if isinstance(name, str) and name.startswith("/") else default


def disk_full(folder: Path, error: BaseException) -> DiskFull:
    """Return what to say of `error`: which disk is full, its size and what is free now."""
    try:
        numbers = f" ({room_of(_existing(folder))})"
    except OSError:
        numbers = ""
    cause = error.__cause__ if isinstance(error, WriteFailed) else error
    is_quota = isinstance(cause, OSError) and cause.errno == errno.EDQUOT
    what = "The quota of the worker's user on the disk" if is_quota else "The disk"
    return DiskFull(
        f"{what} of {folder} is {'used up' if is_quota else 'full'}{numbers}",
        hint="What the backup wrote there is removed. Free some room on the node, or point "
        "HOLDFAST_SPOOL_DIRECTORY to a larger disk, and start again.",
        permanent=True,
    )


@contextlib.contextmanager
def out_of_room(folder: Path) -> Iterator[None]:
    """Turn what the system says when nothing can be written in `folder` into advice."""
    try:
        yield
    except (OSError, sqlite3.Error, WriteFailed) as error:
        if is_full(error):
            raise disk_full(folder, error) from error
        cause = error.__cause__ if isinstance(error, WriteFailed) else error
        if isinstance(cause, OSError) and (
            isinstance(error, WriteFailed) or cause.errno in _UNWRITABLE
        ):
            raise EngineError(
                f"The bundle cannot be written to {folder}: {cause.strerror}",
                hint="Look at the disk of the node's work directory and at the kernel's log.",
                code="work_directory_failed",
            ) from error
        raise


_UNWRITABLE = frozenset({errno.EFBIG, errno.EROFS, errno.EIO})


@contextlib.contextmanager
def writing() -> Iterator[None]:
    """Mark an `OSError` within the block as one of writing to the spool."""
    try:
        yield
    except OSError as error:
        raise WriteFailed from error


def _existing(folder: Path) -> Path:
    """Return the folder or what of its path is there: an attempt's may be removed by now."""
    return next((path for path in (folder, *folder.parents) if path.exists()), folder)


def _megabytes(size: int) -> str:
    return f"{size / _MEBIBYTE:,.1f} MB"
