"""Whether the spool has room for what a stage is about to write, asked before it writes."""

from __future__ import annotations

import time
from pathlib import Path

from workers.engine import room
from workers.engine.bundle import TreeEstimate
from workers.stages.cleanup import REMOVED_PREFIX
from workers.stages.context import StageContext

# What compression leaves of code, text and SQL: we measured 21 % (WordPress) to 29 %. A typical
# value and no upper bound: who has room enough must not be refused, and a disk that is full in the
# middle all the same fails the stage as clearly.
TYPICAL_PERCENT = 25
# An agent looks every two seconds for what ended jobs left.
WAIT_SECONDS = 10.0
LOOK_SECONDS = 0.5


def compressed(size: int) -> int:
    """Return what `size` bytes of text typically need in a bundle."""
    return size * TYPICAL_PERCENT // 100


def compressed_tree(estimate: TreeEstimate) -> int:
    """Return what a tree typically needs in a bundle."""
    return estimate.stored_bytes + compressed(estimate.bytes - estimate.stored_bytes)


def require_room(context: StageContext, needed: int, purpose: str, *, is_first: bool) -> None:
    """Raise a permanent `EngineError` (`not_enough_space`) unless `needed` bytes fit the spool.

    The reserve counts for the first stage that writes only. Afterwards room is made soonest by
    going on. Where other jobs have work in the spool, it waits a while: what is left of those that
    ended is being removed.
    """
    reserve = context.reserve_bytes if is_first else 0
    spool = context.job_directory.parent
    give_up_at = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            room.require_room(spool, needed, reserve=reserve, purpose=purpose)
        except room.NotEnoughSpace:
            if time.monotonic() > give_up_at or not _others(context):
                raise
            context.reporter.detail("Waiting for room in the spool")
            context.reporter.check()
            time.sleep(LOOK_SECONDS)
        else:
            return


def _others(context: StageContext) -> list[Path]:
    """Return the work of other jobs; what else is hidden in a spool belongs to its workers."""
    mine = context.job_directory
    found = (*mine.parent.glob("[!.]*"), *mine.parent.glob(f"{REMOVED_PREFIX}*"))
    return [path for path in found if path != mine and path.is_dir()]
