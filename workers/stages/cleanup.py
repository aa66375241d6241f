"""Remove what the job left in the spool: at its end, and after a failure or a stop."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from workers.engine.errors import EngineError
from workers.engine.restore.journal import SWITCHED
from workers.stages.context import StageContext, StageResult, megabytes
from workers.stages.restoring import journal_of, settle

# Of folders in the spool that were set aside and are being removed.
REMOVED_PREFIX = ".removed-"
REPLACED_STAYS = "replaced_not_removed"


def run(context: StageContext) -> StageResult:
    """Remove the job's folder; what cannot be removed is a warning, the bundle is safe by now.

    After a restore also what was replaced, which is still beside the site.
    """
    _remove_replaced(context)
    freed = remove_tree(context.job_directory)
    if context.job_directory.exists():
        warning = f"{context.job_directory} could not be removed; remove it by hand"
        return StageResult({"bytes_freed": freed}, "Finished, some files stay behind", (warning,))
    return StageResult({"bytes_freed": freed}, f"Spool cleaned ({megabytes(freed)} freed)")


def _remove_replaced(context: StageContext) -> None:
    """Remove what a restore replaced; raises `EngineError` that says that the site is restored."""
    was_switched = journal_of(context.job_directory).phase == SWITCHED
    try:
        settle(context.job_directory, context.scratch_servers)
    except EngineError as error:
        if not was_switched:
            raise
        raise EngineError(
            f"The site is restored, but what was there before is not all removed: {error.message}",
            hint=f"{error.hint} The node's agent tries again each minute.".strip(),
            code=REPLACED_STAYS,
        ) from error


def remove_tree(directory: Path) -> int:
    """Remove a folder and return the bytes that its files held; never fails.

    One that is gone is no error, and a process that was given up may still write there.
    """
    size = 0
    with contextlib.suppress(OSError):
        size = sum(entry.lstat().st_size for entry in directory.rglob("*") if entry.is_file())
    shutil.rmtree(directory, ignore_errors=True)
    return size
