"""Compares what was restored with the site it came from: every entry, every byte."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Difference:
    """One path below the site, fit to be shown, and in what it differs."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


@dataclass(frozen=True, slots=True)
class FileComparison:
    """What comparing two trees found.

    `left_out` are the topmost paths that only the source has, as bytes since names may not be
    UTF-8; whether that is as it should be, the caller knows.
    """

    files: int
    bytes_compared: int
    left_out: tuple[bytes, ...]
    differences: tuple[Difference, ...]


class _Tree:
    """The entries below some roots, under the roots' names; no symbolic link is followed."""

    def __init__(self, roots: Mapping[str, Path]) -> None:
        self._roots = {os.fsencode(name): os.fsencode(path) for name, path in roots.items()}
        self.entries: dict[bytes, os.stat_result] = {}
        for name, path in self._roots.items():
            if os.path.lexists(path):
                self._add(name)
        self._first_of: dict[tuple[int, int], bytes] = {}

    def path(self, name: bytes) -> bytes:
        root, slash, rest = name.partition(b"/")
        return self._roots[root] + slash + rest

    def keep_only(self, names: set[bytes]) -> None:
        """Forget the others, then see which of the rest are one file under several names."""
        self.entries = {name: entry for name, entry in self.entries.items() if name in names}
        for name, entry in self.entries.items():
            if stat.S_ISREG(entry.st_mode):
                self._first_of.setdefault((entry.st_dev, entry.st_ino), name)

    def first_name(self, name: bytes) -> bytes:
        """Return the first of the names that the file has within the tree."""
        entry = self.entries[name]
        return self._first_of[entry.st_dev, entry.st_ino]

    def _add(self, name: bytes) -> None:
        pending = [name]
        while pending:
            current = pending.pop()
            entry = os.lstat(self.path(current))
            self.entries[current] = entry
            if stat.S_ISDIR(entry.st_mode):
                with os.scandir(self.path(current)) as children:
                    pending += sorted(
                        (current + b"/" + child.name for child in children), reverse=True
                    )


def compare_files(source: Mapping[str, Path], restored: Path) -> FileComparison:
    """Compare files and folders, by the name that each has in the archive, with `restored`.

    Types, modes, modification times to the nanosecond, link targets, hard links and contents; for
    root owners too, since nobody else can restore them. Raises `OSError` for what cannot be read.
    """
    before = _Tree(source)
    after = _Tree({name: restored / name for name in source})
    common = before.entries.keys() & after.entries.keys()
    left_out = sorted(
        name
        for name in before.entries.keys() - common
        # Of a folder that is missing as a whole, its name says it all.
        if os.path.dirname(name) in common or os.path.dirname(name) not in before.entries  # noqa: PTH120
    )
    added = sorted(after.entries.keys() - common)
    before.keep_only(common)
    after.keep_only(common)
    differences = [Difference(shown(name), "is not in the source") for name in added]
    for name in sorted(common):
        differences += [Difference(shown(name), what) for what in _compare(before, after, name)]
    files = [entry for entry in before.entries.values() if stat.S_ISREG(entry.st_mode)]
    return FileComparison(
        files=len(files),
        bytes_compared=sum(entry.st_size for entry in files),
        left_out=tuple(left_out),
        differences=tuple(differences),
    )


def shown(name: bytes) -> str:
    """Return a path as text that any terminal takes."""
    return os.fsdecode(name).encode("utf-8", "backslashreplace").decode()


def _compare(before: _Tree, after: _Tree, name: bytes) -> Iterator[str]:
    old, new = before.entries[name], after.entries[name]
    if stat.S_IFMT(old.st_mode) != stat.S_IFMT(new.st_mode):
        yield "is of another type"
        return
    if stat.S_IMODE(old.st_mode) != stat.S_IMODE(new.st_mode) and not stat.S_ISLNK(old.st_mode):
        yield f"mode {stat.S_IMODE(old.st_mode):o} became {stat.S_IMODE(new.st_mode):o}"
    if old.st_mtime_ns != new.st_mtime_ns:
        yield f"modification time {old.st_mtime_ns} ns became {new.st_mtime_ns} ns"
    if os.geteuid() == 0 and (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        yield f"owner {old.st_uid}:{old.st_gid} became {new.st_uid}:{new.st_gid}"
    if stat.S_ISLNK(old.st_mode):
        targets = {os.readlink(tree.path(name)) for tree in (before, after)}  # noqa: PTH115
        if len(targets) > 1:
            yield "points elsewhere"
    elif stat.S_ISREG(old.st_mode):
        if before.first_name(name) != after.first_name(name):
            yield "is a hard link to something else"
        if old.st_size != new.st_size:
            yield f"{old.st_size} bytes became {new.st_size}"
        elif not _same_content(before.path(name), after.path(name)):
            yield "has another content"


def _same_content(first: bytes, second: bytes) -> bool:
    with open(first, "rb") as left, open(second, "rb") as right:  # noqa: PTH123 - bytes names
        while True:
            chunk = left.read(CHUNK_BYTES)
            if chunk != right.read(CHUNK_BYTES):
                return False
            if not chunk:
                return True
