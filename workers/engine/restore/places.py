"""Where something is put back: reached without following links, and nothing mounted on the way."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from workers.engine.errors import EngineError

_MOUNTS = Path("/proc/self/mountinfo")
_MOUNT_POINT = 4
_OCTAL = re.compile(rb"\\([0-7]{3})")
_STEP_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class PlaceRefused(EngineError):
    """Nothing can be put at a path of this host."""

    code = "target_unusable"


@contextlib.contextmanager
def pinned(folder: Path) -> Iterator[Path]:
    """Yield another name of `folder`, which stays that of the same folder while in the context.

    Whoever owns a site may exchange any folder of it for a link at any time, and the worker may be
    root. So each part of the path is opened from the one before, and a link is refused. Raises
    `PlaceRefused` for a link, `OSError` as open(2) does.
    """
    descriptor = os.open("/", _STEP_FLAGS)
    try:
        for part in folder.parts[1:]:
            inner = _step(descriptor, part, folder)
            os.close(descriptor)
            descriptor = inner
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def _step(descriptor: int, part: str, folder: Path) -> int:
    try:
        return os.open(part, _STEP_FLAGS, dir_fd=descriptor)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise PlaceRefused(
            f"{folder} leads through {part!r}, which is a link or a file on this host, no folder",
            hint=f"Choose {part!r} itself to have it replaced by what the backup holds, or move it "
            "out of the way first.",
            permanent=True,
        ) from error


def existing(path: Path) -> Path:
    """Return the deepest folder on the way to `path` that is there."""
    while not path.is_dir():
        path = path.parent
    return path


def require_reachable(target: Path) -> None:
    """Raise `PlaceRefused` unless what is at `target`, or will be, can be exchanged."""
    with pinned(existing(target.parent)):
        require_no_mounts(target)


def require_no_mounts(target: Path) -> None:
    """Raise `PlaceRefused` if something is mounted at or below `target`.

    A mount point cannot be exchanged; and a tree that holds one would take the other disk along
    with the old files, which are removed at the end.
    """
    for mount in mount_points():
        if mount == target or mount.is_relative_to(target):
            inside = "what is in it, name by name" if mount == target else "paths beside it"
            raise PlaceRefused(
                f"{mount} is a mount point, so {target} cannot be exchanged as a whole",
                hint=f"Restore {inside}, or a copy elsewhere.",
                permanent=True,
            )


def mount_points() -> list[Path]:
    """Return where something is mounted, as this process sees it."""
    found = []
    for line in _MOUNTS.read_bytes().splitlines():
        escaped = line.split(b" ")[_MOUNT_POINT]
        path = _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), escaped)
        found.append(Path(os.fsdecode(path)))
    return found
