"""/api/v1/jobs and /api/v1/jobs/{id}."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from backups.models import Backup, Site
from panel.accounts.models import User
from tests.backups.conftest import ended_job


def ids(answer: object) -> list[str]:
    return [job["id"] for job in answer.json()["jobs"]]  # type: ignore[attr-defined]


def test_newest_comes_first_with_its_status_when_listed(api: APIClient, site: Site) -> None:
    first = ended_job(site, "failed", error_code="no_room", error_message="No room.")
    second = ended_job(site)
    body = api.get("/api/v1/jobs").json()
    assert ([job["id"] for job in body["jobs"]], body["total"]) == (
        [str(second.pk), str(first.pk)],
        2,
    )
    failed = body["jobs"][1]
    assert (failed["status"], failed["error_code"], failed["error"]) == (
        "failed",
        "no_room",
        "No room.",
    )
    assert failed == api.get(f"/api/v1/jobs/{first.pk}").json()
    assert len(failed["stages"]) == 5


def test_job_names_its_backup_when_it_made_one(
    api: APIClient, site: Site, make_backup: Callable[..., Backup]
) -> None:
    job = ended_job(site)
    backup = make_backup(site, job=job)
    assert api.get(f"/api/v1/jobs/{job.pk}").json()["backup_id"] == backup.pk


def test_filters_choose_when_given(api: APIClient, site: Site, other_site: Site) -> None:
    done, failed = ended_job(site), ended_job(other_site, "failed")
    running = api.post(f"/api/v1/sites/{site.pk}/backup/start").json()["job_id"]
    expected = {
        "status=completed": [str(done.pk)],
        "status=failed": [str(failed.pk)],
        "status=running": [running],
        f"site_id={other_site.pk}": [str(failed.pk)],
        f"node_id={site.node_id}": [running, str(done.pk)],
        f"node_id={site.node_id}&status=completed": [str(done.pk)],
        "kind=backup&status=idle": [],
        "site_id=999": [],
    }
    assert {query: ids(api.get(f"/api/v1/jobs?{query}")) for query in expected} == expected


@pytest.mark.parametrize(
    "query",
    ["status=lost", "kind=bakup", "site_id=x", f"node_id={2**63}", f"site_id={-(2**63) - 1}"],
)
def test_filter_is_refused_when_it_cannot_be(query: str, api: APIClient) -> None:
    answer = api.get(f"/api/v1/jobs?{query}")
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [query.partition("=")[0]]


def test_list_is_filtered_and_one_is_forbidden_when_of_others(
    site: Site, other_site: Site, site_admin: User, client_of: Callable[[User], APIClient]
) -> None:
    mine, other = ended_job(site), ended_job(other_site)
    client = client_of(site_admin)
    assert ids(client.get("/api/v1/jobs")) == [str(mine.pk)]
    assert client.get(f"/api/v1/jobs/{other.pk}").status_code == 403
    assert client.get(f"/api/v1/jobs/{uuid.uuid4()}").status_code == 404
    assert client.get("/api/v1/jobs/nonsense").json()["code"] == "not_found"


def test_list_takes_as_many_queries_for_one_job_as_for_many(
    api: APIClient, site: Site, make_backup: Callable[..., Backup]
) -> None:
    make_backup(site, job=ended_job(site))
    with CaptureQueriesContext(connection) as few:
        api.get("/api/v1/jobs")
    for number in range(2, 12):
        make_backup(site, number=number, job=ended_job(site))
    with CaptureQueriesContext(connection) as many:
        assert api.get("/api/v1/jobs").json()["total"] == 11
    assert len(many) == len(few)
