"""Answers requests on threads that are kept, and with them their database connections.

Django opens a connection per thread, and under ASGI each request would get a thread of its own:
what `CONN_MAX_AGE` keeps open would never be used again, and stay until Python tidied up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from asgiref.sync import ThreadSensitiveContext
from django.db import connections

from panel.limits import Application

# So many connections a panel process holds while it has nothing to do. Requests never wait for a
# thread: what comes beyond gets one of its own, which goes with it.
KEPT_THREADS = 16


def on_kept_threads(application: Application, *, keep: int = KEPT_THREADS) -> Application:
    """Return the application with each request's synchronous code on one of the kept threads.

    The thread that was last used is taken first, so that a quiet panel needs few connections.
    """
    idle: list[ThreadPoolExecutor] = []

    def give_back(thread: ThreadPoolExecutor) -> None:
        if len(idle) < keep:
            idle.append(thread)
        else:
            thread.submit(connections.close_all)
            thread.shutdown(wait=False)

    async def served(scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        thread = idle.pop() if idle else ThreadPoolExecutor(1, thread_name_prefix="request")
        try:
            async with ThreadSensitiveContext(executor=thread):
                await application(scope, receive, send)
        finally:
            # A client that went away may have left something running on it: that ends first.
            thread.submit(_nothing).add_done_callback(partial(_tell, loop, give_back, thread))

    return served


def _nothing() -> None:
    pass


def _tell(
    loop: asyncio.AbstractEventLoop,
    what: Callable[[ThreadPoolExecutor], None],
    thread: ThreadPoolExecutor,
    _: Future[None],
) -> None:
    # A loop that has ended needs no threads.
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(what, thread)
