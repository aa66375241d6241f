"""Which files the media library knows, and which of them are not there."""

from __future__ import annotations

import os
import re
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from workers.engine.databases.base import Database
from workers.engine.wordpress.config import PREFIX

UPLOADS = "wp-content/uploads"
EXAMPLES = 5
# Rows of one answer: some 100 bytes each, of the 16 MiB that an answer may have. A path is no
# longer than 1,000 characters; what is would not be found anyway.
PAGE_ROWS = 20_000
PATH_CHARACTERS = 1000
# Blogs of a network whose libraries are read; each takes a query or two.
MOST_BLOGS = 500


def attached_files(
    database: Database, prefix: str, folder: str, *, check: Callable[[], None]
) -> Iterator[bytes]:
    """Yield the archive path of each attachment's file; `folder` is the uploads' own.

    Read in pages by the key, so that no library is too large for an answer.
    """
    table = f"{_safe(prefix)}postmeta"
    last = 0
    while True:
        rows = database.query(
            f"SELECT meta_id, SUBSTR(meta_value, 1, {PATH_CHARACTERS}) FROM {table}"  # noqa: S608
            " WHERE meta_key = '_wp_attached_file'"
            f" AND meta_id > {last} ORDER BY meta_id LIMIT {PAGE_ROWS}",
            check=check,
        )
        for _number, value in rows:
            yield archive_path(value, folder)
        if len(rows) < PAGE_ROWS:
            return
        last = int(rows[-1][0])


def count_attachments(database: Database, prefix: str, *, check: Callable[[], None]) -> int:
    """Return how many files the library of one blog knows."""
    [(count,)] = database.query(
        f"SELECT COUNT(*) FROM {_safe(prefix)}postmeta"  # noqa: S608
        " WHERE meta_key = '_wp_attached_file'",
        check=check,
    )
    return int(count)


def libraries(prefix: str, tables: Collection[str], folder: str) -> list[tuple[str, str]]:
    """Return prefix and uploads' folder of each blog that has a media library."""
    pattern = re.compile(re.escape(prefix) + r"(\d+)_postmeta\Z")
    blogs = sorted(int(found[1]) for name in tables if (found := pattern.match(name)))
    own = [(prefix, folder)] if f"{prefix}postmeta" in tables else []
    return own + [(f"{prefix}{blog}_", f"{folder}/sites/{blog}") for blog in blogs[:MOST_BLOGS]]


def archive_path(value: str, folder: str) -> bytes:
    """Return where in the archive the file is that `_wp_attached_file` names.

    Usually the value is relative to the uploads; old sites have absolute paths there.
    """
    if value.startswith("/"):
        _before, found, below = value.rpartition(f"/{UPLOADS}/")
        value = below if found else value
        folder = UPLOADS if found else folder
    return os.fsencode(os.path.normpath(f"{folder}/{value}"))


def uploads_folder(upload_path: str, site: Path, content: Path) -> str | None:
    """Return the archive path of the uploads by the option `upload_path`.

    None where they are not in the content folder, and so not in any bundle.
    """
    if upload_path in ("", UPLOADS):
        return UPLOADS
    path = Path(os.path.normpath(site / upload_path))
    for root in (content, site / "wp-content"):
        if path.is_relative_to(root):
            return f"wp-content/{path.relative_to(root)}".removesuffix("/.")
    return None


class MissingFiles:
    """Ticks files off a list. Memory: nine bytes for each, whatever their names."""

    def __init__(self, wanted: Callable[[], Iterable[bytes]]) -> None:
        """Take the list from `wanted`, which is asked again for the examples."""
        self._wanted = wanted
        self._hashes = array("q", sorted(hash(path) for path in wanted()))
        self._seen = bytearray(len(self._hashes))

    def tick(self, path: bytes) -> None:
        """Note that a file is there."""
        if not self._hashes:
            return
        wanted = hash(path)
        place = bisect_left(self._hashes, wanted)
        if place < len(self._hashes) and self._hashes[place] == wanted:
            self._seen[place] = 1

    @property
    def count(self) -> int:
        """How many were wanted."""
        return len(self._hashes)

    def missing(self) -> tuple[int, list[str]]:
        """Return how many were never ticked, and the first few."""
        # Of equal ones, which several attachments may share, only the first was ticked.
        number = 0
        for place, value in enumerate(self._hashes):
            if place and value == self._hashes[place - 1]:
                self._seen[place] = self._seen[place - 1]
            number += not self._seen[place]
        examples: list[str] = []
        for path in self._wanted() if number else ():
            if not self._seen[bisect_left(self._hashes, hash(path))]:
                examples.append(path.decode("utf-8", "backslashreplace"))
                if len(examples) == EXAMPLES:
                    break
        return number, examples


def _safe(prefix: str) -> str:
    """Return the prefix, which goes into statements unquoted."""
    if not PREFIX.match(prefix):
        raise ValueError(f"{prefix!r} is no table prefix")
    return prefix
