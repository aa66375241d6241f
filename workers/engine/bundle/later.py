"""What waits until the walk through a tree is over: files with several names, and folders.

A link must come after the file that it names, and a folder's header after all that is in the
folder, since whoever extracts a member changes the time of the folder it goes into. Both wait in a
small database in the attempt's folder, so that a tree full of them needs no more memory.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from workers.engine.bundle import tasks

_TASK_BYTES = 32 << 10


class LaterWork:
    """Names by device and inode, and folders by their depth."""

    def __init__(self, file: Path) -> None:
        self._database = sqlite3.connect(file, isolation_level=None)
        # It is worth nothing after a crash.
        self._database.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF; PRAGMA cache_size=-2048;"
            "CREATE TABLE names (device TEXT, inode TEXT, path BLOB,"
            " PRIMARY KEY (device, inode, path)) WITHOUT ROWID;"
            "CREATE TABLE folders (depth INTEGER, path BLOB,"
            " PRIMARY KEY (depth, path)) WITHOUT ROWID; BEGIN"
        )

    def add_linked(self, packed: bytes) -> None:
        """Take "device inode path" entries as a reader sends them."""
        rows = (entry.split(b" ", 2) for entry in tasks.unpack(packed))
        self._database.executemany("INSERT OR IGNORE INTO names VALUES (?, ?, ?)", rows)

    def add_folder(self, path: bytes) -> None:
        """Take a folder."""
        row = (-path.count(b"/"), path)
        self._database.execute("INSERT OR IGNORE INTO folders VALUES (?, ?)", row)

    def linked(self) -> Iterator[bytes]:
        """Yield tasks that together hold all names, those of the same file in a row."""
        rows = self._database.execute("SELECT path FROM names ORDER BY device, inode, path")
        return _in_tasks(tasks.HARD_LINKED, rows)

    def folders(self) -> Iterator[bytes]:
        """Yield tasks that together hold all folders, the deepest first."""
        rows = self._database.execute("SELECT path FROM folders ORDER BY depth, path")
        return _in_tasks(tasks.FOLDERS, rows)

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _in_tasks(kind: bytes, rows: Iterable[tuple[bytes]]) -> Iterator[bytes]:
    batch: list[bytes] = []
    size = 0
    for (path,) in rows:
        batch.append(path)
        size += len(path)
        if size >= _TASK_BYTES:
            yield kind + b"\0".join(batch)
            batch, size = [], 0
    if batch:
        yield kind + b"\0".join(batch)
