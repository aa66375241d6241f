"""Files that have several names: gathered during the walk, put together after it.

They wait in a small database in the attempt's folder, so that a tree full of them needs no more
memory than another.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from workers.engine.bundle import tasks

_TASK_BYTES = 32 << 10


class LinkedFiles:
    """Names by device and inode."""

    def __init__(self, file: Path) -> None:
        self._database = sqlite3.connect(file, isolation_level=None)
        # It is worth nothing after a crash.
        self._database.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-2048;"
            "CREATE TABLE names (device TEXT, inode TEXT, path BLOB,"
            " PRIMARY KEY (device, inode, path)) WITHOUT ROWID; BEGIN"
        )

    def add(self, packed: bytes) -> None:
        """Take "device inode path" entries as a reader sends them."""
        rows = (entry.split(b" ", 2) for entry in tasks.unpack(packed))
        self._database.executemany("INSERT OR IGNORE INTO names VALUES (?, ?, ?)", rows)

    def tasks(self) -> Iterator[bytes]:
        """Yield tasks that together hold all names, those of the same file in a row."""
        batch: list[bytes] = []
        size = 0
        with contextlib.closing(self._database.cursor()) as cursor:
            for (path,) in cursor.execute("SELECT path FROM names ORDER BY device, inode, path"):
                batch.append(path)
                size += len(path)
                if size >= _TASK_BYTES:
                    yield tasks.HARD_LINKED + b"\0".join(batch)
                    batch, size = [], 0
        if batch:
            yield tasks.HARD_LINKED + b"\0".join(batch)

    def close(self) -> None:
        """Close the database."""
        self._database.close()
