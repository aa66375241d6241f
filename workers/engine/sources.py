"""Bytes that can be read at any offset: a file, several files end to end, an object in a store."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

COPY_BYTES = 1 << 20


class ByteSource(Protocol):
    """Something of a fixed size that can be read at any offset.

    `read_at` returns exactly `length` bytes, fewer only at the end of the source.
    """

    @property
    def size(self) -> int:
        """The number of bytes in all."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Return the bytes from `offset`, `length` of them unless the source ends before."""


class FilesSource:
    """One or more files read as if they stood end to end. A context manager: it holds them open."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._descriptors: list[int] = []
        self._starts = [0]
        for path in paths:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            self._descriptors.append(descriptor)
            self._starts.append(self._starts[-1] + os.fstat(descriptor).st_size)

    @property
    def size(self) -> int:
        """The number of bytes of all files together."""
        return self._starts[-1]

    def read_at(self, offset: int, length: int) -> bytes:
        """See `ByteSource.read_at`."""
        collected: list[bytes] = []
        for index, descriptor in enumerate(self._descriptors):
            while length and self._starts[index] <= offset < self._starts[index + 1]:
                wanted = min(length, self._starts[index + 1] - offset)
                chunk = os.pread(descriptor, wanted, offset - self._starts[index])
                if not chunk:
                    return b"".join(collected)
                collected.append(chunk)
                offset += len(chunk)
                length -= len(chunk)
        return b"".join(collected)

    def close(self) -> None:
        """Close every file."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def chunks_of(
    source: ByteSource, offset: int = 0, length: int | None = None, size: int = COPY_BYTES
) -> Iterator[bytes]:
    """Yield `length` bytes of `source` from `offset` (all that follow if None), in pieces."""
    end = source.size if length is None else min(source.size, offset + length)
    while offset < end:
        chunk = source.read_at(offset, min(size, end - offset))
        if not chunk:
            return
        yield chunk
        offset += len(chunk)
