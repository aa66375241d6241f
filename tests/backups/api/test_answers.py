"""What only a node can answer, and /api/v1/daemon/answers/{link}.

No worker runs here: answers are put where a worker's would be, through the real result backend.
test_with_workers.py asks the same questions of real workers.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from celery import current_app
from rest_framework.test import APIClient

from backups.api import links
from backups.models import Backup, Node, Site, Storage
from panel.accounts.models import User

ClientOf = Callable[[User], APIClient]
FOUND = {
    "name": "My Site!",
    "path": "/srv/www/found.example",
    "wp_config_path": "/srv/www/wp-config.php",
    "has_wp_config": True,
    "has_wp_content": True,
    "db_engine": "mysql",
    "db_name": "wp",
    "url": "https://found.example",
    "title": "Found",
    "wordpress_version": "6.8",
    "problems": ["Its cache is large."],
}


@pytest.fixture
def node(node: Node) -> Node:
    node.allowed_roots = ["/srv/www"]
    node.save()
    return node


def link_to(user: User, purpose: str, context: dict[str, Any]) -> tuple[str, str]:
    """Return a pending question's task id, and where its answer will be."""
    task_id = str(uuid.uuid4())
    payload = {"task": task_id, "user": user.pk, "purpose": purpose, "context": context}
    return task_id, f"/api/v1/daemon/answers/{links.sign(links.ANSWER, payload)}"


def answered(task_id: str, answer: dict[str, Any]) -> None:
    current_app.backend.store_result(task_id, {"ok": True, "answer": answer}, "SUCCESS")


def refused(task_id: str, code: str, *, permanent: bool = True) -> None:
    error = {"code": code, "message": "It failed", "hint": "Look there.", "permanent": permanent}
    current_app.backend.store_result(task_id, {"ok": False, "error": error}, "SUCCESS")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("get", "/api/v1/daemon/scan", None),
        ("post", "/api/v1/sites/manual", {"path": "/srv/www/a"}),
        ("post", "/api/v1/storage/providers/{storage}/test", {}),
    ],
)
def test_question_is_refused_at_once_when_nobody_can_answer_or_hear_it(
    method: str,
    path: str,
    body: Any,
    api: APIClient,
    node: Node,
    storage: Storage,
    closed_broker: None,
    request: pytest.FixtureRequest,
) -> None:
    ask, path = getattr(api, method), path.format(storage=storage.pk)
    answer = ask(path, body)
    assert (answer.status_code, answer.json()["code"]) == (503, "node_unavailable")
    request.getfixturevalue("live_worker")
    answer = ask(path, body)
    assert (answer.status_code, answer.json()["code"]) == (503, "broker_unavailable")


@pytest.mark.parametrize("path", ["/etc", "relative", "/srv/www/../../etc", "/srv/wwwx"])
def test_path_is_refused_before_anybody_is_asked_when_it_lies_outside(
    path: str, api: APIClient, node: Node
) -> None:
    added = api.post("/api/v1/sites/manual", {"path": path})
    assert (added.status_code, list(added.json()["errors"])) == (400, ["path"])
    scanned = api.get("/api/v1/daemon/scan", {"base_path": path})
    assert (scanned.status_code, list(scanned.json()["errors"])) == (400, ["base_path"])


def test_node_must_be_named_when_there_are_several(
    api: APIClient, node: Node, other_node: Node
) -> None:
    answer = api.post("/api/v1/sites/manual", {"path": "/srv/www/a"})
    assert list(answer.json()["errors"]) == ["node_id"]
    assert api.get("/api/v1/daemon/scan", {"node_id": 999}).status_code == 404


def test_base_must_be_named_when_the_node_has_several_roots(api: APIClient, node: Node) -> None:
    Node.objects.update(allowed_roots=["/srv/www", "/home"])
    answer = api.get("/api/v1/daemon/scan")
    assert list(answer.json()["errors"]) == ["base_path"]


def test_asking_is_forbidden_when_the_node_is_of_others(
    node: Node,
    other_node: Node,
    node_admin: User,
    site_admin: User,
    client_of: ClientOf,
) -> None:
    url = f"/api/v1/daemon/scan?node_id={other_node.pk}"
    assert client_of(node_admin).get(url).status_code == 403
    assert client_of(site_admin).get("/api/v1/daemon/scan").status_code == 403
    body = {"path": "/srv/www/a", "node_id": node.pk}
    assert client_of(site_admin).post("/api/v1/sites/manual", body).status_code == 403


def test_answer_is_pending_until_it_comes(api: APIClient, super_admin: User, node: Node) -> None:
    task_id, url = link_to(super_admin, "scan", {"node_id": node.pk})
    early = api.get(url)
    assert (early.status_code, early.json()["code"]) == (202, "pending")
    assert early.json()["status_url"] == url
    brief = {"name": "a", "path": "/srv/www/a", "is_complete": True}
    answered(task_id, {"sites": [brief], "problems": []})
    assert api.get(url).json() == {
        "success": True,
        "node_id": node.pk,
        "sites": [brief],
        "total": 1,
        "problems": [],
    }


def test_site_is_added_once_however_often_its_answer_is_read(
    api: APIClient, super_admin: User, node: Node
) -> None:
    context = {"node_id": node.pk, "name": ""}
    task_id, url = link_to(super_admin, "add_site", context)
    answered(task_id, FOUND)
    first, second = api.get(url), api.get(url)
    assert (first.status_code, first.json()) == (201, second.json())
    site = Site.objects.get()
    assert (site.name, site.url, site.db_name) == ("My-Site", "https://found.example", "wp")
    assert (site.db_engine, site.wp_config_path) == ("", FOUND["wp_config_path"])
    assert first.json()["problems"] == FOUND["problems"]


def test_site_is_not_added_when_the_node_finds_it_outside_its_roots(
    api: APIClient, super_admin: User, node: Node
) -> None:
    task_id, url = link_to(super_admin, "add_site", {"node_id": node.pk, "name": "x"})
    answered(task_id, {**FOUND, "path": "/etc"})
    assert api.get(url).status_code == 400
    assert not Site.objects.exists()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("site_not_found", 400),
        ("path_not_allowed", 400),
        ("wp_config_missing", 422),
        ("bucket_missing", 422),
    ],
)
def test_nodes_refusal_becomes_the_answer(
    code: str, status: int, api: APIClient, super_admin: User, node: Node
) -> None:
    task_id, url = link_to(super_admin, "add_site", {"node_id": node.pk, "name": ""})
    refused(task_id, code)
    answer = api.get(url)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.json()["detail"] == "It failed. Look there."
    assert ("errors" in answer.json()) == (status == 400)


def test_reference_is_given_when_the_node_failed_in_a_way_nobody_foresaw(
    api: APIClient, super_admin: User, node: Node
) -> None:
    task_id, url = link_to(super_admin, "scan", {"node_id": node.pk})
    current_app.backend.store_result(task_id, ZeroDivisionError("the secret inside"), "FAILURE")
    answer = api.get(url)
    assert (answer.status_code, answer.json()["code"]) == (502, "node_error")
    assert task_id in answer.json()["detail"]
    assert "the secret inside" not in answer.content.decode()


def test_question_was_taken_too_late_when_it_expired_in_the_queue(
    api: APIClient, super_admin: User, node: Node
) -> None:
    task_id, url = link_to(super_admin, "scan", {"node_id": node.pk})
    current_app.backend.store_result(task_id, Exception("expired"), "REVOKED")
    assert (api.get(url).status_code, api.get(url).json()["code"]) == (503, "answer_too_late")


def test_backup_goes_once_its_object_is_gone(
    api: APIClient, super_admin: User, site: Site, make_backup: Callable[..., Backup]
) -> None:
    for was_there in (True, False):
        backup = make_backup(site)
        context = {"backup_id": backup.pk, "name": backup.filename}
        task_id, url = link_to(super_admin, "delete_backup", context)
        assert api.get(url).status_code == 202
        assert Backup.objects.exists()
        answered(task_id, {"deleted": was_there})
        first, second = api.get(url), api.get(url)
        assert (first.status_code, first.json()) == (200, second.json())
        assert first.json()["remote_deleted"] is was_there
        assert not Backup.objects.exists()


def test_backup_stays_when_its_object_could_not_be_deleted(
    api: APIClient, super_admin: User, site: Site, make_backup: Callable[..., Backup]
) -> None:
    backup = make_backup(site)
    context = {"backup_id": backup.pk, "name": backup.filename}
    task_id, url = link_to(super_admin, "delete_backup", context)
    refused(task_id, "storage_unreachable")
    assert api.get(url).status_code == 422
    assert Backup.objects.exists()


def test_answer_is_for_whoever_asked_alone(
    super_admin: User, node_admin: User, node: Node, anonymous: APIClient, client_of: ClientOf
) -> None:
    task_id, url = link_to(super_admin, "scan", {"node_id": node.pk})
    answered(task_id, {"sites": [], "problems": []})
    assert client_of(node_admin).get(url).status_code == 403
    assert anonymous.get(url).status_code == 401


def test_right_is_asked_again_when_the_answer_is_read(
    node: Node, node_admin: User, client_of: ClientOf
) -> None:
    task_id, url = link_to(node_admin, "add_site", {"node_id": node.pk, "name": ""})
    answered(task_id, FOUND)
    node.admins.clear()
    assert client_of(node_admin).get(url).status_code == 403
    assert not Site.objects.exists()


def test_link_is_dead_when_it_has_expired_or_was_made_up(
    api: APIClient, super_admin: User, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, url = link_to(super_admin, "scan", {"node_id": node.pk})
    assert api.get("/api/v1/daemon/answers/nonsense").json()["code"] == "link_invalid"
    monkeypatch.setattr(links, "ANSWER_SECONDS", -1)
    answer = api.get(url)
    assert (answer.status_code, answer.json()["code"]) == (410, "link_expired")
