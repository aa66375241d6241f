"""Feeds a database's client with the text of a dump."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from workers.engine.errors import EngineError
from workers.engine.process import CHECK_SECONDS, Process, spawn


def feed(
    argv: Sequence[str],
    pieces: Iterable[bytes],
    *,
    environment: Mapping[str, str],
    secrets: Sequence[str],
    check: Callable[[], None],
) -> None:
    """Run a client with `pieces` as its standard input, to its end.

    What `pieces` raises ends the client before it has seen the end of its input. Raises
    `ProcessFailed` where the client fails, which it may do at any piece.
    """
    with contextlib.ExitStack() as stack:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        close_reading = stack.enter_context(contextlib.ExitStack())
        close_reading.callback(os.close, reading)
        close_writing = stack.enter_context(contextlib.ExitStack())
        close_writing.callback(os.close, writing)
        os.set_blocking(writing, False)
        with spawn(
            argv, environment=environment, secrets=secrets, check=check, stdin=reading
        ) as process:
            close_reading.close()
            try:
                for piece in pieces:
                    _write(writing, piece, process, check)
            except BrokenPipeError as error:
                process.finish()  # the client gave up, and says why
                raise EngineError(
                    f"{process.program} ended before it had read the whole dump"
                ) from error
            except BaseException:
                process.terminate(0)
                raise
            close_writing.close()
            process.finish()


def _write(writing: int, piece: bytes, process: Process, check: Callable[[], None]) -> None:
    left = memoryview(piece)
    poller = select.poll()
    poller.register(writing, select.POLLOUT)
    while left:
        if poller.poll(CHECK_SECONDS * 1000):
            with contextlib.suppress(BlockingIOError):
                left = left[os.write(writing, left) :]
        else:
            process.drain()
            check()


def joined(pieces: Iterable[bytes], least: int = 1 << 16) -> Iterator[bytes]:
    """Yield `pieces` in larger ones: a write for each small one would cost more than its bytes."""
    held: list[bytes] = []
    size = 0
    for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size >= least:
            yield b"".join(held)
            held, size = [], 0
    if held:
        yield b"".join(held)
