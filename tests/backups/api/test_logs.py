"""GET /api/v1/sites/{id}/backup/logs."""

from __future__ import annotations

import uuid

from rest_framework.test import APIClient

from backups.actions.transitions import record
from backups.models import Site
from tests.backups.conftest import ended_job


def test_lines_of_the_newest_job_come_in_order(api: APIClient, site: Site) -> None:
    ended_job(site)
    job = ended_job(site)
    record(job.pk, epoch=1, kind="log", message="second")
    body = api.get(f"/api/v1/sites/{site.pk}/backup/logs").json()
    assert body["job_id"] == str(job.pk)
    assert [line["message"] for line in body["logs"]][-1] == "second"
    assert body["total"] == len(body["logs"]) == 2


def test_lines_of_another_job_come_when_it_is_named(api: APIClient, site: Site) -> None:
    first, _ = ended_job(site), ended_job(site)
    body = api.get(f"/api/v1/sites/{site.pk}/backup/logs?job_id={first.pk}&limit=1").json()
    assert (body["job_id"], body["total"], len(body["logs"])) == (str(first.pk), 1, 1)


def test_log_is_empty_when_there_was_no_job(api: APIClient, site: Site) -> None:
    body = api.get(f"/api/v1/sites/{site.pk}/backup/logs").json()
    assert body == {"job_id": None, "logs": [], "total": 0}


def test_job_is_not_found_when_it_is_of_another_site(
    api: APIClient, site: Site, other_site: Site
) -> None:
    other = ended_job(other_site)
    url = f"/api/v1/sites/{site.pk}/backup/logs?job_id="
    assert api.get(url + str(other.pk)).status_code == 404
    assert api.get(url + str(uuid.uuid4())).status_code == 404
    refused = api.get(f"{url}nonsense")
    assert (refused.status_code, list(refused.json()["errors"])) == (400, ["job_id"])
