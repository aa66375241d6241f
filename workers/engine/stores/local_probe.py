"""What a folder really lets us do, tried with a small file of our own."""

from __future__ import annotations

import contextlib
import os
import secrets

from workers.engine.stores.base import Capabilities
from workers.engine.stores.keys import PROBE_FOLDER
from workers.engine.stores.local_copy import temporary_name
from workers.engine.stores.local_files import open_regular, opened_folder, replace_small_file

PROBE_BYTES = 4096


def probe(root: str) -> Capabilities:
    """Write, read, read a range and delete; raises `EngineError` when the folder is not there."""
    seen = {"write": False, "read": False, "range_read": False, "delete": False}
    notes: list[str] = []
    with opened_folder(root, []):
        room = os.statvfs(root)
    try:
        with opened_folder(root, [PROBE_FOLDER], create=True) as folder:
            _try_out(folder, seen)
        with opened_folder(root, []) as top:
            os.rmdir(PROBE_FOLDER, dir_fd=top)
    except OSError as error:
        tried = next((name for name, done in seen.items() if not done), "removing the folder")
        notes.append(f"Trying {tried} in {root} failed: {error.strerror}.")
    free = room.f_bavail * room.f_frsize
    notes.append("Downloads go through the panel: a folder has no address of its own.")
    return Capabilities(**seen, free_bytes=free, notes=tuple(notes))


def _try_out(folder: int, seen: dict[str, bool]) -> None:
    name = secrets.token_hex(8)
    data = secrets.token_bytes(PROBE_BYTES)
    try:
        replace_small_file(folder, name, temporary_name(), data)
        seen["write"] = True
        descriptor = open_regular(folder, name)
        try:
            seen["read"] = os.pread(descriptor, PROBE_BYTES + 1, 0) == data
            seen["range_read"] = os.pread(descriptor, 10, 100) == data[100:110]
        finally:
            os.close(descriptor)
        os.unlink(name, dir_fd=folder)
        seen["delete"] = name not in os.listdir(folder)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=folder)
        raise
