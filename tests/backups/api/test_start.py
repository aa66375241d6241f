"""POST /api/v1/sites/{id}/backup/start."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from rest_framework.test import APIClient

from backups.models import Job, Node, Site, Storage
from panel.accounts.models import User

RACERS = 8


def url(site: Site) -> str:
    return f"/api/v1/sites/{site.pk}/backup/start"


def test_job_is_recorded_and_named_when_a_backup_is_started(api: APIClient, site: Site) -> None:
    answer = api.post(url(site))
    job = Job.objects.get()
    assert answer.status_code == 202
    assert answer.json() == {
        "success": True,
        "message": "Backup started for example.com",
        "status": "running",
        "site_id": site.pk,
        "job_id": str(job.pk),
    }
    assert [stage.name for stage in job.stages.order_by("position")] == [
        "backup_db",
        "backup_files",
        "create_bundle",
        "upload_remote",
        "cleanup",
    ]
    assert (job.trigger, job.requested_by.email) == ("api", "super@example.com")


def test_second_start_is_refused_when_one_is_active(api: APIClient, site: Site) -> None:
    assert api.post(url(site)).status_code == 202
    again = api.post(url(site))
    assert (again.status_code, again.json()["code"]) == (409, "backup_already_running")
    assert Job.objects.count() == 1


def test_start_is_accepted_when_the_earlier_job_has_ended(api: APIClient, site: Site) -> None:
    api.post(url(site))
    Job.objects.update(state="failed", active_site=None)
    assert api.post(url(site)).status_code == 202


def test_start_is_refused_when_the_node_is_disabled(api: APIClient, site: Site, node: Node) -> None:
    Node.objects.filter(pk=node.pk).update(is_enabled=False)
    answer = api.post(url(site))
    assert (answer.status_code, answer.json()["code"]) == (409, "node_disabled")


def test_start_is_refused_when_there_is_no_storage(api: APIClient, other_site: Site) -> None:
    Storage.objects.update(is_default=False)
    answer = api.post(url(other_site))
    assert (answer.status_code, answer.json()["code"]) == (409, "storage_missing")
    assert not Job.objects.exists()


def test_start_is_allowed_when_the_site_is_assigned(
    site: Site, site_admin: User, client_of: Callable[[User], APIClient]
) -> None:
    assert client_of(site_admin).post(url(site)).status_code == 202


def test_start_is_forbidden_when_the_site_is_of_others(
    other_site: Site, site_admin: User, client_of: Callable[[User], APIClient]
) -> None:
    answer = client_of(site_admin).post(url(other_site))
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    assert not Job.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_job_is_recorded_at_once_when_the_broker_is_away(
    api: APIClient, site: Site, live_worker: object, settled_dispatch: None
) -> None:
    assert api.post(url(site)).status_code == 202
    assert Job.objects.filter(active_site=site).exists()


@pytest.mark.django_db(transaction=True)
def test_exactly_one_wins_when_many_start_at_once(
    super_admin: User,
    site: Site,
    client_of: Callable[[User], APIClient],
    settled_dispatch: None,
) -> None:
    clients = [client_of(super_admin) for _ in range(RACERS)]

    def start(client: APIClient) -> int:
        try:
            return int(client.post(url(site)).status_code)
        finally:
            connection.close()

    with ThreadPoolExecutor(RACERS) as pool:
        codes = sorted(pool.map(start, clients))
    assert codes == [202] + [409] * (RACERS - 1)
    assert Job.objects.count() == 1
