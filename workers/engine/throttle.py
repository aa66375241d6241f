"""How fast uploads may go: one allowance for all processes of a host, kept in a small file.

The file holds one moment: until when what was granted so far keeps the line busy (the generic cell
rate algorithm). Whoever wants to send moves it on by as long as its bytes take at the limit, and
waits, holding no lock, until the moment it found has come.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

# What may go out at once after a pause, in seconds of the limit.
BURST_SECONDS = 0.25
# What one grant covers: few enough grants to cost nothing, none so large that others wait long.
GRANT_SECONDS = 0.05
LEAST_GRANT_BYTES = 1024
# Further ahead than any sender can have got: a moment from before a restart, or no moment at all.
FURTHEST_SECONDS = 3600
# Longer than a lock is ever held, unless its holder is frozen.
LOCK_SECONDS = 1.0
LOCK_PAUSE_SECONDS = 0.002
_BILLION = 1_000_000_000
LOCK_TRIES = 3
_BILLION = 1_000_000_000
# The moment in nanoseconds since the boot, and which boot.
_RECORD = struct.Struct("<q36s")

Wait = Callable[[float], None]


class Throttle(Protocol):
    """Says how many bytes may be sent now. May be used by several threads at once."""

    def take(self, wanted: int, wait: Wait) -> int:
        """Return how many of `wanted` bytes (at least 1) may be sent, once they may.

        `wait(seconds)` is called to wait, holding nothing; what it raises passes through.
        """


class SharedThrottle:
    """An allowance of `bytes_per_second` for all who name the same file, on one host.

    Together they never send more than that times the duration, one burst, and one grant each.
    A file that cannot be used (its disk is full or broken) makes the allowance this process's own:
    what is to be saved must not wait for a limit.
    """

    def __init__(self, file: Path, bytes_per_second: int) -> None:
        self._file = file
        self._grant = max(LEAST_GRANT_BYTES, int(bytes_per_second * GRANT_SECONDS))
        self._cost = self._grant * _BILLION // bytes_per_second
        self._boot = _boot_id()
        self._own_moment = 0
        self._left = 0
        # Descriptors of one process do not keep its own threads apart.
        self._lock = threading.Lock()

    def take(self, wanted: int, wait: Wait) -> int:
        """See `Throttle.take`."""
        with self._lock:
            if self._left:
                return self._spend(wanted)
            seconds = self._reserve()
        if seconds > 0:
            wait(seconds)
        with self._lock:
            self._left += self._grant
            return self._spend(wanted)

    def _spend(self, wanted: int) -> int:
        spent = min(wanted, self._left)
        self._left -= spent
        return spent

    def _reserve(self) -> float:
        """Take one grant for ourselves; return after how many seconds it may be used."""
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        try:
            with self._locked() as descriptor:
                moment = self._later(self._read(descriptor, now), now)
                os.pwrite(descriptor, _RECORD.pack(moment, self._boot), 0)
        except OSError:
            moment = self._own_moment = self._later(self._own_moment, now)
        return (moment - now) / _BILLION

    def _later(self, moment: int, now: int) -> int:
        return max(moment, now - int(BURST_SECONDS * _BILLION)) + self._cost

    def _read(self, descriptor: int, now: int) -> int:
        record = os.pread(descriptor, _RECORD.size, 0)
        if len(record) < _RECORD.size:
            return 0
        moment, boot = _RECORD.unpack(record)
        is_ours = boot == self._boot and moment - now < FURTHEST_SECONDS * _BILLION
        return int(moment) if is_ours else 0

    @contextlib.contextmanager
    def _locked(self) -> Iterator[int]:
        """Yield the file, locked: a new one where somebody frozen keeps the old one locked."""
        for _ in range(LOCK_TRIES):
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            descriptor = os.open(self._file, flags, 0o600)
            try:
                is_locked = _try_to_lock(descriptor)
                is_current = _is_at(self._file, descriptor)
                if is_locked and is_current:
                    yield descriptor
                    return
                if is_current:
                    self._file.unlink(missing_ok=True)
            finally:
                os.close(descriptor)
        raise TimeoutError(f"{self._file} stays locked")


def _try_to_lock(descriptor: int) -> bool:
    give_up_at = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                return False
            time.sleep(LOCK_PAUSE_SECONDS)
        else:
            return True


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _boot_id() -> bytes:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_bytes()[:36]
    except OSError:
        return b""
