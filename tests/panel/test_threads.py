"""Requests run on threads that are kept, so that their database connections are."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import ThreadSensitiveContext, sync_to_async
from django.db import connections

from panel.threads import on_kept_threads

HTTP = {"type": "http"}
Serve = Callable[[Any], Awaitable[Any]]


async def inside(work: Callable[[], Any]) -> Any:
    """Run it as Django runs a view: in the thread of a context of its own."""
    async with ThreadSensitiveContext():
        return await sync_to_async(work)()


def serving(work: Callable[[], Any], keep: int = 16) -> Callable[[], Awaitable[Any]]:
    """Return what makes one request, whose view does that."""

    async def view(_scope: Any, _receive: Any, send: Any) -> None:
        send(await inside(work))

    application = on_kept_threads(view, keep=keep)

    async def request() -> Any:
        answers: list[Any] = []
        await application(HTTP, None, answers.append)
        return answers[0]

    return request


async def settled() -> None:
    """Let what threads sent to the loop arrive."""
    await asyncio.sleep(0.05)


def test_requests_one_after_the_other_share_a_thread() -> None:
    async def run() -> set[int]:
        request, seen = serving(threading.get_ident), set()
        for _ in range(20):
            seen.add(await request())
            await settled()
        return seen

    found = asyncio.run(run())
    assert len(found) == 1
    assert found != {threading.get_ident()}


def test_requests_at_once_have_threads_of_their_own() -> None:
    together = threading.Barrier(5, timeout=10)

    def meet() -> int:
        together.wait()
        return threading.get_ident()

    async def run() -> list[int]:
        request = serving(meet, keep=2)
        return list(await asyncio.gather(*(request() for _ in range(5))))

    assert len(set(asyncio.run(run()))) == 5


def test_no_more_threads_stay_than_are_to_be_kept() -> None:
    together = threading.Barrier(6, timeout=10)
    closed: set[int] = set()
    threads: set[threading.Thread] = set()

    def meet() -> None:
        threads.add(threading.current_thread())
        connection = connections["default"]
        connection.close = lambda: closed.add(threading.get_ident())  # type: ignore[method-assign]
        together.wait()

    async def run() -> None:
        request = serving(meet, keep=2)
        await asyncio.gather(*(request() for _ in range(6)))
        for _ in range(200):
            if sum(thread.is_alive() for thread in threads) == 2:
                break
            await settled()
        gone = {thread.ident for thread in threads if not thread.is_alive()}
        # Those that went closed what they had opened.
        assert (len(gone), gone) == (4, closed)

    asyncio.run(run())


def test_thread_is_not_given_to_another_request_while_it_works() -> None:
    begun, go_on = threading.Event(), threading.Event()

    hanging: list[int] = []

    def hang() -> int:
        if not begun.is_set():
            hanging.append(threading.get_ident())
            begun.set()
            go_on.wait(10)
        return threading.get_ident()

    async def run() -> list[int]:
        request = serving(hang)
        first = asyncio.ensure_future(request())
        await asyncio.to_thread(begun.wait, 10)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await settled()
        # They come at once, from another thread.
        others = [await asyncio.wait_for(request(), 5) for _ in range(2)]
        go_on.set()
        return others

    assert set(hanging).isdisjoint(asyncio.run(run()))


def test_other_scopes_pass_as_they_are() -> None:
    seen: list[Any] = []

    async def application(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope)

    asyncio.run(on_kept_threads(application)({"type": "lifespan"}, None, None))
    assert seen == [{"type": "lifespan"}]
