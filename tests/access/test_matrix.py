"""Who gets what: every route of the schema, for everybody who may come.

A route without a row here fails a test. The columns are those of `SUBJECTS`; strangers (nobody, a
token that is none, an expired one, one of somebody deactivated) get 401 wherever `PUBLIC` does not
say otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import transaction
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from tests.access.conftest import STRANGERS, SUBJECTS, World

#                                                       super node+ node- site+ site-
TABLE = """
GET    /api/{user_id}/tasks                             200   403   403   200   403
POST   /api/{user_id}/tasks                             201   403   403   201   403
GET    /api/{user_id}/tasks/{task_id}                   200   403   403   200   403
PUT    /api/{user_id}/tasks/{task_id}                   200   403   403   200   403
DELETE /api/{user_id}/tasks/{task_id}                   204   403   403   204   403
PATCH  /api/{user_id}/tasks/{task_id}/complete          200   403   403   200   403
GET    /api/{user_id}/tasks/stats                       200   403   403   200   403
POST   /api/auth/logout                                 200   200   200   200   200
GET    /api/auth/me                                     200   200   200   200   200
POST   /api/auth/stream-ticket                          200   200   200   200   200
POST   /api/v1/auth/logout                              200   200   200   200   200
GET    /api/v1/auth/me                                  200   200   200   200   200
POST   /api/v1/auth/stream-ticket                       200   200   200   200   200
GET    /api/v1/activity-logs/                           200   200   200   200   200
GET    /api/v1/activity-logs/me                         200   200   200   200   200
GET    /api/v1/backups/{backup_id}                      200   200   403   200   403
DELETE /api/v1/backups/{backup_id}                      200   200   403   403   403
GET    /api/v1/backups/{backup_id}/contents             503   503   403   503   403
GET    /api/v1/backups/{backup_id}/tables               503   503   403   503   403
GET    /api/v1/backups/{backup_id}/file                 409   409   403   409   403
GET    /api/v1/backups/{backup_id}/proofs               200   200   403   200   403
POST   /api/v1/backups/{backup_id}/verify               202   202   403   202   403
GET    /api/v1/backups/{backup_id}/download             200   200   403   200   403
POST   /api/v1/backups/{backup_id}/pin                  200   200   403   200   403
DELETE /api/v1/backups/{backup_id}/pin                  200   200   403   200   403
POST   /api/v1/backups/{backup_id}/trust                200   200   403   403   403
GET    /api/v1/daemon/answers/{link}                    404   404   404   404   404
POST   /api/v1/daemon/backup/reset/{site_id}            200   200   403   403   403
GET    /api/v1/daemon/backup/status/{site_id}           200   200   403   200   403
GET    /api/v1/daemon/backup/stream/{site_id}           200   200   403   200   403
GET    /api/v1/daemon/scan                              503   503   403   403   403
GET    /api/v1/jobs                                     200   200   200   200   200
GET    /api/v1/jobs/{job_id}                            200   200   403   200   403
DELETE /api/v1/jobs/{job_id}                            409   409   403   409   403
POST   /api/v1/jobs/{job_id}/retry                      202   202   403   202   403
POST   /api/v1/jobs/{job_id}/confirm                    409   409   403   409   403
POST   /api/v1/jobs/{job_id}/undo                       409   409   403   409   403
GET    /api/v1/nodes/                                   200   200   200   200   200
GET    /api/v1/nodes/{node_id}                          200   200   403   403   403
PATCH  /api/v1/nodes/{node_id}                          200   200   403   403   403
POST   /api/v1/nodes/{node_id}/drain                    202   202   403   403   403
POST   /api/v1/nodes/{node_id}/resume                   202   202   403   403   403
POST   /api/v1/nodes/{node_id}/scale                    202   202   403   403   403
POST   /api/v1/nodes/{node_id}/schedule/pause           200   200   403   403   403
POST   /api/v1/nodes/{node_id}/schedule/resume          200   200   403   403   403
POST   /api/v1/nodes/{node_id}/token                    409   403   403   403   403
GET    /api/v1/nodes/{node_id}/upcoming                 200   200   403   403   403
GET    /api/v1/nodes/self                               401   401   401   401   401
GET    /api/v1/sites/                                   200   200   200   200   200
POST   /api/v1/sites/                                   201   201   403   403   403
GET    /api/v1/sites/{site_id}                          200   200   403   200   403
PUT    /api/v1/sites/{site_id}                          200   200   403   403   403
PATCH  /api/v1/sites/{site_id}                          200   200   403   200   403
DELETE /api/v1/sites/{site_id}                          409   409   403   403   403
GET    /api/v1/sites/{site_id}/backup/logs              200   200   403   200   403
POST   /api/v1/sites/{site_id}/backup/start             202   202   403   202   403
GET    /api/v1/sites/{site_id}/backup/status            200   200   403   200   403
POST   /api/v1/sites/{site_id}/backup/stop              409   409   403   409   403
GET    /api/v1/sites/{site_id}/backups                  200   200   403   200   403
PUT    /api/v1/sites/{site_id}/quota                    200   200   403   403   403
GET    /api/v1/sites/{site_id}/quota/check              200   200   403   200   403
GET    /api/v1/sites/{site_id}/quota/status             200   200   403   200   403
POST   /api/v1/sites/{site_id}/restore                  202   202   403   202   403
GET    /api/v1/sites/{site_id}/retention                200   200   403   200   403
PUT    /api/v1/sites/{site_id}/retention                200   200   403   200   403
GET    /api/v1/sites/{site_id}/schedule                 200   200   403   200   403
PUT    /api/v1/sites/{site_id}/schedule                 200   200   403   200   403
POST   /api/v1/sites/{site_id}/schedule/pause           200   200   403   200   403
POST   /api/v1/sites/{site_id}/schedule/resume          200   200   403   200   403
POST   /api/v1/sites/manual                             503   503   403   403   403
GET    /api/v1/storage/providers                        200   200   200   200   200
POST   /api/v1/storage/providers                        201   403   403   403   403
GET    /api/v1/storage/providers/{storage_id}           200   403   403   403   403
PUT    /api/v1/storage/providers/{storage_id}           200   403   403   403   403
PATCH  /api/v1/storage/providers/{storage_id}           200   403   403   403   403
DELETE /api/v1/storage/providers/{storage_id}           409   403   403   403   403
POST   /api/v1/storage/providers/{storage_id}/test      503   403   403   403   403
GET    /api/v1/storage/summary                          200   200   200   200   200
GET    /api/v1/users/                                   200   200   200   200   200
POST   /api/v1/users/                                   201   403   403   403   403
GET    /api/v1/users/{user_id}                          200   200   403   200   403
PATCH  /api/v1/users/{user_id}                          200   403   403   200   403
DELETE /api/v1/users/{user_id}                          204   403   403   403   403
GET    /api/v1/users/{user_id}/nodes                    200   200   403   200   403
POST   /api/v1/users/{user_id}/nodes                    200   403   403   403   403
PUT    /api/v1/users/{user_id}/nodes                    200   403   403   403   403
DELETE /api/v1/users/{user_id}/nodes                    200   403   403   403   403
GET    /api/v1/users/{user_id}/sites                    200   200   403   200   403
POST   /api/v1/users/{user_id}/sites                    200   403   403   403   403
PUT    /api/v1/users/{user_id}/sites                    200   403   403   403   403
DELETE /api/v1/users/{user_id}/sites                    200   403   403   403   403
GET    /api/v1/users/me                                 200   200   200   200   200
GET    /metrics                                         200   403   403   403   403
"""
# For everybody alike: what is sent is the credential, or none is needed.
PUBLIC = {
    "POST /api/auth/login": 401,
    "POST /api/auth/refresh": 401,
    "POST /api/auth/register": 201,
    "POST /api/v1/auth/login": 401,
    "POST /api/v1/auth/refresh": 401,
    "POST /api/v1/auth/register": 201,
    "POST /api/v1/nodes/join": 401,
    "GET /api/v1/daemon/health": 200,
}
# Outside the schema. A token is nothing in the admin, where only a session counts.
PLAIN = {
    "GET /": 200,
    "GET /health": 200,
    "GET /health/live": 200,
    "GET /docs": 200,
    "GET /api/schema/": 200,
    "GET /api/v1/downloads/x": 404,
    "POST /admin/backup-maintenance/trigger": 401,
    "GET /admin/backup-maintenance/backup-progress/{job_id}": 401,
    "GET /admin/backup-maintenance/backup-progress-sse/{job_id}": 401,
    "GET /admin/backup-maintenance/running": 401,
    "GET /admin/backup-maintenance/running-sse": 401,
}
QUERIES = {
    "GET /api/v1/daemon/scan": "?node_id={node_id}",
    "PUT /api/v1/sites/{site_id}/quota": "?quota_gb=5",
    "GET /api/v1/backups/{backup_id}/file": "?path=wp-config.php",
}
WRONG_SIGN_IN = {"email": "super@example.com", "password": "wrong"}
SIGN_UP = {"email": "new@example.com", "password": "a-fine-password-7"}


def body_of(route: str, world: World) -> Any:
    """Return what a client would send there."""
    ids = world.rows
    root = ids["root"]
    site = {"name": "new.example", "node_id": ids["node_id"], "wp_path": f"{root}/new"}
    storage = {"name": "another", "type": "local", "config": {"path": "/srv/another"}}
    bodies: dict[str, Any] = {
        "POST /api/{user_id}/tasks": {"title": "look"},
        "PUT /api/{user_id}/tasks/{task_id}": {"title": "look again"},
        "PATCH /api/v1/nodes/{node_id}": {"label": "Web"},
        "POST /api/v1/nodes/{node_id}/scale": {"concurrency": 3},
        "POST /api/v1/nodes/join": {"token": "none", "hostname": "h"},
        "POST /api/v1/sites/": site,
        "PUT /api/v1/sites/{site_id}": site,
        "PATCH /api/v1/sites/{site_id}": {"name": "renamed.example"},
        "POST /api/v1/sites/{site_id}/restore": {"backup_id": ids["backup_id"]},
        "PUT /api/v1/sites/{site_id}/schedule": {"schedule_frequency": "daily"},
        "POST /api/v1/sites/manual": {"path": f"{root}/new", "node_id": ids["node_id"]},
        "POST /api/v1/storage/providers": storage,
        "PUT /api/v1/storage/providers/{storage_id}": storage,
        "PATCH /api/v1/storage/providers/{storage_id}": {"name": "renamed"},
        "POST /api/v1/users/": {**SIGN_UP, "role": "site_admin"},
        "PATCH /api/v1/users/{user_id}": {"full_name": "Ada"},
        "POST /admin/backup-maintenance/trigger": {"site_id": ids["site_id"]},
    }
    for base in ("/api/auth", "/api/v1/auth"):
        bodies[f"POST {base}/login"] = WRONG_SIGN_IN
        bodies[f"POST {base}/refresh"] = {"refresh_token": "x"}
        bodies[f"POST {base}/register"] = SIGN_UP
    for method in ("POST", "PUT", "DELETE"):
        bodies[f"{method} /api/v1/users/{{user_id}}/nodes"] = {"node_ids": [ids["node_id"]]}
        bodies[f"{method} /api/v1/users/{{user_id}}/sites"] = {"site_ids": [ids["site_id"]]}
    return bodies.get(route)


def _rows() -> dict[str, dict[str, int]]:
    lines = [line.split() for line in TABLE.strip().splitlines()]
    return {
        f"{method} {path}": dict(zip(SUBJECTS, map(int, statuses), strict=True))
        for method, path, *statuses in lines
    }


ROWS = _rows()


def ask(world: World, who: str, route: str) -> Any:
    method, _, template = route.partition(" ")
    url = world.path(template + QUERIES.get(route, ""))
    return getattr(world.clients[who], method.lower())(url, body_of(route, world))


def require_shape(answer: Any, where: str) -> None:
    """Assert that a refusal is told as all are."""
    body = answer.json()
    assert body.keys() >= {"detail", "code", "request_id"}, where
    assert body["request_id"] == answer["X-Request-ID"], where
    assert answer["Content-Type"] == "application/json", where
    if answer.status_code == 401:
        assert answer["WWW-Authenticate"], where


def test_every_route_of_the_schema_has_a_row() -> None:
    paths = SchemaGenerator().get_schema(request=None, public=True)["paths"]
    methods = {"get", "post", "put", "patch", "delete"}
    routes = {
        f"{method.upper()} {path}"
        for path, found in paths.items()
        for method in found.keys() & methods
    }
    assert routes - ROWS.keys() - PUBLIC.keys() == set(), "add a row"
    assert (ROWS.keys() | PUBLIC.keys()) - routes == set(), "remove a row"


@pytest.mark.parametrize("route", ROWS)
def test_everybody_gets_what_the_table_says(
    route: str, world: World, fingerprint_of_rows: Callable[[], str]
) -> None:
    expected = {**ROWS[route], **dict.fromkeys(STRANGERS, 401)}
    before = fingerprint_of_rows()
    for who, status in expected.items():
        with transaction.atomic():
            answer = ask(world, who, route)
            where = f"{route} for {who}: {getattr(answer, 'content', b'')[:300]!r}"
            assert answer.status_code == status, where
            if status >= 400:
                require_shape(answer, where)
                assert fingerprint_of_rows() == before, f"{where} changed something"
            transaction.set_rollback(True)


@pytest.mark.parametrize("route", [*PUBLIC, *PLAIN])
def test_everybody_gets_the_same_where_no_token_counts(route: str, world: World) -> None:
    status = PUBLIC.get(route, PLAIN.get(route))
    for who in world.clients:
        with transaction.atomic():
            answer = ask(world, who, route)
            assert answer.status_code == status, f"{route} for {who}: {answer.content[:300]!r}"
            if status >= 400:
                require_shape(answer, route)
            transaction.set_rollback(True)


@pytest.mark.parametrize("route", [route for route in ROWS if "_id}" in route])
def test_what_does_not_exist_is_404(
    route: str, world: World, fingerprint_of_rows: Callable[[], str]
) -> None:
    before = fingerprint_of_rows()
    for argument in re.findall(r"{(\w+_id)}", route):
        kept = world.rows[argument]
        for missing in (10**9, 2**63 - 1, 10**30):
            number = f"{missing % 16**32:032x}" if argument == "job_id" else missing
            world.rows[argument] = number
            answer = ask(world, "super", route)
            where = f"{route} with {argument}={number}: {answer.content[:300]!r}"
            assert answer.status_code == 404, where
            require_shape(answer, where)
        world.rows[argument] = kept
    assert fingerprint_of_rows() == before


@pytest.mark.parametrize("route", [*ROWS, *PUBLIC])
def test_options_tell_of_the_route_and_fail_for_nobody(route: str, world: World) -> None:
    _, _, template = route.partition(" ")
    for who in ("super", "site-"):
        answer = world.clients[who].options(world.path(template))
        assert answer.status_code in (200, 401, 403), f"{route} for {who}: {answer.content[:300]!r}"


WRITES = [route for route in [*ROWS, *PLAIN] if not route.startswith("GET ")]


@pytest.mark.parametrize("route", WRITES)
def test_session_without_its_csrf_token_is_refused(
    route: str, world: World, fingerprint_of_rows: Callable[[], str]
) -> None:
    browser = Client(enforce_csrf_checks=True, raise_request_exception=False)
    browser.force_login(world.users["super"])
    before = fingerprint_of_rows()
    method, _, template = route.partition(" ")
    url = world.path(template + QUERIES.get(route, ""))
    send = getattr(browser, method.lower())
    answer = send(url, body_of(route, world), content_type="application/json")
    assert answer.status_code == 403, f"{route}: {answer.content[:300]!r}"
    require_shape(answer, route)
    assert fingerprint_of_rows() == before
