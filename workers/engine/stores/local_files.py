"""Files below a folder that nothing may lead out of, and what their errors mean to a person.

Every step goes through the descriptor of the folder above and follows no link (openat(2) with
O_NOFOLLOW), so that a link put there meanwhile cannot lead out of the root either.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Mapping, Sequence

from workers.engine.errors import EngineError

FOLDER_MODE = 0o700
FILE_MODE = 0o600
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

# errno → code, what it means, what to do; all of these stay as they are until somebody acts.
_PERMANENT: Mapping[int, tuple[str, str, str]] = {
    errno.ENOSPC: ("no_room", "there is no room left", "Free some space or add a larger disk."),
    errno.EDQUOT: ("no_room", "the disk quota is used up", "Raise the quota or free some space."),
    errno.EFBIG: (
        "file_too_large",
        "a file as large as this is not allowed there",
        "Use a file system without a 4 GiB limit (not FAT), or raise the process's file limit.",
    ),
    errno.EACCES: (
        "access_denied",
        "permission was denied",
        "Let the user that runs the worker write to this folder.",
    ),
    errno.EPERM: (
        "access_denied",
        "the operation is not permitted",
        "Let the user that runs the worker write to this folder.",
    ),
    errno.EROFS: (
        "access_denied",
        "the file system is mounted read-only",
        "Mount it for writing; a disk with errors is often made read-only by the kernel.",
    ),
    errno.ENOTDIR: (
        "invalid_key",
        "the way there leads through a link or a file",
        "Remove the link or file, or use another folder.",
    ),
    errno.ELOOP: (
        "invalid_key",
        "the way there leads through a link",
        "Remove the link, or use another folder.",
    ),
    errno.EISDIR: ("invalid_key", "there is a folder of that name", "Use another key."),
    errno.ENAMETOOLONG: ("invalid_key", "the name is too long for it", "Use a shorter key."),
}


@contextlib.contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn an `OSError` within the block into an `EngineError` that says what failed.

    `doing` completes "Could not …". What is not known to last is temporary: a network mount that
    is away, an I/O error.
    """
    try:
        yield
    except OSError as error:
        code, meaning, hint = _PERMANENT.get(
            error.errno or 0,
            (
                "storage_unavailable",
                error.strerror or str(error),
                "Check the disk or network mount and the kernel's log.",
            ),
        )
        raise EngineError(
            f"Could not {doing}: {meaning}.",
            hint=hint,
            permanent=error.errno in _PERMANENT,
            code=code,
        ) from error


@contextlib.contextmanager
def opened_folder(root: str, segments: Sequence[str], *, create: bool = False) -> Iterator[int]:
    """Yield a descriptor of the folder `segments` below `root`; raises `OSError`.

    The root itself is never created: where a disk is not mounted, its mount point must stay empty
    instead of taking in the backups.
    """
    descriptor = _opened_root(root)
    try:
        for segment in segments:
            child = _entered(descriptor, segment, create)
            os.close(descriptor)
            descriptor = child
        yield descriptor
    finally:
        os.close(descriptor)


def _opened_root(root: str) -> int:
    try:
        return os.open(root, _FOLDER_FLAGS)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise EngineError(
            f"The storage folder {root} does not exist.",
            hint="Create it on the node, or mount the disk that holds it; it is never created for "
            "you, so that nothing is written below an empty mount point.",
            permanent=True,
            code="storage_folder_missing",
        ) from error


def _entered(folder: int, name: str, create: bool) -> int:
    flags = _FOLDER_FLAGS | os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        if not create:
            raise
    with contextlib.suppress(FileExistsError):
        os.mkdir(name, FOLDER_MODE, dir_fd=folder)
        os.fsync(folder)
    return os.open(name, flags, dir_fd=folder)


def open_regular(folder: int, name: str) -> int:
    """Open the regular file `name` for reading; raises `OSError`, ELOOP for anything else."""
    # Without O_NONBLOCK, opening a FIFO would wait for its other end.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    return os.open(name, flags, dir_fd=folder)


def write_whole(descriptor: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`; a disk that takes only a part raises what stops it."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        offset += written
        view = view[written:]


def replace_small_file(folder: int, name: str, temporary: str, data: bytes) -> None:
    """Put a small file in place at once and durably; raises `OSError`."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, FILE_MODE, dir_fd=folder)
    try:
        write_whole(descriptor, data, 0)
        os.fsync(descriptor)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        remove_if_there(folder, temporary)
        raise
    finally:
        os.close(descriptor)
    os.fsync(folder)


def remove_if_there(folder: int, name: str) -> bool:
    """Remove a file; False if there was none. Raises `OSError`."""
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return False
    return True
