"""/api/v1/storage/providers, one of them, and /api/v1/storage/summary."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyrage
import pytest
from django.db import connection
from rest_framework.test import APIClient

from backups.models import AuditEntry, Backup, Node, Site, Storage
from panel.accounts.models import User
from tests.backups.conftest import ended_job

URL = "/api/v1/storage/providers"
S3 = {
    "bucket": "backups",
    "endpoint_url": "https://s3.example.com",
    "access_key_id": "AKEXAMPLE",
    "secret_access_key": "the-secret-itself",
}


def added(api: APIClient, **others: Any) -> dict[str, Any]:
    answer = api.post(URL, {"name": "bucket", "type": "s3", "config": S3, **others})
    assert answer.status_code == 201, answer.content
    return dict(answer.json())


def test_secret_is_kept_encrypted_and_never_comes_out(api: APIClient, staff: Any) -> None:
    storage = added(api)
    assert storage["secrets_set"] == ["secret_access_key"]
    assert "secret_access_key" not in storage["config"]
    row = Storage.objects.get()
    assert row.full_config() == S3
    pages = [
        api.get(URL).content,
        api.get(f"{URL}/{row.pk}").content,
        staff.get(f"/admin/backups/storage/{row.pk}/change/").content,
        staff.get(f"{URL}/{row.pk}", headers={"accept": "text/html"}).content,
    ]
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM backups_storage")
        pages.append(repr(cursor.fetchall()).encode())
    assert not [page for page in pages if b"the-secret-itself" in page]


def test_storage_is_untested_when_no_node_is_there_to_test_it(api: APIClient) -> None:
    storage = added(api)
    assert (storage["status"], storage["capabilities"]) == ("untested", None)


def test_storage_is_kept_untested_when_the_broker_is_away(
    api: APIClient, live_worker: object, closed_broker: None
) -> None:
    assert added(api)["status"] == "untested"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"config": {}}, "config.bucket"),
        ({"config": {"bucket": "b", "buckett": "c"}}, "config.buckett"),
        ({"config": {"bucket": "b", "access_key_id": "A"}}, "config.secret_access_key"),
        ({"config": {"bucket": "b", "part_size": 1}}, "config.part_size"),
        ({"config": "text"}, "config"),
        ({"type": "tape"}, "type"),
        ({"type": "local", "config": {"path": "relative"}}, "config.path"),
        ({"name": ""}, "name"),
    ],
)
def test_field_is_named_when_it_cannot_be_used(
    body: dict[str, Any], field: str, api: APIClient
) -> None:
    answer = api.post(URL, {"name": "bucket", "type": "s3", "config": S3, **body})
    assert answer.status_code == 400, answer.content
    assert list(answer.json()["errors"]) == [field]
    assert not Storage.objects.exists()


def test_name_is_refused_when_it_is_taken(api: APIClient) -> None:
    added(api)
    answer = api.post(URL, {"name": "bucket", "type": "s3", "config": S3})
    assert list(answer.json()["errors"]) == ["name"]


def test_secret_stays_when_put_leaves_it_out_and_goes_when_it_is_empty(api: APIClient) -> None:
    url = f"{URL}/{added(api)['id']}"
    config = {**S3, "bucket": "another"}
    del config["secret_access_key"]
    api.put(url, {"name": "bucket", "type": "s3", "config": config})
    assert Storage.objects.get().full_config() == {**S3, "bucket": "another"}
    emptied = {"bucket": "another", "secret_access_key": "", "access_key_id": ""}
    answer = api.put(url, {"name": "bucket", "type": "s3", "config": emptied})
    assert answer.json()["secrets_set"] == []
    assert Storage.objects.get().full_config() == {"bucket": "another"}


def test_only_what_is_named_changes_when_patched(api: APIClient) -> None:
    url = f"{URL}/{added(api)['id']}"
    assert api.patch(url, {"config": {"region": "eu-central-1"}}).status_code == 200
    assert Storage.objects.get().full_config() == {**S3, "region": "eu-central-1"}
    assert api.patch(url, {"name": "renamed"}).json()["config"]["bucket"] == "backups"


def test_test_result_is_forgotten_when_the_configuration_changes(api: APIClient) -> None:
    from backups.actions import storages

    storage = added(api)
    storages.record_test(storage_id=storage["id"], capabilities={"write": True}, error="")
    url = f"{URL}/{storage['id']}"
    assert api.patch(url, {"name": "renamed"}).json()["status"] == "usable"
    assert api.patch(url, {"config": {"bucket": "another"}}).json()["status"] == "untested"


def test_one_storage_is_the_default_when_another_becomes_it(api: APIClient) -> None:
    first = added(api, is_default=True)
    second = added(api, name="second", is_default=True)
    defaults = Storage.objects.filter(is_default=True).values_list("pk", flat=True)
    assert first["is_default"] is True
    assert list(defaults) == [second["id"]]


def test_type_cannot_change_when_backups_are_kept(
    api: APIClient, site: Site, storage: Storage, make_backup: Callable[..., Backup]
) -> None:
    make_backup(site)
    body = {"name": "folder", "type": "s3", "config": S3}
    answer = api.put(f"{URL}/{storage.pk}", body)
    assert (answer.status_code, answer.json()["code"]) == (409, "in_use")


def test_storage_stays_when_a_site_a_job_or_a_backup_needs_it(
    api: APIClient, site: Site, storage: Storage, make_backup: Callable[..., Backup]
) -> None:
    url = f"{URL}/{storage.pk}"
    assert api.delete(url).json()["code"] == "in_use"
    job = api.post(f"/api/v1/sites/{site.pk}/backup/start").json()["job_id"]
    Site.objects.update(storage=None)
    assert api.delete(url).json()["code"] == "in_use", job
    from backups.models import Job

    Job.objects.update(state="failed", active_site=None)
    backup = make_backup(site)
    assert api.delete(url).json()["code"] == "in_use"
    backup.delete()
    assert api.delete(url).status_code == 204
    assert not Storage.objects.exists()


def test_only_super_admins_manage_storages(
    storage: Storage,
    node_admin: User,
    site_admin: User,
    client_of: Callable[[User], APIClient],
) -> None:
    url = f"{URL}/{storage.pk}"
    for user in (node_admin, site_admin):
        client = client_of(user)
        assert client.post(URL, {"name": "x", "type": "s3", "config": S3}).status_code == 403
        assert client.get(url).status_code == 403
        assert client.delete(url).status_code == 403
        assert client.post(f"{url}/test").status_code == 403
    assert client_of(node_admin).get(URL).json() == [
        {"id": storage.pk, "name": "folder", "type": "local", "is_default": True,
         "status": "untested"}
    ]  # fmt: skip
    assert client_of(site_admin).get(URL).json() == []


def test_summary_adds_up_what_the_user_may_see(
    api: APIClient,
    site: Site,
    other_site: Site,
    site_admin: User,
    client_of: Callable[[User], APIClient],
    make_backup: Callable[..., Backup],
) -> None:
    make_backup(site, b"x" * 100)
    make_backup(other_site, b"x" * 50)
    make_backup(site, b"", number=3, status="FAILED", object_key="")
    body = api.get("/api/v1/storage/summary").json()
    assert (body["backup_count"], body["used_bytes"]) == (2, 150)
    mine = client_of(site_admin).get("/api/v1/storage/summary").json()
    assert [(row["name"], row["used_bytes"]) for row in mine["providers"]] == [("folder", 100)]


def test_unreadable_secret_breaks_nothing_but_its_own_storage(
    api: APIClient, site: Site, node: Node, settings: Any
) -> None:
    storage = added(api)
    Site.objects.update(storage=storage["id"], db_password="geheim")
    ended_job(site)
    settings.HOLDFAST_ENCRYPTION_KEYS = ["A" * 43 + "="]
    for url in ("/api/v1/sites/", "/api/v1/jobs", "/api/v1/nodes/", f"/api/v1/sites/{site.pk}"):
        assert api.get(url).status_code == 200, url
    answer = api.get(f"{URL}/{storage['id']}")
    assert (answer.status_code, answer.json()["code"]) == (500, "secret_unreadable")


def new_recipient() -> str:
    return str(pyrage.x25519.Identity.generate().to_public())


def test_recipients_are_taken_shown_and_changed(api: APIClient) -> None:
    first, second = new_recipient(), new_recipient()
    storage = added(api, encryption_recipients=[first, f" {first}"])
    url = f"{URL}/{storage['id']}"
    assert storage["encryption_recipients"] == [first]
    assert api.patch(url, {"name": "renamed"}).json()["encryption_recipients"] == [first]
    changed = api.patch(url, {"encryption_recipients": [first, second]})
    assert changed.json()["encryption_recipients"] == [first, second]
    entry = AuditEntry.objects.filter(action="storage.change").latest("id")
    assert entry.fields == ["encryption_recipients"]
    assert api.patch(url, {"encryption_recipients": []}).json()["encryption_recipients"] == []


def test_recipients_say_nothing_of_whether_the_storage_works(api: APIClient) -> None:
    from backups.actions import storages

    storage = added(api)
    storages.record_test(storage_id=storage["id"], capabilities={"write": True}, error="")
    answer = api.patch(f"{URL}/{storage['id']}", {"encryption_recipients": [new_recipient()]})
    assert answer.json()["status"] == "usable"


@pytest.mark.parametrize(
    "recipients",
    [["age1nonsense"], [""], ["ssh-ed25519 AAAA"], "age1", [7], [["age1"]], None],
)
def test_recipients_are_refused_when_they_are_none(recipients: Any, api: APIClient) -> None:
    body = {"name": "bucket", "type": "s3", "config": S3, "encryption_recipients": recipients}
    answer = api.post(URL, body)
    assert answer.status_code == 400, answer.content
    (field,) = answer.json()["errors"]
    assert field.partition(".")[0] == "encryption_recipients"
    assert not Storage.objects.exists()


def test_a_secret_key_is_not_repeated_when_somebody_gives_one(api: APIClient) -> None:
    secret = str(pyrage.x25519.Identity.generate())
    body = {"name": "bucket", "type": "s3", "config": S3, "encryption_recipients": [secret]}
    answer = api.post(URL, body)
    assert answer.status_code == 400
    assert b"must never be given here" in answer.content
    assert secret[20:40].encode() not in answer.content
    assert secret[20:40] not in repr(list(AuditEntry.objects.values()))


def test_backups_say_to_whom_they_are_encrypted(
    api: APIClient, site: Site, make_backup: Callable[..., Backup]
) -> None:
    backup = make_backup(site)
    assert api.get(f"/api/v1/backups/{backup.pk}").json()["encrypted_to"] == []
    Backup.objects.update(encrypted_to=[recipient := new_recipient()])
    listed = api.get(f"/api/v1/sites/{site.pk}/backups").json()["backups"]
    assert [one["encrypted_to"] for one in listed] == [[recipient]]
