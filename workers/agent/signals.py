"""Signals of the agent: how they end a start, and how they are waited for afterwards."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Let what runs end, within the grace period. SIGHUP is a terminal that was closed.
GENTLE = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
# Hand over at once what runs.
URGENT = frozenset({signal.SIGQUIT})


@contextmanager
def ending_the_start() -> Iterator[None]:
    """Let a signal within the block end the program well: nothing has begun yet.

    As a container's first process the worker would not even hear of SIGTERM without a handler.
    """
    before = {number: signal.signal(number, _leave) for number in GENTLE | URGENT}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


class SignalPipe:
    """Signals as something to wait for beside other descriptors."""

    def __init__(self) -> None:
        self._reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in GENTLE | URGENT:
            signal.signal(number, lambda number, frame: None)

    def wait(self, seconds: float, *descriptors: int) -> list[signal.Signals]:
        """Return the signals that came, once there is one or one of `descriptors` is readable."""
        select.select([self._reading, *descriptors], [], [], seconds)
        try:
            return [signal.Signals(number) for number in os.read(self._reading, 256)]
        except BlockingIOError:
            return []
