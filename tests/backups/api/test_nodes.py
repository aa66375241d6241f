"""/api/v1/nodes/ and /api/v1/nodes/{id}."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from backups.models import Job, Node, Site, Worker
from panel.accounts.models import User

CONTRACT = {
    *("id", "hostname", "ip_address", "status", "storage_quota_gb", "workers", "concurrency"),
    *("active_jobs", "queued_jobs", "cpu_percent", "memory_percent", "disk_percent", "last_seen"),
}


def test_list_is_bare_and_has_every_field_of_the_contract(api: APIClient, node: Node) -> None:
    body = api.get("/api/v1/nodes/").json()
    assert isinstance(body, list)
    assert body[0].keys() >= CONTRACT
    assert body[0] == api.get(f"/api/v1/nodes/{node.pk}").json()


def test_status_follows_the_heartbeat(api: APIClient, node: Node, live_worker: Worker) -> None:
    url = f"/api/v1/nodes/{node.pk}"
    assert (api.get(url).json()["status"], api.get(url).json()["workers"]) == ("online", 1)
    Worker.objects.update(last_seen_at=Now() - timedelta(seconds=60))
    assert (api.get(url).json()["status"], api.get(url).json()["workers"]) == ("offline", 0)
    Node.objects.update(is_enabled=False)
    assert api.get(url).json()["status"] == "disabled"


def test_jobs_are_counted_by_what_they_do(api: APIClient, site: Site) -> None:
    url = f"/api/v1/nodes/{site.node_id}"
    api.post(f"/api/v1/sites/{site.pk}/backup/start")
    assert (api.get(url).json()["active_jobs"], api.get(url).json()["queued_jobs"]) == (0, 1)
    Job.objects.update(state="running")
    assert (api.get(url).json()["active_jobs"], api.get(url).json()["queued_jobs"]) == (1, 0)


def test_nodes_of_others_are_left_out_and_forbidden(
    node: Node,
    other_node: Node,
    node_admin: User,
    site_admin: User,
    client_of: Callable[[User], APIClient],
) -> None:
    client = client_of(node_admin)
    assert [row["id"] for row in client.get("/api/v1/nodes/").json()] == [node.pk]
    assert client.get(f"/api/v1/nodes/{other_node.pk}").status_code == 403
    assert client_of(site_admin).get("/api/v1/nodes/").json() == []
    assert client.get("/api/v1/nodes/999").status_code == 404


def test_list_takes_as_many_queries_for_one_node_as_for_many(
    api: APIClient, site: Site, live_worker: Worker
) -> None:
    with CaptureQueriesContext(connection) as few:
        api.get("/api/v1/nodes/")
    for number in range(10):
        Node.objects.create(name=f"n{number}", allowed_roots=["/srv"])
    with CaptureQueriesContext(connection) as many:
        assert len(api.get("/api/v1/nodes/").json()) == 11
    assert len(many) == len(few)
