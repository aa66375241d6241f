"""The agent's main thread: waits for signals and for Celery's end, and leaves in good order.

It never speaks to the database itself, so that no database can keep it from ending.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from django.conf import settings
from django.db import connection

from backups import dispatch
from backups.actions import nodes
from workers.agent import presence, recovery
from workers.agent.board import Board
from workers.agent.celery_process import CeleryProcess
from workers.agent.duty import Duty
from workers.agent.janitor import Janitor
from workers.agent.post import Post
from workers.agent.signals import URGENT, SignalPipe

logger = logging.getLogger(__name__)

# Exit statuses: as wished; to be started again; not to be, until somebody has changed something
# (EX_CONFIG of sysexits.h).
LEFT, FAILED, REFUSED = 0, 1, 78

_LOOK_SECONDS = 0.5
# Celery cannot shut down warmly while Redis is away: it is not waited for when nothing runs.
_IDLE_SECONDS = 5.0
_FINISH_SECONDS = 10.0


class Supervisor:
    """Runs a worker until its end; `run` returns the exit status."""

    def __init__(
        self, post: Post, lock: presence.Lock, board: Board, celery: CeleryProcess, pipe: SignalPipe
    ) -> None:
        self._post = post
        self._lock = lock
        self._celery = celery
        self._pipe = pipe
        self._status = LEFT
        self._leaving_since: float | None = None
        self._must_end: tuple[str, int] | None = None
        janitor = Janitor(post)
        self._duty = Duty(
            post,
            board,
            celery.pid,
            supersede=lambda why: self._order_end(why, REFUSED),
            give_up=lambda why: self._order_end(why, FAILED),
            clean=janitor.clean,
        )
        self._janitor = janitor

    def run(self) -> int:
        """Wait for the end, then put the worker's affairs in order."""
        self._duty.start()
        self._janitor.start()
        while not self._celery.collect():
            came = self._pipe.wait(_LOOK_SECONDS, self._celery.descriptor)
            if URGENT.intersection(came) or (came and self._leaving_since is not None):
                return self._hand_over("The worker was told to end at once")
            if came:
                self._leave(f"{came[0].name} received")
            if self._must_end:
                why, self._status = self._must_end
                self._must_end = None
                logger.error("this worker ends: %s", why)
                if self._status == FAILED:
                    return self._hand_over(f"The worker was ended ({why})")
                self._leave(why)
            if self._is_time_up():
                return self._hand_over("The worker ended before the stage did")
        return self._celery_ended()

    def _order_end(self, why: str, status: int) -> None:
        """Take note, for the main thread, that the worker has to end; the first reason counts."""
        if self._must_end is None and self._leaving_since is None:
            self._must_end = (why, status)

    def _leave(self, why: str) -> None:
        """Take nothing new and let what runs end, for as long as the grace period lasts."""
        grace = settings.HOLDFAST_GRACE_SECONDS
        logger.info("%s: leaving; what still runs in %d s is handed over", why, grace)
        self._leaving_since = time.monotonic()
        self._celery.end_when_idle()
        _in_background(lambda: nodes.leave(worker=self._post.worker))

    def _is_time_up(self) -> bool:
        if self._leaving_since is None:
            return False
        passed = time.monotonic() - self._leaving_since
        # Long enough for the duty thread to have looked since.
        patience = max(_IDLE_SECONDS, 3 * settings.HOLDFAST_AGENT_SECONDS)
        is_in_vain = passed > patience and self._duty.is_idle
        return is_in_vain or passed > settings.HOLDFAST_GRACE_SECONDS

    def _hand_over(self, reason: str) -> int:
        """End what runs, then let others go on with it from there."""
        if self._celery.kill():
            self._finish(lambda: recovery.hand_over(self._post.worker, reason))
        else:
            logger.error("a process does not die; its job is taken back when its lease ends")
        return self._status

    def _celery_ended(self) -> int:
        """Sign off if that was the wish; else take back what ran, and be started again."""
        if self._leaving_since is not None:
            return self._hand_over("The worker ended before the stage did")
        logger.error(
            "Celery's main process ended by itself (exit status %s)", self._celery.exit_status
        )
        if self._celery.kill():
            self._finish(lambda: recovery.recover_worker(self._post.worker))
        return FAILED

    def _finish(self, last_work: Callable[[], None]) -> None:
        """Do the last work and sign off; where that fails, the next one on this host does it.

        For that the lock's file stays: it tells of a worker that is dead and not yet forgotten.
        """
        self._duty.stop(timeout=_FINISH_SECONDS)
        self._janitor.stop(timeout=1.0)

        def work() -> None:
            last_work()
            nodes.forget_worker(worker=self._post.worker)
            self._lock.remove()
            dispatch.finish_background()

        _in_background(work).join(_FINISH_SECONDS)


def _in_background(work: Callable[[], object]) -> threading.Thread:
    """Run in a thread what asks the database, again while it fails and we are still there."""

    def run() -> None:
        for pause in (0.5, 1.0, 2.0, 4.0, None):
            try:
                work()
                return
            except Exception as error:
                logger.warning("not recorded yet: %s", error)
                connection.close()
            time.sleep(pause or 0)

    thread = threading.Thread(target=run, name="last-words", daemon=True)
    thread.start()
    return thread
