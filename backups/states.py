"""A job's life: its states, which may follow which, and what a client is shown.

QUEUED → DISPATCHED → RUNNING ⇄ BETWEEN → COMPLETED is the good way. Nothing else in Holdfast
decides whether a transition is allowed; `actions.transitions.move` reads this table.
"""

from __future__ import annotations

from enum import StrEnum


class JobKind(StrEnum):
    """What a job is for; each has a pipeline of stages in the registry."""

    BACKUP = "backup"
    RESTORE = "restore"
    VERIFY = "verify"


class JobState(StrEnum):
    """Where a job stands."""

    QUEUED = "queued"  # waits for a free slot, or for `not_before`
    DISPATCHED = "dispatched"  # its chain is sent; nobody has claimed the next stage yet
    RUNNING = "running"  # a stage is claimed: token and lease are set
    BETWEEN = "between"  # a stage is done, the next one is not claimed yet
    STOPPING = "stopping"  # a stop was asked for while a stage ran
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    RESET = "reset"


class StageState(StrEnum):
    """Where one stage of a job stands."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"


ACTIVE = frozenset(
    {
        JobState.QUEUED,
        JobState.DISPATCHED,
        JobState.RUNNING,
        JobState.BETWEEN,
        JobState.STOPPING,
    }
)
TERMINAL = frozenset(JobState) - ACTIVE
# States in which a job takes one of its node's slots.
ADMITTED = ACTIVE - {JobState.QUEUED}

_ENDINGS = frozenset({JobState.FAILED, JobState.STOPPED, JobState.RESET})
ALLOWED: dict[JobState, frozenset[JobState]] = {
    JobState.QUEUED: frozenset({JobState.DISPATCHED}) | _ENDINGS,
    JobState.DISPATCHED: frozenset({JobState.RUNNING, JobState.QUEUED}) | _ENDINGS,
    JobState.RUNNING: frozenset(
        {JobState.BETWEEN, JobState.QUEUED, JobState.STOPPING, JobState.COMPLETED}
    )
    | _ENDINGS,
    JobState.BETWEEN: frozenset({JobState.RUNNING, JobState.QUEUED}) | _ENDINGS,
    JobState.STOPPING: _ENDINGS,
    **{state: frozenset() for state in TERMINAL},
}

# What the wire contract calls them.
OUTSIDE: dict[JobState, str] = {
    **dict.fromkeys(ACTIVE, "running"),
    JobState.COMPLETED: "completed",
    JobState.FAILED: "failed",
    JobState.STOPPED: "stopped",
    JobState.RESET: "idle",
}


def sources_of(target: JobState) -> list[JobState]:
    """Return the states that `target` may be reached from."""
    return [state for state in JobState if target in ALLOWED[state]]


def percent(stages_done: int, stages_total: int, processed: int, total: int) -> int:
    """Return progress from 0 to 99: stages count equally, within a stage bytes do.

    100 is for a completed job alone, so that nobody switches off what is not safe yet. An
    estimate that turns out too small holds the stage just below its end.
    """
    within = min(processed / total, 0.99) if total > 0 else 0.0
    return min(99, int((stages_done + within) * 100 / stages_total))
