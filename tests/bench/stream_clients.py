"""Watches many streams at once, in a process of its own so that the panel's is measured alone.

Reads a line of JSON: `port`, `requests` (pairs of a path and a cookie) and `stamp`, what stands
before the time of writing in an event. Prints a line once all are open; at the end of its input it
prints how many events came since a line was sent to it, and how long after their writing.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import sys
import time

OPENED_AT_ONCE = 20


class Stream(asyncio.Protocol):
    """One connection: counts events, and remembers when each new stamp came."""

    def __init__(self, request: bytes, stamp: re.Pattern[bytes]) -> None:
        self._request, self._stamp = request, stamp
        self._buffer = b""
        self._newest = 0.0
        self.events = 0
        self.delays: list[float] = []
        self.first: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        self._buffer += data
        whole, end, rest = self._buffer.rpartition(b"\n\n")
        if not end:
            return
        self._buffer = rest
        if not self.first.done():
            self._greet(whole)
        self.events += whole.count(b"\ndata: ")
        newest = max(map(float, self._stamp.findall(whole)), default=0.0)
        if newest > self._newest:
            self.delays.append(now - newest)
            self._newest = newest

    def connection_lost(self, exc: Exception | None) -> None:
        if self.first.done():
            sys.exit(f"a stream has ended: {self._buffer[-300:]!r} {exc}")
        self._greet(self._buffer)

    def _greet(self, answer: bytes) -> None:
        if answer.startswith(b"HTTP/1.1 200 "):
            self.first.set_result(None)
        else:
            self.first.set_exception(AssertionError(answer[:600]))

    def forget(self) -> None:
        """Count from now on."""
        self.events, self.delays = 0, []


async def _opened(order: dict[str, object]) -> tuple[list[Stream], list[float]]:
    """Open all streams, some at once, as browsers come back after a restart."""
    loop, room = asyncio.get_running_loop(), asyncio.Semaphore(OPENED_AT_ONCE)
    stamp = re.compile(f"{order['stamp']}([0-9.]+)".encode())
    took: list[float] = []

    async def open_one(path: str, cookie: str) -> Stream:
        lines = (f"GET {path} HTTP/1.1", "Host: localhost", f"Cookie: {cookie}", "", "")
        async with room:
            began = time.monotonic()
            _, stream = await loop.create_connection(
                lambda: Stream("\r\n".join(lines).encode(), stamp), "127.0.0.1", order["port"]
            )
            await stream.first
            took.append(time.monotonic() - began)
            return stream

    return list(await asyncio.gather(*(open_one(*one) for one in order["requests"]))), took


async def _main() -> None:
    loop = asyncio.get_running_loop()
    order = json.loads(sys.stdin.readline())
    streams, took = await _opened(order)
    print(json.dumps({"open_worst": max(took)}), flush=True)
    while await loop.run_in_executor(None, sys.stdin.readline):
        for stream in streams:
            stream.forget()
    delays = [delay for stream in streams for delay in stream.delays]
    print(json.dumps({"events": sum(one.events for one in streams), "delays": delays}), flush=True)


if __name__ == "__main__":
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    asyncio.run(_main())
