"""/api/v1/sites/{id}/quota, its status and check, and that a start is held to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from backups.actions import jobs
from backups.errors import QuotaExceededError
from backups.models import Backup, Job, Node, Site
from panel.accounts.models import User
from tests.backups.conftest import ended_job

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("settled_dispatch")]

ClientOf = Callable[[User], APIClient]
MakeBackup = Callable[..., Backup]
GIB = 1 << 30


def url(site: Site, rest: str = "") -> str:
    return f"/api/v1/sites/{site.pk}/quota{rest}"


def stored(make_backup: MakeBackup, site: Site, gib: float, number: int = 1, **fields: Any) -> None:
    backup = make_backup(site, number=number, **fields)
    Backup.objects.filter(pk=backup.pk).update(size_bytes=int(gib * GIB))


def test_quota_is_set_and_taken_away(api: APIClient, site: Site) -> None:
    answer = api.put(url(site, "?quota_gb=20"))
    assert (answer.status_code, answer.json()["storage_quota_gb"]) == (200, 20.0)
    assert answer.json() == api.get(f"/api/v1/sites/{site.pk}").json()
    assert api.put(url(site, "?quota_gb=0.5")).json()["storage_quota_gb"] == 0.5
    assert api.put(url(site, "?quota_gb=none")).json()["storage_quota_gb"] is None


@pytest.mark.parametrize(
    "query", ["", "?quota_gb=", "?quota_gb=0", "?quota_gb=-1", "?quota_gb=nan", "?quota_gb=inf",
              "?quota_gb=much", "?quota_gb=1e300", "?quota_gb=null"],
)  # fmt: skip
def test_quota_is_refused_when_it_is_none(query: str, api: APIClient, site: Site) -> None:
    Site.objects.filter(pk=site.pk).update(storage_quota_gb=7)
    answer = api.put(url(site, query))
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["quota_gb"])
    site.refresh_from_db()
    assert site.storage_quota_gb == 7


def test_quota_is_for_admins_of_the_node(
    site: Site, other_site: Site, site_admin: User, node_admin: User, client_of: ClientOf
) -> None:
    refused = client_of(site_admin).put(url(site, "?quota_gb=20"))
    assert refused.status_code == 403
    assert "admin of the node" in refused.json()["detail"]
    assert client_of(node_admin).put(url(site, "?quota_gb=20")).status_code == 200
    for rest in ("?quota_gb=20", "/status", "/check"):
        method = "put" if "=" in rest else "get"
        assert getattr(client_of(node_admin), method)(url(other_site, rest)).status_code == 403
        missing = getattr(client_of(node_admin), method)(f"/api/v1/sites/999999/quota{rest}")
        assert missing.status_code == 404


def test_status_says_what_is_used_of_site_and_node(
    api: APIClient, site: Site, node: Node, make_backup: MakeBackup
) -> None:
    neighbour = Site.objects.create(name="neighbour.org", node=node, wp_path="/srv/n")
    stored(make_backup, site, 1.5)
    stored(make_backup, site, 8, number=2, status="FAILED")
    stored(make_backup, neighbour, 2, number=3)
    api.put(url(site, "?quota_gb=2"))
    Node.objects.filter(pk=node.pk).update(storage_quota_gb=10)
    assert api.get(url(site, "/status")).json() == {
        "site_id": site.pk,
        "quota_gb": 2.0,
        "used_bytes": int(1.5 * GIB),
        "used_gb": 1.5,
        "remaining_gb": 0.5,
        "percent_used": 75.0,
        "node": {
            "node_id": node.pk,
            "quota_gb": 10.0,
            "used_bytes": int(3.5 * GIB),
            "used_gb": 3.5,
            "remaining_gb": 6.5,
            "percent_used": 35.0,
        },
    }


def test_status_is_whole_when_there_is_no_quota_and_none_left(
    api: APIClient, site: Site, node: Node, make_backup: MakeBackup
) -> None:
    stored(make_backup, site, 3)
    Node.objects.filter(pk=node.pk).update(storage_quota_gb=0)
    body = api.get(url(site, "/status")).json()
    assert (body["quota_gb"], body["remaining_gb"], body["percent_used"]) == (None, None, None)
    assert (body["node"]["remaining_gb"], body["node"]["percent_used"]) == (0.0, 100.0)
    api.put(url(site, "?quota_gb=2"))
    body = api.get(url(site, "/status")).json()
    assert (body["remaining_gb"], body["percent_used"]) == (0.0, 150.0)


def test_what_other_sites_take_is_hidden_from_a_sites_own_admin(
    site: Site, node: Node, site_admin: User, client_of: ClientOf, make_backup: MakeBackup
) -> None:
    neighbour = Site.objects.create(name="neighbour.org", node=node, wp_path="/srv/n")
    stored(make_backup, neighbour, 7.125)
    Node.objects.filter(pk=node.pk).update(storage_quota_gb=7)
    client = client_of(site_admin)
    assert client.get(url(site, "/status")).json()["node"] is None
    body = client.get(url(site, "/check")).json()
    assert (body["can_proceed"], "quota of its node" in body["reason"]) == (False, True)
    assert "7." not in body["reason"]


def test_check_expects_what_the_newest_good_backup_took(
    api: APIClient, site: Site, make_backup: MakeBackup
) -> None:
    assert api.get(url(site, "/check")).json() == {
        "site_id": site.pk, "can_proceed": True, "used_gb": 0.0, "quota_gb": None,
        "expected_gb": 0.0, "reason": None,
    }  # fmt: skip
    stored(make_backup, site, 4)
    stored(make_backup, site, 1.5, number=2)
    stored(make_backup, site, 0.25, number=3, is_suspect=True)
    api.put(url(site, "?quota_gb=7.25"))
    body = api.get(url(site, "/check")).json()
    assert (body["can_proceed"], body["used_gb"], body["expected_gb"]) == (True, 5.75, 1.5)
    api.put(url(site, "?quota_gb=7.2"))
    body = api.get(url(site, "/check")).json()
    assert (body["can_proceed"], body["quota_gb"]) == (False, 7.2)
    for said in ("example.com", "5.750 GiB", "7.2 GiB", "1.500 GiB"):
        assert said in body["reason"]


def test_start_is_refused_with_the_reason_when_the_quota_would_be_exceeded(
    api: APIClient, site: Site, make_backup: MakeBackup
) -> None:
    failed = ended_job(site, "failed")
    stored(make_backup, site, 1)
    api.put(url(site, "?quota_gb=1.5"))
    answer = api.post(f"/api/v1/sites/{site.pk}/backup/start")
    assert (answer.status_code, answer.json()["code"]) == (409, "quota_exceeded")
    assert answer.json()["detail"] == api.get(url(site, "/check")).json()["reason"]
    retried = api.post(f"/api/v1/jobs/{failed.pk}/retry")
    assert (retried.status_code, retried.json()["code"]) == (409, "quota_exceeded")
    assert list(Job.objects.all()) == [failed]
    api.put(url(site, "?quota_gb=2"))
    assert api.post(f"/api/v1/sites/{site.pk}/backup/start").status_code == 202


def test_first_backup_begins_while_any_room_is_left(site: Site, node: Node) -> None:
    Node.objects.filter(pk=node.pk).update(storage_quota_gb=0)
    with pytest.raises(QuotaExceededError):
        jobs.start_backup(site=site)
    Node.objects.filter(pk=node.pk).update(storage_quota_gb=0.001)
    assert jobs.start_backup(site=site)


def test_node_counts_backups_that_began_and_are_not_stored_yet(
    site: Site, node: Node, make_backup: MakeBackup
) -> None:
    neighbour = Site.objects.create(name="neighbour.org", node=node, wp_path="/srv/n")
    stored(make_backup, site, 1)
    stored(make_backup, neighbour, 1, number=2)
    Node.objects.filter(pk=node.pk).update(storage_quota_gb=3.5)
    jobs.start_backup(site=neighbour)
    with pytest.raises(QuotaExceededError, match="quota of its node"):
        jobs.start_backup(site=site)
    Node.objects.filter(pk=node.pk).update(storage_quota_gb=4)
    assert jobs.start_backup(site=site)


def test_running_backup_is_told_of_and_not_the_quota(
    api: APIClient, site: Site, make_backup: MakeBackup
) -> None:
    jobs.start_backup(site=site)
    stored(make_backup, site, 2)
    api.put(url(site, "?quota_gb=1"))
    answer = api.post(f"/api/v1/sites/{site.pk}/backup/start")
    assert answer.json()["code"] == "backup_already_running"


def test_start_asks_nothing_about_quotas_when_there_are_none(site: Site) -> None:
    with CaptureQueriesContext(connection) as asked:
        jobs.start_backup(site=site)
    assert not [query for query in asked if "SUM" in query["sql"]]
