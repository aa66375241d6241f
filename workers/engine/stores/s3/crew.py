"""The threads that talk to the service, so that the thread of the work never blocks on it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent import futures
from types import TracebackType
from typing import Any, Self, TypeVar

from workers.engine.progress import Reporter
from workers.engine.stores.s3.parts import PartBody

Answer = TypeVar("Answer")
POLL_SECONDS = 0.25


class Crew:
    """A few threads. Only the thread that made the crew calls its methods, and the reporter's.

    However long a request hangs, the reporter is asked to check four times a second. When the
    block ends, by an error or an interruption too, what is being sent is cancelled, and no thread
    is waited for.
    """

    def __init__(self, threads: int, reporter: Reporter) -> None:
        self.cancelled = threading.Event()
        self._threads = threads
        self._reporter = reporter
        # One more than sends parts: a call never waits for a part that hangs.
        self._pool = futures.ThreadPoolExecutor(threads + 1, thread_name_prefix="store")
        self._sending: dict[futures.Future[None], PartBody] = {}
        self._called: futures.Future[Any] | None = None
        self._finished_bytes = 0
        self._reported_bytes = 0

    def call(self, request: Callable[..., Answer], *arguments: object) -> Answer:
        """Make one request and return its answer."""
        self._called = future = self._pool.submit(request, *arguments)
        while not futures.wait([future], timeout=POLL_SECONDS).done:
            self._report()
        return future.result()

    def send(self, request: Callable[[], None], body: PartBody) -> None:
        """Send a part once a thread is free; raises what an earlier one failed with."""
        while len(self._sending) >= self._threads:
            self._collect()
        self._sending[self._pool.submit(request)] = body

    def finish_sending(self) -> None:
        """Wait for all parts; raises what one of them failed with."""
        while self._sending:
            self._collect()
        self._report()

    def count(self, length: int) -> None:
        """Report bytes that need not be sent."""
        self._finished_bytes += length
        self._report()

    def pause(self, seconds: float) -> None:
        """Wait, and notice meanwhile when the attempt must end."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._report()
            time.sleep(min(left, POLL_SECONDS))

    def begin_again(self) -> None:
        """Cancel and forget what was sent; progress goes on once it has come as far as before."""
        self.cancelled.set()
        self.cancelled = threading.Event()
        self._sending.clear()
        self._finished_bytes = 0

    def let_go(self, seconds: float) -> None:
        """Cancel what is being sent, and wait up to `seconds` until the threads have noticed."""
        self.cancelled.set()
        called = [self._called] if self._called else []
        futures.wait([*self._sending, *called], timeout=seconds)

    def _collect(self) -> None:
        waited = futures.wait(
            list(self._sending), timeout=POLL_SECONDS, return_when=futures.FIRST_COMPLETED
        )
        for future in waited.done:
            body = self._sending.pop(future)
            future.result()
            self._finished_bytes += len(body)
        self._report()

    def _report(self) -> None:
        done = self._finished_bytes + sum(body.sent for body in self._sending.values())
        if done > self._reported_bytes:
            progress = done - self._reported_bytes
            self._reported_bytes = done
            self._reporter.advance(progress)
        else:
            self._reporter.check()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancelled.set()
        self._pool.shutdown(wait=False, cancel_futures=True)
