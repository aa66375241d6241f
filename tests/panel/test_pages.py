"""The front door, the docs, and errors that no view answers."""

from __future__ import annotations

import re

import pytest
from django.test import RequestFactory
from rest_framework.test import APIClient

from panel import errors

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize("accept", ["*/*", "application/json"])
def test_program_gets_name_version_and_links(accept: str, client: APIClient) -> None:
    body = client.get("/", headers={"accept": accept}).json()
    assert (body["name"], body["version"]) == ("Holdfast", "0.1.0")
    assert body["links"]["docs"] == "http://testserver/docs"


def test_browser_is_sent_to_the_dashboard(client: APIClient) -> None:
    answer = client.get("/", headers=BROWSER)
    assert (answer.status_code, answer["Location"]) == (302, "/admin/backup-maintenance/")


def test_every_link_of_the_front_door_leads_somewhere(client: APIClient, db: None) -> None:
    for name, url in client.get("/").json()["links"].items():
        assert client.get(url).status_code in (200, 302, 401), name


def test_docs_load_nothing_from_outside(client: APIClient, db: None) -> None:
    page = client.get("/docs", headers=BROWSER)
    assert page.status_code == 200
    addresses = re.findall(r'(?:src|href)="([^"]+)"', page.content.decode())
    assert len(addresses) >= 3
    assert all(address.startswith(("/static/", "/docs?script")) for address in addresses)
    assert not re.findall(r'https?://(?!testserver)[^"\s]+', page.content.decode())
    for address in addresses:
        assert client.get(address).status_code == 200, address


def test_schema_is_openapi_3(client: APIClient, db: None) -> None:
    body = client.get("/api/schema/", headers={"accept": "application/json"}).json()
    assert body["openapi"].startswith("3.")
    assert "/api/v1/sites/{site_id}/backup/start" in body["paths"]


@pytest.mark.parametrize(
    ("handler", "status", "code"),
    [
        (errors.bad_request, 400, "bad_request"),
        (errors.permission_denied, 403, "permission_denied"),
        (errors.not_found, 404, "not_found"),
    ],
)
def test_page_is_json_below_api_only(handler: object, status: int, code: str) -> None:
    below = handler(RequestFactory().get("/api/x"), Exception("inside"))  # type: ignore[operator]
    assert (below.status_code, below["Content-Type"]) == (status, "application/json")
    assert code.encode() in below.content
    assert b"inside" not in below.content
    elsewhere = handler(RequestFactory().get("/x"), Exception("inside"))  # type: ignore[operator]
    assert (elsewhere.status_code, elsewhere["Content-Type"][:9]) == (status, "text/html")


def test_bug_outside_the_apis_views_is_json_below_api(
    client: APIClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from backups.api.views import links

    def fail(_link: str) -> None:
        raise ZeroDivisionError("the secret inside")

    monkeypatch.setattr(links, "_linked_backup", fail)
    answer = client.get("/api/v1/downloads/x")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "the secret inside" not in answer.content.decode()
    reference = answer.json()["detail"].removesuffix(".").rpartition(" ")[2]
    record = next(one for one in caplog.records if reference in one.getMessage())
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_missing_csrf_token_is_told_in_json(db: None) -> None:
    answer = APIClient(enforce_csrf_checks=True).post("/admin/login/", {}, format="multipart")
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")
