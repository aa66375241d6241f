"""How the panel is: /health for load balancers and people, /health/live for the process alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from datetime import UTC, datetime
from typing import Any

from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponseBase, JsonResponse

from backups import dispatch
from backups.models import Storage
from backups.queries import nodes_with_live_workers
from backups.queries.metrics import coordinator_leads, jobs_without_worker
from panel.errors import read_only

PART_SECONDS = 3.0
BROKER_SECONDS = 1.0

Part = dict[str, Any]

# One check of each part at a time: whoever asks while one still runs waits for its result. So a
# part that hangs keeps one thread, however often this public page is asked for.
_pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="health")
_running: dict[str, Future[Part]] = {}
_lock = threading.Lock()


@read_only
def health(request: HttpRequest) -> HttpResponseBase:
    """Return how each part is; 503 when the panel itself cannot work.

    Without broker, workers or coordinator it can: what is started is recorded, and runs when they
    are back. Takes no longer than one part may, however many of them hang.
    """
    began = time.monotonic()
    asked = {name: _asked(name) for name in CHECKS}
    parts = {name: _outcome(future, began) for name, future in asked.items()}
    failed = {name for name, part in parts.items() if part["status"] != "ok"}
    status = "unhealthy" if failed & NEEDED else "degraded" if failed else "healthy"
    body = {"status": status, "timestamp": _timestamp(), **parts}
    return JsonResponse(body, status=503 if failed & NEEDED else 200)


@read_only
def live(request: HttpRequest) -> HttpResponseBase:
    """Return 200: the process answers."""
    return JsonResponse({"status": "alive"})


def _timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _asked(name: str) -> Future[Part]:
    """Return the running check of a part, begun now if none runs."""
    with _lock:
        running = _running.get(name)
        if running is None or running.done():
            running = _running[name] = _pool.submit(_run, CHECKS[name])
        return running


def _run(check: Callable[[], Part]) -> Part:
    began = time.monotonic()
    try:
        part = check()
    except (DatabaseError, InterfaceError):
        part = _failed("The database does not answer as it should.")
    finally:
        connection.close()
    return {**part, "duration_ms": _milliseconds_since(began)}


def _outcome(future: Future[Part], began: float) -> Part:
    try:
        return future.result(timeout=max(0.0, began + PART_SECONDS - time.monotonic()))
    except FutureTimeoutError:
        late = _failed(f"No answer within {PART_SECONDS:g} s.")
        return {**late, "duration_ms": _milliseconds_since(began)}


def _milliseconds_since(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 1)


def _database() -> Part:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return {"status": "ok"}


def _schema() -> Part:
    executor = MigrationExecutor(connection)
    missing = len(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    if missing:
        return _failed(f"{missing} migrations are missing: manage.py migrate")
    return {"status": "ok"}


def _broker() -> Part:
    if not dispatch.broker_answers(seconds=BROKER_SECONDS):
        return _failed("The broker does not answer; what is started now runs when it is back.")
    return {"status": "ok"}


def _workers() -> Part:
    online, waiting = nodes_with_live_workers().count(), jobs_without_worker()
    numbers = {"nodes_online": online, "jobs_waiting": waiting}
    if not online:
        return {**_failed("No node has a running worker."), **numbers}
    if waiting:
        return {**_failed("Jobs wait on nodes that have no running worker."), **numbers}
    return {"status": "ok", **numbers}


def _coordinator() -> Part:
    if not coordinator_leads():
        return _failed("No coordinator leads; what is started now runs when one does.")
    return {"status": "ok"}


def _storage() -> Part:
    storages = Storage.objects.defer("secrets")
    count, failing = storages.count(), storages.exclude(test_error="").count()
    numbers = {"providers": count, "failing": failing}
    if not count:
        return {**_failed("There is no storage yet."), **numbers}
    if failing:
        return {**_failed("The newest test of a storage failed."), **numbers}
    return {"status": "ok", **numbers}


def _failed(detail: str) -> Part:
    return {"status": "failed", "detail": detail}


CHECKS: dict[str, Callable[[], Part]] = {
    "database": _database,
    "schema": _schema,
    "broker": _broker,
    "workers": _workers,
    "coordinator": _coordinator,
    "storage": _storage,
}
NEEDED = frozenset({"database", "schema"})
