"""GET /api/v1/backups/{id}/download and /api/v1/downloads/{link}."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.test import APIClient

from backups.api import links
from backups.api.downloads import Span, parse_range
from backups.models import Backup, Site, Storage
from panel.accounts.models import User

CONTENT = bytes(range(256)) * 10
MakeBackup = Callable[..., Backup]


@pytest.fixture
def backup(site: Site, make_backup: MakeBackup) -> Backup:
    return make_backup(site, CONTENT)


@pytest.fixture
def link(api: APIClient, backup: Backup) -> str:
    body = api.get(f"/api/v1/backups/{backup.pk}/download").json()
    assert body["download_url"].startswith("http://testserver/api/v1/downloads/")
    return urlsplit(body["download_url"]).path


def body_of(response: object) -> bytes:
    return b"".join(response)  # type: ignore[arg-type]


def test_every_field_of_the_contract_is_there(api: APIClient, backup: Backup) -> None:
    body = api.get(f"/api/v1/backups/{backup.pk}/download").json()
    assert body.keys() == {
        *("backup_id", "filename", "s3_path", "provider", "download_url", "expires_in_seconds")
    }
    assert (body["provider"], body["expires_in_seconds"]) == ("folder", 900)


def test_url_is_presigned_when_stored_on_s3(api: APIClient, backup: Backup) -> None:
    keys = {"access_key_id": "AK", "endpoint_url": "http://127.0.0.1:9"}
    secrets = {"secret_access_key": "the-secret-itself"}
    Storage.objects.update(type="s3", config={"bucket": "b", **keys})
    storage = Storage.objects.get()
    storage.secrets = secrets
    storage.save()
    answer = api.get(f"/api/v1/backups/{backup.pk}/download")
    url = urlsplit(answer.json()["download_url"])
    assert (url.netloc, url.path) == ("127.0.0.1:9", f"/b/{backup.object_key}")
    query = parse_qs(url.query)
    assert query["X-Amz-Expires"] == ["900"]
    assert backup.filename in query["response-content-disposition"][0]
    assert "the-secret-itself" not in answer.content.decode()


def test_bundle_comes_whole_when_the_link_is_followed(
    anonymous: APIClient, link: str, backup: Backup
) -> None:
    answer = anonymous.get(link, headers={"accept": "application/octet-stream"})
    assert (answer.status_code, body_of(answer)) == (200, CONTENT)
    assert answer["Content-Length"] == str(len(CONTENT))
    assert answer["Content-Disposition"] == f'attachment; filename="{backup.filename}"'
    assert (answer["Accept-Ranges"], answer["ETag"]) == ("bytes", f'"{backup.sha256}"')


def test_only_the_headers_come_when_they_are_asked_for(anonymous: APIClient, link: str) -> None:
    answer = anonymous.head(link)
    assert (answer.status_code, answer["Content-Length"]) == (200, str(len(CONTENT)))
    assert answer.content == b""


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=10-19", slice(10, 20)),
        ("bytes=2000-", slice(2000, None)),
        ("bytes=2000-999999", slice(2000, None)),
        ("bytes=-5", slice(-5, None)),
    ],
)
def test_part_comes_when_a_range_is_asked_for(
    header: str, wanted: slice, anonymous: APIClient, link: str
) -> None:
    answer = anonymous.get(link, headers={"range": header})
    start, stop, _ = wanted.indices(len(CONTENT))
    assert (answer.status_code, body_of(answer)) == (206, CONTENT[wanted])
    assert answer["Content-Range"] == f"bytes {start}-{stop - 1}/{len(CONTENT)}"
    assert answer["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("header", ["bytes=2560-", "bytes=-0", "bytes=99999-100000"])
def test_range_is_refused_when_it_lies_outside(
    header: str, anonymous: APIClient, link: str
) -> None:
    answer = anonymous.get(link, headers={"range": header})
    assert (answer.status_code, answer["Content-Range"]) == (416, "bytes */2560")
    assert answer.json()["code"] == "range_not_satisfiable"


def test_whole_comes_when_the_part_that_is_there_is_of_another_bundle(
    anonymous: APIClient, link: str, backup: Backup
) -> None:
    for etag, status in ((f'"{backup.sha256}"', 206), ('"another"', 200)):
        answer = anonymous.get(link, headers={"range": "bytes=5-", "if-range": etag})
        assert answer.status_code == status


@given(st.text(max_size=20) | st.from_regex(r"bytes=\d{0,6}-\d{0,6}", fullmatch=True))
def test_range_never_leaves_the_bundle(header: str) -> None:
    span = parse_range(header, 1000)
    assert span is None or (
        0 <= span.offset <= span.offset + span.length <= 1000 and span.length > 0
    )
    assert parse_range(header, 0) in (None, Span(0, 0))


@pytest.mark.django_db(transaction=True)
def test_memory_stays_small_when_a_large_bundle_is_streamed(
    api: APIClient, backup: Backup, storage: Storage, link: str
) -> None:
    size = 256 << 20
    with Path(storage.config["path"], backup.object_key).open("r+b") as file:
        file.truncate(size)
    Backup.objects.update(size_bytes=size)

    async def fetch() -> int:
        answer = await AsyncClient().get(link)
        total = 0
        async for chunk in answer:
            total += len(chunk)
        return total

    tracemalloc.start()
    try:
        assert async_to_sync(fetch)() == size
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_link_is_dead_when_it_has_expired(
    anonymous: APIClient, link: str, settings: pytest.FixtureRequest
) -> None:
    settings.HOLDFAST_DOWNLOAD_URL_SECONDS = -1
    answer = anonymous.get(link)
    assert (answer.status_code, answer.json()["code"]) == (410, "link_expired")


def test_link_is_dead_when_it_was_changed_or_made_for_something_else(
    anonymous: APIClient, link: str, backup: Backup, super_admin: User
) -> None:
    payload = {"backup": backup.pk, "user": super_admin.pk}
    other = f"/api/v1/downloads/{links.sign(links.ANSWER, payload)}"
    for wrong in (f"{link}x", f"/api/v1/downloads/{'x' * 60}", other):
        answer = anonymous.get(wrong)
        assert (answer.status_code, answer.json()["code"]) == (404, "link_invalid")


def test_link_is_dead_when_its_user_lost_the_right(
    site: Site,
    site_admin: User,
    backup: Backup,
    anonymous: APIClient,
    client_of: Callable[[User], APIClient],
) -> None:
    body = client_of(site_admin).get(f"/api/v1/backups/{backup.pk}/download").json()
    path = urlsplit(body["download_url"]).path
    assert anonymous.get(path).status_code == 200
    site.admins.clear()
    assert anonymous.get(path).status_code == 404


def test_link_is_dead_when_the_backup_is_gone(
    anonymous: APIClient, link: str, backup: Backup
) -> None:
    backup.delete()
    assert anonymous.get(link).status_code == 404


@pytest.mark.parametrize("field", ["object_key", "sha256"])
def test_link_is_dead_when_the_backup_is_of_another_object_now(
    field: str, anonymous: APIClient, link: str, backup: Backup
) -> None:
    was = getattr(backup, field)
    Backup.objects.filter(pk=backup.pk).update(**{field: f"x{was[1:]}"})
    answer = anonymous.get(link)
    assert (answer.status_code, answer.json()["code"]) == (404, "link_invalid")
    Backup.objects.filter(pk=backup.pk).update(**{field: was})
    assert anonymous.get(link).status_code == 200


def test_method_is_refused_when_it_would_not_read(anonymous: APIClient, link: str) -> None:
    answer = anonymous.post(link)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


def test_node_is_named_when_the_bundle_lies_on_another_host(
    api: APIClient, anonymous: APIClient, link: str, backup: Backup, storage: Storage
) -> None:
    Path(storage.config["path"], backup.object_key).unlink()
    for answer in (api.get(f"/api/v1/backups/{backup.pk}/download"), anonymous.get(link)):
        assert (answer.status_code, answer.json()["code"]) == (409, "download_unavailable")
        assert "web-01" in answer.json()["detail"]


def test_download_is_refused_when_the_file_is_another_one(
    api: APIClient, backup: Backup, storage: Storage
) -> None:
    Path(storage.config["path"], backup.object_key).write_bytes(b"other")
    answer = api.get(f"/api/v1/backups/{backup.pk}/download")
    assert (answer.status_code, answer.json()["code"]) == (409, "download_unavailable")


def test_download_is_refused_when_the_backup_failed(
    api: APIClient, site: Site, make_backup: MakeBackup
) -> None:
    backup = make_backup(site, b"", status="FAILED", object_key="")
    answer = api.get(f"/api/v1/backups/{backup.pk}/download")
    assert (answer.status_code, answer.json()["code"]) == (409, "download_unavailable")
