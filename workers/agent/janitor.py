"""Removes what jobs that ended left on this host and in their storages."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

from django.conf import settings
from django.db import connection

from backups.actions import leftovers
from backups.actions.leftovers import CleanupReport, Leftover
from workers.agent import presence, tidying
from workers.agent.folders import remove_for_good
from workers.agent.post import Post
from workers.engine import marks
from workers.engine.errors import EngineError
from workers.remains import remove_from_storage, settle_job

logger = logging.getLogger(__name__)

# Storages that hang take minutes; as many of them at once as there are threads for.
_STORAGE_THREADS = 4
_RETRY_SECONDS = 60.0
# A server that is away keeps each round from its work; who reads the log needs it once a minute.
_SAY_AGAIN_SECONDS = 60.0
# A request that was on its way when its attempt was given up may arrive after all: soon, as a rule.
_LATE_ARRIVAL_SECONDS = (5.0, 30.0, 120.0)


class Janitor:
    """One of a host's workers cleans up: whoever takes the spool's lock first.

    What is on the host is removed at once in one thread, however large. What is in a storage is
    removed in a thread of its own, since a storage may hang; where that fails it is tried again
    a minute later, for as long as it takes.
    """

    def __init__(self, post: Post) -> None:
        self._post = post
        self._lock: presence.Lock | None = None
        self._found: list[Leftover] = []
        self._known: set[uuid.UUID] = set()
        self._news = threading.Event()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="janitor", daemon=True)
        self._next_tidying = 0.0
        self._uploads: threading.Thread | None = None
        self._calls = StorageCalls()
        self._said: dict[str, float] = {}

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Have it end, and wait for that for a while; what is not removed yet is found again."""
        self._closing = True
        self._news.set()
        self._thread.join(timeout)

    def clean(self, found: list[Leftover]) -> None:
        """Have these removed soon; returns at once."""
        self._found = found
        self._news.set()

    def _run(self) -> None:
        while True:
            # Without news the database is away, and nobody could be told what was removed.
            self._news.wait()
            self._news.clear()
            if self._closing:
                return
            self._guarded(self._look_after_leftovers)
            self._guarded(self._tidy_up)
            connection.close()

    def _look_after_leftovers(self) -> None:
        if self._lock is None:
            self._lock = presence.janitor_lock(self._post.spool)
        if self._lock is None:
            self._kill_processes()
        else:
            self._remove_leftovers()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except EngineError as error:
            self._say(error.sentences())
        except Exception as error:
            self._say(f"{type(error).__name__}: {error}", exc_info=True)

    def _say(self, why: str, *, exc_info: bool = False) -> None:
        now = time.monotonic()
        self._said = {old: at for old, at in self._said.items() if now < at + _SAY_AGAIN_SECONDS}
        if why not in self._said:
            self._said[why] = now
            logger.warning("cleaning up is tried again and again: %s", why, exc_info=exc_info)

    def _remove_leftovers(self) -> None:
        for leftover in self._calls.due_again():
            self._calls.begin(leftover, is_clean=True)
        for leftover in self._found:
            # What cannot be removed keeps nothing else from its turn.
            self._guarded(partial(self._remove, leftover))

    def _kill_processes(self) -> None:
        """Kill what the one who cleans up does not see: a container sees its own processes alone.

        A round later than that one, whose report counts what it has killed.
        """
        known, self._known = self._known, {leftover.job_id for leftover in self._found}
        for leftover in self._found:
            if leftover.job_id in known and (killed := kill_processes_of(leftover)):
                logger.warning("job %s: killed %d process groups", leftover.job_id, killed)

    def _remove(self, leftover: Leftover) -> None:
        """Remove what is on the host, and have what is in the storage removed if that is due.

        A folder that was kept for a retry may be given up while the storage has its pause.
        """
        is_waiting = self._calls.is_waiting_for(leftover.job_id)
        if is_waiting and not _has_folder(leftover, self._post.spool):
            return
        report, is_clean = remove_from_host(leftover, self._post.spool)
        if not leftover.object_key or self._calls.is_done_once(leftover.job_id):
            leftovers.record_cleanup(leftover, report, done=is_clean)
            return
        if report != CleanupReport():
            # Whoever waits for the evidence does not wait for a storage.
            leftovers.record_cleanup(leftover, report, done=False)
        if not is_waiting:
            self._calls.begin(leftover, is_clean=is_clean)

    def _tidy_up(self) -> None:
        """Now and then, and first of all: look for what no row tells of."""
        if time.monotonic() < self._next_tidying:
            return
        self._next_tidying = time.monotonic() + settings.HOLDFAST_TIDY_SECONDS
        tidying.tidy_processes(self._post)
        if self._lock is None:
            return
        tidying.tidy_folders(self._post)
        if self._uploads is None or not self._uploads.is_alive():
            self._uploads = threading.Thread(
                target=tidying.tidy_storages, args=(self._post,), name="uploads", daemon=True
            )
            self._uploads.start()


class StorageCalls:
    """Removals from storages: those that run now, and when others have their next turn."""

    def __init__(self) -> None:
        self._running: set[uuid.UUID] = set()
        self._not_before: dict[uuid.UUID, float] = {}
        self._again: dict[uuid.UUID, Leftover] = {}
        self._looks: dict[uuid.UUID, int] = {}

    def is_waiting_for(self, job_id: uuid.UUID) -> bool:
        """Return whether there is nothing to do for that job in its storage now."""
        return job_id in self._running or time.monotonic() < self._not_before.get(job_id, 0.0)

    def is_done_once(self, job_id: uuid.UUID) -> bool:
        """Return whether that job's storage is clean, and is only looked at again."""
        return job_id in self._again

    def due_again(self) -> list[Leftover]:
        """Return what was removed a while ago and is to be looked for again."""
        return [one for one in self._again.values() if not self.is_waiting_for(one.job_id)]

    def begin(self, leftover: Leftover, *, is_clean: bool) -> None:
        """Remove what is in the storage and record it; `is_clean` is how the host is.

        While too many hang already, it is left to the next time.
        """
        if len(self._running) >= _STORAGE_THREADS:
            return
        self._running.add(leftover.job_id)
        threading.Thread(
            target=self._call, args=(leftover, is_clean), name="storage", daemon=True
        ).start()

    def _call(self, leftover: Leftover, is_clean: bool) -> None:
        job_id = leftover.job_id
        self._again.pop(job_id, None)
        try:
            report = remove_from_storage(leftover)
            leftovers.record_cleanup(leftover, report, done=is_clean)
            if is_clean:
                self._look_again(leftover)
        except Exception as error:
            why = error.sentences() if isinstance(error, EngineError) else error
            logger.warning("job %s: not removed from its storage yet: %s", job_id, why)
            self._not_before[job_id] = time.monotonic() + _RETRY_SECONDS
        finally:
            connection.close()
            self._running.discard(job_id)

    def _look_again(self, leftover: Leftover) -> None:
        """Have it looked for once more, unless it was often enough."""
        looks = self._looks.pop(leftover.job_id, 0)
        if looks < len(_LATE_ARRIVAL_SECONDS):
            self._looks[leftover.job_id] = looks + 1
            pause = _LATE_ARRIVAL_SECONDS[looks]
            self._not_before[leftover.job_id] = time.monotonic() + pause
            self._again[leftover.job_id] = leftover


def _has_folder(leftover: Leftover, spool: Path) -> bool:
    return bool(leftover.folder_name) and (spool / leftover.folder_name).exists()


def remove_from_host(leftover: Leftover, spool: Path) -> tuple[CleanupReport, bool]:
    """Kill what still runs for a job that ended, remove its folder; whether all of it is gone."""
    killed = kill_processes_of(leftover)
    if not leftover.folder_name:
        return CleanupReport(processes_killed=killed), True
    folder = spool / leftover.folder_name
    was_there = folder.exists()
    # A restore that was cut off: the site is brought into one of two states first.
    settle_job(leftover.job_id, folder)
    freed = remove_for_good(folder)
    is_gone = not folder.exists()
    removed = int(was_there and is_gone)
    return CleanupReport(removed, freed, killed), is_gone


def kill_processes_of(leftover: Leftover) -> int:
    """Kill what runs for a job that ended, which nothing should; return how many groups."""
    return marks.kill_groups(
        one for one in marks.marked_processes() if one.job == str(leftover.job_id)
    )
