"""What the process that backs up a tree and its readers say to each other, and how.

A message is a four-byte length, a letter for its kind, and its payload. Paths are bytes without
NUL, so NUL separates them. Everything here is between a process and its own children.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import IO

# The payload of PROGRESS.
COUNT = struct.Struct("<Q")
_LENGTH = struct.Struct("<I")
_RECEIVE_BYTES = 1 << 16
_CHECK_MILLISECONDS = 500

# Kinds of messages. To a reader; FLUSH writes what is not yet in the segment.
CONFIGURE, TASKS, FLUSH, FINISH = b"C", b"T", b"W", b"Q"
# From a reader; SPARE tasks come in the middle of its work, DONE ones at the end of its task.
PROGRESS, SPARE, DONE, LINKED, FACTS, FAILED = b"P", b"S", b"D", b"L", b"F", b"E"

# Kinds of tasks: list a folder; archive files by their names in a folder; archive paths that have
# other names too, sorted so that the same file's names stand together; archive a root that is a
# file; archive the folders themselves.
LIST, NAMES, HARD_LINKED, SINGLE, FOLDERS = b"l", b"n", b"h", b"s", b"f"


def pack(parts: Sequence[bytes]) -> bytes:
    """Return byte strings as one."""
    return b"".join([_LENGTH.pack(len(part)) + part for part in parts])


def unpack(data: bytes) -> Iterator[bytes]:
    """Yield the byte strings that `pack` joined."""
    start = 0
    while start < len(data):
        (length,) = _LENGTH.unpack_from(data, start)
        start += _LENGTH.size
        yield data[start : start + length]
        start += length


class Channel:
    """Messages over a connected socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = bytearray()

    def fileno(self) -> int:
        """Return the socket's descriptor, to wait on."""
        return self._connection.fileno()

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        """Send one message; blocks until it is handed over. Raises `OSError` when nobody reads."""
        self._connection.sendall(_LENGTH.pack(len(payload) + 1) + kind + payload)

    def send_checked(self, kind: bytes, payload: bytes, check: Callable[[], None]) -> None:
        """Send one message like `send`, calling `check` twice a second while nobody reads."""
        left = memoryview(_LENGTH.pack(len(payload) + 1) + kind + payload)
        poller = select.poll()
        poller.register(self._connection, select.POLLOUT)
        while left:
            if not poller.poll(_CHECK_MILLISECONDS):
                check()
                continue
            with contextlib.suppress(BlockingIOError):
                left = left[self._connection.send(left, socket.MSG_DONTWAIT) :]

    def receive_ready(self) -> Iterator[tuple[bytes, bytes]]:
        """Receive once, which must not block by now, and yield the messages that are complete.

        Raises `EOFError` when the other side is gone.
        """
        data = self._connection.recv(_RECEIVE_BYTES)
        if not data:
            raise EOFError
        self._received += data
        while len(self._received) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(self._received)[0]
            if len(self._received) < end:
                return
            message = bytes(self._received[_LENGTH.size : end])
            del self._received[:end]
            yield message[:1], message[1:]

    def messages(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield messages, waiting for each, until the other side is gone."""
        try:
            while True:
                yield from self.receive_ready()
        except (EOFError, ConnectionResetError):
            return

    def close(self) -> None:
        """Close the socket."""
        self._connection.close()


class TaskStack:
    """Tasks that wait, last in first out; what exceeds `limit` bytes of memory waits in a file.

    Last in first out walks a tree depth first, so that few folders wait at any time.
    """

    def __init__(self, spill: IO[bytes], limit: int = 4 << 20) -> None:
        self._tasks: list[bytes] = []
        self._bytes = 0
        self._limit = limit
        self._spill = spill
        self._spilled: list[tuple[int, int]] = []

    def __len__(self) -> int:
        """Return how many wait, those in the file counted as one block each."""
        return len(self._tasks) + len(self._spilled)

    def push(self, task: bytes) -> None:
        """Add one task."""
        self._tasks.append(task)
        self._bytes += len(task)
        if self._bytes > self._limit and len(self._tasks) > 1:
            self._spill_oldest_half()

    def pop(self) -> bytes:
        """Remove and return the newest task."""
        if not self._tasks:
            start, length = self._spilled.pop()
            self._spill.seek(start)
            self._tasks = list(unpack(self._spill.read(length)))
            self._spill.truncate(start)
            self._bytes = sum(map(len, self._tasks))
        task = self._tasks.pop()
        self._bytes -= len(task)
        return task

    def _spill_oldest_half(self) -> None:
        half = len(self._tasks) // 2
        data = pack(self._tasks[:half])
        start = self._spill.seek(0, 2)
        self._spill.write(data)
        self._spilled.append((start, len(data)))
        del self._tasks[:half]
        self._bytes = sum(map(len, self._tasks))
