"""Moving what stays from the old tree to the new one and back, never through a link."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from workers.engine.bundle.descent import FOLDER_FLAGS, Descent

# What there is on the way when a path is not there, or leads through a link or a file.
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})

Times = dict[str, list[int]]


def link_kept(here: Path, there: Path, paths: Iterable[bytes], spare: Path) -> None:
    """Give kept files of one tree their name in the other too.

    `spare` is a name that is free for this, outside of both. What cannot have two names, such as
    a folder, is left to `move_kept`. Raises no `OSError` for such a path.
    """
    with _both(here, there) as (source, goal):
        for path in paths:
            folder, _, name = path.rpartition(b"/")
            with contextlib.suppress(OSError):
                inner = source.folder(folder)
                if stat.S_ISDIR(_mode(inner, name)):
                    continue
                other = _made(source, goal, folder, spare)
                inner = source.folder(folder)
                # One that the site replaced since an earlier try is linked anew.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=other)
                os.link(name, name, src_dir_fd=inner, dst_dir_fd=other, follow_symlinks=False)


def move_kept(here: Path, there: Path, paths: Iterable[bytes], spare: Path) -> None:
    """Move what is kept and is not there yet from one tree to the other."""
    with _both(here, there) as (source, goal):
        for path in paths:
            folder, _, name = path.rpartition(b"/")
            with _unless_gone():
                _mode(source.folder(folder), name)
                other = _made(source, goal, folder, spare)
                if not _is_there(other, name):
                    os.rename(name, name, src_dir_fd=source.folder(folder), dst_dir_fd=other)


def folders_above(path: bytes) -> Iterator[bytes]:
    """Yield the folders that `path` is in, the tree itself (b"") first."""
    parts = path.split(b"/")[:-1]
    return (b"/".join(parts[:depth]) for depth in range(len(parts) + 1))


def times_of(tree: Path, folders: Iterable[bytes]) -> Times:
    """Return when those of the folders that are there were read and changed, in nanoseconds."""
    times = {}
    with _opened(tree) as descent:
        for folder in folders:
            with _unless_gone():
                found = os.fstat(descent.folder(folder))
                times[os.fsdecode(folder)] = [found.st_atime_ns, found.st_mtime_ns]
    return times


def give_times(tree: Path, times: Times) -> None:
    """Give those of the folders that are there the times that `times_of` returned."""
    with _unless_gone(), _opened(tree) as descent:
        for folder, (read, changed) in times.items():
            with _unless_gone():
                os.utime(descent.folder(os.fsencode(folder)), ns=(read, changed))


@contextlib.contextmanager
def _opened(tree: Path) -> Iterator[Descent]:
    root = os.open(tree, FOLDER_FLAGS)
    try:
        with Descent(root) as descent:
            yield descent
    finally:
        os.close(root)


@contextlib.contextmanager
def _both(here: Path, there: Path) -> Iterator[tuple[Descent, Descent]]:
    """Open both trees; where one is no folder there is nothing to move."""
    with contextlib.ExitStack() as stack:
        yield stack.enter_context(_opened(here)), stack.enter_context(_opened(there))


@contextlib.contextmanager
def _unless_gone() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise


def _mode(folder: int, name: bytes) -> int:
    return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode


def _is_there(folder: int, name: bytes) -> bool:
    try:
        _mode(folder, name)
    except FileNotFoundError:
        return False
    return True


def _made(like: Descent, tree: Descent, path: bytes, spare: Path) -> int:
    """Return a folder of `tree`, made with those above it if need be, with the modes of `like`.

    Each is made as `spare` first: one under its own name is as it should be, whoever is killed.
    """
    for folder in folders_above(path + b"/"):
        parent, _, name = folder.rpartition(b"/")
        if not folder or _is_there(tree.folder(parent), name):
            continue
        found = os.fstat(like.folder(folder))
        with contextlib.suppress(FileNotFoundError):
            spare.rmdir()
        spare.mkdir(mode=0o700)
        with contextlib.suppress(PermissionError):
            os.chown(spare, found.st_uid, found.st_gid, follow_symlinks=False)
        spare.chmod(stat.S_IMODE(found.st_mode))
        os.rename(spare, name, dst_dir_fd=tree.folder(parent))
    return tree.folder(path)
