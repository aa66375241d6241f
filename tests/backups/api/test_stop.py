"""POST /api/v1/sites/{id}/backup/stop and DELETE /api/v1/jobs/{id}."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

from backups.models import Job, JobEvent, Site
from panel.accounts.models import User
from tests.backups.conftest import claimed, ended_job

pytestmark = pytest.mark.usefixtures("closed_broker")
ClientOf = Callable[[User], APIClient]


def url(site: Site) -> str:
    return f"/api/v1/sites/{site.pk}/backup/stop"


def status(api: APIClient, site: Site) -> str:
    return str(api.get(f"/api/v1/sites/{site.pk}/backup/status").json()["status"])


def start(api: APIClient, site: Site) -> str:
    return str(api.post(f"/api/v1/sites/{site.pk}/backup/start").json()["job_id"])


@pytest.mark.parametrize("face", ["site", "job"])
def test_job_that_waits_is_stopped_at_once(api: APIClient, site: Site, face: str) -> None:
    job_id = start(api, site)
    answer = api.post(url(site)) if face == "site" else api.delete(f"/api/v1/jobs/{job_id}")
    assert answer.status_code == 202
    assert answer.json() == {
        "success": True,
        "message": "Backup stop requested",
        "status": "stopped",
        "site_id": site.pk,
        "job_id": job_id,
    }
    assert status(api, site) == "stopped"
    assert start(api, site) != job_id


@pytest.mark.parametrize("face", ["site", "job"])
def test_running_job_reads_running_until_its_attempt_has_ended(
    api: APIClient, site: Site, face: str
) -> None:
    attempt = claimed(site)
    for _ in range(2):
        path = url(site) if face == "site" else f"/api/v1/jobs/{attempt.job_id}"
        answer = api.post(path) if face == "site" else api.delete(path)
        assert (answer.status_code, answer.json()["status"]) == (202, "stopped")
    assert Job.objects.get().state == "stopping"
    assert status(api, site) == "running"
    [asked] = JobEvent.objects.filter(kind="stop_requested")
    assert asked.message == "Stop requested by super@example.com"
    again = api.post(f"/api/v1/sites/{site.pk}/backup/start")
    assert again.json()["code"] == "backup_already_running"


def test_stop_is_refused_when_nothing_runs(api: APIClient, site: Site) -> None:
    answer = api.post(url(site))
    assert (answer.status_code, answer.json()["code"]) == (409, "backup_not_running")
    job = ended_job(site)
    for answer in (api.post(url(site)), api.delete(f"/api/v1/jobs/{job.pk}")):
        assert (answer.status_code, answer.json()["code"]) == (409, "backup_not_running")
        assert site.name in answer.json()["detail"]
    assert Job.objects.get().state == "completed"


def test_only_the_named_job_is_stopped_when_it_has_ended(api: APIClient, site: Site) -> None:
    old = ended_job(site)
    start(api, site)
    assert api.delete(f"/api/v1/jobs/{old.pk}").json()["code"] == "backup_not_running"
    assert status(api, site) == "running"


def test_stop_is_for_those_who_may_start(
    site: Site, other_site: Site, site_admin: User, node_admin: User, client_of: ClientOf
) -> None:
    for user in (site_admin, node_admin):
        client = client_of(user)
        start(client, site)
        assert client.post(url(site)).status_code == 202
        other = claimed(other_site).job_id
        for answer in (client.post(url(other_site)), client.delete(f"/api/v1/jobs/{other}")):
            assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
        assert Job.objects.filter(pk=other).update(state="failed", active_site=None) == 1
        assert client.post("/api/v1/sites/999/backup/stop").status_code == 404
        assert client.delete(f"/api/v1/jobs/{uuid.uuid4()}").status_code == 404
