"""GET /api/v1/sites/{id}/backup/status and its alias."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rest_framework.test import APIClient

from backups.models import Job, Site
from tests.backups.conftest import ended_job

FIELDS = {
    "site_id": int,
    "site_name": str,
    "status": str,
    "progress": int,
    "message": str,
    "stage": (str, type(None)),
    "stage_detail": (str, type(None)),
    "bytes_processed": int,
    "bytes_total": int,
    "error": (str, type(None)),
    "started_at": (str, type(None)),
    "job_id": (str, type(None)),
    "finished_at": (str, type(None)),
    "eta_seconds": (int, type(None)),
    "node": str,
    "worker": (str, type(None)),
    "kind": str,
    "stopping": bool,
    "stages": list,
}


@pytest.fixture(params=["/api/v1/sites/{}/backup/status", "/api/v1/daemon/backup/status/{}"])
def url(request: pytest.FixtureRequest, site: Site) -> str:
    return str(request.param).format(site.pk)


def test_every_field_has_its_type_when_idle_or_running(
    api: APIClient, site: Site, url: str
) -> None:
    for _ in range(2):
        body = api.get(url).json()
        assert body.keys() == FIELDS.keys()
        assert all(isinstance(body[name], kind) for name, kind in FIELDS.items()), body
        api.post(f"/api/v1/sites/{site.pk}/backup/start")


def test_status_is_idle_when_nothing_was_ever_started(api: APIClient, url: str) -> None:
    body = api.get(url).json()
    assert (body["status"], body["progress"], body["job_id"]) == ("idle", 0, None)


def test_status_is_idle_when_the_job_was_reset(api: APIClient, site: Site, url: str) -> None:
    ended_job(site, "reset")
    assert api.get(url).json()["status"] == "idle"


@pytest.mark.parametrize("state", ["queued", "dispatched", "running", "between", "stopping"])
def test_status_is_running_when_a_job_is_active(
    state: str, api: APIClient, site: Site, url: str
) -> None:
    api.post(f"/api/v1/sites/{site.pk}/backup/start")
    Job.objects.update(
        state=state, stages_done=1, progress=27, started_at=datetime(2026, 1, 2, tzinfo=UTC)
    )
    body = api.get(url).json()
    assert (body["status"], body["progress"]) == ("running", 27)
    assert (body["stage"], body["message"]) == ("backup_files", "Stage 2/5: backup_files")
    assert body["started_at"] == "2026-01-02T00:00:00Z"


def test_error_says_what_to_do_when_a_job_failed(api: APIClient, site: Site, url: str) -> None:
    ended_job(site, "failed", error_message="No room on /srv", error_hint="Free some space.")
    body = api.get(url).json()
    assert (body["status"], body["error"]) == ("failed", "No room on /srv. Free some space.")


def test_404_is_json_when_there_is_no_such_site(api: APIClient) -> None:
    answer = api.get("/api/v1/sites/999/backup/status")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
