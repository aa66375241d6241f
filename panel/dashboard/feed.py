"""One look at the database for all who watch, however many they are.

A feed belongs to the event loop of its process. Whoever watches something gets a seat; while there
is any, one thread asks for all that is watched together and wakes only those whose status has
changed, and another one asks, more rarely, which of the viewers may still watch.
"""

from __future__ import annotations

import asyncio
import logging
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import DatabaseError, InterfaceError, close_old_connections

from backups.queries.watched import Watched
from panel.dashboard.rights import CHECK_SECONDS, Viewer, still_allowed
from panel.dashboard.snapshots import Snapshot, take_snapshots

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

POLL_SECONDS = 0.5

# The database is asked here alone, so that a slow one holds up no request and no event loop.
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="feed")


@dataclass(slots=True)
class Channel:
    """What is known of what is watched; None once it is gone. `changed` is set at the next news."""

    snapshot: Snapshot | None
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    viewers: int = 0

    def publish(self, snapshot: Snapshot | None) -> None:
        """Take what the database says now, and wake the viewers if it is something new."""
        before, self.snapshot = self.snapshot, snapshot
        if before is None or snapshot is None or before.event_id != snapshot.event_id:
            self.wake()

    def wake(self) -> None:
        """Let all viewers look again."""
        self.changed.set()
        self.changed = asyncio.Event()


@dataclass(slots=True, eq=False)
class Seat:
    """The place of one stream. `is_lost` is set, and the stream woken, when its right is gone."""

    viewer: Viewer
    channel: Channel
    is_lost: bool = False


class Feed:
    """The channels of one event loop, and who sits there."""

    def __init__(self) -> None:
        self._channels: dict[Watched, Channel] = {}
        self._seats: set[Seat] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @asynccontextmanager
    async def watch(
        self, key: Watched, viewer: Viewer, now: Snapshot | None
    ) -> AsyncIterator[Seat]:
        """Yield a seat; `now` is what was known of `key` a moment ago."""
        channel = self._channels.setdefault(key, Channel(now))
        seat = Seat(viewer, channel)
        channel.viewers += 1
        self._seats.add(seat)
        self._keep_asking("look", POLL_SECONDS, self._look)
        self._keep_asking("check", CHECK_SECONDS, self._check)
        try:
            yield seat
        finally:
            self._seats.discard(seat)
            channel.viewers -= 1
            if not channel.viewers and self._channels.get(key) is channel:
                del self._channels[key]

    def _keep_asking(self, name: str, seconds: float, look: Callable[[], Awaitable[None]]) -> None:
        # Each by itself: when the last viewer has left, the frequent one ends long before.
        if name not in self._tasks or self._tasks[name].done():
            self._tasks[name] = asyncio.create_task(self._repeat(seconds, look))

    async def _repeat(self, seconds: float, look: Callable[[], Awaitable[None]]) -> None:
        took = 0.0
        while self._seats:
            # At regular times; a database that is slow has a rest as long as its work.
            await asyncio.sleep(max(seconds - took, took))
            began = time.monotonic()
            try:
                await look()
            except (DatabaseError, InterfaceError) as error:
                # Who watches goes on seeing the last that was known.
                logger.warning("streams cannot be brought up to date: %s", type(error).__name__)
            took = time.monotonic() - began

    async def _look(self) -> None:
        channels = dict(self._channels)
        snapshots = await in_thread(take_snapshots, list(channels))
        for key, channel in channels.items():
            channel.publish(snapshots.get(key))

    async def _check(self) -> None:
        seats = list(self._seats)
        allowed = await in_thread(still_allowed, {seat.viewer for seat in seats})
        for seat in seats:
            if seat.viewer not in allowed:
                seat.is_lost = True
                seat.channel.wake()


_feeds: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Feed] = weakref.WeakKeyDictionary()


def feed() -> Feed:
    """Return the feed of the running event loop."""
    return _feeds.setdefault(asyncio.get_running_loop(), Feed())


async def in_thread(work: Callable[..., Result], *arguments: Any) -> Result:  # noqa: ANN401
    """Run what asks the database in one of the feed's own threads."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _run, work, *arguments)


def _run(work: Callable[..., Result], *arguments: Any) -> Result:  # noqa: ANN401
    close_old_connections()
    try:
        return work(*arguments)
    finally:
        close_old_connections()
