"""Ids of other people's things in bodies, and fields that are nobody's to set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from backups.models import FollowUpTask, Site
from panel.accounts.models import User
from tests.access.conftest import World

MISSING = 2**40


def send(world: World, who: str, method: str, path: str, body: dict[str, Any]) -> Any:
    return getattr(world.clients[who], method)(world.path(path), body)


@pytest.mark.parametrize(
    ("who", "method", "path", "field"),
    [
        ("node+", "post", "/api/v1/sites/", "node_id"),
        ("node+", "patch", "/api/v1/sites/{site_id}", "node_id"),
        ("node+", "post", "/api/v1/sites/manual", "node_id"),
        ("site+", "post", "/api/{user_id}/tasks", "job_id"),
        ("site+", "put", "/api/{user_id}/tasks/{task_id}", "job_id"),
    ],
)
def test_nothing_changes_when_a_body_names_what_is_somebody_elses_or_nobodys(
    who: str,
    method: str,
    path: str,
    field: str,
    world: World,
    fingerprint_of_rows: Callable[[], str],
) -> None:
    before = fingerprint_of_rows()
    bodies: dict[str, dict[str, Any]] = {
        "node_id": {"name": "x.example", "wp_path": "/srv/x", "path": "/srv/x"},
        "job_id": {"title": "look"},
    }
    body = bodies[field]
    if path.endswith("sites/manual"):
        body = {"path": body["path"]}
    elif field == "node_id":
        body = {name: body[name] for name in ("name", "wp_path")}
    missing: Any = MISSING if field == "node_id" else "12345678-1234-1234-1234-123456789abc"
    for value, statuses in ((str(world.foreign[field]), {403}), (missing, {400, 404})):
        answer = send(world, who, method, path, {**body, field: value})
        assert answer.status_code in statuses, answer.content
        assert fingerprint_of_rows() == before


def test_assignments_to_what_does_not_exist_are_refused_as_a_whole(
    world: World, fingerprint_of_rows: Callable[[], str]
) -> None:
    before = fingerprint_of_rows()
    for kind in ("node", "site"):
        keys = [world.foreign[f"{kind}_id"], MISSING]
        for method in ("post", "put", "delete"):
            path = f"/api/v1/users/{{user_id}}/{kind}s"
            answer = send(world, "super", method, path, {f"{kind}_ids": keys})
            assert answer.status_code == 400, answer.content
            assert str(MISSING) in answer.content.decode()
    assert fingerprint_of_rows() == before


FORBIDDEN: dict[str, Any] = {
    "id": 7,
    "uuid": "12345678-1234-1234-1234-123456789abc",
    "role": "super_admin",
    "is_staff": True,
    "is_superuser": True,
    "is_active": True,
    "is_verified": True,
    "assigned_nodes": [1],
    "assigned_sites": [1],
    "admins": [1],
    "user": 1,
    "user_id": 1,
    "owner": 1,
    "site_id": 1,
    "state": "completed",
    "status": "completed",
    "active_site": None,
    "epoch": 9,
    "is_automatic": True,
    "next_run_at": "2030-01-01T00:00:00Z",
    "backup_count": 99,
    "storage_quota_gb": 9999,
    "allowed_roots": ["/"],
    "held_by": "me",
    "credential_hash": "x",
}


@pytest.mark.parametrize(
    ("who", "method", "path", "body"),
    [
        ("anonymous", "post", "/api/auth/register",
         {"email": "m@example.com", "password": "a-fine-password-7"}),
        ("site+", "patch", "/api/v1/users/{user_id}", {"full_name": "Ada"}),
        ("site+", "patch", "/api/v1/sites/{site_id}", {"url": "https://a.example"}),
        ("node+", "patch", "/api/v1/nodes/{node_id}", {"label": "L"}),
        ("node+", "post", "/api/v1/nodes/{node_id}/scale", {"concurrency": 3}),
        ("site+", "post", "/api/{user_id}/tasks", {"title": "look"}),
        ("site+", "put", "/api/{user_id}/tasks/{task_id}", {"title": "look"}),
        ("site+", "post", "/api/v1/sites/{site_id}/backup/start", {}),
        ("site+", "put", "/api/v1/sites/{site_id}/schedule", {"schedule_frequency": "daily"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("field", FORBIDDEN)
def test_field_that_is_nobodys_to_set_has_no_effect(
    field: str, who: str, method: str, path: str, body: dict[str, Any], world: World
) -> None:
    owner = world.users["site+"]
    answer = send(world, who, method, path, {**body, field: FORBIDDEN[field]})
    assert answer.status_code in (200, 201, 202, 400, 403), answer.content
    people = {user.email: user for user in User.objects.all()}
    for name in (owner.email, "m@example.com"):
        if name in people:
            user = people[name]
            assert (user.role, user.is_staff, user.is_superuser) == ("site_admin", False, False)
            assert not user.is_verified
    assert list(owner.assigned_nodes.all()) == []
    assert [site.pk for site in owner.assigned_sites.all()] == [world.rows["site_id"]]
    site = Site.objects.get(pk=world.rows["site_id"])
    assert (site.storage_quota_gb, site.backup_count) == (None, 0)
    assert site.node.allowed_roots != ["/"]
    assert site.node.held_by == ""
    assert [one.pk for one in site.admins.all()] == [owner.pk]
    assert set(FollowUpTask.objects.values_list("user", flat=True)) <= {
        owner.pk,
        world.users["site-"].pk,
    }
