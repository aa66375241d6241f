"""Opening folders by their path below a root without ever following a symbolic link.

Each part is opened relative to its parent, so neither the depth nor the length of a path has a
limit, and a folder that is exchanged for a link meanwhile is refused by the kernel.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# How many folders on the way to the present one stay open; beyond, it is descended to again.
_LEVELS_KEPT = 64


class Descent:
    """Walks between folders below `root`, a descriptor that stays the caller's.

    With a `make_mode`, folders that are missing are made with it.
    """

    def __init__(self, root: int, make_mode: int | None = None) -> None:
        self._root = root
        self._make_mode = make_mode
        self._parts: list[bytes] = []
        # Level n is the folder that the first n parts lead to; the deepest levels only.
        self._open: dict[int, int] = {}

    def folder(self, path: bytes) -> int:
        """Return a descriptor of the folder `path` (b"" is the root), open until the next call.

        Raises `OSError` as `open` does: ENOENT, ENOTDIR or ELOOP for a link, EACCES.
        """
        parts = path.split(b"/") if path else []
        common = 0
        for ours, wanted in zip(self._parts, parts, strict=False):
            if ours != wanted:
                break
            common += 1
        self._leave(common)
        level = common if common in self._open else 0
        descriptor = self._open.get(level, self._root)
        self._parts = parts
        for depth in range(level + 1, len(parts) + 1):
            descriptor = self._enter(descriptor, parts[depth - 1], depth)
            self._open[depth] = descriptor
            if (far := self._open.pop(depth - _LEVELS_KEPT, None)) is not None:
                os.close(far)
        return descriptor

    def _enter(self, parent: int, name: bytes, level: int) -> int:
        try:
            try:
                return os.open(name, FOLDER_FLAGS, dir_fd=parent)
            except FileNotFoundError:
                if self._make_mode is None:
                    raise
                os.mkdir(name, self._make_mode, dir_fd=parent)
                return os.open(name, FOLDER_FLAGS, dir_fd=parent)
        except OSError:
            self._parts = self._parts[: level - 1]
            raise

    def close(self) -> None:
        """Close every folder."""
        self._leave(0)

    def _leave(self, level: int) -> None:
        """Close the folders below `level`."""
        for deeper in [number for number in self._open if number > level]:
            os.close(self._open.pop(deeper))
        self._parts = self._parts[:level]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
