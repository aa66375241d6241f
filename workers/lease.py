"""Keeps an attempt's lease while its stage runs, writes its progress, and learns of a stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from backups.actions import attempts
from backups.actions.attempts import Attempt, Progress, Verdict
from workers.engine.errors import Fenced, StopRequested

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# A stop is seen within this time, and progress is at most this old.
RENEW_SECONDS = 1.0
# With no renewal for two thirds of the lease, the attempt gives itself up before others may.
FENCE_SHARE = 2 / 3


def boot_seconds() -> float:
    """Return a clock that goes on while the machine is suspended, unlike the monotonic one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeaseKeeper:
    """A `Reporter` for a running stage, with a thread that speaks to the database for it.

    The stage's own thread only changes numbers here, so that a slow database never slows a
    backup down; all that it can be told is to end, by `check`.
    """

    def __init__(self, attempt: Attempt) -> None:
        self.progress = Progress()
        self.warnings: list[str] = []
        self._attempt = attempt
        self._lease_seconds = settings.HOLDFAST_LEASE_SECONDS
        self._interval = min(RENEW_SECONDS, self._lease_seconds / 4)
        self._renewed_at = boot_seconds()
        self._verdict = Verdict.GO_ON
        self._written = Progress()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def __enter__(self) -> LeaseKeeper:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._closing.set()
        self._thread.join(timeout=self._lease_seconds)

    def total(self, bytes_total: int) -> None:
        """See `Reporter.total`."""
        self.progress = replace(self.progress, total=bytes_total)

    def advance(self, bytes_done: int) -> None:
        """See `Reporter.advance`."""
        self.progress = replace(self.progress, processed=self.progress.processed + bytes_done)
        self.check()

    def detail(self, text: str) -> None:
        """See `Reporter.detail`."""
        self.progress = replace(self.progress, detail=text)

    def warn(self, text: str) -> None:
        """See `Reporter.warn`."""
        self.warnings.append(text)

    def check(self) -> None:
        """See `Reporter.check`."""
        if self._verdict is Verdict.STOP:
            raise StopRequested
        if self._verdict is Verdict.FENCED:
            raise Fenced

    def until_written(self, write: Callable[[], Result]) -> Result:
        """Do a last write again and again while the database is away and the lease still ours.

        A restart of the database must not cost a finished stage. Raises `Fenced` when it is too
        late, and whatever `write` raises besides database errors.
        """
        while True:
            try:
                return write()
            except (DatabaseError, InterfaceError):
                logger.warning("job %s: the database is away", self._attempt.job_id, exc_info=True)
                connection.close()
            if self._verdict is Verdict.FENCED:
                raise Fenced
            self._closing.wait(self._interval)

    def _keep(self) -> None:
        try:
            while not self._closing.wait(self._interval) and self._verdict is Verdict.GO_ON:
                self._renew()
            # Stopping takes a while: the lease is kept, though nothing can change the verdict.
            while not self._closing.wait(self._interval) and self._verdict is Verdict.STOP:
                self._renew()
        finally:
            connection.close()

    def _renew(self) -> None:
        if boot_seconds() - self._renewed_at > self._lease_seconds * FENCE_SHARE:
            logger.error("job %s: no renewal for too long, giving up", self._attempt.job_id)
            self._verdict = Verdict.FENCED
            return
        begun_at, progress = boot_seconds(), self.progress
        try:
            moved = progress.processed != self._written.processed
            verdict = attempts.renew_lease(self._attempt, progress, moved=moved)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("job %s: lease not renewed: %s", self._attempt.job_id, error)
            connection.close()
            return
        self._renewed_at, self._written = begun_at, progress
        if self._verdict is not Verdict.FENCED:
            self._verdict = verdict
