"""What stands where something is to be restored: what of it stays, and what goes."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from workers.engine.bundle import BundleReader
from workers.engine.bundle.facts import EXCLUDED, SKIPPED, UNREADABLE
from workers.engine.excludes import Excludes

# What was there when the backup was made, and is not in it.
_LEFT_OUT = frozenset({EXCLUDED, SKIPPED, UNREADABLE})


@dataclass(frozen=True, slots=True)
class Standing:
    """One path below a tree that is to be replaced, and that the bundle does not hold.

    `path` is relative to the tree. One that is `kept` stays, with all below it: backups leave such
    things out, so no restore may take them away. `size` is a file's, in bytes.
    """

    path: bytes
    is_folder: bool
    is_kept: bool
    size: int


class LeftAlone:
    """Knows what backups leave out: what this one did, and what the site's patterns say now."""

    def __init__(self, bundle: BundleReader, excludes: Excludes) -> None:
        self._excludes = excludes
        self._paths = frozenset(_left_out(bundle))

    def has(self, archive_path: bytes, *, is_folder: bool) -> bool:
        """Tell whether the path is none that a backup would hold."""
        name = archive_path.rpartition(b"/")[2]
        match = self._excludes.match_folder if is_folder else self._excludes.match_file
        return archive_path in self._paths or match(archive_path, name) is not None

    def covers(self, archive_path: bytes, *, is_folder: bool) -> bool:
        """Tell the same also of what lies below such a path."""
        parts = archive_path.split(b"/")
        above = (b"/".join(parts[:depth]) for depth in range(1, len(parts)))
        return self.has(archive_path, is_folder=is_folder) or any(
            self.has(folder, is_folder=True) for folder in above
        )

    def live_below(self, archive_path: bytes) -> Iterator[bytes]:
        """Yield, relative to the path, what stays whatever the bundle holds: a live database."""
        for path in self._excludes.exact_paths:
            if path.startswith(archive_path + b"/"):
                yield path[len(archive_path) + 1 :]


def standing(
    tree: Path,
    archive_path: bytes,
    held: frozenset[bytes],
    left_alone: LeftAlone,
    check: Callable[[], None],
) -> Iterator[Standing]:
    """Yield what lies below `tree` and is not among the bundle's paths in `held`.

    Folders come before what is in them; below one that is kept nothing is looked at. One that is
    left out of backups but in this bundle is restored, and what else is in it is kept. A live
    database is kept in any case.
    """
    live = frozenset(left_alone.live_below(archive_path))
    folders = [(b"", False)]
    while folders:
        folder, is_in_kept = folders.pop()
        check()
        with os.scandir(os.fsencode(tree / os.fsdecode(folder))) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                path = folder + b"/" + entry.name if folder else entry.name
                is_folder = entry.is_dir(follow_symlinks=False)
                in_archive = archive_path + b"/" + path
                is_kept = is_in_kept or left_alone.has(in_archive, is_folder=is_folder)
                is_held = in_archive in held and path not in live
                if not is_held:
                    size = 0 if is_folder else entry.stat(follow_symlinks=False).st_size
                    yield Standing(path, is_folder, is_kept, size)
                if is_folder and (is_held or not is_kept):
                    folders.append((path, is_kept))


def _left_out(bundle: BundleReader) -> Iterator[bytes]:
    for line in bundle.left_out():
        noted = json.loads(line)
        if noted.get("reason") in _LEFT_OUT:
            encoded = noted.get("path_base64")
            yield base64.b64decode(encoded) if encoded else noted["path"].encode()
