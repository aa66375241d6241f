"""Removing folders of the spool while somebody may still write there."""

from __future__ import annotations

import contextlib
import time
import uuid
from pathlib import Path

from workers.stages.cleanup import REMOVED_PREFIX, remove_tree

# An attempt that was just given up may make its folder once more; it learns of it in a second.
_LOOKS = 3
_PAUSE_SECONDS = 0.2


def remove_for_good(folder: Path) -> int:
    """Remove a folder so that nothing of it comes back; return the bytes that were freed.

    It is renamed first: who writes there by name finds nothing any more, and who has a file open
    writes into one that has no name.
    """
    freed = 0
    for _ in range(_LOOKS):
        aside = folder.with_name(f"{REMOVED_PREFIX}{uuid.uuid4().hex}")
        try:
            folder.rename(aside)
        except FileNotFoundError:
            return freed
        freed += remove_tree(aside)
        time.sleep(_PAUSE_SECONDS)
    return freed


def remove_what_was_set_aside(spool: Path) -> None:
    """Remove what an agent that was killed had renamed and not removed yet."""
    with contextlib.suppress(OSError):
        for folder in spool.glob(f"{REMOVED_PREFIX}*"):
            remove_tree(folder)
