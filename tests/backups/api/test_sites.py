"""/api/v1/sites/ and /api/v1/sites/{id}."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from backups.models import Backup, Job, Node, Site, Storage
from panel.accounts.models import User
from tests.backups.conftest import ended_job

CONTRACT = {
    *("id", "uuid", "name", "url", "wp_path", "db_name", "node_id", "status", "created_at"),
    *("last_backup", "backup_count", "storage_used_bytes", "storage_used_gb"),
    *("storage_quota_gb", "schedule_frequency", "schedule_time", "schedule_days"),
    *("retention_copies", "next_run_at"),
}

ClientOf = Callable[[User], APIClient]


def fields(node: Node, **others: Any) -> dict[str, Any]:
    path = f"{node.allowed_roots[0]}/new.example"
    return {"name": "new.example", "node_id": node.pk, "wp_path": path, **others}


def test_every_field_of_the_contract_is_there_when_listed(api: APIClient, site: Site) -> None:
    body = api.get("/api/v1/sites/").json()
    assert body.keys() == {"sites", "total"}
    assert body["total"] == 1
    assert body["sites"][0].keys() >= CONTRACT
    assert body["sites"][0] == api.get(f"/api/v1/sites/{site.pk}").json()


def test_sums_count_good_backups_only(
    api: APIClient, site: Site, make_backup: Callable[..., Backup]
) -> None:
    make_backup(site, b"x" * 1000)
    make_backup(site, b"x" * 24, number=2)
    make_backup(site, b"", number=3, status="FAILED", object_key="")
    body = api.get(f"/api/v1/sites/{site.pk}").json()
    assert (body["backup_count"], body["storage_used_bytes"]) == (2, 1024)
    assert body["last_backup"].endswith("Z")


def test_status_is_that_of_the_newest_job(api: APIClient, site: Site) -> None:
    assert api.get(f"/api/v1/sites/{site.pk}").json()["status"] == "idle"
    ended_job(site, "completed")
    ended_job(site, "failed")
    assert api.get(f"/api/v1/sites/{site.pk}").json()["status"] == "failed"


def test_pages_meet_without_overlap_when_all_are_equal(
    api: APIClient, node: Node, storage: Storage
) -> None:
    for number in range(7):
        Site.objects.create(name="same", node=node, wp_path=f"/srv/{number}")
    pages = [api.get(f"/api/v1/sites/?skip={skip}&limit=3").json() for skip in (0, 3, 6)]
    seen = [site["id"] for page in pages for site in page["sites"]]
    assert (len(seen), len(set(seen)), {page["total"] for page in pages}) == (7, 7, {7})


def test_search_and_ordering_choose_when_given(api: APIClient, node: Node) -> None:
    for name in ("b.example", "a.example", "c.org"):
        Site.objects.create(name=name, node=node, wp_path=f"/srv/{name}")
    body = api.get("/api/v1/sites/?search=example&ordering=-name").json()
    assert [site["name"] for site in body["sites"]] == ["b.example", "a.example"]


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "skip=-1"])
def test_page_is_refused_when_it_is_none(query: str, api: APIClient) -> None:
    answer = api.get(f"/api/v1/sites/?{query}")
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [query.partition("=")[0]]


def test_list_takes_as_many_queries_for_one_site_as_for_many(
    api: APIClient, node: Node, site: Site, make_backup: Callable[..., Backup]
) -> None:
    with CaptureQueriesContext(
        connection,
    ) as few:
        api.get("/api/v1/sites/")
    for number in range(10):
        one = Site.objects.create(name=f"s{number}", node=node, wp_path=f"/srv/{number}")
        make_backup(one)
        ended_job(one)
    with CaptureQueriesContext(connection) as many:
        assert api.get("/api/v1/sites/").json()["total"] == 11
    assert len(many) == len(few)


def test_lists_are_filtered_when_others_have_sites_too(
    site: Site, other_site: Site, site_admin: User, node_admin: User, client_of: ClientOf
) -> None:
    for user in (site_admin, node_admin):
        body = client_of(user).get("/api/v1/sites/").json()
        assert [row["id"] for row in body["sites"]] == [site.pk]
        assert client_of(user).get(f"/api/v1/sites/{other_site.pk}").status_code == 403


def test_site_is_added_when_its_path_is_allowed(api: APIClient, node: Node) -> None:
    answer = api.post("/api/v1/sites/", fields(node, db_password="geheim"))
    assert answer.status_code == 201, answer.content
    assert answer.json()["db_password_set"] is True
    assert "geheim" not in answer.content.decode()
    assert Site.objects.get().db_password == "geheim"
    with connection.cursor() as cursor:
        cursor.execute("SELECT db_password FROM backups_site")
        assert "geheim" not in cursor.fetchone()[0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("wp_path", "/etc"),
        ("wp_path", "relative"),
        ("wp_path", "{root}/../../etc"),
        ("wp_path", "{root}x/site"),
        ("wp_path", "{root}/a\x00b"),
        ("wp_config_path", "/etc/wp-config.php"),
        ("name", "two words"),
        ("name", ""),
        ("node_id", 999),
        ("node_id", 10**30),
        ("node_id", True),
        ("storage_id", "x"),
        ("db_engine", "oracle"),
        ("excludes", {"a": 1}),
        ("url", "javascript:alert(1)"),
    ],
)
def test_field_is_named_when_it_cannot_be_used(
    field: str, value: Any, api: APIClient, node: Node
) -> None:
    if isinstance(value, str):
        value = value.replace("{root}", node.allowed_roots[0])
    answer = api.post("/api/v1/sites/", fields(node, **{field: value}))
    assert answer.status_code == 400, answer.content
    assert list(answer.json()["errors"]) == [field]
    assert not Site.objects.exists()


def test_database_file_must_lie_below_the_roots_as_the_site_does(
    api: APIClient, node: Node
) -> None:
    for path in ("/srv/panel.sqlite3", "panel.sqlite3", ""):
        answer = api.post("/api/v1/sites/", fields(node, db_engine="sqlite", db_name=path))
        assert (answer.status_code, list(answer.json()["errors"])) == (400, ["db_name"]), path
    path = f"{node.allowed_roots[0]}/new.example/wp.sqlite"
    answer = api.post("/api/v1/sites/", fields(node, db_engine="sqlite", db_name=path))
    assert answer.status_code == 201, answer.content


def test_site_is_refused_when_the_folder_is_one_already(api: APIClient, node: Node) -> None:
    assert api.post("/api/v1/sites/", fields(node)).status_code == 201
    again = fields(node, name="another", wp_path=f"{node.allowed_roots[0]}/new.example/")
    answer = api.post("/api/v1/sites/", again)
    assert (answer.status_code, answer.json()["code"]) == (409, "site_exists")


def test_adding_is_forbidden_when_the_node_is_of_others(
    node: Node, other_node: Node, node_admin: User, site_admin: User, client_of: ClientOf
) -> None:
    assert client_of(node_admin).post("/api/v1/sites/", fields(node)).status_code == 201
    assert client_of(node_admin).post("/api/v1/sites/", fields(other_node)).status_code == 403
    assert client_of(site_admin).post("/api/v1/sites/", fields(node)).status_code == 403


def test_node_admin_changes_everything_and_moves_nowhere_else(
    site: Site, other_node: Node, node_admin: User, client_of: ClientOf
) -> None:
    client, url = client_of(node_admin), f"/api/v1/sites/{site.pk}"
    path = f"{site.wp_path}/wordpress"
    assert client.patch(url, {"wp_path": path, "db_name": "wp"}).json()["wp_path"] == path
    assert client.patch(url, {"node_id": other_node.pk}).status_code == 403


def test_sites_own_admin_cannot_reach_other_files(
    site: Site, site_admin: User, client_of: ClientOf
) -> None:
    client, url = client_of(site_admin), f"/api/v1/sites/{site.pk}"
    assert client.patch(url, {"excludes": ["wp-content/big/"]}).status_code == 200
    for change in (
        {"wp_path": f"{site.node.allowed_roots[0]}/other"},
        {"db_name": "other"},
        {"db_password": "x"},
        {"wp_config_path": f"{site.wp_path}/x.php"},
    ):
        assert client.patch(url, change).status_code == 403, change
    assert client.delete(url).status_code == 403
    unchanged = {"node_id": site.node_id, "storage_id": site.storage_id, "wp_path": site.wp_path}
    assert client.put(url, {"name": "renamed", **unchanged}).json()["name"] == "renamed"


def test_source_is_kept_when_a_job_is_reading_it(api: APIClient, site: Site) -> None:
    api.post(f"/api/v1/sites/{site.pk}/backup/start")
    url = f"/api/v1/sites/{site.pk}"
    refused = api.patch(url, {"db_name": "other"})
    assert (refused.status_code, refused.json()["code"]) == (409, "in_use")
    assert api.patch(url, {"url": "https://example.com"}).status_code == 200


def test_password_stays_when_it_is_not_sent(api: APIClient, node: Node) -> None:
    body = fields(node, db_password="geheim")
    site = api.post("/api/v1/sites/", body).json()
    del body["db_password"]
    assert api.put(f"/api/v1/sites/{site['id']}", body).status_code == 200
    assert Site.objects.get().db_password == "geheim"
    api.patch(f"/api/v1/sites/{site['id']}", {"db_password": ""})
    assert not Site.objects.get().db_password


def test_site_goes_with_its_failed_jobs_when_no_backup_is_kept(
    api: APIClient, site: Site, make_backup: Callable[..., Backup]
) -> None:
    job = ended_job(site, "failed")
    make_backup(site, b"", status="FAILED", object_key="", job=job)
    assert api.delete(f"/api/v1/sites/{site.pk}").status_code == 204
    assert not Site.objects.exists()
    assert not Job.objects.exists()


def test_site_stays_when_backups_are_kept_or_a_job_runs(
    api: APIClient, site: Site, make_backup: Callable[..., Backup]
) -> None:
    url = f"/api/v1/sites/{site.pk}"
    backup = make_backup(site)
    assert api.delete(url).json()["code"] == "in_use"
    backup.delete()
    api.post(f"{url}/backup/start")
    assert api.delete(url).json()["code"] == "in_use"
    assert Site.objects.exists()
