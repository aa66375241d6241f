"""Every error below /api/ has one shape."""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection
from django.http import Http404
from rest_framework import exceptions
from rest_framework.test import APIClient

import workers.engine
from backups import errors, registry
from backups.api.errors import handle_exception
from backups.api.views.sites import SiteList
from backups.models import Node, Site
from workers.engine.errors import EngineError


def _subclasses(cls: type) -> Iterator[type]:
    for subclass in cls.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


for module in pkgutil.walk_packages(workers.engine.__path__, "workers.engine."):
    importlib.import_module(module.name)

ARGUMENTS: dict[type, tuple[Any, ...]] = {
    errors.InvalidFieldError: ("config.bucket", "A sentence."),
    errors.NodeWorkError: ("A sentence.", "bucket_missing", 422),
}


def every_error() -> Iterator[Exception]:
    """Return one of each refusal there is; a new class is covered when it exists."""
    for cls in _subclasses(errors.DomainError):
        yield cls(*ARGUMENTS.get(cls, ("A sentence.",)))
    for cls in [EngineError, *_subclasses(EngineError)]:
        for permanent in (True, False):
            # Each has a constructor of its own; what the handler reads is set by the base's.
            error = cls.__new__(cls)
            EngineError.__init__(error, "A sentence.", hint="Another.", permanent=permanent)
            yield error
    for cls in _subclasses(exceptions.APIException):
        if cls.__module__.startswith(("rest_framework.", "rest_framework_simplejwt")):
            yield (
                cls("json")
                if cls is exceptions.UnsupportedMediaType
                else (cls("POST") if cls is exceptions.MethodNotAllowed else cls())
            )
    yield Http404()
    yield PermissionDenied()
    yield ValidationError("A sentence.")
    yield ValidationError({"node": ["A sentence."]})


@pytest.mark.parametrize("error", list(every_error()), ids=lambda error: type(error).__name__)
def test_answer_has_the_one_shape_when_an_error_is_raised(error: Exception) -> None:
    answer = handle_exception(error, {})
    assert 400 <= answer.status_code < 600
    assert set(answer.data) - {"errors"} == {"detail", "code", "request_id"}
    assert isinstance(answer.data["detail"], str)
    assert answer.data["detail"]
    assert answer.data["code"].replace("_", "").islower(), answer.data
    assert ("errors" in answer.data) == (answer.status_code == 400)
    for field, sentences in answer.data.get("errors", {}).items():
        assert isinstance(field, str)
        assert sentences
        assert all(isinstance(sentence, str) for sentence in sentences)


def test_every_domain_error_has_a_code_and_a_status_of_its_own_kind() -> None:
    for cls in _subclasses(errors.DomainError):
        if cls is not errors.NodeWorkError:
            assert cls.code != errors.DomainError.code, cls
        assert 400 <= cls.status < 600


def test_engine_error_of_the_registry_is_the_engines() -> None:
    assert registry.engine_error_class() is EngineError


def test_engine_failure_reads_503_when_trying_again_may_help() -> None:
    temporary = handle_exception(EngineError("Away", code="storage_unreachable"), {})
    assert (temporary.status_code, temporary.data["code"]) == (503, "storage_unreachable")
    lasting = handle_exception(EngineError("No", hint="Do.", permanent=True), {})
    assert (lasting.status_code, lasting.data["detail"]) == (422, "No. Do.")


def test_nested_errors_are_told_by_one_name(api: APIClient) -> None:
    nested = {"config": {"bucket": ["No."]}, "excludes": [{}, {"x": ["Bad."]}], "node": ["Gone."]}
    answer = handle_exception(exceptions.ValidationError(nested), {})
    assert answer.data["errors"] == {
        "config.bucket": ["No."],
        "excludes.1.x": ["Bad."],
        "node_id": ["Gone."],
    }


def test_bug_is_told_by_reference_and_logged_with_its_traceback(
    api: APIClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("the secret inside")

    monkeypatch.setattr(SiteList, "get_queryset", fail)
    with caplog.at_level(logging.ERROR):
        answer = api.get("/api/v1/sites/")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal_error")
    assert "the secret inside" not in answer.content.decode()
    reference = answer.json()["detail"].removesuffix(".").rpartition(" ")[2]
    record = next(one for one in caplog.records if reference in one.getMessage())
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_form_is_refused_when_it_has_more_fields_than_are_read(api: APIClient) -> None:
    fields = {f"field{number}": "x" for number in range(2000)}
    for content_type in ("application/x-www-form-urlencoded", "multipart"):
        if content_type == "multipart":
            answer = api.post("/api/v1/sites/", fields, format="multipart")
        else:
            answer = api.post("/api/v1/sites/", urlencode(fields), content_type=content_type)
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("get", "/api/nothing", {}, 404, "not_found"),
        ("get", "/api/v1/sites/1/nothing", {}, 404, "not_found"),
        ("get", "/api/v1/sites/x", {}, 404, "not_found"),
        ("delete", "/api/v1/nodes/", {}, 405, "method_not_allowed"),
        ("post", "/api/v1/sites/", {"data": "{", "content_type": "application/json"}, 400,
         "parse_error"),
        ("post", "/api/v1/sites/", {"data": "[]", "content_type": "application/json"}, 400,
         "invalid"),
        ("post", "/api/v1/sites/", {"data": "<a/>", "content_type": "text/xml"}, 415,
         "unsupported_media_type"),
        ("get", "/api/v1/sites/", {"headers": {"accept": "image/png"}}, 406, "not_acceptable"),
        ("get", "/api/v1/sites/", {"headers": {"host": "evil.example"}}, 400, "bad_request"),
        ("get", "/api/v1/sites/?search=%00", {}, 400, "invalid"),
    ],
)  # fmt: skip
def test_answer_is_json_when_the_request_is_wrong(
    method: str, path: str, options: dict[str, Any], status: int, code: str, api: APIClient
) -> None:
    answer = getattr(api, method)(path, **options)
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/json"
    assert answer.json()["code"] == code
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ('{"name": ' + "[" * 100_000 + "]" * 100_000 + "}", "parse_error", "non_field_errors"),
        ('{"node_id": NaN}', "parse_error", "non_field_errors"),
        ('{"node_id": -Infinity}', "parse_error", "non_field_errors"),
        ('{"node_id": 1e999}', "invalid", "node_id"),
        ('{"node_id": 9223372036854775808}', "invalid", "node_id"),
        ('{"node_id": ' + "9" * 5000 + "}", "invalid", "node_id"),
        ('{"name": "a\\u0000b"}', "invalid", "name"),
        ('{"name": "a\\ud800b"}', "invalid", "name"),
        ('{"excludes": ["a", "\\u0000"]}', "invalid", "excludes.1"),
        ('{"excludes": {"\\udfff": 1}}', "invalid", "excludes"),
        ('{"\\ud800": 1}', "invalid", "non_field_errors"),
        (b'{"name": "\xff"}', "parse_error", "non_field_errors"),
        (b'\xef\xbb\xbf{}', "parse_error", "non_field_errors"),
        ("", "invalid", "name"),
        ("null", "invalid", "non_field_errors"),
    ],
)  # fmt: skip
def test_body_is_refused_when_no_database_could_hold_it(
    body: str | bytes, code: str, field: str, api: APIClient
) -> None:
    answer = api.post("/api/v1/sites/", body, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (400, code), answer.content
    assert field in answer.json()["errors"]


def test_whole_characters_outside_the_basic_plane_are_taken(api: APIClient, site: Site) -> None:
    body = '{"url": "", "excludes": ["\\ud83d\\ude00", "\\\\u0000"]}'
    answer = api.patch(f"/api/v1/sites/{site.pk}", body, content_type="application/json")
    assert answer.json()["excludes"] == ["\U0001f600", "\\u0000"]


def test_form_cannot_bring_what_json_may_not(staff: Any, site: Site, node: Node) -> None:
    html = {"accept": "application/json"}
    path = f"/api/v1/nodes/{node.pk}/token"
    answer = staff.post(path, {"valid_hours": "nan"}, headers=html)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["valid_hours"])
    form = {"name": "a", "node_id": node.pk, "wp_path": f"{node.allowed_roots[0]}/a"}
    answer = staff.post("/api/v1/sites/", {**form, "excludes": '["\\u0000"]'}, headers=html)
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["excludes.0"])


HUGE = 10**30


@pytest.mark.parametrize(
    "path",
    [
        f"sites/{HUGE}", f"sites/{HUGE}/backup/status", f"sites/{HUGE}/backups", f"nodes/{HUGE}",
        f"backups/{HUGE}", f"backups/{HUGE}/download", f"storage/providers/{HUGE}",
        f"daemon/backup/status/{HUGE}",
    ],
)  # fmt: skip
def test_nothing_is_at_a_number_that_no_row_can_have(path: str, api: APIClient) -> None:
    answer = api.get(f"/api/v1/{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path",
    [
        f"jobs?site_id={HUGE}", f"daemon/scan?node_id={HUGE}", f"sites/?skip={HUGE}",
        f"jobs?limit={HUGE}", f"activity-logs/?actor={HUGE}", f"activity-logs/?offset={HUGE}",
    ],
)  # fmt: skip
def test_query_is_refused_when_a_number_is_beyond_every_row(path: str, api: APIClient) -> None:
    answer = api.get(f"/api/v1/{path}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid"), answer.content


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("session", [False, True])
def test_database_that_is_away_is_no_bug(
    session: bool,
    api: APIClient,
    staff: Any,
    super_admin: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = staff if session else api
    connection.close()
    # A folder is no database file: with a session it fails before any view, with a token in one.
    monkeypatch.setitem(connection.settings_dict, "NAME", "/")
    with caplog.at_level(logging.ERROR):
        reading = client.get("/api/v1/sites/")
        writing = client.post("/api/v1/sites/", {}, **({} if not session else JSON))
        page = staff.get("/admin/")
    monkeypatch.undo()
    connection.close()
    for answer in (reading, writing):
        assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
        assert int(answer["Retry-After"]) > 0
        assert answer.json()["request_id"] == answer["X-Request-ID"]
    assert (page.status_code, page["Content-Type"]) == (503, "text/plain")
    lost = [line for line in caplog.records if line.name == "holdfast.audit"]
    assert any("in no database" in line.getMessage() for line in lost)


JSON: dict[str, Any] = {"content_type": "application/json"}


@pytest.mark.parametrize("path", ["/", "/health", "/health/live", "/health/"])
def test_plain_view_names_its_methods_when_another_one_is_tried(
    path: str, anonymous: APIClient
) -> None:
    for method in ("post", "put", "delete", "patch"):
        answer = getattr(anonymous, method)(path)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert answer["Allow"] == "GET, HEAD, OPTIONS"
    answer = anonymous.options(path)
    assert (answer.status_code, answer["Allow"]) == (204, "GET, HEAD, OPTIONS")


def test_head_and_options_are_answered_by_every_route(api: APIClient, site: Site) -> None:
    for path in ("sites/", f"sites/{site.pk}", "jobs", "nodes/", f"nodes/{site.node_id}",
                 "storage/providers", "activity-logs/",
                 f"sites/{site.pk}/backup/start"):  # fmt: skip
        assert api.options(f"/api/v1/{path}").status_code == 200, path
        answer = api.head(f"/api/v1/{path}")
        assert (answer.status_code, answer.content) in ((200, b""), (405, b"")), path


def test_program_is_never_sent_elsewhere(
    anonymous: APIClient, staff: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    anonymous.raise_request_exception = False
    # A route with a slash only: Django would redirect to it from the one without.
    assert anonymous.get("/admin").status_code == 301
    monkeypatch.setattr("panel.errors.API", "/adm")
    assert anonymous.get("/admin").status_code == 404


def test_dashboards_json_routes_are_never_html(anonymous: APIClient, client_of: Any, site_admin: Any
) -> None:  # fmt: skip
    path = "/admin/backup-maintenance/nothing/here"
    for method in ("get", "post"):
        answer = getattr(anonymous, method)(path)
        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
        assert answer["WWW-Authenticate"]
        assert answer.json()["request_id"]
    anonymous.force_login(site_admin)
    answer = anonymous.get(path)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")
    site_admin.is_staff = True
    site_admin.save()
    answer = anonymous.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_page_of_the_admin_stays_a_page(anonymous: APIClient) -> None:
    assert anonymous.get("/admin/backup-maintenance/")["Location"].startswith("/sign-in/")
    assert anonymous.get("/nothing")["Content-Type"].startswith("text/html")


def test_browser_gets_a_page_with_the_right_status_when_the_api_refuses(staff: Any) -> None:
    answer = staff.get("/api/v1/sites/999", headers={"accept": "text/html"})
    assert (answer.status_code, answer["Content-Type"]) == (404, "text/html; charset=utf-8")
    assert b"not_found" in answer.content


def test_csrf_token_is_asked_for_when_a_session_writes(super_admin: Any) -> None:
    client = APIClient(enforce_csrf_checks=True)
    client.force_login(super_admin)
    assert client.get("/api/v1/sites/").status_code == 200
    answer = client.post("/api/v1/sites/", {})
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")
