"""The page of memory that the agent and its Celery worker share."""

from __future__ import annotations

import mmap

_WANTED, _SIZE, _TICKS = range(3)


class Board:
    """Three numbers. Made before the fork; each has one writer, so none needs a lock.

    `wanted` is the number of pool processes that the agent asks for. Celery writes `size`, the
    number that it has, and counts its event loop's `ticks`, which shows that the loop goes round.
    """

    def __init__(self, wanted: int) -> None:
        self._numbers = memoryview(mmap.mmap(-1, mmap.PAGESIZE)).cast("q")
        self.wanted = self.size = wanted

    @property
    def wanted(self) -> int:
        """How many pool processes the agent asks for."""
        return self._numbers[_WANTED]

    @wanted.setter
    def wanted(self, number: int) -> None:
        self._numbers[_WANTED] = number

    @property
    def size(self) -> int:
        """How many there are."""
        return self._numbers[_SIZE]

    @size.setter
    def size(self, number: int) -> None:
        self._numbers[_SIZE] = number

    @property
    def ticks(self) -> int:
        """How often Celery's event loop went round."""
        return self._numbers[_TICKS]

    def tick(self) -> None:
        """Show that the event loop went round."""
        self._numbers[_TICKS] += 1
