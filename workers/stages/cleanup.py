"""Remove what the job left in the spool: at its end, and after a failure or a stop."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers.engine.errors import EngineError
from workers.stages.context import StageContext, StageResult, StoreSpec, megabytes


def run(context: StageContext) -> StageResult:
    """Remove the job's folder; what cannot be removed is a warning, the bundle is safe by now."""
    freed = remove_tree(context.job_directory)
    if context.job_directory.exists():
        warning = f"{context.job_directory} could not be removed; remove it by hand"
        return StageResult({"bytes_freed": freed}, "Finished, some files stay behind", (warning,))
    return StageResult({"bytes_freed": freed}, f"Spool cleaned ({megabytes(freed)} freed)")


def abandon(job_directory: Path, store: StoreSpec, checkpoint: Mapping[str, Any]) -> None:
    """Remove everything of a job that ended early: its folder and its unfinished upload."""
    remove_tree(job_directory)
    if upload := checkpoint.get("upload"):
        # A store that is away keeps its unfinished upload until the orphan clean-up finds it.
        with contextlib.suppress(EngineError):
            store.open().abandon(checkpoint["key"], upload)


def remove_tree(directory: Path) -> int:
    """Remove a folder and return the bytes that its files held; one that is gone is no error."""
    size = sum(entry.lstat().st_size for entry in directory.rglob("*") if entry.is_file())
    shutil.rmtree(directory, ignore_errors=True)
    return size
