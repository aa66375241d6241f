"""Whether the spool has room for what a stage is about to write, asked before it writes."""

from __future__ import annotations

from workers.engine import room
from workers.engine.bundle import TreeEstimate
from workers.stages.context import StageContext

# What compression leaves of code, text and SQL: we measured 21 % (WordPress) to 29 %. A typical
# value and no upper bound: who has room enough must not be refused, and a disk that is full in the
# middle all the same fails the stage as clearly.
TYPICAL_PERCENT = 25


def compressed(size: int) -> int:
    """Return what `size` bytes of text typically need in a bundle."""
    return size * TYPICAL_PERCENT // 100


def compressed_tree(estimate: TreeEstimate) -> int:
    """Return what a tree typically needs in a bundle."""
    return estimate.stored_bytes + compressed(estimate.bytes - estimate.stored_bytes)


def require_room(context: StageContext, needed: int, purpose: str, *, is_first: bool) -> None:
    """Raise a permanent `EngineError` (`not_enough_space`) unless `needed` bytes fit the spool.

    The reserve counts for the first stage that writes only. Afterwards room is made soonest by
    going on.
    """
    reserve = context.reserve_bytes if is_first else 0
    room.require_room(context.job_directory.parent, needed, reserve=reserve, purpose=purpose)
