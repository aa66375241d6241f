"""What lies below a folder, in the order that S3 lists it in."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from workers.engine.stores.keys import is_plain_key
from workers.engine.stores.local_files import opened_folder


def walk(root: str, prefix: str, after: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Yield every regular file whose key begins with `prefix`, ordered by the bytes of the keys.

    With `after`, those behind it; folders that hold only what is before it are not read. Links,
    hidden files of ours and names that cannot be keys are passed over. What vanishes meanwhile is
    no error. Raises `OSError`.
    """
    pending = [""]
    while pending:
        key = pending.pop()
        if key and not key.endswith("/"):
            if key.startswith(prefix) and (status := _status(root, key)):
                yield key, status
            continue
        # The last one is taken first, so the smallest must be the last.
        entries = [one for one in _entries(root, key, prefix) if _reaches_behind(one, after)]
        pending.extend(sorted(entries, key=os.fsencode, reverse=True))


def _reaches_behind(key: str, after: str) -> bool:
    """Whether a file, or something in a folder, comes behind `after`."""
    is_above = key.endswith("/") and after.startswith(key)
    return is_above or os.fsencode(key) > os.fsencode(after)


def _entries(root: str, folder_key: str, prefix: str) -> list[str]:
    """Return the keys in one folder that can matter, those of folders with a slash at the end.

    With the slash they sort as S3 sorts what lies in them: "a-b" before "a/b".
    """
    entries: list[str] = []
    try:
        with (
            opened_folder(root, folder_key.split("/")[:-1]) as descriptor,
            os.scandir(descriptor) as scan,
        ):
            for entry in scan:
                key = folder_key + entry.name
                if not is_plain_key(key):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    key += "/"
                if key.startswith(prefix) or (key.endswith("/") and prefix.startswith(key)):
                    entries.append(key)
    except (FileNotFoundError, NotADirectoryError):
        return []
    return entries


def _status(root: str, key: str) -> os.stat_result | None:
    *folders, name = key.split("/")
    try:
        with opened_folder(root, folders) as descriptor:
            status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None
