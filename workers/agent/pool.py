"""Moves the Celery worker's pool towards the size that the agent wants, process by process."""

from __future__ import annotations

import logging
import signal
from typing import Any, ClassVar

from billiard.pool import RUN
from celery import bootsteps

from workers.agent.board import Board

logger = logging.getLogger(__name__)

TICK_SECONDS = 1.0
# The agent decides what these mean; a terminal sends them to the Celery worker as well.
IGNORED_SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)


class PoolKeeper(bootsteps.StartStopStep):
    """A boot step of the Celery worker, which runs in its event loop: it must never wait.

    Celery's own shrinking sends SIGTERM to a process that it takes for idle, forgets a refusal,
    and after a reconnect takes one for idle that has just been sent a task. Here a process is
    asked to end by the word that also ends it at shutdown: it comes through the process's own
    queue, so whatever was sent before it is finished first. Nothing is ever killed.
    """

    requires = ("celery.worker.components:Timer", "celery.worker.components:Pool")
    board: ClassVar[Board]

    def __init__(self, worker: Any, **options: Any) -> None:  # noqa: ANN401
        self.timer_entry: Any = None
        super().__init__(worker, **options)

    def start(self, worker: Any) -> None:  # noqa: ANN401
        """Begin to look once a second; the entry outlives connections to the broker."""
        for number in IGNORED_SIGNALS:
            # Celery has just installed handlers of its own, which would end it or start it again.
            signal.signal(number, signal.SIG_IGN)
        self.timer_entry = worker.timer.call_repeatedly(TICK_SECONDS, self.keep, (worker,))

    def stop(self, worker: Any) -> None:  # noqa: ANN401
        """Leave the pool as it is: it is about to end."""
        if self.timer_entry is not None:
            self.timer_entry.cancel()

    def keep(self, worker: Any) -> None:  # noqa: ANN401
        """Take one step towards the wanted size."""
        self.board.tick()
        pool = worker.pool and worker.pool._pool
        if pool is None or pool._state != RUN:
            return
        try:
            missing = self.board.wanted - pool._processes
            if missing > 0:
                _grow(worker, missing)
            elif missing < 0:
                _shrink(worker, pool, -missing)
        except Exception:
            # Tried again in a second; the event loop must go on whatever this was.
            logger.exception("the pool could not be changed")
        self.board.size = len(pool._pool)


def _grow(worker: Any, number: int) -> None:  # noqa: ANN401
    logger.info("the pool grows by %d", number)
    worker.pool.grow(number)
    worker.pool.maintain_pool()
    _fetch_for(worker, number)


def _shrink(worker: Any, pool: Any, number: int) -> None:  # noqa: ANN401
    if pool.outbound_buffer:
        return  # a task waits for one of them
    ending = [process for process in pool._pool if _is_idle(pool, process)][:number]
    for process in ending:
        # From here on nothing is sent to it, and its end is no reason to start another.
        pool._busy_workers.add(process.inqW_fd)
        process._controlled_termination = True
        pool._processes -= 1
        pool._putlock.shrink()
        process.inq.put(None)
    if ending:
        logger.info("the pool shrinks by %d", len(ending))
        _fetch_for(worker, -len(ending))


def _is_idle(pool: Any, process: Any) -> bool:  # noqa: ANN401
    """Return whether the process is up, and has nothing to do as far as Celery knows."""
    descriptor = process.inqW_fd
    return (
        pool._fileno_to_inq.get(descriptor) is process
        and descriptor not in pool._busy_workers
        and descriptor not in pool._active_writes
        and not pool._worker_active(process)
        and not getattr(process, "_controlled_termination", False)
    )


def _fetch_for(worker: Any, change: int) -> None:  # noqa: ANN401
    """Let the consumer fetch as many messages as there are processes now."""
    consumer = worker.consumer
    if consumer is not None and consumer.qos is not None:
        consumer._update_prefetch_count(change)
