"""A plain walk through a tree: names and sizes, nothing is opened but folders."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from workers.engine.bundle.descent import Descent

_NAMES = 4096


def walk(
    root: int, start: bytes = b"", enter: Callable[[bytes, bytes], bool] = lambda path, name: True
) -> Iterator[tuple[bytes, int, list[bytes]]]:
    """Yield (path, descriptor, names of what is no folder) of each folder, a long one in pieces.

    `start` is where to begin; paths count from `root`. The descriptor holds until the next step.
    `enter(path, name)` tells whether a folder is wanted. What cannot be listed is left out.
    """
    with Descent(root) as descent:
        waiting = [start]
        while waiting:
            path = waiting.pop()
            names = []
            with contextlib.suppress(OSError):
                descriptor = descent.folder(path)
                with os.scandir(descriptor) as entries:
                    for entry in entries:
                        name = os.fsencode(entry.name)
                        if not entry.is_dir(follow_symlinks=False):
                            names.append(name)
                            if len(names) == _NAMES:
                                yield path, descriptor, names
                                names = []
                            continue
                        below = path + b"/" + name if path else name
                        if enter(below, name):
                            waiting.append(below)
                yield path, descriptor, names
