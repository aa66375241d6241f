"""Counts files and bytes per top folder: of a bundle while it is made, and of a restored tree.

Both count alike, so that one can be held against the other.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from workers.engine.bundle.manifest import parse_member
from workers.engine.bundle.segment import MEMBERS_NAME, read_blocks
from workers.engine.bundle.walk import walk

# With more top folders than this, the folders above them are counted.
MOST_FOLDERS = 500
_DEPTH = 2

# The usual line of the manifest; others are parsed as JSON, which takes ten times as long.
_LINE = re.compile(
    rb'\{"path":"([^"\\]+)","type":"(file|hardlink|symlink|folder)"'
    rb',"mode":"[0-7]+","uid":\d+,"gid":\d+,"user":"[^"\\]*","group":"[^"\\]*","size":(\d+),'
)


class FolderCounts:
    """Files and bytes by top folder: the first two parts of a path, without the file's own name.

    Further names of a file count as files, their bytes only once.
    """

    def __init__(self) -> None:
        self._counts: dict[bytes, list[int]] = {}
        self._depth = _DEPTH

    def add(self, path: bytes, size: int) -> None:
        """Count one file by its path in the archive."""
        top = self._top(path)
        count = self._counts.get(top)
        if count is None:
            if len(self._counts) == MOST_FOLDERS and self._depth > 1:
                self._fold()
                top = self._top(path)
            count = self._counts.setdefault(top, [0, 0])
        count[0] += 1
        count[1] += size

    def as_json(self) -> dict[str, dict[str, int]]:
        """Return the counts by folder; files at the very top are those of ""."""
        return {
            top.decode("utf-8", "backslashreplace"): {"files": files, "bytes": size}
            for top, (files, size) in sorted(self._counts.items())
        }

    def _top(self, path: bytes) -> bytes:
        parts = path.split(b"/", self._depth)
        return b"/".join(parts[: min(len(parts) - 1, self._depth)])

    def _fold(self) -> None:
        """Count by the first part alone, from now on and afterwards."""
        self._depth = 1
        counts, self._counts = self._counts, {}
        for top, (files, size) in counts.items():
            above = self._counts.setdefault(top.split(b"/")[0], [0, 0])
            above[0] += files
            above[1] += size


def files_of_parts(
    parts: Sequence[Path], check: Callable[[], None] = lambda: None
) -> Iterator[tuple[bytes, int]]:
    """Yield path and size of every file in the segments in `parts`; 0 for a further name of one.

    Raises `EngineError` for a damaged list.
    """
    for part in parts:
        with (part / MEMBERS_NAME).open("rb") as sidecar:
            for block in read_blocks(sidecar):
                check()
                for line in block.lines.split(b",\n") if block.lines else ():
                    found = _LINE.match(line)
                    if found is None:
                        member = parse_member(line)
                        path, kind, size = member.path, member.kind.encode(), member.size
                    else:
                        path, kind, size = found[1], found[2], int(found[3])
                    if kind in (b"file", b"hardlink"):
                        yield path, size


def files_of_tree(
    root: Path, check: Callable[[], None] = lambda: None
) -> Iterator[tuple[bytes, int]]:
    """Yield path and size of every file below `root`, as `files_of_parts` does for its bundle.

    Of a file with several names the bytes are those of the first one in order.
    """
    linked: dict[tuple[int, int], tuple[bytes, int]] = {}
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for folder, opened, names in walk(descriptor):
            check()
            for name in names:
                path = folder + b"/" + name if folder else name
                try:
                    status = os.stat(name, dir_fd=opened, follow_symlinks=False)
                except OSError:
                    continue
                if not stat.S_ISREG(status.st_mode):
                    continue
                if status.st_nlink == 1:
                    yield path, status.st_size
                    continue
                identity = (status.st_dev, status.st_ino)
                known = linked.get(identity)
                if known is not None:
                    first, other = sorted((known[0], path))
                    linked[identity] = (first, status.st_size)
                    yield other, 0
                else:
                    linked[identity] = (path, status.st_size)
    finally:
        os.close(descriptor)
    yield from linked.values()
