"""The envelope round every stage: claim, run, record. The only place that catches."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import os
import threading
from functools import partial

from django.db import DatabaseError, InterfaceError, connection
from django.db.models.functions import Now

from backups import log_context
from backups.actions import attempts, leftovers
from backups.actions.attempts import Attempt
from backups.actions.endings import NOTHING_KEPT_CODES
from backups.actions.leftovers import Leftover
from backups.errors import DomainError
from backups.models import Job
from backups.registry import STAGES
from backups.states import JobKind, JobState
from workers.contexts import folder_name_of, job_directory_of, make_context
from workers.engine.errors import EngineError, Fenced, StopRequested
from workers.engine.priority import run_giving_way
from workers.engine.process import mark_children
from workers.engine.room import disk_full, folder_that_filled, is_full
from workers.lease import LeaseKeeper
from workers.remains import remove_from_storage, remove_work
from workers.stages import cleanup
from workers.stages.context import (
    StageContext,
    StageResult,
    WorkMissing,
)

logger = logging.getLogger(__name__)

# A storage that hangs holds no stop up: what is not removed by then, the node's agent removes.
STOP_SECONDS = 1.75
LEAST_REMOVAL_SECONDS = 0.25
REMOVAL_SECONDS = 10.0


def run_stage(stage_name: str, *, job_id: str, epoch: int, worker: str) -> bool:
    """Run one stage of a job if it is due; True if it is done, so that the chain may go on.

    False when the claim was refused, and when the attempt failed, was stopped or was fenced: the
    rows say what comes next, not the chain.
    """
    with log_context.bound(job=job_id, epoch=epoch, stage=stage_name):
        attempt = _claim(stage_name, job_id=job_id, epoch=epoch, worker=worker)
        if attempt is None:
            return False
        with log_context.bound(site=attempt.site_id):
            return _run_attempt(attempt)


def _claim(stage_name: str, *, job_id: str, epoch: int, worker: str) -> Attempt | None:
    try:
        attempt = attempts.claim_stage(
            job_id=job_id,
            epoch=epoch,
            stage_name=stage_name,
            worker=worker,
            process_id=os.getpid(),
        )
    except (DatabaseError, InterfaceError) as error:
        # The message is lost with this; the coordinator sends another one.
        logger.warning("job %s: %s not claimed: %s", job_id, stage_name, error)
        return None
    if attempt is None:
        logger.info("job %s epoch %s: %s is not due, refused", job_id, epoch, stage_name)
    return attempt


def _run_attempt(attempt: Attempt) -> bool:
    job_id, epoch, stage_name = attempt.job_id, attempt.epoch, attempt.stage_name
    mark_children(job=str(job_id), attempt=f"{epoch}-{attempt.token.hex}")
    try:
        with LeaseKeeper(attempt) as keeper:
            return _run_claimed(attempt, keeper)
    except Fenced:
        logger.warning("job %s epoch %s: %s is fenced", job_id, epoch, stage_name)
        return False
    finally:
        mark_children()


def _run_claimed(attempt: Attempt, keeper: LeaseKeeper) -> bool:
    try:
        return _finished(attempt, keeper, _work(attempt, keeper))
    except StopRequested:
        return _stopped(attempt, keeper)
    except EngineError as error:
        return _failed(attempt, keeper, error)
    except Exception as error:
        # One that was given up trips over work that others have removed: that is no bug.
        keeper.check_lease()
        return _failed(attempt, keeper, _as_engine_error(error, attempt))


def _work(attempt: Attempt, keeper: LeaseKeeper) -> StageResult:
    job = keeper.until_answered(lambda: _load(attempt))
    previous_facts = keeper.until_answered(lambda: attempts.previous_facts(attempt))
    context = make_context(attempt, job, previous_facts, keeper)
    # Reopened when needed: a connection that idles through a long stage may be dead by then.
    connection.close()
    result = run_giving_way(
        partial(_run, attempt.stage_name, context),
        nice=job.node.nice,
        io_class=job.node.io_class,
        refused=partial(logger.warning, "job %s: %s", attempt.job_id),
    )
    keeper.check()
    return result


def _run(stage_name: str, context: StageContext) -> StageResult:
    try:
        result: StageResult = STAGES[stage_name].load()(context)
        return result
    finally:
        # Each thread has connections of its own, and this one ends here.
        connection.close()


def _load(attempt: Attempt) -> Job:
    """Return the job; raises `Fenced` if it is another attempt's already.

    The keeper's clock begins after the claim, and the process may have slept between the two.
    """
    jobs = attempt.jobs().filter(lease_expires_at__gt=Now())
    wanted = jobs.select_related("site__node", "node", "storage", "source__site").prefetch_related(
        "stages"
    )
    job = wanted.first()
    if job is None:
        raise Fenced
    return job


def _finished(attempt: Attempt, keeper: LeaseKeeper, result: StageResult) -> bool:
    finished = keeper.until_answered(
        lambda: attempts.finish_stage(
            attempt,
            outputs=result.outputs,
            detail=result.detail,
            warnings=[*keeper.warnings, *result.warnings],
            progress=keeper.progress,
        )
    )
    if not finished:
        _stopped_if_asked(attempt, keeper)
    return finished


def _failed(attempt: Attempt, keeper: LeaseKeeper, error: EngineError) -> bool:
    logger.error("job %s: %s failed: %s", attempt.job_id, attempt.stage_name, error.message)
    from_start = isinstance(error, WorkMissing)
    # Asked before it is forgotten: nobody else knows of an upload once the job begins again.
    leftover = keeper.until_answered(lambda: leftovers.leftover_of(attempt.job_id))
    state = keeper.until_answered(
        lambda: attempts.fail_stage(
            attempt,
            code=error.code,
            message=error.message,
            hint=error.hint,
            permanent=error.permanent,
            from_start=from_start,
        )
    )
    if state is None:
        _stopped_if_asked(attempt, keeper)
    elif state == JobState.FAILED:
        _make_room(attempt, error)
    elif from_start:
        _removed_from_storage(leftover, REMOVAL_SECONDS)
    return False


def _make_room(attempt: Attempt, error: EngineError) -> None:
    """Remove what no retry can use; the node's agent removes the rest of a job that failed."""
    directory = job_directory_of(attempt)
    if error.code in NOTHING_KEPT_CODES or attempt.job_kind != JobKind.BACKUP:
        remove_work(attempt.job_id, directory)
    else:
        cleanup.remove_tree(directory / folder_name_of(attempt))
    with contextlib.suppress(OSError):
        directory.rmdir()  # unless something is kept in it


def _stopped_if_asked(attempt: Attempt, keeper: LeaseKeeper) -> None:
    """End a job whose stop came just before its result, if that is why it was refused."""
    asked = attempt.jobs().filter(state=JobState.STOPPING)
    if keeper.until_answered(asked.exists):
        _stopped(attempt, keeper)


def _stopped(attempt: Attempt, keeper: LeaseKeeper) -> bool:
    """Remove everything, then say that the job is stopped: in this order, while we own it."""
    leftover = keeper.until_answered(lambda: leftovers.leftover_of(attempt.job_id))
    directory = job_directory_of(attempt)
    work_removed = remove_work(attempt.job_id, directory)
    seconds = max(LEAST_REMOVAL_SECONDS, STOP_SECONDS - keeper.seconds_since_stop())
    is_removed = _removed_from_storage(leftover, seconds) and work_removed
    # A request that was sent whole may be done after all: the agent looks again, and once more.
    is_clean = is_removed and attempt.stage_name != "upload_remote"
    keeper.until_answered(lambda: attempts.end_stopped(attempt, is_clean=is_clean))
    return False


def _removed_from_storage(leftover: Leftover, seconds: float) -> bool:
    """Remove what a job left in its storage; False if that cannot be done in time.

    In a thread that is abandoned then: a storage may hang for minutes.
    """
    removed = threading.Event()

    def remove() -> None:
        try:
            remove_from_storage(leftover)
            removed.set()
        except Exception as error:
            # How the job ended stands; the agent tries again.
            logger.warning("job %s: not removed from the storage: %s", leftover.job_id, error)
        finally:
            connection.close()

    thread = threading.Thread(
        target=partial(contextvars.copy_context().run, remove), name="removal", daemon=True
    )
    thread.start()
    thread.join(seconds)
    return removed.is_set()


def _as_engine_error(error: Exception, attempt: Attempt) -> EngineError:
    """Say what a person can act on; what is a bug goes into the log with its traceback."""
    if isinstance(error, DomainError):
        return EngineError(error.message, permanent=True, code=error.code)
    if is_full(error):
        return disk_full(folder_that_filled(error, job_directory_of(attempt)), error)
    logger.error("job %s: internal error", attempt.job_id, exc_info=error)
    return EngineError(
        f"Internal error, reference {attempt.job_id}",
        hint="The worker's log on the node holds the details.",
        code="internal_error",
    )
