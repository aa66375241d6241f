"""A lock for each worker in the spool: the kernel says at once, and for certain, who is dead."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from workers.engine.errors import EngineError

FOLDER = ".workers"
JANITOR = ".janitor"
TAKING_SECONDS = 15.0


class NameTaken(EngineError):
    """Another worker of this spool has the same name."""

    code = "worker_name_taken"


class Lock:
    """A locked file. The lock goes with the last process that inherited it, however that ends."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def remove(self) -> None:
        """Remove the file, then give up the lock, so that nobody finds it without an owner."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Give up the lock, as far as this process holds it."""
        os.close(self._descriptor)


def announce(spool: Path, worker: str) -> Lock:
    """Say that a worker of this name lives, for as long as any process of it does.

    The Celery worker and its pool inherit the lock, programs that they start do not: so whoever
    finds it free knows that no process is left that could write as this worker.
    Raises `NameTaken` while another worker has the name.
    """
    folder = spool / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    deadline = time.monotonic() + TAKING_SECONDS
    while time.monotonic() < deadline:
        if lock := _locked(folder / worker, create=True):
            return lock
        # Perhaps another worker just recovers what one of this name left, which takes a moment.
        time.sleep(0.1)
    raise NameTaken(
        f"A worker called {worker} runs on this spool already",
        hint="Two containers of one host name cannot share a spool: leave the host name out.",
    )


def dead_workers(spool: Path) -> Iterator[tuple[str, Lock]]:
    """Yield the names of workers that are surely dead, each with its lock, which is the caller's.

    Two who look at once never get the same one. To have it yielded again, close the lock; to be
    done with it, remove it.
    """
    with contextlib.suppress(FileNotFoundError):
        for path in sorted((spool / FOLDER).iterdir()):
            if path.name != JANITOR and (lock := _locked(path, create=False)):
                yield path.name, lock


def janitor_lock(spool: Path) -> Lock | None:
    """Return the lock of the one who cleans up this spool; None while another one does."""
    return _locked(spool / FOLDER / JANITOR, create=True)


def _locked(path: Path, *, create: bool) -> Lock | None:
    """Return the lock on the file that is at `path`; None if it is held, or was just removed."""
    flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(path, descriptor):
            return Lock(path, descriptor)
    except BlockingIOError:
        pass
    os.close(descriptor)
    return None


def _is_at(path: Path, descriptor: int) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    return False
