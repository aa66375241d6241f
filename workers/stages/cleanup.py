"""Remove what the job left in the spool: at its end, and after a failure or a stop."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from workers.stages.context import StageContext, StageResult, megabytes
from workers.stages.restoring import settle

# Of folders in the spool that were set aside and are being removed.
REMOVED_PREFIX = ".removed-"


def run(context: StageContext) -> StageResult:
    """Remove the job's folder; what cannot be removed is a warning, the bundle is safe by now.

    After a restore also what was replaced, which is still beside the site.
    """
    settle(context.job_directory, context.scratch_servers)
    freed = remove_tree(context.job_directory)
    if context.job_directory.exists():
        warning = f"{context.job_directory} could not be removed; remove it by hand"
        return StageResult({"bytes_freed": freed}, "Finished, some files stay behind", (warning,))
    return StageResult({"bytes_freed": freed}, f"Spool cleaned ({megabytes(freed)} freed)")


def remove_tree(directory: Path) -> int:
    """Remove a folder and return the bytes that its files held; never fails.

    One that is gone is no error, and a process that was given up may still write there.
    """
    size = 0
    with contextlib.suppress(OSError):
        size = sum(entry.lstat().st_size for entry in directory.rglob("*") if entry.is_file())
    shutil.rmtree(directory, ignore_errors=True)
    return size
