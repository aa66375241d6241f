"""Keeps an attempt's lease while its stage runs, writes its progress, and learns of a stop."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from django.conf import settings
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    ProgrammingError,
    connection,
)

from backups.actions import attempts
from backups.actions.attempts import Attempt, Progress, Verdict
from workers.engine.errors import Fenced, StopRequested

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

# A stop is seen within this time, and progress is at most this old.
RENEW_SECONDS = 1.0
# With no renewal for two thirds of the lease, the attempt gives itself up before others may.
FENCE_SHARE = 2 / 3

# What the database answers when it is there and will never take this.
_REFUSALS = (DataError, IntegrityError, ProgrammingError, NotSupportedError)


def boot_seconds() -> float:
    """Return a clock that goes on while the machine is suspended, unlike the monotonic one."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeaseKeeper:
    """A `Reporter` for a running stage, with a thread that speaks to the database for it.

    The stage's own thread only changes numbers here, so that a slow database never slows a
    backup down; all that it can be told is to end, by `check`. Whether the lease may be somebody
    else's by now is asked of the clock and not of the thread, which may hang in the database.
    """

    def __init__(self, attempt: Attempt) -> None:
        self.progress = Progress()
        self.warnings: list[str] = []
        self._attempt = attempt
        self._lease_seconds = settings.HOLDFAST_LEASE_SECONDS
        self._interval = min(RENEW_SECONDS, self._lease_seconds / 4)
        self._renewed_at = boot_seconds()
        self._verdict = Verdict.GO_ON
        self._stop_seen_at: float | None = None
        self._written = Progress()
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=partial(contextvars.copy_context().run, self._keep), name="lease", daemon=True
        )

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
        self.check_lease()
        if self._verdict is Verdict.STOP:
            raise StopRequested

    def check_lease(self) -> None:
        """Raise `Fenced` if the lease may be somebody else's by now; a stop is no reason."""
        if self._is_fenced():
            raise Fenced

    def seconds_since_stop(self) -> float:
        """Return how long ago the wish to stop was seen; 0 if it was not."""
        return 0.0 if self._stop_seen_at is None else boot_seconds() - self._stop_seen_at

    def until_answered(self, ask: Callable[[], Result]) -> Result:
        """Ask the database again and again while it is away and the lease still ours.

        A restart of the database must not cost a finished stage. Raises `Fenced` when it is too
        late, and whatever `ask` raises besides: also what the database refuses, and what it still
        fails at after a whole lease that it let us keep.
        """
        began = boot_seconds()
        while True:
            try:
                return ask()
            except _REFUSALS:
                raise
            except (DatabaseError, InterfaceError) as error:
                if boot_seconds() - began > self._lease_seconds:
                    raise
                logger.warning("job %s: the database is away: %s", self._attempt.job_id, error)
                connection.close()
            self.check_lease()
            self._closing.wait(self._interval)

    def _is_fenced(self) -> bool:
        if boot_seconds() - self._renewed_at > self._lease_seconds * FENCE_SHARE:
            self._verdict = Verdict.FENCED
        return self._verdict is Verdict.FENCED

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
        if self._is_fenced():
            logger.error("job %s: fenced, giving up", self._attempt.job_id)
            return
        begun_at, progress = boot_seconds(), self.progress
        try:
            moved = progress.processed != self._written.processed
            verdict = attempts.renew_lease(self._attempt, progress, moved=moved)
        except Exception as error:
            # Whatever it is, this thread goes on: if it cannot renew, the clock ends the attempt.
            is_away = isinstance(error, (DatabaseError, InterfaceError))
            what = None if is_away else error
            logger.warning(
                "job %s: lease not renewed: %s", self._attempt.job_id, error, exc_info=what
            )
            connection.close()
            return
        self._renewed_at, self._written = begun_at, progress
        if verdict is Verdict.STOP and self._stop_seen_at is None:
            self._stop_seen_at = boot_seconds()
        if self._verdict is not Verdict.FENCED:
            self._verdict = verdict
