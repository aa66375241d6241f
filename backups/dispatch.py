"""The only door to the queue: messages are sent by task name, and never waited for by a request.

Publishing to a Redis that hangs blocks for tens of seconds, so what a request wants sent is sent
from a thread of its own after the commit; what does not get through, the coordinator sends.
"""

from __future__ import annotations

import atexit
import contextvars
import logging
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from typing import Any

import redis
from celery import chain, current_app
from celery.result import AsyncResult
from django.conf import settings
from django.db import connection
from kombu.exceptions import OperationalError

from backups.errors import BrokerUnavailableError
from backups.models import Job, Node
from backups.registry import STAGES, query_task_name
from backups.states import StageState

logger = logging.getLogger(__name__)

PUBLISH_SECONDS = 5.0
# While Redis hangs, each publishing thread waits for tens of seconds: what finds none free is left
# to the coordinator, which sends it a second later.
_free_threads = threading.BoundedSemaphore(8)
_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_publisher = ThreadPoolExecutor(max_workers=4, thread_name_prefix="publish")


def publish_chain(job: Job) -> bool:
    """Send the chain of the stages that remain; False if the broker did not take it.

    The task ids are those of the Stage rows, so that a reset can name every one of them.
    """
    remaining = job.stages.exclude(state=StageState.COMPLETED).order_by("position")
    signatures = [
        current_app.signature(
            STAGES[stage.name].task_name,
            args=(str(job.pk), job.epoch),
            immutable=True,
            task_id=str(stage.task_id),
            queue=job.node.queue,
        )
        for stage in remaining
    ]
    try:
        chain(*signatures).apply_async()
    except OperationalError as error:
        logger.warning("job %s is not sent yet, the broker is away: %s", job.pk, error)
        return False
    return True


def in_background(work: Callable[[], object]) -> None:
    """Run `work` in a thread of its own, if there is one to spare; what it raises is logged.

    For work that the coordinator does as well: nothing depends on it but speed.
    """
    if not _free_threads.acquire(blocking=False):
        return

    def run() -> None:
        try:
            work()
        except Exception:
            # The coordinator does the same work again within seconds.
            logger.exception("background dispatch failed")
        finally:
            connection.close()
            _free_threads.release()

    # What it logs belongs to the request that wanted it.
    context = contextvars.copy_context()
    thread = threading.Thread(target=partial(context.run, run), name="dispatch", daemon=True)
    _threads.add(thread)
    thread.start()


def finish_background() -> None:
    """Let what goes out in the background get through before this process ends, within a bound.

    A job that was given out but not sent would wait for its claim deadline.
    """
    deadline = time.monotonic() + PUBLISH_SECONDS
    for thread in list(_threads):
        thread.join(max(0.0, deadline - time.monotonic()))


# For commands, which end as soon as they have said what they did.
atexit.register(finish_background)


def revoke_soon(task_ids: Sequence[str], workers: Sequence[str]) -> None:
    """Tell a node's workers to skip these tasks, without waiting for it; nothing depends on it.

    To those workers only: a broadcast makes every worker of the cluster look at every id. A
    running task is never terminated this way (it may be another one's by the time it arrives).
    """
    if task_ids and workers:
        in_background(
            partial(current_app.control.revoke, list(task_ids), destination=list(workers))
        )


def broker_answers(*, seconds: float) -> bool:
    """Return whether Redis answers a ping in time."""
    # Celery's word for a Redis behind a socket is another one than its client's.
    url = settings.CELERY_BROKER_URL.replace("redis+socket://", "unix://", 1)
    options = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    try:
        with redis.Redis.from_url(url, **options, **settings.CELERY_BROKER_USE_SSL) as client:
            return bool(client.ping())
    except (redis.RedisError, OSError, ValueError):
        return False


def ask_node(node: Node, query: str, arguments: dict[str, Any]) -> str:
    """Ask a node's worker a question and return the task's id, for `answer_of`.

    Raises `BrokerUnavailableError` when the broker does not take the message in time.
    """
    task_id = str(uuid.uuid4())
    signature = current_app.signature(query_task_name(query), kwargs=arguments)
    sent: Future[Any] = _publisher.submit(
        # An answer that nobody can wait for any more is not worth the node's time.
        signature.apply_async,
        task_id=task_id,
        queue=node.queue,
        expires=600,
    )
    try:
        sent.result(timeout=PUBLISH_SECONDS)
    except (OperationalError, FutureTimeoutError) as error:
        # What still waits for a thread must not be done after all, once Redis answers again.
        sent.cancel()
        raise BrokerUnavailableError(
            f"{node} cannot be asked now: the message broker is not reachable."
        ) from error
    return task_id


def answer_of(task_id: str) -> AsyncResult[Any]:
    """Return the answer to an earlier `ask_node`, come or still to come."""
    return current_app.AsyncResult(task_id)


def forget_old_answers() -> int:
    """Remove answers that nobody asks for any more; Celery leaves that to a beat that we lack."""
    current_app.backend.cleanup()
    return 0
