"""The unfinished copy of a source beside its place: written, resumed, read back, put in place."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Callable

from workers.engine.errors import EngineError
from workers.engine.progress import Reporter
from workers.engine.sources import COPY_BYTES, ByteSource, chunks_of
from workers.engine.stores.keys import RESERVED_PREFIX
from workers.engine.stores.local_files import FILE_MODE, remove_if_there, write_whole
from workers.engine.throttle import Throttle

PARTIAL_SUFFIX = ".part"
# Flushed this often, so that no flush takes long: while the kernel writes, nobody can be stopped.
FLUSH_BYTES = 32 << 20
CHECK_SECONDS = 0.25


def temporary_name() -> str:
    """Return a fresh hidden name for a file that is being written."""
    return f"{RESERVED_PREFIX}{secrets.token_hex(8)}{PARTIAL_SUFFIX}"


def is_temporary_name(name: str) -> bool:
    """Tell whether `name` may have come from `temporary_name`; a checkpoint may hold anything."""
    return name.startswith(RESERVED_PREFIX) and name.endswith(PARTIAL_SUFFIX) and "/" not in name


class PartialCopy:
    """A hidden file that this process alone writes; the lock ends with the process."""

    def __init__(self, folder: int, name: str, descriptor: int) -> None:
        self._folder = folder
        self._descriptor = descriptor
        self._is_in_place = False
        self.name = name

    @classmethod
    def begin(cls, folder: int) -> PartialCopy:
        """Create a new one; raises `OSError`."""
        name = temporary_name()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, FILE_MODE, dir_fd=folder)
        # Some network file systems have no locks: then nobody ever takes this one over.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return cls(folder, name, descriptor)

    @classmethod
    def take_over(cls, folder: int, name: str) -> PartialCopy | None:
        """Return the one that a dead process left, or None if it is gone or still being written."""
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            descriptor = os.open(name, flags, dir_fd=folder)
        except OSError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Between opening and locking, its writer may have finished and put it in place.
            there = os.stat(name, dir_fd=folder, follow_symlinks=False)
            if os.path.samestat(there, os.fstat(descriptor)):
                return cls(folder, name, descriptor)
        except OSError:
            pass
        os.close(descriptor)
        return None

    def status(self) -> os.stat_result:
        """Return its size and times as they are now; raises `OSError`."""
        return os.fstat(self._descriptor)

    def fill(
        self,
        source: ByteSource,
        sha256: str,
        reporter: Reporter,
        throttle: Throttle | None = None,
    ) -> None:
        """Make it a durable copy of `source`, keeping what is already right.

        Raises `OSError`, and a permanent `EngineError` when the source does not have `sha256`.
        """
        digest = hashlib.sha256()
        done = self._keep_what_agrees(source, digest.update, reporter)
        os.ftruncate(self._descriptor, done)
        flushed = done
        for chunk in chunks_of(source, done):
            if throttle is not None:
                _wait_for(throttle, len(chunk), reporter)
            write_whole(self._descriptor, chunk, done)
            digest.update(chunk)
            done += len(chunk)
            if done - flushed >= FLUSH_BYTES:
                os.fdatasync(self._descriptor)
                flushed = done
            reporter.advance(len(chunk))
        if done != source.size or digest.hexdigest() != sha256:
            raise source_changed()
        os.fsync(self._descriptor)

    def read_back(self, sha256: str, reporter: Reporter) -> None:
        """Read it from the disk again and compare; raises `EngineError` (temporary), `OSError`."""
        # What is durable can leave the page cache, so that the disk itself has to answer.
        os.posix_fadvise(self._descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        reporter.detail("Reading the copy back to compare it")
        digest = hashlib.sha256()
        offset = 0
        while chunk := os.pread(self._descriptor, COPY_BYTES, offset):
            digest.update(chunk)
            offset += len(chunk)
            reporter.check()
        if digest.hexdigest() != sha256:
            raise EngineError(
                "The copy reads back different from what was written.",
                hint="The disk, its cable or the memory of the host is faulty: check the kernel's "
                "log and the disk's health before you trust it.",
                code="verification_failed",
            )

    def move_to(self, name: str) -> None:
        """Give it its final name, replacing what has it; durable on return. Raises `OSError`."""
        os.rename(self.name, name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._is_in_place = True
        os.fsync(self._folder)

    def discard(self) -> None:
        """Free what it takes; never raises, since something else is being reported.

        What has its final name is the object, and whole: it stays until its key is deleted.
        """
        if self._is_in_place:
            return
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
        with contextlib.suppress(OSError):
            remove_if_there(self._folder, self.name)

    def close(self) -> None:
        """Let go of the file and the lock."""
        os.close(self._descriptor)

    def _keep_what_agrees(
        self, source: ByteSource, hashed: Callable[[bytes], None], reporter: Reporter
    ) -> int:
        """Return how many leading bytes are those of the source; after a crash some may not be."""
        offset = 0
        while wanted := os.pread(self._descriptor, COPY_BYTES, offset):
            chunk = source.read_at(offset, len(wanted))
            if chunk != wanted:
                break
            hashed(chunk)
            offset += len(chunk)
            reporter.advance(len(chunk))
        return offset


def _wait_for(throttle: Throttle, size: int, reporter: Reporter) -> None:
    """Return once `size` bytes may be written; a stop is heard meanwhile."""

    def wait(seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            reporter.check()
            time.sleep(min(left, CHECK_SECONDS))

    while size:
        size -= throttle.take(size, wait)
        reporter.check()


def source_changed() -> EngineError:
    """Return the error for a source that is not what it was when its sha256 was taken."""
    return EngineError(
        "The bundle is not what it was when it was sealed: its sha256 differs.",
        hint="Something changed or damaged the file in the work directory; check the node's disk "
        "and start the backup again.",
        permanent=True,
        code="source_changed",
    )
