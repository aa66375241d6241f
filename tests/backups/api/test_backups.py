"""/api/v1/sites/{id}/backups and /api/v1/backups/{id}."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from backups.models import Backup, Site, Storage
from panel.accounts.models import User
from tests.backups.conftest import ended_job

MakeBackup = Callable[..., Backup]
CONTRACT = {
    *("id", "site_id", "site_name", "filename", "size_bytes", "size_gb", "s3_path", "created_at"),
    *("backup_type", "status", "storage_provider", "sha256", "verified_at", "job_id"),
}


def test_every_field_of_the_contract_is_there_when_listed(
    api: APIClient, site: Site, storage: Storage, make_backup: MakeBackup
) -> None:
    backup = make_backup(site, b"x" * 100, job=ended_job(site))
    body = api.get(f"/api/v1/sites/{site.pk}/backups").json()
    assert (body.keys(), body["total"]) == ({"backups", "total"}, 1)
    row = body["backups"][0]
    assert row.keys() >= CONTRACT
    assert row == api.get(f"/api/v1/backups/{backup.pk}").json()
    assert row["s3_path"] == f"{storage.config['path']}/{backup.object_key}"
    assert (row["status"], row["backup_type"], row["size_bytes"]) == ("SUCCESS", "full", 100)
    assert row["filename"] == "example.com_20260101_000001.tar.zst"


def test_address_is_that_of_the_bucket_when_stored_on_s3(
    api: APIClient, site: Site, make_backup: MakeBackup
) -> None:
    backup = make_backup(site)
    Storage.objects.update(type="s3", config={"bucket": "b", "prefix": "a/c/"})
    path = api.get(f"/api/v1/backups/{backup.pk}").json()["s3_path"]
    assert path == f"s3://b/a/c/{backup.object_key}"


def test_newest_comes_first_and_pages_hold_what_is_asked(
    api: APIClient, site: Site, make_backup: MakeBackup
) -> None:
    ids = [make_backup(site, number=number).pk for number in range(1, 5)]
    body = api.get(f"/api/v1/sites/{site.pk}/backups?skip=1&limit=2").json()
    assert ([row["id"] for row in body["backups"]], body["total"]) == ([ids[2], ids[1]], 4)


def test_list_takes_as_many_queries_for_one_backup_as_for_many(
    api: APIClient, site: Site, make_backup: MakeBackup
) -> None:
    make_backup(site, job=ended_job(site))
    with CaptureQueriesContext(connection) as few:
        api.get(f"/api/v1/sites/{site.pk}/backups")
    for number in range(2, 12):
        make_backup(site, number=number, job=ended_job(site))
    with CaptureQueriesContext(connection) as many:
        api.get(f"/api/v1/sites/{site.pk}/backups")
    assert len(many) == len(few)


def test_backups_of_others_are_forbidden(
    other_site: Site,
    site_admin: User,
    make_backup: MakeBackup,
    client_of: Callable[[User], APIClient],
) -> None:
    backup, client = make_backup(other_site), client_of(site_admin)
    for url in (
        f"/api/v1/sites/{other_site.pk}/backups",
        f"/api/v1/backups/{backup.pk}",
        f"/api/v1/backups/{backup.pk}/download",
    ):
        assert client.get(url).status_code == 403, url
    assert client.delete(f"/api/v1/backups/{backup.pk}").status_code == 403
    assert client.get("/api/v1/backups/999").status_code == 404


def test_object_stays_when_only_the_row_is_deleted(
    api: APIClient, site: Site, storage: Storage, make_backup: MakeBackup
) -> None:
    backup = make_backup(site)
    answer = api.delete(f"/api/v1/backups/{backup.pk}")
    assert (answer.status_code, answer.json()["remote_deleted"]) == (200, False)
    assert "stays in folder" in answer.json()["message"]
    assert not Backup.objects.exists()
    assert Path(storage.config["path"], backup.object_key).exists()


def test_row_goes_when_a_backup_failed_and_has_no_object(
    api: APIClient, site: Site, make_backup: MakeBackup
) -> None:
    backup = make_backup(site, b"", status="FAILED", object_key="")
    answer = api.delete(f"/api/v1/backups/{backup.pk}?delete_remote=true")
    assert answer.status_code == 200, answer.content
    assert not Backup.objects.exists()


def test_row_stays_when_nobody_can_delete_the_object(
    api: APIClient, site: Site, make_backup: MakeBackup
) -> None:
    backup = make_backup(site)
    answer = api.delete(f"/api/v1/backups/{backup.pk}?delete_remote=true")
    assert (answer.status_code, answer.json()["code"]) == (503, "node_unavailable")
    assert Backup.objects.filter(pk=backup.pk).exists()


def test_row_stays_when_the_broker_is_away(
    api: APIClient, site: Site, live_worker: Any, closed_broker: None, make_backup: MakeBackup
) -> None:
    backup = make_backup(site)
    answer = api.delete(f"/api/v1/backups/{backup.pk}?delete_remote=true")
    assert (answer.status_code, answer.json()["code"]) == (503, "broker_unavailable")
    assert Backup.objects.filter(pk=backup.pk).exists()


def test_backup_stays_when_a_job_works_on_it(
    api: APIClient, site: Site, make_backup: MakeBackup
) -> None:
    backup = make_backup(site, job=ended_job(site, "running"))
    answer = api.delete(f"/api/v1/backups/{backup.pk}")
    assert (answer.status_code, answer.json()["code"]) == (409, "deletion_refused")
    assert Backup.objects.filter(pk=backup.pk).exists()


def test_backup_stays_when_a_sites_own_admin_would_delete_it(
    site: Site,
    site_admin: User,
    node_admin: User,
    make_backup: MakeBackup,
    client_of: Callable[[User], APIClient],
) -> None:
    url = f"/api/v1/backups/{make_backup(site).pk}"
    assert client_of(site_admin).delete(url).status_code == 403
    assert client_of(node_admin).delete(url).status_code == 200


def test_switch_is_refused_when_it_is_neither_true_nor_false(
    api: APIClient, site: Site, make_backup: MakeBackup
) -> None:
    answer = api.delete(f"/api/v1/backups/{make_backup(site).pk}?delete_remote=perhaps")
    assert list(answer.json()["errors"]) == ["delete_remote"]
    assert Backup.objects.exists()
