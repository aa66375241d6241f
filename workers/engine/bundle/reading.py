"""Reading a file whole, and noticing that it changed meanwhile."""

from __future__ import annotations

import os


def read_into(descriptor: int, view: memoryview, offset: int) -> int:
    """Fill `view` from `offset` of the file; return how much there was."""
    got = 0
    while got < len(view):
        count = os.preadv(descriptor, (view[got:],), offset + got)
        if not count:
            break
        got += count
    return got


def is_unchanged(before: os.stat_result, after: os.stat_result) -> bool:
    """Tell whether nothing says that the file was written to between two looks at it."""
    return (
        before.st_mtime_ns == after.st_mtime_ns
        and before.st_ctime_ns == after.st_ctime_ns
        and before.st_size == after.st_size
    )
