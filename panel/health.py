"""How the panel is: /health for load balancers and people, /health/live for the process alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponseBase, JsonResponse

from backups import dispatch
from backups.models import Storage
from backups.queries import nodes_with_live_workers
from panel.errors import read_only

PART_SECONDS = 3.0
BROKER_SECONDS = 1.0

# A part that hangs keeps its thread: later requests then find it failed instead of piling up.
_pool = ThreadPoolExecutor(max_workers=10, thread_name_prefix="health")

Part = dict[str, Any]


@read_only
def health(request: HttpRequest) -> HttpResponseBase:
    """Return how each part is; 503 when the panel itself cannot work.

    Without broker or workers it can: what is started is recorded, and runs when they are back.
    """
    asked = {name: _pool.submit(_run, check) for name, check in CHECKS.items()}
    parts = {name: _outcome(future) for name, future in asked.items()}
    failed = {name for name, part in parts.items() if part["status"] != "ok"}
    status = "unhealthy" if failed & NEEDED else "degraded" if failed else "healthy"
    return JsonResponse({"status": status, **parts}, status=503 if failed & NEEDED else 200)


@read_only
def live(request: HttpRequest) -> HttpResponseBase:
    """Return 200: the process answers."""
    return JsonResponse({"status": "alive"})


def _run(check: Callable[[], Part]) -> Part:
    try:
        return check()
    except (DatabaseError, InterfaceError):
        return _failed("The database does not answer as it should.")
    finally:
        connection.close()


def _outcome(future: Any) -> Part:  # noqa: ANN401
    try:
        part: Part = future.result(timeout=PART_SECONDS)
    except FutureTimeoutError:
        future.cancel()
        return _failed(f"No answer within {PART_SECONDS:g} s.")
    return part


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
    online = nodes_with_live_workers().count()
    if not online:
        return {**_failed("No node has a running worker."), "nodes_online": 0}
    return {"status": "ok", "nodes_online": online}


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
    "storage": _storage,
}
NEEDED = frozenset({"database", "schema"})
