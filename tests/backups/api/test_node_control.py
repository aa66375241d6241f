"""PATCH /api/v1/nodes/{id} and what is ordered of a node: scale, drain, resume."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from backups.models import Job, Node, Site
from panel.accounts.models import User

ClientOf = Callable[[User], APIClient]


def url(node: Node, order: str = "") -> str:
    return f"/api/v1/nodes/{node.pk}{'/' if order else ''}{order}"


def test_number_is_kept_when_a_node_is_scaled(api: APIClient, node: Node) -> None:
    answer = api.post(url(node, "scale"), {"concurrency": 4})
    assert answer.status_code == 202
    assert answer.json() == {
        "success": True,
        "message": "Stages at once on web-01: 4",
        "node": api.get(url(node)).json(),
    }
    assert answer.json()["node"]["concurrency"] == 4
    assert Node.objects.get().slots == 4


@pytest.mark.parametrize("number", [0, -1, 65, "many", None, 1.5, 10**30])
def test_number_is_refused_when_no_node_can_do_it(number: Any, api: APIClient, node: Node) -> None:
    for method, path in ((api.post, url(node, "scale")), (api.patch, url(node))):
        answer = method(path, {"concurrency": number})
        assert answer.status_code == 400
        assert list(answer.json()["errors"]) == ["concurrency"]
    assert api.post(url(node, "scale"), {}).status_code == 400
    assert Node.objects.get().slots == 2


def test_node_drains_and_resumes_and_stays_online_meanwhile(
    api: APIClient, node: Node, live_worker: object
) -> None:
    for order, is_draining in (("drain", True), ("drain", True), ("resume", False)):
        answer = api.post(url(node, order))
        assert (answer.status_code, answer.json()["success"]) == (202, True)
        shown = api.get(url(node)).json()
        assert (shown["is_draining"], shown["status"]) == (is_draining, "online")
        assert answer.json()["node"]["is_draining"] is is_draining


def test_every_setting_can_be_changed_and_what_is_left_out_stays(
    api: APIClient, node: Node
) -> None:
    changes = {
        "label": "Web server",
        "storage_quota_gb": 12.5,
        "concurrency": 3,
        "is_enabled": False,
        "nice": 19,
        "io_class": "idle",
        "upload_bytes_per_second": 1_000_000,
    }
    before = api.get(url(node)).json()
    answer = api.patch(url(node), changes)
    assert answer.status_code == 200
    assert answer.json() == {**before, **changes, "status": "disabled"}
    again = api.patch(url(node), {"upload_bytes_per_second": None, "is_enabled": True})
    expected = {**before, **changes, "is_enabled": True, "upload_bytes_per_second": None}
    assert again.json() == expected
    assert api.patch(url(node), {}).json() == expected


@pytest.mark.parametrize(
    "change",
    [
        {"nice": 20},
        {"nice": -1},
        {"io_class": "realtime"},
        {"upload_bytes_per_second": 10},
        {"upload_bytes_per_second": 10**20},
        {"storage_quota_gb": -1},
        {"storage_quota_gb": "nan"},
        {"storage_quota_gb": "inf"},
        {"label": "x" * 201},
        {"is_enabled": "perhaps"},
    ],
)
def test_change_is_refused_by_its_field_when_it_cannot_be(
    change: dict[str, Any], api: APIClient, node: Node
) -> None:
    answer = api.patch(url(node), {"label": "new", **change})
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == list(change)
    assert Node.objects.get().label == ""


def test_folders_and_names_are_not_opened_by_a_change(api: APIClient, node: Node) -> None:
    changes = {"allowed_roots": ["/"], "name": "other", "hostname": "x", "is_draining": True}
    answer = api.patch(url(node), {"label": "new", **changes})
    assert (answer.status_code, answer.json()["errors"].keys()) == (400, changes.keys())
    kept = Node.objects.get()
    assert (kept.allowed_roots, kept.label) == (node.allowed_roots, "")
    assert (kept.name, kept.hostname, kept.is_draining) == ("web-01", "", False)


@pytest.mark.parametrize("order", ["", "scale", "drain", "resume"])
def test_only_its_own_admins_order_a_node(
    order: str,
    node: Node,
    other_node: Node,
    node_admin: User,
    site_admin: User,
    anonymous: APIClient,
    client_of: ClientOf,
) -> None:
    def send(client: APIClient, path: str) -> int:
        method = client.post if order else client.patch
        body = {"concurrency": 5} if order in ("", "scale") else None
        return int(method(path, body).status_code)

    assert send(client_of(node_admin), url(node, order)) == (202 if order else 200)
    changed = Node.objects.get(pk=node.pk)
    for client in (client_of(node_admin), client_of(site_admin)):
        assert send(client, url(other_node, order)) == 403
    assert send(client_of(site_admin), url(node, order)) == 403
    assert send(anonymous, url(node, order)) == 401
    assert send(client_of(node_admin), f"/api/v1/nodes/999/{order}".rstrip("/")) == 404
    untouched = Node.objects.get(pk=other_node.pk)
    assert (untouched.slots, untouched.is_draining) == (2, False)
    assert Node.objects.get(pk=node.pk).slots == changed.slots


@pytest.mark.django_db(transaction=True)
def test_waiting_job_is_given_out_when_its_node_resumes(
    api: APIClient, site: Site, live_worker: object, settled_dispatch: None
) -> None:
    api.post(url(site.node, "drain"))
    api.post(f"/api/v1/sites/{site.pk}/backup/start")
    settle()
    assert Job.objects.get().state == "queued"
    api.post(url(site.node, "resume"))
    settle()
    assert Job.objects.get().state == "dispatched"


def settle() -> None:
    """Wait for what was to be sent after the commits so far."""
    for thread in threading.enumerate():
        if thread.name == "dispatch":
            thread.join(30)
