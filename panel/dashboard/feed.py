"""One look at the database a second for all who watch, however many they are.

A feed belongs to the event loop of its process. Whoever watches a site or a job gets a channel;
while there is any, one thread asks for all of them together and wakes only those whose status has
changed.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import weakref
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django.db import DatabaseError, InterfaceError, close_old_connections
from rest_framework.utils.encoders import JSONEncoder

from backups.api.serializers.jobs import StatusBody
from backups.queries.watched import Watched, watched_statuses

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

POLL_SECONDS = 1.0
# It changes as time goes by, which is no news.
_NO_NEWS = frozenset({"eta_seconds"})
_ENDED = frozenset({"completed", "failed", "stopped"})

# The database is asked here alone, so that a slow one holds up no request and no event loop.
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="feed")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A status object as it goes out, the id of what it says, and whether anything can follow."""

    event_id: str
    data: str
    is_last: bool


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
            self.changed.set()
            self.changed = asyncio.Event()


class Feed:
    """The channels of one event loop."""

    def __init__(self) -> None:
        self._channels: dict[Watched, Channel] = {}
        self._task: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def watch(self, key: Watched) -> AsyncIterator[Channel]:
        """Yield the channel of what is watched, with what is known of it by now."""
        channel = self._channels.get(key)
        if channel is None:
            snapshots = await in_thread(take_snapshots, [key])
            # Somebody else may have come meanwhile.
            channel = self._channels.setdefault(key, Channel(snapshots.get(key)))
        channel.viewers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            yield channel
        finally:
            channel.viewers -= 1
            if not channel.viewers and self._channels.get(key) is channel:
                del self._channels[key]

    async def _run(self) -> None:
        while self._channels:
            await asyncio.sleep(POLL_SECONDS)
            await self._look()

    async def _look(self) -> None:
        channels = dict(self._channels)
        try:
            snapshots = await in_thread(take_snapshots, list(channels))
        except (DatabaseError, InterfaceError) as error:
            # Who watches goes on seeing the last that was known.
            logger.warning("streams cannot be brought up to date: %s", type(error).__name__)
            return
        for key, channel in channels.items():
            channel.publish(snapshots.get(key))


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


def take_snapshots(keys: Collection[Watched]) -> dict[Watched, Snapshot]:
    """Return what each key shows now; what does not exist is left out."""
    return {key: _snapshot(status) for key, status in watched_statuses(keys).items()}


def _snapshot(shown: dict[str, Any]) -> Snapshot:
    if "jobs" in shown:
        # A list of jobs has no end: others begin.
        bodies = [dict(StatusBody(status).data) for status in shown["jobs"]]
        news: Any = [shown["total"], [_news(body) for body in bodies]]
        return Snapshot(_digest(news), _json({**shown, "jobs": bodies}), is_last=False)
    body = dict(StatusBody(shown).data)
    return Snapshot(_digest(_news(body)), _json(body), shown["status"] in _ENDED)


def _news(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name not in _NO_NEWS}


def _digest(news: Any) -> str:  # noqa: ANN401
    return hashlib.sha256(_json(news).encode()).hexdigest()[:24]


def _json(value: Any) -> str:  # noqa: ANN401
    return json.dumps(value, cls=JSONEncoder, ensure_ascii=False, separators=(",", ":"))
