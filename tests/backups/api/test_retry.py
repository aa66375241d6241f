"""POST /api/v1/jobs/{id}/retry. test_control_with_workers.py goes on with real work."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from rest_framework.test import APIClient

from backups.models import Job, Node, Site, Worker
from panel.accounts.models import User
from tests.backups.conftest import ended_job

pytestmark = pytest.mark.usefixtures("closed_broker")
ClientOf = Callable[[User], APIClient]


def url(job: Job) -> str:
    return f"/api/v1/jobs/{job.pk}/retry"


def failed_with_kept_work(site: Site) -> Job:
    """Return a failed job whose first three stages are kept for a retry."""
    job = ended_job(site, "failed", stages_done=3, work_kept_until=Now() + timedelta(hours=1))
    job.stages.filter(position__lt=3).update(state="completed")
    return job


@pytest.mark.parametrize("state", ["failed", "stopped"])
def test_new_job_begins_from_the_beginning_when_nothing_is_kept(
    api: APIClient, site: Site, state: str
) -> None:
    old = ended_job(site, state)
    answer = api.post(url(old))
    assert answer.status_code == 202
    new = Job.objects.exclude(pk=old.pk).get()
    assert answer.json() == {
        "success": True,
        "message": "Backup of example.com begins again from the beginning: "
        "nothing of the earlier run is kept",
        "status": "running",
        "site_id": site.pk,
        "job_id": str(new.pk),
        "retry_of": str(old.pk),
        "resumed_from": None,
    }
    shown = api.get(f"/api/v1/jobs/{new.pk}").json()
    assert (shown["retry_of"], shown["trigger"], shown["requested_by"]) == (
        str(old.pk),
        "retry",
        "super@example.com",
    )
    assert api.get(f"/api/v1/jobs/{old.pk}").json()["status"] == state


@pytest.mark.parametrize("is_alive", [False, True])
def test_new_job_begins_from_the_beginning_when_the_node_cannot_be_asked(
    is_alive: bool, api: APIClient, site: Site, request: pytest.FixtureRequest
) -> None:
    if is_alive:
        request.getfixturevalue("live_worker")  # but no broker to ask it through
    answer = api.post(url(failed_with_kept_work(site)))
    assert (answer.status_code, answer.json()["resumed_from"]) == (202, None)
    assert "web-01 could not be asked" in answer.json()["message"]
    assert Job.objects.get(pk=answer.json()["job_id"]).stages_done == 0


def test_new_job_does_not_go_on_with_what_came_from_another_source(
    api: APIClient, site: Site
) -> None:
    """A new name or storage changes nothing about what was read; other patterns do."""
    site_url, old = f"/api/v1/sites/{site.pk}", failed_with_kept_work(site)
    assert api.patch(site_url, {"name": "renamed.example"}).status_code == 200
    old.refresh_from_db()
    assert (old.work_kept_until is None, old.cleanup_pending) == (False, False)
    assert api.patch(site_url, {"excludes": ["*.log"]}).status_code == 200
    old.refresh_from_db()
    assert (old.work_kept_until is None, old.cleanup_pending) == (True, True)
    assert "nothing of the earlier run is kept" in api.post(url(old)).json()["message"]


@pytest.mark.parametrize("state", ["queued", "running", "stopping", "completed", "reset"])
def test_retry_is_refused_when_the_job_did_not_end_badly(
    api: APIClient, site: Site, state: str
) -> None:
    answer = api.post(url(ended_job(site, state)))
    assert (answer.status_code, answer.json()["code"]) == (409, "job_not_retryable")
    assert Job.objects.count() == 1


def test_retry_is_refused_when_another_job_of_the_site_is_active(
    api: APIClient, site: Site
) -> None:
    old = ended_job(site, "failed")
    assert api.post(url(old)).status_code == 202
    answer = api.post(url(old))
    assert (answer.status_code, answer.json()["code"]) == (409, "backup_already_running")


def test_retry_is_refused_when_the_node_is_disabled(
    api: APIClient, site: Site, node: Node, live_worker: Worker
) -> None:
    old = failed_with_kept_work(site)
    Node.objects.update(is_enabled=False)
    answer = api.post(url(old))
    assert (answer.status_code, answer.json()["code"]) == (409, "node_disabled")
    old.refresh_from_db()
    assert old.work_kept_until is not None


def test_retry_is_for_those_who_may_start(
    site: Site, other_site: Site, site_admin: User, client_of: ClientOf
) -> None:
    mine, other = ended_job(site, "failed"), ended_job(other_site, "failed")
    client = client_of(site_admin)
    assert client.post(url(mine)).status_code == 202
    assert client.post(url(other)).status_code == 403
    assert client.post(f"/api/v1/jobs/{uuid.uuid4()}/retry").status_code == 404
