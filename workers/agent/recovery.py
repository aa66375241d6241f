"""Taking work back from processes that are surely dead, without waiting for their leases."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence

import psutil

from backups import queries
from backups.actions import nodes, recovery
from backups.queries import RunningAttempt
from workers.agent import presence
from workers.agent.post import Post
from workers.engine import marks

logger = logging.getLogger(__name__)


def recover_dead_workers(post: Post) -> None:
    """Take back what workers of this host ran that were killed, and forget them.

    Only while this host holds the node: a cloned spool has the names of workers that live
    elsewhere.
    """
    for worker, lock in presence.dead_workers(post.spool):
        try:
            recover_worker(worker)
            nodes.forget_worker(worker=worker)
        except BaseException:
            lock.close()
            raise
        lock.remove()


def recover_worker(worker: str) -> None:
    """Take back what a worker ran; every process that could write as that worker is gone."""
    kill_what_remains(queries.running_attempts(worker))
    if number := recovery.recover_worker(worker=worker):
        logger.warning("took back %d jobs of %s, which was killed", number, worker)


def hand_over(worker: str, reason: str) -> None:
    """Let others go on with what a worker ran; its processes are gone, and it is no failure."""
    kill_what_remains(queries.running_attempts(worker))
    if number := recovery.hand_over(worker=worker, reason=reason):
        logger.warning("handed over %d jobs: %s", number, reason)


def recover_dead_processes(post: Post, celery_pid: int) -> int:
    """Take back attempts whose pool process was killed, while its worker lives on.

    Return how many attempts the worker had.
    """
    attempts = queries.running_attempts(post.worker)
    if not attempts:
        return 0
    # After the rows: whoever claimed was alive by then, so who is missing now has died since.
    alive = _pool_of(celery_pid)
    if alive is None:
        return len(attempts)  # the whole worker ends, which is not for here to see to
    for attempt in attempts:
        if attempt.process_id is not None and attempt.process_id not in alive:
            kill_what_remains([attempt])
            if recovery.recover_attempt(
                job_id=attempt.job_id, epoch=attempt.epoch, token=attempt.token
            ):
                logger.warning("job %s: process %s died", attempt.job_id, attempt.process_id)
    return len(attempts)


def kill_what_remains(attempts: Sequence[RunningAttempt]) -> int:
    """Kill what outlived the processes of these attempts; return how many groups."""
    if not attempts:
        return 0
    marked = {(str(attempt.job_id), attempt.mark) for attempt in attempts}
    return marks.kill_groups(
        one for one in marks.marked_processes() if (one.job, one.attempt) in marked
    )


def _pool_of(celery_pid: int) -> set[int] | None:
    """Return the numbers of the pool's processes that live; None if their master does not."""
    pool = set()
    try:
        celery = psutil.Process(celery_pid)
        for process in celery.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_ZOMBIE:
                    pool.add(process.pid)
        return None if celery.status() == psutil.STATUS_ZOMBIE else pool
    except psutil.NoSuchProcess:
        return None
