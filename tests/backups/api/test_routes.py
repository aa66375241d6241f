"""Every route: closed by default, spelled with and without a slash, described, usable by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.test import APIClient

from backups.models import Backup, Node, Site, Storage
from tests.backups.conftest import ended_job

PUBLIC = {
    *("/", "/health", "/health/live", "/docs", "/api/schema/", "/api/v1/daemon/health"),
    *("/api/auth/login", "/api/auth/refresh", "/api/v1/auth/login", "/api/v1/auth/refresh"),
    *("/api/auth/register", "/api/v1/auth/register"),
    # The link itself is the credential; a wrong one is 404.
    "/api/v1/downloads/x",
    # What is sent is the credential; a wrong one is 401 all the same.
    "/api/v1/nodes/join",
}
# Hosts have credentials of their own.
SCHEMES = {"/api/v1/nodes/self": "Node"}
# Pages, ours and Django's own: they send a browser to sign in.
PAGES = ("/admin/", "/api-auth/", "/sign-in/", "/sign-out/", "/sites/")
VALUES = {"int": "1", "uuid": "12345678-1234-1234-1234-123456789abc", "str": "x"}


def _routes(patterns: Any, prefix: str = "/") -> Iterator[tuple[str, Any]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            if not route.startswith(PAGES):
                yield from _routes(pattern.url_patterns, route)
        elif isinstance(pattern, URLPattern) and not route.startswith(PAGES):
            yield route, pattern.callback


def _filled(route: str) -> str:
    for kind, value in VALUES.items():
        while f"<{kind}:" in route:
            start = route.index(f"<{kind}:")
            route = route[:start] + value + route[route.index(">", start) + 1 :]
    return route


ROUTES = [(_filled(route), callback) for route, callback in _routes(get_resolver().url_patterns)]


def test_there_are_routes_to_test() -> None:
    assert len(ROUTES) > 40
    assert {path for path, _ in ROUTES} >= PUBLIC


@pytest.mark.django_db
@pytest.mark.parametrize("path", [path for path, _ in ROUTES])
def test_anonymous_is_refused_when_the_route_is_not_public(path: str, anonymous: APIClient) -> None:
    if path in PUBLIC or path.rstrip("/") in PUBLIC or f"{path}/" in PUBLIC:
        assert anonymous.get(path).status_code in (200, 404, 405)
        return
    for method in ("get", "post", "put", "patch", "delete"):
        answer = getattr(anonymous, method)(path)
        assert answer.status_code == 401, (method, answer.content)
        assert answer.json()["code"] == "not_authenticated"
        scheme = SCHEMES.get(path.rstrip("/"), "Bearer")
        assert answer["WWW-Authenticate"].startswith(scheme)


@pytest.mark.django_db
def test_credentials_are_refused_when_they_are_not_ours(anonymous: APIClient) -> None:
    for wrong in ("Bearer x", "Bearer a.b.c", "Bearer"):
        answer = anonymous.get("/api/v1/sites/", headers={"authorization": wrong})
        assert (answer.status_code, "code" in answer.json()) == (401, True), wrong
        assert answer["WWW-Authenticate"].startswith("Bearer")


def test_every_route_is_spelled_both_ways() -> None:
    paths = {path for path, _ in ROUTES}
    for path in paths - {"/"}:
        other = path.rstrip("/") if path.endswith("/") else f"{path}/"
        assert other in paths, path


def test_schema_is_complete_and_spells_routes_once(tmp_path: Path) -> None:
    file = tmp_path / "schema.json"
    call_command(
        "spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json",
        "--file", str(file),
    )  # fmt: skip
    paths = json.loads(file.read_text())["paths"]
    assert {
        *("/api/v1/sites/", "/api/v1/sites/{site_id}", "/api/v1/sites/{site_id}/backup/start"),
        *("/api/v1/jobs", "/api/v1/nodes/", "/api/v1/storage/providers", "/api/auth/login"),
        *("/api/v1/sites/{site_id}/backup/stop", "/api/v1/daemon/backup/reset/{site_id}"),
        *("/api/v1/jobs/{job_id}/retry", "/api/v1/nodes/{node_id}/scale"),
        *("/api/v1/nodes/{node_id}/drain", "/api/v1/nodes/{node_id}/resume"),
        *("/api/v1/sites/{site_id}/schedule", "/api/v1/sites/{site_id}/quota"),
        *("/api/v1/sites/{site_id}/quota/status", "/api/v1/sites/{site_id}/quota/check"),
        *("/api/{user_id}/tasks", "/api/{user_id}/tasks/{task_id}", "/api/{user_id}/tasks/stats"),
        "/api/{user_id}/tasks/{task_id}/complete",
    } <= paths.keys()
    assert len({path.rstrip("/") for path in paths}) == len(paths)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/api/v1/sites/", {"name", "node_id", "wp_path", "db_password", "excludes"}),
        ("/api/v1/sites/{site}", {"name", "node_id", "wp_path", "db_password"}),
        ("/api/v1/sites/manual", {"path", "wp_config_path", "node_id", "name"}),
        ("/api/v1/sites/{site}/schedule", {"schedule_frequency", "schedule_days"}),
        ("/api/v1/sites/{site}/backup/start", {"csrfmiddlewaretoken"}),
        ("/api/v1/sites/{site}/backup/stop", {"csrfmiddlewaretoken"}),
        ("/api/v1/daemon/backup/reset/{site}", {"csrfmiddlewaretoken"}),
        ("/api/v1/jobs/{job}/retry", {"csrfmiddlewaretoken"}),
        ("/api/v1/nodes/{node}", {"_content"}),  # what PATCH takes, as JSON
        ("/api/v1/nodes/{node}/scale", {"concurrency"}),
        ("/api/v1/nodes/{node}/drain", {"csrfmiddlewaretoken"}),
        ("/api/v1/nodes/{node}/resume", {"csrfmiddlewaretoken"}),
        ("/api/v1/storage/providers", {"name", "type", "config", "is_default"}),
        ("/api/v1/storage/providers/{storage}", {"name", "type", "config"}),
        ("/api/v1/storage/providers/{storage}/test", {"node_id"}),
        ("/api/auth/login", {"email", "password"}),
        ("/api/auth/refresh", {"refresh_token"}),
    ],
)
def test_browser_gets_a_real_form(
    path: str, names: set[str], staff: Client, site: Site, storage: Storage
) -> None:
    job = ended_job(site, "failed")
    url = path.format(site=site.pk, storage=storage.pk, job=job.pk, node=site.node_id)
    page = staff.get(url, headers={"accept": "text/html"}).content.decode()
    missing = {name for name in names if f'name="{name}"' not in page}
    assert not missing


def test_form_starts_a_backup_and_adds_a_site_when_a_browser_sends_it(
    staff: Client, site: Site, node: Node
) -> None:
    html = {"accept": "text/html"}
    started = staff.post(f"/api/v1/sites/{site.pk}/backup/start", {}, headers=html)
    assert started.status_code == 202
    form = {
        "name": "by-hand.example",
        "node_id": node.pk,
        "wp_path": f"{node.allowed_roots[0]}/by-hand.example",
        "storage_id": "",
        "db_port": "",
        "db_engine": "",
        "excludes": "null",
    }
    assert staff.post("/api/v1/sites/", form, headers=html).status_code == 201
    store = {"name": "by hand", "type": "local", "config": '{"path": "/srv/by-hand"}'}
    assert staff.post("/api/v1/storage/providers", store, headers=html).status_code == 201
    assert Storage.objects.get(name="by hand").config == {"path": "/srv/by-hand"}


def test_form_stops_resets_retries_and_scales_when_a_browser_sends_it(
    staff: Client, site: Site
) -> None:
    html = {"accept": "text/html"}
    job = ended_job(site, "failed")
    for path, status in (
        (f"jobs/{job.pk}/retry", 202),
        (f"sites/{site.pk}/backup/stop", 202),
        (f"daemon/backup/reset/{site.pk}", 200),
    ):
        assert staff.post(f"/api/v1/{path}", {}, headers=html).status_code == status, path
    node = f"/api/v1/nodes/{site.node_id}"
    assert staff.post(f"{node}/scale", {"concurrency": "7"}, headers=html).status_code == 202
    for order in ("drain", "resume"):
        assert staff.post(f"{node}/{order}", {}, headers=html).status_code == 202
    assert Node.objects.get().slots == 7


def test_pages_render_when_a_browser_looks_at_lists(
    staff: Client, site: Site, make_backup: Any
) -> None:
    backup: Backup = make_backup(site)
    for path in ("jobs", "nodes/", f"backups/{backup.pk}", f"sites/{site.pk}/backups"):
        answer = staff.get(f"/api/v1/{path}", headers={"accept": "text/html"})
        assert (answer.status_code, answer["Content-Type"]) == (200, "text/html; charset=utf-8")


def test_public_health_counts_what_runs(anonymous: APIClient, api: APIClient, site: Site) -> None:
    api.post(f"/api/v1/sites/{site.pk}/backup/start")
    body = anonymous.get("/api/v1/daemon/health").json()
    assert body.keys() == {"status", "running_backups", "timestamp"}
    assert (body["status"], body["running_backups"]) == ("healthy", 1)
    assert body["timestamp"].endswith("Z")
